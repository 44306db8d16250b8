//! Clouds, haze and their shadows where a scene came without a mask.
//!
//! A cloud is far brighter than the ground, on one date only, and large. So is a new white roof to a careless eye; what
//! tells them apart is size: a core must be at least a quarter of a kilometre across, which no roof is. Where pixels are
//! fine (up to 5 m) such a window is larger than the halo that tiles can afford, and roofs are what is looked for: there
//! only masks count.

use rayon::prelude::*;
use survey::calibration::PairStatistics;
use survey::raster::{PixelState, Plane, SceneWindow};

use crate::bands::brightness_planes;
use crate::evidence::slide;

/// Sizes of the search, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloudReach {
    /// Radius of the window that must be bright almost everywhere.
    core_px: i32,
    /// How far the fringe of a cloud goes from its core.
    fringe_px: i32,
    /// How far a shadow falls from a core.
    shadow_px: i32,
}

/// Brightness of a core, robust z, and how much brighter than on the other date.
const CORE: (i16, i16) = (z(8.0), z(6.0));
/// The same of the fringe: haze.
const FRINGE: (i16, i16) = (z(2.5), z(1.5));
/// Brightness of a shadow, at most, and how much darker than on the other date.
const SHADOW: (i16, i16) = (z(-0.8), z(0.8));
/// Share of the window around a core that is bright.
const CORE_SHARE: (i32, i32) = (4, 5);

const fn z(value: f32) -> i16 {
    (value * 64.0) as i16
}

impl CloudReach {
    /// The search at a resolution; `None` where pixels are too fine for it.
    #[must_use]
    pub fn at(resolution_m: f64) -> Option<Self> {
        let pixels = |metres: f64, least: f64, most: f64| (metres / resolution_m).round().clamp(least, most) as i32;
        (resolution_m > 5.0).then(|| Self {
            core_px: pixels(120.0, 1.0, 24.0),
            fringe_px: pixels(400.0, 3.0, 40.0),
            shadow_px: pixels(1000.0, 4.0, 40.0),
        })
    }

    /// Pixels around a pixel that its state depends on.
    #[must_use]
    pub fn halo_px(&self) -> i32 {
        self.core_px + self.fringe_px.max(self.shadow_px)
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
    let planes = [
        brightness(before, statistics.brightness_median[0], statistics.brightness_sd[0], state),
        brightness(after, statistics.brightness_median[1], statistics.brightness_sd[1], state),
    ];
    for (this, other) in [(0, 1), (1, 0)] {
        mask_date(&planes[this], &planes[other], reach, state);
    }
}

/// Robust z of brightness, 1/64; 0 where the pair is not valid.
fn brightness(window: &SceneWindow, median: f64, sd: f64, state: &Plane<PixelState>) -> Vec<i16> {
    let rect = state.rect();
    let bands = brightness_planes(window);
    let inverse = if sd > 0.0 { (1.0 / sd) as f32 } else { 0.0 };
    let share = 1.0 / bands.len().max(1) as f32;
    let cols = rect.cols();
    let mut out = vec![0_i16; rect.pixels()];
    out.par_chunks_mut(cols.max(1)).enumerate().for_each(|(index, out)| {
        let row = rect.row0 + index as i32;
        let from = (rect.col0 - window.rect().col0) as usize;
        let lines: Vec<&[f32]> = bands.iter().map(|plane| &plane.row(row)[from..from + cols]).collect();
        for (col, (out, &state)) in out.iter_mut().zip(state.row(row)).enumerate() {
            if state == PixelState::Valid {
                let mean = lines.iter().map(|line| line[col]).sum::<f32>() * share;
                let z = ((mean - median as f32) * inverse * 64.0).clamp(-32000.0, 32000.0);
                *out = z as i16;
            }
        }
    });
    out
}

fn mask_date(this: &[i16], other: &[i16], reach: CloudReach, state: &mut Plane<PixelState>) {
    let (cols, rows) = (state.rect().cols(), state.rect().rows());
    let brighter = |index: usize, (least, more): (i16, i16)| {
        this[index] > least && i32::from(this[index]) - i32::from(other[index]) > i32::from(more)
    };
    let bright: Vec<bool> = (0..this.len()).map(|index| brighter(index, CORE)).collect();
    if !bright.contains(&true) {
        return;
    }
    let side = 2 * reach.core_px + 1;
    let needed = side * side * CORE_SHARE.0 / CORE_SHARE.1;
    let core: Vec<bool> = around(&bright, cols, rows, reach.core_px).iter().map(|&count| count >= needed).collect();
    let near_core = around(&core, cols, rows, reach.fringe_px);
    let in_reach_of_shadow = around(&core, cols, rows, reach.shadow_px);
    for (index, state) in state.data_mut().iter_mut().enumerate() {
        let is_cloud = near_core[index] > 0 && brighter(index, FRINGE);
        let is_shadow = in_reach_of_shadow[index] > 0
            && this[index] < SHADOW.0
            && i32::from(other[index]) - i32::from(this[index]) > i32::from(SHADOW.1);
        if *state == PixelState::Valid && (is_cloud || is_shadow) {
            *state = PixelState::Cloud;
        }
    }
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
