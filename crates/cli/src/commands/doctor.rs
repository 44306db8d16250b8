//! `groundbreak doctor`: what will not work, before it is trusted.

use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use bytesize::ByteSize;
use futures::future::join_all;
use imagery::commit::Output;
use proto::v1;
use tokio::time::Instant;

use crate::cluster::connection::Proof;
use crate::cluster::storage::StorageOptions;
use crate::failure::{self, Failure};
use crate::{clock, input, names, runtime};

/// Rounds of the race for one key, and how many run in it.
const ROUNDS: usize = 20;
const RUNNERS: usize = 8;
/// Small requests that latency is taken from.
const REQUESTS: usize = 20;
/// Bytes that throughput is taken from.
const LARGE: usize = 16 << 20;
/// A clock that is further off than this breaks signed requests and certificates.
const LARGEST_SKEW: Duration = Duration::from_secs(60);

/// Tests a store, and a coordinator, for all that a survey relies on: permissions, the race for one key, clock, TLS,
/// latency, throughput.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where a survey would write: a folder or a bucket's URL. What is written there for the test is deleted again.
    #[arg(long)]
    store: String,
    #[command(flatten)]
    storage: StorageOptions,
    /// A coordinator to be tested, too.
    #[arg(long)]
    coordinator: Option<String>,
    #[command(flatten)]
    proof: Proof,
}

/// What was found.
enum Finding {
    Good(String),
    /// Will not work, with the mend.
    Bad(String),
}

use Finding::{Bad, Good};

/// Runs the command.
///
/// # Errors
/// See `docs/exit-codes.md`.
#[allow(clippy::print_stdout, reason = "the findings are what the command is for")]
pub fn run(args: &Args) -> Result<()> {
    let stores = args.storage.stores()?;
    let output = input::named_output(&args.store, &stores)?;
    runtime::current()?.block_on(async {
        let mut bad = 0_usize;
        let mut tell = |name: &str, finding: Finding| {
            let (mark, words) = match finding {
                Good(words) => ("ok  ", words),
                Bad(words) => {
                    bad += 1;
                    ("FAIL", words)
                }
            };
            println!("{mark} {name:<12} {words}");
        };
        let folder = format!("doctor-{}", names::process());
        println!("store {}", output.label());
        let may_write = permissions(&output, &folder).await;
        let is_usable = matches!(may_write, Good(_));
        tell("permissions", may_write);
        if is_usable {
            tell("race", race(&output, &folder).await);
            tell("clock", clock_of(&output, &folder).await);
            tell("latency", latency(&output, &folder).await);
            tell("throughput", throughput(&output, &folder).await);
            for key in output.list(&folder).await.unwrap_or_default() {
                let _ = output.delete(&key).await;
            }
        }
        if let Some(url) = &args.coordinator {
            println!("coordinator {url}");
            for (name, finding) in coordinator(url, &args.proof).await? {
                tell(name, finding);
            }
        }
        if bad > 0 {
            let message = format!("{bad} of the tests failed: do not trust a survey to this before they pass");
            bail!(Failure { code: failure::UNFIT, message });
        }
        Ok(())
    })
}

async fn permissions(output: &Output, folder: &str) -> Finding {
    let key = format!("{folder}/permissions");
    let content = Bytes::from_static(b"groundbreak doctor");
    let mend = "the credentials must allow to put, get, list and delete there";
    if let Err(error) = output.put(&key, content.clone()).await {
        return Bad(format!("put: {error}; {mend}"));
    }
    match output.get(&key).await {
        Ok(Some(found)) if found == content => {}
        Ok(_) => return Bad(format!("what was put is not what is got; {mend}")),
        Err(error) => return Bad(format!("get: {error}; {mend}")),
    }
    match output.list(folder).await {
        Ok(keys) if keys.contains(&key) => {}
        Ok(_) => {
            return Bad("a listing does not show what was put: the store is not consistent; use another".to_owned());
        }
        Err(error) => return Bad(format!("list: {error}; {mend}")),
    }
    if let Err(error) = output.delete(&key).await {
        return Bad(format!("delete: {error}; {mend}"));
    }
    match output.get(&key).await {
        Ok(None) => Good("put, get, list and delete".to_owned()),
        Ok(Some(_)) => Bad("what was deleted is still there: the store is not consistent; use another".to_owned()),
        Err(error) => Bad(format!("get after delete: {error}; {mend}")),
    }
}

