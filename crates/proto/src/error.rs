//! Why bytes are not the object that they should be.

/// An object or a message that cannot be taken.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConvertError {
    /// Not protobuf, or of another type.
    #[error("not a readable {kind}: {cause}")]
    Malformed {
        /// Kind of object.
        kind: &'static str,
        /// The decoder's words.
        cause: String,
    },
    /// Larger than any such object may be.
    #[error("a {kind} of {length} bytes is larger than the limit of {limit} bytes")]
    TooLarge {
        /// Kind of object.
        kind: &'static str,
        /// Its length.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// A value that makes no sense.
    #[error("{field}: {problem}")]
    Invalid {
        /// Path to the field, `cells[7].pairs`.
        field: String,
        /// What is wrong.
        problem: String,
    },
}

impl ConvertError {
    pub(crate) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), problem: problem.into() }
    }

    /// The same error, seen from one level further out.
    pub(crate) fn within(self, outer: &str) -> Self {
        match self {
            Self::Invalid { field, problem } if field.starts_with('[') || field.is_empty() => {
                Self::Invalid { field: format!("{outer}{field}"), problem }
            }
            Self::Invalid { field, problem } => Self::Invalid { field: format!("{outer}.{field}"), problem },
            other => other,
        }
    }
}

/// Adds where an error happened.
pub(crate) trait Within<T> {
    fn within(self, outer: &str) -> Result<T, ConvertError>;
    fn at(self, index: usize) -> Result<T, ConvertError>;
}

impl<T> Within<T> for Result<T, ConvertError> {
    fn within(self, outer: &str) -> Self {
        self.map_err(|error| error.within(outer))
    }

    fn at(self, index: usize) -> Self {
        self.map_err(|error| error.within(&format!("[{index}]")))
    }
}

/// Converts each item of a repeated field; an error names the field and the index.
pub(crate) fn each<T, U>(
    field: &str,
    items: Vec<T>,
    convert: impl Fn(T) -> Result<U, ConvertError>,
) -> Result<Vec<U>, ConvertError> {
    items.into_iter().enumerate().map(|(index, item)| convert(item).at(index).within(field)).collect()
}

/// The message of a field that must be there.
pub(crate) fn required<T>(field: &str, value: Option<T>) -> Result<T, ConvertError> {
    value.ok_or_else(|| ConvertError::invalid(field, "it is missing"))
}

/// A number that is one (not NaN, not infinite).
pub(crate) fn finite(field: &str, value: f64) -> Result<f64, ConvertError> {
    if value.is_finite() { Ok(value) } else { Err(ConvertError::invalid(field, format!("{value} is not a number"))) }
}

/// An array of exactly `N` values.
pub(crate) fn exactly<T, const N: usize>(field: &str, values: Vec<T>) -> Result<[T; N], ConvertError> {
    let found = values.len();
    values.try_into().map_err(|_| ConvertError::invalid(field, format!("{found} values where there must be {N}")))
}

/// A number that fits a narrower type.
pub(crate) fn narrow<T, U: TryFrom<T>>(field: &str, value: T) -> Result<U, ConvertError>
where
    T: Copy + std::fmt::Display,
{
    U::try_from(value).map_err(|_| ConvertError::invalid(field, format!("{value} is out of range")))
}

/// An index into a list of `length` items.
pub(crate) fn index_into(field: &str, index: u32, length: usize) -> Result<u32, ConvertError> {
    if usize::try_from(index).is_ok_and(|index| index < length) {
        Ok(index)
    } else {
        Err(ConvertError::invalid(field, format!("index {index} into a list of {length}")))
    }
}
