//! Leases: given with an attempt, renewed by every call that lists it with progress, and ended.

use std::sync::Arc;
use std::time::Duration;

use survey::failure::FailureClass;
use survey::job::{Job, JobInput, JobKey};

use crate::schedule::books::Status;
use crate::schedule::event::{Assignment, Attempt, Effect};
use crate::schedule::settle::Blame;
use crate::schedule::state::{Lease, Live, Located, State, SurveyNumber, SurveyState, Timer};

/// An attempt that was taken away.
pub(super) struct Released {
    pub lease: Lease,
    /// Another attempt at the same job runs on.
    pub runs_on: bool,
}

impl State {
    /// Gives a job to a worker. A job that has an attempt already gets a second one.
    pub(super) fn lease(
        &mut self,
        number: SurveyNumber,
        job: u32,
        worker: &Arc<str>,
        begins: Duration,
        now: Duration,
    ) -> Option<u64> {
        let counter = self.next_attempt;
        let survey = self.surveys.get_mut(number)?;
        let holder = self.workers.get_mut(worker)?;
        let stage = survey.graph.stage_of(job);
        match survey.live.get(&job).copied() {
            None => {
                survey.unqueue(job);
                if !survey.books.set(job, Status::Leased) {
                    return None;
                }
                survey.live.insert(job, Live { first: counter, second: None });
                survey.lone[stage].insert((begins, counter));
                survey.tally.running[stage] += 1;
            }
            Some(Live { first, second: None }) => {
                let straggler = self.leases.get(&first)?;
                survey.lone[stage].remove(&(straggler.begins, first));
                survey.live.insert(job, Live { first, second: Some(counter) });
                survey.tally.speculations += 1;
            }
            Some(_) => return None,
        }
        survey.tally.attempts += 1;
        self.next_attempt += 1;
        let expires = now + self.policy.lease;
        self.timers.insert((expires, Timer::Lease(counter)));
        holder.leases.insert(counter);
        let worker = Arc::clone(worker);
        let lease = Lease { survey: number, job, worker, given: now, begins, expires, progress: 0, progressed: now };
        self.leases.insert(counter, lease);
        self.touch(number);
        Some(counter)
    }

    /// Whether the worker still holds the attempt; then its lease is prolonged, as long as it gets on.
    pub(super) fn renew(&mut self, worker: &str, attempt: Attempt, progress: u64, now: Duration) -> bool {
        if attempt.epoch != self.epoch {
            return false;
        }
        let counter = attempt.counter;
        let Some(lease) = self.leases.get_mut(&counter).filter(|lease| *lease.worker == *worker) else { return false };
        if progress > lease.progress {
            lease.progress = progress;
            lease.progressed = now;
        }
        let stalls = lease.progressed.max(lease.begins) + self.policy.stall;
        let expires = (now + self.policy.lease).min(stalls).min(lease.begins + self.policy.longest_attempt);
        if expires != lease.expires {
            self.timers.remove(&(lease.expires, Timer::Lease(counter)));
            self.timers.insert((expires, Timer::Lease(counter)));
            lease.expires = expires;
        }
        true
    }

    /// Takes a lease away. Where no other attempt at its job runs, the job waits for nothing and stands nowhere, and the
    /// caller gives it a place.
    pub(super) fn release(&mut self, counter: u64) -> Option<Released> {
        let lease = self.leases.remove(&counter)?;
        self.timers.remove(&(lease.expires, Timer::Lease(counter)));
        if let Some(worker) = self.workers.get_mut(&lease.worker) {
            worker.leases.remove(&counter);
        }
        self.touch(lease.survey);
        let survey = self.surveys.get_mut(lease.survey)?;
        let stage = survey.graph.stage_of(lease.job);
        let other = match survey.live.get(&lease.job) {
            Some(live) if live.first == counter => live.second,
            Some(live) if live.second == Some(counter) => Some(live.first),
            _ => None,
        };
        if let Some(first) = other {
            survey.live.insert(lease.job, Live { first, second: None });
            if let Some(other) = self.leases.get(&first) {
                survey.lone[stage].insert((other.begins, first));
            }
        } else {
            survey.live.remove(&lease.job);
            survey.lone[stage].remove(&(lease.begins, counter));
            survey.books.set(lease.job, Status::Waiting(0));
            survey.tally.running[stage] = survey.tally.running[stage].saturating_sub(1);
        }
        Some(Released { lease, runs_on: other.is_some() })
    }

