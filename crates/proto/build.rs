//! Generates messages and services from /proto with pure Rust: no system protoc is needed.

use prost::Message;

#[allow(clippy::disallowed_methods, reason = "cargo says by it where to write")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = "../../proto";
    let files = ["types", "plan", "stages", "worker", "survey", "journal"]
        .map(|name| format!("{root}/groundbreak/v1/{name}.proto"));
    println!("cargo::rerun-if-changed={root}");
    let descriptors = protox::compile(&files, [root])?;
    // For the reflection service.
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("groundbreak.v1.fds"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Maps in key order, so that the same message has the same bytes.
        .btree_map(".")
        .compile_fds(descriptors)?;
    // KEDA's protocol, which a coordinator speaks too. It is not part of ours, nor of its description.
    let scaler = protox::compile([format!("{root}/externalscaler/externalscaler.proto")], [root])?;
    std::fs::write(out.join("externalscaler.fds"), scaler.encode_to_vec())?;
    tonic_prost_build::configure().btree_map(".").compile_fds(scaler)?;
    Ok(())
}
