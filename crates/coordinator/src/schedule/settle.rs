//! How attempts end: completions, failures, and what follows from them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use survey::failure::FailureClass;

use crate::journal::Record;
use crate::schedule::books::Status;
use crate::schedule::event::{Completion, Effect, Failure};
use crate::schedule::lease::Released;
use crate::schedule::policy::seed;
use crate::schedule::state::{Phase, State, SurveyNumber, Timer, Trouble};

/// Most workers that a job remembers to have failed on.
const MAX_AVOIDED: usize = 16;

/// What an attempt ended of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The job failed so.
    Job(FailureClass),
    /// Its worker fell silent: because of the job, or not.
    Silence,
}

/// What becomes of a job whose attempt failed.
enum Verdict {
    Again,
    After(Duration),
    Never(FailureClass, String),
}

impl State {
    /// The first completion of an open job counts, whatever its attempt: results are named by their digest. Only what was
    /// given out before the survey was submitted (again) does not: what failed then and left a gap may be done by now, and
    /// a result that was computed from the gap is not that of its inputs.
    pub(super) fn complete(
        &mut self,
        worker: &Arc<str>,
        completion: Completion,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let Completion { survey: id, key, object, wall, attempt } = completion;
        let Some(&number) = self.ids.get(&id) else { return };
        let Some(survey) = self.surveys.get_mut(number).filter(|survey| attempt >= survey.since) else { return };
        let Some(job) = survey.graph.number(key) else { return };
        let Some(status) = survey.books.status(job) else { return };
        if let Some(booked) = survey.books.digest(job) {
            if booked != object.digest {
                survey.tally.alarms += 1;
                let (reported, worker) = (object.digest, worker.to_string());
                effects.push(Effect::Alarm { survey: id, key, booked, reported, worker });
                self.touch(number);
            }
            return;
        }
        // An open job cannot have been done before its inputs were, and a survey that is over takes nothing.
        let is_open = matches!(status, Status::Ready | Status::Delayed | Status::Leased);
        if !is_open || survey.phase != Phase::Running {
            return;
        }
        let stage = survey.graph.stage_of(job);
        let cost = survey.graph.cost(job);
        let own = self.leases.get(&attempt.counter).filter(|lease| {
            attempt.epoch == self.epoch && lease.survey == number && lease.job == job && lease.worker == *worker
        });
        if let Some(lease) = own {
            survey.measures[stage].observe(now.saturating_sub(lease.begins));
        }
        if !wall.is_zero() {
            survey.measures[stage].correct(cost, wall);
        }
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.failures = 0;
            worker.pauses_until = Duration::ZERO;
        }
        self.make_way(number, job);
        let Some(survey) = self.surveys.get_mut(number) else { return };
        if survey.books.set_done(job, key, &object) {
            survey.count_settled(job, true);
            effects.push(Effect::Record(Record::Completed { survey: id, key, object }));
            self.after_settling(number, job, true, now, effects);
        }
    }

    /// Takes an open job from wherever it stands: it is ready, and in no queue.
    pub(super) fn make_way(&mut self, number: SurveyNumber, job: u32) {
        let Some(survey) = self.surveys.get_mut(number) else { return };
        match survey.books.status(job) {
            Some(Status::Ready) => survey.unqueue(job),
            Some(Status::Delayed) => {
                let until = survey.troubles.get(&job).map_or(Duration::ZERO, |trouble| trouble.until);
                self.timers.remove(&(until, Timer::Retry(number, job)));
            }
            Some(Status::Leased) => {
                let live = survey.live.get(&job).copied();
                for counter in live.into_iter().flat_map(|live| [live.second, Some(live.first)]).flatten() {
                    // Whoever else is at it is told with the next call.
                    self.release(counter);
                }
                if let Some(survey) = self.surveys.get_mut(number) {
                    survey.books.set(job, Status::Ready);
                }
            }
            _ => {}
        }
    }

    pub(super) fn attempt_failed(
        &mut self,
        worker: &Arc<str>,
        failure: &Failure,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let counter = failure.attempt.counter;
        let number = self.ids.get(&failure.survey).copied();
        // Reports are fenced by the attempt: what an attempt that was given up says is heard no more.
        let is_held = failure.attempt.epoch == self.epoch
            && self.leases.get(&counter).is_some_and(|lease| lease.worker == *worker && Some(lease.survey) == number);
        if !is_held {
            return;
        }
        let Some(Released { lease, runs_on }) = self.release(counter) else { return };
        if let Some(survey) = self.surveys.get_mut(lease.survey) {
            survey.tally.attempts_failed += 1;
        }
        if !failure.damaged.is_empty() {
            self.failed_for_its_inputs(failure, &lease, runs_on, now, effects);
            return;
        }
        self.note_worker_failure(worker, failure.class, now);
        let blame = Blame::Job(failure.class);
        self.try_again(lease.survey, lease.job, worker, blame, &failure.message, runs_on, now, effects);
    }

    /// A worker on which everything fails is not to draw all jobs to itself: it pauses, while others do well.
    fn note_worker_failure(&mut self, name: &Arc<str>, class: FailureClass, now: Duration) {
        use FailureClass::{Fatal, Poison, Retryable};
        if !matches!(class, Retryable | Poison | Fatal) {
            return;
        }
        let policy = self.policy.clone();
        if let Some(worker) = self.workers.get_mut(name) {
            worker.failures = worker.failures.saturating_add(1);
            if let Some(beyond) = worker.failures.checked_sub(policy.worker_failures) {
                worker.pauses_until = now + policy.pause(beyond + 3, u64::from(worker.failures));
            }
        }
    }

    /// What follows from a failed attempt. Each way out is bounded, so that a survey ends.
    #[allow(clippy::too_many_arguments, reason = "one failure has this many sides")]
    pub(super) fn try_again(
        &mut self,
        number: SurveyNumber,
        job: u32,
        worker: &Arc<str>,
        blame: Blame,
        message: &str,
        runs_on: bool,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let (lost_workers, policy) = (self.lost_workers, self.policy.clone());
        let is_alone = |poisoned: &[Arc<str>]| {
            !self.workers.iter().any(|(name, other)| self.is_at_work(other, now) && !poisoned.contains(name))
        };
        let largest = self.workers.values().map(|worker| worker.memory_total).max().unwrap_or(0);
        let Some(survey) = self.surveys.get(number) else { return };
        let Some(key) = survey.graph.key(job) else { return };
        let (id, memory, max_memory) = (survey.id.clone(), survey.memory(job), survey.max_job_memory);
        let mut trouble = survey.troubles.get(&job).cloned().unwrap_or_default();
        let verdict = match blame {
            Blame::Silence => trouble.lost(worker, message, lost_workers, &policy),
            Blame::Job(class) => match class {
                FailureClass::Cancelled if trouble.hand_backs < policy.hand_backs => {
                    trouble.hand_backs += 1;
                    Verdict::Again
                }
                FailureClass::Retryable | FailureClass::Cancelled => {
                    trouble.retry(class, message, seed(key), now, &policy)
                }
                FailureClass::OutOfMemory if memory < max_memory => {
                    trouble.memory = Some(memory.saturating_mul(2).min(max_memory));
                    Verdict::Again
                }
                FailureClass::OutOfMemory => {
                    let mib = max_memory >> 20;
                    let mend = "use smaller tiles (grid.tile_px) or workers with more memory (--memory)";
                    let message =
                        format!("{message}; it needs more than the {mib} MiB that a worker gives one job: {mend}");
                    Verdict::Never(class, message)
                }
                FailureClass::Poison | FailureClass::Fatal => {
                    trouble.poisonings += 1;
                    note(&mut trouble.poisoned, worker);
                    let (tries, on) = (trouble.poisonings, trouble.poisoned.len());
                    let is_everywhere = on >= policy.poisonings as usize || is_alone(&trouble.poisoned);
                    if tries >= policy.poisonings && is_everywhere || tries >= policy.poisonings * 2 {
                        let on = if on == 1 { "one worker".to_owned() } else { format!("{on} workers") };
                        let message = format!("given up after {tries} attempts on {on}; the last: {message}");
                        Verdict::Never(class, message)
                    } else {
                        Verdict::Again
                    }
                }
                FailureClass::BadInput | FailureClass::InputChanged => Verdict::Never(class, message.to_owned()),
            },
        };
        // A job that took more than one worker along may have wanted more memory than there was.
        if trouble.losses > 1 && blame == Blame::Silence {
            trouble.memory = Some(memory.saturating_mul(2).min(max_memory).min(largest).max(memory));
        }
        let class = match blame {
            Blame::Job(class) => class,
            Blame::Silence => FailureClass::Retryable,
        };
        if class != FailureClass::Cancelled {
            note(&mut trouble.avoids, worker);
            trouble.avoids_until = now + policy.avoidance;
        }
        let record = Record::AttemptFailed { survey: id, key, class, message: message.to_owned() };
        effects.push(Effect::Record(record));
        self.touch(number);
        let Some(survey) = self.surveys.get_mut(number) else { return };
        match verdict {
            Verdict::Never(class, message) => self.fail(number, job, class, &message, now, effects),
            // The other attempt may still succeed; what was counted is counted.
            _ if runs_on => {
                survey.troubles.insert(job, trouble);
            }
            Verdict::Again => {
                survey.troubles.insert(job, trouble);
                survey.make_ready(job);
                self.has_fresh = true;
            }
            Verdict::After(until) => {
                trouble.until = until;
                survey.troubles.insert(job, trouble);
                survey.delay(job);
                self.timers.insert((until, Timer::Retry(number, job)));
            }
        }
    }

    /// The job has failed for good: what depends on it goes on without it.
    pub(super) fn fail(
        &mut self,
        number: SurveyNumber,
        job: u32,
        class: FailureClass,
        message: &str,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        self.make_way(number, job);
        let Some(survey) = self.surveys.get_mut(number) else { return };
        let Some(key) = survey.graph.key(job) else { return };
        if survey.books.set_failed(job, class, message) {
            survey.count_settled(job, false);
            let survey = survey.id.clone();
            effects.push(Effect::Record(Record::Failed { survey, key, class, message: message.to_owned() }));
            self.after_settling(number, job, false, now, effects);
        }
    }

    /// Frees what waits for a job that is settled, and ends the survey with its last job.
    fn after_settling(
        &mut self,
        number: SurveyNumber,
        job: u32,
        is_done: bool,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let Some(survey) = self.surveys.get_mut(number) else { return };
        survey.troubles.remove(&job);
        survey.free_dependants(job);
        let is_root = survey.graph.root == Some(job);
        if is_root && !is_done {
            survey.stop_waiting_for_root(BTreeMap::new());
        }
        self.has_fresh = true;
        self.touch(number);
        if is_root && is_done {
            self.ask_for_root(number, now, effects);
        }
        self.end_if_settled(number);
    }
}

