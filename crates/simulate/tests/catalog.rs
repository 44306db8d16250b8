//! The catalogs that are written are read by the reader that surveys use: nothing refused, everything found.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests may stop where they stand")]

use std::path::Path;

use imagery::catalog::{Found, search};
use imagery::{SceneReader, Stores};
use simulate::scenario::{self, SensorChoice};
use simulate::write::{CountyOptions, Options, PlaceOptions, simulate, write_scene};
use survey::calibration::Registration;
use survey::grid::{Grid, PixelRect};
use survey::raster::{PixelState, Plane};
use survey::scene::{BandName, MaskMeaning};
use survey::spec::{SurveySpec, WindowSection};

async fn found(folder: &Path, window: &WindowSection, which: &str, bbox: [f64; 4]) -> Found {
    let stores = Stores::new(&[], folder.to_str().unwrap()).unwrap();
    search(&stores, window, which, bbox).await.unwrap()
}

fn spec(folder: &Path) -> SurveySpec {
    SurveySpec::parse(&std::fs::read_to_string(folder.join("survey.toml")).unwrap()).unwrap()
}

fn options(out: &Path, place: PlaceOptions) -> Options {
    let coarse = |gsd_m| SensorChoice { gsd_m: Some(gsd_m), dtype: None };
    Options {
        out: out.into(),
        seed: 3,
        place,
        before: coarse(10.0),
        after: coarse(5.0),
        clouds: true,
        other_zone: true,
    }
}

#[tokio::test]
async fn the_provinces_scenes_are_found_with_their_bands_zones_and_cloud_mask() {
    let folder = tempfile::tempdir().unwrap();
    simulate(&options(folder.path(), PlaceOptions::Province), &|_| {}).unwrap();
    let spec = spec(folder.path());
    let province = [129.19, 39.39, 129.26, 39.44];
    let before = found(folder.path(), &spec.before, "before", province).await;
    let after = found(folder.path(), &spec.after, "after", province).await;
    for found in [&before, &after] {
        assert!(found.refused.is_empty() && found.warnings.is_empty(), "{:?} {:?}", found.refused, found.warnings);
        let zones: Vec<&str> = found.scenes.iter().map(|scene| scene.assets[0].crs.as_str()).collect();
        assert_eq!(zones, ["EPSG:32652", "EPSG:32653"]);
        for scene in &found.scenes {
            assert_eq!(scene.bands.len(), 4);
            assert!(scene.bands.iter().all(|band| (band.scale - 0.0005).abs() < 1e-12 && band.nodata == Some(0.0)));
            assert!(
                scene.assets.iter().all(|asset| asset.checksum.as_ref().is_some_and(|sum| sum.starts_with("1220")))
            );
            assert!(scene.off_nadir_deg.is_some_and(|angle| (8.0..20.0).contains(&angle)));
        }
    }
    assert_eq!((before.scenes[0].gsd_m, after.scenes[0].gsd_m), (10.0, 5.0));
    // The later sensor's bands stand in another order.
    assert_eq!(before.scenes[0].band(&BandName::new("red")).unwrap().index, 2);
    assert_eq!(after.scenes[0].band(&BandName::new("red")).unwrap().index, 1);
    let masks: Vec<_> = after.scenes.iter().map(|scene| scene.masks.first().map(|mask| mask.meaning)).collect();
    assert_eq!(masks, [Some(MaskMeaning::CloudMask), None]);
    assert!(after.scenes[0].cloud_cover.is_some_and(|percent| percent > 1.0));
}

