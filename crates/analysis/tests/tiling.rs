//! C1 and C2 on pixels: what is found does not depend on the tiles it is found in.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeMap;

use analysis::calibrate::{CellSample, fit, register};
use analysis::stitch::{Child, SiteLimits, merge};
use analysis::{PairPixels, detect_tile, halo_px};
use geo::{MultiPolygon, polygon};
use survey::calibration::Calibration;
use survey::county::{County, CountyMap};
use survey::findings::{Component, Coverage, Findings};
use survey::grid::{Block, Cell, Grid, PixelRect};
use survey::ids::{Digest, SurveyId};
use survey::job::ObjectRef;
use survey::plan::{Context, PlannedCell, SurveyPlan};
use survey::raster::{PixelState, Plane, SceneWindow};
use survey::scene::BandName;
use survey::spec::DetectorSpec;

/// A world that can be asked at any pixel: fields, lots that are built between the dates, and clouds by scene.
fn hash(row: i32, col: i32, salt: u32) -> f32 {
    let mut z = (row as u32).wrapping_mul(0x9e37_79b1)
        ^ (col as u32).wrapping_mul(0x85eb_ca77)
        ^ salt.wrapping_mul(0xc2b2_ae3d);
    z = (z ^ (z >> 15)).wrapping_mul(0x2c1b_3c6d);
    z = (z ^ (z >> 12)).wrapping_mul(0x297a_2d39);
    (z ^ (z >> 15)) as f32 / u32::MAX as f32
}

/// Lots as (row, col, rows, columns): over borders of cells and tiles, and one at the grid's origin.
const LOTS: [(i32, i32, i32, i32); 5] =
    [(-40, -60, 90, 120), (200, 230, 80, 110), (460, 480, 90, 70), (-300, 300, 70, 90), (700, -200, 100, 80)];

fn value(scene: u32, band: usize, row: i32, col: i32) -> f32 {
    let field = hash(row.div_euclid(60), col.div_euclid(90), 1);
    let green = [300.0, 650.0, 400.0, 3200.0][band];
    let soil = [900.0, 1200.0, 1500.0, 2100.0][band];
    let share = (field * 2.0).min(1.0);
    let mut ground = green * share + soil * (1.0 - share);
    let is_later = scene % 2 == 1;
    for (index, &(row0, col0, rows, cols)) in LOTS.iter().enumerate() {
        let (r, c) = (row - row0, col - col0);
        if is_later && (0..rows).contains(&r) && (0..cols).contains(&c) {
            let is_roof = (15..40).contains(&(r % 45)) && (10..cols - 10).contains(&c);
            ground =
                if is_roof { [2600.0, 2100.0, 1700.0, 1600.0][band] } else { [1700.0, 2000.0, 2300.0, 2600.0][band] };
            ground *= 1.0 + 0.02 * index as f32;
        }
    }
    ground * (1.0 + 0.1 * (hash(row, col, 10 + scene * 4 + band as u32) - 0.5)) * (1.0 + 0.03 * scene as f32)
}

fn state(scene: u32, row: i32, col: i32) -> PixelState {
    let near = |centre: (i32, i32), radius: i32| (row - centre.0).pow(2) + (col - centre.1).pow(2) < radius.pow(2);
    match scene {
        1 if near((230, 260), 90) || near((-10, 0), 25) => PixelState::Cloud,
        2 if col > 560 => PixelState::Nodata,
        0 if (400..440).contains(&row) && (-100..0).contains(&col) => PixelState::Unreadable,
        _ => PixelState::Valid,
    }
}

fn read(scene: u32, rect: PixelRect) -> SceneWindow {
    let pixels = || (rect.row0..rect.row1).flat_map(move |row| (rect.col0..rect.col1).map(move |col| (row, col)));
    SceneWindow {
        bands: ["blue", "green", "red", "nir"].map(BandName::new).to_vec(),
        planes: (0..4)
            .map(|band| {
                Plane::from_vec(rect, pixels().map(|(row, col)| value(scene, band, row, col)).collect()).unwrap().into()
            })
            .collect(),
        state: Plane::from_vec(rect, pixels().map(|(row, col)| state(scene, row, col)).collect()).unwrap(),
    }
}

