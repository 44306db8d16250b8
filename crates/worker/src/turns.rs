//! Whose turn it is: so many jobs at the same time, and as far as memory reaches. The jobs of a batch come together and are done
//! one after the other; where scenes lie far away, those next in line fetch meanwhile what they will read.

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
use crate::jobs::{Committed, JobStats};
use crate::runner::{JobFailure, JobRunner, Work};

/// A job that waits for its turn says so as often ...
const WAIT: Duration = Duration::from_secs(1);
/// ... and so long: a batch is worth two seconds, and a job that stands still is given up after minutes.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// What a job still fetches when its slot is there is given up after so long: then it goes on without, and is watched as a job
/// that gets on or does not.
const FETCHING: Duration = Duration::from_secs(5);
/// For each slot so many fetch ahead where an answer can take longer than the work on it. More take memory and are no faster, and from a
/// folder none is: while one slot reads, another computes.
const AHEAD: usize = 2;
/// How often one that fetches looks for a slot that nobody wants.
const LOOK: Duration = Duration::from_millis(50);

/// Gives out turns. Clones share them.
#[derive(Clone)]
pub(crate) struct Turns {
    slots: Arc<Semaphore>,
    /// The next in line, [`AHEAD`] for each slot, who fetch what they will read from afar.
    ahead: Arc<Semaphore>,
    budget: MemoryBudget,
}

/// A job's turn: its slot and its memory.
struct Turn {
    _slot: Option<OwnedSemaphorePermit>,
    _memory: Admission,
    /// What was fetched before it came.
    fetched: JobStats,
}

impl Turns {
    /// For `slots` jobs at the same time, at least one.
    pub(crate) fn new(slots: u32, budget: MemoryBudget) -> Self {
        let slots = slots.max(1) as usize;
        let ahead = slots.saturating_mul(AHEAD);
        Self { slots: Arc::new(Semaphore::new(slots)), ahead: Arc::new(Semaphore::new(ahead)), budget }
    }

    /// Does a job when its turn comes, and says how long it took.
    pub(crate) async fn do_job(&self, runner: &dyn JobRunner, work: Work) -> Result<(Committed, Duration), JobFailure> {
        let key = work.job.key.to_string();
        let turn = self.turn(&key, runner, &work).await?;
        let began = Instant::now();
        // A panic ends this job and nothing else.
        let done = AssertUnwindSafe(runner.run(work)).catch_unwind().await;
        let fetched = turn.fetched;
        drop(turn);
        let mut committed = done.unwrap_or_else(|panic| Err(JobError::of_panic(&key, panic.as_ref()).into()))?;
        committed.stats.add(fetched);
        Ok((committed, began.elapsed()))
    }

