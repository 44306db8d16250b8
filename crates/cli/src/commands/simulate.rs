//! `groundbreak simulate`.

use anyhow::Result;

/// Arguments of `groundbreak simulate`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// See `docs/exit-codes.md`.
pub fn run(_args: &Args) -> Result<()> {
    anyhow::bail!("not built yet")
}
