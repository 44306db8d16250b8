//! A cluster of real processes gives the bytes of one process, whatever is killed, stopped, full or cut off meanwhile.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests; real processes take real time")]

#[path = "cluster/disk.rs"]
mod disk;
#[path = "cluster/network.rs"]
mod network;
#[path = "cluster/poison.rs"]
mod poison;
#[path = "cluster/processes.rs"]
mod processes;
#[path = "cluster/stage.rs"]
mod stage;
#[path = "cluster/store.rs"]
mod store;
#[path = "cluster/strangers.rs"]
mod strangers;
