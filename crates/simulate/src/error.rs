//! Why nothing was simulated, in the user's words.

use std::path::Path;

use imagery::ImageryError;

/// Names the thing, what is wrong with it, and the mend.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// A file cannot be read or written.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: String,
        /// The system's words.
        cause: String,
    },
    /// The county file cannot be used.
    #[error("{path}: {cause}; {mend}")]
    Counties {
        /// The file.
        path: String,
        /// What is wrong.
        cause: String,
        /// What to do.
        mend: String,
    },
    /// An argument makes no sense.
    #[error("{argument}: {cause}; {mend}")]
    Argument {
        /// The argument.
        argument: &'static str,
        /// What is wrong.
        cause: String,
        /// What to do.
        mend: String,
    },
    /// A scene cannot be written.
    #[error(transparent)]
    Imagery(#[from] ImageryError),
}

impl SimulateError {
    pub(crate) fn file(path: &Path, cause: impl ToString) -> Self {
        Self::File { path: path.display().to_string(), cause: cause.to_string() }
    }
}
