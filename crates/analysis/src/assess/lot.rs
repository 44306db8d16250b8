//! The lot that a component's change pixels make up.

use survey::findings::{Component, Run};
use survey::grid::Grid;

use crate::components::pieces;
use crate::mask::Mask;

/// The lot itself: the change pixels of a component without what hangs on to it by chance or by a road.
///
/// Grouping joins a new road, or a ragged strip of a field next door, to a lot. Gaps up to 8 m are closed (so that
/// houses of one estate are one surface), what is narrower than 16 m is cut off, and of what then falls apart, pieces
/// below a tenth of the largest are left out. Where that would leave less than half, as with scattered change, or where
/// pixels are too coarse for it, the component stays as it is.
pub(super) fn lot(component: &Component, grid: &Grid) -> Vec<Run> {
    let pixels = |metres: f64| (metres / grid.resolution_m).round() as i32;
    let radius = pixels(8.0).min(40);
    if radius < 1 {
        return component.runs.clone();
    }
    let reach = pixels(8.0).clamp(1, 40);
    let change = Mask::from_runs(component.bounds, &component.runs);
    let solid = change.close(reach).open(radius);
    let pieces = pieces(&solid);
    let size = |runs: &Vec<Run>| runs.iter().map(Run::len).sum::<u64>();
    let largest = pieces.iter().map(size).max().unwrap_or(0);
    let kept: Vec<Run> = pieces.into_iter().filter(|piece| size(piece) * 10 >= largest).flatten().collect();
    let lot = Mask::from_runs(component.bounds, &kept).and(&change);
    if lot.count() * 2 >= change.count() { lot.runs() } else { component.runs.clone() }
}
