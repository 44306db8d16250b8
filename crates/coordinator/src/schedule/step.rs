//! The step function: state and event to the next state and effects. No clock, no socket, no lock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use survey::failure::FailureClass;
use survey::ids::SurveyId;
use survey::job::{Job, JobInput, JobKey, ObjectRef};

use crate::journal::Record;
use crate::schedule::event::{Answer, Assignment, Attempt, Completion, Effect, Event, Failure, Poll, Submission};
use crate::schedule::state::{JobState, Lease, Offer, Phase, RootState, State, Status, SurveyState, Tally, Worker};
use crate::schedule::state::{rank, stage_index};

/// Most ready jobs that are looked at for one worker: those that do not fit its memory are passed over.
const SCAN: usize = 1024;

/// Applies an event at time `now` (since any fixed origin, never going back).
#[must_use]
pub fn step(state: &mut State, event: Event, now: Duration) -> Vec<Effect> {
    let mut effects = Vec::new();
    match event {
        Event::Submit(submission) => state.submit(*submission, &mut effects),
        Event::Poll(poll) => state.poll(poll, now, &mut effects),
        Event::RootRead { survey, object, read } => state.root_read(&survey, &object, read, now, &mut effects),
        Event::Damaged { survey, damaged } => state.reopen(&survey, &damaged, &mut effects),
        Event::Cancel(survey) => state.cancel(&survey, &mut effects),
        Event::Drain(_) | Event::Tick => {}
    }
    state.pass_time(now, &mut effects);
    state.serve_waiting(now, &mut effects);
    effects
}

// Surveys.
impl State {
    fn submit(&mut self, submission: Submission, effects: &mut Vec<Effect>) {
        let id = submission.survey.clone();
        if self.surveys.get(&id).is_some_and(|survey| survey.phase == Phase::Running) {
            // The same submission again: it is being done.
            return;
        }
        let survey = SurveyState::new(submission);
        let root = survey.graph.root.and_then(|root| survey.job(root)).map(|job| job.status.clone());
        self.surveys.insert(id.clone(), survey);
        if let Some(Status::Done(object)) = root {
            effects.push(Effect::ReadRoot { survey: id.clone(), object });
        }
        self.end_if_settled(&id);
        effects.push(Effect::Changed(id));
    }

    fn cancel(&mut self, id: &SurveyId, effects: &mut Vec<Effect>) {
        let Some(survey) = self.surveys.get_mut(id).filter(|survey| survey.phase == Phase::Running) else { return };
        survey.phase = Phase::Cancelled;
        survey.ready.clear();
        survey.delayed.clear();
        survey.root.retry_at = None;
        let held: Vec<u64> =
            self.leases.iter().filter(|(_, lease)| lease.survey == *id).map(|(&counter, _)| counter).collect();
        for counter in held {
            if let Some((survey, number)) = self.release(counter)
                && let Some(job) = survey.job_mut(number)
            {
                job.status = Status::Waiting(0);
            }
        }
        effects.push(Effect::Record(Record::Cancelled { survey: id.clone() }));
        effects.push(Effect::Changed(id.clone()));
    }

    fn root_read(
        &mut self,
        id: &SurveyId,
        object: &ObjectRef,
        read: Result<BTreeMap<u32, Vec<ObjectRef>>, (FailureClass, String)>,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let (policy, survey) = match self.surveys.get_mut(id) {
            Some(survey) if survey.phase == Phase::Running => (&self.policy, survey),
            _ => return,
        };
        let Some(root) = survey.graph.root else { return };
        let is_current = survey.job(root).is_some_and(|job| job.status == Status::Done(object.clone()));
        if !is_current || survey.root.closed_at.is_some() {
            return;
        }
        match read {
            Ok(closed_at) => {
                survey.note_components(closed_at);
                self.release_counties(id, root);
            }
            Err((FailureClass::Retryable, _)) if survey.root.failed_reads < policy.retries => {
                survey.root.failed_reads += 1;
                survey.root.retry_at = Some(now + policy.pause(survey.root.failed_reads, u64::from(root)));
            }
            Err((class, message)) => {
                let may_repair = survey.root.repairs < policy.root_repairs;
                if let Some(spec) = survey.graph.job(root) {
                    effects.push(Effect::Record(Record::Reopened { survey: id.clone(), key: spec.key }));
                }
                survey.unsettle(root);
                if may_repair {
                    survey.root.repairs += 1;
                    survey.root.failed_reads = 0;
                    survey.make_ready(root);
                } else {
                    let message = format!("the merged findings cannot be read back: {message}");
                    self.fail(id, root, class, message, effects);
                }
            }
        }
        effects.push(Effect::Changed(id.clone()));
    }

