//! Blocks of a raster: which bytes to fetch, and their decoding beside the asynchronous runtime.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, Shared};
use futures::{FutureExt, StreamExt};

use crate::ImageryError;
use crate::cog::codec;
use crate::cog::fault::{Checked, Fault};
use crate::cog::header::{Compression, Layout, Level, Raster};
use crate::cog::samples::{Bounds, Samples};
use crate::store::RemoteFile;

/// Bytes of a request to a folder that joins blocks, where they touch each other: one for many gains nothing there, and a block waits
/// for the bytes of all.
const NEAR_BYTES: u64 = 1 << 20;

/// A block of a level, by its row and column in the grid of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockIndex {
    /// Row of blocks, from the top.
    pub row: u32,
    /// Column of blocks, from the left.
    pub col: u32,
}

/// The pixels of a block, clipped at the raster's edge.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Rows.
    pub rows: u32,
    /// Columns.
    pub cols: u32,
    /// Row-major samples of each band.
    pub bands: Vec<Samples>,
    /// By band, between what its samples lie, if that is known and all are finite.
    pub bounds: Vec<Option<Bounds>>,
    /// The file's own mask, row-major: 0 where a pixel is masked, 255 where it is valid.
    pub mask: Option<Vec<u8>>,
}

impl Raster {
    /// Reads blocks of a level, all bands together and with the mask, in the order asked for. Neighbouring blocks
    /// share requests; decoding runs on rayon's threads.
    ///
    /// # Errors
    /// Per block: what the store says, or what is wrong with the block's bytes. A panic in a codec is such an error.
    pub async fn read_blocks(
        &self,
        file: &RemoteFile,
        level: usize,
        blocks: &[BlockIndex],
    ) -> Vec<Result<Block, ImageryError>> {
        let href: Arc<str> = file.label().into();
        let Some(level) = self.levels().get(level) else {
            let fault = Fault::corrupt(format!("it has no level {level}"));
            return blocks.iter().map(|_| Err(fault.clone().of_file(&href))).collect();
        };
        let plans: Vec<Checked<BlockPlan>> = blocks.iter().map(|&block| self.plan(level, block)).collect();
        let ranges = plans.iter().flatten().flat_map(|plan| &plan.pieces).filter_map(|piece| piece.range.clone());
        let (gap, most, at_once) = if file.is_in_folder() {
            (0, NEAR_BYTES, rayon::current_num_threads().min(self.limits.concurrency))
        } else {
            (self.limits.gap_bytes, self.limits.request_bytes, self.limits.concurrency)
        };
        let requests = Requests::join(file, ranges.collect(), gap, most);
        let nodata = self.info().nodata;
        let jobs = plans.into_iter().zip(blocks.iter().copied()).map(|(plan, block)| {
            let (requests, href) = (&requests, href.clone());
            async move {
                let named = |fault: Fault| fault.at(&format!("block ({}, {})", block.row, block.col)).of_file(&href);
                let plan = plan.map_err(named)?;
                let mut pieces = Vec::with_capacity(plan.pieces.len());
                for piece in &plan.pieces {
                    pieces.push(match &piece.range {
                        Some(range) => Some(requests.bytes(range).await?),
                        None => None,
                    });
                }
                decode_on_rayon(plan, pieces, nodata).await.map_err(named)
            }
        });
        futures::stream::iter(jobs).buffered(at_once.max(1)).collect().await
    }

    /// What to fetch for a block.
    fn plan(&self, level: &Level, block: BlockIndex) -> Checked<BlockPlan> {
        let (row0, col0, rows, cols) = level.block_rect(block).ok_or_else(|| {
            Fault::corrupt(format!("the level has {} x {} blocks", level.blocks_down, level.blocks_across))
        })?;
        let mut pieces = Vec::new();
        for plane in 0..level.layout.planes() {
            pieces.push(self.piece(&level.layout, Part::Plane, block, plane)?);
        }
        if let Some(mask) = &level.mask {
            // The mask may be cut into blocks of another size.
            for row in row0 / mask.block_height..(row0 + rows).div_ceil(mask.block_height) {
                for col in col0 / mask.block_width..(col0 + cols).div_ceil(mask.block_width) {
                    pieces.push(self.piece(mask, Part::Mask, BlockIndex { row, col }, 0)?);
                }
            }
        }
        Ok(BlockPlan { row0, col0, rows, cols, layout: level.layout.clone(), mask: level.mask.clone(), pieces })
    }

