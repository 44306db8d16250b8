//! Real tiles that join exactly (`levir_1024` 43/44/45): a building that crosses a border of scenes is one
//! object, whether the scenes come as one mosaic or as the tiles that they were cut into.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use geo::{BoundingRect, Intersects, MultiPolygon};
use groundbreak_tests::survey_run::{shared, succeed, table};
use imagery::cog::write::{CogCrs, CogSpec, Overviews, write_cog};
use survey::grid::GeoTransform;

const TILE: u32 = 1024;

/// West and north of a tile in degrees, from the data's own table.
fn bounds(data: &Path) -> BTreeMap<String, [f64; 4]> {
    let text = std::fs::read_to_string(data.join("bounds_lonlat.tsv")).unwrap();
    text.lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let number = |index: usize| fields[index].parse::<f64>().unwrap();
            (fields[0].trim_end_matches(".png").to_owned(), [number(1), number(2), number(3), number(4)])
        })
        .collect()
}

fn pixels(data: &Path, folder: &str, tile: u32) -> image::RgbImage {
    let path = std::fs::read_dir(data.join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with(&format!("test_{tile}"))))
        .unwrap_or_else(|| panic!("tile {tile} of {folder}"));
    image::open(path).unwrap().to_rgb8()
}

/// The tiles on one canvas whose north-west corner is (west, north), as a GeoTIFF. Ground between tiles is nodata.
fn mosaic(data: &Path, folder: &str, tiles: &[u32], path: &Path) {
    let bounds = bounds(data);
    let of = |tile: &u32| bounds[&format!("test_{tile}")];
    let step = (of(&tiles[0])[2] - of(&tiles[0])[0]) / f64::from(TILE);
    let (west, north) =
        tiles.iter().map(of).fold((f64::MAX, f64::MIN), |(west, north), b| (west.min(b[0]), north.max(b[3])));
    let place =
        |tile: &u32| (((of(tile)[0] - west) / step).round() as u32, ((north - of(tile)[3]) / step).round() as u32);
    let (width, height) = tiles.iter().map(place).fold((0, 0), |(w, h), (x, y)| (w.max(x + TILE), h.max(y + TILE)));
    let mut bands = vec![vec![0_u8; (width * height) as usize]; 3];
    for tile in tiles {
        let (x0, y0) = place(tile);
        for (x, y, pixel) in pixels(data, folder, *tile).enumerate_pixels() {
            for (band, value) in bands.iter_mut().zip(pixel.0) {
                band[((y0 + y) * width + x0 + x) as usize] = value.max(1);
            }
        }
    }
    let spec = CogSpec {
        width,
        height,
        band_names: ["red", "green", "blue"].map(str::to_owned).to_vec(),
        georeference: Some((
            CogCrs::Geographic(4326),
            GeoTransform { x0: west, x_per_col: step, x_per_row: 0.0, y0: north, y_per_col: 0.0, y_per_row: -step },
        )),
        nodata: Some(0.0),
        block_px: 256,
        overviews: Overviews::None,
        predictor: true,
        deflate_level: 4,
    };
    let bands: Vec<&[u8]> = bands.iter().map(Vec::as_slice).collect();
    std::fs::write(path, write_cog(&spec, &bands).unwrap()).unwrap();
}

struct Found {
    sites: Vec<MultiPolygon<f64>>,
    changed_ha: f64,
    surveyed_px: u64,
}

