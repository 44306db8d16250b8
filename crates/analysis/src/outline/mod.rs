//! Outlines of pixel sets, and measures of shape that a rotation does not change.
//!
//! Coordinates are those of pixel corners on the global grid: `x` is a column, `y` a row, so `y` grows southwards.

mod map;
mod measure;
mod trace;

pub use map::to_map;
pub use measure::{OrientedRect, Shape, shape};
pub use trace::{Corner, PixelPolygon, trace};

#[cfg(test)]
mod pictures {
    use survey::findings::Run;
    use survey::grid::PixelRect;

    use crate::mask::Mask;

    pub(super) fn picture(rows: &[&str]) -> Vec<Run> {
        let rect = PixelRect::new(0, 0, rows.len() as i32, rows[0].len() as i32);
        Mask::from_fn(rect, |row, col| rows[row as usize].as_bytes()[col as usize] == b'#').runs()
    }

    /// Pixels whose centres lie in a rectangle of `length × width` around (x, y), its long side `degrees` from east.
    pub(super) fn rotated(length: f64, width: f64, degrees: f64, centre: (f64, f64)) -> Vec<Run> {
        let (sin, cos) = degrees.to_radians().sin_cos();
        Mask::from_fn(PixelRect::new(-200, -200, 200, 200), |row, col| {
            let (dx, dy) = (f64::from(col) + 0.5 - centre.0, -(f64::from(row) + 0.5 - centre.1));
            (dx * cos + dy * sin).abs() <= length / 2.0 && (dy * cos - dx * sin).abs() <= width / 2.0
        })
        .runs()
    }
}
