//! One file of a scene over a rectangle of the grid.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use survey::calibration::Registration;
use survey::failure::FailureClass;
use survey::findings::UnreadableNote;
use survey::grid::{GeoTransform, Grid, PixelRect};
use survey::raster::{BandPlane, PixelState, Plane};
use survey::scene::{Asset, Scene, SceneBand, SceneMask};
use tracing::Instrument;

use super::lattice::Lattice;
use super::opened::{OpenFile, cause_of, geometry_of, place_of};
use super::{Fetched, Inner, Tiles, UnreadablePart, Watcher};
use crate::blocks::Decoded;
use crate::cog::{Block, BlockIndex, Level, Raster};
use crate::crs::{Crs, Transformer};
use crate::error::ImageryError;
use crate::store::RemoteFile;
use crate::warp::Warp;
use crate::warp::geometry::Sampling;
use crate::warp::mask_plane::{Lookup, MaskPlane, NoMask, PixelGrid};
use crate::warp::source::{MaskRows, Region};
use crate::warp::values::{BandSource, Scaling};

/// For each thread two jobs may be next in line, with two scenes each: what is fetched ahead for all of them takes at most half of what
/// is kept of blocks.
const AHEAD_SHARE: u64 = 8;

/// A batch holds at most so many times the blocks that may be in flight for it.
const BATCH_HERE: usize = 4;

/// The bands of one file over a rectangle of the grid.
pub(super) struct AssetRead {
    pub(super) bands: Vec<BandPlane>,
    pub(super) state: Plane<PixelState>,
    pub(super) unreadable: Vec<UnreadablePart>,
    pub(super) fetched: Fetched,
}

/// Which bands of which file over which rectangle.
pub(super) struct AssetRequest {
    pub(super) grid: Grid,
    pub(super) scene: Arc<Scene>,
    pub(super) asset: u16,
    pub(super) bands: Vec<SceneBand>,
    pub(super) rect: PixelRect,
    pub(super) correction: Registration,
    pub(super) watcher: Watcher,
    pub(super) tiles: Option<Tiles>,
}

impl AssetRequest {
    /// The read of a file that holds nothing of the rectangle.
    fn nothing(&self) -> AssetRead {
        AssetRead {
            bands: vec![Plane::filled(self.rect, 0.0).into(); self.bands.len()],
            state: Plane::filled(self.rect, PixelState::NoScene),
            unreadable: Vec::new(),
            fetched: Fetched::default(),
        }
    }
}

/// The image that a mask is read for: its pixels `over` of a level.
#[derive(Clone, Copy)]
struct MaskedImage<'a> {
    asset: &'a Asset,
    source: Source<'a>,
    level_index: usize,
    over: Region,
}

/// A mask that was read, and the pixels of the image's level for which it could not be.
struct MaskRead {
    rows: Arc<dyn MaskRows>,
    failed: Vec<(Region, String)>,
    cost: Fetched,
}

impl MaskRead {
    fn none(over: Region, cause: String) -> Self {
        Self { rows: Arc::new(NoMask), failed: vec![(over, cause)], cost: Fetched::default() }
    }
}

/// A block with its place in the level; or the cause, in words, why it cannot be read.
struct PlacedBlock {
    region: Region,
    outcome: Result<Arc<Block>, String>,
}

/// An open file.
#[derive(Clone, Copy)]
struct Source<'a> {
    id: u64,
    raster: &'a Raster,
    file: &'a RemoteFile,
}