/// Surveys the tiles, each group of them as one scene.
fn survey(data: &Path, groups: &[&[u32]], extra: &str) -> Found {
    let folder = tempfile::tempdir().unwrap();
    let all: Vec<u32> = groups.iter().flat_map(|group| group.iter().copied()).collect();
    let bounds = bounds(data);
    let ring = all
        .iter()
        .map(|tile| bounds[&format!("test_{tile}")])
        .fold([f64::MAX, f64::MAX, f64::MIN, f64::MIN], |a, b| {
            [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])]
        });
    let [w, s, e, n] = ring;
    let county = serde_json::json!({ "type": "FeatureCollection", "features": [{ "type": "Feature", "properties": { "id": "levir" },
        "geometry": { "type": "Polygon", "coordinates": [[[w, s], [e, s], [e, n], [w, n], [w, s]]] } }] });
    std::fs::write(folder.path().join("counties.geojson"), county.to_string()).unwrap();
    let scenes = |kind: &str, date: &str| {
        let list: Vec<String> = groups
            .iter()
            .map(|group| {
                let name = format!("{kind}_{}.tif", group.iter().map(u32::to_string).collect::<Vec<_>>().join("_"));
                mosaic(data, kind, group, &folder.path().join(&name));
                format!(r#"{{ href = "{name}", date = {date}, bands = ["red", "green", "blue"] }}"#)
            })
            .collect();
        list.join(", ")
    };
    let text = format!(
        "[survey]\nname = \"levir\"\n[counties]\nsource = \"counties.geojson\"\nid = \"id\"\n[before]\nscenes = [{}]\n[after]\nscenes = [{}]\n[grid]\nresolution_m = 0.6\n{extra}\n[detector]\nmin_site_ha = 0.005\n",
        scenes("A", "2012-01-01"),
        scenes("B", "2018-01-01"),
    );
    std::fs::write(folder.path().join("survey.toml"), text).unwrap();
    succeed(&["run", folder.path().join("survey.toml").to_str().unwrap()], &[]);
    let results: PathBuf = folder.path().join("out/results");
    let county = table(&results.join("counties.csv")).remove(0);
    let document: serde_json::Value =
        serde_json::from_slice(&std::fs::read(results.join("sites.geojson")).unwrap()).unwrap();
    let sites = document["features"]
        .as_array()
        .unwrap()
        .iter()
        .map(|feature| {
            let geometry: geojson::Geometry = serde_json::from_value(feature["geometry"].clone()).unwrap();
            match geo::Geometry::<f64>::try_from(geometry).unwrap() {
                geo::Geometry::MultiPolygon(polygons) => polygons,
                geo::Geometry::Polygon(polygon) => polygon.into(),
                other => panic!("{other:?}"),
            }
        })
        .collect();
    Found {
        sites,
        changed_ha: county["changed_ha"].parse().unwrap(),
        surveyed_px: county["surveyed_px"].parse().unwrap(),
    }
}

/// No two sites meet: pieces of one object would.
fn assert_no_site_is_cut(sites: &[MultiPolygon<f64>], what: &str) {
    for (index, site) in sites.iter().enumerate() {
        let bounds = site.bounding_rect().unwrap();
        for other in &sites[index + 1..] {
            let near = other.bounding_rect().unwrap().intersects(&bounds);
            assert!(!(near && site.intersects(other)), "{what}: two sites meet at {bounds:?}");
        }
    }
}

fn crossing(sites: &[MultiPolygon<f64>], vertical: Option<f64>, horizontal: Option<f64>) -> usize {
    sites
        .iter()
        .filter(|site| {
            let b = site.bounding_rect().unwrap();
            vertical.is_some_and(|x| b.min().x < x && x < b.max().x)
                || horizontal.is_some_and(|y| b.min().y < y && y < b.max().y)
        })
        .count()
}

#[test]
fn buildings_that_cross_the_tiles_43_44_45_are_one_object() {
    let Some(data) = shared("buildings_that_cross_the_tiles_43_44_45_are_one_object") else { return };
    let data = data.join("data/scenes/levir_1024");
    let whole = survey(&data, &[&[43, 44, 45]], "");
    assert_no_site_is_cut(&whole.sites, "mosaic");
    assert!(whole.changed_ha > 1.0 && whole.sites.len() > 10, "{} sites, {} ha", whole.sites.len(), whole.changed_ha);
    // 43 lies north of 45, 44 west of it.
    let edge = bounds(&data)["test_45"];
    assert!(
        crossing(&whole.sites, Some(edge[0]), Some(edge[3])) > 0,
        "no site crosses a tile border: nothing is tested"
    );
    // As tiles of a survey, whatever their size: the same objects.
    let tiled = survey(&data, &[&[43, 44, 45]], "tile_px = 300");
    assert_eq!(tiled.sites, whole.sites);
    assert_eq!(tiled.surveyed_px, whole.surveyed_px);
}

#[test]
fn houses_that_cross_the_border_of_the_scenes_43_and_45_are_not_cut() {
    let Some(data) = shared("houses_that_cross_the_border_of_the_scenes_43_and_45_are_not_cut") else { return };
    let data = data.join("data/scenes/levir_1024");
    // Of the pairs that join, no labelled house crosses from 37 to 39, and five cross from 43 to 45.
    let whole = survey(&data, &[&[43, 45]], "");
    let apart = survey(&data, &[&[43], &[45]], "");
    assert_no_site_is_cut(&whole.sites, "mosaic");
    assert_no_site_is_cut(&apart.sites, "two scenes");
    let edge = bounds(&data)["test_45"][3];
    assert!(
        crossing(&whole.sites, None, Some(edge)) > 0,
        "no site crosses the border of the scenes: nothing is tested"
    );
    assert!(crossing(&apart.sites, None, Some(edge)) > 0, "the border of two scenes cuts what crosses it");
    // Along the border of the scenes a few pixels have no whole kernel: they are gaps, counted.
    assert!(
        apart.surveyed_px as f64 > 0.99 * whole.surveyed_px as f64,
        "{} of {}",
        apart.surveyed_px,
        whole.surveyed_px
    );
}
