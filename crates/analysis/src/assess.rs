//! A closed component becomes a site: outline, footprints, features, context, class, and the analyst's sentence.

use chrono::NaiveDate;
use geo::{Area, Polygon};
use survey::county::County;
use survey::findings::{Component, Run, Sums};
use survey::grid::Grid;
use survey::ids::SceneId;
use survey::plan::SurveyPlan;
use survey::raster::SceneWindow;
use survey::result::{Cover, DateRange, ExtendedChange, Footprint, NearbyPlace, Phase, Site, SiteClass};

use crate::classify::{Verdict, classify};
use crate::components::pieces;
use crate::context::{Nearby, azimuth_deg, nearby};
use crate::features::{Features, measure};
use crate::footprint::{Building, COARSEST_M, Seen, find};
use crate::mask::Mask;
use crate::outline::{to_map, trace};

/// Outlines are simplified to within this many pixels.
const OUTLINE_TOLERANCE_PX: f64 = 0.8;

/// Everything a site is judged by.
pub struct SiteInput<'a> {
    /// The closed component.
    pub component: &'a Component,
    /// The plan: grid, scenes, pairs, context.
    pub plan: &'a SurveyPlan,
    /// The county that owns it.
    pub county: &'a County,
    /// The later scene of the component's principal pair around the site, at the resolution and over the rectangle that
    /// `footprint::window_gsd_m` and `footprint::window_rect` say, with its grid (the survey's CRS); `None` where it
    /// could not be read.
    pub after: Option<(&'a SceneWindow, &'a Grid)>,
    /// Longitude and latitude, degrees, of coordinates of the grid's CRS.
    pub project: &'a dyn Fn(f64, f64) -> (f64, f64),
    /// Ground area / grid area at the site.
    pub area_scale: f64,
}

/// The pair that saw most of a component; of equals the first.
#[must_use]
pub fn principal_pair(sums: &Sums) -> Option<u32> {
    sums.by_pair.iter().max_by_key(|&(pair, pixels)| (pixels, std::cmp::Reverse(pair))).map(|(&pair, _)| pair)
}

/// The id of a component of a county: `<county>-<row>-<col>` of its first pixel.
#[must_use]
pub fn site_id(component: &Component, county: &County) -> String {
    let first = component.first.unwrap_or(survey::grid::PixelIndex { row: 0, col: 0 });
    format!("{}-{}-{}", county.id, first.row, first.col)
}

/// CRS coordinates of the centroid of the change pixels.
#[must_use]
pub fn centroid(sums: &Sums, grid: &Grid) -> (f64, f64) {
    let pixels = sums.pixels.max(1) as f64;
    let (row, col) = (sums.rows as f64 / pixels + 0.5, sums.cols as f64 / pixels + 0.5);
    (col * grid.resolution_m, -row * grid.resolution_m)
}

/// What is said of a component that is too large to be a site.
#[must_use]
pub fn extended_change(input: &SiteInput) -> ExtendedChange {
    let sums = &input.component.sums;
    let (x, y) = centroid(sums, &input.plan.grid);
    let (lon, lat) = (input.project)(x, y);
    ExtendedChange { id: site_id(input.component, input.county), area_ha: hectares(sums.pixels, input), lon, lat }
}

fn hectares(pixels: u64, input: &SiteInput) -> f64 {
    pixels as f64 * input.plan.grid.pixel_area_m2() * input.area_scale / 10_000.0
}

