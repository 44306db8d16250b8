//! Where the scheduler's time comes from.

use std::time::Duration;

/// A clock that never goes back: leases are durations, never times of day.
pub trait Clock: Send + Sync + 'static {
    /// Time since a fixed origin.
    fn now(&self) -> Duration;
}

/// The runtime's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct RuntimeClock(tokio::time::Instant);

impl RuntimeClock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Clock for RuntimeClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
