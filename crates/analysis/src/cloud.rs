//! Clouds, haze and their shadows where a scene came without a mask.
//!
//! A cloud is far brighter than the ground in every band, on one date only, and large. So is a new white roof to a
//! careless eye; what tells them apart is size: a core must be 150 to 200 m across, which a roof hardly is. Where pixels
//! are fine (up to 5 m) such a window is larger than the halo that tiles can afford, and roofs are what is looked for:
//! there only masks count. Smaller clouds count where a large one is near: they come in fields.

use rayon::prelude::*;
use survey::calibration::PairStatistics;
use survey::findings::Run;
use survey::raster::{PixelState, Plane, SceneWindow};

use crate::bands::BandRoles;
use crate::evidence::slide;

/// Sizes of the search, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloudReach {
    /// Radius of the window that must be bright almost everywhere.
    core_px: i32,
    /// How far the fringe of a cloud goes from its core.
    fringe_px: i32,
    /// How far from a core smaller clouds are looked for.
    field_px: i32,
    /// How far a shadow falls from a core.
    shadow_px: i32,
    /// What is thrown away around clouds and shadows.
    margin_px: i32,
}

/// Brightness of a core, robust z, and how much brighter than on the other date.
const CORE: (i16, i16) = (z(8.0), z(6.0));
/// Brightness of a core, at least, in medians of the scene: roofs and sand stay below where the median is ground.
const CORE_MEDIANS: f32 = 3.5;
/// The same of the fringe: haze.
const FRINGE: (i16, i16) = (z(1.0), z(0.75));
/// The same of smaller clouds in the field of a large one.
const FIELD: (i16, i16) = (z(2.5), z(2.0));
/// Brightness of a shadow, at most, and how much darker than on the other date.
const SHADOW: (i16, i16) = (z(-0.8), z(0.8));
/// Share of the window around a core that is bright.
const CORE_SHARE: (i32, i32) = (4, 5);
/// Infrared of a cloud, at least, as a share of its brightness: bright rivers are dark there.
const LEAST_INFRARED: f32 = 0.3;
/// Blue of a cloud, at least, as a share of its red: sand and soil are redder.
const LEAST_BLUE: f32 = 0.8;

const fn z(value: f32) -> i16 {
    (value * 64.0) as i16
}

impl CloudReach {
    /// The search at a resolution; `None` where pixels are too fine for it.
    #[must_use]
    pub fn at(resolution_m: f64) -> Option<Self> {
        let pixels = |metres: f64, least: f64, most: f64| (metres / resolution_m).round().clamp(least, most) as i32;
        (resolution_m > 5.0).then(|| Self {
            core_px: pixels(if resolution_m > 20.0 { 60.0 } else { 90.0 }, 1.0, 24.0),
            fringe_px: pixels(400.0, 3.0, 40.0),
            field_px: pixels(2000.0, 4.0, 60.0),
            shadow_px: pixels(1000.0, 4.0, 40.0),
            margin_px: pixels(200.0, 1.0, 10.0),
        })
    }

    /// Pixels around a pixel that its state depends on.
    #[must_use]
    pub fn halo_px(&self) -> i32 {
        self.core_px + self.fringe_px.max(self.field_px).max(self.shadow_px) + self.margin_px
    }
}

/// Sets what lies under a cloud or its shadow on either date to [`PixelState::Cloud`], where it is valid.
pub fn mask_clouds(
    before: &SceneWindow,
    after: &SceneWindow,
    statistics: &PairStatistics,
    reach: CloudReach,
    state: &mut Plane<PixelState>,
) {
    let dates = [before, after];
    let planes: Vec<Vec<i16>> = (0..2)
        .map(|date| {
            let (median, sd) = (statistics.brightness_median[date], statistics.brightness_sd[date]);
            brightness(dates[date], median, sd, state)
        })
        .collect();
    let found: Vec<Vec<bool>> = [(0, 1), (1, 0)]
        .into_iter()
        .map(|(this, other)| {
            // In robust z, but never below so many medians.
            let (median, sd) = (statistics.brightness_median[this], statistics.brightness_sd[this]);
            let least = if sd > 0.0 { ((f64::from(CORE_MEDIANS) - 1.0) * median / sd) as f32 } else { f32::MAX };
            let core = (CORE.0.max((least * 64.0).clamp(0.0, 32000.0) as i16), CORE.1);
            // Without blue nothing tells a cloud from a sand bank.
            if has_blue(dates[this]) {
                clouds_of(&planes[this], &planes[other], core, reach, state)
            } else {
                Vec::new()
            }
        })
        .collect();
    let mut cloudy = vec![false; state.rect().pixels()];
    for found in found.iter().filter(|found| !found.is_empty()) {
        cloudy.iter_mut().zip(found).for_each(|(cloudy, found)| *cloudy |= found);
    }
    if cloudy.contains(&true) {
        let near = around(&cloudy, state.rect().cols(), state.rect().rows(), reach.margin_px);
        for (state, near) in state.data_mut().iter_mut().zip(near) {
            if *state == PixelState::Valid && near > 0 {
                *state = PixelState::Cloud;
            }
        }
    }
}

