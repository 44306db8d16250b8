//! What a site looks like, in numbers.

use std::collections::BTreeMap;

use survey::findings::{Component, EvidenceChannel, Run};
use survey::grid::Grid;

use crate::footprint::{BuildingKind, Seen};
use crate::mask::Mask;
use crate::outline::{Shape, shape};

/// Smaller buildings are houses, m².
pub const SMALL_M2: f64 = 300.0;

/// Features of a site. Lengths and areas are on the ground.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// Change pixels, ha.
    pub area_ha: f64,
    /// Shape of the lot (its gaps closed), pixels of the survey grid.
    pub lot: Shape,
    /// Shares of change pixels by cover before: cropland, woodland, bare, water, built.
    pub cover_before: [f64; 5],
    /// Mean vegetation index before, after.
    pub vegetation: [f64; 2],
    /// Mean brightness before, after: robust z over the scene.
    pub brightness: [f64; 2],
    /// Mean edge growth: log ratio of edge density.
    pub edge_growth: f64,
    /// Mean structure change, 0 to 2.
    pub structure: f64,
    /// Mean log-odds of change.
    pub logit: f64,
    /// Buildings; `None` where pixels are too coarse or there is no view.
    pub buildings: Option<Buildings>,
    /// Share of the site that the later view shows.
    pub visible: f64,
    /// Share of that which is green.
    pub green: f64,
    /// Distance to the nearest road and railway station, km.
    pub road_km: Option<f64>,
    /// See `road_km`.
    pub station_km: Option<f64>,
}

/// Features of the buildings of a site; all 0 without buildings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buildings {
    /// Their number.
    pub count: usize,
    /// Area of the largest, m².
    pub largest_m2: f64,
    /// Area of all, m².
    pub total_m2: f64,
    /// Median area, m².
    pub median_m2: f64,
    /// Area of all / area of the site.
    pub coverage: f64,
    /// Median length / width, weighted by area.
    pub elongation: f64,
    /// Median width, weighted by area, m.
    pub width_m: f64,
    /// Mean rectangularity, weighted by area.
    pub rectangularity: f64,
    /// `|Σ A e^{4jθ}| / Σ A`: 1 where all stand parallel or at right angles, near 0 where they stand anyhow.
    pub coherence: f64,
    /// Relative spread of the distance to the nearest neighbour; with at least three.
    pub spacing_cv: Option<f64>,
    /// Share of their area in buildings below [`SMALL_M2`].
    pub small_share: f64,
    /// Share of their area in parts 4 to 13 m wide and at least four times as long.
    pub narrow_share: f64,
    /// Number of such parts.
    pub narrow_count: usize,
    /// Share of their area under blue roofs.
    pub blue_share: f64,
    /// Mean brightness, weighted by area, in units of the site's median.
    pub brightness: f64,
    /// Shares of their area that are frames, and slabs.
    pub frame_share: f64,
    /// See `frame_share`.
    pub slab_share: f64,
    /// Mean share of the rings around them that is in shadow, weighted by area.
    pub shadow: f64,
    /// Relative error of the largest one's area: half a pixel all along its outline.
    pub area_error: f64,
}

/// Measures a site: `lot` are its pixels, `component` where its sums come from, `area_scale` is ground area / grid area.
#[must_use]
pub fn measure(
    component: &Component,
    lot: &[Run],
    grid: &Grid,
    area_scale: f64,
    seen: Option<&Seen>,
) -> Option<Features> {
    let sums = &component.sums;
    let pixels = sums.pixels as f64;
    let closing = ((8.0 / grid.resolution_m).round() as i32).clamp(1, 30);
    let area_ha = lot.iter().map(Run::len).sum::<u64>() as f64 * grid.pixel_area_m2() * area_scale / 10_000.0;
    let lot = shape(&Mask::from_runs(component.bounds, lot).close(closing).runs())?;
    let mean = |channel| sums.mean(channel);
    let share = |count: u64| count as f64 / pixels;
    Some(Features {
        area_ha,
        lot,
        cover_before: [sums.crop_before, sums.wood_before, sums.bare_before, sums.water_before, sums.built_before]
            .map(share),
        vegetation: [mean(EvidenceChannel::VegetationBefore), mean(EvidenceChannel::VegetationAfter)],
        brightness: [mean(EvidenceChannel::BrightnessBefore), mean(EvidenceChannel::BrightnessAfter)],
        edge_growth: mean(EvidenceChannel::EdgeGrowth),
        structure: mean(EvidenceChannel::Structure),
        logit: mean(EvidenceChannel::Logit),
        buildings: seen
            .filter(|seen| seen.resolved && seen.visible > 0.0)
            .map(|seen| buildings(seen, area_ha * 10_000.0, area_scale)),
        visible: seen.map_or(0.0, |seen| seen.visible),
        green: seen.map_or(0.0, |seen| seen.green),
        road_km: None,
        station_km: None,
    })
}

