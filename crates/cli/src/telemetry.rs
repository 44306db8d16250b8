//! Logs: spans and events of the whole way on standard error, for people or as JSON.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Options of every command.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Say more: -v what is done, -vv how, -vvv everything. `RUST_LOG` says it in detail.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Format of log lines.
    #[arg(long, value_enum, default_value_t, global = true, env = "GROUNDBREAK_LOG_FORMAT")]
    pub log_format: LogFormat,
}

/// Installs the subscriber.
pub fn install(options: &Options) {
    let level = match options.verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    // Of other crates' words only the warnings, unless everything is asked for.
    let default = if options.verbose >= 3 {
        level.to_owned()
    } else {
        ["survey", "proto", "imagery", "analysis", "coordinator", "worker", "report", "simulate", "groundbreak"]
            .iter()
            .fold("warn".to_owned(), |filter, krate| format!("{filter},{krate}={level}"))
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let spans = if options.verbose >= 2 { FmtSpan::CLOSE } else { FmtSpan::NONE };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_span_events(spans);
    // A second subscriber in one process can only be a test's: the first one stays.
    let _ = match options.log_format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).with_span_list(true).try_init(),
    };
}
