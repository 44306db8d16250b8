//! Where the time comes from: everything below takes it as an argument.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use coordinator::forecast::Spent;
use rustix::time::{ClockId, clock_gettime};

/// Now, UTC, RFC 3339 to the second.
#[must_use]
pub fn now() -> String {
    now_utc().to_rfc3339()
}

/// Now, UTC, to the second.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is where the time comes from")]
pub fn now_utc() -> chrono::DateTime<chrono::Utc> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    chrono::DateTime::from_timestamp(i64::try_from(seconds).unwrap_or_default(), 0).unwrap_or_default()
}

/// Measures what parts of a run take, one after the other.
pub struct Stopwatch {
    clock: Instant,
    cores: f64,
}

impl Stopwatch {
    /// Begins the first part.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is where the time comes from")]
    pub fn start() -> Self {
        Self { clock: Instant::now(), cores: core_seconds() }
    }

    /// Ends a part and begins the next.
    #[must_use]
    pub fn lap(&mut self) -> Spent {
        let now = Self::start();
        let spent = Spent {
            wall_s: now.clock.duration_since(self.clock).as_secs_f64(),
            core_s: (now.cores - self.cores).max(0.0),
        };
        *self = now;
        spent
    }
}

/// Seconds that all threads of this process have spent on cores.
fn core_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