/// The lot itself: the change pixels of a component without what hangs on to it by chance or by a road.
///
/// Grouping joins a new road, or a ragged strip of a field next door, to a lot. Gaps up to 8 m are closed (so that
/// houses of one estate are one surface), what is narrower than 16 m is cut off, and of what then falls apart, pieces
/// below a tenth of the largest are left out. Where that would leave less than half, as with scattered change, or where
/// pixels are too coarse for it, the component stays as it is.
fn lot(component: &Component, grid: &Grid) -> Vec<Run> {
    let pixels = |metres: f64| (metres / grid.resolution_m).round() as i32;
    let radius = pixels(8.0).min(40);
    if radius < 1 {
        return component.runs.clone();
    }
    let reach = pixels(8.0).clamp(1, 40);
    let change = Mask::from_runs(component.bounds, &component.runs);
    let solid = change.close(reach).open(radius);
    let pieces = pieces(&solid);
    let size = |runs: &Vec<Run>| runs.iter().map(Run::len).sum::<u64>();
    let largest = pieces.iter().map(size).max().unwrap_or(0);
    let kept: Vec<Run> = pieces.into_iter().filter(|piece| size(piece) * 10 >= largest).flatten().collect();
    let lot = Mask::from_runs(component.bounds, &kept).and(&change);
    if lot.count() * 2 >= change.count() { lot.runs() } else { component.runs.clone() }
}

/// Assesses a site. A function of its input alone.
#[must_use]
pub fn assess_site(input: &SiteInput) -> Site {
    let SiteInput { component, plan, county, project, .. } = *input;
    let grid = &plan.grid;
    let sums = &component.sums;
    let id = site_id(component, county);
    let (x, y) = centroid(sums, grid);
    let (lon, lat) = project(x, y);
    let near = nearby(&plan.context, x, y, project);
    let runs = lot(component, grid);
    let pixels: u64 = runs.iter().map(Run::len).sum();
    let seen = input.after.map(|(window, fine)| find(&runs, grid, window, fine));
    let features = measure(component, &runs, grid, input.area_scale, seen.as_ref()).map(|features| Features {
        road_km: near.road.as_ref().map(|road| road.distance_km),
        station_km: near.station.as_ref().map(|station| station.distance_km),
        ..features
    });
    let verdict = features.as_ref().map_or_else(nothing_known, classify);
    let footprints = input.after.zip(seen.as_ref()).map_or_else(Vec::new, |((_, fine), seen)| {
        let footprint = |(index, building): (usize, &Building)| footprint(&id, index + 1, building, fine, input);
        seen.buildings.iter().enumerate().filter_map(footprint).collect()
    });
    let outline =
        to_map(&trace(&runs), OUTLINE_TOLERANCE_PX, &|x, y| project(x * grid.resolution_m, -y * grid.resolution_m));
    let (before_cover, before_cover_share) = cover_before(sums);
    let (before, after, scenes) = scenes_of(sums, plan);
    let buildings = features.as_ref().and_then(|features| features.buildings.clone()).unwrap_or_default();
    let mut site = Site {
        county: county.id.clone(),
        pixels,
        area_ha: hectares(pixels, input),
        outline,
        lon,
        lat,
        class: verdict.class,
        probabilities: verdict.probabilities,
        factory_interval: verdict.factory_interval,
        reasons: verdict.reasons,
        summary: String::new(),
        before_cover,
        before_cover_share,
        after_cover: features.as_ref().map_or(Cover::Unknown, |features| cover_after(features, verdict.phase)),
        phase: verdict.phase,
        footprints,
        elongation: features.as_ref().map_or(1.0, |features| features.lot.rect.elongation()),
        building_elongation: buildings.elongation,
        features: features.as_ref().map(Features::named).unwrap_or_default(),
        station: near.station.clone(),
        road: near.road.clone(),
        town: near.town.clone(),
        facility: near.facility.clone(),
        greenhouse: near.greenhouse.clone(),
        before,
        after,
        scenes,
        truncated: sums.truncated,
        notes: notes(input, seen.as_ref()),
        id,
    };
    site.summary = summary(&site, &near, county);
    site
}

/// For a component without runs: nothing but that it changed.
fn nothing_known() -> Verdict {
    use survey::result::ClassProbabilities;
    Verdict {
        class: SiteClass::Other,
        probabilities: ClassProbabilities { factory: 0.0, residential: 0.0, greenhouse: 0.0, other: 1.0 },
        factory_interval: (0.0, 1.0),
        reasons: Vec::new(),
        phase: Phase::None,
    }
}

