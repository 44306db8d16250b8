//! Which scene pairs fill which cell of the grid, in which order: a pure function of scenes and cells.
//!
//! A cell gets an ordered list of pairs. The first is the best one there; each further one is the best at filling what
//! those before it leave. Nothing here knows tiles or counties.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Datelike;
use geo::Coord;
use survey::grid::{CELL_PX, Cell, Grid, PixelRect};
use survey::plan::PlannedCell;
use survey::scene::{BandName, Scene, ScenePair};
use survey::spec::DetectorSpec;

use crate::crs::{Crs, Transformer};
use crate::error::ImageryError;

/// Sample points per side of a cell: coverage is a bit mask of 8 × 8.
const SAMPLES: i32 = 8;
/// Scenes per date that are weighed against each other in a cell.
const CANDIDATES: usize = 8;
/// Points per side of a raster's outline, so that its curved image on the grid is followed.
const OUTLINE_STEPS: u32 = 32;

/// Bands that are compared where both scenes have enough of them; others repeat them at a coarser resolution.
const CORE_BANDS: [&str; 6] = ["blue", "green", "red", "nir", "swir16", "swir22"];

/// What was chosen.
#[derive(Debug)]
pub struct Selection {
    /// The scenes in use, by (acquired, id).
    pub scenes: Vec<Scene>,
    /// The pairs in use, by key; their scenes are indices into `scenes`.
    pub pairs: Vec<ScenePair>,
    /// All cells, in the order given, each with its pairs.
    pub by_cell: Vec<PlannedCell>,
    /// Remarks.
    pub warnings: Vec<String>,
}

/// Chooses pairs for `cells` (sorted).
///
/// # Errors
/// Where a CRS is unknown, or a scene lacks a band that `detector.bands` names.
pub fn choose(
    cells: &[Cell],
    grid: &Grid,
    before: &[Scene],
    after: &[Scene],
    detector: &DetectorSpec,
) -> Result<Selection, ImageryError> {
    let (seen_before, extents_before) = coverage(cells, grid, before)?;
    let (seen_after, extents_after) = coverage(cells, grid, after)?;
    let extents = (extents_before.as_slice(), extents_after.as_slice());
    let mut bands = BTreeMap::new();
    let mut chosen: BTreeSet<(usize, usize)> = BTreeSet::new();
    let mut by_cell = Vec::with_capacity(cells.len());
    let mut cache: BTreeMap<Views<'_>, Vec<(usize, usize)>> = BTreeMap::new();
    for (seen_before, seen_after) in seen_before.iter().zip(&seen_after) {
        // Neighbouring cells deep inside the same scenes have the same choice.
        let pairs = match cache.get(&(seen_before.as_slice(), seen_after.as_slice())) {
            Some(pairs) => pairs.clone(),
            None => {
                let pairs = rank(before, after, seen_before, seen_after, detector, extents, &mut bands)?;
                cache.insert((seen_before, seen_after), pairs.clone());
                pairs
            }
        };
        chosen.extend(pairs.iter().copied());
        by_cell.push(pairs);
    }
    Ok(assemble(cells, before, after, &chosen, &by_cell, &bands))
}

/// A scene's view of a cell: which sample points it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    scene: usize,
    points: u64,
}

/// The views that scenes of the two dates have of a cell.
type Views<'a> = (&'a [Seen], &'a [Seen]);

type Bands = (Vec<BandName>, Vec<BandName>);

