//! Evidence where a lot is a few pixels: the score, corrected by what the change looks like.
//!
//! Taken off is what greens up, what darkens (burn scars, floods, shadows), what glows (fire fronts) and what is water
//! on either date; added is where vegetation gives way to something brighter. The weights are round numbers chosen on
//! the pairs that `docs/decisions/0004-threshold-and-evidence.md` names, not a fit.

use std::ops::Range;

use survey::calibration::IrMad;
use survey::raster::SceneWindow;

use super::base::{BasePlanes, UNIT, whole_row};
use super::preset::Scale;
use super::window::slide;

/// The log-odds of `rows` (counted from the first row of the planes).
#[must_use]
pub fn spectral_rows(
    base: &BasePlanes,
    before: &SceneWindow,
    after: &SceneWindow,
    irmad: &IrMad,
    scale: Scale,
    rows: Range<usize>,
) -> Vec<f32> {
    let (cols, height) = (base.rect.cols(), base.rect.rows());
    let mut logit = vec![0.0; rows.len() * cols];
    let score = smoothed_score(base, usize::from(scale == Scale::Medium), rows.clone(), height);
    let looks = [Look::of(before, &irmad.mean_before), Look::of(after, &irmad.mean_after)];
    let mut spaces = [Vec::new(), Vec::new()];
    for (index, row) in rows.enumerate() {
        let row = base.rect.row0 + row as i32;
        let line = |plane: &survey::raster::Plane<i16>, col: usize| f32::from(plane.row(row)[col]) / UNIT;
        let [of_before, of_after] = &mut spaces;
        let light_before = before.run(whole_row(base.rect, row), of_before);
        let light_after = after.run(whole_row(base.rect, row), of_after);
        for col in 0..cols {
            let green = (line(&base.before.vegetation, col), line(&base.after.vegetation, col));
            let bright = (line(&base.before.brightness, col), line(&base.after.brightness, col));
            let greened = (green.1 - green.0).min(green.1 - 0.5).clamp(0.0, 2.0);
            let darkened = (bright.0 - bright.1 - 1.0).clamp(0.0, 2.0);
            let built_up = (green.0 - green.1 - 0.75).clamp(0.0, 2.0).min((bright.1 - bright.0).clamp(0.0, 2.0));
            let glow = (looks[0].glow(&light_before, col), looks[1].glow(&light_after, col));
            let glowing =
                ((glow.1 - 0.35) * 10.0).clamp(0.0, 1.0).min(((glow.1 - glow.0 - 0.15) * 10.0).clamp(0.0, 1.0));
            let water = looks[0].water(&light_before, col).max(looks[1].water(&light_after, col));
            let at = index * cols + col;
            logit[at] = 6.0 * score[at] + 0.6 + built_up - 2.0 * greened - 2.5 * darkened - 8.0 * glowing - 6.0 * water;
        }
    }
    logit
}

/// Mean score over the valid pixels of a window.
fn smoothed_score(base: &BasePlanes, radius: usize, rows: Range<usize>, height: usize) -> Vec<f32> {
    let cols = base.rect.cols();
    let first = rows.start;
    let sums = |plane: &survey::raster::Plane<i16>| {
        let mut out = vec![0; rows.len() * cols];
        slide(
            cols,
            height,
            radius,
            rows.clone(),
            |row, buffer| {
                let line = plane.row(base.rect.row0 + row as i32);
                buffer.iter_mut().zip(line).for_each(|(out, &value)| *out = i32::from(value));
            },
            |row, sums| out[(row - first) * cols..(row - first + 1) * cols].copy_from_slice(sums),
        );
        out
    };
    let (score, count) = (sums(&base.score), sums(&base.valid));
    score.iter().zip(count).map(|(&sum, count)| sum as f32 / (count.max(1) as f32 * UNIT)).collect()
}

/// The infrared bands of a scene, which tell fire and water.
struct Look {
    swir: Option<usize>,
    nir: Option<usize>,
    /// 1 / mean of what did not change, by band.
    inverse_means: Vec<f32>,
}

impl Look {
    fn of(window: &SceneWindow, means: &[f64]) -> Self {
        let find =
            |names: &[&str]| names.iter().find_map(|name| window.bands.iter().position(|band| band.as_str() == *name));
        let inverse_means = means.iter().map(|&mean| if mean > 0.0 { (1.0 / mean) as f32 } else { 0.0 }).collect();
        Self { swir: find(&["swir16", "swir22"]), nir: find(&["nir", "nir08"]), inverse_means }
    }

    /// Short-wave against near infrared, −1 to 1: high over fire and fresh burns; 0 where it cannot be told.
    fn glow(&self, bands: &[&[f32]], col: usize) -> f32 {
        let (Some(swir), Some(nir)) = (self.swir, self.nir) else { return 0.0 };
        let (a, b) = (bands[swir][col], bands[nir][col]);
        if a + b > 0.0 { ((a - b) / (a + b)).clamp(-1.0, 1.0) } else { 0.0 }
    }

    /// 0 to 1: water swallows the infrared. 0 where there is no near infrared.
    fn water(&self, bands: &[&[f32]], col: usize) -> f32 {
        let Some(nir) = self.nir else { return 0.0 };
        let relative = |band: usize| bands[band][col] * self.inverse_means.get(band).copied().unwrap_or(0.0);
        let brightest = self.swir.map_or(relative(nir), |swir| relative(nir).max(relative(swir)));
        ((0.5 - brightest) * 8.0).clamp(0.0, 1.0)
    }
}
