//! How fast surveys go: the work that was done in the last minutes says how long the rest takes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coordinator::Coordinator;
use proto::v1;
use tokio::time::Instant;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(2);
/// How far back a pace reaches: jobs of different stages cost differently, and workers come and go.
const WINDOW: Duration = Duration::from_secs(300);
/// Less than this says nothing.
const SHORTEST: Duration = Duration::from_secs(4);

/// The work of a survey that was done by when.
#[derive(Debug, Default)]
struct Pace(VecDeque<(Duration, u64)>);

impl Pace {
    fn note(&mut self, now: Duration, done: u64) {
        // Work that is undone (damaged objects are made again) begins a new pace.
        if self.0.back().is_some_and(|&(_, before)| done < before) {
            self.0.clear();
        }
        self.0.push_back((now, done));
        while self.0.front().is_some_and(|&(then, _)| now.saturating_sub(then) > WINDOW) {
            self.0.pop_front();
        }
    }

    /// Seconds until `total` is done.
    fn left(&self, total: u64) -> Option<f64> {
        let (&(from, before), &(to, done)) = (self.0.front()?, self.0.back()?);
        let time = to.saturating_sub(from);
        if time < SHORTEST || done <= before {
            return None;
        }
        Some(total.saturating_sub(done) as f64 * time.as_secs_f64() / (done - before) as f64)
    }
}

/// The paces of the surveys that run, by id.
#[derive(Debug, Default)]
pub struct Paces(Mutex<BTreeMap<String, Pace>>);

impl Paces {
    fn note(&self, now: Duration, surveys: &[v1::Survey]) {
        let mut paces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let running = |survey: &&v1::Survey| survey.state() == v1::SurveyState::Running;
        let mut kept = BTreeMap::new();
        for survey in surveys.iter().filter(running) {
            let mut pace = paces.remove(&survey.id).unwrap_or_default();
            pace.note(now, survey.cost_done);
            kept.insert(survey.id.clone(), pace);
        }
        *paces = kept;
    }

    /// Seconds until a survey's work is done at its pace, if that is known.
    pub fn left(&self, survey: &v1::Survey) -> Option<f64> {
        let paces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        paces.get(&survey.id).and_then(|pace| pace.left(survey.cost_total))
    }
}

/// Looks on for as long as the coordinator works.
pub async fn follow(coordinator: Coordinator, paces: Arc<Paces>) {
    let start = Instant::now();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        match coordinator.surveys().await {
            Ok(surveys) => paces.note(start.elapsed(), &surveys),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_rest_takes_as_long_as_the_last_minutes_say() {
        let mut pace = Pace::default();
        pace.note(seconds(0), 0);
        assert_eq!(pace.left(1000), None, "one look is no pace");
        for second in 1..=600 {
            // The first five minutes went ten times as fast.
            pace.note(seconds(second), if second <= 300 { second * 10 } else { 3000 + second - 300 });
        }
        assert_eq!(pace.left(3300 + 60), Some(60.0));
    }

    #[test]
    fn a_survey_that_stands_still_has_no_pace() {
        let mut pace = Pace::default();
        for second in 0..20 {
            pace.note(seconds(second), 7);
        }
        assert_eq!(pace.left(1000), None);
        pace.note(seconds(20), 3);
        assert_eq!(pace.left(1000), None, "what was undone is no pace either");
    }
}