/// The pairs of a cell, best first.
fn rank(
    before: &[Scene],
    after: &[Scene],
    seen_before: &[Seen],
    seen_after: &[Seen],
    detector: &DetectorSpec,
    extents: (&[Extent], &[Extent]),
    bands: &mut BTreeMap<(usize, usize), Option<Bands>>,
) -> Result<Vec<(usize, usize)>, ImageryError> {
    let (seen_before, seen_after) = (best(before, seen_before), best(after, seen_after));
    let mut candidates = Vec::new();
    for b in &seen_before {
        for a in &seen_after {
            let (earlier, later) = (&before[b.scene], &after[a.scene]);
            let meet = b.points & a.points != 0 || extents.0[b.scene].shares_a_pixel(&extents.1[a.scene]);
            if earlier.acquired >= later.acquired || !meet {
                continue;
            }
            let known = match bands.get(&(b.scene, a.scene)) {
                Some(known) => known,
                None => {
                    let found = comparable(earlier, later, detector)?;
                    bands.entry((b.scene, a.scene)).or_insert(found)
                }
            };
            if known.is_some() {
                candidates.push((b.scene, a.scene, b.points & a.points, quality(earlier, later)));
            }
        }
    }
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    let mut filled = 0_u64;
    while pairs.len() < detector.max_pairs_per_cell as usize {
        let next = candidates
            .iter()
            .filter(|(b, a, ..)| !pairs.contains(&(*b, *a)))
            .map(|&(b, a, points, quality)| {
                let gain = f64::from((points & !filled).count_ones()) / 64.0;
                // What is filled already counts a little: a second pair shows through the clouds of the first.
                let again = f64::from((points & filled).count_ones()) / 64.0;
                ((gain + 0.05 * again) * quality, b, a, points)
            })
            .max_by(|x, y| {
                let ids = |b: usize, a: usize| (&before[b].id, &after[a].id);
                x.0.total_cmp(&y.0).then_with(|| ids(y.1, y.2).cmp(&ids(x.1, x.2)))
            });
        let Some((_, b, a, points)) = next else { break };
        pairs.push((b, a));
        filled |= points;
    }
    Ok(pairs)
}

/// The scenes of one date that are worth weighing, most promising first.
fn best(scenes: &[Scene], seen: &[Seen]) -> Vec<Seen> {
    let mut seen = seen.to_vec();
    let worth = |seen: &Seen| f64::from(seen.points.count_ones() + 1) * clear(&scenes[seen.scene]);
    seen.sort_by(|a, b| worth(b).total_cmp(&worth(a)).then_with(|| scenes[a.scene].id.cmp(&scenes[b.scene].id)));
    seen.truncate(CANDIDATES);
    seen
}

/// Share of a scene that is free of cloud; a scene that does not say is taken for fairly clear.
fn clear(scene: &Scene) -> f64 {
    1.0 - scene.cloud_cover.unwrap_or(10.0).clamp(0.0, 99.0) / 100.0
}

/// How good a pair is, 0 to 1, where it covers: clear, steep, fine, and of the same season.
fn quality(before: &Scene, after: &Scene) -> f64 {
    let steep = |scene: &Scene| 1.0 - scene.off_nadir_deg.unwrap_or(10.0).abs().clamp(0.0, 60.0) / 120.0;
    let fine = |scene: &Scene| 1.0 / (1.0 + scene.gsd_m.max(0.01) / 30.0);
    let days = (i64::from(before.acquired.ordinal()) - i64::from(after.acquired.ordinal())).abs();
    let apart = days.min(365 - days).max(0) as f64;
    let season = 1.0 - apart / 365.0;
    clear(before) * clear(after) * steep(before) * steep(after) * fine(before) * fine(after) * season
}

