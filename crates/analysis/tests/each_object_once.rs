//! C2: whatever the tiling, the components are those of the labelled whole image: areas, counts, ids and runs.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which clippy does not see as such")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use analysis::components::{Ground, LabelInput, Seen, label};
use analysis::mask::Mask;
use analysis::stitch::{Child, SiteLimits, merge, tile_findings};
use geo::{MultiPolygon, polygon};
use proptest::prelude::*;
use survey::county::{County, CountyMap};
use survey::findings::{Component, Coverage, Findings, Run};
use survey::grid::{Block, Cell, Grid, PixelIndex, PixelRect};
use survey::ids::Digest;
use survey::job::ObjectRef;
use survey::raster::Plane;
use survey::result::Cover;

const ALL: SiteLimits = SiteLimits { min_px: 1, max_px: 1 << 40, sure_logit: i32::MIN };

/// A survey whose pixels are known: the change and group masks over a world, and counties on it.
struct World {
    change: Mask,
    group: Mask,
    counties: CountyMap,
    planned: Box<dyn Fn(Cell) -> bool + Sync>,
    limits: SiteLimits,
}

fn two_counties(border_col: i32) -> CountyMap {
    let grid = Grid { crs: "EPSG:32652".into(), resolution_m: 1.0 };
    let county = |id: &str, west: f64, east: f64| County {
        id: id.into(),
        name: id.into(),
        parent: None,
        designated: vec![],
        border: MultiPolygon::new(vec![polygon![
            (x: west, y: 1000.0), (x: east, y: 1000.0), (x: east, y: -1000.0), (x: west, y: -1000.0)
        ]]),
        notes: vec![],
    };
    let border = f64::from(border_col);
    CountyMap::new(&grid, &[county("A", -1000.0, border), county("B", border, 1000.0)])
}

/// Each row was seen by one pair.
struct Known {
    evidence: [Plane<i16>; 8],
    cover_before: Plane<Cover>,
}

impl Ground for Known {
    fn tell(&mut self, run: Run, take: &mut dyn FnMut(&Seen)) {
        take(&Seen {
            pair: run.row.rem_euclid(7) as u32,
            evidence: self.evidence.each_ref().map(|plane| plane.run(run)),
            cover_before: self.cover_before.run(run),
        });
    }
}

impl World {
    fn new(change: Mask) -> Self {
        Self { group: change.clone(), change, counties: two_counties(2000), planned: Box::new(|_| true), limits: ALL }
    }

    fn of_picture(rows: &[&str]) -> Self {
        let cells: Vec<Vec<u8>> = rows.iter().map(|row| row.bytes().collect()).collect();
        // Off the origin, so that rows and columns of both signs occur and no lattice fits by luck.
        let rect = PixelRect::new(-5, -3, cells.len() as i32 - 5, cells[0].len() as i32 - 3);
        Self::new(Mask::from_fn(rect, |row, col| cells[(row + 5) as usize][(col + 3) as usize] == b'#'))
    }

    /// Values that depend on the pixel alone.
    fn logit(row: i32, col: i32) -> i16 {
        (Cell { row, col }.hash() % 2000) as i16
    }

    fn tile(&self, rect: PixelRect, is_root: bool) -> Findings {
        let plane = |value: &dyn Fn(i32, i32) -> i16| {
            let data = (rect.row0..rect.row1).flat_map(|row| (rect.col0..rect.col1).map(move |col| (row, col)));
            Plane::from_vec(rect, data.map(|(row, col)| value(row, col)).collect()).unwrap()
        };
        let evidence: [Plane<i16>; 8] =
            std::array::from_fn(|channel| plane(&|row, col| Self::logit(row, col) / (channel as i16 + 1)));
        let covers = [Cover::Cropland, Cover::Woodland, Cover::Bare, Cover::Water, Cover::Built, Cover::Unknown];
        let cover_before = plane(&|row, col| (Self::logit(row, col) % 6).abs()).map(|index| covers[index as usize]);
        let input = LabelInput {
            group: &self.group.crop(rect),
            change: &self.change.crop(rect),
            counties: &self.counties,
            planned: &*self.planned,
            max_site_px: self.limits.max_px,
        };
        let components = label(&input, &mut Known { evidence, cover_before });
        let coverage = self
            .counties
            .pixels(rect)
            .into_iter()
            .map(|(county, pixels)| (county, Coverage { surveyed: pixels, ..Coverage::default() }))
            .collect();
        tile_findings(rect, components, coverage, BTreeMap::new(), &self.limits, is_root)
    }

