//! Scenes read from files onto the survey's grid, against GDAL, and with files that are broken.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests may")]

use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::{TimeZone, Utc};
use geo::MultiPolygon;
use imagery::cog::write::{CogCrs, CogSpec, Overviews, write_cog};
use imagery::scene_reader::{ReadCost, Then, Tiles, scene_corner, scene_rect};
use imagery::{Fetched, ImageryError, SceneReader, Stores};
use survey::calibration::Registration;
use survey::failure::FailureClass;
use survey::grid::{Block, GeoTransform, Grid, PixelRect};
use survey::raster::{BandPlane, PixelState};
use survey::scene::{Asset, BandName, MaskMeaning, Scene, SceneBand, SceneMask};
use survey::swath::Swaths;

const UTM: &str = "EPSG:32652";

fn north_up(x0: f64, y0: f64, gsd: f64) -> GeoTransform {
    GeoTransform { x0, x_per_col: gsd, x_per_row: 0.0, y0, y_per_col: 0.0, y_per_row: -gsd }
}

fn asset(path: &Path, crs: &str, transform: GeoTransform, width: u32, height: u32, bits: u16, bands: u16) -> Asset {
    Asset {
        href: format!("file://{}", path.display()),
        crs: crs.into(),
        transform,
        width,
        height,
        bits_per_sample: bits,
        band_count: bands,
        size: None,
        etag: None,
        checksum: None,
    }
}

fn band(name: &str, asset: u16, index: u16) -> SceneBand {
    SceneBand { name: BandName::new(name), asset, index, scale: 1.0, offset: 0.0, nodata: None }
}

fn scene(assets: Vec<Asset>, bands: Vec<SceneBand>, masks: Vec<SceneMask>) -> Scene {
    Scene {
        id: "scene".into(),
        acquired: Utc.with_ymd_and_hms(2024, 5, 29, 2, 0, 0).unwrap(),
        platform: None,
        gsd_m: 1.0,
        off_nadir_deg: None,
        cloud_cover: None,
        footprint: MultiPolygon(vec![]),
        assets,
        bands,
        masks,
    }
}

fn spec(width: u32, height: u32, transform: GeoTransform, bands: &[&str]) -> CogSpec {
    CogSpec {
        width,
        height,
        band_names: bands.iter().map(|name| (*name).to_owned()).collect(),
        georeference: Some((CogCrs::Projected(32652), transform)),
        nodata: None,
        block_px: 64,
        overviews: Overviews::None,
        predictor: true,
        deflate_level: 1,
    }
}

fn names(bands: &[&str]) -> Vec<BandName> {
    bands.iter().map(|name| BandName::new(name)).collect()
}

fn reader(folder: &Path) -> SceneReader {
    SceneReader::new(Stores::new(&[], &folder.display().to_string()).unwrap(), 64 << 20)
}

fn noise(x: u32, y: u32, seed: u64) -> u16 {
    let mut z = (u64::from(x) << 32 | u64::from(y)).wrapping_add(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z >> 40) % 4000) as u16 + 1
}

fn picture(width: u32, height: u32, seed: u64) -> Vec<u16> {
    (0..height).flat_map(|y| (0..width).map(move |x| noise(x, y, seed))).collect()
}

/// Runs Python with rasterio; `None` where there is none.
fn python(code: &str, arguments: &[&str]) -> Option<()> {
    let venv = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.venv/bin/python"));
    let program = if venv.exists() { venv } else { PathBuf::from("python3") };
    let has_rasterio = Command::new(&program).args(["-c", "import rasterio"]).output().ok()?.status.success();
    if !has_rasterio {
        return None;
    }
    let output = Command::new(&program).arg("-c").arg(code).args(arguments).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(())
}

