//! The survey file and what it refers to.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use imagery::commit::Output;
use imagery::store::Stores;
use survey::spec::SurveySpec;

use crate::failure;

/// The largest survey file.
const MAX_SPEC_BYTES: u64 = 16 << 20;

/// A survey file, read.
pub struct SurveyFile {
    /// What it asks.
    pub spec: SurveySpec,
    /// Its text, kept beside the results.
    pub text: String,
    /// Stores that its paths and URLs are found through.
    pub stores: Stores,
}

impl SurveyFile {
    /// Reads a survey file.
    ///
    /// # Errors
    /// Names the file, the key and the mend.
    pub fn read(path: &Path) -> Result<Self> {
        let file = path.display();
        let size = std::fs::metadata(path)
            .map_err(|error| failure::input(format!("{file}: {error}; name a survey file (docs/survey.md)")))?
            .len();
        if size > MAX_SPEC_BYTES {
            return Err(failure::input(format!("{file}: {size} bytes are no survey file; see docs/survey.md")).into());
        }
        let text = std::fs::read_to_string(path).map_err(|error| failure::input(format!("{file}: {error}")))?;
        let spec = SurveySpec::parse(&text).map_err(|error| failure::input(format!("{file}: {error}")))?;
        let folder = absolute(path)?.parent().map(Path::to_path_buf).unwrap_or_default();
        let stores = Stores::new(&spec.storage, &folder.to_string_lossy())?;
        Ok(Self { spec, text, stores })
    }

    /// The output: what `--out` says, relative to the working directory, or the survey file, relative to itself.
    ///
    /// # Errors
    /// Where the place is not one that can be written to.
    pub fn output(&self, out: Option<&str>) -> Result<Output> {
        Ok(Output::open(&self.output_url(out)?, &self.stores)?)
    }

    fn output_url(&self, out: Option<&str>) -> Result<String> {
        match out {
            Some(url) if url.contains("://") => Ok(url.to_owned()),
            Some(folder) => Ok(absolute(Path::new(folder))?.to_string_lossy().into_owned()),
            None => Ok(self.stores.resolve(&self.spec.survey.output)?),
        }
    }
}

/// The output named on a command line.
///
/// # Errors
/// Where it cannot be used.
pub fn named_output(out: &str, stores: &Stores) -> Result<Output> {
    let url =
        if out.contains("://") { out.to_owned() } else { absolute(Path::new(out))?.to_string_lossy().into_owned() };
    Ok(Output::open(&url, stores)?)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{}: no such place", path.display()))
}
