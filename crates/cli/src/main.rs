//! The one binary, `groundbreak`: parse, telemetry, run, exit code.

mod clock;
mod commands;
mod embedded;
mod failure;
mod input;
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
    /// Scores detectors on labelled data.
    #[command(subcommand)]
    Evaluate(Evaluate),
}

#[derive(Debug, Subcommand)]
enum Evaluate {
    Detect(commands::evaluate::Args),
}

#[allow(clippy::print_stderr, reason = "the one place where an error becomes text for a person")]
fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::install(&cli.telemetry);
    let result = match cli.command {
        Command::Run(args) => commands::run::run(&args),
        Command::Plan(args) => commands::plan::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Simulate(args) => commands::simulate::run(&args),
        Command::Evaluate(Evaluate::Detect(args)) => commands::evaluate::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("groundbreak: {error:#}");
            ExitCode::from(failure::code(&error))
        }
    }
}