    fn piece(&self, layout: &Layout, part: Part, block: BlockIndex, plane: usize) -> Checked<Piece> {
        let range = match layout.place(block.row, block.col, plane) {
            None => None,
            Some((offset, count)) => {
                let expected = layout.row_bytes().saturating_mul(layout.stored_rows(block.row).into());
                let count = match layout.compression {
                    // What comes after the pixels is of no interest.
                    Compression::None => count.min(expected),
                    _ => count,
                };
                // No codec makes blocks much larger than they are.
                let most = expected.saturating_mul(2).saturating_add(1 << 20);
                if count > most {
                    return Err(Fault::corrupt(format!("it takes {count} bytes in the file for {expected} of pixels")));
                }
                let end = offset.checked_add(count).filter(|&end| end <= self.file_size && offset > 0);
                let end = end.ok_or_else(|| {
                    let size = self.file_size;
                    Fault::corrupt(format!("{count} bytes at {offset} lie beyond the end of the file ({size} bytes)"))
                })?;
                Some(offset..end)
            }
        };
        Ok(Piece { part, block, range })
    }
}

/// What a piece of a block holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Plane,
    Mask,
}

/// A range of the file that is decoded by itself; without a range it is sparse.
struct Piece {
    part: Part,
    /// The block, in the grid of the layout that it belongs to.
    block: BlockIndex,
    range: Option<Range<u64>>,
}

/// All that is needed to decode a block, but its bytes.
struct BlockPlan {
    row0: u32,
    col0: u32,
    rows: u32,
    cols: u32,
    layout: Arc<Layout>,
    mask: Option<Arc<Layout>>,
    pieces: Vec<Piece>,
}

/// A request that several tasks can wait for.
type Request<'a> = Shared<BoxFuture<'a, Result<Bytes, ImageryError>>>;

/// Requests that blocks share. Each starts when the first block wants it, and is made once.
struct Requests<'a> {
    /// By first byte; they don't overlap.
    by_start: BTreeMap<u64, Request<'a>>,
}

impl<'a> Requests<'a> {
    /// Joins ranges that are at most `gap` bytes apart, as long as the request stays below `most` bytes.
    fn join(file: &'a RemoteFile, mut ranges: Vec<Range<u64>>, gap: u64, most: u64) -> Self {
        ranges.sort_by_key(|range| (range.start, range.end));
        let mut joined: Vec<Range<u64>> = Vec::new();
        for range in ranges {
            match joined.last_mut() {
                Some(last)
                    if range.start < last.end
                        || (range.start <= last.end.saturating_add(gap)
                            && range.end.saturating_sub(last.start) <= most) =>
                {
                    last.end = last.end.max(range.end);
                }
                _ => joined.push(range),
            }
        }
        let by_start =
            joined.into_iter().map(|range| (range.start, async move { file.range(range).await }.boxed().shared()));
        Self { by_start: by_start.collect() }
    }

    /// The bytes of one of the ranges that were joined.
    async fn bytes(&self, range: &Range<u64>) -> Result<Bytes, ImageryError> {
        let Some((&start, request)) = self.by_start.range(..=range.start).next_back() else {
            return Ok(Bytes::new());
        };
        let bytes = request.clone().await?;
        let from = usize::try_from(range.start - start).unwrap_or(usize::MAX);
        let to = usize::try_from(range.end - start).unwrap_or(usize::MAX);
        // The file gives all bytes of a range or an error; an empty slice fails in the decoder.
        Ok(if from <= to && to <= bytes.len() { bytes.slice(from..to) } else { Bytes::new() })
    }
}

