//! The files that are written, read by GDAL.

use super::*;

fn spec(width: u32, height: u32, bands: usize) -> CogSpec {
    CogSpec {
        width,
        height,
        band_names: (0..bands).map(|band| format!("band {band}")).collect(),
        georeference: Some((
            CogCrs::Projected(32652),
            GeoTransform { x0: 5e5, x_per_col: 0.5, x_per_row: 0.0, y0: 4.6e6, y_per_col: 0.0, y_per_row: -0.5 },
        )),
        nodata: Some(0.0),
        block_px: 64,
        overviews: Overviews::Average,
        predictor: true,
        deflate_level: 4,
    }
}

fn noise(index: usize, band: usize) -> u32 {
    let mut z = (index as u32).wrapping_mul(0x9e37_79b9) ^ (band as u32).wrapping_mul(0x85eb_ca6b);
    z = (z ^ (z >> 15)).wrapping_mul(0x2c1b_3c6d);
    z ^ (z >> 13)
}

/// Runs Python with numpy and rasterio on a script and files; `None` where there is no such Python.
fn python(script: &str, args: &[&std::path::Path]) -> Option<String> {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.venv/bin/python");
    let ready = std::process::Command::new(python).args(["-c", "import rasterio"]).output();
    if !ready.is_ok_and(|output| output.status.success()) {
        println!("skipped: no Python with rasterio at .venv/bin/python");
        return None;
    }
    let output = std::process::Command::new(python).arg("-c").arg(script).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

const CHECK: &str = r#"
import sys, numpy as np, rasterio
path, raw, dtype, bands, height, width = sys.argv[1], sys.argv[2], *open(sys.argv[3]).read().split()
want = np.fromfile(raw, dtype=dtype).reshape(int(bands), int(height), int(width))
with rasterio.open(path) as s:
    assert s.profile["tiled"] and s.compression.name == "deflate", s.profile
    assert s.interleaving.name == "pixel" or s.count == 1
    got = s.read()
    assert got.dtype == want.dtype and np.array_equal(got, want, equal_nan=want.dtype.kind == "f")
    print(s.crs.to_epsg(), *s.transform.to_gdal(), s.nodata, s.block_shapes[0], s.descriptions[0], s.overviews(1))
    for level, factor in enumerate(s.overviews(1)):
        with rasterio.open(path, overview_level=level) as o:
            small = o.read()
    # First overview against a mean of the valid samples, in numpy.
    with rasterio.open(path, overview_level=0) as o:
        small = o.read().astype("f8")
    h, w = want.shape[1:]
    wide = np.full((want.shape[0], h + h % 2, w + w % 2), np.nan)
    wide[:, :h, :w] = np.where(want == s.nodata, np.nan, want.astype("f8")) if s.nodata is not None else want
    with np.errstate(all="ignore"):
        import warnings; warnings.simplefilter("ignore")
        mean = np.nanmean(wide.reshape(want.shape[0], wide.shape[1] // 2, 2, wide.shape[2] // 2, 2), axis=(2, 4))
    gone = np.isnan(mean)
    assert np.array_equal(gone, np.isnan(small) | (small == s.nodata)), "nodata of the overview"
    assert np.abs(np.where(gone, 0, small - mean)).max() <= (1e-3 if want.dtype.kind == "f" else 0.5)
# The order that `rio cogeo validate` asks for: directories first, overviews' data before full resolution's.
from osgeo_free import check
"#;

/// The layout, from the bytes alone: every directory before every block, the levels' data from small to large.
const LAYOUT: &str = r#"
def check(path):
    import struct
    b = open(path, "rb").read()
    assert b[:4] in (b"II*\0", b"II+\0")
    big = b[2] == 43
    at, ends, data = struct.unpack_from("<Q" if big else "<I", b, 8 if big else 4)[0], 0, []
    while at:
        n = struct.unpack_from("<Q" if big else "<H", b, at)[0]
        size, start = (20, at + 8) if big else (12, at + 2)
        tags = []
        for i in range(n):
            t = struct.unpack_from("<HHQ" if big else "<HHI", b, start + i * size)
            v = struct.unpack_from("<Q" if big else "<I", b, start + i * size + (12 if big else 8))[0]
            tags.append(t[0])
            if t[0] == 324:
                word = 8 if big else 4
                data.append([v] if t[2] == 1 else list(struct.unpack_from("<%d%s" % (t[2], "Q" if big else "I"), b, v)))
        assert tags == sorted(tags)
        ends = max(ends, start + n * size)
        at = struct.unpack_from("<Q" if big else "<I", b, start + n * size)[0]
    order = [o for level in reversed(data) for o in level]
    assert order == sorted(order) and min(order) > ends, "not cloud-optimised"
"#;

fn check_with_rasterio<T: CogSample>(spec: &CogSpec, dtype: &str, bands: &[Vec<T>]) -> Option<String> {
    let slices: Vec<&[T]> = bands.iter().map(Vec::as_slice).collect();
    let bytes = write_cog(spec, &slices).unwrap();
    let folder = std::env::temp_dir().join(format!("groundbreak-cog-{}-{dtype}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (tif, raw, shape) = (folder.join("a.tif"), folder.join("a.raw"), folder.join("shape"));
    std::fs::write(&tif, bytes).unwrap();
    let mut samples = Vec::new();
    bands.iter().flatten().for_each(|sample| sample.append(&mut samples));
    std::fs::write(&raw, samples).unwrap();
    std::fs::write(&shape, format!("{dtype} {} {} {}", bands.len(), spec.height, spec.width)).unwrap();
    let script = format!("{LAYOUT}\n{}\ncheck(sys.argv[1])", CHECK.replace("from osgeo_free import check", ""));
    let said = python(&script, &[&tif, &raw, &shape]);
    std::fs::remove_dir_all(&folder).unwrap();
    said
}

#[test]
fn rasterio_reads_the_same_pixels_georeference_nodata_and_overviews() {
    let u16s: Vec<Vec<u16>> = (0..4)
        .map(|band| (0..201 * 155).map(|i| if i % 201 < 90 && i < 9000 { 0 } else { noise(i, band) as u16 }).collect())
        .collect();
    if let Some(said) = check_with_rasterio(&spec(201, 155, 4), "u2", &u16s) {
        assert_eq!(said.trim(), "32652 500000.0 0.5 0.0 4600000.0 0.0 -0.5 0.0 (64, 64) band 0 [2, 4]");
    }
    let i16s = vec![(0..70 * 300).map(|i| noise(i, 0) as i16).collect::<Vec<_>>()];
    let spec_i16 = CogSpec {
        nodata: Some(-32768.0),
        georeference: Some((
            CogCrs::Geographic(4326),
            GeoTransform { x0: 129.5, x_per_col: 1e-5, x_per_row: 0.0, y0: 41.5, y_per_col: 0.0, y_per_row: -1e-5 },
        )),
        ..spec(70, 300, 1)
    };
    if let Some(said) = check_with_rasterio(&spec_i16, "i2", &i16s) {
        assert!(said.starts_with("4326 129.5 1e-05 0.0 41.5 0.0 -1e-05 -32768.0"), "{said}");
    }
    let f32s =
        vec![
            (0..99 * 129).map(|i| if i % 7 == 0 { f32::NAN } else { noise(i, 3) as f32 / 1e6 }).collect::<Vec<_>>();
            3
        ];
    let spec_f32 = CogSpec { nodata: Some(f64::NAN), predictor: false, ..spec(99, 129, 3) };
    if let Some(said) = check_with_rasterio(&spec_f32, "f4", &f32s) {
        assert!(said.contains(" nan "), "{said}");
    }
    let u8s: Vec<Vec<u8>> = vec![(0..65 * 65).map(|i| noise(i, 1) as u8).collect(); 3];
    let rotated = CogSpec {
        nodata: None,
        georeference: Some((
            CogCrs::Projected(32651),
            GeoTransform { x0: 1e5, x_per_col: 0.6, x_per_row: 0.8, y0: 4e6, y_per_col: 0.8, y_per_row: -0.6 },
        )),
        ..spec(65, 65, 3)
    };
    if let Some(said) = check_with_rasterio(&rotated, "u1", &u8s) {
        assert!(said.starts_with("32651 100000.0 0.6 0.8 4000000.0 0.8 -0.6 None"), "{said}");
    }
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_threads() {
    let bands: Vec<Vec<u16>> =
        (0..2).map(|band| (0..500 * 333).map(|i| noise(i, band) as u16 % 999).collect()).collect();
    let slices: Vec<&[u16]> = bands.iter().map(Vec::as_slice).collect();
    let write = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| write_cog(&spec(500, 333, 2), &slices).unwrap())
    };
    assert_eq!(write(1), write(3));
}

#[test]
fn what_cannot_be_written_is_refused_by_name() {
    let refusal = |spec: CogSpec| write_cog(&spec, &[&[0.0f32; 4][..]]).unwrap_err().to_string();
    let good = CogSpec { predictor: false, ..spec(2, 2, 1) };
    assert!(refusal(CogSpec { block_px: 100, ..good.clone() }).contains("a block of 100 px"));
    assert!(refusal(CogSpec { predictor: true, ..good.clone() }).contains("predictor 2 with floating-point"));
    assert!(refusal(CogSpec { width: 3, ..good }).contains("give one band of width × height samples per name"));
}
