//! Outlines as polygons of a map, with fewer corners.

use geo::{Coord, LineString, MultiPolygon, Polygon, Validation};

use super::{Corner, PixelPolygon};

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
                // In pixels, where corners are whole numbers: the library holds each side against each, which takes long where there
                // are thousands. Between pixels and the map, sides bend by less than what a corner is rounded to.
                let is_valid = || !meets_itself(&exterior) && (holes.is_empty() || simple.is_valid());
                if tolerance_px > 0.0 && exterior.len() >= 3 && is_valid() {
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
        let base = distance2(a, b);
        // The distance from the side times its length, or squared where it has none.
        let off = |at: Corner| {
            if base == 0 {
                return distance2(a, at);
            }
            let cross = i64::from(b.x - a.x) * i64::from(at.y - a.y) - i64::from(b.y - a.y) * i64::from(at.x - a.x);
            cross.abs()
        };
        let mut worst = (0, None);
        for (index, &at) in closed.iter().enumerate().take(to).skip(from + 1) {
            let off = off(at);
            if off > worst.0 {
                worst = (off, Some(index));
            }
        }
        let (off, index) = worst;
        let distance = if base == 0 { (off as f64).sqrt() } else { off as f64 / (base as f64).sqrt() };
        if let Some(index) = index.filter(|_| distance > tolerance_px) {
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

/// Whether two sides of a ring meet other than as neighbours do.
fn meets_itself(ring: &[Corner]) -> bool {
    let ends = ring.iter().cycle().skip(1);
    let mut sides: Vec<(Corner, Corner)> = ring.iter().copied().zip(ends.copied()).collect();
    let across = |&(from, to): &(Corner, Corner)| (from.x.min(to.x), from.x.max(to.x));
    let down = |&(from, to): &(Corner, Corner)| (from.y.min(to.y), from.y.max(to.y));
    // From west to east: a side can only meet those that begin before it ends.
    sides.sort_unstable_by_key(|side| across(side).0);
    sides.iter().enumerate().any(|(index, a)| {
        let near = sides[index + 1..].iter().take_while(|b| across(b).0 <= across(a).1);
        near.filter(|b| down(b).0 <= down(a).1 && down(a).0 <= down(b).1)
            .any(|b| a.1 != b.0 && a.0 != b.1 && meet(*a, *b))
    })
}

/// Whether two sides, whose bounding boxes meet, have a point in common.
fn meet((a, b): (Corner, Corner), (c, d): (Corner, Corner)) -> bool {
    // On which side of a line a corner lies. Two sides of which each lies on both sides of the other's line, or ends on it, meet.
    let side = |from: Corner, to: Corner, at: Corner| {
        let (dx, dy) = (i64::from(to.x) - i64::from(from.x), i64::from(to.y) - i64::from(from.y));
        (dx * (i64::from(at.y) - i64::from(from.y)) - dy * (i64::from(at.x) - i64::from(from.x))).signum()
    };
    side(a, b, c) * side(a, b, d) <= 0 && side(c, d, a) * side(c, d, b) <= 0
}

fn distance2(a: Corner, b: Corner) -> i64 {
    let (dx, dy) = (i64::from(a.x) - i64::from(b.x), i64::from(a.y) - i64::from(b.y));
    dx * dx + dy * dy
}

#[cfg(test)]
mod tests {
    use geo::Area;

    use super::super::pictures::rotated;
    use super::super::trace;
    use super::*;

    #[test]
    fn simplification_stays_within_its_tolerance_and_drops_most_corners() {
        let exact = trace(&rotated(120.0, 40.0, 23.0, (0.0, 0.0)));
        let (fine, coarse) = (to_map(&exact, 0.0, &|x, y| (x, -y)), to_map(&exact, 1.5, &|x, y| (x, -y)));
        assert!(coarse.0[0].exterior().0.len() < 15 && fine.0[0].exterior().0.len() > 100);
        assert!((coarse.signed_area() / fine.signed_area() - 1.0).abs() < 0.03, "{}", coarse.signed_area());
    }

    #[test]
    fn a_ring_meets_itself_where_the_library_says_that_it_is_not_valid() {
        let (mut met, mut simple) = (0, 0);
        for seed in 0..4000_u32 {
            let noise = |at: u32| (seed * 64 + at).wrapping_mul(2_654_435_761) >> 16;
            let sides = 3 + noise(0) % 6;
            // Small coordinates: corners lie on sides, sides on sides.
            let mut ring: Vec<Corner> = (1..=sides)
                .map(|at| Corner { x: (noise(2 * at) % 6) as i32, y: (noise(2 * at + 1) % 6) as i32 })
                .collect();
            if seed % 2 == 0 {
                // Down on the one half and up on the other: most of these do not meet themselves.
                ring.sort_unstable_by_key(|corner| (corner.x > 2, if corner.x > 2 { -corner.y } else { corner.y }));
            }
            ring.dedup();
            if ring.len() < 3 || ring.first() == ring.last() {
                continue;
            }
            let line = |corner: &Corner| Coord { x: f64::from(corner.x), y: f64::from(corner.y) };
            let polygon = Polygon::new(ring.iter().map(line).collect(), Vec::new());
            let expected = polygon.is_valid();
            assert_eq!(!meets_itself(&ring), expected, "{ring:?}");
            if expected { simple += 1 } else { met += 1 }
        }
        assert!(met > 500 && simple > 500, "{met} {simple}");
    }
}