/// Pair 0 is scenes 0 and 1, pair 1 is scenes 2 and 3.
fn calibration(pair: u32, grid: &Grid, detector: &DetectorSpec) -> Calibration {
    let samples: Vec<CellSample> = [Cell { row: 0, col: 0 }, Cell { row: -1, col: -1 }]
        .into_iter()
        .map(|cell| CellSample { before: read(2 * pair, cell.rect()), after: read(2 * pair + 1, cell.rect()) })
        .collect();
    fit(&samples, grid, register(&samples, grid), detector)
}

fn plan(tile_px: i32) -> SurveyPlan {
    let county = |id: &str, border: MultiPolygon<f64>| County {
        id: id.into(),
        name: id.into(),
        parent: None,
        designated: vec![],
        border,
        notes: vec![],
    };
    let west = polygon![(x: -500.0, y: 400.0), (x: 270.0, y: 400.0), (x: 250.0, y: -900.0), (x: -500.0, y: -900.0)];
    let east = polygon![(x: 270.0, y: 400.0), (x: 900.0, y: 400.0), (x: 900.0, y: -512.0), (x: 512.0, y: -512.0), (x: 512.0, y: -900.0), (x: 250.0, y: -900.0)];
    let mut cells = Vec::new();
    for row in -1..2_i32 {
        for col in -1..2_i32 {
            if (row, col) == (1, 1) {
                continue;
            }
            let pairs = match (row + col).rem_euclid(3) {
                0 => vec![0, 1],
                1 => vec![1, 0],
                _ => vec![0],
            };
            cells.push(PlannedCell { cell: Cell { row, col }, pairs });
        }
    }
    SurveyPlan {
        survey: SurveyId("tiling".into()),
        name: "tiling".into(),
        spec_hash: String::new(),
        grid: Grid { crs: "EPSG:32652".into(), resolution_m: 1.0 },
        tile_px,
        detector: DetectorSpec::default(),
        counties: vec![county("a", west.into()), county("b", east.into())],
        scenes: vec![],
        pairs: vec![],
        cells,
        context: Context::default(),
    }
}

struct Outcome {
    closed: Vec<Component>,
    coverage: BTreeMap<u32, Coverage>,
}

fn survey(tile_px: i32, calibrations: &[Calibration]) -> Outcome {
    let plan = plan(tile_px);
    let counties = CountyMap::new(&plan.grid, &plan.counties);
    let halo = halo_px(plan.grid.resolution_m, &plan.detector);
    let limits = SiteLimits::new(&plan.grid, &plan.detector);
    let extent = plan.extent().unwrap();
    let mut closed = Vec::new();
    let mut level: BTreeMap<Block, Findings> = BTreeMap::new();
    for tile in plan.tiles() {
        let around = tile.rect(tile_px).grown(halo);
        let pairs: Vec<PairPixels> = (0..2)
            .map(|pair| PairPixels {
                pair,
                calibration: calibrations[pair as usize].clone(),
                before: read(2 * pair, around),
                after: read(2 * pair + 1, around),
            })
            .collect();
        level.insert(tile, detect_tile(&plan, &counties, tile.rect(tile_px), &pairs));
    }
    let reference = |block: &Block| ObjectRef { key: format!("{block:?}"), digest: Digest::of(b""), length: 0 };
    loop {
        for findings in level.values() {
            closed.extend(findings.closed.clone());
        }
        if level.keys().all(|block| *block == extent.root) {
            break;
        }
        // As the schedule does: blocks on both sides of the origin never meet by halving, the root takes them all.
        let is_around_origin = level.keys().all(|block| (-1..=0).contains(&block.y) && (-1..=0).contains(&block.x));
        let mut parents: BTreeMap<Block, Vec<Child>> = BTreeMap::new();
        for (block, findings) in &level {
            let child = Child { rect: block.rect(tile_px), found: Some((reference(block), findings.clone())) };
            let parent = if extent.root == Block::WHOLE && is_around_origin { extent.root } else { block.parent() };
            parents.entry(parent).or_default().push(child);
        }
        level = parents
            .into_iter()
            .map(|(block, children)| {
                let is_root = block == extent.root;
                (block, merge(block.rect(tile_px), children, &counties, extent.rect, &limits, is_root))
            })
            .collect();
    }
    let root = level.into_values().next().unwrap();
    assert!(root.open.is_empty(), "everything closes at the root");
    closed.sort_by_key(|component| component.first);
    Outcome { closed, coverage: root.coverage }
}

