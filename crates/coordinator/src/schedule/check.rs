//! The invariants: defined once, held in production and in tests.
//!
//! * A job waits exactly for its unsettled inputs; it is ready, delayed or leased only when there are none.
//! * A job is done once, and never lost: every change of a status makes sense ([`Books`](super::books::Books)), and each
//!   job stands in the one place that its status says.
//! * A leased job has one attempt, or two where the first is a straggler; every lease belongs to a leased job.
//! * A survey's counts are those of its jobs, and it has ended exactly when no job is open; while one is, something is
//!   under way that will lead on: a ready, delayed or leased job, or the reading of the root.
//! * A survey that was cancelled has no lease.
//!
//! [`State::audit`] costs a few comparisons and follows every step in production: where it fails, the coordinator writes
//! nothing and stops. [`State::check`] looks at every job.

use std::collections::BTreeSet;

use survey::job::Stage;

use crate::schedule::books::Status;
use crate::schedule::queue::Queue;
use crate::schedule::state::{Live, Phase, State, SurveyNumber, SurveyState, Tally, Timer};

impl State {
    /// The invariants as far as counts show them, for the surveys that a step has changed.
    pub(super) fn audit(&self, touched: &BTreeSet<SurveyNumber>) -> Result<(), String> {
        let attempts: usize = self.surveys.iter().map(SurveyState::attempts).sum();
        if attempts != self.leases.len() {
            return Err(format!("{} leases for {attempts} attempts", self.leases.len()));
        }
        for survey in touched.iter().filter_map(|&number| self.surveys.get(number)) {
            survey.audit().map_err(|broken| format!("survey {}: {broken}", survey.id))?;
        }
        Ok(())
    }

    /// Checks the invariants.
    ///
    /// # Errors
    /// Says which one is broken, and where.
    pub fn check(&self) -> Result<(), String> {
        self.audit(&(0..self.surveys.len()).collect())?;
        for (&counter, lease) in &self.leases {
            let live = self.surveys.get(lease.survey).and_then(|survey| survey.live.get(&lease.job));
            if !live.is_some_and(|live| live.first == counter || live.second == Some(counter)) {
                return Err(format!("lease {counter} belongs to no leased job"));
            }
            if !self.timers.contains(&(lease.expires, Timer::Lease(counter))) {
                return Err(format!("lease {counter} never expires"));
            }
            if !self.workers.get(&lease.worker).is_some_and(|worker| worker.leases.contains(&counter)) {
                return Err(format!("lease {counter} belongs to no worker"));
            }
        }
        let held: usize = self.workers.values().map(|worker| worker.leases.len()).sum();
        let ending = self.timers.iter().filter(|(_, timer)| matches!(timer, Timer::Lease(_))).count();
        if ending != self.leases.len() || held != self.leases.len() {
            return Err("leases, their ends and workers' leases differ in number".into());
        }
        let capacity: u64 = self.workers.values().map(super::state::Worker::capacity).sum();
        if capacity != self.capacity {
            return Err(format!("workers have {capacity} slots and not {}", self.capacity));
        }
        let waiting = self.workers.values().filter(|worker| worker.offer.is_some()).count();
        if waiting != self.waiting.len() {
            return Err(format!("{waiting} calls wait and not {}", self.waiting.len()));
        }
        for (&(survey, place), name) in &self.places {
            if self.workers.get(name).and_then(|worker| worker.ways.get(&survey)).map(|way| way.at) != Some(place) {
                return Err(format!("{name} is said to be at tile {place}, and is elsewhere"));
            }
        }
        if self.workers.values().map(|worker| worker.ways.len()).sum::<usize>() != self.places.len() {
            return Err("a worker is at a tile where nobody is said to be".into());
        }
        for (number, survey) in self.surveys.iter().enumerate() {
            survey.check(self).map_err(|broken| format!("survey {}: {broken}", survey.id))?;
            let has_work = survey.phase == Phase::Running && survey.ready().iter().any(|&ready| ready > 0);
            let is_queued = survey.queued.is_some_and(|served| self.eligible.contains(&(served, number)));
            if has_work != is_queued {
                return Err(format!("survey {}: has work: {has_work}, gets workers: {is_queued}", survey.id));
            }
        }
        Ok(())
    }
}

impl SurveyState {
    fn attempts(&self) -> usize {
        // Kept as a count: a job has one attempt or, rarely, two.
        self.live.len() + self.live_twice()
    }

    fn live_twice(&self) -> usize {
        self.live.len() - self.lone.iter().map(BTreeSet::len).sum::<usize>().min(self.live.len())
    }