impl super::state::SurveyState {
    /// The jobs that read this one's object wait for one thing less.
    fn free_dependants(&mut self, job: u32) {
        for reader in self.readers(job) {
            self.wait_for_less(reader);
        }
    }

    /// A job that stands nowhere pauses.
    pub(super) fn delay(&mut self, job: u32) {
        self.books.set(job, Status::Delayed);
    }
}

impl Trouble {
    /// The worker fell silent. A job that takes its worker along looks like this, and so does a worker that was switched
    /// off: the more workers are lost over other jobs meanwhile, the less is this one to blame.
    fn lost(&mut self, worker: &Arc<str>, message: &str, lost_workers: u64, policy: &super::policy::Policy) -> Verdict {
        if self.losses == 0 {
            self.lost_before = lost_workers.saturating_sub(1);
        }
        self.losses += 1;
        let over_others = (lost_workers - self.lost_before).saturating_sub(u64::from(self.losses));
        let limit = u64::from(policy.losses).saturating_add(over_others).min(u64::from(policy.most_losses));
        if u64::from(self.losses) >= limit {
            let message = format!("given up after {} workers were lost over it; the last: {message}", self.losses);
            return Verdict::Never(FailureClass::Poison, message);
        }
        note(&mut self.avoids, worker);
        Verdict::Again
    }

    fn retry(
        &mut self,
        class: FailureClass,
        message: &str,
        seed: u64,
        now: Duration,
        policy: &super::policy::Policy,
    ) -> Verdict {
        if self.retries >= policy.retries {
            let message = format!("given up after {} attempts; the last: {message}", self.retries + 1);
            return Verdict::Never(class, message);
        }
        self.retries += 1;
        Verdict::After(now + policy.pause(self.retries, seed))
    }
}

/// Adds a worker to a list of different ones.
fn note(list: &mut Vec<Arc<str>>, worker: &Arc<str>) {
    if !list.contains(worker) && list.len() < MAX_AVOIDED {
        list.push(Arc::clone(worker));
    }
}
