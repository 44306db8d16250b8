//! Scenes and counties whose truth is known: a made-up land, seen by made-up satellites, written as the real ones are:
//! cloud-optimised GeoTIFFs, a STAC catalog, borders, context layers, and a survey file that is ready to run.
//!
//! The same seed gives the same bytes, whatever the number of threads.

pub mod catalog;
pub mod county;
pub mod covers;
pub mod error;
pub mod geometry;
pub mod items;
pub mod noise;
pub mod render;
pub mod scenario;
pub mod sensor;
pub mod utm;
pub mod world;
pub mod write;

pub use error::SimulateError;
