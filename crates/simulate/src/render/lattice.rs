//! Slow fields of the ground, evaluated on a lattice and interpolated between.

use crate::geometry::{Bounds, Point, point};
use crate::noise::fractal;
use crate::world::World;

/// Step of the lattice, metres. Its points are whole multiples, so that any block interpolates the same numbers.
pub const LATTICE_M: f32 = 8.0;

/// Elevation and its slope, moisture, and how the pattern of fields is bent.
pub struct Lattice {
    col0: i32,
    row0: i32,
    cols: usize,
    values: Vec<[f32; 6]>,
}

/// The fields at a place.
#[derive(Clone, Copy, Debug)]
pub struct Slow {
    /// Displacement of the pattern of fields, metres.
    pub bend: Point,
    /// See [`World::elevation`].
    pub elevation: f32,
    /// 0 dry to 1 wet.
    pub moisture: f32,
    /// Gradient of the elevation, per metre.
    pub slope: Point,
}

impl Lattice {
    /// A lattice that covers a box.
    #[must_use]
    pub fn new(world: &World, bounds: &Bounds) -> Self {
        let col0 = (bounds.min.x / LATTICE_M).floor() as i32 - 1;
        let row0 = (bounds.min.y / LATTICE_M).floor() as i32 - 1;
        let cols = ((bounds.max.x / LATTICE_M).floor() as i32 + 3 - col0).max(2) as usize;
        let rows = ((bounds.max.y / LATTICE_M).floor() as i32 + 3 - row0).max(2) as usize;
        let at = |col: i32, row: i32| point(col as f32 * LATTICE_M, row as f32 * LATTICE_M);
        // One more on all sides, for the slope by central differences.
        let wide = cols + 2;
        let mut elevation = Vec::with_capacity(wide * (rows + 2));
        for row in 0..rows as i32 + 2 {
            elevation.extend((0..wide as i32).map(|col| world.elevation(at(col0 + col - 1, row0 + row - 1))));
        }
        let high = |col: usize, row: usize| elevation.get(row * wide + col).copied().unwrap_or_default();
        let mut values = Vec::with_capacity(cols * rows);
        for row in 0..rows {
            for col in 0..cols {
                let p = at(col0 + col as i32, row0 + row as i32);
                let bend = |seed: u32| 14.0 * (fractal(p.x / 170.0, p.y / 170.0, world.seed ^ seed, 3) - 0.5);
                let moisture = fractal(p.x / 90.0, p.y / 90.0, world.seed ^ 0x3015, 4);
                let east = (high(col + 2, row + 1) - high(col, row + 1)) / (2.0 * LATTICE_M);
                let north = (high(col + 1, row + 2) - high(col + 1, row)) / (2.0 * LATTICE_M);
                values.push([bend(0xbe17), bend(0xbe18), high(col + 1, row + 1), moisture, east, north]);
            }
        }
        Self { col0, row0, cols, values }
    }

    /// The fields at a place of the box.
    #[must_use]
    pub fn at(&self, p: Point) -> Slow {
        let (x, y) = (p.x / LATTICE_M - self.col0 as f32, p.y / LATTICE_M - self.row0 as f32);
        let (fx, fy) = (x.floor(), y.floor());
        let (tx, ty) = (x - fx, y - fy);
        let index = fy as usize * self.cols + fx as usize;
        let corner = |offset: usize| self.values.get(index + offset).copied().unwrap_or_default();
        let (a, b, c, d) = (corner(0), corner(1), corner(self.cols), corner(self.cols + 1));
        let [bend_x, bend_y, elevation, moisture, east, north] = std::array::from_fn(|i| {
            let (low, high) = (a[i] + (b[i] - a[i]) * tx, c[i] + (d[i] - c[i]) * tx);
            low + (high - low) * ty
        });
        Slow { bend: point(bend_x, bend_y), elevation, moisture, slope: point(east, north) }
    }
}
