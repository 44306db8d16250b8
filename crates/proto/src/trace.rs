//! One trace across processes: the W3C `traceparent` of a span, in gRPC metadata and in assignments.
//!
//! Format `00-<trace id>-<span id>-<flags>` (W3C Trace Context, 2021). What is not a valid one is passed over: a trace
//! is for people, never for results.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tonic::metadata::{MetadataMap, MetadataValue};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The metadata key.
pub const TRACEPARENT: &str = "traceparent";
/// Length of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// The `traceparent` of a span; empty where no trace is kept.
#[must_use]
pub fn parent_of(span: &Span) -> String {
    let context = span.context();
    let span = context.span();
    let span = span.span_context();
    if !span.is_valid() {
        return String::new();
    }
    format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8())
}

/// Puts the `traceparent` of the current span into a call's metadata.
pub fn inject(metadata: &mut MetadataMap) {
    let parent = parent_of(&Span::current());
    if let Ok(value) = MetadataValue::try_from(parent)
        && !value.is_empty()
    {
        metadata.insert(TRACEPARENT, value);
    }
}

/// Makes `span` go on with the trace of a call's metadata.
pub fn extract(span: &Span, metadata: &MetadataMap) {
    if let Some(parent) = metadata.get(TRACEPARENT).and_then(|value| value.to_str().ok()) {
        adopt(span, parent);
    }
}

/// Makes `span` go on with the trace of `traceparent`.
pub fn adopt(span: &Span, traceparent: &str) {
    if let Some(parent) = parse(traceparent) {
        // Refused only where the span has begun to be exported, which a new one has not.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(parent));
    }
}

fn parse(traceparent: &str) -> Option<SpanContext> {
    if traceparent.len() != LENGTH || !traceparent.is_ascii() {
        return None;
    }
    let mut parts = traceparent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version != "00" || trace.len() != 32 || span.len() != 16 || flags.len() != 2 || parts.next().is_some() {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard_is_read_and_others_are_passed_over() {
        let standard = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = parse(standard).unwrap();
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
        assert!(context.is_sampled() && context.is_remote());
        for wrong in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-011",
            "00-4bf92f3577b34da6a3ce929d0e0e473x-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            &format!("{standard}-"),
        ] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn without_a_trace_nothing_is_sent() {
        let mut metadata = MetadataMap::new();
        inject(&mut metadata);
        assert!(metadata.is_empty());
    }
}