    /// The root is known: the counties wait for nothing else.
    fn release_counties(&mut self, id: &SurveyId, root: u32) {
        let Some(survey) = self.surveys.get_mut(id) else { return };
        let dependants = survey.graph.job(root).map(|spec| spec.dependants.clone()).unwrap_or_default();
        for number in dependants {
            survey.reconsider(number);
        }
    }

    fn end_if_settled(&mut self, id: &SurveyId) {
        if let Some(survey) = self.surveys.get_mut(id)
            && survey.phase == Phase::Running
            && survey.tally.done.iter().sum::<u64>() + survey.tally.failed.iter().sum::<u64>()
                == survey.tally.jobs.iter().sum::<u64>()
        {
            survey.phase = Phase::Ended;
        }
    }
}

// Workers.
impl State {
    fn poll(&mut self, poll: Poll, now: Duration, effects: &mut Vec<Effect>) {
        let worker = self.workers.entry(poll.worker.clone()).or_insert_with(|| Worker {
            seen: now,
            sequence: 0,
            draining: false,
            offer: None,
            leases: BTreeSet::new(),
        });
        if poll.sequence < worker.sequence {
            effects.push(answer(&poll.worker, poll.sequence, Answer::default()));
            return;
        }
        worker.seen = now;
        worker.draining = poll.draining;
        if worker.offer.take().is_some() && worker.sequence != poll.sequence {
            effects.push(answer(&poll.worker, worker.sequence, Answer::default()));
        }
        worker.sequence = poll.sequence;

        let mut said = Answer::default();
        let mut listed: BTreeSet<u64> = BTreeSet::new();
        for (attempt, progress) in poll.running {
            if attempt.epoch == self.epoch {
                listed.insert(attempt.counter);
            }
            if !self.renew(&poll.worker, attempt, progress, now) {
                said.revoked.push(attempt);
            }
        }
        for completion in poll.completed {
            said.acknowledged.push(completion.attempt);
            self.complete(&poll.worker, completion, effects);
        }
        for failure in poll.failed {
            said.acknowledged.push(failure.attempt);
            self.attempt_failed(&poll.worker, &failure, now, effects);
        }
        // What was given to this worker and what it does not know of got lost on the way: it is sent again.
        let held = self.workers.get(&poll.worker).map(|worker| worker.leases.clone()).unwrap_or_default();
        for &counter in held.difference(&listed) {
            if !poll.draining {
                said.assignments.extend(self.assignment(counter));
            } else if let Some((id, number)) = self.lease_of(counter) {
                self.release(counter);
                let message = "its worker left before it heard of the job";
                self.try_again(&id, number, &poll.worker, FailureClass::Cancelled, message, now, effects);
            }
        }
        let resent: u64 = said.assignments.iter().map(|assignment| assignment.job.memory).sum();
        let resent_slots = u32::try_from(said.assignments.len()).unwrap_or(u32::MAX);
        let memory = poll.memory_free.saturating_sub(resent);
        let slots = if poll.draining { 0 } else { poll.slots.saturating_sub(resent_slots) };
        said.assignments.extend(self.take(&poll.worker, memory, slots, now, effects));
        let wait = poll.wait.min(self.policy.longest_wait);
        if said.is_empty() && slots > 0 && !wait.is_zero() {
            if let Some(worker) = self.workers.get_mut(&poll.worker) {
                worker.offer = Some(Offer { memory, slots, until: now + wait });
            }
        } else {
            effects.push(answer(&poll.worker, poll.sequence, said));
        }
    }

