//! A worker's call: heartbeat, reports, renewal and request at once. Safe to repeat, to lose and to overtake.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use survey::failure::FailureClass;

use crate::schedule::event::{Answer, Effect, Poll};
use crate::schedule::lease::Released;
use crate::schedule::settle::Blame;
use crate::schedule::state::{Offer, State, Timer, Worker};
use crate::schedule::step::answer;

/// Calls in a row that wait and that nothing is found for, after which a step looks at no more of them.
const FRUITLESS: usize = 16;
/// As `FRUITLESS`, where time passes.
const FRUITLESS_TICK: usize = 256;

impl State {
    pub(super) fn poll(&mut self, poll: Poll, now: Duration, effects: &mut Vec<Effect>) {
        let name: Arc<str> = match self.workers.get_key_value(poll.worker.as_str()) {
            Some((name, _)) => Arc::clone(name),
            None => self.welcome(&poll.worker, now),
        };
        let Some(worker) = self.workers.get(&name) else { return };
        if poll.sequence < worker.sequence {
            effects.push(answer(&poll.worker, poll.sequence, Answer::default()));
            return;
        }
        // A call that waits is overtaken by this one.
        let overtaken = worker.sequence;
        if self.close_offer(&name) && overtaken != poll.sequence {
            effects.push(answer(&poll.worker, overtaken, Answer::default()));
        }
        let is_leaving = self.note_call(&name, &poll, now);

        let mut said = Answer { drain: is_leaving && !poll.draining, ..Answer::default() };
        let mut listed: BTreeSet<u64> = BTreeSet::new();
        for (attempt, progress) in poll.running {
            if attempt.epoch == self.epoch {
                listed.insert(attempt.counter);
            }
            if !self.renew(&name, attempt, progress, now) {
                said.revoked.push(attempt);
            }
        }
        // What others read first.
        let mut completed = poll.completed;
        completed.sort_by_key(|completion| completion.key);
        for completion in completed {
            said.acknowledged.push(completion.attempt);
            self.complete(&name, completion, now, effects);
        }
        for failure in poll.failed {
            said.acknowledged.push(failure.attempt);
            self.attempt_failed(&name, &failure, now, effects);
        }
        // What was given to this worker and what it does not know of got lost on the way: it is sent again.
        let held = self.workers.get(&name).map(|worker| &worker.leases);
        let unheard: Vec<u64> = held.into_iter().flat_map(|held| held.difference(&listed).copied()).collect();
        for counter in unheard {
            if !is_leaving {
                said.assignments.extend(self.assignment(counter));
            } else if let Some(Released { lease, runs_on }) = self.release(counter) {
                let blame = Blame::Job(FailureClass::Cancelled);
                let message = "its worker left before it heard of the job";
                self.try_again(lease.survey, lease.job, &name, blame, message, runs_on, now, effects);
            }
        }
        let resent: u64 = said.assignments.iter().map(|assignment| assignment.job.memory).sum();
        let resent_slots = u32::try_from(said.assignments.len()).unwrap_or(u32::MAX);
        let memory = poll.memory_free.saturating_sub(resent);
        let slots = if is_leaving { 0 } else { poll.slots.saturating_sub(resent_slots) };
        said.assignments.extend(self.take(&name, memory, slots, now));
        let wait = poll.wait.min(self.policy.longest_wait);
        if said.is_empty() && slots > 0 && !wait.is_zero() {
            self.open_offer(&name, memory, slots, now + wait);
        } else {
            effects.push(answer(&poll.worker, poll.sequence, said));
        }
    }

    fn welcome(&mut self, name: &str, now: Duration) -> Arc<str> {
        let name: Arc<str> = name.into();
        let worker = Worker {
            seen: now,
            sequence: 0,
            draining: false,
            is_asked_to_leave: false,
            memory_total: 0,
            slots: 0,
            offer: None,
            leases: BTreeSet::new(),
            ways: Default::default(),
            failures: 0,
            pauses_until: Duration::ZERO,
            is_lost: false,
        };
        self.workers.insert(Arc::clone(&name), worker);
        name
    }

