//! Why a job failed, in the user's words, with what that means for a scheduler.

use imagery::ImageryError;
use survey::failure::FailureClass;

/// An error of a job.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JobError {
    /// Pixels or objects could not be had.
    #[error(transparent)]
    Imagery(#[from] ImageryError),
    /// A committed object does not say what it should.
    #[error("{key}: {cause}; delete it and run the survey again")]
    Object {
        /// The object's key.
        key: String,
        /// What is wrong.
        cause: String,
    },
    /// The job refers to something that the plan does not have.
    #[error("job {key}: {cause}; plan the survey again")]
    Plan {
        /// The job.
        key: String,
        /// What is wrong.
        cause: String,
    },
    /// The scenes of a pair cannot be compared.
    #[error("scenes {pair}: {cause}; leave one of them out, or widen [before] and [after]")]
    Pair {
        /// The pair's key.
        pair: String,
        /// Why.
        cause: String,
    },
    /// An object that the job needs was never made.
    #[error("job {key} needs {from}, which failed for good")]
    Missing {
        /// The job.
        key: String,
        /// The failed one.
        from: String,
    },
    /// The job does not fit into memory.
    #[error(
        "job {key} needs {} and this worker may use {}; give it more memory (--memory), or set a smaller grid.tile_px",
        mebibytes(*needed),
        mebibytes(*limit)
    )]
    TooLarge {
        /// The job.
        key: String,
        /// Bytes it declares.
        needed: u64,
        /// Bytes there are.
        limit: u64,
    },
    /// Something in the job broke an assumption of the software.
    #[error("job {key} broke down ({what}); this is a fault of the software, please report it")]
    Panicked {
        /// The job.
        key: String,
        /// The panic's message.
        what: String,
    },
}

impl JobError {
    /// What the failure means for a scheduler.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Imagery(error) => error.class(),
            Self::Object { .. } => FailureClass::Fatal,
            Self::Plan { .. } | Self::Pair { .. } | Self::Missing { .. } => FailureClass::BadInput,
            Self::TooLarge { .. } => FailureClass::OutOfMemory,
            Self::Panicked { .. } => FailureClass::Poison,
        }
    }

    /// The error of a panic that was caught.
    #[must_use]
    pub fn of_panic(key: &str, panic: &(dyn std::any::Any + Send)) -> Self {
        let what = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "without a message".to_owned());
        Self::Panicked { key: key.to_owned(), what }
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}
