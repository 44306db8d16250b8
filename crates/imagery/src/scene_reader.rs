//! Scenes on the survey's grid: files are opened once, blocks fetched and decoded once, pixels resampled once.

mod asset_read;
mod estimate;
mod extent;
mod in_flight;
mod lattice;
mod opened;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use survey::calibration::Registration;
use survey::findings::{Run, UnreadableNote};
use survey::grid::{Grid, PixelRect};
use survey::raster::{BandPlane, PixelState, Plane, SceneWindow};
use survey::scene::{BandName, Scene};
use survey::swath::Around;

use self::asset_read::AssetRequest;
pub use self::estimate::ReadCost;
pub use self::extent::{scene_corner, scene_rect};
use self::in_flight::InFlight;
use self::opened::Files;
use crate::blocks::BlockCache;
pub use crate::blocks::Then;
use crate::error::ImageryError;
use crate::store::Stores;
use crate::warp::both;

/// Files of a scene that are read at the same time.
pub(crate) const ASSETS_AT_ONCE: usize = 4;

/// Reads scenes. Cheap to clone; clones share open files and decoded blocks.
#[derive(Clone)]
pub struct SceneReader {
    inner: Arc<Inner>,
    watcher: Watcher,
    tiles: Option<Tiles>,
}

/// Tiles that are read: squares of a lattice, each with the same halo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    /// One of them, with its halo: that which is read, or of which a part is.
    pub one: PixelRect,
    /// Side of each, without the halo, pixels of the grid.
    pub side_px: i32,
    /// How many there are on its sides: those are expected to read what it reads.
    pub around: Around,
    /// What becomes of a block that all tiles have read which reach it.
    pub then: Then,
}

/// Who is told that a read gets on.
#[derive(Clone, Default)]
pub(crate) struct Watcher(Option<Arc<dyn Fn() + Send + Sync>>);

impl Watcher {
    pub(crate) fn gets_on(&self) {
        if let Some(told) = &self.0 {
            told();
        }
    }
}

struct Inner {
    files: Files,
    blocks: BlockCache,
    in_flight: InFlight,
    pool: Option<Arc<rayon::ThreadPool>>,
}

/// A scene over a rectangle of the grid.
#[derive(Clone, Debug)]
pub struct ReadScene {
    /// The pixels.
    pub window: SceneWindow,
    /// What could not be read, and which pixels of the window depend on it.
    pub unreadable: Vec<UnreadablePart>,
    /// What this read fetched; not what somebody had fetched before.
    pub fetched: Fetched,
}

/// What reading cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Encoded bytes that were fetched.
    pub bytes: u64,
    /// Blocks that were decoded.
    pub blocks: u64,
}

impl std::ops::AddAssign for Fetched {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.blocks += other.blocks;
    }
}

/// A file, or a block of one, that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadablePart {
    /// What and why, without the place where the file lies (that belongs to an execution, not to a result).
    pub note: UnreadableNote,
    /// The pixels of the window that depend on it, by row.
    pub runs: Vec<Run>,
}

impl SceneReader {
    /// A reader whose decoded blocks take at most about `cache_bytes`: most for blocks that are kept beside those in
    /// use, a part for those on their way.
    #[must_use]
    pub fn new(stores: Stores, cache_bytes: u64) -> Self {
        Self::of(stores, cache_bytes, None)
    }

    /// The same reader, whose pixels are resampled on `pool` instead of rayon's global pool.
    #[must_use]
    pub fn with_pool(stores: Stores, cache_bytes: u64, pool: Arc<rayon::ThreadPool>) -> Self {
        Self::of(stores, cache_bytes, Some(pool))
    }

    fn of(stores: Stores, cache_bytes: u64, pool: Option<Arc<rayon::ThreadPool>>) -> Self {
        let in_flight = InFlight::out_of(cache_bytes);
        let blocks = BlockCache::new(cache_bytes.saturating_sub(in_flight.bytes()));
        let inner = Inner { files: Files::new(stores), blocks, in_flight, pool };
        Self { inner: Arc::new(inner), watcher: Watcher::default(), tiles: None }
    }

    /// The same reader, whose reads call `gets_on` whenever a batch of blocks has been fetched and decoded, and when the
    /// pixels are resampled: a read that hangs does not.
    #[must_use]
    pub fn watched(&self, gets_on: impl Fn() + Send + Sync + 'static) -> Self {
        Self { watcher: Watcher(Some(Arc::new(gets_on))), ..self.clone() }
    }

    /// The same reader, for rectangles that are tiles: blocks that all tiles which reach them have read are the first to
    /// leave the cache. To be used once for each scene that a tile reads, for the last time that it does.
    #[must_use]
    pub fn of_tiles(&self, tiles: Tiles) -> Self {
        Self { tiles: Some(tiles), ..self.clone() }
    }

