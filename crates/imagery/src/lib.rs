//! From catalog to pixels: stores, STAC, a strict COG reader, warping to the survey's grid, and object commits.

pub mod cog;
pub mod commit;
pub mod error;
pub mod store;

pub use commit::Output;
pub use error::ImageryError;
pub use store::{RemoteFile, Stores};
