//! A raster whose header has been read: its levels, and what it says of itself.

use std::sync::Arc;

use survey::grid::GeoTransform;

use crate::ImageryError;
use crate::cog::fault::{Checked, Fault};
use crate::cog::geokeys::{self, GeoTags};
use crate::cog::header::bytes::HeaderBytes;
use crate::cog::header::ifd::{Ifd, read_ifds};
use crate::cog::header::layout::Layout;
use crate::cog::header::metadata::{parse_metadata, parse_nodata};
use crate::cog::header::tags::{ByteOrder, Values, tag};
use crate::cog::limits::Limits;
use crate::cog::read::BlockIndex;
use crate::cog::samples::DataType;
use crate::store::RemoteFile;

/// Bits of NewSubfileType.
const REDUCED: u64 = 1;
const MASK: u64 = 4;

/// What a raster says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct RasterInfo {
    /// Columns at full resolution.
    pub width: u32,
    /// Rows at full resolution.
    pub height: u32,
    /// Bands, an alpha band among them.
    pub band_count: usize,
    /// Type of all bands.
    pub data_type: DataType,
    /// Value that stands for no data, as written.
    pub nodata: Option<f64>,
    /// `EPSG:n`, or a PROJ string for a CRS that the file defines itself.
    pub crs: Option<String>,
    /// Why `crs` is absent, where the file does say something of a CRS.
    pub crs_problem: Option<String>,
    /// Place of the pixels, as in GDAL: of the corner of the upper-left pixel, also where the file refers to pixel centres.
    pub transform: Option<GeoTransform>,
    /// Index (from 0) of the band that is opacity.
    pub alpha_band: Option<usize>,
    /// Whether the file has a mask of its own.
    pub has_mask: bool,
    /// Per band: physical value = sample × scale + offset.
    pub scales: Vec<f64>,
    /// Per band: see `scales`.
    pub offsets: Vec<f64>,
    /// Per band: its description.
    pub band_names: Vec<Option<String>>,
}

impl RasterInfo {
    /// The no-data value as a sample holds it: rounded to single precision where samples are. To be compared with
    /// samples; `NaN` stands for any NaN.
    #[must_use]
    pub fn nodata_sample(&self) -> Option<f64> {
        match self.data_type {
            DataType::F32 => self.nodata.map(|value| f64::from(value as f32)),
            _ => self.nodata,
        }
    }
}

/// One resolution of a raster: the full one, or an overview.
#[derive(Clone, Debug)]
pub struct Level {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Columns of a block.
    pub block_width: u32,
    /// Rows of a block.
    pub block_height: u32,
    /// Blocks side by side.
    pub blocks_across: u32,
    /// Blocks below each other.
    pub blocks_down: u32,
    /// Columns at full resolution per column of this level.
    pub col_ratio: f64,
    /// Rows at full resolution per row of this level.
    pub row_ratio: f64,
    pub(crate) layout: Arc<Layout>,
    pub(crate) mask: Option<Arc<Layout>>,
}

impl Level {
    fn new(layout: Layout, mask: Option<Layout>, full: (u32, u32)) -> Self {
        Self {
            width: layout.width,
            height: layout.height,
            block_width: layout.block_width,
            block_height: layout.block_height,
            blocks_across: layout.across,
            blocks_down: layout.down,
            col_ratio: f64::from(full.0) / f64::from(layout.width),
            row_ratio: f64::from(full.1) / f64::from(layout.height),
            layout: Arc::new(layout),
            mask: mask.map(Arc::new),
        }
    }

    /// First row and column of a block, and its rows and columns inside the raster; `None` where there is no such
    /// block.
    #[must_use]
    pub fn block_rect(&self, block: BlockIndex) -> Option<(u32, u32, u32, u32)> {
        if block.row >= self.blocks_down || block.col >= self.blocks_across {
            return None;
        }
        let (row0, col0) = (block.row * self.block_height, block.col * self.block_width);
        Some((row0, col0, self.layout.rows(block.row), self.layout.cols(block.col)))
    }

    /// The blocks that hold a pixel of the half-open rectangle, in row-major order.
    pub fn blocks_in(&self, rows: std::ops::Range<u32>, cols: std::ops::Range<u32>) -> Vec<BlockIndex> {
        let (rows, cols) = (rows.start..rows.end.min(self.height), cols.start..cols.end.min(self.width));
        if rows.is_empty() || cols.is_empty() {
            return Vec::new();
        }
        let block_rows = rows.start / self.block_height..rows.end.div_ceil(self.block_height);
        let block_cols = cols.start / self.block_width..cols.end.div_ceil(self.block_width);
        block_rows.flat_map(|row| block_cols.clone().map(move |col| BlockIndex { row, col })).collect()
    }

    /// Whether nothing of a block is in the file: its pixels are no data (or 0).
    #[must_use]
    pub fn is_sparse(&self, block: BlockIndex) -> bool {
        (0..self.layout.planes()).all(|plane| self.layout.place(block.row, block.col, plane).is_none())
    }
}

/// A raster whose header has been read.
#[derive(Clone, Debug)]
pub struct Raster {
    info: RasterInfo,
    levels: Vec<Level>,
    pub(crate) file_size: u64,
    pub(crate) limits: Limits,
}

impl Raster {
    /// Reads the header of `file`: usually one request for 64 KiB, and before it one for the size where that is not pinned.
    ///
    /// # Errors
    /// What the store says; [`ImageryError::Corrupt`] where the header breaks the format or a limit;
    /// [`ImageryError::Unsupported`] where it needs something that is not supported.
    pub async fn open(file: &RemoteFile, limits: &Limits) -> Result<Self, ImageryError> {
        let href = file.label();
        let file_size = file.size().await?;
        let mut bytes = HeaderBytes::open(file, file_size, limits).await?;
        let (order, ifds) = read_ifds(&mut bytes, limits, &href).await?;
        let (info, levels) = describe(&ifds, order, limits).map_err(|fault| fault.of_file(&href))?;
        Ok(Self { info, levels, file_size, limits: limits.clone() })
    }

