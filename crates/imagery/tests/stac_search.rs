//! Catalogs that are served, and catalogs that mean harm.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests are tests.

mod common;

use std::fmt::Write as _;

use common::{Response, Server};
use imagery::Stores;
use imagery::catalog::{Found, complete, complete_all, search};
use serde_json::{Value, json};
use survey::spec::{Hrefs, LocalDate, PlainScene, WindowSection};

const BOX: [f64; 4] = [129.0, 41.0, 130.0, 42.0];

fn window(catalog: &str) -> WindowSection {
    WindowSection {
        from: Some(day("2024-05-01")),
        to: Some(day("2024-06-30")),
        catalog: Some(catalog.to_owned()),
        collections: Some(vec!["s".into()]),
        scenes: None,
        max_cloud_cover: None,
        max_off_nadir_deg: None,
    }
}

fn day(day: &str) -> LocalDate {
    LocalDate(day.parse().unwrap())
}

fn item(id: &str, date: &str) -> Value {
    json!({
        "type": "Feature", "stac_version": "1.0.0", "id": id, "collection": "s",
        "geometry": {"type": "Polygon", "coordinates": [[[129, 41], [130, 41], [130, 42], [129, 42], [129, 41]]]},
        "properties": {"datetime": format!("{date}T02:11:00Z"), "platform": id, "proj:epsg": 32652, "proj:shape": [100, 100],
                       "proj:transform": [10, 0, 500_000, 0, -10, 4_600_000]},
        "assets": {"red": {"href": "./red.tif", "type": "image/tiff"}},
    })
}

fn ids(found: &Found) -> Vec<&str> {
    found.scenes.iter().map(|scene| scene.id.as_ref()).collect()
}

fn landing(links: Value) -> Vec<u8> {
    json!({"type": "Catalog", "stac_version": "1.0.0", "id": "api", "links": links,
           "conformsTo": ["https://api.stacspec.org/v1.0.0/item-search"]})
    .to_string()
    .into_bytes()
}

fn page(items: &[Value], next: Option<Value>, matched: Option<u64>) -> Response {
    let links: Vec<Value> = next.into_iter().collect();
    Response::ok(
        json!({"type": "FeatureCollection", "features": items, "links": links, "numberMatched": matched}).to_string(),
    )
}

fn stores() -> Stores {
    Stores::new(&[], "/surveys").unwrap()
}

#[tokio::test]
async fn an_api_is_asked_for_window_box_and_collections_and_followed_page_by_page() {
    let server = Server::start(|request| match request.target.as_str() {
        "/v1" => Response::ok(landing(json!([{"rel": "search", "href": "./v1/search", "method": "GET"}]))),
        target if target.contains("token=2") => {
            page(&[item("b", "2024-05-20"), item("c", "2024-06-01")], None, Some(3))
        }
        _ => page(
            &[item("a", "2024-05-10"), item("b", "2024-05-20")],
            Some(json!({"rel": "next", "href": "./search?token=2"})),
            Some(3),
        ),
    })
    .await;
    let found = search(&stores(), &window(&format!("{}/v1", server.url)), "after", BOX).await.unwrap();
    assert_eq!(ids(&found), ["a", "b", "c"]);
    assert!(found.warnings.is_empty(), "{:?}", found.warnings);
    let asked = url::Url::parse(&format!("{}{}", server.url, server.requests()[1].target)).unwrap();
    let pairs: Vec<(String, String)> = asked.query_pairs().map(|(key, value)| (key.into(), value.into())).collect();
    for (key, value) in
        [("bbox", "129,41,130,42"), ("datetime", "2024-05-01T00:00:00Z/2024-06-30T23:59:59.999Z"), ("collections", "s")]
    {
        assert!(pairs.contains(&(key.to_owned(), value.to_owned())), "{key}: {pairs:?}");
    }
    // Hrefs are relative to the page that they stand in.
    assert_eq!(found.scenes[0].assets[0].href, format!("{}/v1/red.tif", server.url));
}

#[tokio::test]
async fn an_api_that_searches_by_post_is_asked_by_post_and_its_bodies_are_merged() {
    let server = Server::start(|request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        match (request.method.as_str(), body.get("token")) {
            ("GET", _) => Response::ok(landing(json!([{"rel": "search", "href": "/search", "method": "POST"}]))),
            (_, None) => page(
                &[item("a", "2024-05-10")],
                Some(
                    json!({"rel": "next", "href": "/search", "method": "POST", "merge": true, "body": {"token": "2"}}),
                ),
                None,
            ),
            (_, Some(_)) => page(&[item("b", "2024-05-20")], None, None),
        }
    })
    .await;
    let found = search(&stores(), &window(&server.url), "after", BOX).await.unwrap();
    assert_eq!(ids(&found), ["a", "b"]);
    let last: Value = serde_json::from_slice(&server.requests().pop().unwrap().body).unwrap();
    assert_eq!((last["token"].clone(), last["bbox"].clone()), (json!("2"), json!(BOX)));
}

