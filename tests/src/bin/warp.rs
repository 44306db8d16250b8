//! Reads a scene's file onto a grid, tile by tile, as detection does: `warp SPEC.json`, for `.ci/bench-scale`, which writes the
//! description and runs `rasterio` over the same pixels. Where `out` is named, the bands are written there one after the other,
//! 32-bit floats of this machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, reason = "a measuring tool")]

use std::path::PathBuf;

use groundbreak_tests::plan;
use imagery::{SceneReader, Stores};
use survey::calibration::Registration;
use survey::findings::Run;
use survey::grid::{GeoTransform, Grid, PixelRect};
use survey::scene::BandName;

/// Side of what is read at a time, pixels.
const TILE_PX: usize = 1024;

fn main() {
    let path = PathBuf::from(std::env::args().nth(1).expect("usage: warp SPEC.json"));
    let spec: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let text = |name: &str| spec[name].as_str().unwrap().to_owned();
    let number = |name: &str| u32::try_from(spec[name].as_u64().unwrap()).unwrap();
    let file = PathBuf::from(text("file"));
    let [x0, x_per_col, x_per_row, y0, y_per_col, y_per_row]: [f64; 6] =
        serde_json::from_value(spec["transform"].clone()).unwrap();
    let [row0, col0, row1, col1]: [i32; 4] = serde_json::from_value(spec["rect"].clone()).unwrap();

    let names: Vec<BandName> = (0..number("bands")).map(|band| BandName::new(&format!("b{band}"))).collect();
    let transform = GeoTransform { x0, x_per_col, x_per_row, y0, y_per_col, y_per_row };
    let scene = plan::scene_of(&file, &text("crs"), transform, [number("width"), number("height")], &names, None);
    let grid = Grid { crs: text("grid"), resolution_m: spec["resolution"].as_f64().unwrap() };

    let rect = PixelRect::new(row0, col0, row1, col1);
    let mut whole: Vec<Vec<f32>> = match spec["out"].as_str() {
        Some(_) => names.iter().map(|_| vec![0.0; rect.pixels()]).collect(),
        None => Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let root = file.parent().unwrap().display().to_string();
    let reader = SceneReader::new(Stores::new(&[], &root).unwrap(), 512 << 20);
    for row in (rect.row0..rect.row1).step_by(TILE_PX) {
        for col in (rect.col0..rect.col1).step_by(TILE_PX) {
            let end = |from: i32, last: i32| (from + TILE_PX as i32).min(last);
            let tile = PixelRect::new(row, col, end(row, rect.row1), end(col, rect.col1));
            let read = runtime.block_on(reader.read(&grid, &scene, &names, tile, &Registration::default())).unwrap();
            assert!(read.unreadable.is_empty(), "{:?}", read.unreadable);
            for (whole, plane) in whole.iter_mut().zip(&read.window.planes) {
                for line in tile.row0..tile.row1 {
                    let at = (line - rect.row0) as usize * rect.cols() + (col - rect.col0) as usize;
                    let run = Run { row: line, col0: tile.col0, col1: tile.col1 };
                    plane.copy_to(run, &mut whole[at..at + tile.cols()]);
                }
            }
        }
    }
    if let Some(out) = spec["out"].as_str() {
        let bytes: Vec<u8> = whole.iter().flatten().flat_map(|value| value.to_ne_bytes()).collect();
        std::fs::write(out, bytes).unwrap();
    }
}
