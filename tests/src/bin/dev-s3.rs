//! The dev S3 server as a process: `dev-s3 FOLDER [ADDRESS [LATENCY_MS BYTES_A_SECOND]]`. Buckets are the folder's folders.
//! With latency and bandwidth, what it prints leads to it over a way that is as far and each connection of it as wide.

use std::path::PathBuf;
use std::time::Duration;

use groundbreak_tests::far::{Distance, stand_before};
use groundbreak_tests::s3::DevS3;

#[tokio::main]
#[allow(clippy::print_stderr, reason = "a tool for people at a terminal")]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let root = PathBuf::from(arguments.next().unwrap_or_else(|| ".".into()));
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9000".into());
    let unusable = |given: &str, error: &dyn std::fmt::Display| std::io::Error::other(format!("`{given}`: {error}"));
    let address = address.parse().map_err(|error| unusable(&address, &error))?;
    let server = DevS3::start(&root, address).await?;
    let mut environment = server.environment();
    if let Some(latency) = arguments.next() {
        let bandwidth = arguments.next().unwrap_or_default();
        let distance = Distance {
            latency: Duration::from_millis(latency.parse().map_err(|error| unusable(&latency, &error))?),
            bandwidth: bandwidth.parse().map_err(|error| unusable(&bandwidth, &error))?,
        };
        let far = stand_before(server.address(), distance).await?;
        for (_, url) in environment.iter_mut().filter(|(name, _)| *name == "AWS_ENDPOINT_URL") {
            *url = format!("http://{far}");
        }
    }
    for (name, value) in environment {
        eprintln!("{name}={value}");
    }
    tokio::signal::ctrl_c().await
}
