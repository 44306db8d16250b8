//! `groundbreak results`: the results of a survey of a cluster, copied.

use std::path::PathBuf;

use anyhow::{Result, bail};
use futures::{StreamExt, TryStreamExt};
use imagery::commit::Output;
use proto::v1;
use sha2::{Digest, Sha256};

use crate::cluster::connection::{Client, Connection};
use crate::cluster::standing;
use crate::cluster::storage::StorageOptions;
use crate::failure::{self, Failure};
use crate::results::Outcome;
use crate::runtime;

/// Files that are copied at the same time.
const AT_ONCE: usize = 8;

/// Copies the results of a survey from where the cluster wrote them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The survey.
    id: String,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    storage: StorageOptions,
    /// Folder for them. They lie there as they do in the bucket: `results/…`.
    #[arg(long)]
    out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// See `docs/exit-codes.md`.
#[allow(clippy::print_stdout, reason = "the table is what the command is for")]
pub fn run(args: &Args) -> Result<()> {
    let stores = args.storage.stores()?;
    runtime::current()?.block_on(async {
        let get = |mut client: Client| {
            let survey = args.id.clone();
            async move { client.get_survey(v1::GetSurveyRequest { survey }).await }
        };
        let survey = args.connection.ask(get).await?;
        let has_results = matches!(survey.state(), v1::SurveyState::Complete | v1::SurveyState::CompleteWithGaps);
        if !has_results {
            let message = format!("there are no results yet: {}", standing::line(&survey));
            return Err(Failure { code: failure::INCOMPLETE, message }.into());
        }
        let output = Output::open(&survey.output, &stores)?;
        let count = copy(&output, &args.out).await?;
        println!("{}", Outcome::load(&output).await?.table()?);
        println!("{count} files: {}", args.out.join("results").display());
        Ok(())
    })
}

/// Copies `results/`, each file checked against the manifest, which comes last.
async fn copy(output: &Output, to: &std::path::Path) -> Result<usize> {
    const MANIFEST: &str = "results/manifest.json";
    let Some(manifest) = output.get(MANIFEST).await? else {
        bail!("{}/{MANIFEST}: it is not there; submit the survey again with --again", output.label());
    };
    let document: serde_json::Value = serde_json::from_slice(&manifest)?;
    let digests = digests(&document);
    let keys: Vec<String> = output.list("results").await?.into_iter().filter(|key| key != MANIFEST).collect();
    let digests = &digests;
    futures::stream::iter(&keys)
        .map(Ok::<_, anyhow::Error>)
        .try_for_each_concurrent(AT_ONCE, |key| async move {
            let Some(bytes) = output.get(key).await? else { bail!("{}/{key}: it has gone", output.label()) };
            // What the manifest does not name is what an earlier report left.
            let Some(wanted) = key.strip_prefix("results/").and_then(|name| digests.get(name)) else { return Ok(()) };
            if hex::encode(Sha256::digest(&bytes)) != *wanted {
                bail!(
                    "{}/{key}: its bytes are not those of the manifest; submit the survey again with --again",
                    output.label()
                );
            }
            write(&to.join(key), &bytes)
        })
        .await?;
    write(&to.join(MANIFEST), &manifest)?;
    Ok(keys.len() + 1)
}

/// Names and SHA-256 of the manifest's files.
fn digests(manifest: &serde_json::Value) -> std::collections::BTreeMap<String, String> {
    let text =
        |value: &serde_json::Value, key: &str| value.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
    let files = manifest.get("results").and_then(serde_json::Value::as_array);
    files.into_iter().flatten().filter_map(|file| Some((text(file, "path")?, text(file, "sha256")?))).collect()
}

fn write(path: &std::path::Path, bytes: &[u8]) -> Result<()> {
    let refuse =
        |error: std::io::Error| Failure { code: failure::OUTPUT, message: format!("{}: {error}", path.display()) };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(refuse)?;
    }
    Ok(std::fs::write(path, bytes).map_err(refuse)?)
}
