//! Why something failed, in the one vocabulary that survives the wire.

use serde::{Deserialize, Serialize};

/// What a failure means for whoever decides what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// The same attempt may succeed later: a time-out, a 503, a reset connection.
    Retryable,
    /// The job needs more memory than it was admitted with.
    OutOfMemory,
    /// The input is wrong and stays wrong: a corrupt file, a missing band, a typo.
    BadInput,
    /// An object is no longer the one that was planned with (its size or ETag changed).
    InputChanged,
    /// The job panicked or killed its worker.
    Poison,
    /// The store, the disk or the software is broken in a way that no retry mends.
    Fatal,
    /// It was stopped or never begun: somebody asked for that, its worker leaves, or its turn did not come.
    Cancelled,
}

impl FailureClass {
    /// Whether another attempt on another worker makes sense.
    #[must_use]
    pub fn is_worth_another_attempt(self) -> bool {
        matches!(self, Self::Retryable | Self::OutOfMemory | Self::Poison)
    }
}
