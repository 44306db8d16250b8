//! Outlines of pixel sets: crack following, simplification, and measures of shape that a rotation does not change.
//!
//! Coordinates are those of pixel corners on the global grid: `x` is a column, `y` a row, so `y` grows southwards.

use std::collections::BTreeMap;

use geo::{Coord, LineString, MultiPolygon, Polygon, Validation};
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
fn cracks(runs: &[Run]) -> Vec<Crack> {
    let mut cracks = Vec::with_capacity(runs.len() * 6);
    let rows: Vec<(usize, &[Run])> = {
        let mut start = 0;
        runs.chunk_by(|a, b| a.row == b.row)
            .map(|row| {
                start += row.len();
                (start - row.len(), row)
            })
            .collect()
    };
    for (index, &(start, row)) in rows.iter().enumerate() {
        let near = |other: Option<&(usize, &[Run])>, offset: i32| -> Vec<Run> {
            other
                .filter(|other| other.1[0].row == row[0].row + offset)
                .map(|other| other.1.to_vec())
                .unwrap_or_default()
        };
        let above = near(index.checked_sub(1).and_then(|index| rows.get(index)), -1);
        let below = near(rows.get(index + 1), 1);
        for (offset, run) in row.iter().enumerate() {
            let number = start + offset;
            let y = run.row;
            cracks.push(Crack { from: Corner { y, x: run.col0 }, heading: Heading::South, run: number });
            cracks.push(Crack { from: Corner { y: y + 1, x: run.col1 }, heading: Heading::North, run: number });
            uncovered(*run, &above, |x| {
                cracks.push(Crack { from: Corner { y, x: x + 1 }, heading: Heading::West, run: number });
            });
            uncovered(*run, &below, |x| {
                cracks.push(Crack { from: Corner { y: y + 1, x }, heading: Heading::East, run: number });
            });
        }
    }
    cracks.sort_unstable_by_key(|crack| (crack.from, crack.heading));
    cracks
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
fn rings(runs: &[Run]) -> Vec<(Vec<Corner>, usize)> {
    let cracks = cracks(runs);
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
            let first = cracks.partition_point(|crack| crack.from < end);
            let leaving = cracks[first..].iter().take_while(|crack| crack.from == end).count();
            let next =
                if leaving == 2 && cracks[first].heading != cracks[current].heading.left() { first + 1 } else { first };
            if leaving == 2 {
                // Cracks from an earlier visit of this corner up to here are a ring of their own.
                if let Some(&at) = crossings.get(&end) {
                    rings.push(ring_of(&cracks, &path[at..]));
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
            rings.push(ring_of(&cracks, &path));
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

/// The polygons in map coordinates: `place(x, y)` maps a corner (column, row) to the map. Rings are simplified by
/// Douglas and Peucker's rule within `tolerance_px` (0: exact), unless that would make a polygon invalid.
#[must_use]
pub fn to_map(
    polygons: &[PixelPolygon],
    tolerance_px: f64,
    place: &dyn Fn(f64, f64) -> (f64, f64),
) -> MultiPolygon<f64> {
    let ring = |corners: &[Corner]| -> LineString<f64> {
        let mut line: Vec<Coord<f64>> = corners
            .iter()
            .map(|corner| {
                let (x, y) = place(f64::from(corner.x), f64::from(corner.y));
                Coord { x, y }
            })
            .collect();
        line.extend(line.first().copied());
        LineString::new(line)
    };
    let polygon = |exterior: &[Corner], holes: &[Vec<Corner>]| {
        Polygon::new(ring(exterior), holes.iter().map(|hole| ring(hole)).collect())
    };
    MultiPolygon::new(
        polygons
            .iter()
            .map(|exact| {
                let exterior = simplified(&exact.exterior, tolerance_px);
                let holes: Vec<Vec<Corner>> = exact
                    .holes
                    .iter()
                    .map(|hole| simplified(hole, tolerance_px))
                    .filter(|hole| hole.len() >= 3)
                    .collect();
                let simple = polygon(&exterior, &holes);
                if tolerance_px > 0.0 && exterior.len() >= 3 && simple.is_valid() {
                    simple
                } else {
                    polygon(&exact.exterior, &exact.holes)
                }
            })
            .collect(),
    )
}

/// Douglas and Peucker's simplification of a ring, held at its first corner and the one farthest from it.
fn simplified(ring: &[Corner], tolerance_px: f64) -> Vec<Corner> {
    if tolerance_px <= 0.0 || ring.len() < 5 {
        return ring.to_vec();
    }
    let far = (0..ring.len())
        .max_by_key(|&index| (distance2(ring[0], ring[index]), std::cmp::Reverse(index)))
        .unwrap_or_default();
    let closed: Vec<Corner> = ring.iter().copied().chain(std::iter::once(ring[0])).collect();
    let mut keep = vec![false; closed.len()];
    keep[0] = true;
    keep[far] = true;
    let mut spans = vec![(0, far), (far, closed.len() - 1)];
    while let Some((from, to)) = spans.pop() {
        let (a, b) = (closed[from], closed[to]);
        let base = (distance2(a, b) as f64).sqrt();
        let mut worst = (tolerance_px, None);
        for (index, &at) in closed.iter().enumerate().take(to).skip(from + 1) {
            let off = if base == 0.0 {
                (distance2(a, at) as f64).sqrt()
            } else {
                let cross = i64::from(b.x - a.x) * i64::from(at.y - a.y) - i64::from(b.y - a.y) * i64::from(at.x - a.x);
                cross.abs() as f64 / base
            };
            if off > worst.0 {
                worst = (off, Some(index));
            }
        }
        if let Some(index) = worst.1 {
            keep[index] = true;
            spans.push((from, index));
            spans.push((index, to));
        }
    }
    let mut kept: Vec<Corner> =
        closed.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(corner, _)| *corner).collect();
    if kept.len() > 1 && kept.first() == kept.last() {
        kept.pop();
    }
    kept
}

fn distance2(a: Corner, b: Corner) -> i64 {
    let (dx, dy) = (i64::from(a.x) - i64::from(b.x), i64::from(a.y) - i64::from(b.y));
    dx * dx + dy * dy
}

/// A rectangle in any direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OrientedRect {
    /// Column of the centre.
    pub centre_x: f64,
    /// Row of the centre.
    pub centre_y: f64,
    /// Longer side, pixels.
    pub length: f64,
    /// Shorter side, pixels.
    pub width: f64,
    /// Unit vector along the longer side (columns, rows), in the half plane `x > 0` or `(0, 1)`.
    pub direction: (f64, f64),
}

impl OrientedRect {
    /// Length / width, at least 1.
    #[must_use]
    pub fn elongation(&self) -> f64 {
        if self.width > 0.0 { self.length / self.width } else { 1.0 }
    }

    /// Direction of the longer side, radians counter-clockwise from grid east on a north-up map, in [0, π).
    #[must_use]
    pub fn angle(&self) -> f64 {
        let angle = libm::atan2(-self.direction.1, self.direction.0);
        if angle < 0.0 { angle + std::f64::consts::PI } else { angle }
    }
}

/// Measures of a pixel set's shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Number of pixels.
    pub area: f64,
    /// Length of the smoothed outline with its holes, pixels.
    pub perimeter: f64,
    /// Area of the convex hull of the smoothed outline, pixels.
    pub hull_area: f64,
    /// The enclosing rectangle of least area.
    pub rect: OrientedRect,
}

impl Shape {
    /// Area / (length × width), at most 1.
    #[must_use]
    pub fn rectangularity(&self) -> f64 {
        let enclosing = self.rect.length * self.rect.width;
        if enclosing > 0.0 { (self.area / enclosing).min(1.0) } else { 0.0 }
    }

    /// Area / hull area, at most 1.
    #[must_use]
    pub fn solidity(&self) -> f64 {
        if self.hull_area > 0.0 { (self.area / self.hull_area).min(1.0) } else { 0.0 }
    }

    /// `4π area / perimeter²`: 1 for a disk.
    #[must_use]
    pub fn compactness(&self) -> f64 {
        if self.perimeter > 0.0 {
            (4.0 * std::f64::consts::PI * self.area / (self.perimeter * self.perimeter)).min(1.0)
        } else {
            0.0
        }
    }
}

/// Points of smoothed rings, in units of `1 / scale` pixels: integers, so that hulls are exact.
struct SmoothRings {
    rings: Vec<Vec<(i64, i64)>>,
    scale: i64,
}

/// Measures a pixel set (sorted runs). `None` for an empty one.
///
/// The length of a crack path exceeds that of the line it follows by up to √2 (4/π on average), and the hull of pixel
/// corners is up to a pixel wider than the shape. So each ring is first smoothed by a moving average along its unit
/// steps, which runs along the mean of the stairs, whatever their direction.
#[must_use]
pub fn shape(runs: &[Run]) -> Option<Shape> {
    let area: u64 = runs.iter().map(Run::len).sum();
    if area == 0 {
        return None;
    }
    let rings: Vec<Vec<Corner>> = rings(runs).into_iter().map(|(ring, _)| ring).collect();
    let smooth = smoothed(&rings, area);
    let scale = smooth.scale as f64;
    let perimeter = smooth.rings.iter().map(|ring| length(ring)).sum::<f64>() / scale;
    let hull = convex_hull(smooth.rings.into_iter().flatten().collect());
    let hull_area = hull_area2(&hull) as f64 / 2.0 / (scale * scale);
    let rect = least_rectangle(&hull, scale)?;
    Some(Shape { area: area as f64, perimeter, hull_area, rect })
}

fn smoothed(rings: &[Vec<Corner>], area: u64) -> SmoothRings {
    let steps: usize = rings.iter().map(Vec::len).sum();
    // Mean width of the shape: smoothing reaches at most half of it to either side, so that thin shapes keep theirs.
    let width = 2.0 * area as f64 / steps.max(1) as f64;
    let reach = ((width / 2.0).floor() as i64).clamp(0, 3);
    // Averages over 2·reach + 1 midpoints of steps; a midpoint is a sum of two corners, hence the factor 2.
    let scale = 2 * (2 * reach + 1);
    let smooth = |ring: &Vec<Corner>| {
        let count = ring.len() as i64;
        let midpoint = |index: i64| {
            let (a, b) = (ring[index.rem_euclid(count) as usize], ring[(index + 1).rem_euclid(count) as usize]);
            (i64::from(a.x) + i64::from(b.x), i64::from(a.y) + i64::from(b.y))
        };
        (0..count)
            .map(|index| {
                (index - reach..=index + reach).map(midpoint).fold((0, 0), |sum, (x, y)| (sum.0 + x, sum.1 + y))
            })
            .collect()
    };
    SmoothRings { rings: rings.iter().map(smooth).collect(), scale }
}

fn length(ring: &[(i64, i64)]) -> f64 {
    let count = ring.len();
    (0..count)
        .map(|index| {
            let (a, b) = (ring[index], ring[(index + 1) % count]);
            (((a.0 - b.0).pow(2) + (a.1 - b.1).pow(2)) as f64).sqrt()
        })
        .sum()
}

/// The corners of the convex hull (Andrew's monotone chain, exact), each once, in a fixed order and winding.
fn convex_hull(mut points: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    points.sort_unstable();
    points.dedup();
    if points.len() < 3 {
        return points;
    }
    let chain = |points: &mut dyn Iterator<Item = (i64, i64)>| {
        let mut hull: Vec<(i64, i64)> = Vec::new();
        for point in points {
            while let [.., a, b] = hull[..]
                && cross(a, b, point) <= 0
            {
                hull.pop();
            }
            hull.push(point);
        }
        hull.pop();
        hull
    };
    let mut hull = chain(&mut points.iter().copied());
    hull.extend(chain(&mut points.iter().rev().copied()));
    hull
}

fn cross(o: (i64, i64), a: (i64, i64), b: (i64, i64)) -> i128 {
    i128::from(a.0 - o.0) * i128::from(b.1 - o.1) - i128::from(a.1 - o.1) * i128::from(b.0 - o.0)
}

fn hull_area2(hull: &[(i64, i64)]) -> i128 {
    let Some(&origin) = hull.first() else { return 0 };
    hull.windows(2).map(|pair| cross(origin, pair[0], pair[1])).sum::<i128>().abs()
}

/// The enclosing rectangle of least area: one of its sides lies along an edge of the hull (Freeman and Shapira 1975).
fn least_rectangle(hull: &[(i64, i64)], scale: f64) -> Option<OrientedRect> {
    let &origin = hull.first()?;
    let relative: Vec<(f64, f64)> =
        hull.iter().map(|point| ((point.0 - origin.0) as f64, (point.1 - origin.1) as f64)).collect();
    let mut least: Option<(f64, OrientedRect)> = None;
    for (index, &from) in relative.iter().enumerate() {
        let to = relative[(index + 1) % relative.len()];
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let norm = (dx * dx + dy * dy).sqrt();
        let (ux, uy) = if norm > 0.0 { (dx / norm, dy / norm) } else { (1.0, 0.0) };
        let (mut along, mut across) = ((f64::MAX, f64::MIN), (f64::MAX, f64::MIN));
        for &(x, y) in &relative {
            let (u, v) = (x * ux + y * uy, y * ux - x * uy);
            along = (along.0.min(u), along.1.max(u));
            across = (across.0.min(v), across.1.max(v));
        }
        let (length, width) = (along.1 - along.0, across.1 - across.0);
        let area = length * width;
        if least.as_ref().is_some_and(|(smallest, _)| area >= *smallest) {
            continue;
        }
        let (u, v) = ((along.0 + along.1) / 2.0, (across.0 + across.1) / 2.0);
        let direction = if length >= width { (ux, uy) } else { (-uy, ux) };
        let flip = direction.0 < 0.0 || (direction.0 == 0.0 && direction.1 < 0.0);
        let rect = OrientedRect {
            centre_x: (origin.0 as f64 + u * ux - v * uy) / scale,
            centre_y: (origin.1 as f64 + u * uy + v * ux) / scale,
            length: length.max(width) / scale,
            width: length.min(width) / scale,
            direction: if flip { (-direction.0, -direction.1) } else { direction },
        };
        least = Some((area, rect));
    }
    least.map(|(_, rect)| rect)
}

#[cfg(test)]
mod tests {
    use geo::{Area, Contains, Point};
    use proptest::prelude::*;
    use survey::grid::{Cell, PixelRect};

    use super::*;
    use crate::mask::Mask;

    fn picture(rows: &[&str]) -> Vec<Run> {
        let rect = PixelRect::new(0, 0, rows.len() as i32, rows[0].len() as i32);
        Mask::from_fn(rect, |row, col| rows[row as usize].as_bytes()[col as usize] == b'#').runs()
    }

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

    /// Pixels whose centres lie in a rectangle of `length × width` around (x, y), its long side `degrees` from east.
    fn rotated(length: f64, width: f64, degrees: f64, centre: (f64, f64)) -> Vec<Run> {
        let (sin, cos) = degrees.to_radians().sin_cos();
        Mask::from_fn(PixelRect::new(-200, -200, 200, 200), |row, col| {
            let (dx, dy) = (f64::from(col) + 0.5 - centre.0, -(f64::from(row) + 0.5 - centre.1));
            (dx * cos + dy * sin).abs() <= length / 2.0 && (dy * cos - dx * sin).abs() <= width / 2.0
        })
        .runs()
    }

    #[test]
    fn a_rectangle_is_measured_the_same_in_every_direction() {
        // method.md 4.10: analytic truth.
        for (length, width) in [(120.0, 40.0), (200.0, 60.0), (90.0, 70.0)] {
            for step in 0..30 {
                let degrees = f64::from(step) * 3.0;
                let runs = rotated(length, width, degrees, (0.37, -0.21));
                let shape = shape(&runs).unwrap();
                let name = format!("{length} × {width} at {degrees}°: {shape:?}");
                assert!((shape.area / (length * width) - 1.0).abs() < 0.01, "{name}");
                assert!((shape.perimeter / (2.0 * (length + width)) - 1.0).abs() < 0.03, "{name}");
                assert!((shape.rect.length - length).abs() < 1.0, "{name}");
                assert!((shape.rect.width - width).abs() < 1.0, "{name}");
                let off = (shape.rect.angle().to_degrees() - degrees + 90.0).rem_euclid(180.0) - 90.0;
                assert!(off.abs() < 0.5, "{name}: off {off}");
                assert!(shape.rectangularity() > 0.97, "{name}: {}", shape.rectangularity());
                assert!((shape.rect.centre_x - 0.37).abs() < 0.6 && (shape.rect.centre_y + 0.21).abs() < 0.6, "{name}");
            }
        }
    }

    #[test]
    fn a_disk_has_its_perimeter_and_compactness() {
        let disk = Mask::from_fn(PixelRect::new(-60, -60, 60, 60), |row, col| {
            (f64::from(row) + 0.5).powi(2) + (f64::from(col) + 0.5).powi(2) <= 2500.0
        });
        let shape = shape(&disk.runs()).unwrap();
        assert!((shape.perimeter / (std::f64::consts::TAU * 50.0) - 1.0).abs() < 0.02, "{shape:?}");
        assert!(shape.compactness() > 0.96 && shape.rect.elongation() < 1.03);
    }

    #[test]
    fn the_smallest_shapes_have_measures_too() {
        let pixel = shape(&picture(&["#"])).unwrap();
        assert_eq!((pixel.area, pixel.rect.elongation()), (1.0, 1.0));
        let line = shape(&picture(&["##########"])).unwrap();
        assert!(line.rect.length >= 9.0 && line.rect.width >= 0.5, "{line:?}");
        assert_eq!(shape(&[]), None);
    }

    #[test]
    fn simplification_stays_within_its_tolerance_and_drops_most_corners() {
        let exact = trace(&rotated(120.0, 40.0, 23.0, (0.0, 0.0)));
        let (fine, coarse) = (to_map(&exact, 0.0, &|x, y| (x, -y)), to_map(&exact, 1.5, &|x, y| (x, -y)));
        assert!(coarse.0[0].exterior().0.len() < 15 && fine.0[0].exterior().0.len() > 100);
        assert!((coarse.signed_area() / fine.signed_area() - 1.0).abs() < 0.03, "{}", coarse.signed_area());
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