fn footprint(site: &str, number: usize, building: &Building, fine: &Grid, input: &SiteInput) -> Option<Footprint> {
    let place = |x: f64, y: f64| (input.project)(x * fine.resolution_m, -y * fine.resolution_m);
    let pieces = to_map(&trace(&building.runs), 1.0, &place);
    // Of pieces that touch at a corner only, the largest stands for the building; courtyards are filled.
    let outline = pieces.into_iter().max_by(|a, b| a.unsigned_area().total_cmp(&b.unsigned_area()))?;
    let rect = &building.shape.rect;
    let end = |sign: f64| {
        let half = sign * rect.length / 2.0;
        place(rect.centre_x + half * rect.direction.0, rect.centre_y + half * rect.direction.1)
    };
    let metres = fine.resolution_m * input.area_scale.sqrt();
    Some(Footprint {
        id: format!("{site}-b{number}"),
        outline: Polygon::new(outline.exterior().clone(), vec![]),
        area_m2: building.shape.area * metres * metres,
        length_m: rect.length * metres,
        width_m: rect.width * metres,
        azimuth_deg: azimuth_deg(end(-1.0), end(1.0)),
        rectangularity: building.shape.rectangularity(),
    })
}

/// The cover that most of the site had, and its share; of equals the first.
fn cover_before(sums: &Sums) -> (Cover, f64) {
    let known = [
        (Cover::Cropland, sums.crop_before),
        (Cover::Woodland, sums.wood_before),
        (Cover::Bare, sums.bare_before),
        (Cover::Water, sums.water_before),
        (Cover::Built, sums.built_before),
    ];
    let counted: u64 = known.iter().map(|(_, pixels)| pixels).sum();
    let unknown = (Cover::Unknown, sums.pixels.saturating_sub(counted));
    let (cover, pixels) = known
        .into_iter()
        .chain(std::iter::once(unknown))
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
        .unwrap_or(unknown);
    (cover, pixels as f64 / sums.pixels.max(1) as f64)
}

fn cover_after(features: &Features, phase: Phase) -> Cover {
    let coverage = features.buildings.as_ref().map_or(0.0, |buildings| buildings.coverage);
    let [vegetation_before, vegetation_after] = features.vegetation;
    if phase == Phase::Roofed || coverage > 0.15 {
        Cover::Built
    } else if features.green > 0.5 {
        if features.cover_before[1] > 0.5 { Cover::Woodland } else { Cover::Cropland }
    } else if vegetation_after < -0.05 && features.brightness[1] < -0.5 && vegetation_after < vegetation_before {
        Cover::Water
    } else {
        Cover::Bare
    }
}

fn scenes_of(sums: &Sums, plan: &SurveyPlan) -> (DateRange, DateRange, Vec<SceneId>) {
    let pairs = sums.by_pair.keys().filter_map(|&pair| plan.pairs.get(pair as usize));
    let (mut before, mut after): (Vec<u32>, Vec<u32>) = pairs.map(|pair| (pair.before, pair.after)).unzip();
    let mut ids = Vec::new();
    let mut range = |scenes: &mut Vec<u32>| {
        // Scenes are ordered by date in the plan.
        scenes.sort_unstable();
        scenes.dedup();
        let mut dates: Vec<NaiveDate> = Vec::new();
        for scene in scenes.iter().filter_map(|&scene| plan.scenes.get(scene as usize)) {
            dates.push(scene.date());
            if !ids.contains(&scene.id) {
                ids.push(scene.id.clone());
            }
        }
        let from = dates.iter().min().copied().unwrap_or_default();
        DateRange { from, to: dates.iter().max().copied().unwrap_or(from) }
    };
    let (before, after) = (range(&mut before), range(&mut after));
    (before, after, ids)
}

