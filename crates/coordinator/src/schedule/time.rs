//! What happens because time passes: leases end, pauses end, calls are answered, workers are forgotten, and what nobody
//! can do is given up.

use std::time::Duration;

use survey::failure::FailureClass;

use crate::schedule::books::Status;
use crate::schedule::event::Effect;
use crate::schedule::state::{Phase, State, SurveyNumber, Timer};

/// Most jobs of a survey that a step gives up for want of workers.
const GIVEN_UP: usize = 1024;

impl State {
    pub(super) fn pass_time(&mut self, now: Duration, is_tick: bool, effects: &mut Vec<Effect>) {
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, timer)) = self.timers.pop_first() else { break };
            match timer {
                Timer::Lease(counter) => self.expire(counter, now, effects),
                Timer::Retry(survey, job) => self.end_pause(survey, job),
                Timer::Root(survey) => self.root_overdue(survey, now, effects),
                Timer::Offer(worker, sequence) => self.end_offer(&worker, sequence, effects),
            }
        }
        if is_tick {
            self.forget_workers(now);
            self.give_up_what_nobody_can_do(now, effects);
        }
    }

    fn end_pause(&mut self, number: SurveyNumber, job: u32) {
        if let Some(survey) = self.surveys.get_mut(number)
            && survey.books.status(job) == Some(Status::Delayed)
        {
            survey.make_ready(job);
            self.has_fresh = true;
            self.touch(number);
        }
    }

    fn forget_workers(&mut self, now: Duration) {
        let forget = self.policy.forget_worker;
        let (capacity, places) = (&mut self.capacity, &mut self.places);
        self.workers.retain(|_, worker| {
            let is_kept = !worker.leases.is_empty() || worker.offer.is_some() || worker.seen + forget > now;
            if !is_kept {
                *capacity -= worker.capacity();
                for (&survey, way) in &worker.ways {
                    places.remove(&(survey, way.at));
                }
            }
            is_kept
        });
    }

    /// Jobs that no worker has memory for fail after a while, and all jobs where there has been no worker for long: a
    /// survey ends, whatever dies.
    fn give_up_what_nobody_can_do(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let at_work = self.workers.values().filter(|worker| self.is_at_work(worker, now));
        let largest = at_work.map(|worker| worker.memory_total).max();
        let is_deserted = largest.is_none() && self.heard + self.policy.deserted <= now;
        for number in 0..self.surveys.len() {
            let Some(survey) = self.surveys.get_mut(number) else { continue };
            if survey.phase != Phase::Running {
                continue;
            }
            let needed_above = match largest {
                Some(largest) => largest,
                None if is_deserted => 0,
                // Workers may still come.
                None => continue,
            };
            let mut unfit = survey.first_above(needed_above);
            if unfit.is_none() {
                survey.unfit_since = None;
                continue;
            }
            let since = *survey.unfit_since.get_or_insert(now);
            if !is_deserted && since + self.policy.unfit > now {
                continue;
            }
            for _ in 0..GIVEN_UP {
                let (Some(job), Some(survey)) = (unfit, self.surveys.get(number)) else { break };
                let (class, message) = if is_deserted {
                    let hours = self.policy.deserted.as_secs() / 3600;
                    (
                        FailureClass::Retryable,
                        format!("there was no worker for {hours} h; start workers and submit the survey again"),
                    )
                } else {
                    let (needs, has) = (survey.memory(job) >> 20, needed_above >> 20);
                    let mend = "use smaller tiles (grid.tile_px) or workers with more memory (--memory)";
                    (
                        FailureClass::OutOfMemory,
                        format!("it needs {needs} MiB and no worker has more than {has} MiB: {mend}"),
                    )
                };
                self.fail(number, job, class, &message, now, effects);
                unfit = self.surveys.get(number).and_then(|survey| survey.first_above(needed_above));
            }
        }
    }
}

impl super::state::SurveyState {
    /// A job that can be given out and needs more than `memory`.
    fn first_above(&self, memory: u64) -> Option<u32> {
        self.queues.iter().find_map(|queue| {
            let mut from = 0;
            // Only the class that `memory` lies in holds jobs that need less.
            loop {
                let job = queue.next_above(from, memory)?;
                if self.memory(job) > memory {
                    return Some(job);
                }
                from = job.saturating_add(1);
            }
        })
    }
}