#[tokio::test]
async fn items_without_pixels_are_scenes_to_plan_with() {
    let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/boundaries/us_counties.geojson"));
    if !file.exists() {
        println!("skipped: items_without_pixels_are_scenes_to_plan_with: ../shared is not there");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let counties = CountyOptions { file: file.into(), ..CountyOptions::default() };
    simulate(&options(folder.path(), PlaceOptions::ItemsOnly(counties, Some(10.0))), &|_| {}).unwrap();
    let spec = spec(folder.path());
    let before = found(folder.path(), &spec.before, "before", [-180.0, -20.0, 180.0, 75.0]).await;
    assert!(before.refused.is_empty(), "{:?}", before.refused.first());
    assert!((1000..2000).contains(&before.scenes.len()), "{}", before.scenes.len());
    for scene in &before.scenes {
        let asset = &scene.assets[0];
        assert_eq!((asset.width, asset.height, asset.bits_per_sample, asset.band_count), (10_980, 10_980, 16, 4));
        assert!(asset.crs.starts_with("EPSG:32"));
    }
}

/// Where the mean squared difference of two planes is least, as a displacement in columns and rows of the second, from
/// parabolas through whole displacements.
fn displacement(a: &Plane<f32>, b: &Plane<f32>) -> (f64, f64) {
    let inner = a.rect().grown(-2);
    let misfit = |dr: i32, dc: i32| {
        let mut sum = 0.0;
        for row in inner.row0..inner.row1 {
            for col in inner.col0..inner.col1 {
                let d = f64::from(a.get(row, col).unwrap() - b.get(row + dr, col + dc).unwrap());
                sum += d * d;
            }
        }
        sum / inner.pixels() as f64
    };
    let vertex = |low: f64, middle: f64, high: f64| (low - high) / (2.0 * (low - 2.0 * middle + high));
    let middle = misfit(0, 0);
    (vertex(misfit(0, -1), middle, misfit(0, 1)), vertex(misfit(-1, 0), middle, misfit(1, 0)))
}

#[tokio::test]
async fn a_scene_of_the_next_zone_is_read_where_the_world_is() {
    let choice = |gsd_m| SensorChoice { gsd_m: Some(gsd_m), dtype: None };
    let mut scenario = scenario::province(5, choice(5.0), choice(4.0), false, true);
    for scene in &mut scenario.scenes {
        scene.sensor.misregistration_m = (0.0, 0.0);
        scene.sensor.distortion = 0.0;
        scene.sensor.noise_dn = 0.0;
    }
    let folder = tempfile::tempdir().unwrap();
    let grid = Grid { crs: format!("EPSG:{}", scenario.anchor.zone.epsg()), resolution_m: 5.0 };
    // One scene of the grid's own zone, one of the next; one of the grid's resolution, one finer.
    for (index, x, y) in [(1usize, 3100.0, 1500.0), (2, 900.0, 1600.0), (3, 2400.0, 1500.0)] {
        let scene = &scenario.scenes[index];
        write_scene(&scenario, scene, folder.path()).unwrap();
        let window = WindowSection {
            from: None,
            to: None,
            catalog: Some(format!("{0}/{0}.json", scene.id)),
            collections: None,
            scenes: None,
            max_cloud_cover: None,
            max_off_nadir_deg: None,
        };
        let found = found(folder.path(), &window, "before", [-180.0, -90.0, 180.0, 90.0]).await;
        let (row, col) = grid.to_pixel(scenario.anchor.easting + x, scenario.anchor.northing + y);
        let rect = PixelRect::new(row as i32 - 90, col as i32 - 90, row as i32 + 90, col as i32 + 90);
        let reader = SceneReader::new(Stores::new(&[], folder.path().to_str().unwrap()).unwrap(), 64 << 20);
        let green = BandName::new("green");
        let read = reader
            .read(&grid, &found.scenes[0], std::slice::from_ref(&green), rect, &Registration::default())
            .await
            .unwrap();
        assert!(read.window.state.data().iter().all(|&state| state == PixelState::Valid));
        let direct = scenario::scene_window(
            &scenario,
            &simulate::sensor::SceneSpec { zone: scenario.anchor.zone, ..scene.clone() },
            &grid,
            rect,
        );
        let (east, south) = displacement(&read.window.band(&green).unwrap(), &direct.band(&green).unwrap());
        assert!(east.abs() < 0.06 && south.abs() < 0.06, "scene {index} lies {east} px east, {south} px south");
    }
}
