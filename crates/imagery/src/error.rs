//! Why pixels or documents could not be had, in the user's words.

use survey::failure::FailureClass;

/// An error that names the thing, what is wrong with it and, where there is one, the mend.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ImageryError {
    /// Nothing is there.
    #[error("{href}: not found; check the path and the access rights")]
    NotFound {
        /// URL or path.
        href: String,
    },
    /// The store refuses.
    #[error("{href}: access denied ({cause}); check credentials, or set `anonymous` in [[storage]]")]
    Denied {
        /// URL or path.
        href: String,
        /// The store's words.
        cause: String,
    },
    /// The network or the store failed, after all retries.
    #[error("{href}: {cause}")]
    Transient {
        /// URL or path.
        href: String,
        /// What happened.
        cause: String,
    },
    /// The file breaks its format, or a limit on what a file may demand.
    #[error("{href}: {cause}")]
    Corrupt {
        /// URL or path.
        href: String,
        /// What is wrong.
        cause: String,
    },
    /// The file is in order and uses something that is not supported.
    #[error("{href}: {what} is not supported; {mend}")]
    Unsupported {
        /// URL or path.
        href: String,
        /// The feature.
        what: String,
        /// What to do.
        mend: String,
    },
    /// The object is not the one that was planned with.
    #[error("{href}: the file has changed since the survey was planned ({cause}); plan the survey again")]
    Changed {
        /// URL or path.
        href: String,
        /// Expected and found.
        cause: String,
    },
    /// A document (STAC, GeoJSON, spec) cannot be used.
    #[error("{href}: {cause}; {mend}")]
    Document {
        /// URL or path.
        href: String,
        /// What is wrong.
        cause: String,
        /// What to do.
        mend: String,
    },
    /// A coordinate reference system is unknown, or cannot be used.
    #[error("CRS `{crs}`: {cause}")]
    Crs {
        /// As written.
        crs: String,
        /// What is wrong and what to do.
        cause: String,
    },
    /// An output cannot be written.
    #[error("{href}: cannot be written ({cause}); choose another output or free some space")]
    Output {
        /// URL or path.
        href: String,
        /// The system's words.
        cause: String,
    },
}

impl ImageryError {
    /// What the failure means for a scheduler.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Transient { .. } => FailureClass::Retryable,
            Self::Changed { .. } => FailureClass::InputChanged,
            Self::Output { .. } => FailureClass::Fatal,
            Self::NotFound { .. }
            | Self::Denied { .. }
            | Self::Corrupt { .. }
            | Self::Unsupported { .. }
            | Self::Document { .. }
            | Self::Crs { .. } => FailureClass::BadInput,
        }
    }
}
