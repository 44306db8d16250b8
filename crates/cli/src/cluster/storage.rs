//! Credentials of stores for coordinators and workers: a file with the `[[storage]]` sections that a survey file would
//! have.

use std::path::PathBuf;

use anyhow::Result;
use imagery::store::Stores;
use serde::Deserialize;
use survey::spec::StorageSection;

use crate::cluster::connection::secret;
use crate::failure;

/// Which stores a process may use, and how.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct StorageOptions {
    /// File with `[[storage]]` sections as in docs/survey.md: endpoints, and the names of the variables that hold
    /// credentials.
    #[arg(long, env = "GROUNDBREAK_STORAGE")]
    storage: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StorageFile {
    #[serde(default)]
    storage: Vec<StorageSection>,
}

impl StorageOptions {
    /// The stores. Relative prefixes are relative to the working directory.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn stores(&self) -> Result<Stores> {
        let sections = match &self.storage {
            None => Vec::new(),
            Some(path) => {
                let text = String::from_utf8_lossy(&secret(path)?).into_owned();
                let file: StorageFile =
                    toml::from_str(&text).map_err(|error| failure::input(format!("{}: {error}", path.display())))?;
                file.storage
            }
        };
        Ok(Stores::new(&sections, ".")?)
    }
}