    /// The whole image as one tile.
    fn reference(&self) -> Outcome {
        Outcome::of(&[self.tile(self.change.rect().grown(1), true)])
    }

    /// Tiles of the lattice, merged up the tree; `shuffle` reorders the children of each block.
    fn tiled(&self, tile_px: i32, shuffle: u64) -> Outcome {
        let rect = self.change.rect();
        let mut level: BTreeMap<Block, Findings> = BTreeMap::new();
        for row in rect.row0..rect.row1 {
            for col in rect.col0..rect.col1 {
                let block = Block::tile_of(row, col, tile_px);
                level.entry(block).or_insert_with(|| self.tile(block.rect(tile_px), false));
            }
        }
        let mut all: Vec<Findings> = level.values().cloned().collect();
        loop {
            let mut parents: BTreeMap<Block, Vec<Child>> = BTreeMap::new();
            for (block, findings) in level {
                let object = ObjectRef { key: format!("{block:?}"), digest: Digest([0; 32]), length: 0 };
                // The world lies on both sides of the origin, where halving never meets: the fifth level is the root.
                let parent = if block.level >= 9 { Block { level: 10, y: 0, x: 0 } } else { block.parent() };
                parents
                    .entry(parent)
                    .or_default()
                    .push(Child { rect: block.rect(tile_px), found: Some((object, findings)) });
            }
            level = parents
                .into_iter()
                .map(|(block, mut children)| {
                    children.sort_by_key(|child| {
                        Cell { row: child.rect.row0, col: child.rect.col0 }.hash().wrapping_mul(shuffle | 1)
                    });
                    let is_root = block.level == 10;
                    let rect = if is_root { rect.grown(100_000) } else { block.rect(tile_px) };
                    (block, merge(rect, children, &self.counties, self.change.rect(), &self.limits, is_root))
                })
                .collect();
            all.extend(level.values().cloned());
            if level.keys().all(|block| block.level == 10) {
                assert!(level.values().all(|root| root.open.is_empty()));
                return Outcome::of(&all);
            }
        }
    }
}

/// What a survey says in the end.
#[derive(Debug, PartialEq)]
struct Outcome {
    closed: Vec<Component>,
    small_px: BTreeMap<u32, u64>,
}

impl Outcome {
    /// All closed components of a tree of findings; small changes as the root (the last) sums them up.
    fn of(all: &[Findings]) -> Self {
        let mut closed: Vec<Component> = all.iter().flat_map(|findings| findings.closed.clone()).collect();
        closed.sort_by_key(|component| component.first);
        Self { closed, small_px: all.last().unwrap().small_px.clone() }
    }
}

/// Components by flood fill, pixel by pixel: (first pixel, pixels, runs), independent of the code under test.
fn flood_fill(group: &Mask, change: &Mask) -> Vec<(PixelIndex, u64, Vec<Run>)> {
    let rect = group.rect();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for row in rect.row0..rect.row1 {
        for col in rect.col0..rect.col1 {
            if !group.get(row, col) || !seen.insert((row, col)) {
                continue;
            }
            let mut queue = VecDeque::from([(row, col)]);
            let mut pixels = BTreeSet::new();
            while let Some((row, col)) = queue.pop_front() {
                if change.get(row, col) {
                    pixels.insert((row, col));
                }
                for (dr, dc) in (-1..=1).flat_map(|dr| (-1..=1).map(move |dc| (dr, dc))) {
                    let next = (row + dr, col + dc);
                    if group.get(next.0, next.1) && seen.insert(next) {
                        queue.push_back(next);
                    }
                }
            }
            let Some(&(row, col)) = pixels.first() else { continue };
            let mut runs: Vec<Run> = Vec::new();
            for &(row, col) in &pixels {
                match runs.last_mut() {
                    Some(last) if last.row == row && last.col1 == col => last.col1 += 1,
                    _ => runs.push(Run { row, col0: col, col1: col + 1 }),
                }
            }
            found.push((PixelIndex { row, col }, pixels.len() as u64, runs));
        }
    }
    found.sort();
    found
}