    /// Notes what a call says of its worker. Says whether it leaves.
    fn note_call(&mut self, name: &Arc<str>, poll: &Poll, now: Duration) -> bool {
        self.heard = self.heard.max(now);
        let Some(worker) = self.workers.get_mut(name) else { return true };
        self.capacity -= worker.capacity();
        worker.seen = now;
        worker.sequence = poll.sequence;
        worker.draining = poll.draining;
        worker.memory_total = poll.memory_total;
        worker.slots = worker.slots.max(poll.slots);
        worker.is_lost = false;
        self.capacity += worker.capacity();
        worker.is_leaving()
    }

    /// A worker is to leave when what it holds is done. It is told with its next answer, or now where it waits for one.
    pub(super) fn drain(&mut self, name: &str, effects: &mut Vec<Effect>) {
        let Some((name, worker)) = self.workers.get_key_value(name) else { return };
        let (name, sequence) = (Arc::clone(name), worker.sequence);
        let waits = self.close_offer(&name);
        if let Some(worker) = self.workers.get_mut(&name) {
            self.capacity -= worker.capacity();
            worker.is_asked_to_leave = true;
        }
        self.leave_places(&name);
        if waits {
            effects.push(answer(&name, sequence, Answer { drain: true, ..Answer::default() }));
        }
    }

    fn open_offer(&mut self, name: &Arc<str>, memory: u64, slots: u32, until: Duration) {
        let Some(worker) = self.workers.get_mut(name) else { return };
        let busy = worker.leases.len();
        worker.offer = Some(Offer { memory, slots, until, busy });
        self.waiting.insert((busy, Arc::clone(name)));
        self.timers.insert((until, Timer::Offer(Arc::clone(name), worker.sequence)));
    }

    /// The worker's call does not wait any more. Says whether it did.
    fn close_offer(&mut self, name: &Arc<str>) -> bool {
        let Some(worker) = self.workers.get_mut(name) else { return false };
        let Some(offer) = worker.offer.take() else { return false };
        self.waiting.remove(&(offer.busy, Arc::clone(name)));
        self.timers.remove(&(offer.until, Timer::Offer(Arc::clone(name), worker.sequence)));
        true
    }

    /// A call has waited for as long as its worker is willing to.
    pub(super) fn end_offer(&mut self, name: &Arc<str>, sequence: u64, effects: &mut Vec<Effect>) {
        if self.close_offer(name) {
            effects.push(answer(name, sequence, Answer::default()));
        }
    }

    /// Gives what is ready to the calls that wait for it, the least busy worker first.
    pub(super) fn serve_waiting(&mut self, now: Duration, is_tick: bool, effects: &mut Vec<Effect>) {
        if !(is_tick || std::mem::take(&mut self.has_fresh)) {
            return;
        }
        self.rank_surveys();
        let most = if is_tick { FRUITLESS_TICK } else { FRUITLESS };
        let (mut fruitless, mut after) = (0, Bound::Unbounded);
        // Where time has passed, attempts may have become stragglers.
        while fruitless < most && (is_tick || !self.eligible.is_empty()) {
            let Some((busy, name)) = self.waiting.range((after, Bound::Unbounded)).next().cloned() else { break };
            after = Bound::Excluded((busy, Arc::clone(&name)));
            let Some(worker) = self.workers.get(&name) else { continue };
            let (Some(offer), sequence) = (worker.offer.clone(), worker.sequence) else { continue };
            let assignments = self.take(&name, offer.memory, offer.slots, now);
            if assignments.is_empty() {
                fruitless += 1;
            } else {
                self.close_offer(&name);
                effects.push(answer(&name, sequence, Answer { assignments, ..Answer::default() }));
                self.rank_surveys();
            }
        }
    }
}
