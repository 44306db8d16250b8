//! What a site is taken to be: factory, residential, greenhouse or other, with the terms that made it so.
//!
//! Each of the first three classes has log-odds against `other`, a sum of terms of the site's features; the
//! probabilities are their softmax with `other` at 0, so they sum to 1. The terms are those of the survey's method (S5).
//!
//! Two weights come from data: a logistic regression, balanced by class and region, on 17,264 building outlines of
//! 200 m² and more with known use (624 factories, 13 regions; OpenStreetMap and PLATEAU) gave 0.75 per `ln(area)` (0.65
//! to 0.84 with one region left out), 0.66 for a length / width from 1.3 to 6 (0.58 to 0.76), and nothing for
//! rectangularity (−0.07 to 0.11). Ranking the buildings of a region by them that it was not fitted on has an average
//! precision of 0.12 where 3.6 % are factories: outlines alone say little. All other weights are starting values that
//! were tried on simulated sites; designation is left out on purpose, so that results can be used to judge the policy.
//!
//! The interval of the factory probability takes each term's feature as uncertain (half a pixel along outlines, parts of
//! the site out of view, buildings too small for the pixels) and adds a fixed uncertainty of the weights:
//! ±1.645 standard deviations of the log-odds, 90 % if they were normal.

use survey::result::{ClassProbabilities, Phase, Reason, SiteClass};

use crate::features::{Buildings, Features};

/// Standard deviation of the log-odds that the weights themselves leave.
const MODEL_SD: f64 = 0.5;

/// Log-odds of each class for a site that stood there before.
const STANDING: f64 = -5.0;

/// The verdict on a site.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The most probable class; of equals the first of factory, residential, greenhouse, other.
    pub class: SiteClass,
    /// Probabilities.
    pub probabilities: ClassProbabilities,
    /// 90 % interval of the factory probability.
    pub factory_interval: (f64, f64),
    /// Terms of the factory's log-odds, by size; they sum to `ln(p / (1 − p))`.
    pub reasons: Vec<Reason>,
    /// Phase of construction.
    pub phase: Phase,
}

/// Sums up terms, with what is uncertain about them.
#[derive(Default)]
struct Score {
    terms: Vec<Reason>,
    variance: f64,
}

impl Score {
    fn add(&mut self, log_odds: f64, text: String) {
        if log_odds != 0.0 {
            self.terms.push(Reason { text, log_odds });
        }
    }

    fn doubt(&mut self, sd: f64) {
        self.variance += sd * sd;
    }

    fn sum(&self) -> f64 {
        self.terms.iter().map(|term| term.log_odds).sum()
    }
}

/// Classifies a site.
#[must_use]
pub fn classify(features: &Features) -> Verdict {
    let mut factory = Score::default();
    factory.doubt(MODEL_SD);
    let built = features.buildings.as_ref().filter(|buildings| buildings.count > 0);
    match built {
        Some(buildings) => factory_with_buildings(&mut factory, features, buildings),
        None => factory_without_buildings(&mut factory, features),
    }
    surroundings(&mut factory, features);
    // What stood before is nothing new, whatever it is.
    let standing = STANDING * features.standing();
    factory.add(standing, format!("{:.0} % of it is as built as before", 100.0 * features.standing()));
    let others = [
        factory.sum(),
        built.map_or(-4.0, |buildings| residential(features, buildings)) + standing,
        built.map_or(-4.0, |buildings| greenhouse(features, buildings)) + standing,
        0.0,
    ];
    let probabilities = softmax(others);
    // What the other classes leave of the factory's odds against `other` alone.
    let log_odds = logit(probabilities[0]);
    factory.add(log_odds - factory.sum(), "other explanations: housing, greenhouses".to_owned());
    let sd = factory.variance.sqrt();
    let mut reasons = factory.terms;
    reasons.sort_by(|a, b| b.log_odds.abs().total_cmp(&a.log_odds.abs()).then_with(|| a.text.cmp(&b.text)));
    let class = SiteClass::ALL
        .into_iter()
        .zip(probabilities)
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
        .map_or(SiteClass::Other, |(class, _)| class);
    let [p_factory, residential, greenhouse, other] = probabilities;
    Verdict {
        class,
        probabilities: ClassProbabilities { factory: p_factory, residential, greenhouse, other },
        factory_interval: (logistic(log_odds - 1.645 * sd), logistic(log_odds + 1.645 * sd)),
        reasons,
        phase: phase(features, class),
    }
}

