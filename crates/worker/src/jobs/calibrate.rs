//! Calibrate: what is to be known of a scene pair before its pixels are compared.
//!
//! The sample is a function of the two scenes and the grid alone. Squares of the pair's overlap are taken in the order of
//! their cells' hash, as many as [`sampled_cells`] says. Those that hold next to nothing in common are passed over.

use std::sync::Arc;

use analysis::calibrate::{self, CellSample};
use futures::{StreamExt, TryStreamExt};
use imagery::scene_reader::{ReadCost, Then, Tiles, scene_corner, scene_rect};
use imagery::{ImageryError, ReadScene};
use survey::calibration::{Registration, cell_bytes, sampled_cells};
use survey::grid::{CELL_PX, Cell, PixelRect};
use survey::job::{BASE_BYTES, Job};
use survey::raster::PixelState;
use survey::swath::Around;
use tracing::Instrument;

use super::{Committed, JobContext, JobStats, LoadedPlan, safe_key};
use crate::error::JobError;

/// A cell counts if at least one of so many of its pixels is valid in both scenes.
const LEAST_COMMON: usize = 20;
/// Cells that are looked at per cell that is wanted.
const TRIES: u64 = 4;
/// Squares that are read at the same time, at most.
const MOST_AT_ONCE: usize = 32;
/// A sample is little of the scenes where they hold at least so many times as much.
const LITTLE: usize = 12;
/// A square that is narrower is a sliver, px.
const SLIVER_PX: usize = 8;
/// So far does a pixel's kernel reach into its neighbours, pixels of the grid, where that is about as fine as the scene.
const KERNEL_RIM_PX: i32 = 4;