#[test]
fn findings_do_not_depend_on_the_tiles() {
    let detector = DetectorSpec::default();
    let grid = plan(512).grid;
    let calibrations: Vec<Calibration> = (0..2).map(|pair| calibration(pair, &grid, &detector)).collect();
    let one = survey(2048, &calibrations);
    for tile_px in [256, 512, 777, 1024] {
        let other = survey(tile_px, &calibrations);
        assert_eq!(one.closed.len(), other.closed.len(), "tiles of {tile_px}");
        for (a, b) in one.closed.iter().zip(&other.closed) {
            assert_eq!(a, b, "tiles of {tile_px}");
        }
        assert_eq!(one.coverage, other.coverage, "tiles of {tile_px}");
    }
    // The world's truth: every lot is one site of its size, and nothing else is.
    let found: Vec<(u64, PixelRect, i32)> =
        one.closed.iter().map(|site| (site.sums.pixels, site.bounds, site.sums.max_logit)).collect();
    assert_eq!(found.len(), LOTS.len(), "{found:?}");
    for &(row, col, rows, cols) in &LOTS {
        let site = one
            .closed
            .iter()
            .find(|site| site.bounds.contains(row + rows / 2, col + cols / 2))
            .unwrap_or_else(|| panic!("the lot at {row}, {col} is missed"));
        let area = f64::from(rows * cols);
        let share = site.sums.pixels as f64 / area;
        // The lot at the origin lies partly under a cloud that only half of the cells have a second pair for.
        let least = 0.75;
        assert!((least..1.25).contains(&share), "{} of {area}", site.sums.pixels);
    }
    // Every pixel of the counties' planned cells is counted once, and every gap in the county that it lies in: as the
    // states of the scenes say, pixel by pixel. Where a cell has a second pair, that fills the gaps of the first.
    let counties = CountyMap::new(&grid, &plan(512).counties);
    let mut expected: BTreeMap<u32, Coverage> = BTreeMap::new();
    for planned in plan(512).cells {
        let rect = planned.cell.rect();
        for row in rect.row0..rect.row1 {
            for span in counties.spans(row, rect.col0, rect.col1) {
                for col in span.col0..span.col1 {
                    let seen = planned.pairs.iter().map(|pair| {
                        let (before, after) = (state(2 * pair, row, col), state(2 * pair + 1, row, col));
                        if before == PixelState::Valid { after } else { before }
                    });
                    let is_seen = seen.clone().any(|state| state == PixelState::Valid);
                    let state = if is_seen { PixelState::Valid } else { seen.max().unwrap() };
                    expected.entry(span.county).or_default().count(state, 1);
                }
            }
        }
    }
    for (county, expected) in &expected {
        let found = &one.coverage[county];
        assert_eq!(Coverage { changed: 0, ..*found }, *expected, "county {county}");
        assert!(found.changed > 0 && found.changed < found.surveyed / 10, "{found:?}");
    }
    assert!(expected[&0].unreadable > 0 && expected[&0].cloud > 0, "no gap: nothing is tested");
    assert_eq!(one.coverage[&0].no_scene, 0);
}

#[test]
fn a_pair_alone_is_what_it_is_beside_one_that_sees_nothing() {
    let mut plan = plan(256);
    for name in ["default", "irmad"] {
        plan.detector.name = name.into();
        let counties = CountyMap::new(&plan.grid, &plan.counties);
        let tile = PixelRect::new(0, 0, 256, 256);
        let around = tile.grown(halo_px(plan.grid.resolution_m, &plan.detector));
        let [seen, unseen] = [0, 1].map(|pair| PairPixels {
            pair,
            calibration: calibration(pair, &plan.grid, &plan.detector),
            before: read(2 * pair, around),
            after: read(2 * pair + 1, around),
        });
        let nothing = Plane::filled(around, PixelState::NoScene);
        let unseen = PairPixels { before: SceneWindow { state: nothing, ..unseen.before.clone() }, ..unseen };
        let alone = detect_tile(&plan, &counties, tile, std::slice::from_ref(&seen));
        assert!(!alone.closed.is_empty() || !alone.open.is_empty(), "{name}: nothing is found");
        assert_eq!(alone, detect_tile(&plan, &counties, tile, &[seen, unseen]), "{name}");
        // Without any pair nothing is surveyed, and nothing found.
        let none = detect_tile(&plan, &counties, tile, &[]);
        assert!(none.closed.is_empty() && none.open.is_empty(), "{name}");
        assert!(none.coverage.values().all(|county| county.surveyed == 0 && county.no_scene > 0), "{name}");
    }
}