/// Bare, lot-shaped ground where structure has grown: what ground works look like before any wall stands. 0 to 1.
#[must_use]
pub fn ground_works(features: &Features) -> f64 {
    let bare = 1.0 - ramp(features.green.max(vegetation_left(features)), 0.2, 0.5);
    let bright = ramp(features.brightness[1], -0.5, 0.5);
    let lot_shaped = ramp(features.lot.rectangularity(), 0.6, 0.8);
    let structure = ramp(features.edge_growth, 0.1, 0.5);
    let sized = ramp(features.area_ha, 0.4, 1.0) * (1.0 - ramp(features.area_ha, 15.0, 40.0));
    bare * bright * lot_shaped * structure * sized
}

/// Vegetation that stayed, as a share of what was there; 0 where there was next to none.
fn vegetation_left(features: &Features) -> f64 {
    let [before, after] = features.vegetation;
    if before > 0.15 { (after / before).clamp(0.0, 1.0) * 0.8 } else { 0.0 }
}

fn factory_with_buildings(score: &mut Score, features: &Features, buildings: &Buildings) {
    score.add(-2.6, "base rate of factories among changed sites".to_owned());
    let size = 0.75 * libm::log(buildings.largest_m2.max(1.0) / 800.0).clamp(-2.0, 2.0);
    score.add(size, format!("largest building {} m²", thousands(buildings.largest_m2)));
    score.doubt(0.75 * buildings.area_error.min(1.0));
    let elongated = plateau(buildings.elongation, 1.15, 1.4, 6.5, 9.0);
    score.add(elongated - 0.35, format!("length / width of its buildings {:.1}", buildings.elongation));
    score.doubt(0.3);
    // It says nothing of the use, but a ragged patch may be no building at all.
    let rectangular = 0.4 * ((buildings.rectangularity - 0.8) / 0.1).clamp(-1.5, 1.0);
    score.add(rectangular, format!("rectangularity of its buildings {:.2}", buildings.rectangularity));
    if buildings.count >= 2 {
        let parallel = 0.8 * ramp(buildings.coherence, 0.4, 0.9);
        score.add(parallel, format!("{} buildings stand parallel ({:.2})", buildings.count, buildings.coherence));
    }
    if buildings.blue_share > 0.0 {
        score.add(
            1.5 * ramp(buildings.blue_share, 0.0, 0.5),
            format!("{:.0} % of the roofs are blue", 100.0 * buildings.blue_share),
        );
    }
    let covered = 1.8 * plateau(buildings.coverage, 0.02, 0.14, 0.7, 1.1) - 0.8;
    score.add(covered, format!("buildings cover {:.0} % of the site", 100.0 * buildings.coverage));
    score.add(
        -3.0 * ramp(buildings.small_share, 0.2, 0.8),
        format!("{:.0} % of the floor area in small buildings", 100.0 * buildings.small_share),
    );
    score.add(-4.0 * narrow_rows(buildings), format!("{} narrow halls in rows", buildings.narrow_count));
    // Beams throw thin shadows and slabs none; neither speaks against a building.
    let raised = ramp(buildings.shadow, 0.02, 0.12)
        .max(buildings.frame_share)
        .max(ground_works(features) * buildings.slab_share);
    score.add(1.2 * raised - 0.8, format!("{:.0} % of their surroundings in shadow", 100.0 * buildings.shadow));
    score.add(-2.0 * ramp(features.green, 0.3, 0.7), format!("{:.0} % of the site is green", 100.0 * features.green));
    score.doubt(1.5 * (1.0 - features.visible));
}

