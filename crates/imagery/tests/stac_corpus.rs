//! Each STAC document of the shared data: the scenes that it holds, or a clear error.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests are tests.

mod common;

use imagery::catalog::{Found, is_complete, search};
use imagery::{ImageryError, Stores};
use survey::scene::{MaskMeaning, Scene};
use survey::spec::WindowSection;

const WORLD: [f64; 4] = [-180.0, -90.0, 180.0, 90.0];

fn window(catalog: &str) -> WindowSection {
    WindowSection {
        from: None,
        to: None,
        catalog: Some(catalog.to_owned()),
        collections: None,
        scenes: None,
        max_cloud_cover: None,
        max_off_nadir_deg: None,
    }
}

async fn read(folder: &std::path::Path, catalog: &str) -> Result<Found, ImageryError> {
    let stores = Stores::new(&[], folder.to_str().unwrap()).unwrap();
    search(&stores, &window(catalog), "after", WORLD).await
}

/// Document, scenes, copies of an acquisition, refused items, and a word of the first refusal.
/// Counted in the documents themselves: items with a polygon, a time with a zone and an optical band in a GeoTIFF.
const CORPUS: &[(&str, usize, usize, usize, &str)] = &[
    ("items-1.0.0/pystac_example-with-version-1.1.json", 1, 0, 0, ""),
    ("items-1.0.0/pystac_example-with-version-1.2.json", 1, 0, 0, ""),
    ("items-1.0.0/rustac_20201211_223832_CS2.json", 0, 0, 1, "optical band"),
    ("items-1.0.0/stacgeoparquet_sentinel-2-item.json", 1, 0, 0, ""),
    ("items-1.1.0/pystac_eo-sentinel2-item.json", 0, 0, 1, "image/jp2"),
    ("items-1.1.0/pystac_example-sentinel2.json", 0, 0, 1, "image/jp2"),
    ("items-1.1.0/pystac_item-naip.json", 1, 0, 0, ""),
    ("items-1.1.0/pystac_optional-epsg.json", 1, 0, 0, ""),
    ("items-1.1.0/pystac_raster-planet-example.json", 1, 0, 0, ""),
    ("items-1.1.0/pystac_raster-sentinel2-example.json", 1, 0, 0, ""),
    // 30 items whose one asset names no band.
    ("itemcollections/rustac_core_item-collection.json", 0, 0, 30, "optical band"),
    ("itemcollections/rustac_core_items.ndjson", 0, 0, 2, "geometry"),
    ("itemcollections/rustac_core_multi-polygons.json", 2, 0, 0, ""),
    ("itemcollections/rustac_core_two-sentinel-2-items.json", 2, 0, 0, ""),
    ("itemcollections/rustac_io_mock_items-page-1.json", 1, 0, 0, ""),
    ("itemcollections/rustac_io_mock_items-page-2.json", 1, 0, 0, ""),
    ("itemcollections/rustac_io_mock_search-page-1.json", 1, 0, 0, ""),
    ("itemcollections/rustac_server_sentinel-2_item-collection.json", 10, 0, 0, ""),
    ("itemcollections/stacgeoparquet_cop-dem-glo-30-pc.json", 0, 0, 4, "optical band"),
    ("itemcollections/stacgeoparquet_landsat-c2-l2-pc.json", 4, 0, 0, ""),
    ("itemcollections/stacgeoparquet_naip-pc.json", 4, 0, 0, ""),
    ("itemcollections/stacgeoparquet_sentinel-1-rtc-pc.json", 0, 0, 4, "optical band"),
    ("itemcollections/stacgeoparquet_sentinel-2-l2a-pc.json", 4, 0, 0, ""),
    ("itemcollections/stacgeoparquet_umbra-sar.json", 0, 0, 2, "optical band"),
    ("geoparquet/rustac_100-landsat-items.parquet", 100, 0, 0, ""),
    // Distinct (second, platform, tile): 99 of 100 and 987 of 1000; the rest was processed twice.
    ("geoparquet/rustac_100-sentinel-2-items.parquet", 99, 1, 0, ""),
    ("geoparquet/rustac_1000-sentinel-2-items.parquet", 987, 13, 0, ""),
    ("geoparquet/rustac_extended-item.parquet", 1, 0, 0, ""),
    ("geoparquet/rustac_opr-one.parquet", 0, 0, 1, "LineString"),
    ("geoparquet/rustac_sentinel-1-global-mosaics.parquet", 0, 0, 4, "optical band"),
    ("geoparquet/stac-geoparquet_naip.parquet", 5, 0, 0, ""),
    // Three items of one id: two of the same second are one scene, the third was acquired three days later.
    ("static-catalog-1.0.0/collection.json", 2, 1, 0, ""),
    ("static-catalog-1.1.0/collection.json", 2, 1, 0, ""),
    ("static-catalog-1.0.0/catalog.json", 1, 0, 1, "optical band"),
    ("static-catalog-1.1.0/catalog.json", 1, 0, 1, "optical band"),
    ("static-catalog-1.0.0/collection-only/collection.json", 0, 0, 0, ""),
    ("static-catalog-1.1.0/collection-only/collection-with-schemas.json", 0, 0, 0, ""),
    ("static-catalog-1.1.0/extensions-collection/collection.json", 1, 0, 0, ""),
    ("static-catalog-cbers/catalog.json", 0, 0, 0, ""),
    // Five items; the mosaic names no band.
    ("static-catalog-planet-1.0.0-beta.2/collection.json", 4, 0, 1, "optical band"),
    // Collections of an API, saved to a file: their items are elsewhere.
    ("collections/pystac_landsat-collection-example.json", 0, 0, 1, "[[storage]]"),
    ("collections/rustac_sentinel-2-l2a.json", 0, 0, 1, "[[storage]]"),
    ("collections/rustac_server_sentinel-2_collection.json", 0, 0, 1, "[[storage]]"),
    ("negative/pystac_another-1.1.json", 0, 0, 1, "STAC 0.9.0"),
    ("negative/rustac_invalid-datetimes.json", 0, 0, 1, "zone"),
    ("negative/rustac_invalid-item-datetime.json", 0, 0, 1, "zone"),
    ("negative/rustac_invalid-item.json", 0, 0, 1, "no id"),
    ("negative/spacenet-buildings/AOI_2_Vegas_img2636.json", 0, 0, 1, "STAC 0.9.0"),
    ("negative/spacenet-buildings/AOI_3_Paris_img1648.json", 0, 0, 1, "STAC 0.9.0"),
    ("negative/spacenet-buildings/AOI_4_Shanghai_img3344.json", 0, 0, 1, "STAC 0.9.0"),
];

