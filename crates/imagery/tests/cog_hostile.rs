//! Files made to harm: each is read or refused with an error that names it; nothing panics, hangs or takes memory that
//! the file's size does not account for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use imagery::cog::{Block, Limits, Raster, Samples};
use imagery::{ImageryError, RemoteFile};
use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;

const NAME: &str = "memory:///hostile.tif";

/// A little-endian TIFF of one IFD at byte 8: tags with their values as bytes; the pixels come last, and the value of
/// `OFFSETS` becomes their place.
struct Tiff {
    tags: Vec<(u16, u16, u32, Vec<u8>)>,
    pixels: Vec<u8>,
    next: u32,
}

const OFFSETS: u16 = 273;

impl Tiff {
    /// 4 × 2 bytes, uncompressed, one strip.
    fn small() -> Self {
        let mut tiff = Self { tags: Vec::new(), pixels: (0..8).collect(), next: 0 };
        tiff.short(256, 4).short(257, 2).short(258, 8).short(259, 1).short(262, 1).long(OFFSETS, 0);
        tiff.short(277, 1).short(278, 2).long(279, 8);
        tiff
    }

    fn set(&mut self, tag: u16, field: u16, count: u32, value: Vec<u8>) -> &mut Self {
        self.tags.retain(|&(other, ..)| other != tag);
        self.tags.push((tag, field, count, value));
        self
    }

    fn short(&mut self, tag: u16, value: u16) -> &mut Self {
        self.set(tag, 3, 1, value.to_le_bytes().to_vec())
    }

    fn long(&mut self, tag: u16, value: u32) -> &mut Self {
        self.set(tag, 4, 1, value.to_le_bytes().to_vec())
    }

    fn doubles(&mut self, tag: u16, values: &[f64]) -> &mut Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.set(tag, 12, values.len() as u32, bytes)
    }

    fn remove(&mut self, tag: u16) -> &mut Self {
        self.tags.retain(|&(other, ..)| other != tag);
        self
    }

    fn bytes(&mut self) -> Vec<u8> {
        self.tags.sort_by_key(|&(tag, ..)| tag);
        let values_at = 8 + 2 + 12 * self.tags.len() + 4;
        let long: usize = self.tags.iter().map(|(.., value)| if value.len() > 4 { value.len() } else { 0 }).sum();
        let pixels_at = (values_at + long) as u32;
        let mut file = b"II\x2a\0\x08\0\0\0".to_vec();
        let mut values = Vec::new();
        file.extend((self.tags.len() as u16).to_le_bytes());
        for (tag, field, count, value) in &self.tags {
            file.extend([tag.to_le_bytes(), field.to_le_bytes()].concat());
            file.extend(count.to_le_bytes());
            let mut value = value.clone();
            if *tag == OFFSETS && value == [0; 4] {
                value = pixels_at.to_le_bytes().to_vec();
            }
            if value.len() > 4 {
                file.extend(((values_at + values.len()) as u32).to_le_bytes());
                values.extend(value);
            } else {
                value.resize(4, 0);
                file.extend(value);
            }
        }
        file.extend(self.next.to_le_bytes());
        file.extend(values);
        file.extend(&self.pixels);
        file
    }
}

