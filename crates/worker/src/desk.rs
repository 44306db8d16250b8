//! What a worker holds: the attempts that run and the reports that are not acknowledged yet. Shared by the pipeline,
//! which changes it, and the heartbeat, which tells the coordinator of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::convert::enums::failure_class_to_wire;
use proto::convert::job::{key_to_wire, object_to_wire};
use proto::v1;
use survey::job::JobKey;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::jobs::Committed;
use crate::runner::{JobFailure, Progress};

/// Memory is counted in pieces of this many bytes, as admission does.
const UNIT: u64 = 1 << 20;

/// For each slot, tiles that take about so long together are in line, and one at least.
const IN_LINE_MS: u32 = 1000;
/// For each slot, so many tiles are in line at most: who is idle at a survey's end shall not find all that is left in another's line.
const MOST_ROUNDS: u32 = 3;

/// One try at a job: (epoch, counter).
pub(crate) type AttemptId = (u64, u64);

#[derive(Default)]
struct Held {
    survey: String,
    key: Option<JobKey>,
    memory: u64,
    progress: Progress,
    stop: Option<AbortHandle>,
    /// What to report, once it has ended.
    report: Option<Report>,
}

enum Report {
    Done(Committed, Duration),
    Failed(JobFailure),
}

/// The desk.
pub(crate) struct Desk {
    held: Mutex<BTreeMap<AttemptId, Held>>,
    /// Something is to be told.
    pub news: Notify,
    memory: u64,
    slots: u32,
    /// What the last tile took, milliseconds.
    tile_ms: AtomicU32,
}

impl Desk {
    pub(crate) fn new(memory: u64, slots: u32) -> Self {
        Self { held: Mutex::default(), news: Notify::new(), memory, slots, tile_ms: AtomicU32::new(u32::MAX) }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<AttemptId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up an attempt; `None` where it is held already: the coordinator says it again until it hears of it.
    pub(crate) fn take_up(&self, attempt: AttemptId, survey: &str, key: JobKey, memory: u64) -> Option<Progress> {
        let mut held = self.held();
        if held.contains_key(&attempt) {
            return None;
        }
        let progress = Progress::default();
        let (survey, memory) = (survey.to_owned(), memory.div_ceil(UNIT) * UNIT);
        held.insert(
            attempt,
            Held { survey, key: Some(key), memory, progress: progress.clone(), stop: None, report: None },
        );
        Some(progress)
    }

    /// Names what stops the attempt. False where it was revoked meanwhile.
    pub(crate) fn stop_by(&self, attempt: AttemptId, stop: AbortHandle) -> bool {
        self.held().get_mut(&attempt).map(|held| held.stop = Some(stop)).is_some()
    }

    /// The attempt has ended.
    pub(crate) fn end(&self, attempt: AttemptId, ended: Result<(Committed, Duration), JobFailure>) {
        if let Some(held) = self.held().get_mut(&attempt)
            && held.report.is_none()
        {
            held.stop = None;
            if let (Ok((_, wall)), Some(JobKey::Detect(_))) = (&ended, held.key) {
                self.tile_ms.store(u32::try_from(wall.as_millis()).unwrap_or(u32::MAX), Ordering::Relaxed);
            }
            held.report = Some(match ended {
                Ok((committed, wall)) => Report::Done(committed, wall),
                Err(failure) => Report::Failed(failure),
            });
        }
        self.news.notify_one();
    }

    /// Ends all attempts that run with the same failure.
    pub(crate) fn end_all(&self, failure: &JobFailure) {
        for held in self.held().values_mut().filter(|held| held.report.is_none()) {
            if let Some(stop) = held.stop.take() {
                stop.abort();
            }
            held.report = Some(Report::Failed(failure.clone()));
        }
        self.news.notify_one();
    }

    /// Whether nothing runs and nothing is to be told.
    pub(crate) fn is_clear(&self) -> bool {
        self.held().is_empty()
    }

    /// Whether a report waits to be told.
    pub(crate) fn has_reports(&self) -> bool {
        self.held().values().any(|held| held.report.is_some())
    }

    /// Forgets what the coordinator has in its books, and stops what it no longer wants.
    pub(crate) fn hear(&self, acknowledged: &[v1::Attempt], revoked: &[v1::Attempt]) {
        let mut held = self.held();
        for attempt in acknowledged {
            let id = (attempt.epoch, attempt.counter);
            if held.get(&id).is_some_and(|held| held.report.is_some()) {
                held.remove(&id);
            }
        }
        for attempt in revoked {
            if let Some(held) = held.remove(&(attempt.epoch, attempt.counter))
                && let Some(stop) = held.stop
            {
                stop.abort();
            }
        }
    }

    /// All that a coordinator is to know.
    pub(crate) fn request(&self, worker: &str, sequence: u64, draining: bool, wait: Duration) -> v1::PollRequest {
        let held = self.held();
        let mut request = v1::PollRequest {
            worker: worker.to_owned(),
            sequence,
            memory_total: self.memory,
            draining,
            wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
            ..v1::PollRequest::default()
        };
        let mut reserved = 0_u64;
        for (&(epoch, counter), held) in held.iter() {
            let attempt = Some(v1::Attempt { epoch, counter });
            let (survey, key) = (held.survey.clone(), held.key.map(key_to_wire));
            match &held.report {
                None => {
                    reserved = reserved.saturating_add(held.memory);
                    request.running.push(v1::Running { attempt, progress: held.progress.get() });
                }
                Some(Report::Done(committed, wall)) => request.completed.push(v1::Completion {
                    survey,
                    key,
                    attempt,
                    object: Some(object_to_wire(&committed.object)),
                    stats: Some(v1::JobStats {
                        wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
                        bytes_fetched: committed.stats.bytes_fetched,
                        blocks_decoded: committed.stats.blocks_decoded,
                        peak_memory: 0,
                        pixels: committed.stats.pixels,
                    }),
                }),
                Some(Report::Failed(failure)) => request.failed.push(v1::Failure {
                    survey,
                    key,
                    attempt,
                    class: failure_class_to_wire(failure.class),
                    message: failure.message.clone(),
                }),
            }
        }
        let running = u32::try_from(request.running.len()).unwrap_or(u32::MAX);
        request.memory_free = self.memory.saturating_sub(reserved);
        // More than slots are never asked for: a coordinator reckons with the most that it hears.
        let room = self.slots.saturating_add(self.in_line(&held)).saturating_sub(running).min(self.slots);
        request.slots = if draining { 0 } else { room };
        request
    }

    /// How many are next in line beside those that have a slot, where all are tiles and merges: calibrations and counties have nothing
    /// to fetch ahead and take long, and others may do them at once. As many tiles again as there are slots, or more where they are
    /// done so fast that those would be over before others are fetched. Merges, which take milliseconds and are given out before tiles,
    /// have a line of their own: in that of the tiles they would keep tiles from coming until the last one is being done.
    fn in_line(&self, held: &BTreeMap<AttemptId, Held>) -> u32 {
        let mut merges = 0_u32;
        for held in held.values() {
            match held.key {
                Some(JobKey::Detect(_)) => {}
                Some(JobKey::Merge(_)) => merges += u32::from(held.report.is_none()),
                _ => return 0,
            }
        }
        let tile_ms = self.tile_ms.load(Ordering::Relaxed).max(1);
        let rounds = (IN_LINE_MS / tile_ms).clamp(1, MOST_ROUNDS);
        self.slots.saturating_mul(rounds).saturating_add(merges.min(self.slots))
    }
}

#[cfg(test)]
mod tests {
    use survey::grid::Block;
    use survey::ids::Digest;
    use survey::job::ObjectRef;

