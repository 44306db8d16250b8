//! Statistics of planes over masks.

use survey::findings::Run;
use survey::grid::PixelRect;
use survey::raster::Plane;

use crate::components::pieces;
use crate::mask::Mask;

/// The piece with most pixels; of equals the first.
pub(super) fn largest_piece(mask: &Mask) -> Option<Mask> {
    let size = |runs: &Vec<Run>| runs.iter().map(Run::len).sum::<u64>();
    let largest = pieces(mask).into_iter().reduce(|best, next| if size(&next) > size(&best) { next } else { best })?;
    Some(Mask::from_runs(mask.rect(), &largest))
}

/// Mean and standard deviation; `None` of none.
pub(super) fn moments(values: &[f32]) -> Option<(f64, f64)> {
    if values.is_empty() {
        return None;
    }
    let count = values.len() as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let variance =
        values.iter().map(|&value| (f64::from(value) - mean) * (f64::from(value) - mean)).sum::<f64>() / count;
    Some((mean, variance.sqrt()))
}

pub(super) fn bounds(runs: &[Run]) -> Option<PixelRect> {
    runs.iter()
        .map(|run| PixelRect { row0: run.row, col0: run.col0, row1: run.row + 1, col1: run.col1 })
        .reduce(|a, b| a.union(&b))
}

/// The values of a plane at the pixels of a mask, in row-major order.
pub(super) fn values(plane: &Plane<f32>, mask: &Mask) -> Vec<f32> {
    let rect = plane.rect();
    let mut values = Vec::new();
    for run in mask.runs() {
        let (from, to) = (run.col0.max(rect.col0), run.col1.min(rect.col1));
        if run.row >= rect.row0 && run.row < rect.row1 && from < to {
            values.extend_from_slice(&plane.row(run.row)[(from - rect.col0) as usize..(to - rect.col0) as usize]);
        }
    }
    values
}

/// The value below which `percent` of the values lie; 0 of none.
pub(super) fn quantile(values: &mut [f32], percent: usize) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let at = (values.len() - 1) * percent / 100;
    *values.select_nth_unstable_by(at, f32::total_cmp).1
}
