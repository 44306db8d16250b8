//! Crack following: the rings around a pixel set.

use std::collections::BTreeMap;

use survey::findings::Run;

use crate::components::Sets;

/// A corner of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Corner {
    /// Row of the pixel south-east of the corner.
    pub y: i32,
    /// Column of the pixel south-east of the corner.
    pub x: i32,
}

/// A 4-connected piece of a pixel set: its outer ring and its holes.
///
/// # Invariant
/// Rings are simple (a ring never visits a corner twice), hold the corners where they turn only, are not closed by a
/// repeated first corner, begin at their smallest corner (by row, then column), and have the pixels on their left on a
/// north-up map: outer rings run counter-clockwise, holes clockwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PixelPolygon {
    /// The outer ring.
    pub exterior: Vec<Corner>,
    /// Holes, by first corner.
    pub holes: Vec<Vec<Corner>>,
}

/// The rings of a piece, as far as they are known.
#[derive(Default)]
struct Rings {
    exterior: Option<Vec<Corner>>,
    holes: Vec<Vec<Corner>>,
}

/// A unit step along the border between a pixel of the set and one outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Crack {
    from: Corner,
    heading: Heading,
    /// The run whose pixel lies to the left.
    run: usize,
}

/// Headings in the order of left turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Heading {
    South,
    East,
    North,
    West,
}

impl Heading {
    fn left(self) -> Self {
        match self {
            Self::South => Self::East,
            Self::East => Self::North,
            Self::North => Self::West,
            Self::West => Self::South,
        }
    }

    fn step(self, from: Corner) -> Corner {
        match self {
            Self::South => Corner { y: from.y + 1, ..from },
            Self::East => Corner { x: from.x + 1, ..from },
            Self::North => Corner { y: from.y - 1, ..from },
            Self::West => Corner { x: from.x - 1, ..from },
        }
    }
}

/// The outlines of a pixel set given as sorted, disjoint, non-adjoining runs: 4-connected pieces, so that polygons of
/// pieces that touch at a corner stay valid; by first corner.
#[must_use]
pub fn trace(runs: &[Run]) -> Vec<PixelPolygon> {
    let labels = connect_by_edges(runs);
    let mut pieces: BTreeMap<usize, Rings> = BTreeMap::new();
    for (ring, run) in rings(runs) {
        let Some(&label) = labels.get(run) else { continue };
        let piece = pieces.entry(label).or_default();
        let ring = canonical(&ring);
        if signed_area2(&ring) > 0 {
            piece.exterior = Some(ring);
        } else {
            piece.holes.push(ring);
        }
    }
    let mut polygons: Vec<PixelPolygon> = pieces
        .into_values()
        .filter_map(|mut rings| {
            rings.holes.sort_unstable();
            Some(PixelPolygon { exterior: rings.exterior?, holes: rings.holes })
        })
        .collect();
    polygons.sort_unstable_by(|a, b| a.exterior.cmp(&b.exterior));
    polygons
}

/// A label for each run; runs that share an edge have the same.
fn connect_by_edges(runs: &[Run]) -> Vec<usize> {
    let mut sets = Sets::new(runs.len());
    let (mut above, mut below) = (0, 0);
    while above < runs.len() && below < runs.len() {
        let (a, b) = (runs[above], runs[below]);
        if a.row + 1 < b.row || (a.row + 1 == b.row && a.col1 <= b.col0) {
            above += 1;
        } else if b.row <= a.row || b.col1 <= a.col0 {
            below += 1;
        } else {
            sets.join(above, below);
            if a.col1 < b.col1 {
                above += 1;
            } else {
                below += 1;
            }
        }
    }
    sets.labels()
}

/// All cracks, by the corner where they begin.
#[derive(Default)]
struct Cracks {
    sorted: Vec<Crack>,
    /// Each row of corners, and where its cracks begin.
    rows: Vec<(i32, usize)>,
}