    /// Ends a lease that nothing has renewed.
    pub(super) fn expire(&mut self, counter: u64, now: Duration, effects: &mut Vec<Effect>) {
        let Some(Released { lease, runs_on }) = self.release(counter) else { return };
        if let Some(survey) = self.surveys.get_mut(lease.survey) {
            survey.tally.leases_expired += 1;
        }
        let policy = &self.policy;
        let (blame, message) = if lease.begins + policy.longest_attempt <= now {
            let hours = policy.longest_attempt.as_secs_f64() / 3600.0;
            (Blame::Job(FailureClass::Poison), format!("worker {} had not ended it after {hours} h", lease.worker))
        } else if lease.progressed.max(lease.begins) + policy.stall <= now {
            let seconds = policy.stall.as_secs();
            (Blame::Job(FailureClass::Poison), format!("worker {} made no progress for {seconds} s", lease.worker))
        } else {
            let seconds = policy.lease.as_secs();
            (Blame::Silence, format!("worker {} fell silent for {seconds} s", lease.worker))
        };
        if matches!(blame, Blame::Silence) {
            self.note_silence(&lease.worker);
        }
        self.try_again(lease.survey, lease.job, &lease.worker, blame, &message, runs_on, now, effects);
    }

    /// A worker is no longer heard of: what it works in is free for others.
    fn note_silence(&mut self, name: &Arc<str>) {
        let Some(worker) = self.workers.get_mut(name).filter(|worker| !worker.is_lost) else { return };
        self.capacity -= worker.capacity();
        worker.is_lost = true;
        self.lost_workers += 1;
        self.leave_places(name);
    }

    /// All that is timed comes so much later.
    pub(super) fn postpone(&mut self, by: Duration) {
        self.heard += by;
        for lease in self.leases.values_mut() {
            lease.expires += by;
            lease.progressed += by;
        }
        for worker in self.workers.values_mut() {
            worker.seen += by;
        }
        let timers = std::mem::take(&mut self.timers);
        self.timers = timers
            .into_iter()
            .map(|(at, timer)| if matches!(timer, Timer::Lease(_)) { (at + by, timer) } else { (at, timer) })
            .collect();
    }

    /// An attempt as its worker is told of it.
    pub(super) fn assignment(&self, counter: u64) -> Option<Assignment> {
        let lease = self.leases.get(&counter)?;
        let survey = self.surveys.get(lease.survey)?;
        let job = Job {
            key: survey.graph.key(lease.job)?,
            plan: survey.plan.clone(),
            inputs: survey.inputs(lease.job),
            memory: survey.memory(lease.job),
        };
        let (id, output) = (survey.id.clone(), survey.output.clone());
        Some(Assignment { survey: id, output, job, attempt: self.attempt(counter) })
    }
}

impl SurveyState {
    /// What a job reads.
    pub(super) fn inputs(&self, number: u32) -> Vec<JobInput> {
        let booked = |input: u32| {
            let from = self.graph.key(input)?;
            Some(JobInput { from, object: self.books.object(input, from) })
        };
        let mut inputs: Vec<JobInput> = self.graph.inputs(number).filter_map(booked).collect();
        if let Some(JobKey::Assemble(county)) = self.graph.key(number)
            && let Some(located) = self.root.closed_at.as_ref().and_then(|closed_at| closed_at.get(&county))
        {
            inputs.extend(located.iter().filter_map(|located| match located {
                Located::Booked(number) => booked(*number),
                Located::Elsewhere(object) => Some(JobInput { from: object.0, object: Some(object.1.clone()) }),
            }));
        }
        inputs
    }
}