/// Calibrates a pair of the plan.
pub(super) async fn run(
    context: &JobContext,
    loaded: &Arc<LoadedPlan>,
    job: &Job,
    pair: u32,
) -> Result<Committed, JobError> {
    let plan = &loaded.plan;
    let (scene_pair, before, after) = loaded.pair(job.key, pair)?;
    let refused = |cause: &str| JobError::Pair { pair: scene_pair.key.clone(), cause: cause.to_owned() };
    let overlap = scene_rect(&plan.grid, before, &scene_pair.before_bands)?
        .zip(scene_rect(&plan.grid, after, &scene_pair.after_bands)?)
        .and_then(|(before, after)| before.intersection(&after))
        .ok_or_else(|| refused("they share no ground"))?;
    let bands = scene_pair.before_bands.len() + scene_pair.after_bands.len();
    let corner = scene_corner(&plan.grid, before, &scene_pair.before_bands)?.unwrap_or_default();
    let (wanted, candidates) = sample(overlap, corner, bands as u64);
    let is_all = candidates.len() <= wanted;
    let at_once = {
        let cost = |scene, bands| ReadCost::new(&plan.grid, scene, bands).peak_bytes(CELL_PX as u64, CELL_PX as u64);
        let square = cost(before, &scene_pair.before_bands).saturating_add(cost(after, &scene_pair.after_bands));
        let sample = cell_bytes(bands as u64).saturating_mul(wanted as u64);
        cells_at_once(job.memory.saturating_sub(BASE_BYTES).saturating_sub(sample), square)
    };

    let wants_registration = calibrate::wants_registration(&plan.detector);
    let leaves = loaded.then() == Then::Leaves && !is_worth_keeping(overlap, wanted);
    let for_the_last_time = &|rect| {
        let alone = Tiles { one: rect, side_px: CELL_PX, around: Around::default(), then: Then::Leaves };
        if leaves { context.reader.of_tiles(alone) } else { context.reader.clone() }
    };

    let mut stats = JobStats::default();
    let mut samples: Vec<CellSample> = Vec::with_capacity(wanted);
    let read = |(place, rect): (usize, PixelRect)| async move {
        let unmoved = Registration::default();
        let reads_before = for_the_last_time(rect);
        let reads_after = if wants_registration { context.reader.clone() } else { for_the_last_time(rect) };
        let earlier = reads_before.read(&plan.grid, before, &scene_pair.before_bands, rect, &unmoved);
        let later = reads_after.read(&plan.grid, after, &scene_pair.after_bands, rect, &unmoved);
        let (earlier, later) = futures::try_join!(earlier, later)?;
        Ok::<_, ImageryError>((place, earlier, later))
    };
    let mut candidates = candidates.into_iter();
    while samples.len() < wanted {
        let next = next_squares(&mut candidates, wanted - samples.len());
        if next.is_empty() {
            break;
        }
        let reads: Vec<_> = next.into_iter().enumerate().map(read).collect();
        let reads = futures::stream::iter(reads).buffer_unordered(at_once);
        let mut found: Vec<_> = reads.try_collect().instrument(tracing::info_span!("fetch")).await?;
        found.sort_by_key(|(place, ..)| *place);
        for (_, earlier, later) in found {
            stats.add(earlier.fetched.into());
            stats.add(later.fetched.into());
            if samples.len() < wanted && has_common_ground(&earlier, &later) {
                samples.push(CellSample { before: earlier.window, after: later.window });
            }
        }
    }
    if samples.is_empty() {
        return Err(refused("they share no pixel that is valid in both"));
    }

    let grid = plan.grid.clone();
    let (mut samples, registration) = context
        .compute(move || {
            let _span = tracing::info_span!("register").entered();
            let registration =
                if wants_registration { calibrate::register(&samples, &grid) } else { Registration::default() };
            (samples, registration)
        })
        .await;
    if !registration.is_identity() {
        let rect_of = |sample: &CellSample| {
            let rect = sample.before.rect();
            if is_all { rect } else { without_rim(rect, &registration) }
        };
        let moved: Vec<_> = samples.iter().map(rect_of).collect();
        let moved: Vec<_> = moved
            .into_iter()
            .map(|rect| async move {
                for_the_last_time(rect).read(&plan.grid, after, &scene_pair.after_bands, rect, &registration).await
            })
            .collect();
        let mut moved = futures::stream::iter(moved).buffered(at_once);
        for sample in &mut samples {
            let Some(read) = moved.try_next().instrument(tracing::info_span!("fetch")).await? else { break };
            stats.add(read.fetched.into());
            *sample = CellSample { before: sample.before.crop(read.window.rect()), after: read.window };
        }
    }
    let (grid, detector) = (plan.grid.clone(), plan.detector.clone());
    let bytes = context
        .compute(move || {
            let _span = tracing::info_span!("fit").entered();
            proto::objects::encode_calibration(&calibrate::fit(&samples, &grid, registration, &detector))
        })
        .await;
    context.commit(&format!("stages/calibrations/{}", safe_key(&scene_pair.key)), bytes, stats).await
}

/// How many squares are wanted, and those of the overlap that are looked at, in order: cells of a lattice that begins at the
/// earlier scene's `corner`. So do the blocks of its file, and a square that begins with a block touches one of them where another
/// would touch four. What is left of a cell at the edge of the overlap counts, too: a small scene is its own sample.
fn sample(overlap: PixelRect, corner: [i32; 2], bands: u64) -> (usize, Vec<PixelRect>) {
    let wanted = sampled_cells(overlap, bands);
    let looked_at = usize::try_from(wanted * TRIES).unwrap_or(usize::MAX);
    let [rows, cols] = corner.map(|at| (at + CELL_PX / 2).rem_euclid(CELL_PX) - CELL_PX / 2);
    let square = |cell: Cell| cell.rect().moved(rows, cols).intersection(&overlap);
    // The smallest hashes, without sorting (or keeping) all cells of a large scene.
    let mut smallest: std::collections::BTreeSet<(u64, Cell)> = std::collections::BTreeSet::new();
    for cell in overlap.moved(-rows, -cols).cells() {
        smallest.insert((cell.hash(), cell));
        if smallest.len() > looked_at {
            smallest.pop_last();
        }
    }
    let squares = smallest.into_iter().filter_map(|(_, cell)| square(cell));
    (usize::try_from(wanted).unwrap_or(usize::MAX), squares.collect())
}