fn buildings(seen: &Seen, site_m2: f64, area_scale: f64) -> Buildings {
    let pixel_m2 = seen.gsd_m * seen.gsd_m * area_scale;
    let pixel_m = seen.gsd_m * area_scale.sqrt();
    let areas: Vec<f64> = seen.buildings.iter().map(|building| building.shape.area * pixel_m2).collect();
    let total_m2: f64 = areas.iter().sum();
    let (Some(largest), true) = (seen.buildings.first(), total_m2 > 0.0) else { return Buildings::default() };
    let weighted = |value: &dyn Fn(&crate::footprint::Building) -> f64| {
        seen.buildings.iter().zip(&areas).map(|(building, area)| value(building) * area).sum::<f64>() / total_m2
    };
    let share = |holds: &dyn Fn(&crate::footprint::Building) -> bool| {
        weighted(&|building| f64::from(u8::from(holds(building))))
    };
    let width = |building: &crate::footprint::Building| building.shape.rect.width * pixel_m;
    let is_narrow = |building: &crate::footprint::Building| {
        (4.0..=13.0).contains(&width(building)) && building.shape.rect.elongation() >= 4.0
    };
    let median = |value: &dyn Fn(&crate::footprint::Building) -> f64| {
        weighted_median(seen.buildings.iter().map(value).zip(areas.iter().copied()).collect())
    };
    Buildings {
        count: areas.len(),
        largest_m2: areas.iter().copied().fold(0.0, f64::max),
        median_m2: weighted_median(areas.iter().map(|&area| (area, 1.0)).collect()),
        coverage: if site_m2 > 0.0 { total_m2 / site_m2 } else { 0.0 },
        elongation: median(&|building| building.shape.rect.elongation()),
        width_m: median(&width),
        rectangularity: weighted(&|building| building.shape.rectangularity()),
        coherence: coherence(
            seen.buildings.iter().map(|building| building.shape.rect.direction).zip(areas.iter().copied()),
        ),
        spacing_cv: spacing_cv(
            &seen
                .buildings
                .iter()
                .map(|building| (building.shape.rect.centre_x, building.shape.rect.centre_y))
                .collect::<Vec<_>>(),
        ),
        small_share: areas.iter().filter(|&&area| area < SMALL_M2).sum::<f64>() / total_m2,
        narrow_share: share(&is_narrow),
        narrow_count: seen.buildings.iter().filter(|building| is_narrow(building)).count(),
        blue_share: share(&|building| building.blue > 0.12),
        brightness: weighted(&|building| building.brightness),
        frame_share: share(&|building| building.kind == BuildingKind::Frame),
        slab_share: share(&|building| building.kind == BuildingKind::Slab),
        shadow: weighted(&|building| building.shadow),
        area_error: 0.5 * largest.shape.perimeter / largest.shape.area.max(1.0),
        total_m2,
    }
}

/// `|Σ A e^{4jθ}| / Σ A` over unit directions and weights: the fourfold angle makes right angles count as parallel.
/// Angles are not needed: `e^{4jθ} = (x + jy)⁴`.
#[must_use]
pub fn coherence(directions: impl Iterator<Item = ((f64, f64), f64)>) -> f64 {
    let (mut re, mut im, mut total) = (0.0, 0.0, 0.0);
    for ((x, y), weight) in directions {
        let (re2, im2) = (x * x - y * y, 2.0 * x * y);
        re += weight * (re2 * re2 - im2 * im2);
        im += weight * 2.0 * re2 * im2;
        total += weight;
    }
    if total > 0.0 { (re * re + im * im).sqrt() / total } else { 0.0 }
}

/// Spread of the distances to the nearest neighbour, of three points or more: 1.4826 × median absolute deviation /
/// median, which is the standard deviation over the mean where they are normal, and which one odd shed does not move.
#[must_use]
pub fn spacing_cv(centres: &[(f64, f64)]) -> Option<f64> {
    // Quadratic, and a site has at most some hundred buildings; of more, the largest say enough.
    let centres = centres.get(..500).unwrap_or(centres);
    if centres.len() < 3 {
        return None;
    }
    let nearest: Vec<f64> = centres
        .iter()
        .enumerate()
        .map(|(index, a)| {
            centres
                .iter()
                .enumerate()
                .filter(|&(other, _)| other != index)
                .map(|(_, b)| ((a.0 - b.0) * (a.0 - b.0) + (a.1 - b.1) * (a.1 - b.1)).sqrt())
                .fold(f64::MAX, f64::min)
        })
        .collect();
    let middle = |values: &[f64]| weighted_median(values.iter().map(|&value| (value, 1.0)).collect());
    let median = middle(&nearest);
    let off: Vec<f64> = nearest.iter().map(|distance| (distance - median).abs()).collect();
    (median > 0.0).then(|| 1.4826 * middle(&off) / median)
}

