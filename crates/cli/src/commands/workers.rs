//! `groundbreak workers` and `groundbreak drain`: the fleet.

use anyhow::Result;
use bytesize::ByteSize;
use comfy_table::{Table, presets};
use proto::v1;
use serde_json::json;

use crate::cluster::connection::{Client, Connection};
use crate::cluster::standing::printable;
use crate::runtime;

/// Lists the workers that were heard of lately.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    connection: Connection,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// Lets a worker finish what it has and leave.
#[derive(Debug, clap::Args)]
pub struct DrainArgs {
    /// The worker, as `groundbreak workers` names it.
    worker: String,
    #[command(flatten)]
    connection: Connection,
}

/// Runs `workers`.
///
/// # Errors
/// See `docs/exit-codes.md`.
#[allow(clippy::print_stdout, reason = "the table is what the command is for")]
pub fn run(args: &Args) -> Result<()> {
    runtime::current()?.block_on(async {
        let list = |mut client: Client| async move { client.list_workers(v1::ListWorkersRequest {}).await };
        let workers = args.connection.ask(list).await?.workers;
        if args.json {
            let documents: Vec<_> = workers
                .iter()
                .map(|worker| {
                    json!({
                        "name": worker.name, "jobs": worker.jobs.len(), "free_slots": worker.slots,
                        "memory_free": worker.memory_free, "memory_total": worker.memory_total,
                        "silent_ms": worker.silent_ms, "draining": worker.draining,
                    })
                })
                .collect();
            println!("{}", serde_json::to_string_pretty(&documents)?);
            return Ok(());
        }
        let mut table = Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["worker", "jobs", "free slots", "free memory", "heard of", "state"]);
        for worker in &workers {
            table.add_row([
                printable(&worker.name),
                worker.jobs.len().to_string(),
                worker.slots.to_string(),
                format!("{} of {}", ByteSize(worker.memory_free), ByteSize(worker.memory_total)),
                format!("{:.1} s ago", worker.silent_ms as f64 / 1000.0),
                if worker.draining { "leaving" } else { "working" }.to_owned(),
            ]);
        }
        println!("{table}");
        Ok(())
    })
}

/// Runs `drain`.
///
/// # Errors
/// See `docs/exit-codes.md`.
#[allow(clippy::print_stdout, reason = "the line is what the command is for")]
pub fn drain(args: &DrainArgs) -> Result<()> {
    runtime::current()?.block_on(async {
        let drain = |mut client: Client| {
            let worker = args.worker.clone();
            async move { client.drain_worker(v1::DrainWorkerRequest { worker }).await }
        };
        let worker = args.connection.ask(drain).await?;
        println!("{} leaves when its {} jobs are done", printable(&worker.name), worker.jobs.len());
        Ok(())
    })
}
