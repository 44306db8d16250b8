use std::collections::BTreeMap;

use geo::{BoundingRect, MultiPolygon, Validation};
use survey::findings::{EVIDENCE_CHANNELS, EvidenceChannel};
use survey::grid::{PixelIndex, PixelRect};
use survey::plan::{Context, Place};
use survey::scene::{Scene, ScenePair};

use super::*;
use crate::footprint::test_ground::{BLUE, CONCRETE, Ground, RED, four_halls, greenhouses};

/// Metres around 41.6° N, 129.7° E.
fn project(x: f64, y: f64) -> (f64, f64) {
    (129.7 + x / 83_378.0, 41.6 + y / 111_067.0)
}

fn scene(id: &str, day: &str) -> Scene {
    Scene {
        id: id.into(),
        acquired: format!("{day}T02:10:00Z").parse().unwrap(),
        platform: None,
        gsd_m: 1.0,
        off_nadir_deg: None,
        cloud_cover: None,
        footprint: MultiPolygon::new(vec![]),
        assets: vec![],
        bands: vec![],
        masks: vec![],
    }
}

fn plan() -> SurveyPlan {
    SurveyPlan {
        survey: "s".into(),
        name: "s".into(),
        spec_hash: String::new(),
        grid: Ground::grid(),
        tile_px: 512,
        detector: Default::default(),
        counties: vec![],
        scenes: vec![scene("blacksky", "2023-10-02"), scene("worldview", "2024-05-29")],
        pairs: vec![ScenePair {
            before: 0,
            after: 1,
            before_bands: vec![],
            after_bands: vec![],
            key: "blacksky~worldview".into(),
        }],
        cells: vec![],
        // The lot's centre lies at (140, −105): 354 m to the north-east of it.
        context: Context {
            stations: vec![Place { name: Some("Kyongsong Station".into()), x: 494.0, y: 249.0 }],
            ..Context::default()
        },
    }
}

fn county() -> County {
    County {
        id: "KP0216".into(),
        name: "Kyongsong".into(),
        parent: None,
        designated: vec![2024],
        border: MultiPolygon::new(vec![]),
        notes: vec![],
    }
}

fn component(edge_growth: i64) -> Component {
    let runs = Ground::lot();
    let pixels: u64 = runs.iter().map(survey::findings::Run::len).sum();
    let mut evidence = [0; EVIDENCE_CHANNELS];
    evidence[EvidenceChannel::EdgeGrowth as usize] = edge_growth * pixels as i64;
    evidence[EvidenceChannel::BrightnessAfter as usize] = 256 * pixels as i64;
    evidence[EvidenceChannel::VegetationBefore as usize] = 100 * pixels as i64;
    let sums = Sums {
        pixels,
        max_logit: 1000,
        crop_before: pixels - 10,
        evidence,
        rows: runs.iter().map(|run| i64::from(run.row) * 220).sum(),
        cols: runs.len() as i64 * (30..250).sum::<i64>(),
        by_pair: BTreeMap::from([(0, pixels)]),
        by_county: BTreeMap::from([(0, pixels)]),
        ..Sums::default()
    };
    Component {
        first: Some(PixelIndex { row: 30, col: 30 }),
        sums,
        bounds: PixelRect::new(30, 30, 180, 250),
        runs,
        extended: false,
        border: vec![],
    }
}

fn assess(ground: &Ground, edge_growth: i64) -> Site {
    let (window, fine) = ground.window();
    assess_site(&SiteInput {
        component: &component(edge_growth),
        plan: &plan(),
        county: &county(),
        after: Some((&window, &fine)),
        project: &project,
        area_scale: 1.0,
    })
}

#[test]
fn the_analysts_sentence() {
    let site = assess(&Ground { gsd_m: 0.3, boxes: four_halls(CONCRETE), frames: true, ..Ground::default() }, 200);
    assert_eq!(site.id, "KP0216-30-30");
    let p = site.probabilities.factory;
    let (low, high) = site.factory_interval;
    assert_eq!(
        site.summary,
        format!(
            "3.3 ha of cropland → construction site between 2023-10-02 and 2024-05-29; 4 elongated buildings (L/W {:.1}), \
             frames; 0.5 km SW of Kyongsong Station; county designated 2024; factory {p:.2} [{low:.2}–{high:.2}].",
            site.building_elongation
        )
    );
    assert_eq!((site.class, site.phase), (SiteClass::Factory, Phase::Frames));
    assert!(p > 0.75 && low > 0.4, "{p} [{low}, {high}]");
    assert!((site.building_elongation - 3.0).abs() < 0.3);
    assert!((site.area_ha - 3.3).abs() < 0.01 && (site.elongation - 220.0 / 150.0).abs() < 0.05);
    assert_eq!(site.before_cover, Cover::Cropland);
    assert_eq!(site.scenes, ["blacksky".into(), "worldview".into()]);
}

