//! Which counties are told of what could not be read.

use std::collections::{BTreeMap, BTreeSet};

use imagery::UnreadablePart;
use survey::findings::UnreadableNote;
use survey::grid::{Cell, PixelRect};

use super::LoadedPlan;

/// Adds the notes of a pair's scenes to the counties that own a pixel of `tile` which depends on what could not be read
/// and lies in a cell that the pair may fill. So a county's notes do not depend on how the ground is cut into tiles.
pub(super) fn add_notes(
    notes: &mut BTreeMap<u32, BTreeSet<UnreadableNote>>,
    loaded: &LoadedPlan,
    tile: PixelRect,
    pair: u32,
    parts: &[UnreadablePart],
) {
    for part in parts {
        for run in &part.runs {
            if run.row < tile.row0 || run.row >= tile.row1 {
                continue;
            }
            let (col0, col1) = (run.col0.max(tile.col0), run.col1.min(tile.col1));
            for span in loaded.counties.spans(run.row, col0, col1.max(col0)) {
                let cells = PixelRect::new(run.row, span.col0, run.row + 1, span.col1).cells();
                if cells.into_iter().any(|cell| may_fill(loaded, cell, pair)) {
                    notes.entry(span.county).or_default().insert(part.note.clone());
                }
            }
        }
    }
}

/// Whether a pair is in a cell's list.
pub(super) fn may_fill(loaded: &LoadedPlan, cell: Cell, pair: u32) -> bool {
    loaded.plan.cell(cell).is_some_and(|planned| planned.pairs.contains(&pair))
}
