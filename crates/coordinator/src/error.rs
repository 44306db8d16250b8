//! Why a coordinator refuses or stops.

use imagery::ImageryError;
use survey::ids::SurveyId;
use survey::job::JobKey;

use crate::journal::JournalError;

/// An error of the coordinator, in the user's words.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum CoordinatorError {
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
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
    #[error("{output}: `results/manifest.json` is not one of a survey ({cause}); choose another output")]
    UnknownResults {
        /// The output.
        output: String,
        /// What is wrong with it.
        cause: String,
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
    /// Nobody knows the survey.
    #[error("there is no survey `{0}` here")]
    UnknownSurvey(SurveyId),
    /// A request makes no sense.
    #[error("{0}")]
    BadRequest(proto::ConvertError),
    /// The coordinator has stopped.
    #[error("the coordinator has stopped: {0}")]
    Stopped(String),
}

impl From<CoordinatorError> for tonic::Status {
    fn from(error: CoordinatorError) -> Self {
        let message = error.to_string();
        match error {
            CoordinatorError::Journal(JournalError::Fenced { .. }) => Self::aborted(message),
            CoordinatorError::Journal(_)
            | CoordinatorError::OtherSurvey { .. }
            | CoordinatorError::UnknownResults { .. } => Self::failed_precondition(message),
            CoordinatorError::Store(_) | CoordinatorError::Stopped(_) => Self::unavailable(message),
            CoordinatorError::Object { .. } => Self::data_loss(message),
            CoordinatorError::TooLarge { .. } | CoordinatorError::BadRequest(_) => Self::invalid_argument(message),
            CoordinatorError::UnknownSurvey(_) => Self::not_found(message),
        }
    }
}
