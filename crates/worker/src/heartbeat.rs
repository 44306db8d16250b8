//! The heartbeat: one thread of its own that talks to the coordinator, so that no load of pixels can starve it.
//!
//! One call at a time carries everything. While there is room for work the call waits at the coordinator, and is given
//! up as soon as there is news: what it may have been about to say is said again to the next one.

use std::sync::Arc;
use std::time::Duration;

use proto::v1;
use proto::v1::worker_service_client::WorkerServiceClient;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use crate::client::{Authenticated, Connector};
use crate::desk::Desk;
use crate::pipeline::Shutdown;

/// How long a call for work may wait at the coordinator.
const WAIT: Duration = Duration::from_secs(4);
/// How much longer than that an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The shortest time between two calls that bring nothing.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// Pauses after a failed call: the first, and the longest.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// How long a worker that was told to stop goes on trying to hand back its jobs.
const FAREWELL: Duration = Duration::from_secs(3);

pub(crate) struct Heartbeat {
    pub worker: String,
    pub connector: Connector,
    pub desk: Arc<Desk>,
    pub assignments: mpsc::UnboundedSender<v1::Assignment>,
    pub shutdown: watch::Receiver<Shutdown>,
    /// Closed when the worker is dropped: then nothing is said any more.
    pub alive: watch::Receiver<()>,
}

enum Outcome {
    Answer(v1::PollResponse),
    News,
    Failed(String),
    Dead,
}

impl Heartbeat {
    /// Runs until the worker has left in order, or is dropped.
    pub(crate) async fn run(mut self) {
        let mut client: Option<WorkerServiceClient<Authenticated>> = None;
        let mut backoff = FIRST_BACKOFF;
        let mut sequence = 0_u64;
        let mut stopped_at: Option<Instant> = None;
        loop {
            let shutdown = *self.shutdown.borrow_and_update();
            if shutdown != Shutdown::No && self.desk.is_clear() {
                info!(worker = self.worker, "worker leaves");
                return;
            }
            if shutdown == Shutdown::Now {
                let since = *stopped_at.get_or_insert_with(Instant::now);
                if since.elapsed() > FAREWELL {
                    warn!(worker = self.worker, "worker leaves without having handed back its jobs");
                    return;
                }
            }
            sequence += 1;
            let is_draining = shutdown != Shutdown::No;
            let mut request = self.desk.request(&self.worker, sequence, is_draining, Duration::ZERO);
            let waits = request.slots > 0 && request.completed.is_empty() && request.failed.is_empty();
            if waits {
                request.wait_ms = u32::try_from(WAIT.as_millis()).unwrap_or(u32::MAX);
            }
            let began = Instant::now();
            match self.call(&mut client, request, waits).await {
                Outcome::Dead => return,
                Outcome::News => {}
                Outcome::Answer(answer) => {
                    backoff = FIRST_BACKOFF;
                    let is_empty = answer.assignments.is_empty() && answer.acknowledged.is_empty();
                    let poll_after = Duration::from_millis(u64::from(answer.poll_after_ms)).max(SHORTEST_PAUSE);
                    self.hear(answer);
                    // With room for work the next call waits at the coordinator; without, here.
                    let room = self.desk.request(&self.worker, sequence, is_draining, Duration::ZERO).slots > 0;
                    let pause = match (room, is_empty) {
                        (true, true) => SHORTEST_PAUSE.saturating_sub(began.elapsed()),
                        (true, false) => Duration::ZERO,
                        (false, _) => poll_after,
                    };
                    if !pause.is_zero() && !self.pause(pause).await {
                        return;
                    }
                }
                Outcome::Failed(cause) => {
                    client = None;
                    debug!(worker = self.worker, cause, "call to the coordinator failed");
                    if backoff >= LONGEST_BACKOFF {
                        warn!(worker = self.worker, cause, "the coordinator cannot be reached; trying on");
                    }
                    if !self.pause_without_news(backoff).await {
                        return;
                    }
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                }
            }
        }
    }

    async fn call(
        &mut self,
        client: &mut Option<WorkerServiceClient<Authenticated>>,
        request: v1::PollRequest,
        waits: bool,
    ) -> Outcome {
        let patience = Duration::from_millis(u64::from(request.wait_ms)) + PATIENCE;
        let connector = self.connector.clone();
        let call = async {
            if client.is_none() {
                match timeout(PATIENCE, connector.connect()).await {
                    Ok(Ok(connected)) => *client = Some(connected),
                    Ok(Err(cause)) => return Outcome::Failed(cause),
                    Err(_) => return Outcome::Failed("no connection in time".to_owned()),
                }
            }
            let Some(client) = client.as_mut() else { return Outcome::Failed("no connection".to_owned()) };
            match timeout(patience, client.poll(request)).await {
                Ok(Ok(answer)) => Outcome::Answer(answer.into_inner()),
                Ok(Err(status)) => Outcome::Failed(format!("{}: {}", status.code(), status.message())),
                Err(_) => Outcome::Failed("no answer in time".to_owned()),
            }
        };
        tokio::select! {
            biased;
            () = closed(&mut self.alive) => Outcome::Dead,
            outcome = call => outcome,
            () = self.desk.news.notified(), if waits => Outcome::News,
            () = changed(&mut self.shutdown), if waits => Outcome::News,
        }
    }

    fn hear(&self, answer: v1::PollResponse) {
        self.desk.hear(&answer.acknowledged, &answer.revoked);
        for assignment in answer.assignments {
            // The pipeline ends after this thread.
            let _ = self.assignments.send(assignment);
        }
    }

    /// Waits, at most until there is news. False where the worker is no more.
    async fn pause(&mut self, pause: Duration) -> bool {
        if self.desk.has_reports() {
            return true;
        }
        tokio::select! {
            biased;
            () = closed(&mut self.alive) => false,
            () = self.desk.news.notified() => true,
            () = changed(&mut self.shutdown) => true,
            () = sleep(pause) => true,
        }
    }

    async fn pause_without_news(&mut self, pause: Duration) -> bool {
        tokio::select! {
            biased;
            () = closed(&mut self.alive) => false,
            () = sleep(pause) => true,
        }
    }
}

/// Waits until the sender is gone.
async fn closed(alive: &mut watch::Receiver<()>) {
    while alive.changed().await.is_ok() {}
}

/// Waits for another value; for ever where there can be none.
async fn changed(shutdown: &mut watch::Receiver<Shutdown>) {
    if shutdown.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