/// How many squares are read at the same time: from afar all wait for the same answer, so as many as fit into the bytes that the job was
/// admitted with beside its sample.
fn cells_at_once(bytes: u64, square: u64) -> usize {
    usize::try_from(bytes / square.max(1)).unwrap_or(MOST_AT_ONCE).clamp(1, MOST_AT_ONCE)
}

/// The next squares, as many as are still wanted and no more: what is read in vain would be fetched in vain. Slivers come beside them:
/// most are what the overlap is estimated too large by, where nothing is to be fetched, and a round of reads that found nothing would
/// wait for the store as long as any.
fn next_squares(candidates: &mut impl Iterator<Item = PixelRect>, wanted: usize) -> Vec<PixelRect> {
    let is_sliver = |square: &PixelRect| square.rows().min(square.cols()) < SLIVER_PX;
    let (mut next, mut whole) = (Vec::new(), 0);
    while whole < wanted
        && let Some(square) = candidates.next()
    {
        whole += usize::from(!is_sliver(&square));
        next.push(square);
    }
    next
}

/// The part of a square whose pixels are found, moved and weighed with their neighbours, in the blocks that the whole square was found
/// in, where both begin together. Without that, a shift by a tenth of a pixel would have each square read the blocks all around it.
/// A square that is all rim stays as it is.
fn without_rim(square: PixelRect, registration: &Registration) -> PixelRect {
    let (first, last) = ((square.row0, square.col0), (square.row1 - 1, square.col1 - 1));
    let corners = [first, (first.0, last.1), (last.0, first.1), last];
    let shifts = corners.into_iter().flat_map(|(row, col)| {
        let (row, col) = (f64::from(row), f64::from(col));
        let moved = registration.apply(row, col);
        [(moved.0 - row).abs(), (moved.1 - col).abs()]
    });
    let rim = shifts.fold(0.0, f64::max).ceil() as i32;
    let inner = square.grown(-rim.saturating_add(KERNEL_RIM_PX).min(CELL_PX));
    if inner.is_empty() { square } else { inner }
}

/// Whether blocks of the sample are to wait for their tiles. Where it is little of the scenes, reading them again costs less than
/// the memory.
fn is_worth_keeping(overlap: PixelRect, wanted: usize) -> bool {
    overlap.pixels() / (CELL_PX as usize * CELL_PX as usize) < wanted * LITTLE
}

