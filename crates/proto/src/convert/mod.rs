//! Between messages and the domain. `From` where nothing can go wrong, checked functions where it can.

pub mod calibration;
pub mod enums;
pub mod findings;
pub mod geometry;
pub mod job;
pub mod plan;
pub mod result;
pub mod scene;
