//! Area, perimeter, hull and enclosing rectangle of a pixel set.

use survey::findings::Run;

use super::Corner;
use super::trace::rings;

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
    use survey::grid::PixelRect;

    use super::super::pictures::{picture, rotated};
    use super::*;
    use crate::mask::Mask;

    #[test]
    fn a_rectangle_is_measured_the_same_in_every_direction() {
        // method.md 4.10: analytic truth.
        for (length, width) in [(120.0, 40.0), (200.0, 60.0), (90.0, 70.0)] {
            for step in 0..30 {
                let degrees = f64::from(step) * 3.0;
                let runs = rotated(length, width, degrees, (0.37, -0.21));
                let shape = shape(&runs).unwrap();
                let name = format!("{length} × {width} at {degrees}°: {shape:?}");
                // At 45° the sides run along the grid's diagonals: see the next test.
                let bound = if degrees == 45.0 { 0.01 } else { 0.005 };
                assert!((shape.area / (length * width) - 1.0).abs() < bound, "{name}");
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
    fn along_the_grids_diagonals_no_measure_of_area_is_better_than_the_grid() {
        // Lines of pixel centres along a diagonal are 1 / √2 apart, so widths up to that far apart give one pixel set: no
        // function of the pixels is within 0.5 % of both. Elsewhere the rows break the line at ever other places, and
        // counting is within 0.5 % (here to 0.13 %).
        let at = |width: f64| rotated(120.0, width, 45.0, (0.37, -0.21));
        assert_eq!(at(39.9), at(40.5));
        let off = (shape(&at(40.2)).unwrap().area / (120.0 * 40.2) - 1.0).abs();
        assert!(off <= std::f64::consts::FRAC_1_SQRT_2 / 40.2, "within one line of centres: {off}");
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
}