#[test]
fn the_corner_of_a_scene_is_where_its_first_pixel_begins() {
    let grid = Grid { crs: UTM.into(), resolution_m: 2.0 };
    let corner = |crs: &str, transform: GeoTransform| {
        let scene =
            scene(vec![asset(Path::new("/a.tif"), crs, transform, 50, 40, 16, 1)], vec![band("red", 0, 0)], vec![]);
        scene_corner(&grid, &scene, &[BandName::new("red")]).unwrap()
    };
    for gsd in [0.5, 2.0, 10.0] {
        assert_eq!(corner(UTM, north_up(500_010.0, 4_000_020.0, gsd)), Some([-2_000_010, 250_005]));
    }
    // 129° E is the middle of zone 52: 500 km east.
    assert_eq!(corner("EPSG:4326", north_up(129.0, 0.0, 0.001)), Some([0, 250_000]));
    let nameless = scene(vec![], vec![], vec![]);
    assert_eq!(scene_corner(&grid, &nameless, &[BandName::new("red")]).unwrap(), None);
}

#[tokio::test]
async fn a_geographic_scene_on_a_utm_grid_has_the_values_of_gdal() {
    let file =
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/scenes/landsat_pucallpa/2020.tif"));
    if !file.exists() {
        println!("skipped: a_geographic_scene_on_a_utm_grid_has_the_values_of_gdal: ../shared is not there");
        return;
    }
    const WARP: &str = r#"
import sys, numpy as np, rasterio
from rasterio.warp import reproject, Resampling
from rasterio.transform import from_origin
src, out, res, row0, col0, rows, cols = sys.argv[1], sys.argv[2], float(sys.argv[3]), *map(int, sys.argv[4:8])
with rasterio.open(src) as d:
    a = d.read().astype("float32"); transform, crs = d.transform, d.crs
for name, how in [("cubic", Resampling.cubic), ("bilinear", Resampling.bilinear), ("average", Resampling.average)]:
    dst = np.full((a.shape[0], rows, cols), -1, "float32")
    # In pieces: GDAL interpolates coordinates along a whole row, and is then off by up to an eighth of a pixel.
    for r in range(0, rows, 48):
        for c in range(0, cols, 48):
            part = np.full((a.shape[0], min(48, rows - r), min(48, cols - c)), -1, "float32")
            reproject(a, part, src_transform=transform, src_crs=crs, dst_crs="EPSG:32718", src_nodata=0, dst_nodata=-1,
                      dst_transform=from_origin((col0 + c)*res, -(row0 + r)*res, res, res), resampling=how)
            dst[:, r:r+48, c:c+48] = part
    dst.tofile(f"{out}/{name}.f32")
"#;
    let folder = tempfile::tempdir().unwrap();
    let degrees = 0.000_808_483_755_707_569_4;
    let transform = GeoTransform {
        x0: -74.722_494_153_760_68,
        x_per_col: degrees,
        x_per_row: 0.0,
        y0: -8.282_107_593_468_341,
        y_per_col: 0.0,
        y_per_row: -degrees,
    };
    let bands = ["swir16", "nir", "red", "green"];
    let listed = bands.iter().enumerate().map(|(index, name)| band(name, 0, index as u16)).collect();
    let scene = scene(vec![asset(&file, "EPSG:4326", transform, 697, 377, 8, 4)], listed, vec![]);
    for (resolution, methods) in [(60.0, ["cubic", "bilinear"]), (240.0, ["average", "average"])] {
        let grid = Grid { crs: "EPSG:32718".into(), resolution_m: resolution };
        let whole = scene_rect(&grid, &scene, &names(&bands)).unwrap().unwrap();
        let rect = whole.grown(-8);
        let arguments = [rect.row0, rect.col0, rect.rows() as i32, rect.cols() as i32].map(|value| value.to_string());
        let mut list = vec![file.to_str().unwrap(), folder.path().to_str().unwrap()];
        let resolution_text = resolution.to_string();
        list.push(&resolution_text);
        list.extend(arguments.iter().map(String::as_str));
        if python(WARP, &list).is_none() {
            println!("skipped: a_geographic_scene_on_a_utm_grid_has_the_values_of_gdal: rasterio is not there");
            return;
        }
        let read =
            reader(folder.path()).read(&grid, &scene, &names(&bands), rect, &Registration::default()).await.unwrap();
        let valid = read.window.state.data().iter().filter(|state| **state == PixelState::Valid).count();
        assert!(valid > rect.pixels() * 9 / 10, "{valid} of {}", rect.pixels());
        assert!(read.fetched.blocks > 0 && read.unreadable.is_empty());
        for method in methods {
            let bytes = std::fs::read(folder.path().join(format!("{method}.f32"))).unwrap();
            let theirs: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            let (mut largest, mut sum, mut squares, mut count) = (0.0_f64, 0.0_f64, 0.0_f64, 0_u32);
            for (index, plane) in read.window.planes.iter().map(BandPlane::values).enumerate() {
                for row in rect.row0 + 4..rect.row1 - 4 {
                    for col in rect.col0 + 4..rect.col1 - 4 {
                        // Beside missing pixels GDAL weighs otherwise.
                        let is_clean = (row - 4..=row + 4).all(|r| {
                            (col - 4..=col + 4).all(|c| read.window.state.get(r, c) == Some(PixelState::Valid))
                        });
                        let at = (row - rect.row0) as usize * rect.cols() + (col - rect.col0) as usize;
                        let other = theirs[index * rect.pixels() + at];
                        if !is_clean || other < 0.0 {
                            continue;
                        }
                        let difference = f64::from(plane.get(row, col).unwrap() - other);
                        sum += difference;
                        largest = largest.max(difference.abs());
                        squares += difference * difference;
                        count += 1;
                    }
                }
            }
            let rms = (squares / f64::from(count)).sqrt();
            let mean = sum / f64::from(count);
            println!("{resolution} m against {method}: mean {mean:.4} rms {rms:.4} largest {largest:.3} over {count}");
            match method {
                // The same kernel: what is left is the rounding of places (1/2048 px) and GDAL's of its transformer.
                "cubic" => assert!(count > 100_000 && largest < 0.3 && rms < 0.02, "{largest} {rms}"),
                "bilinear" => assert!(rms < 3.0, "{rms}"),
                // Ours is as wide as a point spread, a plain average narrower: single pixels differ, their mean does not.
                _ => assert!(count > 50_000 && rms < 6.0 && mean.abs() < 0.02, "{mean} {rms}"),
            }
        }
    }
}

