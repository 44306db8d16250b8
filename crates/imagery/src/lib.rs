//! From catalog to pixels: stores, STAC, a strict COG reader, warping to the survey's grid, and object commits.

pub mod blocks;
pub mod catalog;
pub mod cog;
pub mod commit;
pub mod crs;
pub mod error;
pub mod scene_reader;
pub mod select;
pub mod store;
pub mod warp;

pub use commit::Output;
pub use error::ImageryError;
pub use scene_reader::{Fetched, ReadScene, SceneReader, UnreadablePart};
pub use store::{RemoteFile, Stores};