    /// Full resolution first, then the overviews, from fine to coarse.
    #[must_use]
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// What the raster says of itself.
    #[must_use]
    pub fn info(&self) -> &RasterInfo {
        &self.info
    }

    /// The transform of a level's pixels; `None` without georeference or level.
    #[must_use]
    pub fn level_transform(&self, level: usize) -> Option<GeoTransform> {
        let (transform, level) = (self.info.transform?, self.levels.get(level)?);
        Some(GeoTransform {
            x_per_col: transform.x_per_col * level.col_ratio,
            x_per_row: transform.x_per_row * level.row_ratio,
            y_per_col: transform.y_per_col * level.col_ratio,
            y_per_row: transform.y_per_row * level.row_ratio,
            ..transform
        })
    }
}

/// Sorts the IFDs into levels and masks, as GDAL does: the first is the image; reduced ones with the same bands are
/// overviews; masks belong to the level of their size; other pages are not looked at.
fn describe(ifds: &[Ifd], order: ByteOrder, limits: &Limits) -> Checked<(RasterInfo, Vec<Level>)> {
    let mut levels: Vec<Layout> = Vec::new();
    let mut masks: Vec<Layout> = Vec::new();
    for (index, ifd) in ifds.iter().enumerate() {
        let place = |fault: Fault| fault.at(&format!("IFD {index}"));
        let kind = subfile(ifd).map_err(place)?;
        if index > 0 && kind & MASK != 0 {
            let mask = Layout::from_ifd(ifd, order, limits).map_err(place)?;
            if mask.bands == 1 && mask.format.data_type == DataType::U8 {
                masks.push(mask);
            }
        } else if index == 0 || kind & REDUCED != 0 {
            match Layout::from_ifd(ifd, order, limits) {
                Ok(layout) if levels.first().is_none_or(|full| is_overview(&layout, full)) => levels.push(layout),
                Ok(_) => {}
                // A thumbnail in a format of its own is no reason to refuse the image.
                Err(Fault::Unsupported(_)) if index > 0 => {}
                Err(fault) => return Err(place(fault)),
            }
        }
    }
    let (Some(full), Some(first)) = (levels.first(), ifds.first()) else {
        return Err(Fault::corrupt("no IFD: the file holds no image"));
    };
    let mut info = info(first, full)?;

    let size = (full.width, full.height);
    levels.sort_by_key(|level| std::cmp::Reverse(u64::from(level.width) * u64::from(level.height)));
    let levels: Vec<Level> = levels
        .into_iter()
        .map(|layout| {
            let fits = |mask: &Layout| (mask.width, mask.height) == (layout.width, layout.height);
            let mask = masks.iter().position(fits).map(|index| masks.swap_remove(index));
            Level::new(layout, mask, size)
        })
        .collect();
    info.has_mask = levels.first().is_some_and(|level| level.mask.is_some());
    Ok((info, levels))
}

/// NewSubfileType, or what the old SubfileType says in its terms.
fn subfile(ifd: &Ifd) -> Checked<u64> {
    match (ifd.get(tag::NEW_SUBFILE_TYPE), ifd.get(tag::SUBFILE_TYPE)) {
        (Some(kind), _) => kind.integer(),
        (None, Some(kind)) => Ok(if kind.integer()? == 2 { REDUCED } else { 0 }),
        (None, None) => Ok(0),
    }
}

fn is_overview(layout: &Layout, full: &Layout) -> bool {
    let smaller = layout.width <= full.width && layout.height <= full.height;
    let same_size = (layout.width, layout.height) == (full.width, full.height);
    smaller && !same_size && layout.bands == full.bands && layout.format.data_type == full.format.data_type
}

fn info(ifd: &Ifd, full: &Layout) -> Checked<RasterInfo> {
    let doubles = |tag| ifd.get(tag).map(Values::doubles).transpose();
    let text = |tag| ifd.get(tag).map(Values::text).transpose();
    let geo = GeoTags {
        pixel_scale: doubles(tag::MODEL_PIXEL_SCALE)?,
        tiepoints: doubles(tag::MODEL_TIEPOINT)?,
        transformation: doubles(tag::MODEL_TRANSFORMATION)?,
        directory: ifd.get(tag::GEO_KEY_DIRECTORY).map(Values::integers).transpose()?,
        doubles: doubles(tag::GEO_DOUBLE_PARAMS)?.unwrap_or_default(),
    };
    let place = geokeys::place(&geo)?;
    let nodata = match text(tag::GDAL_NODATA)?.filter(|text| !text.trim().is_empty()) {
        Some(text) => Some(
            parse_nodata(&text)
                .ok_or_else(|| Fault::corrupt(format!("no-data value `{}` is not a number", text.escape_debug())))?,
        ),
        None => None,
    };
    let metadata = parse_metadata(&text(tag::GDAL_METADATA)?.unwrap_or_default(), full.bands);
    Ok(RasterInfo {
        width: full.width,
        height: full.height,
        band_count: full.bands,
        data_type: full.format.data_type,
        nodata,
        crs: place.crs,
        crs_problem: place.crs_problem,
        transform: place.transform,
        alpha_band: full.alpha_band,
        has_mask: false,
        scales: metadata.scales,
        offsets: metadata.offsets,
        band_names: metadata.names,
    })
}
