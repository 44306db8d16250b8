//! A closed component becomes a site: outline, footprints, features, context, class, and the analyst's sentence.

mod cover;
mod lot;
mod sentence;

use chrono::NaiveDate;
use geo::{Area, Polygon};
use survey::county::County;
use survey::findings::{Component, Run, Sums};
use survey::grid::Grid;
use survey::ids::SceneId;
use survey::plan::SurveyPlan;
use survey::raster::SceneWindow;
use survey::result::{Cover, DateRange, ExtendedChange, Footprint, Phase, Site, SiteClass};

use self::cover::{cover_after, cover_before};
use self::lot::lot;
use self::sentence::{notes, summary};
use crate::classify::{Verdict, classify};
use crate::context::{azimuth_deg, nearby};
use crate::features::{Features, measure};
use crate::footprint::{Building, find};
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

#[cfg(test)]
mod tests;
