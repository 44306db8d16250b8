//! From the results of counties to files that open elsewhere: tables, a STAC item, chips, a web page and a manifest.
//!
//! [`render`] is a pure function: the same input makes the same bytes. It knows no clock, no output location and no
//! href, so that `results/` can be compared file by file between runs. Numbers are rounded to the decimals that
//! `docs/results.md` states, rows and columns have a fixed order.
//!
//! * [`input`]: what a report is made of.
//! * [`summary`]: a county in figures, and the totals.
//! * [`tables`]: the columns of `counties`, `sites` and `footprints`; written by [`csv`], [`geojson`], [`geoparquet`].
//! * [`ground`]: from the survey's grid to valid polygons in longitude and latitude.
//! * [`stac`], [`chips`], [`manifest`], [`page`]: the other files.
//! * [`live`]: the same page while a survey runs, in parts.
//! * [`table`]: the same figures for a terminal.

pub mod chips;
pub mod csv;
mod error;
mod files;
pub mod geojson;
pub mod geoparquet;
pub mod ground;
pub mod input;
pub mod live;
pub mod manifest;
pub mod page;
pub mod stac;
pub mod summary;
pub mod table;
pub mod tables;

pub use error::ReportError;
pub use files::{Content, ResultFile, render};
pub use input::{CountyOutcome, ReportInput};
