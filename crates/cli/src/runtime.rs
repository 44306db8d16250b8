//! The async runtime of a command.

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};

/// A multi-threaded runtime: bytes arrive here, pixels are made on rayon.
///
/// # Errors
/// Where the system gives no threads.
pub fn current() -> Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .thread_name("groundbreak-io")
        .build()
        .context("no threads for the network")
}
