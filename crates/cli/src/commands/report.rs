//! `groundbreak report`: the same results again, from what is stored.

use anyhow::Result;
use imagery::store::Stores;

use crate::results::Outcome;
use crate::{input, runtime};

/// Writes report.html and the tables again from stored results.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The survey's output: a folder or a URL.
    output: String,
}

/// Runs the command.
///
/// # Errors
/// See `docs/exit-codes.md`.
#[allow(clippy::print_stdout, reason = "the table is what the command is for")]
pub fn run(args: &Args) -> Result<()> {
    let stores = Stores::new(&[], ".")?;
    let output = input::named_output(&args.output, &stores)?;
    runtime::current()?.block_on(async {
        let outcome = Outcome::load(&output).await?;
        outcome.write(&output).await?;
        println!("{}", outcome.table()?);
        println!("written: {}/results", output.label().trim_end_matches('/'));
        Ok(())
    })
}
