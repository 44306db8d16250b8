//! What is said between processes and written to objects: messages and services generated from `/proto`, and checked
//! conversions to and from the domain.
//!
//! Encoding is deterministic (the same value has the same bytes; `f64` keeps every bit). Decoding trusts nothing: each
//! enum, range, index and length is checked, and an error says where and what.

pub mod convert;
pub mod error;
pub mod objects;
pub mod trace;
pub mod words;

pub use error::ConvertError;

/// The generated messages, clients and servers of `groundbreak.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("groundbreak.v1");
}

/// The generated messages, client and server of KEDA's external scalers.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod externalscaler {
    tonic::include_proto!("externalscaler");
}

/// The largest gRPC message that services and clients send or take, bytes.
pub const MAX_MESSAGE_BYTES: usize = 32 << 20;

/// The most that the files attached to a submission have together, bytes.
pub const MAX_ATTACHED_BYTES: usize = 64 << 20;

/// The largest message that a coordinator takes of a submission, bytes. More than may be attached, so that what is a
/// little too large is refused in words.
pub const MAX_SUBMISSION_BYTES: usize = 96 << 20;

/// Descriptors of all messages and services, for gRPC's reflection service.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/groundbreak.v1.fds"));

/// Descriptors of KEDA's protocol.
pub const SCALER_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/externalscaler.fds"));
