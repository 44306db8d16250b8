//! Plane geometry of a world: metres east and north of its south-west corner.

/// A point or a vector, metres.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// East.
    pub x: f32,
    /// North.
    pub y: f32,
}

/// A point.
#[must_use]
pub const fn point(x: f32, y: f32) -> Point {
    Point { x, y }
}

impl Point {
    /// The unit vector of a compass bearing, degrees clockwise from north.
    #[must_use]
    pub fn of_bearing(degrees: f64) -> Self {
        let angle = degrees.to_radians();
        point(libm::sin(angle) as f32, libm::cos(angle) as f32)
    }

    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        point(self.x + other.x, self.y + other.y)
    }

    /// The difference.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        point(self.x - other.x, self.y - other.y)
    }

    /// A multiple.
    #[must_use]
    pub fn times(self, factor: f32) -> Self {
        point(self.x * factor, self.y * factor)
    }

    /// The scalar product.
    #[must_use]
    pub fn dot(self, other: Self) -> f32 {
        self.x * other.x + self.y * other.y
    }

    /// The length.
    #[must_use]
    pub fn length(self) -> f32 {
        self.dot(self).sqrt()
    }

    /// The vector of length 1 in the same direction (east for nothing).
    #[must_use]
    pub fn unit(self) -> Self {
        let length = self.length();
        if length > 0.0 { self.times(1.0 / length) } else { point(1.0, 0.0) }
    }

    /// Turned left by a right angle.
    #[must_use]
    pub fn left(self) -> Self {
        point(-self.y, self.x)
    }
}

/// An axis-parallel box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Smallest corner.
    pub min: Point,
    /// Largest corner.
    pub max: Point,
}

impl Bounds {
    /// The box around points; inverted (touching nothing) for none.
    #[must_use]
    pub fn of(points: impl IntoIterator<Item = Point>) -> Self {
        let start = Self { min: point(f32::MAX, f32::MAX), max: point(f32::MIN, f32::MIN) };
        points.into_iter().fold(start, |bounds, p| Self {
            min: point(bounds.min.x.min(p.x), bounds.min.y.min(p.y)),
            max: point(bounds.max.x.max(p.x), bounds.max.y.max(p.y)),
        })
    }

    /// Grown on all sides.
    #[must_use]
    pub fn grown(self, by: f32) -> Self {
        Self { min: point(self.min.x - by, self.min.y - by), max: point(self.max.x + by, self.max.y + by) }
    }

    /// Whether the two have a point in common.
    #[must_use]
    pub fn touches(&self, other: &Self) -> bool {
        self.min.x <= other.max.x && other.min.x <= self.max.x && self.min.y <= other.max.y && other.min.y <= self.max.y
    }
}

/// A rectangle in any direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    /// Its centre.
    pub centre: Point,
    /// Unit vector along its length.
    pub axis: Point,
    /// Half its length, along `axis`.
    pub half_length: f32,
    /// Half its width, across.
    pub half_width: f32,
}

impl Rect {
    /// A rectangle from its sides.
    #[must_use]
    pub fn new(centre: Point, axis: Point, length: f32, width: f32) -> Self {
        Self { centre, axis, half_length: length / 2.0, half_width: width / 2.0 }
    }

    /// A point given along and across.
    #[must_use]
    pub fn at(&self, along: f32, across: f32) -> Point {
        self.centre.plus(self.axis.times(along)).plus(self.axis.left().times(across))
    }

    /// Along and across of a point.
    #[must_use]
    pub fn local(&self, p: Point) -> Point {
        let d = p.minus(self.centre);
        point(d.dot(self.axis), d.dot(self.axis.left()))
    }

    /// The four corners, counter-clockwise.
    #[must_use]
    pub fn corners(&self) -> [Point; 4] {
        let (a, b) = (self.half_length, self.half_width);
        [self.at(-a, -b), self.at(a, -b), self.at(a, b), self.at(-a, b)]
    }

    /// Grown by a margin on all sides.
    #[must_use]
    pub fn grown(&self, by: f32) -> Self {
        Self { half_length: self.half_length + by, half_width: self.half_width + by, ..*self }
    }

    /// m².
    #[must_use]
    pub fn area(&self) -> f32 {
        4.0 * self.half_length * self.half_width
    }

    /// The share of the way from `from` by `step` that lies inside, as the first and last parameter in `[0, 1]`: where
    /// does something that stands on the rectangle and is seen (or lit) along `step` cover this point?
    #[must_use]
    pub fn passage(&self, from: Point, step: Point) -> Option<(f32, f32)> {
        let (p, d) = (self.local(from), point(step.dot(self.axis), step.dot(self.axis.left())));
        let (mut first, mut last) = (0.0f32, 1.0f32);
        for (at, along, half) in [(p.x, d.x, self.half_length), (p.y, d.y, self.half_width)] {
            if along.abs() < 1e-6 {
                if at.abs() > half {
                    return None;
                }
            } else {
                let (a, b) = ((-half - at) / along, (half - at) / along);
                first = first.max(a.min(b));
                last = last.min(a.max(b));
            }
        }
        (first <= last).then_some((first, last))
    }
}