/// Several put one key if it is absent: one must win, and its bytes must stand. A journal's fencing rests on it.
async fn race(output: &Output, folder: &str) -> Finding {
    for round in 0..ROUNDS {
        let key = format!("{folder}/race-{round}");
        let puts = (0..RUNNERS).map(|runner| {
            let key = &key;
            async move { output.put_if_absent(key, Bytes::from(format!("runner {runner}"))).await }
        });
        let results = join_all(puts).await;
        let mut winners = Vec::new();
        for (runner, result) in results.iter().enumerate() {
            match result {
                Ok(true) => winners.push(runner),
                Ok(false) => {}
                Err(error) => return Bad(format!("conditional put: {error}; the store must know If-None-Match: *")),
            }
        }
        let [winner] = winners[..] else {
            return Bad(format!(
                "{} of {RUNNERS} writers were told that they created the same object (round {round}): two coordinators \
                 could both believe that they are the only one; use another store, or a newer version of it",
                winners.len()
            ));
        };
        match output.get(&key).await {
            Ok(Some(bytes)) if bytes == format!("runner {winner}") => {}
            Ok(_) => {
                return Bad(format!(
                    "the writer that won is not the one whose bytes stand (round {round}); use another store"
                ));
            }
            Err(error) => return Bad(format!("get: {error}")),
        }
    }
    Good(format!("{ROUNDS} rounds of {RUNNERS} writers for one key: one winner each"))
}

/// The store's clock against this machine's, by when it says that an object was written.
async fn clock_of(output: &Output, folder: &str) -> Finding {
    let key = format!("{folder}/clock");
    let written = async {
        output.put(&key, Bytes::from_static(b"clock")).await?;
        output.file(&key)?.head().await
    };
    let here = clock::now_utc();
    let head = match written.await {
        Ok(head) => head,
        Err(error) => return Bad(error.to_string()),
    };
    let skew = (head.modified - here).abs().to_std().unwrap_or_default();
    if skew > LARGEST_SKEW {
        Bad(format!("this machine and the store differ by {} s; set the clock (NTP)", skew.as_secs()))
    } else {
        Good(format!("within {} s of the store's", skew.as_secs() + 1))
    }
}

async fn latency(output: &Output, folder: &str) -> Finding {
    let mut waits = Vec::new();
    for request in 0..REQUESTS {
        let key = format!("{folder}/latency-{request}");
        let began = Instant::now();
        let done = async {
            output.put(&key, Bytes::from_static(b"x")).await?;
            output.get(&key).await
        };
        if let Err(error) = done.await {
            return Bad(error.to_string());
        }
        waits.push(began.elapsed() / 2);
    }
    waits.sort();
    let milliseconds = |at: usize| waits.get(at).map_or(0.0, |wait| wait.as_secs_f64() * 1e3);
    Good(format!(
        "{:.1} ms a request in the middle, {:.1} ms at worst",
        milliseconds(REQUESTS / 2),
        milliseconds(REQUESTS - 1)
    ))
}

async fn throughput(output: &Output, folder: &str) -> Finding {
    let key = format!("{folder}/large");
    let pattern: Vec<u8> = (0..LARGE).map(|index| (index % 251) as u8).collect();
    let content = Bytes::from(pattern);
    let began = Instant::now();
    if let Err(error) = output.put(&key, content.clone()).await {
        return Bad(error.to_string());
    }
    let put = began.elapsed();
    let began = Instant::now();
    match output.get(&key).await {
        Ok(Some(found)) if found == content => {}
        Ok(_) => {
            return Bad(format!(
                "{} that were put are not those that are got; use another store",
                ByteSize(LARGE as u64)
            ));
        }
        Err(error) => return Bad(error.to_string()),
    }
    let rate = |took: Duration| ByteSize((LARGE as f64 / took.as_secs_f64().max(1e-9)) as u64);
    Good(format!("{}/s put, {}/s got, one connection", rate(put), rate(began.elapsed())))
}

/// TLS, token and version of a coordinator.
async fn coordinator(url: &str, proof: &Proof) -> Result<Vec<(&'static str, Finding)>> {
    let credentials = proof.credentials()?;
    let began = Instant::now();
    let channel = match credentials.connect(url).await {
        Ok(channel) => channel,
        Err(cause) => return Ok(vec![("connection", Bad(cause))]),
    };
    let is_tls = url.starts_with("https:");
    let words = format!("{} in {:.0} ms", if is_tls { "TLS" } else { "no TLS" }, began.elapsed().as_secs_f64() * 1e3);
    let mut findings = vec![("connection", Good(words))];
    let mut client = v1::survey_service_client::SurveyServiceClient::new(channel);
    let began = Instant::now();
    findings.push((
        "token",
        match client.list_surveys(v1::ListSurveysRequest {}).await {
            Ok(answer) => Good(format!(
                "it lets us see {} surveys, in {:.0} ms",
                answer.into_inner().surveys.len(),
                began.elapsed().as_secs_f64() * 1e3
            )),
            // A worker's token is right, and may not see surveys.
            Err(status) if status.code() == tonic::Code::PermissionDenied && status.message().contains("`worker`") => {
                Good("a worker's".to_owned())
            }
            Err(status) => Bad(status.message().to_owned()),
        },
    ));
    Ok(findings)
}