    /// Whether the worker still holds the attempt; then its lease is prolonged.
    fn renew(&mut self, worker: &str, attempt: Attempt, progress: u64, now: Duration) -> bool {
        if attempt.epoch != self.epoch {
            return false;
        }
        let counter = attempt.counter;
        let Some(lease) = self.leases.get_mut(&counter).filter(|lease| lease.worker == worker) else { return false };
        if progress != lease.progress {
            lease.progress = progress;
            lease.progressed = now;
        }
        let expires = (now + self.policy.lease).min(lease.progressed + self.policy.stall);
        self.expiries.remove(&(lease.expires, counter));
        self.expiries.insert((expires, counter));
        lease.expires = expires;
        true
    }

    /// Jobs for a worker: later stages first, what fits its memory, and not where they failed before as long as there
    /// is another worker.
    fn take(
        &mut self,
        worker: &str,
        mut memory: u64,
        slots: u32,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) -> Vec<Assignment> {
        let mut taken: Vec<(SurveyId, u32)> = Vec::new();
        let slots = usize::try_from(slots).unwrap_or(usize::MAX);
        for (id, survey) in &self.surveys {
            for &(_, number) in survey.ready.iter().take(SCAN) {
                if taken.len() >= slots {
                    break;
                }
                let Some(job) = survey.job(number) else { continue };
                if job.memory <= memory && !self.is_for_others(job, worker, now) {
                    memory -= job.memory;
                    taken.push((id.clone(), number));
                }
            }
        }
        taken
            .into_iter()
            .filter_map(|(id, number)| {
                let counter = self.lease(id.clone(), number, worker, now)?;
                effects.push(Effect::Changed(id));
                self.assignment(counter)
            })
            .collect()
    }

    /// Whether the job failed on this worker and there is one that it has not failed on.
    fn is_for_others(&self, job: &JobState, worker: &str, now: Duration) -> bool {
        let is_alive = |other: &Worker| !other.draining && other.seen + self.policy.lease > now;
        job.failed_on.iter().any(|failed| failed == worker)
            && self.workers.iter().any(|(name, other)| is_alive(other) && !job.failed_on.contains(name))
    }

    fn lease(&mut self, id: SurveyId, number: u32, worker: &str, now: Duration) -> Option<u64> {
        let survey = self.surveys.get_mut(&id)?;
        let key = survey.graph.job(number)?.key;
        let counter = self.next_attempt;
        survey.ready.remove(&(rank(key), number));
        survey.job_mut(number)?.status = Status::Leased(counter);
        survey.tally.running[stage_index(key.stage())] += 1;
        survey.tally.attempts += 1;
        self.next_attempt += 1;
        let expires = now + self.policy.lease.min(self.policy.stall);
        self.expiries.insert((expires, counter));
        self.workers.get_mut(worker)?.leases.insert(counter);
        let worker = worker.to_owned();
        self.leases.insert(counter, Lease { survey: id, job: number, worker, expires, progress: 0, progressed: now });
        Some(counter)
    }

    /// Takes a lease away; the job is left without a place, for the caller to give it one.
    pub(crate) fn release(&mut self, counter: u64) -> Option<(&mut SurveyState, u32)> {
        let lease = self.leases.remove(&counter)?;
        self.expiries.remove(&(lease.expires, counter));
        if let Some(worker) = self.workers.get_mut(&lease.worker) {
            worker.leases.remove(&counter);
        }
        let survey = self.surveys.get_mut(&lease.survey)?;
        let stage = stage_index(survey.graph.job(lease.job)?.key.stage());
        survey.tally.running[stage] = survey.tally.running[stage].saturating_sub(1);
        Some((survey, lease.job))
    }