/// The bands in which two scenes are compared: those named, or the core bands or all bands that both have, or all of
/// each where they share fewer than two. `None` where one of them has no band to compare.
fn comparable(before: &Scene, after: &Scene, detector: &DetectorSpec) -> Result<Option<Bands>, ImageryError> {
    if let Some(named) = &detector.bands {
        let named: Vec<BandName> = named.iter().map(|name| BandName::new(name)).collect();
        for scene in [before, after] {
            if let Some(missing) = named.iter().find(|band| scene.band(band).is_none()) {
                let has = scene.bands.iter().map(|band| band.name.as_str()).collect::<Vec<_>>().join(", ");
                return Err(ImageryError::Document {
                    href: scene.id.to_string(),
                    cause: format!("the scene has no band `{missing}`"),
                    mend: format!("it has {has}"),
                });
            }
        }
        return Ok(Some((named.clone(), named)));
    }
    let spectral = |scene: &Scene| -> Vec<BandName> {
        scene.bands.iter().map(|band| band.name.clone()).filter(BandName::is_spectral).collect()
    };
    let (of_before, of_after) = (spectral(before), spectral(after));
    let mut common: Vec<BandName> = of_before.iter().filter(|band| of_after.contains(band)).cloned().collect();
    common.sort_by_key(|band| {
        (CORE_BANDS.iter().position(|core| *core == band.as_str()).unwrap_or(CORE_BANDS.len()), band.clone())
    });
    let core = common.iter().take_while(|band| CORE_BANDS.contains(&band.as_str())).count();
    if core >= 3 {
        common.truncate(core);
    }
    Ok(match (common.len(), of_before.len(), of_after.len()) {
        (2.., ..) => Some((common.clone(), common)),
        (_, 0, _) | (_, _, 0) => None,
        _ => Some((of_before, of_after)),
    })
}

fn assemble(
    cells: &[Cell],
    before: &[Scene],
    after: &[Scene],
    chosen: &BTreeSet<(usize, usize)>,
    by_cell: &[Vec<(usize, usize)>],
    bands: &BTreeMap<(usize, usize), Option<Bands>>,
) -> Selection {
    let mut scenes: Vec<&Scene> = chosen.iter().flat_map(|&(b, a)| [&before[b], &after[a]]).collect();
    scenes.sort_by(|a, b| (a.acquired, &a.id).cmp(&(b.acquired, &b.id)));
    scenes.dedup_by(|a, b| a.id == b.id && a.acquired == b.acquired);
    let index = |scene: &Scene| {
        scenes
            .binary_search_by(|other| (other.acquired, &other.id).cmp(&(scene.acquired, &scene.id)))
            .unwrap_or_default() as u32
    };
    let mut pairs: Vec<((usize, usize), ScenePair)> = chosen
        .iter()
        .filter_map(|&(b, a)| {
            let (before_bands, after_bands) = bands.get(&(b, a))?.clone()?;
            let key = format!("{}~{}", safe(before[b].id.as_ref()), safe(after[a].id.as_ref()));
            Some((
                (b, a),
                ScenePair { before: index(&before[b]), after: index(&after[a]), before_bands, after_bands, key },
            ))
        })
        .collect();
    pairs.sort_by(|a, b| a.1.key.cmp(&b.1.key));
    let place: BTreeMap<(usize, usize), u32> =
        pairs.iter().enumerate().map(|(place, (pair, _))| (*pair, place as u32)).collect();
    let by_cell = cells
        .iter()
        .zip(by_cell)
        .map(|(&cell, pairs)| PlannedCell {
            cell,
            pairs: pairs.iter().filter_map(|pair| place.get(pair).copied()).collect(),
        })
        .collect();
    Selection {
        scenes: scenes.into_iter().cloned().collect(),
        pairs: pairs.into_iter().map(|(_, pair)| pair).collect(),
        by_cell,
        warnings: Vec::new(),
    }
}

/// A name that is safe in an object key.
fn safe(name: &str) -> String {
    name.chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.') { letter } else { '_' })
        .collect()
}

/// For each cell, the scenes that touch it.
fn coverage(cells: &[Cell], grid: &Grid, scenes: &[Scene]) -> Result<(Vec<Vec<Seen>>, Vec<Extent>), ImageryError> {
    let to = Crs::parse(&grid.crs)?;
    let mut seen = vec![Vec::new(); cells.len()];
    let mut extents = vec![Extent::EMPTY; scenes.len()];
    for (scene, description) in scenes.iter().enumerate() {
        for ring in outline(description, grid, &to)? {
            ring.0.iter().for_each(|&point| extents[scene].hold(point));
            ring.mark(cells, |cell, points| {
                let views: &mut Vec<Seen> = &mut seen[cell];
                match views.last_mut() {
                    Some(last) if last.scene == scene => last.points |= points,
                    _ => views.push(Seen { scene, points }),
                }
            });
        }
    }
    Ok((seen, extents))
}

