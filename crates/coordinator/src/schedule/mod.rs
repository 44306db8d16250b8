//! What is done next, by whom, and what follows from what happened: a pure function of state, event and time.
//!
//! * [`graph`]: the jobs of a survey and what each waits for.
//! * [`policy`]: how long a lease lasts and how often a job is tried.
//! * [`event`]: what happens, and what is to be done about it.
//! * [`state`]: surveys, jobs, leases and workers, with the invariants between them.
//! * [`step`]: the step function; `repair`: what was lost after it was done.

pub mod event;
pub mod graph;
pub mod policy;
mod repair;
#[cfg(test)]
mod simulation;
pub mod state;
pub mod step;
