//! Scenes of known outlines over two rows of cells.

use chrono::{DateTime, Utc};
use geo::{Coord, LineString, MultiPolygon, Polygon};
use survey::grid::{GeoTransform, PixelRect};
use survey::scene::{Asset, BandName, SceneBand};

use super::*;
use crate::crs::Transformer;

/// A scene of `bands` whose raster covers columns `col0..col1` of 1 m and rows `0..1024`.
fn scene(id: &str, date: &str, (col0, col1): (i32, i32), bands: &[&str]) -> Scene {
    Scene {
        id: id.into(),
        acquired: format!("{date}T00:00:00Z").parse::<DateTime<Utc>>().unwrap(),
        platform: None,
        gsd_m: 1.0,
        off_nadir_deg: None,
        cloud_cover: None,
        footprint: MultiPolygon(vec![]),
        assets: vec![Asset {
            href: String::new(),
            crs: "EPSG:32652".into(),
            transform: GeoTransform {
                x0: f64::from(col0),
                x_per_col: 1.0,
                x_per_row: 0.0,
                y0: 0.0,
                y_per_col: 0.0,
                y_per_row: -1.0,
            },
            width: (col1 - col0) as u32,
            height: 1024,
            bits_per_sample: 8,
            band_count: bands.len() as u16,
            size: None,
            etag: None,
            checksum: None,
        }],
        bands: bands
            .iter()
            .enumerate()
            .map(|(index, name)| SceneBand {
                name: BandName::new(name),
                asset: 0,
                index: index as u16,
                scale: 1.0,
                offset: 0.0,
                nodata: None,
            })
            .collect(),
        masks: vec![],
    }
}

fn grid() -> Grid {
    Grid { crs: "EPSG:32652".into(), resolution_m: 1.0 }
}

fn cells() -> Vec<Cell> {
    PixelRect::new(0, 0, 1024, 2048).cells().collect()
}

const RGB: &[&str] = &["red", "green", "blue"];

#[test]
fn a_cell_over_a_scene_border_gets_both_scenes() {
    let before = [scene("b", "2023-06-01", (0, 2048), RGB)];
    let after = [scene("west", "2024-06-01", (0, 800), RGB), scene("east", "2024-06-02", (800, 2048), RGB)];
    let selection = choose(&cells(), &grid(), &before, &after, &DetectorSpec::default()).unwrap();
    let names = |cell: usize| -> Vec<&str> {
        selection.by_cell[cell].pairs.iter().map(|&pair| selection.pairs[pair as usize].key.as_str()).collect()
    };
    assert_eq!(names(0), ["b~west"]);
    // Column 800 lies in the second cell: 288 of its columns are the western scene's.
    assert_eq!(names(1), ["b~west", "b~east"]);
    assert_eq!(names(2), ["b~east"]);
    assert_eq!(selection.scenes.iter().map(|scene| scene.id.as_ref()).collect::<Vec<_>>(), ["b", "west", "east"]);
    assert_eq!(selection.pairs[0].before, 0);
}

#[test]
fn the_clear_scene_of_the_same_season_comes_first_and_the_order_of_scenes_does_not_matter() {
    let before = [scene("b", "2023-06-01", (0, 2048), RGB)];
    let mut cloudy = scene("cloudy", "2024-06-01", (0, 2048), RGB);
    cloudy.cloud_cover = Some(60.0);
    let mut clear = scene("clear", "2024-06-03", (0, 2048), RGB);
    clear.cloud_cover = Some(1.0);
    let mut winter = scene("winter", "2024-12-03", (0, 2048), RGB);
    winter.cloud_cover = Some(1.0);
    let keys = |after: &[Scene]| -> Vec<String> {
        let selection = choose(&cells(), &grid(), &before, after, &DetectorSpec::default()).unwrap();
        selection.by_cell[3].pairs.iter().map(|&pair| selection.pairs[pair as usize].key.clone()).collect()
    };
    let forwards = keys(&[cloudy.clone(), clear.clone(), winter.clone()]);
    // What the first two leave of the ground (a tenth of a tenth) is not worth reading a cloudy scene for.
    assert_eq!(forwards, ["b~clear", "b~winter"]);
    assert_eq!(keys(&[winter, clear, cloudy]), forwards);
}

#[test]
fn scenes_that_only_touch_are_no_pair() {
    let before = [scene("b-west", "2023-06-01", (0, 700), RGB), scene("b-east", "2023-06-01", (700, 2048), RGB)];
    let after = [scene("a-west", "2024-06-01", (0, 700), RGB), scene("a-east", "2024-06-01", (700, 2048), RGB)];
    let selection = choose(&cells(), &grid(), &before, &after, &DetectorSpec::default()).unwrap();
    assert_eq!(
        selection.pairs.iter().map(|pair| pair.key.as_str()).collect::<Vec<_>>(),
        ["b-east~a-east", "b-west~a-west"]
    );
}

