//! The coordinator: what a survey consists of, what is done next and by whom, and what must never be lost.
//!
//! * [`plan`]: from `survey.toml` to a plan.
//! * [`schedule`]: the pure step function over jobs, leases and workers.
//! * [`journal`]: what outlives a coordinator.
//! * [`service`]: the gRPC services, over one task that owns state and journal.
//! * [`auth`]: who may call what.
//! * [`aggregate`]: the outcome of a survey.

pub mod aggregate;
pub mod auth;
pub mod clock;
pub mod error;
pub mod journal;
pub mod plan;
mod progress;
mod resume;
mod run;
pub mod schedule;
pub mod service;
#[cfg(test)]
mod testing;

pub use aggregate::{CountyOutcome, SurveyOutcome};
pub use clock::{Clock, RuntimeClock};
pub use error::CoordinatorError;
pub use resume::refuse_other_survey;
pub use schedule::policy::Policy;
pub use service::{Coordinator, CoordinatorConfig};
