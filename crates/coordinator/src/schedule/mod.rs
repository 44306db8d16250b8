//! What is done next, by whom, and what follows from what happened: a pure function of state, event and time.
//!
//! * [`event`]: what happens, and what is to be done about it.
//! * [`step`]: the step function.
//! * [`policy`]: how long a lease lasts and how often a job is tried.
//! * [`graph`]: the jobs of a survey and what each waits for.
//! * [`state`]: surveys, leases and workers; `books` where each job stands, `queue` which can be given out, `check` the
//!   invariants.
//! * `survey`, `call`, `lease`, `assign`, `ground`, `settle`, `time`: what the step function does, by idea.
//! * `repair`: what was lost after it was done.
//! * `measure`: what jobs really take.
//!
//! `docs/decisions/0007-schedule.md` says what decides what, and why.

mod assign;
mod bits;
mod books;
mod call;
mod check;
pub mod event;
pub mod graph;
mod ground;
mod lease;
mod measure;
pub mod policy;
mod queue;
mod repair;
mod settle;
#[cfg(test)]
mod simulation;
pub mod state;
pub mod step;
mod survey;
mod time;
