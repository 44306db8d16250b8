//! How a command reaches the coordinator.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use proto::v1::survey_service_client::SurveyServiceClient;
use proto::{MAX_MESSAGE_BYTES, MAX_SUBMISSION_BYTES};
use tonic::{Code, Status};
use worker::Credentials;
use worker::client::{Authenticated, Bearer};

use crate::failure::{self, Failure};

/// How long a coordinator that cannot be reached, because it is being replaced for instance, is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pauses between two tries: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Longest file with a token or a certificate.
const MAX_SECRET_BYTES: u64 = 1 << 20;

/// A client of the coordinator's surveys.
pub type Client = SurveyServiceClient<Authenticated>;

/// Where the coordinator is, and what proves who is calling.
#[derive(Clone, Debug, clap::Args)]
pub struct Connection {
    /// The coordinator's URL.
    #[arg(long, env = "GROUNDBREAK_COORDINATOR", default_value = "http://127.0.0.1:7070")]
    pub coordinator: String,
    #[command(flatten)]
    pub proof: Proof,
}

/// What proves who is calling, and that the coordinator is who it says.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Proof {
    /// File with this caller's token, alone on its line.
    #[arg(long, env = "GROUNDBREAK_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Certificates (PEM) of the authority that the coordinator's certificate is signed by; by default the system's.
    #[arg(long, env = "GROUNDBREAK_TLS_CA")]
    tls_ca: Option<PathBuf>,
    /// This caller's certificate (PEM), where the coordinator asks for one.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of that certificate (PEM).
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

impl Proof {
    /// Reads the files.
    ///
    /// # Errors
    /// Names the file; shows nothing of it.
    pub fn credentials(&self) -> Result<Credentials> {
        let bearer = match &self.token_file {
            Some(path) => {
                let text = String::from_utf8(secret(path)?).map_err(|_| {
                    failure::input(format!("{}: it is not text; write the token alone on its line", path.display()))
                })?;
                let token = text.trim();
                if token.is_empty() || token.contains(char::is_whitespace) {
                    let cause = "write the token alone on its line";
                    return Err(failure::input(format!("{}: {cause}", path.display())).into());
                }
                Bearer::new(token).map_err(|cause| failure::input(format!("{}: {cause}", path.display())))?
            }
            None => Bearer::default(),
        };
        let identity = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some((secret(certificate)?, secret(key)?)),
            _ => None,
        };
        Ok(Credentials { authority: self.tls_ca.as_deref().map(secret).transpose()?, identity, bearer })
    }
}

/// The bytes of a file with a secret.
///
/// # Errors
/// Names the file.
pub fn secret(path: &Path) -> Result<Vec<u8>> {
    let refuse = |cause: String| failure::input(format!("{}: {cause}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| refuse(error.to_string()))?.len();
    if length > MAX_SECRET_BYTES {
        return Err(refuse(format!("{length} bytes are no token, certificate or key")).into());
    }
    Ok(std::fs::read(path).map_err(|error| refuse(error.to_string()))?)
}

impl Connection {
    /// Asks, and asks again while the coordinator cannot be reached: every call of the protocol may be repeated.
    ///
    /// # Errors
    /// Not a URL, certificates that cannot be used, nobody answers, or what the coordinator says.
    pub async fn ask<T, F>(&self, mut call: impl FnMut(Client) -> F) -> Result<T>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let credentials = self.proof.credentials()?;
        credentials.endpoint(&self.coordinator).map_err(failure::input)?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            let lost = match credentials.connect(&self.coordinator).await {
                Ok(channel) => match call(client(channel)).await {
                    Ok(answer) => return Ok(answer.into_inner()),
                    Err(status) if is_passing(&status) => refusal(&status),
                    Err(status) => return Err(refusal(&status)),
                },
                Err(cause) => {
                    let message = format!("{cause}; is it running, and is --coordinator right?");
                    Failure { code: failure::UNREACHABLE, message }.into()
                }
            };
            if tokio::time::Instant::now() + pause > deadline {
                return Err(lost);
            }
            tracing::debug!(cause = %lost, "the coordinator cannot be reached; trying on");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn client(channel: Authenticated) -> Client {
    SurveyServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_SUBMISSION_BYTES)
}

/// Whether the same call may succeed in a moment, at this coordinator or at the one that takes its place.
#[must_use]
pub fn is_passing(status: &Status) -> bool {
    use std::error::Error as _;
    match status.code() {
        Code::Unavailable | Code::Aborted | Code::Cancelled | Code::ResourceExhausted => true,
        // A connection that breaks in mid-call.
        Code::Unknown | Code::Internal => status.source().is_some(),
        _ => false,
    }
}

/// The coordinator's words as an error with its exit code.
#[must_use]
pub fn refusal(status: &Status) -> anyhow::Error {
    let code = match status.code() {
        Code::InvalidArgument | Code::NotFound | Code::OutOfRange => failure::INPUT,
        Code::FailedPrecondition | Code::Aborted | Code::DataLoss => failure::OUTPUT,
        Code::Unavailable | Code::DeadlineExceeded | Code::Unauthenticated | Code::PermissionDenied => {
            failure::UNREACHABLE
        }
        _ => failure::INTERNAL,
    };
    let message = if status.message().is_empty() { status.code().to_string() } else { status.message().to_owned() };
    Failure { code, message }.into()
}