impl Inner {
    /// Reads the bands of one file. Boxed, as the futures below: the compiler cannot see through all of them at once that
    /// they are `Send`.
    pub(super) fn read_asset<'a>(
        &'a self,
        request: &'a AssetRequest,
    ) -> BoxFuture<'a, Result<AssetRead, ImageryError>> {
        Box::pin(self.read_bands(request))
    }

    async fn read_bands(&self, request: &AssetRequest) -> Result<AssetRead, ImageryError> {
        let asset = asset_of(&request.scene, request.asset)?;
        let opened = self.files.open(asset).await?;
        let source = match opened.get() {
            Some(OpenFile::Ready { id, raster, file }) => Source { id: *id, raster, file },
            Some(OpenFile::Broken(error)) => return all_unreadable(request, asset, error),
            None => return Err(not_open(asset)),
        };
        let raster = source.raster;
        if let Some(error) = lacking_band(request, asset, raster) {
            return all_unreadable(request, asset, &error);
        }
        let geometry = geometry_of(&request.grid, asset, Some(raster))?;
        let sizes: Vec<(u32, u32)> = raster.levels().iter().map(|level| (level.width, level.height)).collect();
        let (correction, rect) = (request.correction, request.rect);
        let warp = self.on_pool(move || Warp::new(&geometry, &sizes, &correction, rect).map(Arc::new)).await;
        let Some(warp) = warp else { return Ok(request.nothing()) };
        let level_index = warp.sampling.level;
        let (Some((region, footprints)), Some(level)) = (warp.needed(), raster.levels().get(level_index)) else {
            return Ok(request.nothing());
        };

        let mut cost = Fetched::default();
        let mut failed: Vec<(Region, String)> = Vec::new();
        let sources = request.bands.iter().map(|band| band_source(band, raster)).collect();
        let alpha = raster.info().alpha_band;
        let blocks = blocks_of(level, warp.sampling.average, footprints);
        let bytes = block_bytes(raster, level);
        let all_bytes = bytes.saturating_mul(blocks.len() as u64);
        let mut builder = warp.builder(region, (level.width, level.height), all_bytes, sources, alpha);
        let mut masks: Vec<Arc<dyn MaskRows>> = Vec::new();
        for mask in &request.scene.masks {
            let image = MaskedImage { asset, source, level_index, over: builder.pixels() };
            let read = self.read_mask(request, image, mask).await?;
            cost += read.cost;
            failed.extend(read.failed);
            masks.push(read.rows);
        }
        let (most, mut left) = (self.in_flight.batch(bytes), &blocks[..]);
        while let Some((batch, missing, rest)) = self.batch(source.id, level_index, left, most) {
            left = rest;
            let held = self.in_flight.take(bytes.saturating_mul(missing as u64)).await;
            let decoded = self.blocks(source, level_index, batch, &mut cost).await;
            let placed = place_blocks(level, batch, decoded)?;
            for block in &placed {
                if let Err(cause) = &block.outcome {
                    failed.push((block.region, cause.clone()));
                }
            }
            let masks = masks.clone();
            builder = self
                .on_pool(move || {
                    for block in placed {
                        match block.outcome {
                            Ok(decoded) => builder.add(decoded, block.region.x0, block.region.y0, &masks),
                            Err(_) => builder.add_unreadable(block.region),
                        }
                    }
                    builder
                })
                .await;
            drop(held);
            request.watcher.gets_on();
        }
        if let Some(tiles) = request.tiles {
            let Sampling { average, step, .. } = warp.sampling;
            let scale = [0, 1].map(|axis| step[axis] * f64::from(average[axis]));
            if let Some(lattice) = Lattice::new(&tiles, rect, region.times(average.map(i64::from)), scale) {
                let readers = |&index: &BlockIndex| Some((index, lattice.readers(region_of(level, index)?)));
                self.blocks.read(source.id, level_index, blocks.iter().filter_map(readers), tiles.then);
            }
        }
        let scene = request.scene.id.0.clone();
        let (resampled, unreadable) = self
            .on_pool(move || {
                let resampled = warp.resample(builder);
                let unreadable: Vec<UnreadablePart> = failed
                    .into_iter()
                    .map(|(region, cause)| UnreadablePart {
                        note: UnreadableNote { scene: scene.clone(), cause },
                        runs: warp.touching(region),
                    })
                    .filter(|part| !part.runs.is_empty())
                    .collect();
                (resampled, unreadable)
            })
            .await;
        request.watcher.gets_on();
        Ok(AssetRead { bands: resampled.bands, state: resampled.state, unreadable, fetched: cost })
    }

    /// Fetches and decodes the blocks that a read of the same will need, unless they would take too much of what is kept. Where
    /// they lie is an estimate: those around the corners and the middles of the sides of the rectangle.
    pub(super) async fn fetch_ahead(&self, request: &AssetRequest) -> Result<Fetched, ImageryError> {
        let asset = asset_of(&request.scene, request.asset)?;
        let opened = self.files.open(asset).await?;
        let mut cost = Fetched::default();
        let Some(OpenFile::Ready { id, raster, file }) = opened.get() else { return Ok(cost) };
        let source = Source { id: *id, raster, file };
        let geometry = geometry_of(&request.grid, asset, Some(raster))?;
        let sizes: Vec<(u32, u32)> = raster.levels().iter().map(|level| (level.width, level.height)).collect();
        let Some(sampling) = geometry.scale().map(|scale| Sampling::choose(scale, &sizes)) else { return Ok(cost) };
        let (Some(level), Some(region)) =
            (raster.levels().get(sampling.level), geometry.around(&request.correction, &sampling, request.rect))
        else {
            return Ok(cost);
        };
        let blocks = blocks_of(level, sampling.average, &[region]);
        let bytes = block_bytes(raster, level);
        let missing =
            self.blocks.missing(source.id, sampling.level, &blocks).into_iter().filter(|&missing| missing).count();
        let threads = self.pool.as_ref().map_or_else(rayon::current_num_threads, |pool| pool.current_num_threads());
        if bytes.saturating_mul(missing as u64) > self.blocks.capacity() / (AHEAD_SHARE * threads.max(1) as u64) {
            return Ok(cost);
        }
        let (most, mut left) = (self.in_flight.batch(bytes), &blocks[..]);
        while let Some((batch, missing, rest)) = self.batch(source.id, sampling.level, left, most) {
            left = rest;
            let _held = self.in_flight.take(bytes.saturating_mul(missing as u64)).await;
            self.blocks(source, sampling.level, batch, &mut cost).await;
            request.watcher.gets_on();
        }
        Ok(cost)
    }

    /// Reads a mask over the pixels of an image's level. A mask in the image's own file is read from the same level; one
    /// of its own from the full resolution, since overviews of classes may be averages.
    fn read_mask<'a>(
        &'a self,
        request: &'a AssetRequest,
        image: MaskedImage<'a>,
        mask: &'a SceneMask,
    ) -> BoxFuture<'a, Result<MaskRead, ImageryError>> {
        Box::pin(async move {
            let asset = asset_of(&request.scene, mask.asset)?;
            let opened = self.files.open(asset).await?;
            let is_own = mask.asset == request.asset;
            let (source, level_index) = match opened.get() {
                _ if is_own => (image.source, image.level_index),
                Some(OpenFile::Ready { id, raster, file }) => (Source { id: *id, raster, file }, 0),
                Some(OpenFile::Broken(error)) => {
                    tracing::warn!(scene = %request.scene.id, error = %error, "mask cannot be read");
                    return Ok(MaskRead::none(image.over, format!("mask: {}", cause_of(error))));
                }
                None => return Err(not_open(asset)),
            };
            let (Some(level), Some(image_level)) =
                (source.raster.levels().get(level_index), image.source.raster.levels().get(image.level_index))
            else {
                return Err(not_open(asset));
            };
            if usize::from(mask.index) >= source.raster.info().band_count {
                let cause = format!("mask: band {} is named and the file has fewer", mask.index + 1);
                return Ok(MaskRead::none(image.over, cause));
            }
            let (image_crs, image_transform) = place_of(image.asset, Some(image.source.raster));
            let (mask_crs, mask_transform) = place_of(asset, Some(source.raster));
            let image_grid = pixel_grid(image_transform, image_level);
            let mask_grid = pixel_grid(mask_transform, level);
            let projection = if is_own || image_crs.trim().eq_ignore_ascii_case(mask_crs.trim()) {
                None
            } else {
                Some(Transformer::new(&Crs::parse(image_crs)?, &Crs::parse(mask_crs)?)?)
            };
            let over = image.over;
            let lookup = self.on_pool(move || Lookup::new(over, &image_grid, &mask_grid, projection.as_ref())).await;
            let region = lookup.needed((level.width, level.height));
            let mut plane = MaskPlane::new(over, lookup, region, usize::from(mask.index), mask.meaning);
            let (mut cost, mut failed) = (Fetched::default(), Vec::new());
            let blocks = if region.is_empty() { Vec::new() } else { blocks_of(level, [1, 1], &[region]) };
            let bytes = block_bytes(source.raster, level);
            let (most, mut left) = (self.in_flight.batch(bytes), &blocks[..]);
            while let Some((batch, missing, rest)) = self.batch(source.id, level_index, left, most) {
                left = rest;
                let held = self.in_flight.take(bytes.saturating_mul(missing as u64)).await;
                let decoded = self.blocks(source, level_index, batch, &mut cost).await;
                let placed = place_blocks(level, batch, decoded)?;
                let (with_blocks, unreadable) = self.on_pool(move || add_mask_blocks(plane, placed)).await;
                plane = with_blocks;
                failed.extend(unreadable);
                drop(held);
                request.watcher.gets_on();
            }
            Ok(MaskRead { rows: Arc::new(plane), failed, cost })
        })
    }

    /// The first of some blocks that are read together, and how many of them are to be fetched: as many as may be in flight for one
    /// read, and a few times as many that are here now or on their way. The others are split off when these have been read: what is
    /// here may have left by then.
    fn batch<'a>(
        &self,
        file: u64,
        level: usize,
        blocks: &'a [BlockIndex],
        most: usize,
    ) -> Option<(&'a [BlockIndex], usize, &'a [BlockIndex])> {
        let near = blocks.get(..most.saturating_mul(BATCH_HERE).min(blocks.len()))?;
        let (mut missing, mut length) = (0, 0);
        for is_missing in self.blocks.missing(file, level, near) {
            if is_missing && missing == most {
                break;
            }
            missing += usize::from(is_missing);
            length += 1;
        }
        let (batch, rest) = blocks.split_at_checked(length).filter(|(batch, _)| !batch.is_empty())?;
        Some((batch, missing, rest))
    }

    async fn blocks(
        &self,
        source: Source<'_>,
        level: usize,
        blocks: &[BlockIndex],
        cost: &mut Fetched,
    ) -> Vec<Decoded> {
        let fetched = [AtomicU64::new(0), AtomicU64::new(0)];
        let fetch = |wanted: Vec<BlockIndex>| {
            let fetched = &fetched;
            async move {
                let bytes: u64 = wanted.iter().map(|&block| encoded_bytes(source.raster, level, block)).sum();
                fetched[0].fetch_add(bytes, Ordering::Relaxed);
                fetched[1].fetch_add(wanted.len() as u64, Ordering::Relaxed);
                source.raster.read_blocks(source.file, level, &wanted).await
            }
        };
        let span = tracing::debug_span!("decode", level, blocks = blocks.len());
        let decoded = self.blocks.get(source.id, level, blocks, fetch).instrument(span).await;
        let [bytes, count] = fetched.map(AtomicU64::into_inner);
        cost.bytes += bytes;
        cost.blocks += count;
        decoded
    }

    /// Runs pixel work on rayon, so that it does not keep tokio's threads from fetching. A panic goes on in the caller.
    async fn on_pool<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let span = tracing::Span::current();
        let task = move || {
            let _entered = span.enter();
            // Nobody may wait any more: then the outcome is not needed.
            let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
        };
        match &self.pool {
            Some(pool) => pool.spawn(task),
            None => rayon::spawn(task),
        }
        match receiver.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => resume_unwind(Box::new("the pool of threads has ended")),
        }
    }
}

