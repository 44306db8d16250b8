//! From pixels to sites: pure functions of planes, masks and integers, parallel by rayon; no I/O, no clock, no async.

pub mod accuracy;
pub mod assess;
pub mod bands;
pub mod calibrate;
pub mod classify;
pub mod cloud;
pub mod components;
pub mod context;
pub mod detect;
pub mod evidence;
pub mod features;
pub mod footprint;
pub mod mask;
pub mod outline;
pub mod stitch;

pub use detect::{PairPixels, detect_tile, halo_px};