    fn lease_of(&self, counter: u64) -> Option<(SurveyId, u32)> {
        self.leases.get(&counter).map(|lease| (lease.survey.clone(), lease.job))
    }

    fn assignment(&self, counter: u64) -> Option<Assignment> {
        let lease = self.leases.get(&counter)?;
        let survey = self.surveys.get(&lease.survey)?;
        let job = Job {
            key: survey.graph.job(lease.job)?.key,
            plan: survey.plan.clone(),
            inputs: survey.inputs(lease.job),
            memory: survey.job(lease.job)?.memory,
        };
        let (survey, output) = (lease.survey.clone(), survey.output.clone());
        Some(Assignment { survey, output, job, attempt: self.attempt(counter) })
    }

    /// Gives what is ready to the calls that wait for it, the least busy worker first.
    fn serve_waiting(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.surveys.values().all(|survey| survey.ready.is_empty()) {
            return;
        }
        let mut waiting: Vec<(usize, String)> = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.offer.is_some())
            .map(|(name, worker)| (worker.leases.len(), name.clone()))
            .collect();
        waiting.sort();
        for (_, name) in waiting {
            let Some(worker) = self.workers.get(&name) else { continue };
            let (Some(offer), sequence) = (worker.offer.clone(), worker.sequence) else { continue };
            let assignments = self.take(&name, offer.memory, offer.slots, now, effects);
            if !assignments.is_empty() {
                if let Some(worker) = self.workers.get_mut(&name) {
                    worker.offer = None;
                }
                effects.push(answer(&name, sequence, Answer { assignments, ..Answer::default() }));
            }
        }
    }

    fn pass_time(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        while let Some(&(expires, counter)) = self.expiries.first()
            && expires <= now
        {
            self.expire(counter, now, effects);
        }
        for (id, survey) in &mut self.surveys {
            while let Some(&(until, number)) = survey.delayed.first()
                && until <= now
            {
                survey.delayed.pop_first();
                survey.make_ready(number);
            }
            if survey.root.retry_at.is_some_and(|at| at <= now) {
                survey.root.retry_at = None;
                if let Some(Status::Done(object)) =
                    survey.graph.root.and_then(|root| survey.job(root)).map(|job| &job.status)
                {
                    effects.push(Effect::ReadRoot { survey: id.clone(), object: object.clone() });
                }
            }
        }
        for (name, worker) in &mut self.workers {
            if worker.offer.as_ref().is_some_and(|offer| offer.until <= now) {
                worker.offer = None;
                effects.push(answer(name, worker.sequence, Answer::default()));
            }
        }
        let forget = self.policy.forget_worker;
        self.workers
            .retain(|_, worker| !worker.leases.is_empty() || worker.offer.is_some() || worker.seen + forget > now);
    }
}

// Attempts and how they end.
impl State {
    /// The first completion of an open job counts, whatever its attempt: results are named by their digest.
    fn complete(&mut self, worker: &str, completion: Completion, effects: &mut Vec<Effect>) {
        let Completion { survey: id, key, object, .. } = completion;
        let Some(survey) = self.surveys.get_mut(&id) else { return };
        let Some(number) = survey.graph.number(key) else { return };
        let status = survey.job(number).map(|job| job.status.clone());
        match status {
            Some(Status::Done(booked)) => {
                if booked.digest != object.digest {
                    survey.tally.alarms += 1;
                    let (booked, reported, worker) = (booked.digest, object.digest, worker.to_owned());
                    effects.push(Effect::Alarm { survey: id.clone(), key, booked, reported, worker });
                    effects.push(Effect::Changed(id));
                }
                return;
            }
            // An open job cannot have been done before its inputs were, and a survey that is over takes nothing.
            Some(Status::Failed(..) | Status::Waiting(_)) | None => return,
            _ if survey.phase != Phase::Running => return,
            Some(Status::Leased(counter)) => {
                self.release(counter);
            }
            Some(Status::Ready | Status::Delayed(_)) => {}
        }
        effects.push(Effect::Record(Record::Completed { survey: id.clone(), key, object: object.clone() }));
        self.settle(&id, number, Status::Done(object), effects);
    }

