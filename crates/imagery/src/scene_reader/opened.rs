//! Files whose headers have been read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use survey::failure::FailureClass;
use survey::grid::{GeoTransform, Grid};
use survey::scene::Asset;
use tokio::sync::OnceCell;

use crate::cog::{Limits, Raster};
use crate::error::ImageryError;
use crate::store::{RemoteFile, Stores};
use crate::warp::geometry::Geometry;

/// Headers that are kept. The oldest leave first: one is a few kilobytes, of a very large file some megabytes.
const HEADERS_KEPT: usize = 256;

/// An open file, or why it cannot be used.
pub(super) enum OpenFile {
    /// It can be read.
    Ready {
        /// Number of the file in the block cache.
        id: u64,
        /// Its header.
        raster: Box<Raster>,
        /// Where its bytes are.
        file: RemoteFile,
    },
    /// It is there and cannot be read, or is not there: its pixels are unreadable.
    Broken(ImageryError),
}

type Key = (String, Option<u64>, Option<String>);

/// All files of a reader.
pub(super) struct Files {
    stores: Stores,
    limits: Limits,
    ids: AtomicU64,
    opened: Mutex<Opened>,
}

#[derive(Default)]
struct Opened {
    by_key: BTreeMap<Key, (u64, Arc<OnceCell<OpenFile>>)>,
    uses: u64,
}

impl Files {
    pub(super) fn new(stores: Stores) -> Self {
        Self { stores, limits: Limits::default(), ids: AtomicU64::new(0), opened: Mutex::default() }
    }

    /// The open file of an asset. Concurrent callers open it once.
    ///
    /// # Errors
    /// [`ImageryError::Transient`] and [`ImageryError::Changed`]: what another attempt, or another plan, may mend.
    pub(super) async fn open(&self, asset: &Asset) -> Result<Arc<OnceCell<OpenFile>>, ImageryError> {
        let key = (asset.href.clone(), asset.size, asset.etag.clone());
        let cell = {
            let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            opened.uses += 1;
            let uses = opened.uses;
            let entry = opened.by_key.entry(key).or_default();
            entry.0 = uses;
            let cell = Arc::clone(&entry.1);
            if opened.by_key.len() > HEADERS_KEPT {
                let oldest = opened.by_key.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
                oldest.map(|oldest| opened.by_key.remove(&oldest));
            }
            cell
        };
        cell.get_or_try_init(|| self.read_header(asset)).await?;
        Ok(cell)
    }

    async fn read_header(&self, asset: &Asset) -> Result<OpenFile, ImageryError> {
        let open = async {
            let file = self.stores.file(&asset.href)?.with_pin(asset.size, asset.etag.as_deref());
            let raster = Raster::open(&file, &self.limits).await?;
            Ok::<_, ImageryError>((file, raster))
        };
        match open.await {
            Ok((file, raster)) => {
                Ok(OpenFile::Ready { id: self.ids.fetch_add(1, Ordering::Relaxed), raster: Box::new(raster), file })
            }
            Err(error) => match error.class() {
                FailureClass::BadInput => Ok(OpenFile::Broken(error)),
                _ => Err(error),
            },
        }
    }
}

/// CRS and transform of an asset: what its file says, else what the plan says (the catalog, or the survey file).
pub(super) fn place_of<'a>(asset: &'a Asset, raster: Option<&'a Raster>) -> (&'a str, GeoTransform) {
    let info = raster.map(Raster::info);
    let crs = info.and_then(|info| info.crs.as_deref()).unwrap_or(&asset.crs);
    (crs, info.and_then(|info| info.transform).unwrap_or(asset.transform))
}

/// The asset seen from the grid.
///
/// # Errors
/// [`ImageryError::Crs`] where neither the file's CRS nor the plan's can be used.
pub(super) fn geometry_of(grid: &Grid, asset: &Asset, raster: Option<&Raster>) -> Result<Geometry, ImageryError> {
    let (crs, transform) = place_of(asset, raster);
    let (width, height) =
        raster.map_or((asset.width, asset.height), |raster| (raster.info().width, raster.info().height));
    let geometry = Geometry::new(grid, crs, transform, width, height);
    if geometry.is_err() && crs != asset.crs {
        return Geometry::new(grid, &asset.crs, transform, width, height);
    }
    geometry
}

/// Why, without the place where the file lies.
pub(super) fn cause_of(error: &ImageryError) -> String {
    match error {
        ImageryError::NotFound { .. } => "the file is not there".into(),
        ImageryError::Denied { .. } => "access to the file is denied".into(),
        ImageryError::Corrupt { cause, .. } | ImageryError::Document { cause, .. } => cause.clone(),
        ImageryError::Unsupported { what, .. } => format!("{what} is not supported"),
        ImageryError::Crs { .. } => error.to_string(),
        ImageryError::Transient { .. } | ImageryError::Changed { .. } | ImageryError::Output { .. } => {
            "the file cannot be read".into()
        }
    }
}
