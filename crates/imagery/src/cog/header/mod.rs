//! TIFF headers: bytes → tags → levels.

mod bytes;
mod ifd;
mod layout;
mod metadata;
mod raster;
mod tags;

pub(crate) use layout::{Compression, Layout, Photometric, Predictor};
pub use raster::{Level, Raster, RasterInfo};
pub(crate) use tags::ByteOrder;
