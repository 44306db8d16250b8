//! `groundbreak worker`: a node that does jobs for a coordinator.

use std::time::Duration;

use anyhow::Result;
use bytesize::ByteSize;
use tokio::sync::watch;
use worker::{Connector, Shutdown};

use crate::cluster::connection::Connection;
use crate::cluster::signals::Signals;
use crate::cluster::storage::StorageOptions;
use crate::failure;
use crate::node::Resources;
use crate::{names, runtime};

/// Does jobs for a coordinator until it is told to leave: SIGTERM lets it finish what runs, for as long as --grace says;
/// what is not finished then, it hands back.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    storage: StorageOptions,
    /// Jobs at the same time; `auto`: one more than there are cores, so that one fetches while others compute.
    #[arg(long, default_value = "auto", value_parser = auto::<u32>)]
    slots: Auto<u32>,
    /// Memory for jobs and decoded blocks, such as 2GiB; `auto`: three quarters of what the process may have.
    #[arg(long, default_value = "auto", value_parser = auto::<ByteSize>)]
    memory: Auto<ByteSize>,
    /// Its name; by default the host's name and something that is different for each start.
    #[arg(long)]
    name: Option<String>,
    /// Seconds that running jobs have after SIGTERM before they are handed back.
    #[arg(long, default_value_t = 25)]
    grace: u64,
}

/// A number, or what fits this machine.
#[derive(Clone, Copy, Debug)]
pub enum Auto<T> {
    /// What fits.
    Auto,
    /// This.
    Given(T),
}

fn auto<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<Auto<T>, String> {
    match text {
        "auto" => Ok(Auto::Auto),
        text => text.parse().map(Auto::Given).map_err(|error: T::Err| error.to_string()),
    }
}

/// Runs the command.
///
/// # Errors
/// See `docs/exit-codes.md`.
pub fn run(args: &Args) -> Result<()> {
    let threads = super::run::threads();
    let memory = match args.memory {
        Auto::Auto => worker::admission::default_limit(),
        Auto::Given(bytes) => bytes.0,
    };
    let slots = match args.slots {
        Auto::Auto => None,
        Auto::Given(0) => return Err(failure::input("--slots 0: a worker without slots does nothing").into()),
        Auto::Given(slots) => Some(slots),
    };
    let stores = args.storage.stores()?;
    let connector = Connector::to_url(&args.connection.coordinator, args.connection.proof.credentials()?)
        .map_err(failure::input)?;
    let name = args.name.clone().unwrap_or_else(names::process);
    let worker = Resources { workers: 1, threads, memory }.worker(name, slots, &stores, connector)?;
    runtime::current()?.block_on(async {
        let mut signals = Signals::listen()?;
        let (stop, stopped) = watch::channel(Shutdown::No);
        let mut work = std::pin::pin!(worker.run(stopped));
        let signal = tokio::select! {
            ended = &mut work => return Ok(ended?),
            signal = signals.next() => signal,
        };
        tracing::info!(signal, grace = args.grace, "worker was told to leave: it finishes what runs");
        stop.send_replace(Shutdown::Drain);
        tokio::select! {
            ended = &mut work => return Ok(ended?),
            () = tokio::time::sleep(Duration::from_secs(args.grace)) => {}
            signal = signals.next() => tracing::info!(signal, "worker was told again: it hands back what runs"),
        }
        stop.send_replace(Shutdown::Now);
        Ok(work.await?)
    })
}