#[tokio::test]
async fn pages_without_end_and_totals_that_lie_end_with_a_word() {
    // The next page is always another address with the same items.
    let server = Server::start(|request| match request.target.as_str() {
        "/" => Response::ok(landing(json!([{"rel": "search", "href": "/search"}]))),
        target => page(
            &[item("a", "2024-05-10")],
            Some(json!({"rel": "next", "href": format!("/search?page={}", target.len())})),
            Some(1_000_000_000),
        ),
    })
    .await;
    let found = search(&stores(), &window(&server.url), "after", BOX).await.unwrap();
    assert_eq!(ids(&found), ["a"]);
    let words = found.warnings.join("\n");
    assert!(words.contains("repeats its pages") && words.contains("1000000000"), "{words}");
    assert!(server.requests().len() < 6);
}

#[tokio::test]
async fn a_next_link_to_another_server_is_refused() {
    let server = Server::start(|request| match request.target.as_str() {
        "/" => Response::ok(landing(json!([{"rel": "search", "href": "/search"}]))),
        _ => page(&[item("a", "2024-05-10")], Some(json!({"rel": "next", "href": "http://127.0.0.1:9/x"})), None),
    })
    .await;
    let error = search(&stores(), &window(&server.url), "after", BOX).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:9") && error.contains("[[storage]]"), "{error}");
}

#[tokio::test]
async fn where_nothing_is_in_the_window_the_nearest_date_is_asked_for() {
    let server = Server::start(|request| match request.target.as_str() {
        "/" => Response::ok(landing(json!([{"rel": "search", "href": "/search"}]))),
        target if target.contains("2024-05-01") => page(&[], None, Some(0)),
        _ => page(&[item("early", "2024-04-02"), item("late", "2024-09-01")], None, Some(2)),
    })
    .await;
    let asked = window(&server.url);
    let found = search(&stores(), &asked, "after", BOX).await.unwrap();
    let error = found.require(&asked, "after").unwrap_err().to_string();
    assert!(error.contains("early of 2024-04-02") && error.contains("widen the window"), "{error}");
}

#[tokio::test]
async fn a_static_catalog_that_goes_in_circles_deep_down_or_elsewhere_is_walked_once() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, value: &Value| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, value.to_string()).unwrap();
    };
    let catalog = |links: Value| json!({"type": "Catalog", "stac_version": "1.1.0", "id": "c", "links": links});
    write(
        "inside/catalog.json",
        &catalog(json!([
            {"rel": "child", "href": "./catalog.json"},
            {"rel": "child", "href": "sub/catalog.json"},
            {"rel": "item", "href": "a.json"},
            {"rel": "item", "href": "../outside.json"},
            {"rel": "item", "href": "file:///etc/passwd"},
            {"rel": "item", "href": "http://169.254.169.254/latest/meta-data"},
            {"rel": "item", "href": "missing.json"},
        ])),
    );
    write(
        "inside/sub/catalog.json",
        &catalog(json!([{"rel": "child", "href": "../catalog.json"}, {"rel": "item", "href": "../a.json"}])),
    );
    let mut a = item("a", "2024-05-10");
    a["assets"]["red"]["href"] = json!("../../../etc/shadow.tif");
    write("inside/a.json", &a);
    write("outside.json", &item("outside", "2024-05-10"));
    let stores = Stores::new(&[], folder.path().join("inside").to_str().unwrap()).unwrap();
    let found = search(&stores, &window("catalog.json"), "after", BOX).await.unwrap();
    assert_eq!(ids(&found), ["a"]);
    let refused: Vec<&str> = found.refused.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(refused.len(), 4, "{refused:?}");
    assert!(
        ["outside.json", "/etc/passwd", "169.254"].iter().all(|word| refused.iter().any(|what| what.contains(word)))
    );
    assert!(found.refused.iter().any(|(what, cause)| what.contains("missing.json") && cause.contains("not found")));
    // The asset outside is seen when the scene is found, and never opened.
    assert_eq!(found.outside.len(), 1);
    let error = complete(&stores, found.scenes[0].clone(), true).await.unwrap_err().to_string();
    assert!(error.contains("shadow.tif") && error.contains("[[storage]]"), "{error}");

    // A thousand catalogs, each in the one before.
    for depth in 0..1000 {
        write(
            &format!("inside/deep/{depth}.json"),
            &catalog(json!([{"rel": "child", "href": format!("{}.json", depth + 1)}])),
        );
    }
    let error = search(&stores, &window("deep/0.json"), "after", BOX).await.unwrap_err().to_string();
    assert!(error.contains("nests"), "{error}");
    // JSON that nests deeper than any stack.
    let mut deep = String::from("{\"type\":\"Feature\",\"properties\":");
    for _ in 0..200_000 {
        let _ = write!(deep, "{{\"a\":");
    }
    std::fs::write(folder.path().join("inside/nest.json"), deep).unwrap();
    assert!(
        search(&stores, &window("nest.json"), "after", BOX).await.unwrap_err().to_string().contains("no STAC document")
    );
}