fn said(outcome: &Outcome) -> Vec<(PixelIndex, u64, Vec<Run>)> {
    outcome
        .closed
        .iter()
        .map(|component| (component.first.unwrap(), component.sums.pixels, component.runs.clone()))
        .collect()
}

fn holds_for_all_tilings(world: &World) {
    let reference = world.reference();
    assert_eq!(said(&reference), flood_fill(&world.group, &world.change));
    for (shuffle, tile_px) in (1..=64).enumerate() {
        assert_eq!(world.tiled(tile_px, shuffle as u64 * 77), reference, "tile_px {tile_px}");
    }
}

#[test]
fn a_spiral_is_one_component() {
    let mut pixels = vec![vec![b' '; 25]; 25];
    let (mut row, mut col, mut step) = (12_i32, 12_i32, 1);
    'walk: loop {
        for (dr, dc) in [(0, 1), (1, 0), (0, -1), (-1, 0)] {
            for _ in 0..step * 2 {
                if !(0..25).contains(&row) || !(0..25).contains(&col) {
                    break 'walk;
                }
                pixels[row as usize][col as usize] = b'#';
                (row, col) = (row + dr, col + dc);
            }
            step += i32::from(dr == 1 || dr == -1);
        }
    }
    let rows: Vec<String> = pixels.into_iter().map(|row| String::from_utf8(row).unwrap()).collect();
    let world = World::of_picture(&rows.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(world.reference().closed.len(), 1);
    holds_for_all_tilings(&world);
}

#[test]
fn the_teeth_of_a_comb_are_joined_by_its_back() {
    let world = World::of_picture(&["# # # # # # # # # #"; 20]);
    assert_eq!(world.reference().closed.len(), 10);
    holds_for_all_tilings(&world);
    let mut rows = vec!["# # # # # # # # # #"; 20];
    rows.push("###################");
    let world = World::of_picture(&rows);
    assert_eq!(world.reference().closed.len(), 1);
    holds_for_all_tilings(&world);
}

