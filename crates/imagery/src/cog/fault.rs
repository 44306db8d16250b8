//! What is wrong with a file, before it is known which file it is.

use crate::ImageryError;

/// A defect, or a feature that is not supported. Pure code returns it; the reader adds the file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The file breaks its format or a limit.
    Corrupt(String),
    /// The file is in order and uses something that is not supported.
    Unsupported(String),
}

/// Result of parsing or decoding.
pub(crate) type Checked<T> = Result<T, Fault>;

impl Fault {
    pub(crate) fn corrupt(cause: impl Into<String>) -> Self {
        Self::Corrupt(cause.into())
    }

    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported(what.into())
    }

    /// The same fault with a place in front, such as `IFD 2`.
    pub(crate) fn at(self, place: &str) -> Self {
        match self {
            Self::Corrupt(cause) => Self::Corrupt(format!("{place}: {cause}")),
            Self::Unsupported(what) => Self::Unsupported(format!("{what} ({place})")),
        }
    }

    /// The error for the file `href`.
    pub(crate) fn of_file(self, href: &str) -> ImageryError {
        match self {
            Self::Corrupt(cause) => ImageryError::Corrupt { href: href.to_owned(), cause },
            Self::Unsupported(what) => ImageryError::Unsupported {
                href: href.to_owned(),
                what,
                mend: "convert it with `gdal_translate -of COG -co COMPRESS=DEFLATE`".to_owned(),
            },
        }
    }
}
