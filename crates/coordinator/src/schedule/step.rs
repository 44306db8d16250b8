//! The step function: state and event to the next state and effects. No clock, no socket, no lock.

use std::time::Duration;

use crate::schedule::event::{Answer, Effect, Event};
use crate::schedule::state::{State, SurveyNumber};

/// Applies an event at time `now` (since any fixed origin; where it goes back it stands still).
#[must_use]
pub fn step(state: &mut State, event: Event, now: Duration) -> Vec<Effect> {
    let now = state.now.map_or(now, |before| now.max(before));
    let mut effects = Vec::new();
    state.wake(now);
    let is_tick = matches!(event, Event::Tick);
    match event {
        Event::Submit(submission) => state.submit(*submission, now, &mut effects),
        Event::Poll(poll) => state.poll(poll, now, &mut effects),
        Event::RootRead { survey, object, read } => state.root_read(&survey, &object, read, now, &mut effects),
        Event::Damaged { survey, damaged } => state.reopen(&survey, &damaged, now, &mut effects),
        Event::Cancel(survey) => state.cancel(&survey, &mut effects),
        Event::Drain(worker) => state.drain(&worker, &mut effects),
        Event::Tick => {}
    }
    state.pass_time(now, is_tick, &mut effects);
    state.serve_waiting(now, is_tick, &mut effects);
    state.rank_surveys();
    let touched = std::mem::take(&mut state.touched);
    if let Err(broken) = state.audit(&touched) {
        return vec![Effect::Broken(broken)];
    }
    for number in touched {
        if let Some(survey) = state.surveys.get(number) {
            effects.push(Effect::Changed(survey.id.clone()));
        }
    }
    effects
}

impl State {
    /// Time since the last event that nobody could use: where the coordinator itself has slept (the process was stopped,
    /// the machine suspended), its workers were not silent but unheard, and all that is timed waits so much longer.
    fn wake(&mut self, now: Duration) {
        let slept = now.saturating_sub(self.now.unwrap_or(now));
        self.now = Some(now);
        if slept > self.policy.lease {
            self.postpone(slept);
        }
        self.heard = if self.workers.is_empty() && self.heard.is_zero() { now } else { self.heard };
    }

    /// Puts the surveys that this step has changed in their places among those that are to be served.
    pub(super) fn rank_surveys(&mut self) {
        for &number in &self.touched {
            rank(&mut self.surveys, &mut self.eligible, self.served, number);
        }
    }

    /// Says that a step has changed a survey.
    pub(super) fn touch(&mut self, survey: SurveyNumber) {
        self.touched.insert(survey);
    }
}

fn rank(
    surveys: &mut [super::state::SurveyState],
    eligible: &mut std::collections::BTreeSet<(u128, SurveyNumber)>,
    served: u128,
    number: SurveyNumber,
) {
    let Some(survey) = surveys.get_mut(number) else { return };
    let has_work = survey.phase == super::state::Phase::Running && survey.ready().iter().any(|&ready| ready > 0);
    if let Some(queued) = survey.queued.take() {
        eligible.remove(&(queued, number));
    } else if has_work {
        // Who had nothing to do has not saved up a claim.
        survey.served = survey.served.max(served);
    }
    if has_work {
        survey.queued = Some(survey.served);
        eligible.insert((survey.served, number));
    }
}

pub(super) fn answer(worker: &str, sequence: u64, answer: Answer) -> Effect {
    Effect::Answer { worker: worker.to_owned(), sequence, answer }
}
