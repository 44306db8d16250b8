//! What happens in a simulation, in order: each message on the simulated network, and what coordinator and workers log.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Metadata, Subscriber};

/// What became of a message on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    Sent,
    Dropped,
    Held,
}

/// Sees all events of a simulation. Clones share what they have seen.
#[derive(Clone, Default)]
pub struct Witness(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    now: Duration,
    trace: Vec<String>,
    /// Messages by fate, from and to.
    messages: BTreeMap<(Fate, IpAddr, IpAddr), u64>,
}

impl Witness {
    /// What comes next happens at this time.
    pub fn at(&self, now: Duration) {
        self.0.lock().unwrap().now = now;
    }

    /// Notes something that is no event of its own.
    pub fn note(&self, what: &str) {
        let mut seen = self.0.lock().unwrap();
        let line = format!("{:?} {what}", seen.now);
        seen.trace.push(line);
    }

    /// Messages from one host to another that met this fate so far.
    pub fn messages(&self, fate: Fate, from: IpAddr, to: IpAddr) -> u64 {
        self.0.lock().unwrap().messages.get(&(fate, from, to)).copied().unwrap_or(0)
    }

    /// All that was seen.
    pub fn trace(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().trace)
    }
}

/// An event's fields. A message's content is left out: it holds the date, by which no two runs are the same.
#[derive(Default)]
struct Fields {
    line: String,
    message: String,
    from: Option<IpAddr>,
    to: Option<IpAddr>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let address = |value: &dyn Debug| {
            let text = format!("{value:?}");
            text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip())
        };
        match field.name() {
            "protocol" => return,
            "message" => self.message = format!("{value:?}"),
            "src" => self.from = address(value),
            "dst" => self.to = address(value),
            _ => {}
        }
        let _ = write!(self.line, " {}={value:?}", field.name());
    }
}

impl Subscriber for Witness {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = ["turmoil", "coordinator", "worker"];
        metadata.is_event() && ours.contains(&metadata.target().split("::").next().unwrap_or_default())
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if fields.message.starts_with("step ") {
            return;
        }
        let mut seen = self.0.lock().unwrap();
        let fate = match fields.message.as_str() {
            "Send" => Some(Fate::Sent),
            "Drop" => Some(Fate::Dropped),
            "Hold" => Some(Fate::Held),
            _ => None,
        };
        if let (Some(fate), Some(from), Some(to)) = (fate, fields.from, fields.to) {
            *seen.messages.entry((fate, from, to)).or_default() += 1;
        }
        let line = format!("{:?} {}{}", seen.now, event.metadata().target(), fields.line);
        seen.trace.push(line);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