fn asset_of(scene: &Scene, index: u16) -> Result<&Asset, ImageryError> {
    scene.assets.get(usize::from(index)).ok_or_else(|| ImageryError::Document {
        href: format!("scene {}", scene.id),
        cause: format!("asset {index} is named and it has {}", scene.assets.len()),
        mend: "plan the survey again".into(),
    })
}

fn not_open(asset: &Asset) -> ImageryError {
    ImageryError::Transient { href: asset.href.clone(), cause: "the file was closed meanwhile".into() }
}

fn band_source(band: &SceneBand, raster: &Raster) -> BandSource {
    let mut nodata: Vec<f64> = raster.info().nodata.into_iter().chain(band.nodata).collect();
    nodata.dedup();
    BandSource { index: usize::from(band.index), scaling: Scaling { scale: band.scale, offset: band.offset }, nodata }
}

/// Decoded bytes of a whole block.
fn block_bytes(raster: &Raster, level: &Level) -> u64 {
    let samples = u64::from(level.block_width) * u64::from(level.block_height);
    samples.saturating_mul((raster.info().band_count * raster.info().data_type.size()) as u64).max(1)
}

/// Bytes of a block in the file.
fn encoded_bytes(raster: &Raster, level: usize, block: BlockIndex) -> u64 {
    let Some(level) = raster.levels().get(level) else { return 0 };
    let places = (0..level.layout.planes()).filter_map(|plane| level.layout.place(block.row, block.col, plane));
    places.map(|(_, count)| count).sum()
}

