//! The one binary, `groundbreak`: parse, telemetry, run, exit code.

mod clock;
mod cluster;
mod commands;
mod embedded;
mod failure;
mod heap;
mod input;
mod names;
mod node;
mod progress;
mod results;
mod runtime;
mod telemetry;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Was ground broken for a new factory in this county between these two dates: where, how large, how sure, and how do
/// you know?
#[derive(Debug, Parser)]
#[command(name = "groundbreak", version)]
struct Cli {
    #[command(flatten)]
    telemetry: telemetry::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(commands::run::Args),
    Plan(commands::plan::Args),
    Report(commands::report::Args),
    Simulate(commands::simulate::Args),
    Coordinator(commands::coordinator::Args),
    Worker(commands::worker::Args),
    Submit(commands::submit::Args),
    Status(commands::status::Args),
    Watch(commands::watch::Args),
    Cancel(commands::cancel::Args),
    Results(commands::results::Args),
    Workers(commands::workers::Args),
    Drain(commands::workers::DrainArgs),
    Doctor(commands::doctor::Args),
    /// Scores detectors on labelled data.
    #[command(subcommand)]
    Evaluate(Evaluate),
}

impl Command {
    /// What the process is called in a trace.
    fn role(&self) -> &'static str {
        match self {
            Self::Coordinator(_) => "coordinator",
            Self::Worker(_) => "worker",
            Self::Run(_) => "run",
            Self::Submit(_) => "submit",
            _ => "command",
        }
    }

    /// Whether it runs until it is told to leave.
    fn serves(&self) -> bool {
        matches!(self, Self::Coordinator(_) | Self::Worker(_))
    }
}

#[derive(Debug, Subcommand)]
enum Evaluate {
    Detect(commands::evaluate::Args),
}

#[allow(clippy::print_stderr, reason = "the one place where an error becomes text for a person")]
fn main() -> ExitCode {
    let cli = Cli::parse();
    heap::settle();
    // Two providers are linked, so rustls wants to be told which; that one is installed already is no error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let result = telemetry::install(&cli.telemetry, cli.command.role(), cli.command.serves()).and_then(|telemetry| {
        let result = command(cli.command);
        drop(telemetry);
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("groundbreak: {error:#}");
            ExitCode::from(failure::code(&error))
        }
    }
}

fn command(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(args) => commands::run::run(&args),
        Command::Plan(args) => commands::plan::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Simulate(args) => commands::simulate::run(&args),
        Command::Coordinator(args) => commands::coordinator::run(&args),
        Command::Worker(args) => commands::worker::run(&args),
        Command::Submit(args) => commands::submit::run(&args),
        Command::Status(args) => commands::status::run(&args),
        Command::Watch(args) => commands::watch::run(&args),
        Command::Cancel(args) => commands::cancel::run(&args),
        Command::Results(args) => commands::results::run(&args),
        Command::Workers(args) => commands::workers::run(&args),
        Command::Drain(args) => commands::workers::drain(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::Evaluate(Evaluate::Detect(args)) => commands::evaluate::run(&args),
    }
}
