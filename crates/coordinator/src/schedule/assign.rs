//! Which job goes to which worker: by share, stage, memory and place, in batches that are worth a call.

use std::sync::Arc;
use std::time::Duration;

use crate::schedule::event::Assignment;
use crate::schedule::state::{Phase, State, SurveyNumber, SurveyState, Trouble};
use crate::schedule::survey::LATER_FIRST;

/// Most jobs that are looked at for one slot.
pub(super) const SCAN: usize = 256;
/// Most attempts that a worker is given to hold: a call lists them all.
const MOST_HELD: usize = 2048;
/// The stage whose jobs read scenes: neighbours share blocks of them.
pub(super) const DETECT: usize = 1;
/// Work is weighed in these units when it is divided by a priority.
const SHARE: u128 = 1 << 20;

/// A job for a slot.
struct Choice {
    survey: SurveyNumber,
    stage: usize,
    job: u32,
}

impl State {
    /// Jobs for a worker with so much free memory and so many free slots.
    pub(super) fn take(&mut self, worker: &Arc<str>, memory: u64, slots: u32, now: Duration) -> Vec<Assignment> {
        if self.is_paused(worker, now) {
            return Vec::new();
        }
        let mut memory = memory;
        let mut counters = Vec::new();
        for _ in 0..slots {
            self.rank_surveys();
            if self.workers.get(worker).is_none_or(|worker| worker.leases.len() >= MOST_HELD) {
                break;
            }
            let taken = match self.choose(worker, memory, now) {
                Some(choice) => self.give_batch(&choice, worker, memory, now, &mut counters),
                None => self.give_straggler(worker, memory, now, &mut counters),
            };
            let Some(reserved) = taken else { break };
            memory = memory.saturating_sub(reserved);
        }
        counters.into_iter().filter_map(|counter| self.assignment(counter)).collect()
    }

    /// Whether a worker on which much fails is to pause: not where all others are no better.
    fn is_paused(&self, name: &Arc<str>, now: Duration) -> bool {
        self.workers.get(name).is_some_and(|worker| worker.pauses_until > now)
            && self.workers.values().any(|other| self.is_at_work(other, now) && other.pauses_until <= now)
    }

    /// The first job, in the order of shares and stages, that fits.
    fn choose(&mut self, worker: &Arc<str>, memory: u64, now: Duration) -> Option<Choice> {
        for &(_, number) in &self.eligible {
            let Some(survey) = self.surveys.get(number) else { continue };
            for stage in LATER_FIRST {
                let found = if stage == DETECT {
                    self.pick_near(number, survey, worker, memory, now)
                } else {
                    self.pick_first(survey, stage, worker, memory, now)
                };
                if let Some(job) = found {
                    return Some(Choice { survey: number, stage, job });
                }
            }
        }
        None
    }

    fn pick_first(
        &self,
        survey: &SurveyState,
        stage: usize,
        worker: &Arc<str>,
        memory: u64,
        now: Duration,
    ) -> Option<u32> {
        let queue = survey.queues.get(stage)?;
        let mut from = 0;
        for _ in 0..SCAN {
            let job = queue.next(from, memory)?;
            if self.may_have(survey, job, worker, memory, now) {
                return Some(job);
            }
            from = job.saturating_add(1);
        }
        None
    }

    /// Whether the job fits and is not to be kept from this worker.
    pub(super) fn may_have(
        &self,
        survey: &SurveyState,
        job: u32,
        worker: &Arc<str>,
        memory: u64,
        now: Duration,
    ) -> bool {
        let needs = survey.memory(job);
        needs <= memory
            && !survey.troubles.get(&job).is_some_and(|trouble| self.is_for_others(trouble, needs, worker, now))
    }

    /// Whether the job failed on this worker lately, and there is one that it has not failed on.
    fn is_for_others(&self, trouble: &Trouble, needs: u64, worker: &Arc<str>, now: Duration) -> bool {
        trouble.avoids_until > now
            && trouble.avoids.contains(worker)
            && self.workers.iter().any(|(name, other)| {
                self.is_at_work(other, now) && other.memory_total >= needs && !trouble.avoids.contains(name)
            })
    }