#[tokio::test]
async fn rectangles_agree_in_their_overlap_and_each_block_is_decoded_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    let (width, height) = (300, 260);
    let transform = north_up(1000.3, -2000.2, 1.0);
    let (red, nir) = (picture(width, height, 1), picture(width, height, 2));
    std::fs::write(&path, write_cog(&spec(width, height, transform, &["red", "nir"]), &[&red, &nir]).unwrap()).unwrap();
    let mut red_band = band("red", 0, 0);
    (red_band.scale, red_band.offset, red_band.nodata) = (0.5, -3.0, Some(7.0));
    let scene =
        scene(vec![asset(&path, UTM, transform, width, height, 16, 2)], vec![red_band, band("nir", 0, 1)], vec![]);
    let grid = Grid { crs: UTM.into(), resolution_m: 1.0 };
    let bands = names(&["nir", "red"]);
    let whole = scene_rect(&grid, &scene, &bands).unwrap().unwrap();
    let correction = Registration { shift_row: 300, shift_col: -411, ..Registration::default() };
    let reader = reader(folder.path());
    let reference = reader.read(&grid, &scene, &bands, whole, &correction).await.unwrap();
    // 300 × 260 pixels in blocks of 64.
    assert_eq!((reference.fetched.blocks, reader.blocks_decoded()), (25, 25));
    assert!(reference.fetched.bytes > 100_000);
    for (row0, col0) in [(0, 0), (97, 31), (130, 150)] {
        let part =
            PixelRect::new(whole.row0 + row0, whole.col0 + col0, whole.row0 + row0 + 77, whole.col0 + col0 + 130);
        let read = reader.read(&grid, &scene, &bands, part, &correction).await.unwrap();
        assert_eq!(read.window.state, reference.window.state.crop(part));
        for (plane, other) in read.window.planes.iter().zip(&reference.window.planes) {
            let bits =
                |plane: &survey::raster::Plane<f32>| plane.data().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&plane.values()), bits(&other.values().crop(part)));
        }
        assert_eq!(read.fetched.blocks, 0);
    }
    assert_eq!(reader.blocks_decoded(), 25);
    let cost = ReadCost::new(&grid, &scene, &bands);
    let bytes = cost.peak_bytes(whole.rows() as u64, whole.cols() as u64);
    // Two bands and a state, twice: as they lie in the file and on the grid.
    assert!(bytes > whole.pixels() as u64 * 18 && bytes < whole.pixels() as u64 * 22, "{bytes}");
}