/// The blocks that the working pixels `footprints` need, in row-major order.
fn blocks_of(level: &Level, average: [u32; 2], footprints: &[Region]) -> Vec<BlockIndex> {
    let scaled = |from: i64, to: i64, average: u32| {
        let clamp = |value: i64| u32::try_from(value.saturating_mul(i64::from(average)).max(0)).unwrap_or(u32::MAX);
        clamp(from)..clamp(to)
    };
    let mut blocks: Vec<BlockIndex> = Vec::new();
    for region in footprints {
        let rows = scaled(region.y0, region.y1, average[1]);
        let cols = scaled(region.x0, region.x1, average[0]);
        blocks.extend(level.blocks_in(rows, cols));
    }
    blocks.sort_unstable_by_key(|block| (block.row, block.col));
    blocks.dedup();
    blocks
}

/// The pixels of a level that a block holds.
fn region_of(level: &Level, block: BlockIndex) -> Option<Region> {
    let (row, col, rows, cols) = level.block_rect(block)?;
    let (x0, y0) = (i64::from(col), i64::from(row));
    Some(Region { x0, y0, x1: x0 + i64::from(cols), y1: y0 + i64::from(rows) })
}

/// Blocks and their places. A failure that another attempt may mend fails the whole read.
fn place_blocks(level: &Level, blocks: &[BlockIndex], decoded: Vec<Decoded>) -> Result<Vec<PlacedBlock>, ImageryError> {
    let mut placed = Vec::with_capacity(blocks.len());
    for (&index, decoded) in blocks.iter().zip(decoded) {
        let Some(region) = region_of(level, index) else { continue };
        let outcome = match decoded {
            Ok(block) => Ok(block),
            Err(error) if error.class() == FailureClass::BadInput => Err(cause_of(&error)),
            Err(error) => return Err(error),
        };
        placed.push(PlacedBlock { region, outcome });
    }
    Ok(placed)
}

