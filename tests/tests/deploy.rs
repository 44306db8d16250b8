//! What `deploy/` holds fits together, fits the program, and is what Compose, Kubernetes, KEDA and Prometheus understand.
//!
//! Schemas and parsers that others wrote come as Python packages (`tests/requirements.txt`), `kubectl` and `promtool` from
//! PATH. Where one is missing, the test says in one line that it is skipped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::panic, reason = "a test may")]

#[path = "deploy/compose.rs"]
mod compose;
#[path = "deploy/files.rs"]
mod files;
#[path = "deploy/image.rs"]
mod image;
#[path = "deploy/kubernetes.rs"]
mod kubernetes;
#[path = "deploy/manual.rs"]
mod manual;
#[path = "deploy/monitoring.rs"]
mod monitoring;
#[path = "deploy/promql.rs"]
mod promql;