#[tokio::test]
async fn the_same_acquisition_from_two_stations_is_one_scene_whatever_the_order() {
    let mut first = item("one", "2024-05-10");
    let mut second = item("two", "2024-05-10");
    for (item, when) in [(&mut first, "2024-05-11T00:00:00Z"), (&mut second, "2024-05-12T00:00:00Z")] {
        item["properties"]["platform"] = json!("sentinel-2a");
        item["properties"]["s2:generation_time"] = json!(when);
    }
    let mut neighbour = first.clone();
    neighbour["id"] = json!("neighbour");
    neighbour["geometry"]["coordinates"] = json!([[[129.5, 41], [130.5, 41], [130.5, 42], [129.5, 42], [129.5, 41]]]);
    let folder = tempfile::tempdir().unwrap();
    let stores = Stores::new(&[], folder.path().to_str().unwrap()).unwrap();
    for items in [[&first, &second, &neighbour], [&neighbour, &second, &first]] {
        std::fs::write(folder.path().join("items.json"), json!(items).to_string()).unwrap();
        let found = search(&stores, &window("items.json"), "after", BOX).await.unwrap();
        assert_eq!(ids(&found), ["neighbour", "two"]);
        assert_eq!(found.left_out.duplicates, 1);
    }
}

#[tokio::test]
async fn a_plan_needs_no_file_where_the_metadata_suffice_and_a_survey_pins_each_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("items.json"), json!([item("a", "2024-05-10")]).to_string()).unwrap();
    let stores = Stores::new(&[], folder.path().to_str().unwrap()).unwrap();
    let found = search(&stores, &window("items.json"), "after", BOX).await.unwrap();
    let (done, refused) = complete_all(&stores, found.scenes.clone(), false).await.unwrap();
    assert_eq!((done, refused.len()), (found.scenes.clone(), 0));
    let (done, refused) = complete_all(&stores, found.scenes.clone(), true).await.unwrap();
    assert!(done.is_empty() && refused[0].1.to_string().contains("red.tif: not found"), "{refused:?}");
    std::fs::write(folder.path().join("red.tif"), b"12345").unwrap();
    let (done, _) = complete_all(&stores, found.scenes, true).await.unwrap();
    assert_eq!(done[0].assets[0].size, Some(5));
    assert!(done[0].assets[0].etag.is_some());
}

#[tokio::test]
async fn two_geotiffs_need_no_stac() {
    let Some(folder) = common::shared("two_geotiffs_need_no_stac", "data/cogs") else { return };
    let stores = Stores::new(&[], folder.to_str().unwrap()).unwrap();
    let plain = |href: &str, bands: &[&str]| PlainScene {
        href: Hrefs::One(href.into()),
        date: day("2023-10-02"),
        bands: bands.iter().map(ToString::to_string).collect(),
        id: None,
        mask: None,
        crs: None,
        nodata: None,
        gsd_m: None,
        off_nadir_deg: Some(12.0),
    };
    let asked = |scenes: Vec<PlainScene>| WindowSection {
        from: None,
        to: None,
        catalog: None,
        collections: None,
        scenes: Some(scenes),
        max_cloud_cover: None,
        max_off_nadir_deg: None,
    };
    let world = [-180.0, -90.0, 180.0, 90.0];
    let found =
        search(&stores, &asked(vec![plain("rasterio__rgb_lzw.tif", &["red", "", "blue"])]), "before", world).await;
    let scene = &found.unwrap().scenes[0];
    assert_eq!((scene.id.as_ref(), scene.bands.len(), scene.bands[1].index), ("rasterio__rgb_lzw", 2, 2));
    assert!(scene.gsd_m > 0.0 && scene.footprint.0.len() == 1 && scene.assets[0].size.is_some());
    assert_eq!(scene.date().to_string(), "2023-10-02");
    for (scenes, words) in [
        (vec![plain("none.tif", &["red"])], vec!["before.scenes[0]", "none.tif", "not found"]),
        (vec![plain("MANIFEST.tsv", &["red"])], vec!["before.scenes[0]", "MANIFEST.tsv", "TIFF"]),
        (vec![plain("rasterio__rgb_lzw.tif", &["red", "green", "blue", "nir"])], vec!["band `nir`", "band 4"]),
        (vec![plain("rasterio__rgb_lzw.tif", &["red", "red"])], vec!["listed twice"]),
    ] {
        let error = search(&stores, &asked(scenes), "before", world).await.unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}
