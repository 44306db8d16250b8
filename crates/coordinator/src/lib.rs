//! The coordinator: what a survey consists of, what is done next and by whom, and what must never be lost.
//!
//! * [`plan`]: from `survey.toml` to a plan.
//! * [`schedule`]: the pure step function over jobs, leases and workers.
//! * [`journal`]: what outlives a coordinator.
//! * [`service`]: the gRPC services, over one task that owns schedule and journal.
//! * [`auth`]: who may call what; [`quota`]: how often; [`patience`]: how slowly; [`door`]: over how many connections.
//! * [`aggregate`], [`publish`]: the outcome of a survey, and what makes results of it.
//! * [`scaler`]: how many workers there should be, for KEDA.
//! * [`metrics`]: names of what is measured.
//! * [`forecast`]: what a survey will take, by what another took.

pub mod aggregate;
pub mod auth;
pub mod clock;
mod config;
pub mod door;
pub mod error;
pub mod forecast;
pub mod journal;
pub mod metrics;
pub mod patience;
pub mod plan;
pub mod publish;
pub mod quota;
mod resume;
mod run;
pub mod scaler;
pub mod schedule;
pub mod service;
#[cfg(test)]
mod testing;

pub use aggregate::{CountyOutcome, SurveyOutcome};
pub use clock::{Clock, RuntimeClock};
pub use config::{CoordinatorConfig, Resume};
pub use error::CoordinatorError;
pub use journal::slate::SlateStore;
pub use publish::{NoResults, PublishError, Publisher};
pub use resume::refuse_other_survey;
pub use schedule::policy::Policy;
pub use service::Coordinator;