/// The smallest value at which half of the weight is reached; 0 of none.
fn weighted_median(mut values: Vec<(f64, f64)>) -> f64 {
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = values.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
    let mut reached = 0.0;
    values
        .iter()
        .find(|(_, weight)| {
            reached += weight;
            reached >= half
        })
        .map_or(0.0, |(value, _)| *value)
}

impl Features {
    /// How far the site is as built as it was before: built ground whose edges did not grow, 0 to 1. A town or a works
    /// that only looks different (light, season, angle) is all of it; a new lot, even on built ground, has new edges.
    #[must_use]
    pub fn standing(&self) -> f64 {
        let ramp = |value: f64, low: f64, high: f64| ((value - low) / (high - low)).clamp(0.0, 1.0);
        let [_, _, _, _, built] = self.cover_before;
        ramp(built, 0.2, 0.5) * (1.0 - ramp(self.edge_growth, 0.4, 0.8))
    }

    /// All of them by name, as results list them; what cannot be said is left out.
    #[must_use]
    pub fn named(&self) -> BTreeMap<String, f64> {
        let mut named: BTreeMap<String, f64> = BTreeMap::new();
        let mut say = |name: &str, value: f64| {
            if value.is_finite() {
                named.insert(name.to_owned(), value);
            }
        };
        for (cover, share) in ["crop", "wood", "bare", "water", "built"].into_iter().zip(self.cover_before) {
            say(&format!("{cover}_before"), share);
        }
        say("standing_before", self.standing());
        say("lot_rectangularity", self.lot.rectangularity());
        say("lot_solidity", self.lot.solidity());
        say("lot_compactness", self.lot.compactness());
        say("vegetation_before", self.vegetation[0]);
        say("vegetation_after", self.vegetation[1]);
        say("brightness_before", self.brightness[0]);
        say("brightness_after", self.brightness[1]);
        say("edge_growth", self.edge_growth);
        say("structure_change", self.structure);
        say("change_logit", self.logit);
        say("visible", self.visible);
        say("green_after", self.green);
        if let Some(buildings) = &self.buildings {
            say("building_total_m2", buildings.total_m2);
            say("building_median_m2", buildings.median_m2);
            say("building_coverage", buildings.coverage);
            say("building_width_m", buildings.width_m);
            say("building_rectangularity", buildings.rectangularity);
            say("building_coherence", buildings.coherence);
            say("building_small_share", buildings.small_share);
            say("building_narrow_count", buildings.narrow_count as f64);
            say("building_blue_share", buildings.blue_share);
            say("building_brightness", buildings.brightness);
            say("building_frame_share", buildings.frame_share);
            say("building_slab_share", buildings.slab_share);
            say("building_shadow", buildings.shadow);
            if let Some(spacing) = buildings.spacing_cv {
                say("building_spacing_cv", spacing);
            }
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(degrees: f64) -> (f64, f64) {
        (degrees.to_radians().cos(), degrees.to_radians().sin())
    }

    #[test]
    fn buildings_at_right_angles_are_coherent_and_at_45_degrees_are_not() {
        // method.md 4.11.
        assert!((coherence([(at(0.0), 1.0), (at(90.0), 1.0)].into_iter()) - 1.0).abs() < 1e-12);
        assert!(coherence([(at(0.0), 1.0), (at(45.0), 1.0)].into_iter()) < 1e-12);
        assert!((coherence([(at(179.0), 2.0), (at(-1.0), 5.0), (at(89.0), 1.0)].into_iter()) - 1.0).abs() < 1e-12);
        assert!((coherence([(at(10.0), 3.0), (at(55.0), 1.0)].into_iter()) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn a_regular_row_has_no_spread_of_spacing() {
        let row: Vec<(f64, f64)> = (0..6).map(|index| (f64::from(index) * 11.0, 4.0)).collect();
        assert!(spacing_cv(&row).unwrap() < 1e-12);
        assert_eq!(spacing_cv(&row[..2]), None);
        // Distances 1, 1, 2, 4, 4: median 2, deviations 0, 1, 1, 2, 2.
        let uneven = spacing_cv(&[(0.0, 0.0), (1.0, 0.0), (3.0, 0.0), (11.0, 0.0), (7.0, 0.0)]).unwrap();
        assert!((uneven - 1.4826 / 2.0).abs() < 1e-12);
    }

    #[test]
    fn the_weighted_median_is_where_half_of_the_weight_is_reached() {
        assert_eq!(weighted_median(vec![(3.0, 10.0), (1.0, 1.0), (2.0, 1.0)]), 3.0);
        assert_eq!(weighted_median(vec![(3.0, 1.0), (1.0, 1.0), (2.0, 1.0)]), 2.0);
        assert_eq!(weighted_median(vec![]), 0.0);
    }
}