/// The mask with more of its blocks, and the pixels of the image that depend on those that cannot be read.
fn add_mask_blocks(mut plane: MaskPlane, placed: Vec<PlacedBlock>) -> (MaskPlane, Vec<(Region, String)>) {
    let mut failed = Vec::new();
    for block in placed {
        match block.outcome {
            Ok(decoded) => plane.add(&decoded, block.region.x0, block.region.y0),
            Err(cause) => failed.push((plane.add_unreadable(block.region), format!("mask: {cause}"))),
        }
    }
    failed.retain(|(region, _)| !region.is_empty());
    (plane, failed)
}

/// The read of a file of which nothing can be read: where it would lie, pixels are unreadable.
fn all_unreadable(request: &AssetRequest, asset: &Asset, error: &ImageryError) -> Result<AssetRead, ImageryError> {
    tracing::warn!(scene = %request.scene.id, error = %error, "file cannot be read");
    let rect = request.rect;
    let geometry = geometry_of(&request.grid, asset, None)?;
    let size = (asset.width, asset.height);
    let warp = Warp::new(&geometry, &[size], &request.correction, rect);
    let runs = warp.map(|warp| warp.unreadable(size)).unwrap_or_default();
    let mut read = request.nothing();
    for run in &runs {
        let row = read.state.row_mut(run.row);
        for col in run.col0..run.col1 {
            row[(col - rect.col0) as usize] = PixelState::Unreadable;
        }
    }
    if !runs.is_empty() {
        let note = UnreadableNote { scene: request.scene.id.0.clone(), cause: cause_of(error) };
        read.unreadable.push(UnreadablePart { note, runs });
    }
    Ok(read)
}

/// The error of a band that is named and that the file does not have.
fn lacking_band(request: &AssetRequest, asset: &Asset, raster: &Raster) -> Option<ImageryError> {
    let count = raster.info().band_count;
    let band = request.bands.iter().find(|band| usize::from(band.index) >= count)?;
    Some(ImageryError::Corrupt {
        href: asset.href.clone(),
        cause: format!("band {} ({}) is named and the file has {count}", band.index + 1, band.name),
    })
}

fn pixel_grid(transform: GeoTransform, level: &Level) -> PixelGrid {
    PixelGrid { transform, ratio: [level.col_ratio, level.row_ratio] }
}