/// The box around a scene in pixel coordinates.
#[derive(Clone, Copy, Debug)]
struct Extent {
    rows: (f64, f64),
    cols: (f64, f64),
}

impl Extent {
    const EMPTY: Self = Self { rows: (f64::INFINITY, f64::NEG_INFINITY), cols: (f64::INFINITY, f64::NEG_INFINITY) };

    fn hold(&mut self, (row, col): (f64, f64)) {
        self.rows = (self.rows.0.min(row), self.rows.1.max(row));
        self.cols = (self.cols.0.min(col), self.cols.1.max(col));
    }

    /// Whether two scenes have a pixel's ground in common: scenes that only touch have none.
    fn shares_a_pixel(&self, other: &Self) -> bool {
        let common = |a: (f64, f64), b: (f64, f64)| a.1.min(b.1) - a.0.max(b.0);
        common(self.rows, other.rows) >= 1.0 && common(self.cols, other.cols) >= 1.0
    }
}

/// A closed ring in pixel coordinates: (row, col).
struct Ring(Vec<(f64, f64)>);

/// Where a scene lies on the grid: the outline of its raster where that is known, else its footprint.
fn outline(scene: &Scene, grid: &Grid, to: &Crs) -> Result<Vec<Ring>, ImageryError> {
    let asset = scene.bands.first().and_then(|band| scene.assets.get(usize::from(band.asset)));
    let known = asset.filter(|asset| asset.width > 0 && asset.height > 0 && !asset.crs.is_empty());
    if let Some(asset) = known {
        let transformer = Transformer::new(&Crs::parse(&asset.crs)?, to)?;
        let (width, height) = (f64::from(asset.width), f64::from(asset.height));
        let corners = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)];
        let points = (0..4).flat_map(|side| {
            let (from, to) = (corners[side], corners[(side + 1) % 4]);
            (0..OUTLINE_STEPS).map(move |step| {
                let share = f64::from(step) / f64::from(OUTLINE_STEPS);
                (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share)
            })
        });
        let ring = points
            .filter_map(|(col, row)| {
                let (x, y) = asset.transform.apply(col, row);
                let (x, y) = transformer.apply(x, y)?;
                Some(grid.to_pixel(x, y))
            })
            .collect();
        return Ok(vec![Ring(ring)]);
    }
    let transformer = Transformer::new(&Crs::parse("EPSG:4326")?, to)?;
    let project = |point: &Coord<f64>| transformer.apply(point.x, point.y).map(|(x, y)| grid.to_pixel(x, y));
    Ok(scene
        .footprint
        .0
        .iter()
        .map(|polygon| Ring(polygon.exterior().0.iter().filter_map(project).collect()))
        .collect())
}

