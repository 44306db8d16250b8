//! The domain of a survey: what is asked, of which ground, with which scenes, and what was found.
//!
//! This crate knows nobody. It has no I/O, no clock and no async code: every type here is plain data, and every
//! function is a function of its arguments. The other crates meet in these types:
//!
//! * [`spec`]: `survey.toml`, read strictly, with its canonical form.
//! * [`grid`]: the one pixel grid of a survey, its cells and tiles.
//! * [`county`]: county borders on the grid; which county owns which pixel.
//! * [`scene`]: scenes, their bands, and ordered scene pairs.
//! * [`raster`]: planes of pixels that carry their place on the grid.
//! * [`plan`]: what is to be done: chosen pairs by cell, tiles, costs.
//! * [`job`]: the four kinds of job and the references between them.
//! * [`findings`]: runs, sums, components, coverage: what tiles find and what merges.
//! * [`result`]: sites, footprints and counties: what users read.
//! * [`calibration`]: what a scene pair's calibration says.
//! * [`ids`], [`failure`]: names and failure classes.
//! * [`wide`]: loops over pixels in the widest registers that a machine has.

pub mod calibration;
pub mod county;
pub mod failure;
pub mod findings;
pub mod grid;
pub mod ids;
pub mod job;
pub mod plan;
pub mod raster;
pub mod result;
pub mod scene;
pub mod spec;
pub mod swath;
pub mod wide;

/// The version that results record: results are a function of spec, inputs and this.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