fn notes(input: &SiteInput, seen: Option<&Seen>) -> Vec<String> {
    let mut notes = Vec::new();
    match seen {
        None => notes.push("the later scene could not be read again at its own resolution: no footprints".to_owned()),
        Some(seen) if !seen.resolved => notes.push(format!(
            "footprints cannot be resolved at {:.1} m pixels (needs {COARSEST_M} m or finer)",
            seen.gsd_m
        )),
        Some(seen) => {
            notes.push(format!("footprints from the later scene at {:.2} m pixels", seen.gsd_m));
            if seen.visible < 0.95 {
                notes.push(format!("{:.0} % of the site is visible in the later scene", 100.0 * seen.visible));
            }
        }
    }
    if input.component.sums.truncated {
        notes.push("it touches the edge of the surveyed area and may go on there".to_owned());
    }
    notes
}

/// The analyst's sentence.
fn summary(site: &Site, near: &Nearby, county: &County) -> String {
    let mut parts = vec![format!(
        "{:.1} ha of {} → {} between {} and {}",
        site.area_ha,
        match site.before_cover {
            Cover::Bare => "bare ground",
            Cover::Built => "built ground",
            Cover::Unknown => "ground",
            cover => cover.as_str(),
        },
        became(site),
        site.before.to,
        site.after.from,
    )];
    let shown = site.footprints.len();
    if shown > 0 && site.class != SiteClass::Other {
        let elongated = if site.building_elongation >= 1.5 { "elongated " } else { "" };
        let plural = if shown == 1 { "" } else { "s" };
        let mut said = format!("{shown} {elongated}building{plural} (L/W {:.1})", site.building_elongation);
        said.push_str(match site.phase {
            Phase::GroundWorks => ", ground works",
            Phase::Frames => ", frames",
            Phase::Roofed => ", roofed",
            Phase::None => "",
        });
        parts.push(said);
    } else if site.phase == Phase::GroundWorks {
        parts.push("ground works, no building yet".to_owned());
    }
    let place = near.station.as_ref().map(|place| (place, "a railway station"));
    if let Some((place, kind)) = place.or_else(|| near.town.as_ref().map(|place| (place, "a town"))) {
        parts.push(lies(place, kind));
    }
    if let Some(farm) = near.greenhouse.as_ref().filter(|farm| farm.distance_km <= 5.0) {
        parts.push(lies(farm, "a greenhouse farm"));
    }
    if !county.designated.is_empty() {
        let years: Vec<String> = county.designated.iter().map(ToString::to_string).collect();
        parts.push(format!("county designated {}", years.join(", ")));
    }
    let (low, high) = site.factory_interval;
    parts.push(format!("factory {:.2} [{low:.2}–{high:.2}]", site.probabilities.factory));
    format!("{}.", parts.join("; "))
}

fn became(site: &Site) -> &'static str {
    match (site.class, site.phase) {
        (SiteClass::Factory, Phase::Roofed) => "factory buildings",
        (SiteClass::Residential, _) => "housing",
        (SiteClass::Greenhouse, _) => "greenhouses",
        (SiteClass::Factory, _) | (SiteClass::Other, Phase::GroundWorks) => "construction site",
        (SiteClass::Other, _) => match site.after_cover {
            Cover::Water => "water",
            Cover::Cropland | Cover::Woodland => "vegetation",
            Cover::Built => "built ground",
            Cover::Bare | Cover::Unknown => "bare ground",
        },
    }
}

/// `0.5 km SW of Kyongsong Station`.
fn lies(place: &NearbyPlace, kind: &str) -> String {
    let name = place.name.as_deref().unwrap_or(kind);
    let digits = if place.distance_km < 0.1 { 2 } else { 1 };
    format!("{:.digits$} km {} of {name}", place.distance_km, place.bearing)
}

#[cfg(test)]
mod tests {
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
}
