//! Opening a store for a URL: which kind, with whose credentials, how patient.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{HttpClient, HttpConnector};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use survey::spec::StorageSection;
use url::Url;

use crate::error::ImageryError;
use crate::store::address::label;
use crate::store::failure::read_failure;

/// Time to connect.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time without a byte. There is no limit on a whole request: a slow one that makes progress is not broken.
pub const READ_TIMEOUT: Duration = Duration::from_secs(30);

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
            base: 2.0,
        },
        max_retries: 6,
        retry_timeout: Duration::from_secs(120),
    }
}

fn client_options() -> ClientOptions {
    ClientOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_read_timeout(READ_TIMEOUT)
        .with_timeout_disabled()
        .with_pool_idle_timeout(Duration::from_secs(60))
}

/// Hands the one HTTP client of a [`crate::store::Stores`] to its HTTP stores, so that its redirect policy holds and
/// connections are shared.
#[derive(Debug)]
struct Shared(reqwest::Client);

impl HttpConnector for Shared {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

/// The credentials that a section names. Values are read here and go nowhere but into a store.
fn secret(
    section: Option<&StorageSection>,
    name: impl Fn(&StorageSection) -> Option<&String>,
) -> Result<Option<String>, ImageryError> {
    let Some((section, variable)) = section.and_then(|section| name(section).map(|variable| (section, variable)))
    else {
        return Ok(None);
    };
    // This is the one place where credentials are read.
    #[allow(clippy::disallowed_methods)]
    let value = std::env::var(variable);
    value.map(Some).map_err(|_| ImageryError::Denied {
        href: section.prefix.clone(),
        cause: format!("the environment variable `{variable}` that [[storage]] names is not set"),
    })
}

/// Opens the store of a cloud URL.
///
/// # Errors
/// [`ImageryError::Denied`] for credentials that are missing, and what the store's builder says.
pub fn open_cloud(url: &Url, section: Option<&StorageSection>) -> Result<Arc<dyn ObjectStore>, ImageryError> {
    let failure = |error: object_store::Error| read_failure(url.as_str(), &error);
    let key = secret(section, |section| section.access_key_id_env.as_ref())?;
    let password = secret(section, |section| section.secret_access_key_env.as_ref())?;
    let token = secret(section, |section| section.session_token_env.as_ref())?;
    let anonymous = section.is_some_and(|section| section.anonymous);
    let endpoint = section.and_then(|section| section.endpoint.clone());
    let allow_http = section.is_some_and(|section| section.allow_http);
    match url.scheme() {
        "s3" | "s3a" => {
            let mut builder = AmazonS3Builder::from_env();
            let options = client_options();
            // `with_client_options` would undo AWS_ALLOW_HTTP, which `from_env` has read.
            let allow_http = allow_http
                || builder
                    .get_config_value(&object_store::aws::AmazonS3ConfigKey::Client(
                        object_store::ClientConfigKey::AllowHttp,
                    ))
                    .is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1");
            builder = builder
                .with_url(&url[..url::Position::BeforePath])
                .with_client_options(options.with_allow_http(allow_http))
                .with_retry(retry());
            if builder.get_config_value(&object_store::aws::AmazonS3ConfigKey::Region).is_none() {
                builder = builder.with_region("us-east-1");
            }
            if let Some(endpoint) = endpoint {
                builder = builder.with_endpoint(endpoint);
            }
            if let Some(region) = section.and_then(|section| section.region.clone()) {
                builder = builder.with_region(region);
            }
            if let Some(key) = key {
                builder = builder.with_access_key_id(key);
            }
            if let Some(password) = password {
                builder = builder.with_secret_access_key(password);
            }
            if let Some(token) = token {
                builder = builder.with_token(token);
            }
            if section.is_some_and(|section| section.requester_pays) {
                builder = builder.with_request_payer(true);
            }
            if anonymous {
                builder = builder.with_skip_signature(true);
            }
            Ok(Arc::new(builder.build().map_err(failure)?))
        }
        "gs" => {
            let mut builder = GoogleCloudStorageBuilder::from_env()
                .with_url(&url[..url::Position::BeforePath])
                .with_client_options(client_options().with_allow_http(allow_http))
                .with_retry(retry());
            if let Some(endpoint) = endpoint {
                builder = builder.with_base_url(&endpoint);
            }
            if let Some(key) = password {
                builder = builder.with_service_account_key(key);
            }
            if let Some(token) = token {
                builder = builder.with_bearer_token(token);
            }
            if anonymous {
                builder = builder.with_skip_signature(true);
            }
            Ok(Arc::new(builder.build().map_err(failure)?))
        }
        _ => {
            let mut builder = MicrosoftAzureBuilder::from_env()
                .with_url(&url[..url::Position::BeforePath])
                .with_client_options(client_options().with_allow_http(allow_http))
                .with_retry(retry());
            if let Some(endpoint) = endpoint {
                builder = builder.with_endpoint(endpoint);
            }
            if let Some(account) = key {
                builder = builder.with_account(account);
            }
            if let Some(key) = password {
                builder = builder.with_access_key(key);
            }
            if let Some(token) = token {
                builder = builder.with_config(object_store::azure::AzureConfigKey::SasKey, token);
            }
            if anonymous {
                builder = builder.with_skip_signature(true);
            }
            Ok(Arc::new(builder.build().map_err(failure)?))
        }
    }
}

/// Opens the store of an `https` or `http` URL. The query (a signature) goes with each request to that file.
///
/// # Errors
/// What the store's builder says.
pub fn open_http(url: &Url, client: reqwest::Client) -> Result<Arc<dyn ObjectStore>, ImageryError> {
    let mut origin = url.clone();
    origin.set_path("/");
    let store = HttpBuilder::new()
        .with_url(origin.as_str())
        .with_client_options(client_options().with_allow_http(url.scheme() == "http"))
        .with_http_connector(Shared(client))
        .with_retry(retry())
        .build()
        .map_err(|error| read_failure(url.as_str(), &error))?;
    Ok(Arc::new(store))
}

/// The store of all folders. Writes reach the disk before they are acknowledged.
#[must_use]
pub fn open_folders() -> Arc<dyn ObjectStore> {
    Arc::new(LocalFileSystem::new().with_fsync(true))
}

/// The HTTP client: patient with slow bodies, impatient with silent ones, and redirected to allowed places only.
///
/// # Errors
/// [`ImageryError::Transient`] where the machine has no usable TLS roots.
pub fn http_client(
    may_follow: impl Fn(&Url, &Url) -> bool + Send + Sync + 'static,
) -> Result<reqwest::Client, ImageryError> {
    let policy = reqwest::redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > 5 {
            return attempt.error("more than 5 redirects");
        }
        match attempt.previous().last() {
            Some(from) if may_follow(from, attempt.url()) => attempt.follow(),
            _ => attempt.error("the redirect leads outside the allowed prefixes"),
        }
    });
    reqwest::Client::builder()
        .redirect(policy)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .pool_idle_timeout(Duration::from_secs(60))
        .user_agent(concat!("groundbreak/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| ImageryError::Transient { href: label("https://"), cause: error.to_string() })
}