#[test]
fn footprints_lie_where_the_halls_are() {
    let site = assess(&Ground { gsd_m: 0.5, boxes: four_halls(BLUE), ..Ground::default() }, 200);
    assert_eq!((site.footprints.len(), site.phase, site.after_cover), (4, Phase::Roofed, Cover::Built));
    for (number, footprint) in site.footprints.iter().enumerate() {
        assert_eq!(footprint.id, format!("KP0216-30-30-b{}", number + 1));
        assert!((footprint.area_m2 / 1875.0 - 1.0).abs() < 0.08, "{footprint:?}");
        assert!((footprint.length_m - 75.0).abs() < 2.0 && (footprint.width_m - 25.0).abs() < 2.0, "{footprint:?}");
        assert!((footprint.azimuth_deg - 90.0).abs() < 1.0);
        let degrees2 = footprint.outline.signed_area() * 83_378.0 * 111_067.0;
        assert!((degrees2 / footprint.area_m2 - 1.0).abs() < 0.05 && footprint.outline.is_valid());
    }
    let west = site.outline.bounding_rect().unwrap().min().x;
    assert!((west - project(30.0, 0.0).0).abs() < 1e-9 && site.outline.is_valid());
}

#[test]
fn houses_are_housing_and_bare_fields_are_nothing() {
    let boxes = (0..6)
        .flat_map(|row| {
            (0..10).map(move |col| (40.0 + 22.0 * f64::from(row), 38.0 + 20.0 * f64::from(col), 8.0, 11.0, RED))
        })
        .collect();
    let housing = assess(&Ground { gsd_m: 0.5, boxes, ..Ground::default() }, 200);
    assert_eq!(housing.class, SiteClass::Residential);
    assert!(housing.probabilities.factory < 0.1);
    assert!(housing.summary.contains("→ housing between"), "{}", housing.summary);
    let field = assess(&Ground::default(), 0);
    assert_eq!((field.class, field.phase, field.footprints.len()), (SiteClass::Other, Phase::None, 0));
    assert!(field.probabilities.factory < 0.1);
    assert!(field.summary.starts_with("3.3 ha of cropland → bare ground between"), "{}", field.summary);
}

#[test]
fn greenhouses_in_rows_are_a_farm() {
    for gsd_m in [0.3, 0.5, 1.0] {
        let site = assess(&Ground { gsd_m, boxes: greenhouses(), ..Ground::default() }, 200);
        assert_eq!(site.class, SiteClass::Greenhouse, "{gsd_m} m: {} {:?}", site.summary, site.features);
    }
}

#[test]
fn a_road_that_leads_to_the_lot_is_not_part_of_it() {
    let mut component = component(200);
    component.runs.extend((180..300).map(|row| Run { row, col0: 100, col1: 106 }));
    component.bounds = PixelRect::new(30, 30, 300, 250);
    let lot = lot(&component, &Ground::grid());
    let pixels: u64 = lot.iter().map(Run::len).sum();
    // An opening by 8 m rounds the corners and lets the road begin.
    assert!((32_850..=33_150).contains(&pixels), "{pixels}");
    assert!(lot.iter().all(|run| run.row < 192));
    // Scattered change stays what it is.
    component.runs = (30..300).step_by(9).map(|row| Run { row, col0: 30 + row % 7, col1: 34 + row % 7 }).collect();
    assert_eq!(super::lot(&component, &Ground::grid()), component.runs);
}

#[test]
fn without_a_view_nothing_is_claimed_of_buildings() {
    let site = assess_site(&SiteInput {
        component: &component(200),
        plan: &plan(),
        county: &county(),
        after: None,
        project: &project,
        area_scale: 1.0,
    });
    assert!(site.footprints.is_empty() && site.notes[0].contains("no footprints"));
    let (low, high) = site.factory_interval;
    assert!(high - low > 0.3, "a wide interval: {low} to {high}");
}
