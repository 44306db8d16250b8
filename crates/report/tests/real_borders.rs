//! Real counties: their borders come back where they were.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod fixture;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use geo::{Area, BooleanOps, Coord, LineString, MultiPolygon, Polygon, Validation};
use report::ground::Ground;
use report::{Content, CountyOutcome, render};
use serde_json::Value;
use survey::county::County;
use survey::findings::Coverage;
use survey::ids::CountyId;
use survey::result::CountyResult;

fn polygons(geometry: &Value) -> MultiPolygon<f64> {
    let ring = |ring: &Value| -> LineString<f64> {
        let at = |at: &Value| Coord { x: at[0].as_f64().unwrap(), y: at[1].as_f64().unwrap() };
        ring.as_array().unwrap().iter().map(at).collect()
    };
    let polygon = |rings: &Value| {
        let mut rings: Vec<LineString<f64>> = rings.as_array().unwrap().iter().map(ring).collect();
        Polygon::new(rings.remove(0), rings)
    };
    match geometry["type"].as_str() {
        Some("Polygon") => MultiPolygon(vec![polygon(&geometry["coordinates"])]),
        _ => MultiPolygon(geometry["coordinates"].as_array().unwrap().iter().map(polygon).collect()),
    }
}

#[test]
fn all_counties_of_a_country_keep_their_borders_and_fit_on_one_page() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/boundaries/dprk_adm2.geojson");
    let Ok(text) = std::fs::read_to_string(file) else {
        println!("skipped: all_counties_of_a_country_keep_their_borders_and_fit_on_one_page: ../shared is not there");
        return;
    };
    let mut fixture = fixture::nothing();
    let ground = Ground::new(&fixture.plan.grid).unwrap();
    let source: Value = serde_json::from_str(&text).unwrap();
    fixture.plan.counties.clear();
    fixture.outcomes.clear();
    let mut on_the_globe = BTreeMap::new();
    for (index, feature) in source["features"].as_array().unwrap().iter().enumerate() {
        let id = format!("C{index:03}");
        let globe = polygons(&feature["geometry"]);
        let ring = |ring: &LineString<f64>| -> LineString<f64> {
            ring.coords().map(|at| ground.project(at.x, at.y).unwrap()).collect()
        };
        let border = globe
            .iter()
            .map(|polygon| Polygon::new(ring(polygon.exterior()), polygon.interiors().iter().map(ring).collect()))
            .collect();
        fixture.plan.counties.push(County {
            id: CountyId(id.clone()),
            name: format!("county {index}"),
            parent: None,
            designated: vec![],
            border,
            notes: vec![],
        });
        let seen = 1_000_000 * (index as u64 % 5);
        fixture.outcomes.push(CountyOutcome::Surveyed(Arc::new(CountyResult {
            county: CountyId(id.clone()),
            coverage: Coverage { surveyed: seen, cloud: 4_000_000 - seen, ..Coverage::default() },
            pixel_area_m2: 1.0,
            construction_px: 0,
            sites: vec![],
            extended: vec![],
            unreadable: vec![],
            chips: vec![],
            quality: vec![],
        })));
        on_the_globe.insert(id, globe);
    }
    assert!(on_the_globe.len() > 190);
    for county in &fixture.plan.counties {
        let border = ground.border(&county.border);
        assert!(border.is_valid(), "{}", county.id);
        let input = &on_the_globe[&county.id.0];
        let (off, area) = (border.xor(input).unsigned_area(), input.unsigned_area());
        assert!(off < 1e-5 * area, "{}: {off} of {area} square degrees are elsewhere", county.id);
    }
    let files = render(&fixture.input(), &fixture.chips).unwrap();
    let page = files.iter().find(|file| file.path == "report.html").unwrap();
    assert!(page.length < 3 << 20, "{} bytes", page.length);
    if let Content::Bytes(bytes) = &page.content {
        std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("country.html"), bytes).unwrap();
    }
}