/// A convex polygon, counter-clockwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Convex(pub Vec<Point>);

impl Convex {
    /// m², by the shoelace formula.
    #[must_use]
    pub fn area(&self) -> f64 {
        let next = self.0.iter().cycle().skip(1);
        let twice: f64 = self
            .0
            .iter()
            .zip(next)
            .map(|(a, b)| f64::from(a.x) * f64::from(b.y) - f64::from(b.x) * f64::from(a.y))
            .sum();
        twice / 2.0
    }

    /// Mean of the corners.
    #[must_use]
    pub fn centre(&self) -> Point {
        let sum = self.0.iter().fold(point(0.0, 0.0), |sum, &p| sum.plus(p));
        sum.times(1.0 / self.0.len().max(1) as f32)
    }

    /// Distance to the border, positive inside.
    #[must_use]
    pub fn depth(&self, p: Point) -> f32 {
        let next = self.0.iter().cycle().skip(1);
        self.0.iter().zip(next).map(|(&a, &b)| p.minus(a).dot(b.minus(a).unit().left())).fold(f32::MAX, f32::min)
    }

    /// The part where `p · normal ≤ offset`.
    #[must_use]
    pub fn clipped(&self, normal: Point, offset: f32) -> Self {
        let mut kept = Vec::with_capacity(self.0.len() + 1);
        for (&a, &b) in self.0.iter().zip(self.0.iter().cycle().skip(1)) {
            let (da, db) = (a.dot(normal) - offset, b.dot(normal) - offset);
            if da <= 0.0 {
                kept.push(a);
            }
            if (da < 0.0 && db > 0.0) || (da > 0.0 && db < 0.0) {
                kept.push(a.plus(b.minus(a).times(da / (da - db))));
            }
        }
        Self(kept)
    }
}

/// Distance to a segment, and how far along it the nearest point lies, metres.
#[must_use]
pub fn to_segment(p: Point, a: Point, b: Point) -> (f32, f32) {
    let (d, length) = (b.minus(a), b.minus(a).length());
    let along = if length > 0.0 { (p.minus(a).dot(d) / length).clamp(0.0, length) } else { 0.0 };
    let nearest = a.plus(d.unit().times(along));
    (p.minus(nearest).length(), along)
}

/// Distance to a polyline.
#[must_use]
pub fn to_line(p: Point, line: &[Point]) -> f32 {
    line.windows(2).filter_map(|ends| Some(to_segment(p, *ends.first()?, *ends.get(1)?).0)).fold(f32::MAX, f32::min)
}

/// A polyline made smooth (Chaikin's corner cutting, twice), with its ends kept.
#[must_use]
pub fn smooth(line: &[Point]) -> Vec<Point> {
    let mut line = line.to_vec();
    for _ in 0..2 {
        let (Some(&first), Some(&last)) = (line.first(), line.last()) else { return line };
        let mut next = vec![first];
        for (&a, &b) in line.iter().zip(line.iter().skip(1)) {
            next.push(a.times(0.75).plus(b.times(0.25)));
            next.push(a.times(0.25).plus(b.times(0.75)));
        }
        next.push(last);
        line = next;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shadow_covers_the_rectangle_and_the_strip_behind_it() {
        let rect = Rect::new(point(0.0, 0.0), point(1.0, 0.0), 10.0, 4.0);
        // Something 10 m tall whose shadow falls 1 m north per metre of height: seen from p back along the shadow.
        let step = point(0.0, -10.0);
        assert_eq!(rect.passage(point(0.0, 0.0), step).map(|(first, _)| first), Some(0.0));
        let (first, last) = rect.passage(point(0.0, 7.0), step).unwrap();
        assert!((first - 0.5).abs() < 1e-6 && (last - 0.9).abs() < 1e-6);
        assert_eq!(rect.passage(point(0.0, 12.5), step), None);
        assert_eq!(rect.passage(point(5.5, 3.0), step), None);
    }

    #[test]
    fn clipping_a_square_in_half_halves_its_area() {
        let square = Convex(vec![point(0.0, 0.0), point(2.0, 0.0), point(2.0, 2.0), point(0.0, 2.0)]);
        assert_eq!(square.area(), 4.0);
        assert_eq!(square.clipped(point(1.0, 0.0), 1.0).area(), 2.0);
        assert_eq!(square.depth(point(0.5, 1.0)), 0.5);
        assert!(square.depth(point(2.5, 1.0)) < 0.0);
    }
}
