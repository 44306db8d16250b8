//! A scene moved by a registration, for pairs that are held in memory as they are: what the reader of a survey does
//! while it warps.

use rayon::prelude::*;
use survey::calibration::Registration;
use survey::raster::{PixelState, Plane, SceneWindow};

/// The later scene where the earlier one sees the same ground: cubic convolution (Keys 1981, a = −1/2). A pixel whose
/// 4 × 4 neighbours are not all valid is not valid: it takes the state that says most among them.
#[must_use]
pub fn moved(window: &SceneWindow, registration: &Registration) -> SceneWindow {
    if registration.is_identity() {
        return window.clone();
    }
    let rect = window.rect();
    let cols = rect.cols();
    let mut out = SceneWindow {
        bands: window.bands.clone(),
        planes: Vec::new(),
        state: Plane::filled(rect, PixelState::NoScene),
    };
    // Where to read: the upper-left neighbour and the fractions, per pixel.
    let place = |row: i32, col: i32| {
        let (at_row, at_col) = registration.apply(f64::from(row), f64::from(col));
        let (first_row, first_col) = (at_row.floor(), at_col.floor());
        (first_row as i32 - 1, first_col as i32 - 1, (at_row - first_row) as f32, (at_col - first_col) as f32)
    };
    out.state.data_mut().par_chunks_mut(cols.max(1)).enumerate().for_each(|(index, states)| {
        let row = rect.row0 + index as i32;
        for (col, state) in states.iter_mut().enumerate() {
            let (row0, col0, _, _) = place(row, rect.col0 + col as i32);
            let neighbours =
                (0..16).map(|at| window.state.get(row0 + at / 4, col0 + at % 4).unwrap_or(PixelState::NoScene));
            let worst = neighbours.filter(|&state| state != PixelState::Valid).max();
            *state = worst.unwrap_or(PixelState::Valid);
        }
    });
    for source in &window.planes {
        let source = source.values();
        let mut plane = Plane::filled(rect, 0.0);
        plane
            .data_mut()
            .par_chunks_mut(cols.max(1))
            .zip(out.state.data().par_chunks(cols.max(1)))
            .enumerate()
            .for_each(|(index, (values, states))| {
                let row = rect.row0 + index as i32;
                for (col, (value, &state)) in values.iter_mut().zip(states).enumerate() {
                    if state != PixelState::Valid {
                        continue;
                    }
                    let (row0, col0, down, right) = place(row, rect.col0 + col as i32);
                    let (vertical, horizontal) = (weights(down), weights(right));
                    let mut sum = 0.0;
                    for (dr, weight) in (0_i32..).zip(vertical) {
                        let line: f32 = (0_i32..)
                            .zip(horizontal)
                            .map(|(dc, weight)| weight * source.get(row0 + dr, col0 + dc).unwrap_or(0.0))
                            .sum();
                        sum += weight * line;
                    }
                    *value = sum;
                }
            });
        out.planes.push(plane.into());
    }
    out
}

fn weights(t: f32) -> [f32; 4] {
    let (t2, t3) = (t * t, t * t * t);
    [-0.5 * t3 + t2 - 0.5 * t, 1.5 * t3 - 2.5 * t2 + 1.0, -1.5 * t3 + 2.0 * t2 + 0.5 * t, 0.5 * t3 - 0.5 * t2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use survey::grid::PixelRect;
    use survey::scene::BandName;

    #[test]
    fn a_plane_that_rises_evenly_is_moved_exactly_and_the_rim_is_no_scene() {
        let rect = PixelRect::new(-3, 5, 17, 30);
        let value = |row: f64, col: f64| (2.0 * row - 0.5 * col + 40.0) as f32;
        let mut plane = Plane::filled(rect, 0.0);
        for row in rect.row0..rect.row1 {
            for (col, out) in (rect.col0..).zip(plane.row_mut(row)) {
                *out = value(f64::from(row), f64::from(col));
            }
        }
        let window = SceneWindow {
            bands: vec![BandName::new("pan")],
            planes: vec![plane.into()],
            state: Plane::filled(rect, PixelState::Valid),
        };
        let registration = Registration { shift_row: 379, shift_col: -215, ..Registration::default() };
        let moved = moved(&window, &registration);
        assert_eq!(moved.state.get(-3, 10), Some(PixelState::NoScene));
        for row in 0..10 {
            for col in 10..25 {
                let expected = value(f64::from(row) + 379.0 / 1024.0, f64::from(col) - 215.0 / 1024.0);
                assert_eq!(moved.state.get(row, col), Some(PixelState::Valid));
                assert!((moved.planes[0].values().get(row, col).unwrap() - expected).abs() < 1e-3);
            }
        }
    }
}
