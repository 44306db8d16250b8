//! The worker at work: takes assignments as they come, does each when its turn comes, and reports.

use std::sync::Arc;

use proto::convert::job::job;
use proto::v1;
use survey::failure::FailureClass;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::admission::MemoryBudget;
use crate::client::Connector;
use crate::desk::Desk;
use crate::heartbeat::Heartbeat;
use crate::runner::{JobFailure, JobRunner, Work};
use crate::turns::Turns;

/// Whether a worker shall leave, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shutdown {
    /// It stays.
    #[default]
    No,
    /// It takes no more work and leaves when what runs is done.
    Drain,
    /// It stops what runs, hands it back and leaves.
    Now,
}

/// What a worker is started with.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Its name: unique per process start.
    pub name: String,
    /// Jobs at the same time.
    pub slots: u32,
    /// Bytes that its jobs may use together.
    pub memory: u64,
}

/// Why a worker ended other than in order.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The system gives no thread.
    #[error("worker {name}: no thread for its heartbeat ({cause}); raise the limit of threads")]
    Thread {
        /// The worker.
        name: String,
        /// The system's words.
        cause: String,
    },
    /// The heartbeat's thread has ended without a word.
    #[error("worker {name}: its heartbeat broke down; this is a fault of the software, please report it")]
    Heartbeat {
        /// The worker.
        name: String,
    },
}

/// What the heartbeat runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeartbeatDriver {
    /// A thread with a runtime of its own, so that no load of pixels can starve it.
    #[default]
    Thread,
    /// A task of the runtime that the worker runs on: for simulations, which have one thread and a clock of their own.
    Task,
}

/// A worker.
pub struct Worker {
    config: WorkerConfig,
    connector: Connector,
    runner: Arc<dyn JobRunner>,
    driver: HeartbeatDriver,
}

impl Worker {
    /// A worker that does jobs with `runner` for the coordinator that `connector` reaches.
    #[must_use]
    pub fn new(config: WorkerConfig, connector: Connector, runner: Arc<dyn JobRunner>) -> Self {
        Self { config, connector, runner, driver: HeartbeatDriver::default() }
    }

    /// The same worker, with its heartbeat on `driver`.
    #[must_use]
    pub fn with_heartbeat_on(self, driver: HeartbeatDriver) -> Self {
        Self { driver, ..self }
    }

    /// Works until `shutdown` says otherwise. Jobs run on the runtime that this is called on, the heartbeat on a thread
    /// of its own. Dropped, the worker stops at once and says nothing more, as if it had been killed.
    ///
    /// # Errors
    /// The system gives no thread.
    pub async fn run(self, shutdown: watch::Receiver<Shutdown>) -> Result<(), WorkerError> {
        let name = self.config.name.clone();
        let budget = MemoryBudget::new(self.config.memory);
        let turns = Turns::new(self.config.slots, budget.clone());
        let desk = Arc::new(Desk::new(budget.limit(), self.config.slots));
        let (assignments, mut assigned) = mpsc::unbounded_channel();
        let (alive, is_alive) = watch::channel(());
        let heartbeat = Heartbeat {
            worker: name.clone(),
            connector: self.connector.clone(),
            desk: Arc::clone(&desk),
            assignments,
            shutdown: shutdown.clone(),
            alive: is_alive,
        };
        let mut ended = spawn_heartbeat(heartbeat, self.driver)?;
        info!(worker = name, slots = self.config.slots, memory = budget.limit(), "worker starts");

        let mut running: JoinSet<()> = JoinSet::new();
        let mut stop = shutdown;
        let outcome = loop {
            // In this order, so that a simulation goes the same way each time.
            tokio::select! {
                biased;
                done = &mut ended => break done.map_err(|_| WorkerError::Heartbeat { name: name.clone() }),
                () = told_to_stop(&mut stop) => {
                    let message = format!("worker {name} was told to stop");
                    desk.end_all(&JobFailure { class: FailureClass::Cancelled, message });
                    // From here on the heartbeat says what there is to say, and ends.
                    break (&mut ended).await.map_err(|_| WorkerError::Heartbeat { name: name.clone() });
                }
                Some(assignment) = assigned.recv() => {
                    let is_leaving = *stop.borrow() != Shutdown::No;
                    self.take_up(assignment, &desk, &turns, &mut running, is_leaving);
                }
                Some(_) = running.join_next(), if !running.is_empty() => {}
            }
        };
        running.shutdown().await;
        drop(alive);
        outcome
    }

    fn take_up(
        &self,
        assignment: v1::Assignment,
        desk: &Arc<Desk>,
        turns: &Turns,
        running: &mut JoinSet<()>,
        is_leaving: bool,
    ) {
        let Some(attempt) = assignment.attempt else {
            warn!(worker = self.config.name, "an assignment without an attempt is passed over");
            return;
        };
        let id = (attempt.epoch, attempt.counter);
        let job = match assignment
            .job
            .ok_or_else(|| "it is missing".to_owned())
            .and_then(|message| job(message).map_err(|error| error.to_string()))
        {
            Ok(job) => job,
            // Without a key there is nothing to report on: the lease expires and another worker is asked.
            Err(error) => {
                warn!(worker = self.config.name, error, "an assignment cannot be understood");
                return;
            }
        };
        let Some(progress) = desk.take_up(id, &assignment.survey, job.key, job.memory) else { return };
        if is_leaving {
            let message = format!("worker {} is leaving", self.config.name);
            desk.end(id, Err(JobFailure { class: FailureClass::Cancelled, message }));
            return;
        }
        let span = info_span!("work", survey = assignment.survey, job = %job.key, attempt = attempt.counter, worker = self.config.name);
        proto::trace::adopt(&span, &assignment.trace_parent);
        let work = Work { survey: assignment.survey, output: assignment.output, job, progress };
        let (runner, turns, at) = (Arc::clone(&self.runner), turns.clone(), Arc::clone(desk));
        let task = async move {
            let ended = turns.do_job(runner.as_ref(), work).await;
            match &ended {
                Ok((_, wall)) => debug!(milliseconds = wall.as_millis(), "job done"),
                Err(failure) => warn!(class = ?failure.class, failure = failure.message, "job failed"),
            }
            at.end(id, ended);
        };
        let stop = running.spawn(task.instrument(span));
        if !desk.stop_by(id, stop.clone()) {
            stop.abort();
        }
    }
}

/// Waits until the worker is told to stop at once.
async fn told_to_stop(shutdown: &mut watch::Receiver<Shutdown>) {
    if shutdown.wait_for(|told| *told == Shutdown::Now).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Starts the heartbeat. What is returned is told when it has ended in order, and closed when it broke down.
fn spawn_heartbeat(heartbeat: Heartbeat, driver: HeartbeatDriver) -> Result<oneshot::Receiver<()>, WorkerError> {
    let (sender, receiver) = oneshot::channel();
    if driver == HeartbeatDriver::Task {
        tokio::spawn(async move {
            heartbeat.run().await;
            let _ = sender.send(());
        });
        return Ok(receiver);
    }
    let name = heartbeat.worker.clone();
    let refused = |cause: std::io::Error| WorkerError::Thread { name: name.clone(), cause: cause.to_string() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refused)?;
    std::thread::Builder::new()
        .name("heartbeat".to_owned())
        .spawn(move || {
            runtime.block_on(heartbeat.run());
            let _ = sender.send(());
        })
        .map_err(refused)?;
    Ok(receiver)
}