    /// Blocks that were fetched and decoded so far.
    #[must_use]
    pub fn blocks_decoded(&self) -> u64 {
        self.inner.blocks.decoded()
    }

    /// `bands` of `scene` over `rect` of `grid`; a pixel (row, col) is read where `correction` puts it. Each pixel is a
    /// function of the scene, the grid, the correction and its own place: never of the rectangle.
    ///
    /// # Errors
    /// What makes the whole read worthless: a store that fails after all retries ([`ImageryError::Transient`]), a file
    /// that is not the one planned with ([`ImageryError::Changed`]), a band that the scene lacks, an unknown CRS. A file
    /// or a block that cannot be read makes the pixels that depend on it [`PixelState::Unreadable`].
    #[tracing::instrument(name = "read", skip_all, fields(scene = %scene.id, rows = rect.rows(), cols = rect.cols()))]
    pub async fn read(
        &self,
        grid: &Grid,
        scene: &Scene,
        bands: &[BandName],
        rect: PixelRect,
        correction: &Registration,
    ) -> Result<ReadScene, ImageryError> {
        let requests = self.requests(grid, scene, bands, rect, correction)?;
        let reads = requests.into_iter().map(|(indices, request)| {
            let inner = Arc::clone(&self.inner);
            async move { inner.read_asset(&request).await }.boxed().map_ok(|read| (indices, read))
        });
        let reads: Vec<_> = futures::stream::iter(reads).buffered(ASSETS_AT_ONCE).try_collect().await?;

        let mut planes: Vec<Option<BandPlane>> = vec![None; bands.len()];
        let mut state: Option<Plane<PixelState>> = None;
        let (mut unreadable, mut fetched) = (Vec::new(), Fetched::default());
        for (indices, read) in reads {
            for (index, plane) in indices.into_iter().zip(read.bands) {
                if let Some(slot) = planes.get_mut(index) {
                    *slot = Some(plane);
                }
            }
            state = Some(match state {
                None => read.state,
                Some(mut state) => {
                    for (mine, &other) in state.data_mut().iter_mut().zip(read.state.data()) {
                        *mine = both(*mine, other);
                    }
                    state
                }
            });
            unreadable.extend(read.unreadable);
            fetched += read.fetched;
        }
        let planes = planes.into_iter().map(|plane| plane.unwrap_or_else(|| Plane::filled(rect, 0.0).into())).collect();
        let state = state.unwrap_or_else(|| Plane::filled(rect, PixelState::NoScene));
        let window = SceneWindow { bands: bands.to_vec(), planes, state };
        Ok(ReadScene { window, unreadable, fetched })
    }

    /// Fetches and decodes the blocks that a read will need, as far as they are kept until then, and says what that cost. What
    /// cannot be read is left to the read, which says what there is to say.
    pub async fn fetch_ahead(&self, grid: &Grid, scene: &Scene, bands: &[BandName], rect: PixelRect) -> Fetched {
        let requests = self.requests(grid, scene, bands, rect, &Registration::default()).unwrap_or_default();
        let fetches = requests.into_iter().map(|(_, request)| {
            let inner = Arc::clone(&self.inner);
            async move { inner.fetch_ahead(&request).await }.boxed()
        });
        let mut fetched = Fetched::default();
        let mut fetches = futures::stream::iter(fetches).buffered(ASSETS_AT_ONCE);
        while let Some(more) = fetches.next().await {
            fetched += more.unwrap_or_default();
        }
        fetched
    }

    /// What is to be read of each file, with the places of its bands among `bands`.
    fn requests(
        &self,
        grid: &Grid,
        scene: &Scene,
        bands: &[BandName],
        rect: PixelRect,
        correction: &Registration,
    ) -> Result<Vec<(Vec<usize>, AssetRequest)>, ImageryError> {
        let mut by_asset: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        for (index, name) in bands.iter().enumerate() {
            let band = scene.band(name).ok_or_else(|| ImageryError::Document {
                href: format!("scene {}", scene.id),
                cause: format!("it has no band `{name}`"),
                mend: "name bands that both scenes have in detector.bands".into(),
            })?;
            by_asset.entry(band.asset).or_default().push(index);
        }
        let whole = Arc::new(scene.clone());
        let request = |(asset, indices): (u16, Vec<usize>)| {
            let bands = indices.iter().filter_map(|&index| scene.band(bands.get(index)?)).cloned().collect();
            let request = AssetRequest {
                grid: grid.clone(),
                scene: Arc::clone(&whole),
                asset,
                bands,
                rect,
                correction: *correction,
                watcher: self.watcher.clone(),
                tiles: self.tiles,
            };
            (indices, request)
        };
        Ok(by_asset.into_iter().map(request).collect())
    }
}
