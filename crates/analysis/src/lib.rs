//! From pixels to sites: pure functions of planes, masks and integers, parallel by rayon; no I/O, no clock, no async.

pub mod components;
pub mod mask;
pub mod stitch;
