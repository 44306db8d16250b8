//! Parts that make up one hall.

use super::pixels::bounds;
use super::{Building, BuildingKind, fill_holes};
use crate::mask::Mask;
use crate::outline::{Shape, shape};

/// Gap between a frame and its next bay, and between the slopes of one roof, at most, metres.
const FRAME_GAP_M: f64 = 4.0;
const RIDGE_GAP_M: f64 = 1.6;
/// Slopes narrower than this are roofs of their own: spans of greenhouses, rows of sheds.
const SLOPE_WIDTH_M: f64 = 12.0;
/// Least rectangularity of what parts make up, and the most that it may exceed them by.
const LEAST_RECTANGULARITY: f64 = 0.88;
const MOST_ADDED: f64 = 1.15;

/// Two parts and what they make up.
pub(super) struct Joined {
    pub(super) first: usize,
    pub(super) second: usize,
    pub(super) mask: Mask,
    pub(super) shape: Shape,
}

/// The first two parts, in their order, that make up one hall.
pub(super) fn next(parts: &[Building], gsd_m: f64) -> Option<Joined> {
    (0..parts.len()).find_map(|first| {
        (first + 1..parts.len()).find_map(|second| {
            let (mask, shape) = whole(parts.get(first)?, parts.get(second)?, gsd_m)?;
            Some(Joined { first, second, mask, shape })
        })
    })
}

fn whole(a: &Building, b: &Building, gsd_m: f64) -> Option<(Mask, Shape)> {
    let is = |kind: BuildingKind| a.kind == kind || b.kind == kind;
    let wide = |part: &Building| part.shape.rect.width * gsd_m >= SLOPE_WIDTH_M;
    if is(BuildingKind::Slab) || !wide(a) || !wide(b) {
        return None;
    }
    let gap = if is(BuildingKind::Frame) { FRAME_GAP_M } else { RIDGE_GAP_M };
    let reach = ((gap / gsd_m / 2.0).ceil() as i32).max(1);
    let (around_a, around_b) = (bounds(&a.runs)?, bounds(&b.runs)?);
    around_a.grown(2 * reach).intersection(&around_b)?;
    let around = around_a.union(&around_b).grown(reach + 1);
    let both = Mask::from_runs(around, &a.runs).or(&Mask::from_runs(around, &b.runs));
    let mask = fill_holes(&both.close(reach));
    let shape = shape(&mask.runs())?;
    let is_one = crate::components::pieces(&mask).len() == 1
        && shape.rectangularity() >= LEAST_RECTANGULARITY
        && shape.area <= MOST_ADDED * (a.shape.area + b.shape.area);
    is_one.then_some((mask, shape))
}