    fn attempt_failed(&mut self, worker: &str, failure: &Failure, now: Duration, effects: &mut Vec<Effect>) {
        let counter = failure.attempt.counter;
        // Reports are fenced by the attempt: what an attempt that was given up says is heard no more.
        let is_held = failure.attempt.epoch == self.epoch
            && self.leases.get(&counter).is_some_and(|lease| lease.worker == worker && lease.survey == failure.survey);
        if !is_held {
            return;
        }
        let Some((survey, number)) = self.release(counter) else { return };
        survey.tally.attempts_failed += 1;
        if !failure.damaged.is_empty() {
            self.failed_for_its_inputs(failure, number, worker, now, effects);
            return;
        }
        self.try_again(&failure.survey, number, worker, failure.class, &failure.message, now, effects);
    }

    fn expire(&mut self, counter: u64, now: Duration, effects: &mut Vec<Effect>) {
        let Some(lease) = self.leases.get(&counter).cloned() else {
            self.expiries.retain(|&(_, of)| of != counter);
            return;
        };
        let Some((survey, number)) = self.release(counter) else { return };
        survey.tally.leases_expired += 1;
        let message = if lease.progressed + self.policy.stall <= now {
            format!("worker {} made no progress for {} s", lease.worker, self.policy.stall.as_secs())
        } else {
            format!("worker {} fell silent for {} s", lease.worker, self.policy.lease.as_secs())
        };
        // A job that takes its worker along looks like this, so it counts as one that panicked.
        self.try_again(&lease.survey, number, &lease.worker, FailureClass::Poison, &message, now, effects);
    }

    /// What follows from a failed attempt, by its class. Each way out is bounded, so that a survey ends.
    #[allow(clippy::too_many_arguments, reason = "one failure has this many sides")]
    pub(crate) fn try_again(
        &mut self,
        id: &SurveyId,
        number: u32,
        worker: &str,
        class: FailureClass,
        message: &str,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let policy = self.policy.clone();
        let seed = self.next_attempt ^ u64::from(number) << 32;
        let Some(survey) = self.surveys.get_mut(id) else { return };
        let Some(key) = survey.graph.job(number).map(|spec| spec.key) else { return };
        let max_memory = survey.max_job_memory;
        let Some(job) = survey.job_mut(number) else { return };
        effects.push(Effect::Record(Record::AttemptFailed {
            survey: id.clone(),
            key,
            class,
            message: message.to_owned(),
        }));
        effects.push(Effect::Changed(id.clone()));
        let is_handed_back = class == FailureClass::Cancelled && job.hand_backs < policy.hand_backs;
        match class {
            FailureClass::Cancelled if is_handed_back => {
                job.hand_backs += 1;
                survey.make_ready(number);
            }
            FailureClass::OutOfMemory if job.memory < max_memory => {
                job.memory = job.memory.saturating_mul(2).min(max_memory);
                survey.make_ready(number);
            }
            FailureClass::OutOfMemory => {
                let message = format!(
                    "{message}; it needs more than the {} MiB that a worker gives one job: use smaller tiles (grid.tile_px) or workers with more memory (--memory)",
                    max_memory >> 20
                );
                self.fail(id, number, class, message, effects);
            }
            FailureClass::Retryable | FailureClass::Cancelled if job.retries < policy.retries => {
                job.retries += 1;
                let until = now + policy.pause(job.retries, seed);
                survey.delay(number, until);
            }
            FailureClass::Poison if job.poisonings + 1 < policy.poisonings => {
                job.poisonings += 1;
                if !job.failed_on.iter().any(|failed| failed == worker) {
                    job.failed_on.push(worker.to_owned());
                }
                survey.make_ready(number);
            }
            FailureClass::Poison => {
                let message = format!("given up after {} attempts; the last: {message}", policy.poisonings);
                self.fail(id, number, class, message, effects);
            }
            FailureClass::Retryable | FailureClass::Cancelled => {
                let message = format!("given up after {} attempts; the last: {message}", policy.retries + 1);
                self.fail(id, number, class, message, effects);
            }
            FailureClass::BadInput | FailureClass::InputChanged | FailureClass::Fatal => {
                self.fail(id, number, class, message.to_owned(), effects);
            }
        }
    }