#[test]
fn a_checkerboard_hangs_together_by_its_corners() {
    let rows: Vec<String> =
        (0..21).map(|row| (0..19).map(|col| if (row + col) % 2 == 0 { '#' } else { ' ' }).collect()).collect();
    let world = World::of_picture(&rows.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(world.reference().closed.len(), 1);
    holds_for_all_tilings(&world);
}

#[test]
fn a_diagonal_over_a_corner_of_four_tiles_is_one_component() {
    for falling in [true, false] {
        let rect = PixelRect::new(-8, -8, 8, 8);
        let world = World::new(Mask::from_fn(rect, |row, col| if falling { row == col } else { row == -1 - col }));
        assert_eq!(world.reference().closed.len(), 1);
        holds_for_all_tilings(&world);
    }
}

#[test]
fn a_site_over_a_county_border_is_counted_once_and_by_the_county_with_most_of_it() {
    let mut world = World::of_picture(&["          ", " ######## ", " ######## ", "          "]);
    // Columns −2..6 of change; the border leaves three columns in the west.
    world.counties = two_counties(1);
    let reference = world.reference();
    holds_for_all_tilings(&world);
    let site = &reference.closed[0];
    assert_eq!(site.sums.by_county, BTreeMap::from([(0, 6), (1, 10)]));
    assert_eq!(site.sums.owner(), Some(1));
    // Halved, it goes to the smaller index; outside both it is nobody's.
    world.counties = two_counties(2);
    assert_eq!(world.reference().closed[0].sums.owner(), Some(0));
    world.counties = CountyMap::new(&Grid { crs: String::new(), resolution_m: 1.0 }, &[]);
    assert!(world.tiled(3, 0).closed.is_empty());
}

#[test]
fn lots_are_grouped_by_the_group_mask_and_measured_by_the_change_mask() {
    let mut world = World::of_picture(&[
        "                    ",
        "  ###   ###         ",
        "  ###   ###     ## #",
        "                ## #",
        "                    ",
        "                    ",
        "                    ",
        "                    ",
        "        ##          ",
    ]);
    world.group = world.change.dilate(2);
    assert_eq!(world.change.count(), 6 + 6 + 4 + 2 + 2);
    let reference = world.reference();
    assert_eq!(reference.closed.len(), 3);
    assert_eq!(reference.closed[0].sums.pixels, 12);
    holds_for_all_tilings(&world);
}

#[test]
fn a_flood_is_extended_and_small_change_is_only_counted_whatever_the_tree() {
    let rows: Vec<String> = (0..30)
        .map(|row| {
            (0..40)
                .map(|col| if row < 20 || (row > 22 && col % 9 < 3 && !(col > 30 && row > 24)) { '#' } else { ' ' })
                .collect()
        })
        .collect();
    let mut world = World::of_picture(&rows.iter().map(String::as_str).collect::<Vec<_>>());
    world.limits = SiteLimits { min_px: 20, max_px: 700, sure_logit: i32::MIN };
    let reference = world.reference();
    let pixels: Vec<u64> = reference.closed.iter().map(|component| component.sums.pixels).collect();
    assert_eq!(pixels, [800, 21, 21, 21, 21]);
    assert!(reference.closed[0].extended && reference.closed[0].runs.is_empty());
    assert_eq!(reference.small_px, BTreeMap::from([(0, 6)]));
    for tile_px in 1..=64 {
        let tiled = world.tiled(tile_px, 3);
        assert_eq!(tiled, reference, "tile_px {tile_px}");
    }
}

#[test]
fn a_site_needs_one_pixel_that_is_sure() {
    let mut world = World::of_picture(&["###   ###", "###   ###"]);
    let sure: Vec<i32> = world.reference().closed.iter().map(|component| component.sums.max_logit).collect();
    world.limits.sure_logit = sure[0].max(sure[1]);
    for tile_px in [1, 2, 3, 5, 64] {
        let outcome = world.tiled(tile_px, 0);
        assert_eq!(outcome.closed.len(), 1);
        assert_eq!(outcome.small_px, BTreeMap::from([(0, 6)]));
    }
}

#[test]
fn a_component_at_the_edge_of_the_planned_area_or_at_a_failed_tile_is_truncated() {
    let rect = PixelRect::new(500, 500, 540, 540);
    let mut world = World::new(Mask::from_fn(rect, |row, col| {
        (505..508).contains(&row) && (505..512).contains(&col) || (515..518).contains(&row) && col < 503
    }));
    world.planned = Box::new(|cell| cell.col != 1);
    for tile_px in [7, 16, 256, 777] {
        let outcome = world.tiled(tile_px, 0);
        let truncated: Vec<bool> = outcome.closed.iter().map(|component| component.sums.truncated).collect();
        assert_eq!(truncated, [true, false], "only the first touches the cell that is not planned");
    }
    // A tile that failed, beside a neighbour's component, and one level up from it.
    let world = World::new(Mask::from_fn(PixelRect::new(0, 0, 16, 16), |row, col| {
        (2..4).contains(&row) && (6..10).contains(&col) || (12..14).contains(&row) && (12..14).contains(&col)
    }));
    let object = ObjectRef { key: "x".into(), digest: Digest([0; 32]), length: 0 };
    let found = |rect: PixelRect| Child { rect, found: Some((object.clone(), world.tile(rect, false))) };
    let lost = PixelRect::new(0, 8, 8, 16);
    let whole = PixelRect::new(0, 0, 16, 16);
    let children =
        vec![found(PixelRect::new(0, 0, 8, 8)), Child { rect: lost, found: None }, found(PixelRect::new(8, 0, 16, 16))];
    let merged = merge(whole, children.clone(), &world.counties, whole, &world.limits, false);
    assert_eq!(merged.failed, [lost]);
    assert_eq!(merged.coverage[&0].failed_job, 64);
    assert_eq!(merged.coverage[&0].total(), 256);
    let of_pixels = |pixels: u64| merged.closed.iter().find(|component| component.sums.pixels == pixels);
    assert!(of_pixels(4).is_some_and(|half| half.sums.truncated));
    assert_eq!(merged.closed.len() + merged.open.len(), 1, "the other one closed in its tile");
    // The failed block is a neighbour of the block that was merged.
    let west = merge(
        PixelRect::new(0, 0, 16, 8),
        vec![found(PixelRect::new(0, 0, 8, 8))],
        &world.counties,
        whole,
        &ALL,
        false,
    );
    assert!(!west.open[0].sums.truncated);
    let east = merge(
        PixelRect::new(0, 8, 16, 16),
        vec![Child { rect: lost, found: None }],
        &world.counties,
        whole,
        &ALL,
        false,
    );
    let both = [(PixelRect::new(0, 0, 16, 8), west), (PixelRect::new(0, 8, 16, 16), east)]
        .map(|(rect, findings)| Child { rect, found: Some((object.clone(), findings)) });
    let root = merge(whole, both.to_vec(), &world.counties, whole, &ALL, true);
    assert!(root.closed[0].sums.truncated && root.failed.is_empty());
}

#[test]
fn a_merged_block_says_where_a_countys_closed_components_are() {
    let world = World::of_picture(&["#    #", "      ", "      ", "#    #"]);
    let object = |key: &str| ObjectRef { key: key.into(), digest: Digest([7; 32]), length: 3 };
    let tile = PixelRect::new(-8, -8, 8, 0);
    let other = PixelRect::new(-8, 0, 8, 8);
    let merged = merge(
        PixelRect::new(-8, -8, 8, 8),
        vec![
            Child { rect: tile, found: Some((object("a"), world.tile(tile, false))) },
            Child { rect: other, found: Some((object("b"), world.tile(other, false))) },
        ],
        &world.counties,
        world.change.rect(),
        &ALL,
        false,
    );
    assert_eq!(merged.closed_at, BTreeMap::from([(0, vec![object("a"), object("b")])]));
    assert!(merged.closed.is_empty() && merged.open.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn random_masks_have_the_components_of_the_whole_image(
        rows in 1_i32..40, cols in 1_i32..40, row0 in -40_i32..10, col0 in -40_i32..10,
        share in 1_u64..256, seed: u64, radius in 0_i32..3, tile_px in 1_i32..48, border in -30_i32..30,
        min_px in 1_u64..6, max_px in 6_u64..200,
    ) {
        let rect = PixelRect::new(row0, col0, row0 + rows, col0 + cols);
        let mut world = World::new(Mask::from_fn(rect, |row, col| {
            Cell { row, col }.hash().wrapping_mul(seed | 1) >> 32 & 255 < share
        }));
        world.group = world.change.dilate(radius);
        world.counties = two_counties(border);
        prop_assert_eq!(said(&world.reference()), flood_fill(&world.group, &world.change));
        world.limits = SiteLimits { min_px, max_px, sure_logit: 700 };
        let reference = world.reference();
        prop_assert_eq!(&world.tiled(tile_px, seed), &reference);
        prop_assert_eq!(&world.tiled(tile_px * 2 + 1, seed >> 3), &reference);
        // Nothing is lost: every pixel is in a county's site, extended change or small change.
        let counted: u64 = reference.closed.iter().map(|component| component.sums.pixels).sum::<u64>()
            + reference.small_px.values().sum::<u64>();
        prop_assert_eq!(counted, world.change.count());
    }
}
