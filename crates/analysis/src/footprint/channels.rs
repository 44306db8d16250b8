//! Single-date quantities of the later scene that tell a building from ground.

use std::borrow::Cow;

use survey::grid::Grid;
use survey::raster::{BandPlane, PixelState, Plane, SceneWindow};
use survey::scene::BandName;

use crate::mask::Mask;

/// Vegetation index above which a pixel is green.
const GREEN_NDVI: f32 = 0.3;
/// Excess green, `(2G − R − B) / (2G + R + B)`, above which a pixel is green where there is no near infrared.
const GREEN_EXCESS: f32 = 0.08;

/// The quantities, over the window's rectangle.
pub struct Channels {
    /// Pixels with values.
    pub valid: Mask,
    /// Valid pixels with vegetation.
    pub green: Mask,
    /// Mean of the visible bands (or of what there is), smoothed over about half a metre.
    pub brightness: Plane<f32>,
    /// `(B − R) / (B + R)`, smoothed; where both bands are there.
    pub blue: Option<Plane<f32>>,
    /// Length of the brightness gradient per metre-free pixel step, unsmoothed.
    pub gradient: Plane<f32>,
    /// Mean gradient over about 3 m: high all over a frame, and at the rims of other things.
    pub texture: Plane<f32>,
}

impl Channels {
    /// The quantities of a window with pixels of `fine`.
    #[must_use]
    pub fn new(window: &SceneWindow, fine: &Grid) -> Self {
        let valid = Mask::from_plane(&window.state, |state| state == PixelState::Valid);
        let band = |name: &str| window.band(&BandName::new(name));
        let colours = ["blue", "green", "red", "nir"].map(band);
        let [blue, green, red, nir] = colours.each_ref().map(Option::as_deref);
        let shown: Vec<Cow<Plane<f32>>> = if [blue, green, red].iter().any(Option::is_some) {
            [blue, green, red].into_iter().flatten().map(Cow::Borrowed).collect()
        } else if let Some(pan) = band("pan") {
            vec![pan]
        } else {
            window.planes.iter().map(BandPlane::values).collect()
        };
        let rect = window.rect();
        let mut raw = Plane::filled(rect, 0.0_f32);
        for plane in &shown {
            for (sum, &value) in raw.data_mut().iter_mut().zip(plane.data()) {
                *sum += value / shown.len() as f32;
            }
        }
        // What is not valid must not shine into its neighbours: it counts as black, and is no candidate.
        for (value, &state) in raw.data_mut().iter_mut().zip(window.state.data()) {
            if state != PixelState::Valid {
                *value = 0.0;
            }
        }
        let reach = (0.5 / fine.resolution_m).floor().clamp(0.0, 2.0) as usize;
        let blueness = blue.zip(red).map(|(blue, red)| box_mean(&ratio(blue, red), reach));
        let green = match (nir, red, green, blue) {
            (Some(nir), Some(red), green, blue) => {
                let lush = Mask::from_plane(&ratio(nir, red), |value| value > GREEN_NDVI);
                // Blue paint reflects near infrared as well as leaves do; leaves are never bluer than green.
                match green.zip(blue) {
                    Some((green, blue)) => lush.minus(&Mask::from_plane(&ratio(blue, green), |value| value > 0.0)),
                    None => lush,
                }
            }
            (_, Some(red), Some(green), Some(blue)) => {
                let mut excess = green.clone();
                for ((value, &red), &blue) in excess.data_mut().iter_mut().zip(red.data()).zip(blue.data()) {
                    let (twice, others) = (2.0 * *value, red + blue);
                    *value = if twice + others > 0.0 { (twice - others) / (twice + others) } else { 0.0 };
                }
                Mask::from_plane(&excess, |value| value > GREEN_EXCESS)
            }
            _ => Mask::new(rect),
        };
        let gradient = gradient(&raw);
        let texture = box_mean(&gradient, (1.5 / fine.resolution_m).round().clamp(1.0, 8.0) as usize);
        Self { green: green.and(&valid), valid, brightness: box_mean(&raw, reach), blue: blueness, gradient, texture }
    }
}

/// `(a − b) / (a + b)`, 0 where the sum is not positive.
fn ratio(a: &Plane<f32>, b: &Plane<f32>) -> Plane<f32> {
    let mut ratio = a.clone();
    for (a, &b) in ratio.data_mut().iter_mut().zip(b.data()) {
        let sum = *a + b;
        *a = if sum > 0.0 { (*a - b) / sum } else { 0.0 };
    }
    ratio
}

/// Length of the central differences' gradient; at the rim of the window differences are one-sided.
fn gradient(plane: &Plane<f32>) -> Plane<f32> {
    let rect = plane.rect();
    let (rows, cols) = (rect.rows(), rect.cols());
    let data = plane.data();
    let mut gradient = Plane::filled(rect, 0.0_f32);
    for row in 0..rows {
        let (above, below) = (row.saturating_sub(1) * cols, (row + 1).min(rows - 1) * cols);
        for col in 0..cols {
            let across = data[row * cols + (col + 1).min(cols - 1)] - data[row * cols + col.saturating_sub(1)];
            let down = data[below + col] - data[above + col];
            gradient.data_mut()[row * cols + col] = 0.5 * (across * across + down * down).sqrt();
        }
    }
    gradient
}

/// Mean over a square of side `2·reach + 1`, cut at the rim of the window. Sums start anew at each row and column, so a
/// value depends on the window only.
pub(crate) fn box_mean(plane: &Plane<f32>, reach: usize) -> Plane<f32> {
    if reach == 0 {
        return plane.clone();
    }
    let rect = plane.rect();
    let (rows, cols) = (rect.rows(), rect.cols());
    let mut across = vec![0.0_f32; rows * cols];
    for (out, line) in across.chunks_mut(cols.max(1)).zip(plane.data().chunks(cols.max(1))) {
        for (col, value) in out.iter_mut().enumerate() {
            let near = &line[col.saturating_sub(reach)..(col + reach + 1).min(cols)];
            *value = near.iter().sum::<f32>() / near.len() as f32;
        }
    }
    let mut mean = Plane::filled(rect, 0.0_f32);
    for row in 0..rows {
        let near = row.saturating_sub(reach)..(row + reach + 1).min(rows);
        let share = 1.0 / near.len() as f32;
        let out = &mut mean.data_mut()[row * cols..(row + 1) * cols];
        for from in near {
            for (value, &part) in out.iter_mut().zip(&across[from * cols..(from + 1) * cols]) {
                *value += part * share;
            }
        }
    }
    mean
}