    /// The job has failed for good: what depends on it goes on without it.
    pub(crate) fn fail(
        &mut self,
        id: &SurveyId,
        number: u32,
        class: FailureClass,
        message: String,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(key) = self.surveys.get(id).and_then(|survey| survey.graph.job(number)).map(|spec| spec.key) {
            let (survey, message) = (id.clone(), message.clone());
            effects.push(Effect::Record(Record::Failed { survey, key, class, message }));
        }
        self.settle(id, number, Status::Failed(class, message), effects);
    }

    /// The job is done or has failed for good: frees what waits for it, and ends the survey with its last job.
    fn settle(&mut self, id: &SurveyId, number: u32, status: Status, effects: &mut Vec<Effect>) {
        let Some(survey) = self.surveys.get_mut(id) else { return };
        survey.settle(number, status.clone());
        if survey.graph.root == Some(number) {
            match status {
                Status::Done(object) => effects.push(Effect::ReadRoot { survey: id.clone(), object }),
                _ => survey.root.closed_at = Some(BTreeMap::new()),
            }
        }
        let dependants = survey.graph.job(number).map(|spec| spec.dependants.clone()).unwrap_or_default();
        for dependant in dependants {
            survey.reconsider(dependant);
        }
        self.end_if_settled(id);
        effects.push(Effect::Changed(id.clone()));
    }
}

// One survey's jobs.
impl SurveyState {
    fn new(submission: Submission) -> Self {
        let Submission { name, plan, output, graph, max_job_memory, completed, earlier, .. } = submission;
        let mut tally = Tally::default();
        for spec in &graph.jobs {
            tally.jobs[stage_index(spec.key.stage())] += 1;
            tally.cost_total += spec.cost;
        }
        let jobs = graph
            .jobs
            .iter()
            .map(|spec| JobState {
                status: Status::Waiting(0),
                memory: spec.memory.min(max_job_memory),
                retries: 0,
                poisonings: 0,
                hand_backs: 0,
                failed_on: Vec::new(),
            })
            .collect();
        let mut survey = Self {
            name,
            plan,
            output,
            graph,
            max_job_memory,
            phase: Phase::Running,
            jobs,
            ready: BTreeSet::new(),
            delayed: BTreeSet::new(),
            root: RootState::default(),
            repairs: BTreeMap::new(),
            tally,
        };
        for (key, object) in completed {
            if let Some(number) = survey.graph.number(key) {
                survey.settle(number, Status::Done(object));
            }
        }
        for (key, (class, message)) in earlier.failed {
            if let Some(number) = survey.graph.number(key) {
                survey.settle(number, Status::Failed(class, message));
                if survey.graph.root == Some(number) {
                    survey.root.closed_at = Some(BTreeMap::new());
                }
            }
        }
        for number in (0_u32..).take(survey.jobs.len()) {
            survey.reconsider(number);
        }
        survey
    }

    fn settle(&mut self, number: u32, status: Status) {
        let Some((key, cost)) = self.graph.job(number).map(|spec| (spec.key, spec.cost)) else { return };
        self.leave(number);
        let stage = stage_index(key.stage());
        if matches!(status, Status::Failed(..)) {
            self.tally.failed[stage] += 1;
        } else {
            self.tally.done[stage] += 1;
        }
        self.tally.cost_done += cost;
        if let Some(job) = self.job_mut(number) {
            job.status = status;
        }
    }

