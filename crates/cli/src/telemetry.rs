//! Telemetry: logs on standard error, for people or as JSON, and traces over OTLP where
//! `OTEL_EXPORTER_OTLP_ENDPOINT` names a receiver.

use clap::ValueEnum;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Our crates: of others' words only the warnings are told, unless everything is asked for.
const OURS: [&str; 9] =
    ["survey", "proto", "imagery", "analysis", "coordinator", "worker", "report", "simulate", "groundbreak"];

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

/// Dropped, it sends the spans that are still here.
#[must_use = "dropped at once, it ends the export of traces"]
pub struct Telemetry {
    export: Option<(SdkTracerProvider, tokio::runtime::Runtime)>,
}

impl Drop for Telemetry {
    #[allow(clippy::print_stderr, reason = "the subscriber is about to end")]
    fn drop(&mut self) {
        if let Some((provider, runtime)) = self.export.take() {
            if let Err(error) = provider.shutdown() {
                eprintln!("groundbreak: the last spans could not be sent: {error}");
            }
            runtime.shutdown_background();
        }
    }
}

/// Installs the subscriber. `role` is what the process is called in a trace. A long-running process (`serves`) says what
/// it does without being asked.
///
/// # Errors
/// The OTLP endpoint is not a URL.
pub fn install(options: &Options, role: &'static str, serves: bool) -> anyhow::Result<Telemetry> {
    let level = match options.verbose.saturating_add(u8::from(serves)) {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let default = if options.verbose >= 3 { level.to_owned() } else { ours(level) };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let spans = if options.verbose >= 2 { FmtSpan::CLOSE } else { FmtSpan::NONE };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_span_events(spans);
    let lines = match options.log_format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(true).boxed(),
    };
    let export = exporter(role)?;
    let traces = export.as_ref().map(|(provider, _)| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("groundbreak"))
            .with_filter(EnvFilter::new(ours("debug")))
    });
    // A second subscriber in one process can only be a test's: the first one stays.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).with(traces).try_init();
    Ok(Telemetry { export })
}

fn ours(level: &str) -> String {
    OURS.iter().fold("warn".to_owned(), |filter, krate| format!("{filter},{krate}={level}"))
}

/// Sends spans in the background. Where the receiver is away, spans are dropped and nothing else suffers.
#[allow(clippy::disallowed_methods, reason = "the environment is read in cli")]
fn exporter(role: &'static str) -> anyhow::Result<Option<(SdkTracerProvider, tokio::runtime::Runtime)>> {
    let named = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]
        .iter()
        .any(|name| std::env::var(name).is_ok_and(|value| !value.is_empty()));
    if !named {
        return Ok(None);
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("telemetry").enable_all().build()?;
    let guard = runtime.enter();
    let exporter = SpanExporter::builder().with_tonic().build().map_err(|error| {
        crate::failure::input(format!("OTEL_EXPORTER_OTLP_ENDPOINT: {error}; write it as http://host:4317"))
    })?;
    drop(guard);
    let resource = Resource::builder()
        .with_service_name("groundbreak")
        .with_attributes([
            KeyValue::new("service.version", survey::VERSION),
            KeyValue::new("service.instance.id", crate::names::process()),
            KeyValue::new("groundbreak.role", role),
        ])
        .build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    Ok(Some((provider, runtime)))
}