fn factory_without_buildings(score: &mut Score, features: &Features) {
    let unseen = features.buildings.is_none();
    let said = if unseen { "its buildings cannot be seen, or were not looked for" } else { "no building is seen" };
    score.add(-4.0, said.to_owned());
    let works = ground_works(features);
    if works > 0.0 {
        let on_fields = 0.5 + 0.5 * features.cover_before[0];
        score.add(3.5 * works * on_fields, "bare ground in the shape of a lot, with new structure".to_owned());
    }
    score.doubt(if unseen { 1.0 } else { 0.5 });
}

fn surroundings(score: &mut Score, features: &Features) {
    let [crop, wood, _, water, built] = features.cover_before;
    score.add(0.5 * ramp(crop, 0.2, 0.8), format!("{:.0} % was cropland", 100.0 * crop));
    score.add(-3.0 * ramp(built, 0.4, 0.9), format!("{:.0} % was built before", 100.0 * built));
    score.add(-0.7 * ramp(wood, 0.4, 0.9), format!("{:.0} % was woodland", 100.0 * wood));
    score.add(-ramp(water, 0.3, 0.8), format!("{:.0} % was water", 100.0 * water));
    if let Some(road) = features.road_km {
        score.add(0.4 * (1.0 - ramp(road, 0.1, 0.3)), format!("a road at {road:.2} km"));
    }
    if let Some(station) = features.station_km {
        score.add(0.4 * (1.0 - ramp(station, 0.5, 2.0)), format!("a railway station at {station:.1} km"));
    }
    let large = ramp(features.area_ha, 20.0, 80.0);
    score.add(-1.5 * large, format!("{:.0} ha is large for one factory", features.area_ha));
}

fn residential(features: &Features, buildings: &Buildings) -> f64 {
    let many = libm::log(buildings.count as f64 / 5.0).clamp(-1.5, 2.0);
    // A few small things on a lot are stacks, sheds, or what was recognised of something larger.
    let small = 3.0 * ramp(buildings.small_share, 0.2, 0.8) * ramp(buildings.count as f64, 3.0, 8.0);
    let compact = 0.5 * plateau(buildings.elongation, 1.0, 1.1, 2.5, 4.0);
    let halls = -2.0 * ramp(buildings.largest_m2, 500.0, 1500.0);
    -2.5 + 1.5 * many + small + compact + halls
        - 2.0 * buildings.frame_share
        - 4.0 * narrow_rows(buildings)
        - 2.0 * ramp(features.green, 0.5, 0.9)
}

fn greenhouse(features: &Features, buildings: &Buildings) -> f64 {
    let bright = ramp(buildings.brightness, 1.1, 1.4);
    -4.0 + 7.0 * narrow_rows(buildings) + 1.0 * bright * narrow_rows(buildings) - 1.0 * ramp(features.green, 0.7, 0.95)
}

/// The greenhouse gate (method.md S5), softened: at least four parallel parts 5 to 12 m wide and more than four times as
/// long, in even rows, that make up most of what is built. 0 to 1.
fn narrow_rows(buildings: &Buildings) -> f64 {
    let even = 1.0 - ramp(buildings.spacing_cv.unwrap_or(1.0), 0.35, 0.7);
    ramp(buildings.narrow_count as f64, 2.5, 4.5)
        * ramp(buildings.narrow_share, 0.4, 0.7)
        * ramp(buildings.coherence, 0.75, 0.92)
        * (0.4 + 0.6 * even)
}

fn phase(features: &Features, class: SiteClass) -> Phase {
    let works = ground_works(features) > 0.3;
    match &features.buildings {
        Some(buildings) if buildings.count > 0 && class != SiteClass::Other => {
            if buildings.frame_share >= 0.4 && class == SiteClass::Factory {
                Phase::Frames
            } else if buildings.slab_share > 0.6 && class == SiteClass::Factory {
                Phase::GroundWorks
            } else {
                Phase::Roofed
            }
        }
        _ if works => Phase::GroundWorks,
        _ => Phase::None,
    }
}

/// 0 up to `low`, 1 from `high` on, straight between.
fn ramp(value: f64, low: f64, high: f64) -> f64 {
    ((value - low) / (high - low)).clamp(0.0, 1.0)
}

/// Up between the first two, down between the last two.
fn plateau(value: f64, from: f64, full: f64, until: f64, gone: f64) -> f64 {
    ramp(value, from, full) * (1.0 - ramp(value, until, gone))
}