#[tokio::test]
async fn what_is_fetched_ahead_is_there_when_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    let red = picture(300, 260, 1);
    // A scene as the grid lies, one in pixels of a third, and one in another CRS, turned against the grid by a degree.
    for (zone, transform) in [
        (32652, north_up(1000.0, -2000.0, 1.0)),
        (32652, north_up(1000.0, -2000.0, 0.4)),
        (32651, north_up(1_000_000.0, 4_600_000.0, 1.0)),
    ] {
        let crs = &format!("EPSG:{zone}");
        let georeference = Some((CogCrs::Projected(zone), transform));
        let spec = CogSpec { georeference, ..spec(300, 260, transform, &["red"]) };
        std::fs::write(&path, write_cog(&spec, &[&red]).unwrap()).unwrap();
        let scene = scene(vec![asset(&path, crs, transform, 300, 260, 16, 1)], vec![band("red", 0, 0)], vec![]);
        let grid = Grid { crs: UTM.into(), resolution_m: 1.0 };
        let bands = names(&["red"]);
        let whole = scene_rect(&grid, &scene, &bands).unwrap().unwrap();
        let part = PixelRect { row1: whole.row0 + whole.rows() as i32 / 2, col0: whole.col0 + 40, ..whole };
        let ahead = reader(folder.path());
        let fetched = ahead.fetch_ahead(&grid, &scene, &bands, part).await;
        let read = ahead.read(&grid, &scene, &bands, part, &Registration::default()).await.unwrap();
        let alone = reader(folder.path()).read(&grid, &scene, &bands, part, &Registration::default()).await.unwrap();
        assert!(alone.fetched.blocks > 3, "{crs}: {:?}", alone.fetched);
        assert_eq!(
            (read.fetched.blocks, read.window.planes[0].values()),
            (0, alone.window.planes[0].values()),
            "{crs}"
        );
        // No more than a few that the corners of a turned rectangle reach.
        assert!((alone.fetched.blocks..=alone.fetched.blocks + 4).contains(&fetched.blocks), "{crs}: {fetched:?}");
        // Where there is no scene, nothing is fetched, and where it cannot be read or there is no room neither.
        let beyond = PixelRect::new(whole.row1 + 90, whole.col1 + 90, whole.row1 + 190, whole.col1 + 190);
        assert_eq!(ahead.fetch_ahead(&grid, &scene, &bands, beyond).await, Fetched::default());
        assert_eq!(ahead.fetch_ahead(&grid, &scene, &names(&["nir"]), part).await, Fetched::default());
        let small = SceneReader::new(Stores::new(&[], &folder.path().display().to_string()).unwrap(), 1 << 10);
        assert_eq!(small.fetch_ahead(&grid, &scene, &bands, part).await, Fetched::default());
        std::fs::write(&path, "no raster").unwrap();
        assert_eq!(reader(folder.path()).fetch_ahead(&grid, &scene, &bands, part).await, Fetched::default());
    }
}