    /// Gives a job to one slot, and with it as many of those after it as are worth a call together. One after the other they need no
    /// more memory than the largest. Says how much that is.
    fn give_batch(
        &mut self,
        choice: &Choice,
        worker: &Arc<str>,
        memory: u64,
        now: Duration,
        counters: &mut Vec<u64>,
    ) -> Option<u64> {
        let &Choice { survey: number, stage, job } = choice;
        let survey = self.surveys.get(number)?;
        let mut reserved = survey.memory(job);
        let queue = survey.queues.get(stage)?;
        // Near the end of a stage the batches become small, so that all workers end together.
        let left_ms = survey.measures.get(stage).map_or(0, |measure| measure.expect_ms(queue.cost()));
        let batch_ms = u64::try_from(self.policy.batch.as_millis()).unwrap_or(u64::MAX);
        let most_ms = batch_ms.min(left_ms / (2 * self.capacity.max(1)));
        let mut end = u32::MAX;
        if stage == DETECT {
            self.comes_to(number, job, worker);
            end = self.way(number, worker).end;
        }
        let mut spent_ms = self.surveys.get(number)?.expect_ms(job);
        counters.push(self.lease(number, job, worker, now, now)?);
        let is_suspect = |survey: &SurveyState, job| survey.troubles.get(&job).is_some_and(Trouble::is_suspect);
        let mut from = job.saturating_add(1);
        let (mut jobs, mut last) = (1, job);
        if !is_suspect(self.surveys.get(number)?, job) {
            for _ in 0..SCAN {
                let survey = self.surveys.get(number)?;
                let queue = survey.queues.get(stage)?;
                if spent_ms >= most_ms || jobs >= self.policy.batch_jobs {
                    break;
                }
                let Some(next) = queue.next(from, memory).filter(|&next| next < end) else { break };
                let ends_ms = spent_ms.saturating_add(survey.expect_ms(next));
                if ends_ms > most_ms {
                    break;
                }
                from = next.saturating_add(1);
                if is_suspect(survey, next) || !self.may_have(survey, next, worker, memory, now) {
                    continue;
                }
                reserved = reserved.max(survey.memory(next));
                let begins = now + Duration::from_millis(spent_ms);
                counters.push(self.lease(number, next, worker, begins, now)?);
                last = next;
                spent_ms = ends_ms;
                jobs += 1;
            }
        }
        if last != job && stage == DETECT {
            self.comes_to(number, last, worker);
        }
        let survey = self.surveys.get_mut(number)?;
        self.served = self.served.max(survey.served);
        survey.served += u128::from(spent_ms.max(1)) * SHARE / u128::from(survey.priority.max(1));
        Some(reserved)
    }

    /// Where nothing else is to be done: a second attempt at the job whose only one has taken longest, if it is a
    /// straggler. The first completion counts.
    fn give_straggler(
        &mut self,
        worker: &Arc<str>,
        memory: u64,
        now: Duration,
        counters: &mut Vec<u64>,
    ) -> Option<u64> {
        let (number, job) = self.straggler(worker, memory, now)?;
        let reserved = self.surveys.get(number)?.memory(job);
        counters.push(self.lease(number, job, worker, now, now)?);
        Some(reserved)
    }

    fn straggler(&self, worker: &Arc<str>, memory: u64, now: Duration) -> Option<(SurveyNumber, u32)> {
        for (number, survey) in self.surveys.iter().enumerate() {
            if survey.phase != Phase::Running || survey.live.is_empty() {
                continue;
            }
            for stage in LATER_FIRST {
                let (Some(lone), Some(measure)) = (survey.lone.get(stage), survey.measures.get(stage)) else {
                    continue;
                };
                if lone.is_empty() || !survey.is_half_done(stage) {
                    continue;
                }
                let Some(median) = measure.median() else { continue };
                let patience = (median * self.policy.straggling).max(self.policy.shortest_straggler);
                let found = lone
                    .iter()
                    .take_while(|&&(begins, _)| begins + patience < now)
                    .take(SCAN)
                    .filter_map(|(_, counter)| self.leases.get(counter))
                    .find(|lease| lease.worker != *worker && self.may_have(survey, lease.job, worker, memory, now));
                if let Some(lease) = found {
                    return Some((number, lease.job));
                }
            }
        }
        None
    }
}