impl Ring {
    fn edges(&self) -> impl Iterator<Item = ((f64, f64), (f64, f64))> + '_ {
        (0..self.0.len()).map(|index| (self.0[index], self.0[(index + 1) % self.0.len()]))
    }

    /// Calls `seen` with the index of each cell that the ring touches and the sample points inside it.
    fn mark(&self, cells: &[Cell], mut seen: impl FnMut(usize, u64)) {
        if self.0.len() < 3 || self.0.iter().any(|(row, col)| !(row.is_finite() && col.is_finite())) {
            return;
        }
        let (top, bottom) =
            self.0.iter().fold((f64::MAX, f64::MIN), |(top, bottom), &(row, _)| (top.min(row), bottom.max(row)));
        // Cells that the outline itself passes: they may be touched between two sample points.
        let mut touched = BTreeSet::new();
        for (from, to) in self.edges() {
            let (rows, cols) = (to.0 - from.0, to.1 - from.1);
            let steps = (rows.abs().max(cols.abs()) / f64::from(CELL_PX / 2)).ceil().clamp(1.0, 1e5) as u32;
            let at = |step: u32| {
                (from.0 + rows * f64::from(step) / f64::from(steps), from.1 + cols * f64::from(step) / f64::from(steps))
            };
            for step in 0..steps {
                let (a, b) = (at(step), at(step + 1));
                let (row, col) = (a.0.min(b.0).floor() as i32, a.1.min(b.1).floor() as i32);
                // A side along a pixel border has no height or width of its own.
                let (row1, col1) =
                    ((a.0.max(b.0).ceil() as i32).max(row + 1), (a.1.max(b.1).ceil() as i32).max(col + 1));
                touched.extend(PixelRect::new(row, col, row1, col1).cells().filter(|&cell| passes(cell, a, b)));
            }
        }
        let start = cells.partition_point(|cell| f64::from((cell.row + 1) * CELL_PX) <= top);
        let mut at = start;
        while at < cells.len() && f64::from(cells[at].row * CELL_PX) < bottom {
            let row = cells[at].row;
            let end = at + cells[at..].partition_point(|cell| cell.row == row);
            let spans: Vec<Vec<(f64, f64)>> = (0..SAMPLES).map(|sample| self.spans(sample_at(row, sample))).collect();
            for (index, cell) in cells.iter().enumerate().take(end).skip(at) {
                let mut points = 0_u64;
                for (y, spans) in spans.iter().enumerate() {
                    for x in 0..SAMPLES {
                        let col = sample_at(cell.col, x);
                        if spans.iter().any(|&(from, to)| from <= col && col < to) {
                            points |= 1 << (y as i32 * SAMPLES + x);
                        }
                    }
                }
                if points != 0 || touched.contains(cell) {
                    seen(index, points);
                }
            }
            at = end;
        }
    }

    /// Column ranges inside the ring along a row (even-odd rule).
    fn spans(&self, row: f64) -> Vec<(f64, f64)> {
        let mut crossings: Vec<f64> = self
            .edges()
            .filter(|(from, to)| (from.0 <= row) != (to.0 <= row))
            .map(|(from, to)| from.1 + (row - from.0) * (to.1 - from.1) / (to.0 - from.0))
            .collect();
        crossings.sort_unstable_by(f64::total_cmp);
        crossings.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
    }
}

/// Whether a part of the line from `a` to `b`, given as (row, col), lies inside a cell and not only on its border.
fn passes(cell: Cell, a: (f64, f64), b: (f64, f64)) -> bool {
    let rect = cell.rect();
    let (rows, cols) = (b.0 - a.0, b.1 - a.1);
    let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
    // Liang and Barsky: the part of the line that lies on the inner side of all four borders.
    for (towards, inside) in [
        (-cols, a.1 - f64::from(rect.col0)),
        (cols, f64::from(rect.col1) - a.1),
        (-rows, a.0 - f64::from(rect.row0)),
        (rows, f64::from(rect.row1) - a.0),
    ] {
        if towards == 0.0 {
            if inside <= 0.0 {
                return false;
            }
        } else if towards < 0.0 {
            enter = enter.max(inside / towards);
        } else {
            leave = leave.min(inside / towards);
        }
    }
    enter < leave
}

/// Pixel coordinate of a sample point of a cell.
fn sample_at(cell: i32, sample: i32) -> f64 {
    f64::from(cell * CELL_PX) + (f64::from(sample) + 0.5) * f64::from(CELL_PX) / f64::from(SAMPLES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Utc};
    use geo::MultiPolygon;
    use survey::grid::GeoTransform;
    use survey::scene::{Asset, SceneBand};

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
        assert_eq!(forwards, ["b~clear", "b~winter", "b~cloudy"]);
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
        assert!(
            choose(&cells(), &grid(), &before, &after, &named).unwrap_err().to_string().contains("no band `swir16`")
        );
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
}