#[tokio::test]
async fn blocks_leave_when_the_last_tile_has_read_them_and_not_before() {
    const SIDE: i32 = 100;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("red.tif");
    let red = picture(300, 260, 1);
    // Where pixels are copied and where they are weighed.
    for offset in [0.0, 0.4] {
        let transform = north_up(1000.0 + offset, -2000.0 - offset, 1.0);
        std::fs::write(&path, write_cog(&spec(300, 260, transform, &["red"]), &[&red]).unwrap()).unwrap();
        let scene = scene(vec![asset(&path, UTM, transform, 300, 260, 16, 1)], vec![band("red", 0, 0)], vec![]);
        let grid = Grid { crs: UTM.into(), resolution_m: 1.0 };
        let swaths = Swaths::over(PixelRect::new(19 * SIDE, 9 * SIDE, 23 * SIDE, 14 * SIDE), SIDE);
        let tiles: Vec<Block> = (19..=22).flat_map(|y| (9..=13).map(move |x| Block { level: 0, y, x })).collect();
        let uncorrected = Registration::default();
        let whole = PixelRect::new(1990, 990, 2270, 1310);
        for (then, again) in [(Then::Leaves, 25), (Then::Stays, 0)] {
            let reader = reader(folder.path());
            for &tile in &tiles {
                let (one, around) = (tile.rect(SIDE).grown(12), swaths.around(tile));
                let reader = reader.of_tiles(Tiles { one, side_px: SIDE, around, then });
                reader.read(&grid, &scene, &names(&["red"]), one, &uncorrected).await.unwrap();
            }
            assert_eq!(reader.blocks_decoded(), 25, "five by five, each once");
            reader.read(&grid, &scene, &names(&["red"]), whole, &uncorrected).await.unwrap();
            assert_eq!(reader.blocks_decoded(), 25 + again, "{then:?} at {offset}");
        }
    }
}

#[tokio::test]
async fn masks_of_another_resolution_and_alpha_and_nodata_leave_out_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let transform = north_up(0.0, 0.0, 1.0);
    let mut red = picture(128, 128, 1);
    // Under the cloud the values are enormous; they must not show anywhere.
    for y in 40..60 {
        for x in 40..60 {
            red[y * 128 + x] = 60_000;
        }
    }
    red[10 * 128 + 100] = 0;
    let mut spec_red = spec(128, 128, transform, &["red"]);
    spec_red.nodata = Some(0.0);
    std::fs::write(folder.path().join("red.tif"), write_cog(&spec_red, &[&red]).unwrap()).unwrap();
    // Scene classification at 2 m: clouds over (40..60)², no data in the last two columns.
    let classes: Vec<u8> = (0..64 * 64)
        .map(|index| match (index / 64, index % 64) {
            (20..30, 20..30) => 9,
            (_, 63) => 0,
            _ => 4,
        })
        .collect();
    let coarse = north_up(0.0, 0.0, 2.0);
    std::fs::write(folder.path().join("scl.tif"), write_cog(&spec(64, 64, coarse, &["scl"]), &[&classes]).unwrap())
        .unwrap();
    let assets = vec![
        asset(&folder.path().join("red.tif"), UTM, transform, 128, 128, 16, 1),
        asset(&folder.path().join("scl.tif"), UTM, coarse, 64, 64, 8, 1),
    ];
    let mask = SceneMask { asset: 1, index: 0, meaning: MaskMeaning::SceneClassification };
    let scene = scene(assets, vec![band("red", 0, 0)], vec![mask]);
    let grid = Grid { crs: UTM.into(), resolution_m: 1.0 };
    let rect = PixelRect::new(0, 0, 128, 128);
    let reader = reader(folder.path());
    let read = reader.read(&grid, &scene, &names(&["red"]), rect, &Registration::default()).await.unwrap();
    for row in 0..128 {
        for col in 0..128 {
            let expected = match (row, col) {
                (40..60, 40..60) => PixelState::Cloud,
                (_, 126..) => PixelState::Nodata,
                (10, 100) => PixelState::Nodata,
                _ => PixelState::Valid,
            };
            assert_eq!(read.window.state.get(row, col), Some(expected), "{row} {col}");
        }
    }
    // Half a pixel off: at the cloud's edge pixels are interpolated, and the cloud stays out of them.
    let shift = Registration { shift_row: 512, shift_col: 512, ..Registration::default() };
    let read = reader.read(&grid, &scene, &names(&["red"]), rect, &shift).await.unwrap();
    let values = read.window.planes[0].values();
    let valid = values.data().iter().zip(read.window.state.data());
    let largest = valid.filter(|(_, s)| **s == PixelState::Valid).map(|(v, _)| *v).fold(0.0, f32::max);
    assert!(largest < 7000.0, "{largest}");
    let clouds = read.window.state.data().iter().filter(|s| **s == PixelState::Cloud).count();
    assert!((360..=400).contains(&clouds), "{clouds}");
}

