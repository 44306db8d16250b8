//! A worker: takes jobs as far as its memory reaches, does them, and commits what they find.
//!
//! * [`admission`]: how much fits beside what runs; `turns`: which job is next.
//! * [`jobs`]: the four kinds of job.
//! * [`chips`]: images of sites.
//! * [`runner`]: the seam between getting work and doing it; [`surveys`]: jobs of any survey.
//! * [`client`], [`heartbeat`], [`pipeline`]: how work is got, done and reported.

pub mod admission;
pub mod chips;
pub mod client;
mod desk;
pub mod error;
pub mod heartbeat;
pub mod jobs;
pub mod pipeline;
pub mod runner;
pub mod surveys;
mod turns;

pub use admission::{Admission, MemoryBudget};
pub use client::{Connector, Credentials};
pub use error::JobError;
pub use jobs::{Committed, JobContext, JobStats};
pub use pipeline::{HeartbeatDriver, Shutdown, Worker, WorkerConfig, WorkerError};
pub use runner::{JobFailure, JobRunner, Progress, Work};
pub use surveys::Surveys;