/// All blocks of all levels, up to a number that keeps the test short.
struct ReadAll {
    blocks: Vec<Result<Block, ImageryError>>,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn read(bytes: Vec<u8>) -> Result<ReadAll, ImageryError> {
    let store = InMemory::new();
    let path = object_store::path::Path::from("hostile.tif");
    store.put(&path, bytes.into()).await.unwrap();
    let file = RemoteFile::new(Arc::new(store), path, NAME.to_owned());
    let raster = Raster::open(&file, &Limits::default()).await?;
    let mut all = ReadAll { blocks: Vec::new() };
    for (index, level) in raster.levels().iter().enumerate() {
        // A header may well describe millions of blocks: the first ones, and the last row, will do.
        let last = level.height.saturating_sub(1);
        let mut blocks = level.blocks_in(0..1, 0..level.block_width.saturating_mul(3));
        blocks.extend(level.blocks_in(last..level.height, 0..1));
        all.blocks.extend(raster.read_blocks(&file, index, &blocks).await);
    }
    Ok(all)
}

/// The error of a file that is refused: at its header, or else at its first block that fails.
fn refusal(bytes: Vec<u8>) -> String {
    let error = match runtime().block_on(read(bytes)) {
        Err(error) => error,
        Ok(all) => all.blocks.into_iter().find_map(Result::err).expect("the file was read"),
    };
    assert!(matches!(error, ImageryError::Corrupt { .. } | ImageryError::Unsupported { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("hostile.tif"), "{text}");
    assert!(text.len() < 600, "{text}");
    text
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
    let mut out = vec![0; compressor.zlib_compress_bound(bytes.len())];
    let length = compressor.zlib_compress(bytes, &mut out).unwrap();
    out.truncate(length);
    out
}

#[test]
fn the_file_that_the_others_are_made_from_is_read() {
    // The guard of all tests below: what they change is what makes them fail.
    let all = runtime().block_on(read(Tiff::small().bytes())).unwrap();
    let block = all.blocks[0].as_ref().unwrap();
    assert_eq!(block.bands, [Samples::U8((0..8).collect())]);
}

#[test]
fn what_is_not_a_tiff_is_refused() {
    for bytes in
        [&b""[..], b"I", b"II", b"II\x2a\0", b"II\x2a\0\x08\0\0", b"PK\x03\x04 and a zip", b"MM\0\x2b\0\x04\0\0"]
    {
        refusal(bytes.to_vec());
    }
    assert!(refusal(b"II\x2a\0\0\0\0\0".to_vec()).contains("no IFD"));
    assert!(refusal(b"II\x2a\0\xff\xff\xff\xff".to_vec()).contains("beyond the end"));
    assert!(refusal(b"II\x2b\0\x08\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff".to_vec()).contains("beyond the end"));
}

#[test]
fn an_ifd_without_tags_is_refused() {
    assert!(refusal(b"II\x2a\0\x08\0\0\0\0\0\0\0\0\0".to_vec()).contains("0 tags"));
}

#[test]
fn ifds_in_a_circle_are_refused() {
    let mut tiff = Tiff::small();
    tiff.next = 8;
    assert!(refusal(tiff.bytes()).contains("cycle"));
}

#[test]
fn an_endless_chain_of_ifds_is_refused() {
    let mut file = b"II\x2a\0\x08\0\0\0".to_vec();
    for index in 1..100_000_u32 {
        file.extend([1, 0, 0xff, 0xff, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        file.extend((8 + 18 * index).to_le_bytes());
    }
    assert!(refusal(file).contains("IFDs"));
}

#[test]
fn a_tag_of_a_billion_values_is_refused() {
    for tag in [256, OFFSETS, 279, 33550, 34735, 42112, 42113] {
        let text = refusal(Tiff::small().set(tag, 4, 1_000_000_000, vec![0; 4]).bytes());
        assert!(text.contains(&format!("tag {tag} claims 1000000000 values")), "{text}");
        // Within the limit, but not within the file.
        let text = refusal(Tiff::small().set(tag, 4, 10_000_000, vec![8, 0, 0, 0]).bytes());
        assert!(text.contains("beyond the end of the file"), "{text}");
    }
}

#[test]
fn unknown_types_fail_only_where_the_tag_is_needed() {
    let unused = Tiff::small().set(50_000, 99, 1, vec![0; 4]).bytes();
    assert!(runtime().block_on(read(unused)).is_ok());
    for field in [0, 14, 15, 99, u16::MAX] {
        assert!(refusal(Tiff::small().set(256, field, 1, vec![4, 0, 0, 0]).bytes()).contains("type"));
    }
    assert!(refusal(Tiff::small().set(256, 2, 4, b"abc\0".to_vec()).bytes()).contains("type"));
    assert!(refusal(Tiff::small().set(256, 3, 0, vec![]).bytes()).contains("no value"));
}

#[test]
fn sizes_that_make_no_sense_are_refused() {
    for tag in [256, 257] {
        for size in [0, 1 << 31, u32::MAX] {
            assert!(refusal(Tiff::small().long(tag, size).bytes()).contains("not 1 to"), "{tag} {size}");
        }
        // Allowed, but not there.
        refusal(Tiff::small().long(tag, i32::MAX.unsigned_abs()).bytes());
    }
    for tag in [258, 277, 278] {
        refusal(Tiff::small().long(tag, 0).bytes());
        if tag != 278 {
            // Of rows per strip, it means that there is one strip.
            refusal(Tiff::small().long(tag, u32::MAX).bytes());
        }
    }
    let most = i32::MAX.unsigned_abs();
    // All at once: products that overflow 64 bits.
    let mut tiff = Tiff::small();
    tiff.long(256, most)
        .long(257, most)
        .short(277, 4096)
        .short(284, 2)
        .long(322, 1)
        .long(323, 1)
        .long(324, 0)
        .long(325, 8);
    assert!(refusal(tiff.bytes()).contains("blocks"));
    let mut tiff = Tiff::small();
    tiff.long(256, most).long(257, most).short(277, 4096).long(322, most).long(323, most).long(324, 8).long(325, 8);
    assert!(refusal(tiff.bytes()).contains("block of"));
    for tag in [256, 257, OFFSETS] {
        assert!(refusal(Tiff::small().remove(tag).bytes()).contains("missing"), "{tag}");
    }
}

#[test]
fn pixels_without_size_or_place_are_refused() {
    let (origin, nan) = ([0.0, 0.0, 0.0, 500.0, 900.0, 0.0], f64::NAN);
    for scale in [[0.0, 10.0, 0.0], [10.0, 0.0, 0.0], [nan, 10.0, 0.0], [10.0, f64::INFINITY, 0.0]] {
        refusal(Tiff::small().doubles(33550, &scale).doubles(33922, &origin).bytes());
    }
    refusal(Tiff::small().doubles(33550, &[10.0, 10.0, 0.0]).doubles(33922, &[0.0, 0.0, 0.0, nan, 900.0, 0.0]).bytes());
    refusal(Tiff::small().doubles(33550, &[10.0]).doubles(33922, &origin).bytes());
    refusal(Tiff::small().doubles(33550, &[10.0, 10.0, 0.0]).doubles(33922, &[0.0; 3]).bytes());
    for matrix in [[0.0; 16], [nan; 16], [1.0; 16]] {
        refusal(Tiff::small().doubles(34264, &matrix).bytes());
    }
    refusal(Tiff::small().set(34735, 3, 4, [1_u16, 1, 0, 60_000].map(u16::to_le_bytes).concat()).bytes());
}

#[test]
fn bombs_are_stopped_at_the_size_of_a_block() {
    let zeros = vec![0_u8; 64 << 20];
    let mut lzw = weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8);
    for (compression, bomb) in
        [(8, zlib(&zeros)), (50000, zstd::bulk::compress(&zeros, 3).unwrap()), (8, vec![0x78]), (50000, vec![])]
    {
        let mut tiff = Tiff::small();
        tiff.pixels = bomb;
        let length = tiff.pixels.len() as u32;
        refusal(tiff.short(259, compression).long(279, length.max(1)).bytes());
    }
    // More pixels are claimed than the bytes can hold: refused before memory is taken.
    for (compression, pixels) in [(5, lzw.encode(&[0; 64]).unwrap()), (8, zlib(&[0; 64])), (32773, vec![0x81, 0])] {
        let mut tiff = Tiff::small();
        tiff.pixels = pixels;
        let length = tiff.pixels.len() as u32;
        tiff.long(256, 16_384).long(257, 16_384).long(278, 16_384).short(259, compression).long(279, length);
        assert!(refusal(tiff.bytes()).contains("cannot hold"), "{compression}");
    }
}

#[test]
fn blocks_that_lie_elsewhere_are_refused() {
    assert!(refusal(Tiff::small().long(OFFSETS, u32::MAX).bytes()).contains("beyond the end"));
    assert!(refusal(Tiff::small().long(279, u32::MAX).short(259, 8).bytes()).contains("takes"));
    assert!(refusal(Tiff::small().long(279, 7).bytes()).contains("7 bytes instead of 8"));
    assert!(refusal(Tiff::small().short(278, 1).bytes()).contains("entries"));
    let sparse = runtime().block_on(read(Tiff::small().long(279, 0).bytes())).unwrap();
    assert_eq!(sparse.blocks[0].as_ref().unwrap().bands, [Samples::U8(vec![0; 8])]);
}

#[test]
fn features_that_are_not_read_are_named() {
    for (tag, value, word) in [
        (259, 34887, "LERC"),
        (259, 6, "old-style JPEG"),
        (259, 3, "CCITT"),
        (262, 8, "CIE"),
        (262, 6, "YCbCr"),
        (258, 12, "12 bits"),
        (339, 5, "complex"),
    ] {
        assert!(refusal(Tiff::small().short(tag, value).bytes()).contains(word), "{tag} {value}");
    }
}

fn corpus() -> Option<PathBuf> {
    let shared = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/cogs"));
    shared.is_dir().then_some(shared)
}

/// Small files of every codec and layout.
const SEEDS: [&str; 12] = [
    "async-tiff__int16_zstd.tif",
    "async-tiff__BigTIFFMotorola.tif",
    "async-tiff__predictor-3-gray-f32.tif",
    "rasterio__RGBA.uint16.tif",
    "rasterio__all-nodata.tif",
    "rasterio__rotated.tif",
    "rio-cogeo__image_rioCOG_gdal3.1.tif",
    "rio-cogeo__image_webp.tif",
    "rio-tiler__cog_gcps_ovr.tif",
    "rio-tiler__cog_rgb.tif",
    "aiocogeo__cog.tif",
    "openlayers__masked.tif",
];

/// Reads many files on all cores; each gives a result or an error that names it.
fn survive(files: impl Iterator<Item = Vec<u8>> + Send) -> (u64, u64) {
    let (read_whole, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let files = std::sync::Mutex::new(files);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                let runtime = runtime();
                loop {
                    let Some(bytes) = files.lock().unwrap().next() else { break };
                    let errors = match runtime.block_on(read(bytes)) {
                        Err(error) => vec![error],
                        Ok(all) => all.blocks.into_iter().filter_map(Result::err).collect(),
                    };
                    for error in &errors {
                        let text = error.to_string();
                        assert!(text.contains("hostile.tif") && !text.contains("broke down"), "{text}");
                    }
                    let counter = if errors.is_empty() { &read_whole } else { &refused };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    (read_whole.into_inner(), refused.into_inner())
}

fn skipped(test: &str) {
    eprintln!("skipped: {test}: ../shared is not there");
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_never_read_as_whole() {
    let Some(corpus) = corpus() else { return skipped("a_file_that_is_cut_off_anywhere_is_never_read_as_whole") };
    for name in SEEDS {
        let whole = std::fs::read(corpus.join(name)).unwrap();
        // All lengths within the header, then ever wider apart.
        let lengths = (0..whole.len()).step_by(7).take(80).chain((1..100).map(|part| whole.len() * part / 100));
        let cut: Vec<Vec<u8>> = lengths.map(|length| whole[..length].to_vec()).collect();
        let count = cut.len() as u64;
        let (read_whole, refused) = survive(cut.into_iter());
        assert_eq!(read_whole + refused, count);
        // Only a few blocks of a level are read here, so that a cut behind them goes unseen.
        assert!(refused >= 80, "{name}: {read_whole} of {count} were read as if nothing were missing");
        // Some files end with padding, or with a tag that is not read.
        let cut = whole[..whole.len() * 95 / 100].to_vec();
        let all = runtime().block_on(read_every_block(cut));
        assert!(all.is_err(), "{name}: the last bytes are missing and nobody says so");
    }
}

/// Errors where any block of any level fails.
async fn read_every_block(bytes: Vec<u8>) -> Result<(), ImageryError> {
    let store = InMemory::new();
    let path = object_store::path::Path::from("hostile.tif");
    store.put(&path, bytes.into()).await.unwrap();
    let file = RemoteFile::new(Arc::new(store), path, NAME.to_owned());
    let raster = Raster::open(&file, &Limits::default()).await?;
    for (index, level) in raster.levels().iter().enumerate() {
        let blocks = level.blocks_in(0..level.height, 0..level.width);
        for block in raster.read_blocks(&file, index, &blocks).await {
            block?;
        }
    }
    Ok(())
}

#[test]
fn thousands_of_damaged_files_neither_panic_nor_hang() {
    let Some(corpus) = corpus() else { return skipped("thousands_of_damaged_files_neither_panic_nor_hang") };
    let before = peak_memory();
    let mut all = (0, 0);
    for (seed, name) in SEEDS.iter().enumerate() {
        let whole = std::fs::read(corpus.join(name)).unwrap();
        let mut state = seed as u64 + 1;
        let mut random = move || {
            // SplitMix64.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        let damaged = (0..300).map(move |round| {
            let mut bytes = whole.clone();
            // Three of four in the header, where the numbers are; one to three bytes.
            let span = if round % 4 == 3 { bytes.len() } else { bytes.len().min(1024) };
            for _ in 0..=random() % 3 {
                let at = random() as usize % span;
                bytes[at] = match random() % 4 {
                    0 => 0,
                    1 => 0xff,
                    2 => bytes[at] ^ (1 << (random() % 8)),
                    _ => random() as u8,
                };
            }
            bytes
        });
        let (read_whole, refused) = survive(damaged);
        assert_eq!(read_whole + refused, 300, "{name}");
        all = (all.0 + read_whole, all.1 + refused);
    }
    println!("{} read, {} refused; peak memory {:?} MiB, {before:?} before", all.0, all.1, peak_memory());
    // The injector works: a good part of the damage is noticed.
    assert!(all.1 > 700, "{all:?}");
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        assert!(after.saturating_sub(before) < 2048, "{before} MiB before, {after} MiB after");
    }
}

/// Peak of the process's resident memory in MiB, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string(Path::new("/proc/self/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

#[test]
fn reading_can_be_handed_to_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    let file = RemoteFile::new(Arc::new(InMemory::new()), object_store::path::Path::from("x"), NAME.to_owned());
    let limits = Limits::default();
    let open = Raster::open(&file, &limits);
    is_send(&open);
    let task = async {
        let raster = Raster::open(&file, &limits).await.unwrap();
        raster.read_blocks(&file, 0, &[]).await
    };
    is_send(&task);
}