/// Decodes on rayon's threads, so that the runtime's stay free; a panic becomes an error.
async fn decode_on_rayon(plan: BlockPlan, pieces: Vec<Option<Bytes>>, nodata: Option<f64>) -> Checked<Block> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    rayon::spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(|| decode(&plan, &pieces, nodata)));
        let result = result.unwrap_or_else(|_| Err(Fault::corrupt("its codec broke down on it")));
        // Nobody may be waiting any more.
        let _ = sender.send(result);
    });
    receiver.await.unwrap_or_else(|_| Err(Fault::corrupt("it was not decoded")))
}

fn decode(plan: &BlockPlan, pieces: &[Option<Bytes>], nodata: Option<f64>) -> Checked<Block> {
    let (rows, cols) = (plan.rows, plan.cols);
    let pixels = (rows as usize).saturating_mul(cols as usize);
    let (mut bands, mut bounds) = (Vec::with_capacity(plan.layout.bands), Vec::with_capacity(plan.layout.bands));
    let mut mask = plan.mask.as_ref().map(|_| vec![0_u8; pixels]);
    for (piece, bytes) in plan.pieces.iter().zip(pieces) {
        match (piece.part, bytes) {
            (Part::Plane, Some(bytes)) => {
                let stored = plan.layout.stored_rows(piece.block.row);
                let plane = codec::decode_plane(&plan.layout, bytes, stored, rows, cols)?;
                plane.into_iter().for_each(|(samples, between)| {
                    bands.push(samples);
                    bounds.push(between);
                });
            }
            // As in GDAL, a sparse block is no data, or 0 where no value stands for that.
            (Part::Plane, None) => {
                let (kind, value) = (plan.layout.format.data_type, nodata.unwrap_or(0.0));
                bands.extend((0..plan.layout.bands_per_plane()).map(|_| Samples::filled(kind, value, pixels)));
                bounds.resize(bands.len(), None);
            }
            (Part::Mask, Some(bytes)) => {
                if let (Some(layout), Some(mask)) = (&plan.mask, &mut mask) {
                    let place = |fault: Fault| fault.at("mask");
                    paste_mask(plan, layout, piece.block, bytes, mask).map_err(place)?;
                }
            }
            // A sparse block of a mask masks all its pixels.
            (Part::Mask, None) => {}
        }
    }
    if bands.len() != plan.layout.bands || bands.iter().any(|band| band.len() != pixels) {
        return Err(Fault::corrupt("it decodes to the wrong number of samples"));
    }
    Ok(Block { rows, cols, bands, bounds, mask })
}

/// Decodes a block of the mask and copies what lies inside the block that is read.
fn paste_mask(plan: &BlockPlan, layout: &Layout, block: BlockIndex, bytes: &[u8], mask: &mut [u8]) -> Checked<()> {
    let (rows, cols) = (layout.rows(block.row), layout.cols(block.col));
    let decoded = codec::decode_plane(layout, bytes, layout.stored_rows(block.row), rows, cols)?;
    let Some((Samples::U8(values), _)) = decoded.into_iter().next() else {
        return Err(Fault::corrupt("it is not one band of bytes"));
    };
    let (mask_row0, mask_col0) = (block.row * layout.block_height, block.col * layout.block_width);
    let col_from = mask_col0.max(plan.col0);
    let col_to = (mask_col0 + cols).min(plan.col0 + plan.cols);
    for row in mask_row0.max(plan.row0)..(mask_row0 + rows).min(plan.row0 + plan.rows) {
        let at = |row0: u32, col0: u32, width: u32| {
            (row - row0) as usize * width as usize + col_from.saturating_sub(col0) as usize
        };
        let length = col_to.saturating_sub(col_from) as usize;
        let (from, to) = (at(mask_row0, mask_col0, cols), at(plan.row0, plan.col0, plan.cols));
        let source = values.get(from..from + length).unwrap_or_default();
        for (target, &value) in mask.get_mut(to..to + length).unwrap_or_default().iter_mut().zip(source) {
            *target = if value == 0 { 0 } else { u8::MAX };
        }
    }
    Ok(())
}