    /// Waits for its turn. That is no standstill of the job, so it gets on meanwhile; where jobs before it hang, it is handed
    /// back.
    async fn turn(&self, key: &str, runner: &dyn JobRunner, work: &Work) -> Result<Turn, JobFailure> {
        self.budget.can_hold(key, work.job.memory)?;
        let comes = async {
            let (mut slot, mut fetched) = (Arc::clone(&self.slots).try_acquire_owned().ok(), JobStats::default());
            if slot.is_none() {
                // Who cannot say so meets the cause again when it runs.
                let is_far = timeout(FETCHING, AssertUnwindSafe(runner.is_far(work)).catch_unwind()).await;
                // The semaphores are never closed.
                if matches!(is_far, Ok(Ok(true))) {
                    let _ahead = self.ahead.acquire().await;
                    (slot, fetched) = self.slot_and_fetched(runner, work).await;
                } else {
                    slot = Arc::clone(&self.slots).acquire_owned().await.ok();
                }
            }
            let memory = self.budget.admit(key, work.job.memory).await?;
            Ok(Turn { _slot: slot, _memory: memory, fetched })
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

    /// A slot, and what was fetched for it. Whoever has fetched takes the next slot; who has not yet takes one that nobody wants.
    async fn slot_and_fetched(&self, runner: &dyn JobRunner, work: &Work) -> (Option<OwnedSemaphorePermit>, JobStats) {
        // A panic while it is fetched meets the job again when it runs.
        let mut fetching = pin!(AssertUnwindSafe(runner.fetch_ahead(work)).catch_unwind());
        loop {
            if let Ok(fetched) = timeout(LOOK, &mut fetching).await {
                let slot = Arc::clone(&self.slots).acquire_owned().await;
                return (slot.ok(), fetched.unwrap_or_default());
            }
            if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
                let fetched = timeout(FETCHING, fetching).await.ok().and_then(Result::ok);
                return (Some(slot), fetched.unwrap_or_default());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::BoxFuture;
    use survey::ids::Digest;
    use survey::job::{Job, JobKey, ObjectRef};

    use super::*;
    use crate::runner::Progress;

    fn object() -> ObjectRef {
        ObjectRef { key: "a".into(), digest: Digest::of(b"a"), length: 1 }
    }

    fn work(number: u32) -> Work {
        let job = Job { key: JobKey::Calibrate(number), plan: object(), inputs: vec![], memory: 1 << 20 };
        Work { survey: "a".into(), output: "memory:///".into(), job, progress: Progress::default() }
    }

    #[derive(Default)]
    enum Fetches {
        #[default]
        Well,
        Never,
        Panics,
    }

    #[derive(Default)]
    enum Far {
        #[default]
        No,
        Yes,
        Never,
        Panics,
    }

    /// Takes a second for each job, or for ever, and counts how many it has at the same time. Fetches ahead for half a second, for
    /// ever, or not without a panic.
    #[derive(Default)]
    struct Counting {
        hangs: bool,
        fetches: Fetches,
        far: Far,
        ahead: Mutex<Vec<u32>>,
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

        fn fetch_ahead<'a>(&'a self, work: &'a Work) -> BoxFuture<'a, JobStats> {
            async move {
                let JobKey::Calibrate(number) = work.job.key else { return JobStats::default() };
                self.ahead.lock().unwrap().push(number);
                match self.fetches {
                    Fetches::Well => tokio::time::sleep(Duration::from_millis(500)).await,
                    Fetches::Never => std::future::pending().await,
                    Fetches::Panics => panic!("while it is fetched"),
                }
                JobStats { bytes_fetched: 7, ..JobStats::default() }
            }
            .boxed()
        }

        fn is_far<'a>(&'a self, _: &'a Work) -> BoxFuture<'a, bool> {
            async move {
                match self.far {
                    Far::No => false,
                    Far::Yes => true,
                    Far::Never => std::future::pending().await,
                    Far::Panics => panic!("on the way"),
                }
            }
            .boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_done_one_job_after_the_other_and_each_takes_its_own_time() {
        let (runner, turns) =
            (Counting { far: Far::Yes, ..Counting::default() }, Turns::new(2, MemoryBudget::new(1 << 30)));
        let began = Instant::now();
        let done = futures::future::join_all((0..8).map(|number| turns.do_job(&runner, work(number)))).await;
        assert_eq!((runner.most.into_inner(), began.elapsed().as_secs()), (2, 4));
        assert_eq!(*runner.ahead.lock().unwrap(), [2, 3, 4, 5, 6, 7], "all that had to wait fetched ahead");
        for (number, (committed, took)) in done.into_iter().map(Result::unwrap).enumerate() {
            assert_eq!(took.as_secs(), 1, "waiting is not counted");
            assert_eq!(committed.stats.bytes_fetched, if number < 2 { 0 } else { 7 }, "what was fetched ahead is");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_from_afar_jobs_fetch_ahead() {
        for (far, ahead) in [(Far::Yes, 4), (Far::No, 0), (Far::Panics, 0), (Far::Never, 0)] {
            let (runner, turns) =
                (Counting { far, hangs: true, ..Counting::default() }, Turns::new(2, MemoryBudget::new(1 << 30)));
            let all = futures::future::join_all((0..9).map(|number| turns.do_job(&runner, work(number))));
            // Two hang, and nobody else gets a slot.
            assert!(timeout(FETCHING * 2, all).await.is_err());
            assert_eq!(runner.ahead.into_inner().unwrap().len(), ahead);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_fetched_ahead_delays_a_job_by_seconds_at_most() {
        for (fetches, takes) in [(Fetches::Panics, 2), (Fetches::Never, 1 + FETCHING.as_secs() + 1)] {
            let runner = Counting { fetches, far: Far::Yes, ..Counting::default() };
            let turns = Turns::new(1, MemoryBudget::new(1 << 30));
            let began = Instant::now();
            let done = futures::future::join_all((0..2).map(|number| turns.do_job(&runner, work(number)))).await;
            assert_eq!((done.iter().filter(|done| done.is_ok()).count(), began.elapsed().as_secs()), (2, takes));
            assert_eq!(*runner.ahead.lock().unwrap(), [1]);
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
