//! The reader gives what GDAL gives: pixels of all levels, masks, no-data, georeference; or an error that names the file.
//!
//! The expected values come from rasterio (`rasterio_reference.py`), not from us.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use imagery::RemoteFile;
use imagery::cog::{DataType, Limits, Raster, Samples};
use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;
use serde_json::Value;

/// JPEG: IJG's libjpeg 9, which rasterio from PyPI has, rounds the chroma of half size otherwise in a few pixels of ten
/// thousand. Largest and mean difference that pass; all other codecs are compared bit for bit.
const JPEG_MAX: u8 = 2;
const JPEG_MEAN: f64 = 0.001;

/// A Python that has rasterio; else one line says what is skipped.
fn python(test: &str) -> Option<PathBuf> {
    let venv = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.venv/bin/python");
    let python = PathBuf::from(std::env::var_os("GROUNDBREAK_PYTHON").unwrap_or_else(|| venv.into()));
    let works = Command::new(&python).args(["-c", "import rasterio, numpy"]).output();
    if works.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    eprintln!("skipped: {test}: no Python with rasterio (set GROUNDBREAK_PYTHON)");
    None
}

fn reference(python: &Path, arguments: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rasterio_reference.py");
    let output = Command::new(python).arg(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn index(folder: &Path) -> Vec<Value> {
    let index: Value = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
    index["files"].as_array().unwrap().clone()
}

async fn remote(bytes: Vec<u8>, name: &str) -> RemoteFile {
    let store = InMemory::new();
    let path = object_store::path::Path::from("scene.tif");
    store.put(&path, bytes.into()).await.unwrap();
    RemoteFile::new(Arc::new(store), path, format!("memory:///{name}"))
}

/// A level put together from its blocks: bands one after the other, and the mask.
struct Assembled {
    bands: Vec<u8>,
    mask: Option<Vec<u8>>,
    errors: Vec<String>,
}

async fn assemble(raster: &Raster, file: &RemoteFile, level: usize) -> Assembled {
    let shape = &raster.levels()[level];
    let (width, height) = (shape.width as usize, shape.height as usize);
    let (bands, size) = (raster.info().band_count, raster.info().data_type.size());
    let mut whole = Assembled {
        bands: vec![0xAA; width * height * bands * size],
        mask: raster.info().has_mask.then(|| vec![0xAA; width * height]),
        errors: Vec::new(),
    };
    let blocks = shape.blocks_in(0..shape.height, 0..shape.width);
    assert_eq!(blocks.len(), (shape.blocks_across * shape.blocks_down) as usize);
    for (block, &index) in raster.read_blocks(file, level, &blocks).await.into_iter().zip(&blocks) {
        let block = match block {
            Ok(block) => block,
            Err(error) => {
                whole.errors.push(error.to_string());
                continue;
            }
        };
        let (row0, col0, rows, cols) = shape.block_rect(index).unwrap();
        assert_eq!((block.rows, block.cols, block.bands.len()), (rows, cols, bands));
        let (row0, col0, rows, cols) = (row0 as usize, col0 as usize, rows as usize, cols as usize);
        for (band, samples) in block.bands.iter().enumerate() {
            assert_eq!(samples.data_type(), raster.info().data_type);
            let bytes = samples.to_le_bytes();
            for row in 0..rows {
                let at = ((band * height + row0 + row) * width + col0) * size;
                whole.bands[at..at + cols * size].copy_from_slice(&bytes[row * cols * size..(row + 1) * cols * size]);
            }
        }
        if let (Some(whole), Some(mask)) = (&mut whole.mask, &block.mask) {
            for row in 0..rows {
                let at = (row0 + row) * width + col0;
                whole[at..at + cols].copy_from_slice(&mask[row * cols..(row + 1) * cols]);
            }
        }
    }
    whole
}

fn data_type(numpy: &str) -> DataType {
    match numpy {
        "uint8" => DataType::U8,
        "int8" => DataType::I8,
        "uint16" => DataType::U16,
        "int16" => DataType::I16,
        "uint32" => DataType::U32,
        "int32" => DataType::I32,
        "uint64" => DataType::U64,
        "int64" => DataType::I64,
        "float32" => DataType::F32,
        "float64" => DataType::F64,
        other => panic!("{other}"),
    }
}

/// What the comparison of a file yields beside what it asserts.
#[derive(Default)]
struct Outcome {
    /// PROJ string or `EPSG:n`, to be compared by pyproj.
    crs: Option<String>,
    crs_problem: Option<String>,
    /// Errors that the file gives, with rasterio's failure at the same place.
    errors: Vec<String>,
    lossy: Option<(u8, f64)>,
}

fn check_info(entry: &Value, raster: &Raster, name: &str) -> Outcome {
    let info = raster.info();
    let number = |key: &str| entry[key].as_u64().unwrap();
    assert_eq!((u64::from(info.width), u64::from(info.height)), (number("width"), number("height")), "{name}");
    assert_eq!(info.band_count as u64, number("bands"), "{name}: bands");
    assert_eq!(info.data_type, data_type(entry["dtype"].as_str().unwrap()), "{name}: type");
    let nodata = entry["nodata"].as_str().map(|text| text.parse::<f64>().unwrap());
    assert!(
        match (info.nodata, nodata) {
            (Some(ours), Some(theirs)) => ours == theirs || ours.is_nan() && theirs.is_nan(),
            (None, None) => true,
            _ => false,
        },
        "{name}: no-data {:?}, rasterio {nodata:?}",
        info.nodata
    );
    let transform = info.transform.map(|t| [t.x0, t.x_per_col, t.x_per_row, t.y0, t.y_per_col, t.y_per_row]);
    // Numbers are written as text: JSON readers round them.
    let numbers = |key: &str| -> Vec<f64> {
        let numbers = entry[key].as_array().into_iter().flatten();
        numbers.map(|number| number.as_str().unwrap().parse().unwrap()).collect()
    };
    let theirs = numbers("transform");
    assert_eq!(transform.as_ref().map_or(&[][..], |numbers| &numbers[..]), theirs, "{name}: transform");
    assert_eq!(info.scales, numbers("scales"), "{name}: scales");
    assert_eq!(info.offsets, numbers("offsets"), "{name}: offsets");
    let names: Vec<Option<String>> = serde_json::from_value(entry["names"].clone()).unwrap();
    assert_eq!(info.band_names, names, "{name}: names");
    assert_eq!(info.alpha_band.map(|band| band as u64), entry["alpha"].as_u64(), "{name}: alpha");
    assert_eq!(info.has_mask, entry["has_mask"].as_bool().unwrap(), "{name}: mask");

    let epsg = entry["epsg"].as_u64();
    match &info.crs {
        Some(crs) if crs.starts_with("EPSG:") => {
            assert_eq!(Some(crs.clone()), epsg.map(|code| format!("EPSG:{code}")), "{name}");
        }
        Some(_) => assert_eq!(entry["has_crs"], true, "{name}: a CRS that rasterio does not see"),
        None => assert!(entry["has_crs"] == false || info.crs_problem.is_some(), "{name}: no CRS and no reason"),
    }
    Outcome { crs: info.crs.clone(), crs_problem: info.crs_problem.clone(), ..Outcome::default() }
}

/// Opens and reads all of a file and asserts that it is what rasterio gives.
async fn compare(entry: &Value, folder: &Path) -> Outcome {
    let name = entry["name"].as_str().unwrap();
    let bytes = std::fs::read(entry["path"].as_str().unwrap()).unwrap();
    let file = remote(bytes, name).await;
    let raster = Raster::open(&file, &Limits::default()).await.unwrap_or_else(|error| panic!("{error}"));
    let mut outcome = check_info(entry, &raster, name);
    let levels = entry["levels"].as_array().unwrap();
    assert_eq!(raster.levels().len(), levels.len(), "{name}: levels");
    for (index, theirs) in levels.iter().enumerate() {
        let ours = assemble(&raster, &file, index).await;
        if let Some(failure) = theirs["error"].as_str() {
            // Where rasterio fails, we must too, and say what and where.
            let error = ours.errors.first().unwrap_or_else(|| panic!("{name}: read where rasterio says {failure}"));
            assert!(error.contains(name) && error.contains("block ("), "{error}");
            outcome.errors.push(error.clone());
            continue;
        }
        assert_eq!(ours.errors, [""; 0], "{name}: level {index}");
        let shape = &raster.levels()[index];
        assert_eq!(Some(u64::from(shape.width)), theirs["width"].as_u64(), "{name}: level {index}");
        let pixels = std::fs::read(folder.join(theirs["data"].as_str().unwrap())).unwrap();
        if matches!(entry["compression"].as_str(), Some("JPEG")) {
            let worst = ours.bands.iter().zip(&pixels).map(|(&a, &b)| a.abs_diff(b)).max().unwrap_or(0);
            let sum: u64 = ours.bands.iter().zip(&pixels).map(|(&a, &b)| u64::from(a.abs_diff(b))).sum();
            let mean = sum as f64 / pixels.len() as f64;
            assert_eq!(ours.bands.len(), pixels.len(), "{name}: level {index}");
            assert!(worst <= JPEG_MAX && mean <= JPEG_MEAN, "{name}: level {index}: max {worst}, mean {mean}");
            let (max, mean_before) = outcome.lossy.unwrap_or_default();
            outcome.lossy = Some((max.max(worst), f64::max(mean_before, mean)));
        } else {
            assert!(ours.bands == pixels, "{name}: level {index}: pixels differ");
        }
        if let Some(mask) = theirs["mask"].as_str() {
            let mask = std::fs::read(folder.join(mask)).unwrap();
            assert!(ours.mask.as_ref() == Some(&mask), "{name}: level {index}: masks differ");
        }
    }
    outcome
}

/// Compares all files of an index; gives the outcomes by name.
fn compare_all(folder: &Path) -> Vec<(Value, Outcome)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let entries = index(folder);
    let mut outcomes = Vec::new();
    for entry in entries {
        let outcome = runtime.block_on(compare(&entry, folder));
        outcomes.push((entry, outcome));
    }
    let lossy: Vec<_> = outcomes.iter().filter_map(|(_, outcome)| outcome.lossy).collect();
    let worst = lossy.iter().map(|&(max, _)| max).max();
    let mean = lossy.iter().map(|&(_, mean)| mean).fold(0.0, f64::max);
    println!("{} files; {} in JPEG: max difference {worst:?}, largest mean {mean:.6}", outcomes.len(), lossy.len());
    outcomes
}

#[test]
fn real_files_read_as_in_gdal_or_fail_with_a_reason() {
    let test = "real_files_read_as_in_gdal_or_fail_with_a_reason";
    let shared = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/cogs");
    if !Path::new(shared).is_dir() {
        eprintln!("skipped: {test}: ../shared is not there");
        return;
    }
    let Some(python) = python(test) else { return };
    let folder = tempfile::tempdir().unwrap();
    reference(&python, &["dump", shared, folder.path().to_str().unwrap()]);
    let outcomes = compare_all(folder.path());
    assert_eq!(outcomes.len(), 42);
    let failing: Vec<&str> = outcomes
        .iter()
        .filter(|(_, outcome)| !outcome.errors.is_empty())
        .map(|(entry, _)| entry["name"].as_str().unwrap())
        .collect();
    // The first has two strips whose zlib checksum is cut off, the second a tile beyond the end of the file.
    assert_eq!(failing, ["geotrellis__jpeg-test-deflate-small.tif", "rasterio__corrupt.tif"]);
    let without_crs: Vec<_> = outcomes.iter().filter_map(|(_, outcome)| outcome.crs_problem.as_deref()).collect();
    assert_eq!(without_crs.len(), 1, "{without_crs:?}");
    assert!(without_crs[0].contains("ground control points"));
    check_crs(&python, &outcomes);
}

#[test]
fn files_of_every_kind_read_bit_for_bit_as_in_gdal() {
    let Some(python) = python("files_of_every_kind_read_bit_for_bit_as_in_gdal") else { return };
    let folder = tempfile::tempdir().unwrap();
    reference(&python, &["matrix", folder.path().to_str().unwrap()]);
    let outcomes = compare_all(folder.path());
    assert!(outcomes.len() > 700, "{}", outcomes.len());
    assert!(outcomes.iter().all(|(_, outcome)| outcome.errors.is_empty()));
    check_crs(&python, &outcomes);
    let without_crs: Vec<_> = outcomes
        .iter()
        .filter(|(_, outcome)| outcome.crs_problem.is_some())
        .map(|(entry, _)| entry["name"].as_str().unwrap())
        .collect();
    // Mollweide has no method code in GeoTIFF; the double stereographic projection is not in proj4rs.
    assert_eq!(without_crs, ["crs-15", "crs-19"]);
}

/// PROJ strings name the CRS that GDAL sees: they agree within a micrometre (or microfoot).
fn check_crs(python: &Path, outcomes: &[(Value, Outcome)]) {
    let pairs: Vec<Value> = outcomes
        .iter()
        .filter_map(|(entry, outcome)| {
            let crs = outcome.crs.as_ref().filter(|crs| crs.starts_with('+'))?;
            Some(serde_json::json!({ "path": entry["path"], "crs": crs }))
        })
        .collect();
    assert!(!pairs.is_empty());
    let found = reference(python, &["crs", &Value::from(pairs.clone()).to_string()]);
    let found: Vec<f64> = serde_json::from_str(&found).unwrap();
    assert_eq!(found.len(), pairs.len());
    for (pair, difference) in pairs.iter().zip(found) {
        assert!(difference < 1e-6, "{pair}: {difference}");
    }
}

#[test]
fn a_planar_file_with_predictor_gives_what_was_written() {
    // Without Python: two bands in planes of their own, 4 × 1 pixels, horizontal differences, uncompressed LZW-free
    // deflate made by hand. async-tiff sums such planes with the wrong stride.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let zlib = |bytes: &[u8]| {
        let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::fastest());
        let mut out = vec![0; compressor.zlib_compress_bound(bytes.len())];
        let length = compressor.zlib_compress(bytes, &mut out).unwrap();
        out.truncate(length);
        out
    };
    let (first, second) = (zlib(&[10, 1, 1, 1]), zlib(&[200, 255, 255, 60]));
    let mut tiff = b"II\x2a\0\x08\0\0\0".to_vec();
    let entries: [(u16, u16, u32, u32); 10] = [
        (256, 3, 1, 4),
        (257, 3, 1, 1),
        (258, 3, 2, 0x0008_0008),
        (259, 3, 1, 8),
        (262, 3, 1, 1),
        (273, 4, 2, 134),
        (277, 3, 1, 2),
        (279, 4, 2, 142),
        (284, 3, 1, 2),
        (317, 3, 1, 2),
    ];
    tiff.extend(10_u16.to_le_bytes());
    for (tag, field, count, value) in entries {
        tiff.extend([tag.to_le_bytes(), field.to_le_bytes()].concat());
        tiff.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
    }
    tiff.extend(0_u32.to_le_bytes());
    assert_eq!(tiff.len(), 134);
    let (a, b) = (first.len() as u32, second.len() as u32);
    tiff.extend([150, 150 + a, a, b].map(u32::to_le_bytes).concat());
    tiff.extend(first);
    tiff.extend(second);
    let block = runtime.block_on(async {
        let file = remote(tiff, "planar.tif").await;
        let raster = Raster::open(&file, &Limits::default()).await.unwrap();
        let blocks = raster.levels()[0].blocks_in(0..1, 0..4);
        raster.read_blocks(&file, 0, &blocks).await.remove(0).unwrap()
    });
    assert_eq!(block.bands, [Samples::U8(vec![10, 11, 12, 13]), Samples::U8(vec![200, 199, 198, 2])]);
}