#[test]
fn core_bands_in_common_are_compared_and_a_named_band_must_be_there() {
    let before = [scene("b", "2023-06-01", (0, 2048), &["nir", "red", "coastal", "green"])];
    let after = [scene("a", "2024-06-01", (0, 2048), &["blue", "green", "red", "coastal", "nir"])];
    let selection = choose(&cells(), &grid(), &before, &after, &DetectorSpec::default()).unwrap();
    let names: Vec<&str> = selection.pairs[0].before_bands.iter().map(BandName::as_str).collect();
    assert_eq!(names, ["green", "red", "nir"]);
    let named = DetectorSpec { bands: Some(vec!["swir16".into()]), ..DetectorSpec::default() };
    assert!(choose(&cells(), &grid(), &before, &after, &named).unwrap_err().to_string().contains("no band `swir16`"));
}

#[test]
fn a_panchromatic_scene_is_compared_with_all_bands_of_the_other() {
    let before = [scene("b", "2023-06-01", (0, 2048), &["pan"])];
    let after = [scene("a", "2024-06-01", (0, 2048), RGB)];
    let selection = choose(&cells(), &grid(), &before, &after, &DetectorSpec::default()).unwrap();
    assert_eq!((selection.pairs[0].before_bands.len(), selection.pairs[0].after_bands.len()), (1, 3));
}

#[test]
fn a_later_scene_is_never_the_earlier_one_of_a_pair_and_a_sliver_is_not_lost() {
    let late = [scene("b", "2024-07-01", (0, 2048), RGB)];
    let after = [scene("a", "2024-06-01", (0, 515), RGB)];
    assert!(choose(&cells(), &grid(), &late, &after, &DetectorSpec::default()).unwrap().pairs.is_empty());
    let early = [scene("b", "2023-07-01", (0, 2048), RGB)];
    let selection = choose(&cells(), &grid(), &early, &after, &DetectorSpec::default()).unwrap();
    // Three columns of the second cell: no sample point, and yet its pixels are to be surveyed.
    assert_eq!(selection.by_cell[1].pairs.len(), 1);
    assert!(selection.by_cell[2].pairs.is_empty());
}

fn keys(selection: &Selection, cell: usize) -> Vec<&str> {
    selection.by_cell[cell].pairs.iter().map(|&pair| selection.pairs[pair as usize].key.as_str()).collect()
}

/// The footprint of the columns `col0..col1` of the rasters above, longitude and latitude.
fn footprint(col0: i32, col1: i32) -> MultiPolygon<f64> {
    let to_degrees = Transformer::new(&Crs::parse("EPSG:32652").unwrap(), &Crs::parse("EPSG:4326").unwrap()).unwrap();
    let corners = [(col0, 0), (col1, 0), (col1, 1024), (col0, 1024), (col0, 0)];
    let ring: LineString<f64> = corners
        .into_iter()
        .map(|(col, row)| to_degrees.apply(f64::from(col), -f64::from(row)).unwrap())
        .map(|(x, y)| Coord { x, y })
        .collect();
    MultiPolygon(vec![Polygon::new(ring, vec![])])
}

#[test]
fn a_cell_that_a_clear_pair_fills_is_read_once_and_one_under_clouds_more_often() {
    let clear =
        |id: &str, date: &str, percent: f64| Scene { cloud_cover: Some(percent), ..scene(id, date, (0, 2048), RGB) };
    let before = [clear("b", "2023-06-01", 0.0), clear("b2", "2023-06-05", 0.0)];
    let after = [clear("a", "2024-06-01", 1.0), clear("a2", "2024-06-05", 2.0), clear("a3", "2024-06-09", 0.0)];
    let selection = choose(&cells(), &grid(), &before, &after, &DetectorSpec::default()).unwrap();
    for cell in 0..cells().len() {
        assert_eq!(selection.by_cell[cell].pairs.len(), 1, "{:?}", keys(&selection, cell));
    }
    let clouded = [clear("a", "2024-06-01", 40.0), clear("a2", "2024-06-02", 40.0), clear("a3", "2024-06-03", 40.0)];
    let selection = choose(&cells(), &grid(), &before[..1], &clouded, &DetectorSpec::default()).unwrap();
    // 40 %, 16 % and 6 % are left under clouds: the third still shows a tenth, and there is no fourth.
    assert_eq!(keys(&selection, 0), ["b~a", "b~a2", "b~a3"]);
}

