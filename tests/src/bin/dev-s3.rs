//! The dev S3 server as a process: `dev-s3 FOLDER [ADDRESS]`. Buckets are the folder's folders.

use std::path::PathBuf;

#[tokio::main]
#[allow(clippy::print_stderr, reason = "a tool for people at a terminal")]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let root = PathBuf::from(arguments.next().unwrap_or_else(|| ".".into()));
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9000".into());
    let address = address.parse().map_err(|error| std::io::Error::other(format!("`{address}`: {error}")))?;
    let server = groundbreak_tests::s3::DevS3::start(&root, address).await?;
    for (name, value) in server.environment() {
        eprintln!("{name}={value}");
    }
    tokio::signal::ctrl_c().await
}