impl Cracks {
    fn of(runs: &[Run]) -> Self {
        let mut cracks = Self { sorted: Vec::with_capacity(runs.len() * 6), ..Self::default() };
        let rows: Vec<&[Run]> = runs.chunk_by(|a, b| a.row == b.row).collect();
        let near = |index: Option<usize>, row: i32| -> &[Run] {
            index.and_then(|index| rows.get(index)).copied().filter(|near| near[0].row == row).unwrap_or_default()
        };
        let mut number = 0;
        // Cracks along the southern side of a row begin at the next row of corners.
        let mut southern: Vec<Crack> = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            let y = row[0].row;
            let (above, below) = (near(index.checked_sub(1), y - 1), near(Some(index + 1), y + 1));
            if above.is_empty() {
                cracks.push_row(&mut southern);
            }
            let mut here = std::mem::take(&mut southern);
            for run in *row {
                let crack = |y: i32, x: i32, heading: Heading| Crack { from: Corner { y, x }, heading, run: number };
                here.push(crack(y, run.col0, Heading::South));
                southern.push(crack(y + 1, run.col1, Heading::North));
                uncovered(*run, above, |x| here.push(crack(y, x + 1, Heading::West)));
                uncovered(*run, below, |x| southern.push(crack(y + 1, x, Heading::East)));
                number += 1;
            }
            cracks.push_row(&mut here);
        }
        cracks.push_row(&mut southern);
        cracks
    }

    /// Appends the cracks that begin in a row of corners.
    fn push_row(&mut self, row: &mut Vec<Crack>) {
        row.sort_unstable_by_key(|crack| (crack.from.x, crack.heading));
        self.rows.extend(row.first().map(|crack| (crack.from.y, self.sorted.len())));
        self.sorted.append(row);
    }

    /// The index of the first crack that begins at a corner, and how many do.
    fn at(&self, corner: Corner) -> (usize, usize) {
        let row = self.rows.partition_point(|(y, _)| *y < corner.y);
        let start = |row: usize| self.rows.get(row).map_or(self.sorted.len(), |(_, start)| *start);
        let cracks = &self.sorted[start(row)..start(row + 1)];
        let first = cracks.partition_point(|crack| crack.from.x < corner.x);
        (start(row) + first, cracks[first..].iter().take_while(|crack| crack.from.x == corner.x).count())
    }
}

/// Calls `column` with each column of `run` that no run of `others` (another row) holds.
fn uncovered(run: Run, others: &[Run], mut column: impl FnMut(i32)) {
    let mut from = run.col0;
    let first = others.partition_point(|other| other.col1 <= run.col0);
    for other in others.iter().skip(first).take_while(|other| other.col0 < run.col1) {
        (from..other.col0).for_each(&mut column);
        from = from.max(other.col1);
    }
    (from..run.col1).for_each(&mut column);
}

/// The simple closed rings of unit steps around the set, each with a run whose pixels lie to its left.
pub(super) fn rings(runs: &[Run]) -> Vec<(Vec<Corner>, usize)> {
    let all = Cracks::of(runs);
    let cracks = &all.sorted;
    let mut used = vec![false; cracks.len()];
    let mut rings = Vec::new();
    for start in 0..cracks.len() {
        if used[start] {
            continue;
        }
        // Corners visited since the start, each with the crack that leaves it; a corner that comes again cuts off a
        // ring of its own.
        let mut path: Vec<usize> = Vec::new();
        let mut crossings: BTreeMap<Corner, usize> = BTreeMap::new();
        let mut current = start;
        loop {
            used[current] = true;
            path.push(current);
            let end = cracks[current].heading.step(cracks[current].from);
            let (first, leaving) = all.at(end);
            let next =
                if leaving == 2 && cracks[first].heading != cracks[current].heading.left() { first + 1 } else { first };
            if leaving == 2 {
                // Cracks from an earlier visit of this corner up to here are a ring of their own.
                if let Some(&at) = crossings.get(&end) {
                    rings.push(ring_of(cracks, &path[at..]));
                    path.truncate(at);
                    crossings.retain(|_, &mut position| position < at);
                }
                crossings.insert(end, path.len());
            }
            if used[next] {
                break;
            }
            current = next;
        }
        if !path.is_empty() {
            rings.push(ring_of(cracks, &path));
        }
    }
    rings
}

fn ring_of(cracks: &[Crack], path: &[usize]) -> (Vec<Corner>, usize) {
    let run = path.first().map_or(0, |&first| cracks[first].run);
    (path.iter().map(|&index| cracks[index].from).collect(), run)
}

