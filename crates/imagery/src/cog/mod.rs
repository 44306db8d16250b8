//! Cloud-optimised GeoTIFFs: a strict reader for files that strangers wrote, and a writer of our own.
//!
//! The reader parses TIFF and BigTIFF itself and leaves only the codecs to libraries
//! (`docs/decisions/0003-own-tiff-header.md`). It fetches bytes on tokio and makes pixels on rayon:
//!
//! * [`header`]: bytes → tags → [`Level`]s, within [`Limits`].
//! * [`geokeys`]: the place on earth: transform and CRS.
//! * [`codec`]: an encoded block → samples.
//! * [`read`]: which bytes to fetch for which blocks.
//!
//! It promises: the pixels that GDAL gives, or an error that names the file and the cause; never a panic, never
//! memory that the file's size and the limits don't account for, and never pixels made up for bytes that are missing.

mod codec;
mod fault;
mod geokeys;
mod header;
mod limits;
mod read;
mod samples;
pub mod write;

pub use header::{Level, Raster, RasterInfo};
pub use limits::Limits;
pub use read::{Block, BlockIndex};
#[cfg(test)]
pub(crate) use samples::Extremes;
pub use samples::{Bounds, DataType, Samples};
pub(crate) use samples::{Sample, each};