#[tokio::test]
async fn each_document_of_the_corpus_gives_its_scenes_or_a_reason() {
    let Some(folder) = common::shared("each_document_of_the_corpus_gives_its_scenes_or_a_reason", "data/stac") else {
        return;
    };
    let mut wrong = Vec::new();
    for (path, scenes, duplicates, refused, word) in CORPUS {
        let found = match read(&folder, path).await {
            Ok(found) => found,
            Err(error) => {
                wrong.push(format!("{path}: {error}"));
                continue;
            }
        };
        let got = (found.scenes.len(), found.left_out.duplicates, found.refused.len());
        if got != (*scenes, *duplicates, *refused) {
            wrong.push(format!("{path}: {got:?} for {:?}; {:?}", (scenes, duplicates, refused), found.refused.first()));
        }
        if found.refused.first().is_some_and(|(_, cause)| !cause.contains(word)) {
            wrong.push(format!("{path}: {:?} does not say `{word}`", found.refused.first()));
        }
        let required = found.require(&window(path), "after");
        if *scenes == 0 && required.is_ok() {
            wrong.push(format!("{path}: nothing is found and nobody says so"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn documents_that_hold_no_scenes_are_refused_by_key_and_name() {
    let Some(folder) = common::shared("documents_that_hold_no_scenes_are_refused_by_key_and_name", "data/stac") else {
        return;
    };
    for (path, word) in [
        ("itemcollections/rustac_io_mock_collections-page-1.json", "list of collections"),
        ("negative/spacenet-buildings/collection.json", "STAC 0.9.0"),
        ("static-catalog-1.1.0/README.md", "no STAC document"),
        ("none.json", "not found"),
    ] {
        let error = read(&folder, path).await.unwrap_err().to_string();
        assert!(error.starts_with("after.catalog") && error.contains(path) && error.contains(word), "{error}");
    }
}

fn bands(scene: &Scene) -> Vec<&str> {
    scene.bands.iter().map(|band| band.name.as_str()).collect()
}

#[tokio::test]
async fn what_the_catalogs_say_of_bands_places_masks_and_numbers_is_understood() {
    let Some(folder) = common::shared("what_the_catalogs_say_of_bands_places_masks_and_numbers", "data/stac") else {
        return;
    };
    // Planetary Computer: no raster:bands, baseline 05.11; the four `rededge` are four bands.
    let found = read(&folder, "itemcollections/rustac_core_two-sentinel-2-items.json").await.unwrap();
    let s2 = &found.scenes[0];
    assert_eq!(
        bands(s2),
        [
            "coastal",
            "blue",
            "green",
            "red",
            "rededge071",
            "rededge075",
            "rededge078",
            "nir",
            "nir09",
            "swir16",
            "swir22",
            "nir08"
        ]
    );
    let red = s2.band(&survey::scene::BandName::new("red")).unwrap();
    assert_eq!((red.scale, red.offset, red.nodata), (1.0, -1000.0, Some(0.0)));
    assert_eq!(s2.masks.iter().map(|mask| mask.meaning).collect::<Vec<_>>(), [MaskMeaning::SceneClassification]);
    assert!(is_complete(s2) && s2.gsd_m == 10.0);
    let asset = &s2.assets[usize::from(red.asset)];
    assert_eq!(
        (asset.crs.as_str(), asset.width, asset.transform.x0, asset.transform.y0),
        ("EPSG:32613", 10980, 399_960.0, 4_500_000.0)
    );
    // Earth Search: scale and offset are declared, sizes too.
    let found = read(&folder, "itemcollections/rustac_server_sentinel-2_item-collection.json").await.unwrap();
    let red = found.scenes[9].band(&survey::scene::BandName::new("red")).unwrap();
    assert_eq!((red.scale, red.offset), (0.0001, -0.1));
    assert_eq!(found.scenes[9].id.as_ref(), "S2A_T13TDE_20240422T174753_L2A");
    assert_eq!(found.scenes[9].assets[usize::from(red.asset)].size, Some(50_135_369));
    // Its assets lie on another server, which is said before anything is read.
    assert_eq!(
        found.outside.into_iter().collect::<Vec<_>>(),
        [("https://e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com/".to_owned(), 10)]
    );
    // Landsat: item-wide place, QA bits, no aerosol mask.
    let found = read(&folder, "geoparquet/rustac_100-landsat-items.parquet").await.unwrap();
    for scene in &found.scenes {
        assert!(is_complete(scene), "{}", scene.id);
        assert_eq!(
            scene.masks.iter().map(|mask| mask.meaning).collect::<Vec<_>>(),
            [MaskMeaning::LandsatQa],
            "{}",
            scene.id
        );
        assert!(bands(scene).contains(&"red") && bands(scene).contains(&"swir22"), "{}", scene.id);
    }
    // WorldView: a MultiPolygon; measured bands before the rendered picture.
    let found = read(&folder, "itemcollections/rustac_core_multi-polygons.json").await.unwrap();
    let wv = &found.scenes[0];
    assert_eq!(bands(wv), ["coastal", "blue", "green", "yellow", "red", "rededge", "nir08", "nir09", "pan"]);
    assert_eq!((wv.gsd_m, wv.off_nadir_deg, wv.assets.len()), (0.66, Some(34.0), 2));
}

#[tokio::test]
async fn windows_boxes_and_limits_leave_out_what_was_not_asked_for_and_name_the_nearest() {
    let Some(folder) = common::shared("windows_boxes_and_limits", "data/stac") else { return };
    let catalog = "itemcollections/rustac_server_sentinel-2_item-collection.json";
    let stores = Stores::new(&[], folder.to_str().unwrap()).unwrap();
    let day = |day: &str| Some(survey::spec::LocalDate(day.parse().unwrap()));
    let mut asked = WindowSection { from: day("2024-04-05"), to: day("2024-04-15"), ..window(catalog) };
    let found = search(&stores, &asked, "after", WORLD).await.unwrap();
    // 04-05, 04-07, 04-10, 04-12 and 04-15: both ends count.
    assert_eq!((found.scenes.len(), found.left_out.other_dates), (5, 5));
    asked.max_cloud_cover = Some(0.0);
    let clear = search(&stores, &asked, "after", WORLD).await.unwrap();
    assert_eq!(clear.scenes.len() + clear.left_out.cloudy + clear.left_out.other_dates, 10);
    assert_eq!(clear.scenes.len(), 0);
    // The tile is 13TDE: Colorado.
    let elsewhere = search(&stores, &asked, "after", [125.0, 38.0, 130.0, 42.0]).await.unwrap();
    assert_eq!(elsewhere.left_out.elsewhere, 10);
    let error = elsewhere.require(&asked, "after").unwrap_err().to_string();
    assert!(error.contains("10 lie beside the counties"), "{error}");
    let late = WindowSection { from: day("2024-05-01"), to: day("2024-06-30"), ..window(catalog) };
    let found = search(&stores, &late, "after", WORLD).await.unwrap();
    assert_eq!(
        found.nearest.as_ref().map(|(id, date)| (id.as_ref(), date.to_string())),
        Some(("S2A_T13TDE_20240422T174753_L2A", "2024-04-22".into()))
    );
    let error = found.require(&late, "after").unwrap_err().to_string();
    assert!(error.contains("2024-04-22") && error.contains("after.catalog"), "{error}");
    let collections = WindowSection { collections: Some(vec!["other".into()]), ..window(catalog) };
    assert_eq!(search(&stores, &collections, "after", WORLD).await.unwrap().left_out.other_collections, 10);
}