#[test]
fn a_raster_of_which_the_swath_fills_half_comes_after_one_that_is_full_there() {
    let before = [scene("b", "2023-06-01", (0, 4096), RGB)];
    // The half lies in the west: its footprint says so. It is clear, and the whole one is not.
    let half =
        Scene { footprint: footprint(0, 1024), cloud_cover: Some(0.0), ..scene("half", "2024-06-01", (0, 4096), RGB) };
    let whole =
        Scene { footprint: footprint(0, 4096), cloud_cover: Some(4.0), ..scene("whole", "2024-06-20", (0, 4096), RGB) };
    let cells: Vec<Cell> = PixelRect::new(0, 0, 512, 4096).cells().collect();
    let choose = |after: &[Scene]| choose(&cells, &grid(), &before, after, &DetectorSpec::default()).unwrap();
    let selection = choose(&[half.clone(), whole.clone()]);
    assert_eq!(keys(&selection, 0)[0], "b~half");
    for cell in 2..8 {
        assert_eq!(keys(&selection, cell)[0], "b~whole", "cell {cell}");
        assert!(cell == 2 || keys(&selection, cell).len() == 1, "cell {cell}: {:?}", keys(&selection, cell));
    }
    // Footprints are drawn roughly: alone, the half is looked at in the cell next to its edge, and no further.
    let alone = choose(std::slice::from_ref(&half));
    let counts: Vec<usize> = alone.by_cell.iter().map(|cell| cell.pairs.len()).collect();
    assert_eq!(counts, [1, 1, 1, 0, 0, 0, 0, 0]);
    // A footprint that lies elsewhere is a mistake of the catalog's, and said.
    let lost = Scene { footprint: footprint(90_000, 91_000), ..half };
    let selection = choose(&[lost]);
    assert!(selection.by_cell.iter().all(|cell| cell.pairs.len() == 1));
    assert!(
        selection.warnings[0].contains("scene half: its geometry lies beside its raster"),
        "{:?}",
        selection.warnings
    );
}

#[test]
fn a_sliver_beside_a_scene_that_holds_nearly_all_of_a_cell_is_not_lost() {
    let before = [scene("b", "2023-06-01", (0, 2048), RGB)];
    let wide = Scene { cloud_cover: Some(0.0), ..scene("wide", "2024-06-01", (9, 2048), RGB) };
    let narrow = Scene { cloud_cover: Some(0.0), ..scene("narrow", "2024-06-02", (0, 9), RGB) };
    let selection = choose(&cells(), &grid(), &before, &[wide, narrow], &DetectorSpec::default()).unwrap();
    assert_eq!(keys(&selection, 0), ["b~wide", "b~narrow"]);
    assert_eq!(keys(&selection, 1)[0], "b~wide");
}

#[test]
fn pairs_whose_ids_read_the_same_in_a_key_have_keys_of_their_own() {
    let before = [scene("b", "2023-06-01", (0, 2048), RGB)];
    let after = [scene("a/1", "2024-06-01", (0, 1024), RGB), scene("a_1", "2024-06-01", (1024, 2048), RGB)];
    let selection = choose(&cells(), &grid(), &before, &after, &DetectorSpec::default()).unwrap();
    let names: Vec<&str> = selection.pairs.iter().map(|pair| pair.key.as_str()).collect();
    assert_eq!(names.len(), 2);
    assert_ne!(names[0], names[1]);
    assert!(names.iter().all(|name| name.starts_with("b~a_1") && !name.contains('/')), "{names:?}");
}

#[test]
fn two_files_of_one_name_and_day_stay_two_scenes() {
    // A file `image.tif` in each window's folder: the earlier one of one pair has the name and day of the later one of
    // another.
    let mut before = [scene("image", "2023-06-01", (0, 1024), RGB), scene("old", "2022-06-01", (1024, 2048), RGB)];
    before[0].assets[0].href = "file:///one/image.tif".into();
    let mut after = [scene("image", "2023-06-01", (1024, 2048), RGB), scene("new", "2024-06-01", (0, 1024), RGB)];
    after[0].assets[0].href = "file:///two/image.tif".into();
    let selection = choose(&cells(), &grid(), &before, &after, &DetectorSpec::default()).unwrap();
    let hrefs = |index: u32| selection.scenes[index as usize].assets[0].href.as_str();
    let pair = |key: &str| selection.pairs.iter().find(|pair| pair.key == key).unwrap();
    assert_eq!(hrefs(pair("image~new").before), "file:///one/image.tif");
    assert_eq!(hrefs(pair("old~image").after), "file:///two/image.tif");
}
