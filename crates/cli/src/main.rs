//! The one binary, `groundbreak`.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "groundbreak", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Simulate(commands::simulate::Args),
    #[command(subcommand)]
    Evaluate(Evaluate),
}

#[derive(Debug, Subcommand)]
enum Evaluate {
    Detect(commands::evaluate::Args),
}

#[allow(clippy::print_stderr, reason = "the one place where an error becomes text for a person")]
fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Simulate(args) => commands::simulate::run(&args),
        Command::Evaluate(Evaluate::Detect(args)) => commands::evaluate::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("groundbreak: {error:#}");
            ExitCode::FAILURE
        }
    }
}
