//! What the commands of a cluster share: reaching a coordinator, packing a survey for it, and saying how a survey stands.

pub mod connection;
pub mod http;
pub mod pack;
pub mod ready;
pub mod signals;
pub mod standing;
pub mod storage;