    use super::*;
    use crate::jobs::JobStats;

    #[test]
    fn tiles_are_next_in_line_and_no_more_than_slots_are_asked_for() {
        let room = |keys: &[JobKey]| {
            let desk = Desk::new(1 << 30, 3);
            for (counter, &key) in (0..).zip(keys) {
                desk.take_up((1, counter), "a", key, 1 << 20).unwrap();
            }
            desk.request("w", 1, false, Duration::ZERO).slots
        };
        let tiles: Vec<JobKey> = (0..9).map(|x| JobKey::Detect(Block { level: 0, y: 0, x })).collect();
        assert_eq!([0, 1, 3, 4, 6, 9].map(|count| room(&tiles[..count])), [3, 3, 3, 2, 0, 0]);
        let merges = |count| (0..count).map(|x| JobKey::Merge(Block { level: 1, y: 0, x }));
        let with_merges = |count| tiles[..5].iter().copied().chain(merges(count)).collect::<Vec<_>>();
        assert_eq!([0, 1, 3, 4, 9].map(|count| room(&with_merges(count))), [1, 1, 1, 0, 0]);
        for long in [JobKey::Assemble(0), JobKey::Calibrate(0)] {
            let others: Vec<JobKey> = [long].into_iter().chain(tiles.clone()).collect();
            assert_eq!([1, 2, 3, 6].map(|count| room(&others[..count])), [2, 1, 0, 0]);
        }
    }

    #[test]
    fn tiles_that_are_done_fast_have_a_longer_line() {
        let room = |milliseconds| {
            let desk = Desk::new(1 << 30, 3);
            for x in 0..6 {
                desk.take_up((1, x as u64), "a", JobKey::Detect(Block { level: 0, y: 0, x }), 1 << 20).unwrap();
            }
            let object = ObjectRef { key: "a".into(), digest: Digest::of(b"a"), length: 1 };
            let done = Committed { object, stats: JobStats::default() };
            desk.end((1, 0), Ok((done, Duration::from_millis(milliseconds))));
            // One of six is done.
            desk.request("w", 1, false, Duration::ZERO).slots
        };
        assert_eq!([0, 300, 500, 501, 30_000].map(room), [3, 3, 3, 1, 1]);
    }
}