    fn audit(&self) -> Result<(), String> {
        if let Some(broken) = self.books.broken() {
            return Err(broken.to_owned());
        }
        let counts = self.books.counts();
        let [waiting, ready, delayed, leased, done, failed] = counts;
        let jobs = self.graph.len() as u64;
        if counts.iter().sum::<u64>() != jobs {
            return Err(format!("{jobs} jobs, and {counts:?} stand somewhere"));
        }
        if done != self.tally.done.iter().sum::<u64>() || failed != self.tally.failed.iter().sum::<u64>() {
            return Err(format!("{done} jobs are done and {failed} failed, which {:?} does not say", self.tally));
        }
        if leased != self.live.len() as u64 || leased != self.tally.running.iter().sum::<u64>() {
            return Err(format!("{leased} jobs are leased and {} have attempts", self.live.len()));
        }
        let open = self.books.open();
        match self.phase {
            Phase::Cancelled if leased > 0 => Err(format!("it was cancelled and {leased} jobs are leased")),
            Phase::Cancelled => Ok(()),
            _ if ready != self.queues.iter().map(Queue::len).sum::<u64>() => {
                Err(format!("{ready} jobs are ready and others are queued"))
            }
            Phase::Ended if open > 0 => Err(format!("it has ended with {open} open jobs")),
            Phase::Running if open == 0 => Err("all jobs are settled and it has not ended".into()),
            Phase::Running if open == waiting && self.root.retry_at.is_none() => {
                Err(format!("{waiting} jobs wait for nothing that is under way"))
            }
            _ if delayed + ready + leased + waiting != open => Err("open jobs are nowhere".into()),
            _ => Ok(()),
        }
    }

    fn check(&self, state: &State) -> Result<(), String> {
        let mut tally = Tally {
            attempts: self.tally.attempts,
            attempts_failed: self.tally.attempts_failed,
            leases_expired: self.tally.leases_expired,
            speculations: self.tally.speculations,
            alarms: self.tally.alarms,
            ..Tally::default()
        };
        for number in self.graph.numbers() {
            let (Some(spec), Some(status)) = (self.graph.job(number), self.books.status(number)) else {
                return Err(format!("job {number} is not in the books"));
            };
            let stage = spec.key.stage().index();
            tally.jobs[stage] += 1;
            tally.cost_total += spec.cost;
            if status.is_settled() {
                tally.cost_done += spec.cost;
            } else {
                tally.cost_open[stage] += spec.cost;
            }
            let missing = self.missing(number);
            let queue = &self.queues[stage];
            let is_right = match status {
                Status::Waiting(waits_for) => waits_for > 0 && waits_for == missing,
                Status::Ready => missing == 0 && queue.contains(number, self.memory(number)),
                Status::Delayed => missing == 0 && self.is_timed(state, number),
                Status::Leased => {
                    tally.running[stage] += 1;
                    missing == 0
                        && self.phase == Phase::Running
                        && self.live.get(&number).is_some_and(|&live| self.is_alive(state, number, live))
                }
                Status::Done => {
                    tally.done[stage] += 1;
                    self.books.object(number, spec.key).is_some()
                }
                Status::Failed => {
                    tally.failed[stage] += 1;
                    self.books.failure(number).is_some()
                }
            };
            if !is_right && self.phase != Phase::Cancelled {
                return Err(format!("{} is {status:?} and misses {missing} inputs", spec.key));
            }
            if status != Status::Ready && queue.contains(number, self.memory(number)) {
                return Err(format!("{} is {status:?} and can be given out", spec.key));
            }
        }
        if tally != self.tally {
            return Err(format!("the counts are {:?} and the jobs say {tally:?}", self.tally));
        }
        if self.tally.jobs[Stage::Assemble.index()] != self.graph.counties.len() as u64 {
            return Err("a county has no job".into());
        }
        Ok(())
    }

    fn is_timed(&self, state: &State, number: u32) -> bool {
        let survey = state.ids.get(&self.id).copied().unwrap_or(usize::MAX);
        self.troubles
            .get(&number)
            .is_some_and(|trouble| state.timers.contains(&(trouble.until, Timer::Retry(survey, number))))
    }

    /// Whether a job's attempts are leases of different workers, and only a second one is speculative.
    fn is_alive(&self, state: &State, number: u32, live: Live) -> bool {
        let lease = |counter: u64| state.leases.get(&counter).filter(|lease| lease.job == number);
        let Some(first) = lease(live.first) else { return false };
        let is_lone = self.lone.iter().any(|lone| lone.contains(&(first.begins, live.first)));
        match live.second {
            None => is_lone,
            Some(second) => !is_lone && lease(second).is_some_and(|second| second.worker != first.worker),
        }
    }
}