#[tokio::test]
async fn a_broken_block_is_a_gap_of_exactly_its_pixels_and_a_missing_file_one_of_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tif");
    let transform = north_up(0.0, 0.0, 1.0);
    let red = picture(192, 192, 3);
    let mut bytes = write_cog(&spec(192, 192, transform, &["red"]), &[&red]).unwrap();
    // The last block in the file is the one at (2, 2): its stream is cut to nonsense.
    let from = bytes.len() - 2000;
    bytes[from..].fill(0xff);
    std::fs::write(&path, &bytes).unwrap();
    let grid = Grid { crs: UTM.into(), resolution_m: 1.0 };
    let rect = PixelRect::new(0, 0, 192, 192);
    let bands = names(&["red"]);
    let broken = scene(vec![asset(&path, UTM, transform, 192, 192, 16, 1)], vec![band("red", 0, 0)], vec![]);
    let read = reader(folder.path()).read(&grid, &broken, &bands, rect, &Registration::default()).await.unwrap();
    for row in 0..192 {
        for col in 0..192 {
            let expected = if row >= 128 && col >= 128 { PixelState::Unreadable } else { PixelState::Valid };
            assert_eq!(read.window.state.get(row, col), Some(expected), "{row} {col}");
        }
    }
    assert_eq!(read.unreadable.len(), 1);
    let part = &read.unreadable[0];
    assert_eq!((part.note.scene.as_str(), part.runs.len(), part.runs[0].len()), ("scene", 64, 64));
    assert!(!part.note.cause.contains("a.tif") && part.note.cause.contains("(2, 2)"), "{}", part.note.cause);

    let missing = asset(&folder.path().join("gone.tif"), UTM, transform, 100, 192, 16, 1);
    let gone = scene(vec![missing], vec![band("red", 0, 0)], vec![]);
    let read = reader(folder.path()).read(&grid, &gone, &bands, rect, &Registration::default()).await.unwrap();
    let count = |state: PixelState| read.window.state.data().iter().filter(|s| **s == state).count();
    assert_eq!((count(PixelState::Unreadable), count(PixelState::NoScene)), (100 * 192, 92 * 192));
    assert_eq!(read.unreadable[0].note.cause, "the file is not there");

    let mut changed = broken.clone();
    changed.assets[0].size = Some(12);
    let error = reader(folder.path()).read(&grid, &changed, &bands, rect, &Registration::default()).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::InputChanged);
    let error =
        reader(folder.path()).read(&grid, &broken, &names(&["nir"]), rect, &Registration::default()).await.unwrap_err();
    assert!(matches!(error, ImageryError::Document { .. }), "{error}");
}