fn has_common_ground(before: &ReadScene, after: &ReadScene) -> bool {
    let states = before.window.state.data().iter().zip(after.window.state.data());
    let common = states.filter(|(a, b)| **a == PixelState::Valid && **b == PixelState::Valid).count();
    common > 0 && common * LEAST_COMMON >= before.window.rect().pixels()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: fn(i32) -> PixelRect = |cells| PixelRect::new(-700, 300, -700 + cells * 512, 300 + cells * 512);

    #[test]
    fn a_sixteenth_of_the_cells_is_sampled_and_at_least_sixteen_and_at_most_thirty_two() {
        // A rectangle that is not aligned touches one more cell in each direction.
        assert_eq!(sample(SIDE(2), [0, 512], 8).1.len(), 9);
        assert_eq!(sample(SIDE(6), [0, 0], 8).0, 16);
        assert_eq!(sample(SIDE(19), [0, 0], 6).0, 25);
        let (wanted, squares) = sample(SIDE(300), [0, -1024], 6);
        assert_eq!((wanted, squares.len()), (29, 29 * 4));
        // Twenty bands: fewer cells, so that the sample stays within its bytes.
        let (wanted, _) = sample(SIDE(300), [0, 0], 20);
        assert!(wanted as u64 * 512 * 512 * 82 <= 192 << 20 && wanted >= 8, "{wanted}");
        // Which cells does not depend on what else there is: the smallest hashes of the overlap.
        let hashes: Vec<u64> = squares.iter().map(|square| Cell::of(square.row1 - 1, square.col1 - 1).hash()).collect();
        assert!(SIDE(300).cells().filter(|cell| cell.hash() < hashes[29 * 4 - 1]).count() == 29 * 4 - 1);
        assert!(hashes.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn as_many_squares_are_read_at_once_as_fit_beside_the_sample_and_one_always() {
        assert_eq!([0, 99, 100, 799, u64::MAX].map(|bytes| cells_at_once(bytes, 100)), [1, 1, 1, 7, 32]);
        assert_eq!(cells_at_once(5, 0), 5);
    }

    #[test]
    fn blocks_of_a_sample_wait_for_their_tiles_where_it_is_much_of_the_scenes() {
        // All of them, a seventh, a sixteenth: as large as the sample may be, and a little less than the estimate says.
        for (cells, waits) in [(4, true), (11, true), (16, false)] {
            let wanted = sample(SIDE(cells), [0, 0], 8).0;
            assert_eq!(is_worth_keeping(SIDE(cells).grown(-2), wanted), waits, "{cells}");
        }
    }

    #[test]
    fn slivers_come_beside_the_squares_that_are_wanted() {
        let square = |rows: i32, cols: i32| PixelRect::new(0, 0, rows, cols);
        let mut candidates =
            [square(2, 512), square(512, 512), square(512, 7), square(8, 8), square(512, 512)].into_iter();
        assert_eq!(next_squares(&mut candidates, 2).len(), 4);
        assert_eq!(next_squares(&mut candidates, 0), []);
        assert_eq!(next_squares(&mut candidates, 3), [square(512, 512)]);
    }

    #[test]
    fn a_rim_is_as_wide_as_the_shift_and_the_kernel() {
        let square = PixelRect::new(-512, 1024, 0, 1536);
        let shifted = |shift_row, shift_col| Registration { shift_row, shift_col, ..Registration::default() };
        assert_eq!(without_rim(square, &shifted(-100, 0)), square.grown(-5));
        assert_eq!(without_rim(square, &shifted(1024, 2049)), square.grown(-7));
        // A turn moves what is far from its centre.
        let turned = Registration { linear: [0, 1 << 20, -(1 << 20), 0], ..Registration::default() };
        assert_eq!(without_rim(square, &turned), square.grown(-6));
        // Of a thin rest nothing would be left.
        let rest = PixelRect::new(0, 0, 10, 512);
        assert_eq!(without_rim(rest, &shifted(100, 0)), rest);
        assert_eq!(without_rim(square, &shifted(i32::MAX, 0)), square);
    }

    #[test]
    fn squares_begin_where_blocks_of_the_earlier_scene_do_and_cover_the_overlap_once() {
        for corner in [[-700, 300], [-699, 44], [77, -12_345], [0, 0]] {
            let (_, squares) = sample(SIDE(3), corner, 8);
            assert_eq!(squares.iter().map(PixelRect::pixels).sum::<usize>(), SIDE(3).pixels());
            for (index, square) in squares.iter().enumerate() {
                let begins = |at: i32, corner: i32, edge: i32| at == edge || (at - corner) % 512 == 0;
                assert!(begins(square.row0, corner[0], SIDE(3).row0) && begins(square.col0, corner[1], SIDE(3).col0));
                assert!(square.rows() <= 512 && square.cols() <= 512);
                assert!(squares[..index].iter().all(|other| other.intersection(square).is_none()));
            }
        }
        // The whole scene, from its corner on, and the little more that is estimated: no square of the scene is cut.
        let (_, squares) = sample(SIDE(3).grown(2), [-700, 300], 8);
        assert_eq!(squares.iter().filter(|square| square.pixels() == 512 * 512).count(), 9);
        // What is smaller than a cell, and cut by the lattice, is not lost.
        assert!(!sample(PixelRect::new(0, 0, 3, 40), [1, 20], 8).1.is_empty());
    }
}
