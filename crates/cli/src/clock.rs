//! Where the time comes from: everything below takes it as an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