/// A ring of unit steps reduced to the corners where it turns, from its smallest corner on.
fn canonical(ring: &[Corner]) -> Vec<Corner> {
    let count = ring.len();
    let mut turns: Vec<Corner> = (0..count)
        .filter(|&index| {
            let (before, at, after) = (ring[(index + count - 1) % count], ring[index], ring[(index + 1) % count]);
            (at.x - before.x, at.y - before.y) != (after.x - at.x, after.y - at.y)
        })
        .map(|index| ring[index])
        .collect();
    if let Some(smallest) = turns.iter().enumerate().min_by_key(|(_, corner)| **corner).map(|(index, _)| index) {
        turns.rotate_left(smallest);
    }
    turns
}

/// Twice the enclosed area, positive for a ring that runs counter-clockwise on a north-up map.
fn signed_area2(ring: &[Corner]) -> i64 {
    let count = ring.len();
    (0..count)
        .map(|index| {
            let (a, b) = (ring[index], ring[(index + 1) % count]);
            // y grows southwards, hence the sign.
            i64::from(b.x) * i64::from(a.y) - i64::from(a.x) * i64::from(b.y)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use geo::{Area, Contains, Point, Validation};
    use proptest::prelude::*;
    use survey::grid::{Cell, PixelRect};

    use super::super::pictures::picture;
    use super::super::to_map;
    use super::*;
    use crate::mask::Mask;

    fn corners(ring: &[Corner]) -> Vec<(i32, i32)> {
        ring.iter().map(|corner| (corner.y, corner.x)).collect()
    }

    #[test]
    fn a_ring_starts_at_the_first_pixel_and_runs_counter_clockwise_on_the_map() {
        let polygons = trace(&picture(&["    ", " ## ", " ## ", "    "]));
        assert_eq!(corners(&polygons[0].exterior), [(1, 1), (3, 1), (3, 3), (1, 3)]);
        let map = to_map(&polygons, 0.0, &|x, y| (x * 10.0, -y * 10.0));
        assert_eq!(map.signed_area(), 400.0);
    }

    #[test]
    fn a_hole_runs_the_other_way_and_belongs_to_its_piece() {
        let polygons = trace(&picture(&["#####", "#   #", "# # #", "#   #", "#####"]));
        assert_eq!(polygons.len(), 2);
        assert_eq!(corners(&polygons[0].holes[0]), [(1, 1), (1, 4), (4, 4), (4, 1)]);
        assert!(polygons[1].holes.is_empty());
        assert_eq!(to_map(&polygons, 0.0, &|x, y| (x, -y)).signed_area(), 17.0);
    }

    #[test]
    fn pieces_that_touch_at_a_corner_and_holes_that_do_are_rings_of_their_own() {
        let polygons = trace(&picture(&["# ", " #"]));
        assert_eq!(polygons.len(), 2);
        let polygons = trace(&picture(&["####", "# ##", "## #", "####"]));
        assert_eq!((polygons.len(), polygons[0].holes.len()), (1, 2));
        // The inner space is open to the outside at a corner only: a hole that touches the outer ring.
        let polygons = trace(&picture(&["### ", "# # ", "## #", "####"]));
        assert!(to_map(&polygons, 0.0, &|x, y| (x, -y)).is_valid());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn polygons_are_valid_and_hold_exactly_the_pixels(rows in 1_i32..14, cols in 1_i32..14, share in 1_u64..256, seed: u64) {
            let mask = Mask::from_fn(PixelRect::new(-3, 5, rows - 3, cols + 5), |row, col| {
                Cell { row, col }.hash().wrapping_mul(seed | 1) >> 32 & 255 < share
            });
            let polygons = trace(&mask.runs());
            let map = to_map(&polygons, 0.0, &|x, y| (x, -y));
            prop_assert!(map.0.iter().all(Validation::is_valid));
            prop_assert_eq!(map.signed_area() as u64, mask.count());
            for row in -3..rows - 3 {
                for col in 5..cols + 5 {
                    let centre = Point::new(f64::from(col) + 0.5, -(f64::from(row) + 0.5));
                    prop_assert_eq!(map.contains(&centre), mask.get(row, col));
                }
            }
            let simple = to_map(&polygons, 1.5, &|x, y| (x, -y));
            prop_assert!(simple.0.iter().all(Validation::is_valid));
        }
    }
}