fn softmax(scores: [f64; 4]) -> [f64; 4] {
    let largest = scores.into_iter().fold(f64::MIN, f64::max);
    let odds = scores.map(|score| libm::exp(score - largest));
    let total: f64 = odds.iter().sum();
    odds.map(|odds| odds / total)
}

fn logistic(log_odds: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-log_odds))
}

fn logit(probability: f64) -> f64 {
    let bounded = probability.clamp(1e-9, 1.0 - 1e-9);
    libm::log(bounded / (1.0 - bounded))
}

/// `2,310`.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let head = digits.len() % 3;
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && index % 3 == head && text.chars().last().is_some_and(|last| last.is_ascii_digit()) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outline::{OrientedRect, Shape};

    /// A bare lot of 3.3 ha, 150 m × 220 m, on former cropland, with nothing on it and no growth of structure.
    fn lot() -> Features {
        let rect = OrientedRect { centre_x: 0.0, centre_y: 0.0, length: 220.0, width: 150.0, direction: (1.0, 0.0) };
        Features {
            area_ha: 3.3,
            lot: Shape { area: 32_000.0, perimeter: 740.0, hull_area: 33_000.0, rect },
            cover_before: [0.95, 0.0, 0.05, 0.0, 0.0],
            vegetation: [0.45, 0.1],
            brightness: [-0.2, 1.2],
            edge_growth: 0.0,
            structure: 0.5,
            logit: 2.0,
            buildings: Some(Buildings::default()),
            visible: 1.0,
            green: 0.02,
            road_km: None,
            station_km: None,
        }
    }

    fn halls(count: usize, length: f64, width: f64) -> Buildings {
        let area = length * width;
        Buildings {
            count,
            largest_m2: area,
            total_m2: area * count as f64,
            median_m2: area,
            coverage: area * count as f64 / 33_000.0,
            elongation: length / width,
            width_m: width,
            rectangularity: 0.95,
            coherence: 0.98,
            spacing_cv: (count > 2).then_some(0.05),
            small_share: if area < 300.0 { 1.0 } else { 0.0 },
            narrow_share: if width <= 13.0 && length >= 4.0 * width { 1.0 } else { 0.0 },
            narrow_count: if width <= 13.0 && length >= 4.0 * width { count } else { 0 },
            blue_share: 0.0,
            brightness: 1.3,
            frame_share: 0.0,
            slab_share: 0.0,
            shadow: 0.2,
            area_error: 0.05,
        }
    }

    fn with(buildings: Buildings) -> Verdict {
        classify(&Features { buildings: Some(buildings), edge_growth: 0.8, ..lot() })
    }

    #[test]
    fn the_known_case_is_a_factory() {
        // Three or four halls with L/W from 2 to 6 on 3.3 ha of cropland, framed.
        for (count, length, width) in [(4, 70.0, 23.0), (3, 90.0, 15.0), (4, 60.0, 30.0), (2, 90.0, 36.0)] {
            let verdict = with(Buildings { frame_share: 0.9, ..halls(count, length, width) });
            assert_eq!((verdict.class, verdict.phase), (SiteClass::Factory, Phase::Frames));
            assert!(verdict.probabilities.factory > 0.7, "{count} × {length} × {width}: {verdict:?}");
        }
    }

    #[test]
    fn many_houses_are_residential_and_narrow_rows_are_greenhouses() {
        for count in [8, 20, 60] {
            let verdict = with(halls(count, 11.0, 7.0));
            assert_eq!(verdict.class, SiteClass::Residential, "{count}: {verdict:?}");
            assert!(verdict.probabilities.factory < 0.1);
        }
        for count in [4, 10, 40] {
            let verdict = with(halls(count, 80.0, 8.0));
            assert_eq!(verdict.class, SiteClass::Greenhouse, "{count}: {verdict:?}");
            assert!(verdict.probabilities.factory < 0.15, "{verdict:?}");
        }
    }

    #[test]
    fn change_without_anything_built_is_no_factory() {
        let burn = Features { brightness: [0.0, -1.5], cover_before: [0.1, 0.6, 0.3, 0.0, 0.0], ..lot() };
        let flood = Features { brightness: [0.0, -2.0], vegetation: [0.4, -0.3], ..lot() };
        let harvest = lot();
        let regrowth =
            Features { green: 0.9, vegetation: [0.1, 0.6], cover_before: [0.0, 0.0, 1.0, 0.0, 0.0], ..lot() };
        let coarse = Features { buildings: None, ..lot() };
        for (name, features) in
            [("burn", burn), ("flood", flood), ("harvest", harvest), ("regrowth", regrowth), ("coarse", coarse)]
        {
            let verdict = classify(&features);
            assert_eq!((verdict.class, verdict.phase), (SiteClass::Other, Phase::None), "{name}");
            assert!(verdict.probabilities.factory < 0.1, "{name}: {verdict:?}");
        }
    }

    #[test]
    fn bare_lot_shaped_ground_with_growing_structure_is_a_construction_site_of_some_kind() {
        let works = classify(&Features { edge_growth: 0.7, ..lot() });
        assert_eq!(works.phase, Phase::GroundWorks);
        assert!((0.2..0.6).contains(&works.probabilities.factory), "{works:?}");
        assert!(works.factory_interval.1 - works.factory_interval.0 > 0.2);
    }

    #[test]
    fn probabilities_sum_to_one_the_interval_holds_them_and_the_reasons_explain_them() {
        for buildings in [halls(4, 70.0, 23.0), halls(30, 10.0, 8.0), halls(12, 90.0, 8.0), Buildings::default()] {
            let verdict = with(buildings);
            let ClassProbabilities { factory, residential, greenhouse, other } = verdict.probabilities;
            assert!((factory + residential + greenhouse + other - 1.0).abs() < 1e-12);
            assert!(verdict.factory_interval.0 <= factory && factory <= verdict.factory_interval.1);
            let sum: f64 = verdict.reasons.iter().map(|reason| reason.log_odds).sum();
            assert!((logistic(sum) - factory).abs() < 1e-9);
            assert!(verdict.reasons.windows(2).all(|pair| pair[0].log_odds.abs() >= pair[1].log_odds.abs()));
        }
    }

    #[test]
    fn what_stood_before_is_nothing_new_and_what_replaces_buildings_is() {
        // Simulated towns and works that did not change: edges grew by −0.15 to 0.24; new lots: by 1.3 and more.
        let on_built = |edge_growth: f64, buildings: Buildings| {
            let cover_before = [0.02, 0.0, 0.0, 0.0, 0.98];
            classify(&Features { buildings: Some(buildings), edge_growth, cover_before, ..lot() })
        };
        for buildings in [halls(4, 70.0, 23.0), halls(30, 10.0, 8.0), halls(12, 90.0, 8.0)] {
            let verdict = on_built(0.2, buildings);
            assert_eq!(verdict.class, SiteClass::Other, "{verdict:?}");
            assert!(verdict.probabilities.factory < 0.1, "{verdict:?}");
            assert!(verdict.reasons.iter().any(|reason| reason.text.contains("as built as before")), "{verdict:?}");
        }
        assert_eq!(on_built(1.4, halls(30, 10.0, 8.0)).class, SiteClass::Residential);
    }

    #[test]
    fn a_few_small_things_on_a_lot_are_no_housing() {
        for count in [1, 3, 4] {
            let verdict = with(halls(count, 12.0, 8.0));
            assert!(verdict.class != SiteClass::Residential, "{count}: {verdict:?}");
        }
    }

    #[test]
    fn what_is_hidden_widens_the_interval() {
        let seen = with(halls(4, 70.0, 23.0));
        let hidden =
            classify(&Features { buildings: Some(halls(4, 70.0, 23.0)), edge_growth: 0.8, visible: 0.4, ..lot() });
        assert_eq!(seen.probabilities, hidden.probabilities);
        assert!(hidden.factory_interval.0 < seen.factory_interval.0);
    }

    #[test]
    fn numbers_have_separators() {
        assert_eq!(thousands(2310.4), "2,310");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(thousands(1_234_567.0), "1,234,567");
    }
}