fn has_blue(window: &SceneWindow) -> bool {
    window.bands.iter().any(|band| band.as_str() == "blue")
}

/// Robust z of brightness, 1/64; 0 where the pair is not valid, and for what is bright without its infrared.
fn brightness(window: &SceneWindow, median: f64, sd: f64, state: &Plane<PixelState>) -> Vec<i16> {
    let rect = state.rect();
    let bright = BandRoles::of(&window.bands).bright;
    let inverse = if sd > 0.0 { (1.0 / sd) as f32 } else { 0.0 };
    let share = 1.0 / bright.len().max(1) as f32;
    let position = |name: &str| window.bands.iter().position(|band| band.as_str() == name);
    let infrared: Vec<usize> = ["nir", "nir08", "swir16"].into_iter().filter_map(position).collect();
    let colours = position("blue").zip(position("red"));
    let cols = rect.cols();
    let mut out = vec![0_i16; rect.pixels()];
    out.par_chunks_mut(cols.max(1)).enumerate().for_each_init(Vec::new, |space, (index, out)| {
        let row = rect.row0 + index as i32;
        let bands = window.run(Run { row, col0: rect.col0, col1: rect.col1 }, space);
        let lines: Vec<&[f32]> = bright.iter().map(|&band| bands[band]).collect();
        let colours = colours.map(|(blue, red)| (bands[blue], bands[red]));
        let infrared: Vec<&[f32]> = infrared.iter().map(|&band| bands[band]).collect();
        for (col, (out, &state)) in out.iter_mut().zip(state.row(row)).enumerate() {
            if state == PixelState::Valid {
                let mean = lines.iter().map(|line| line[col]).sum::<f32>() * share;
                let z = ((mean - median as f32) * inverse * 64.0).clamp(-32000.0, 32000.0);
                let is_white = infrared.iter().all(|line| line[col] > LEAST_INFRARED * mean)
                    && colours.is_none_or(|(blue, red)| blue[col] > LEAST_BLUE * red[col]);
                *out = if is_white { z as i16 } else { (z as i16).min(0) };
            }
        }
    });
    out
}

/// Clouds of one date and their shadows, without their margin; empty where there are none.
fn clouds_of(this: &[i16], other: &[i16], core: (i16, i16), reach: CloudReach, state: &Plane<PixelState>) -> Vec<bool> {
    let (cols, rows) = (state.rect().cols(), state.rect().rows());
    let brighter = |index: usize, (least, more): (i16, i16)| {
        this[index] > least && i32::from(this[index]) - i32::from(other[index]) > i32::from(more)
    };
    let bright: Vec<bool> = (0..this.len()).map(|index| brighter(index, core)).collect();
    if !bright.contains(&true) {
        return Vec::new();
    }
    let valid: Vec<bool> = state.data().iter().map(|&state| state == PixelState::Valid).collect();
    let side = 2 * reach.core_px + 1;
    // A cloud may be cut by the scene's edge: its share of what is valid counts, of half a window at least.
    let core: Vec<bool> = around(&bright, cols, rows, reach.core_px)
        .iter()
        .zip(around(&valid, cols, rows, reach.core_px))
        .map(|(&bright, valid)| bright * CORE_SHARE.1 >= valid.max(side * side / 2) * CORE_SHARE.0)
        .collect();
    let near_core = around(&core, cols, rows, reach.fringe_px);
    let in_field = around(&core, cols, rows, reach.field_px);
    let in_reach_of_shadow = around(&core, cols, rows, reach.shadow_px);
    (0..this.len())
        .map(|index| {
            let is_cloud =
                (near_core[index] > 0 && brighter(index, FRINGE)) || (in_field[index] > 0 && brighter(index, FIELD));
            let is_shadow = in_reach_of_shadow[index] > 0
                && this[index] < SHADOW.0
                && i32::from(other[index]) - i32::from(this[index]) > i32::from(SHADOW.1);
            is_cloud || is_shadow
        })
        .collect()
}

/// How many pixels of the window around each pixel are set.
fn around(set: &[bool], cols: usize, rows: usize, radius: i32) -> Vec<i32> {
    let mut counts = vec![0; set.len()];
    slide(
        cols,
        rows,
        radius.max(0) as usize,
        0..rows,
        |row, buffer| {
            let line = &set[row * cols..(row + 1) * cols];
            buffer.iter_mut().zip(line).for_each(|(out, &set)| *out = i32::from(set));
        },
        |row, sums| counts[row * cols..(row + 1) * cols].copy_from_slice(sums),
    );
    counts
}
