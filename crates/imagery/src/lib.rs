//! From catalog to pixels: stores, STAC, a strict COG reader, warping to the survey's grid, and object commits.

pub mod error;

pub use error::ImageryError;
