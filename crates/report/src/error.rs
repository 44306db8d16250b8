//! Why a report can't be made.

use survey::ids::CountyId;

/// Why a report can't be made, in the user's words.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The plan's CRS can't be brought to longitude and latitude.
    #[error("the survey's grid has the CRS `{crs}`, which can't be brought to longitude and latitude: {cause}")]
    Crs {
        /// The CRS.
        crs: String,
        /// Why.
        cause: String,
    },
    /// A county of the plan has no outcome: leaving it out would be a silent hole.
    #[error("county {0} is planned, but has neither a result nor a reason why not; finish the survey or cancel it")]
    CountyWithoutOutcome(CountyId),
    /// A county has two outcomes.
    #[error("county {0} has two outcomes")]
    CountyTwice(CountyId),
    /// An outcome names a county that isn't planned.
    #[error("there is a result for county {0}, which isn't planned; was the output used by another survey?")]
    CountyNotPlanned(CountyId),
    /// Two chips share a name.
    #[error("there are two chips called `{0}`")]
    ChipTwice(String),
    /// The page needs a chip whose bytes were not given.
    #[error("the bytes of chip `{0}` were not given")]
    ChipMissing(String),
    /// A file could not be encoded.
    #[error("{file} could not be written: {cause}")]
    Encode {
        /// The file under `results/`.
        file: String,
        /// Why.
        cause: String,
    },
}

impl ReportError {
    /// An encoder's failure, with the file that it was about.
    pub(crate) fn encode(file: &str) -> impl Fn(String) -> Self + '_ {
        move |cause| Self::Encode { file: file.to_owned(), cause }
    }
}
