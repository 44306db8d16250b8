//! Why a survey cannot be planned.

use imagery::ImageryError;
use survey::failure::FailureClass;
use survey::spec::SpecError;

/// An error that names the key of the survey file, what is wrong, and the mend.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The survey file itself.
    #[error("{file}: {error}")]
    Spec {
        /// The survey file.
        file: String,
        /// What is wrong with it.
        error: SpecError,
    },
    /// A file or catalog that the survey names.
    #[error("{key}: {error}")]
    Input {
        /// Key of the survey file that names it.
        key: String,
        /// What is wrong with it.
        error: ImageryError,
    },
    /// A value does not fit the data.
    #[error("{key}: {problem}; {mend}")]
    Unfit {
        /// Key of the survey file.
        key: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        mend: String,
    },
}

impl PlanError {
    /// A value that does not fit the data.
    pub(crate) fn unfit(key: &str, problem: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::Unfit { key: key.into(), problem: problem.into(), mend: mend.into() }
    }

    /// For `map_err`: the key that named the input.
    pub(crate) fn input(key: &str) -> impl FnOnce(ImageryError) -> Self {
        let key = key.to_owned();
        move |error| Self::Input { key, error }
    }

    /// What the failure means.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Spec { .. } | Self::Unfit { .. } => FailureClass::BadInput,
            Self::Input { error, .. } => error.class(),
        }
    }
}
