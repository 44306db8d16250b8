//! What is said between processes and written to objects: messages and services generated from `/proto`, and checked
//! conversions to and from the domain.
//!
//! Encoding is deterministic (the same value has the same bytes; `f64` keeps every bit). Decoding trusts nothing: each
//! enum, range, index and length is checked, and an error says where and what.

pub mod convert;
pub mod error;
pub mod objects;

pub use error::ConvertError;

/// The generated messages, clients and servers of `groundbreak.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("groundbreak.v1");
}

/// The protocol's own description, an encoded `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The largest gRPC message that services and clients send or take, bytes.
pub const MAX_MESSAGE_BYTES: usize = 32 << 20;