#[tokio::test]
async fn a_scene_of_another_resolution_and_several_files_is_read_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let (fine, coarse) = (north_up(0.0, 0.0, 0.5), north_up(0.0, 0.0, 2.0));
    let ramp = |width: u32, height: u32, gsd: f64| -> Vec<f32> {
        let at = move |x: u32, y: u32| (10.0 * (f64::from(x) + 0.5) + 3.0 * (f64::from(y) + 0.5)) * gsd;
        (0..height).flat_map(|y| (0..width).map(move |x| at(x, y) as f32)).collect()
    };
    let mut pyramid = spec(256, 256, fine, &["red"]);
    (pyramid.overviews, pyramid.predictor) = (Overviews::Average, false);
    std::fs::write(folder.path().join("red.tif"), write_cog(&pyramid, &[&ramp(256, 256, 0.5)]).unwrap()).unwrap();
    let mut flat = spec(64, 60, coarse, &["nir"]);
    flat.predictor = false;
    std::fs::write(folder.path().join("nir.tif"), write_cog(&flat, &[&ramp(64, 60, 2.0)]).unwrap()).unwrap();
    let assets = vec![
        asset(&folder.path().join("red.tif"), UTM, fine, 256, 256, 32, 1),
        asset(&folder.path().join("nir.tif"), UTM, coarse, 64, 60, 32, 1),
    ];
    let scene = scene(assets, vec![band("red", 0, 0), band("nir", 1, 0)], vec![]);
    let grid = Grid { crs: UTM.into(), resolution_m: 1.0 };
    let rect = PixelRect::new(0, 0, 128, 128);
    let read = reader(folder.path())
        .read(&grid, &scene, &names(&["nir", "red"]), rect, &Registration::default())
        .await
        .unwrap();
    // The finer file is read from its overview: 128 × 128 in blocks of 64, and the coarser one whole.
    assert_eq!(read.fetched.blocks, 4 + 1);
    for row in 0..128 {
        for col in 0..128 {
            let inside = row < 120;
            assert_eq!(read.window.state.get(row, col) == Some(PixelState::Valid), inside, "{row} {col}");
            if inside && (8..112).contains(&row) && (8..120).contains(&col) {
                let expected = 10.0 * (f64::from(col) + 0.5) + 3.0 * (f64::from(row) + 0.5);
                for plane in &read.window.planes {
                    let error = f64::from(plane.values().get(row, col).unwrap()) - expected;
                    assert!(error.abs() < 1e-2, "{row} {col}: {error}");
                }
            }
        }
    }
}

/// Not run by default: `cargo test --release -p groundbreak-imagery --test scenes_on_the_grid -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "measures; takes a while"]
async fn how_long_a_pair_takes_to_read() {
    let folder = tempfile::tempdir().unwrap();
    let side = 4096;
    let transform = north_up(0.0, 0.0, 1.0);
    let bands = [1, 2, 3, 4].map(|seed| {
        (0..side * side).map(|index| noise((index % side) / 8, index / side / 8, seed) / 4 + 1).collect::<Vec<u16>>()
    });
    let mut big = spec(side, side, transform, &["blue", "green", "red", "nir"]);
    (big.block_px, big.nodata) = (512, Some(0.0));
    let path = folder.path().join("big.tif");
    let slices: Vec<&[u16]> = bands.iter().map(Vec::as_slice).collect();
    std::fs::write(&path, write_cog(&big, &slices).unwrap()).unwrap();
    let names = names(&["blue", "green", "red", "nir"]);
    let listed = names.iter().zip(0..).map(|(name, index)| band(name.as_str(), 0, index)).collect();
    let scene = scene(vec![asset(&path, UTM, transform, side, side, 16, 4)], listed, vec![]);
    let cases = [
        ("as it lies", 1.0, Registration::default()),
        ("shifted", 1.0, Registration { shift_row: 300, shift_col: 700, ..Registration::default() }),
        ("turned", 1.0, Registration { linear: [9000, -40_000, 40_000, 9000], ..Registration::default() }),
        ("shrunk", 1.5, Registration::default()),
    ];
    let reader = SceneReader::new(Stores::new(&[], &folder.path().display().to_string()).unwrap(), 1 << 30);
    for (name, resolution_m, correction) in std::iter::once(cases[0]).chain(cases) {
        let grid = Grid { crs: UTM.into(), resolution_m };
        let before = cpu_seconds();
        let count = (f64::from(side) / resolution_m / 1024.0).floor() as i32;
        for (row, col) in (0..count).flat_map(|row| (0..count).map(move |col| (row * 1024, col * 1024))) {
            let rect = PixelRect::new(row - 32, col - 32, row + 1056, col + 1056);
            reader.read(&grid, &scene, &names, rect, &correction).await.unwrap();
        }
        let pixels = f64::from(count * count) * 1088.0 * 1088.0;
        println!("{name}: {:.1} ns a pixel of 4 bands", (cpu_seconds() - before) * 1e9 / pixels);
    }
}

/// User and system time of this process, seconds.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // After the name: state (no number), ppid, … utime is the 11th number, stime the 12th; 100 ticks a second.
    fields.get(10).zip(fields.get(11)).map_or(0.0, |(user, system)| (user + system) / 100.0)
}