    /// Takes a job that is done back into the open.
    pub(crate) fn unsettle(&mut self, number: u32) {
        let Some((key, cost)) = self.graph.job(number).map(|spec| (spec.key, spec.cost)) else { return };
        let stage = stage_index(key.stage());
        self.tally.done[stage] = self.tally.done[stage].saturating_sub(1);
        self.tally.cost_done = self.tally.cost_done.saturating_sub(cost);
        if let Some(job) = self.job_mut(number) {
            job.status = Status::Waiting(0);
        }
    }

    /// Takes a job out of the queues that it stands in.
    fn leave(&mut self, number: u32) {
        let Some(key) = self.graph.job(number).map(|spec| spec.key) else { return };
        self.ready.remove(&(rank(key), number));
        if let Some(&Status::Delayed(until)) = self.job(number).map(|job| &job.status) {
            self.delayed.remove(&(until, number));
        }
    }

    fn make_ready(&mut self, number: u32) {
        let Some(key) = self.graph.job(number).map(|spec| spec.key) else { return };
        if let Some(job) = self.job_mut(number) {
            job.status = Status::Ready;
            self.ready.insert((rank(key), number));
        }
    }

    pub(crate) fn delay(&mut self, number: u32, until: Duration) {
        if let Some(job) = self.job_mut(number) {
            job.status = Status::Delayed(until);
            self.delayed.insert((until, number));
        }
    }

    /// Gives an open job without a lease its place: it waits for inputs, or is ready.
    pub(crate) fn place(&mut self, number: u32) {
        self.leave(number);
        if let Some(job) = self.job_mut(number) {
            job.status = Status::Waiting(0);
        }
        self.reconsider(number);
    }

    /// Looks again whether a waiting job still waits.
    fn reconsider(&mut self, number: u32) {
        if !matches!(self.job(number).map(|job| &job.status), Some(Status::Waiting(_))) {
            return;
        }
        match self.missing(number) {
            0 => self.make_ready(number),
            missing => {
                if let Some(job) = self.job_mut(number) {
                    job.status = Status::Waiting(missing);
                }
            }
        }
    }

    /// Notes where each county's components are, and which jobs committed them.
    fn note_components(&mut self, closed_at: BTreeMap<u32, Vec<ObjectRef>>) {
        let root = self.graph.root.and_then(|root| self.graph.job(root)).map(|spec| spec.key);
        let mut committed: BTreeMap<&str, JobKey> = BTreeMap::new();
        for (spec, job) in self.graph.jobs.iter().zip(&self.jobs) {
            if let (Status::Done(object), JobKey::Detect(_) | JobKey::Merge(_)) = (&job.status, spec.key) {
                committed.insert(&object.key, spec.key);
            }
        }
        let located = closed_at
            .into_iter()
            .map(|(county, objects)| {
                let inputs = objects
                    .into_iter()
                    .filter_map(|object| Some((committed.get(object.key.as_str()).copied().or(root)?, object)))
                    .collect();
                (county, inputs)
            })
            .collect();
        self.root.closed_at = Some(located);
    }

    /// What a job reads.
    pub(crate) fn inputs(&self, number: u32) -> Vec<JobInput> {
        let Some(spec) = self.graph.job(number) else { return Vec::new() };
        let mut inputs: Vec<JobInput> = spec
            .inputs
            .iter()
            .filter_map(|&input| {
                let from = self.graph.job(input)?.key;
                let object = match &self.job(input)?.status {
                    Status::Done(object) => Some(object.clone()),
                    _ => None,
                };
                Some(JobInput { from, object })
            })
            .collect();
        if let JobKey::Assemble(county) = spec.key
            && let Some(located) = self.root.closed_at.as_ref().and_then(|closed_at| closed_at.get(&county))
        {
            inputs.extend(located.iter().map(|(from, object)| JobInput { from: *from, object: Some(object.clone()) }));
        }
        inputs
    }
}

fn answer(worker: &str, sequence: u64, answer: Answer) -> Effect {
    Effect::Answer { worker: worker.to_owned(), sequence, answer }
}
