//! Why a coordinator refuses or stops.

use imagery::ImageryError;
use survey::failure::FailureClass;
use survey::ids::SurveyId;
use survey::job::JobKey;

use crate::journal::JournalError;

/// An error of the coordinator, in the user's words.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum CoordinatorError {
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A survey was begun by other software.
    #[error(
        "it was begun by version {found} and this is version {running}: results of two versions do not mix; submit it again"
    )]
    OtherVersion {
        /// The version that began it.
        found: String,
        /// The version that runs.
        running: &'static str,
    },
    /// The output belongs to another survey.
    #[error(
        "{output}: it holds the survey `{found_name}` ({found}), and this one is `{wanted_name}` ({wanted}); choose another output (survey.output or --out), or delete that survey's files"
    )]
    OtherSurvey {
        /// The output.
        output: String,
        /// Name of the survey that is there.
        found_name: String,
        /// Its id.
        found: SurveyId,
        /// Name of the survey that was submitted.
        wanted_name: String,
        /// Its id.
        wanted: SurveyId,
    },
    /// The output holds something, and it cannot be said of which survey.
    #[error("{output}: `{file}` is not one of a survey ({cause}); choose another output")]
    UnknownResults {
        /// The output.
        output: String,
        /// The file.
        file: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// The survey is known, and lies elsewhere.
    #[error(
        "{output}: the survey {survey} is already under {known}; take its results from there, or submit it with that output"
    )]
    Elsewhere {
        /// The output that was asked for.
        output: String,
        /// The survey.
        survey: SurveyId,
        /// Its output.
        known: String,
    },
    /// An object cannot be fetched.
    #[error(transparent)]
    Store(#[from] ImageryError),
    /// An object is not what it should be.
    #[error("{key}: {error}")]
    Object {
        /// Its key.
        key: String,
        /// What is wrong with it.
        error: proto::ConvertError,
    },
    /// A job needs more memory than workers have.
    #[error(
        "{job} needs {needed_mib} MiB of memory and a worker gives one job {given_mib} MiB; {}",
        if matches!(job, JobKey::Detect(_)) {
            "use smaller tiles (grid.tile_px), more memory (--memory) or fewer workers (--workers)"
        } else {
            "give workers more memory (--memory), or use fewer of them (--workers)"
        }
    )]
    TooLarge {
        /// The job.
        job: JobKey,
        /// What it needs.
        needed_mib: u64,
        /// What it would get.
        given_mib: u64,
    },
    /// A spec cannot be planned.
    #[error("{message}")]
    Refused {
        /// What that means for another attempt.
        class: FailureClass,
        /// Why, in the user's words.
        message: String,
    },
    /// Too much is asked at once.
    #[error("{0} surveys are being planned already; submit this one again in a while")]
    Busy(usize),
    /// Nobody knows the survey.
    #[error("there is no survey `{0}` here")]
    UnknownSurvey(String),
    /// Nobody has heard of the worker.
    #[error("no worker `{0}` was heard of lately")]
    UnknownWorker(String),
    /// A request makes no sense.
    #[error("{0}")]
    BadRequest(proto::ConvertError),
    /// An invariant of the schedule is broken: nothing that follows from it was written down.
    #[error(
        "the coordinator stops before its books go wrong: {0}; start it again, it goes on from its journal, and please report this"
    )]
    Broken(String),
    /// The coordinator has stopped.
    #[error("the coordinator has stopped: {0}")]
    Stopped(String),
}

impl CoordinatorError {
    /// What the error means for another attempt.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Refused { class, .. } => *class,
            Self::Journal(_) | Self::Busy(_) | Self::Broken(_) | Self::Stopped(_) => FailureClass::Retryable,
            _ => FailureClass::BadInput,
        }
    }
}

impl From<CoordinatorError> for tonic::Status {
    fn from(error: CoordinatorError) -> Self {
        use CoordinatorError as Error;
        let message = error.to_string();
        match error {
            Error::Journal(JournalError::Fenced { .. }) => Self::aborted(message),
            Error::Refused { class: FailureClass::Retryable, .. } => Self::unavailable(message),
            Error::Refused { class: FailureClass::Cancelled, .. } => Self::cancelled(message),
            Error::Journal(_)
            | Error::OtherSurvey { .. }
            | Error::OtherVersion { .. }
            | Error::UnknownResults { .. }
            | Error::Elsewhere { .. } => Self::failed_precondition(message),
            Error::Store(error) if error.class() == FailureClass::BadInput => Self::invalid_argument(message),
            Error::Store(_) | Error::Broken(_) | Error::Stopped(_) => Self::unavailable(message),
            Error::Object { .. } => Self::data_loss(message),
            Error::TooLarge { .. } | Error::BadRequest(_) | Error::Refused { .. } => Self::invalid_argument(message),
            Error::Busy(_) => Self::resource_exhausted(message),
            Error::UnknownSurvey(_) | Error::UnknownWorker(_) => Self::not_found(message),
        }
    }
}
