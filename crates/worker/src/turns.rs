//! Whose turn it is: so many jobs at the same time, and as far as memory reaches. The jobs of a batch come together and are done
//! one after the other.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use survey::failure::FailureClass;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::admission::{Admission, MemoryBudget};
use crate::error::JobError;
use crate::jobs::Committed;
use crate::runner::{JobFailure, JobRunner, Work};

/// A job that waits for its turn says so as often ...
const WAIT: Duration = Duration::from_secs(1);
/// ... and so long: a batch is worth two seconds, and a job that stands still is given up after minutes.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Gives out turns. Clones share them.
#[derive(Clone)]
pub(crate) struct Turns {
    slots: Arc<Semaphore>,
    budget: MemoryBudget,
}

/// A job's turn: its slot and its memory.
struct Turn {
    _slot: Option<OwnedSemaphorePermit>,
    _memory: Admission,
}

impl Turns {
    /// For `slots` jobs at the same time, at least one.
    pub(crate) fn new(slots: u32, budget: MemoryBudget) -> Self {
        Self { slots: Arc::new(Semaphore::new(slots.max(1) as usize)), budget }
    }

    /// Does a job when its turn comes, and says how long it took.
    pub(crate) async fn do_job(&self, runner: &dyn JobRunner, work: Work) -> Result<(Committed, Duration), JobFailure> {
        let key = work.job.key.to_string();
        let turn = self.turn(&key, &work).await?;
        let began = Instant::now();
        // A panic ends this job and nothing else.
        let done = AssertUnwindSafe(runner.run(work)).catch_unwind().await;
        drop(turn);
        let committed = done.unwrap_or_else(|panic| Err(JobError::of_panic(&key, panic.as_ref()).into()))?;
        Ok((committed, began.elapsed()))
    }

    /// Waits for its turn. That is no standstill of the job, so it gets on meanwhile; where jobs before it hang, it is handed
    /// back.
    async fn turn(&self, key: &str, work: &Work) -> Result<Turn, JobFailure> {
        self.budget.can_hold(key, work.job.memory)?;
        let comes = async {
            // The semaphore is never closed.
            let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
            let memory = self.budget.admit(key, work.job.memory).await?;
            Ok(Turn { _slot: slot, _memory: memory })
        };
        let mut comes = pin!(comes);
        let until = Instant::now() + LONGEST_WAIT;
        while Instant::now() < until {
            if let Ok(turn) = timeout(WAIT, &mut comes).await {
                return turn;
            }
            work.progress.advance();
        }
        let message = format!("the jobs before it take longer than {} s: it is handed back", LONGEST_WAIT.as_secs());
        Err(JobFailure { class: FailureClass::Cancelled, message })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::BoxFuture;
    use survey::ids::Digest;
    use survey::job::{Job, JobKey, ObjectRef};

    use super::*;
    use crate::jobs::JobStats;
    use crate::runner::Progress;

    fn object() -> ObjectRef {
        ObjectRef { key: "a".into(), digest: Digest::of(b"a"), length: 1 }
    }

    fn work(number: u32) -> Work {
        let job = Job { key: JobKey::Calibrate(number), plan: object(), inputs: vec![], memory: 1 << 20 };
        Work { survey: "a".into(), output: "memory:///".into(), job, progress: Progress::default() }
    }

    /// Takes a second for each job, or for ever, and counts how many it has at the same time.
    #[derive(Default)]
    struct Counting {
        hangs: bool,
        now: AtomicU32,
        most: AtomicU32,
    }

    impl JobRunner for Counting {
        fn run(&self, _: Work) -> BoxFuture<'_, Result<Committed, JobFailure>> {
            async move {
                let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(now, Ordering::SeqCst);
                let takes = if self.hangs { Duration::from_secs(1 << 20) } else { Duration::from_secs(1) };
                tokio::time::sleep(takes).await;
                self.now.fetch_sub(1, Ordering::SeqCst);
                Ok(Committed { object: object(), stats: JobStats::default() })
            }
            .boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_done_one_job_after_the_other_and_each_takes_its_own_time() {
        let (runner, turns) = (Counting::default(), Turns::new(2, MemoryBudget::new(1 << 30)));
        let began = Instant::now();
        let done = futures::future::join_all((0..8).map(|number| turns.do_job(&runner, work(number)))).await;
        assert_eq!((runner.most.into_inner(), began.elapsed().as_secs()), (2, 4));
        for (_, took) in done.into_iter().map(Result::unwrap) {
            assert_eq!(took.as_secs(), 1, "waiting is not counted");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_behind_one_that_hangs_gets_on_and_is_handed_back() {
        let (runner, turns) =
            (Counting { hangs: true, ..Counting::default() }, Turns::new(1, MemoryBudget::new(1 << 30)));
        let behind = work(1);
        let progress = behind.progress.clone();
        let mut hanging = pin!(turns.do_job(&runner, work(0)));
        assert!(futures::poll!(&mut hanging).is_pending());
        let began = Instant::now();
        let failure = turns.do_job(&runner, behind).await.unwrap_err();
        assert_eq!((failure.class, began.elapsed()), (FailureClass::Cancelled, LONGEST_WAIT));
        assert_eq!(progress.get(), LONGEST_WAIT.as_secs());
    }
}
