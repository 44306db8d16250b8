//! Where workers work. Tiles beside each other read the same blocks of the same scenes, and a worker holds those that it has read last:
//! so each goes its own way through the tiles, in their order, up to where another one is. Who comes to that end, or comes new, begins
//! where it leaves most to those who are there: in the midst of the longest stretch that is left.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::schedule::assign::{DETECT, SCAN};
use crate::schedule::queue::Queue;
use crate::schedule::state::{State, SurveyNumber, SurveyState};

/// Most stretches that are looked at for the longest.
const STRETCHES: usize = 2048;

/// A worker's way through the tiles of a survey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// The tile that it began with.
    pub begin: u32,
    /// The tile that it is at: the last that it was given.
    pub at: u32,
}

/// Tiles from one worker to the next, as far as some of them can be given out.
#[derive(Clone, Copy)]
struct Stretch {
    /// The first that may fit.
    first: u32,
    /// The last that may fit.
    last: u32,
    /// Whether a worker is on its way through it.
    is_walked: bool,
}

impl Stretch {
    fn len(&self) -> u32 {
        self.last - self.first + 1
    }

    /// Where one of so many who look for a place begins, so that they and who is on the way there have equal parts.
    fn begin(&self, seekers: u32) -> u32 {
        if self.is_walked { self.first + self.len() / (seekers + 1) } else { self.first }
    }
}

impl State {
    /// A tile on the worker's way; else the beginning of a new one.
    pub(super) fn pick_near(
        &self,
        number: SurveyNumber,
        survey: &SurveyState,
        worker: &Arc<str>,
        memory: u64,
        now: Duration,
    ) -> Option<u32> {
        let queue = survey.queues.get(DETECT)?;
        if queue.len() == 0 {
            return None;
        }
        let first_of = |mut from: u32, end: u32| {
            for _ in 0..SCAN {
                let job = queue.next(from, memory).filter(|&job| job < end)?;
                if self.may_have(survey, job, worker, memory, now) {
                    return Some(job);
                }
                from = job.saturating_add(1);
            }
            None
        };
        // First what lies behind: a tile that failed, or whose pairs are calibrated only now.
        let way = self.way(number, worker);
        first_of(way.start, way.end).or_else(|| {
            let stretch = self.longest_stretch(number, queue, worker, memory)?;
            let (begin, end) = (stretch.begin(self.seekers(number, worker, now)), stretch.last.saturating_add(1));
            first_of(begin, end).or_else(|| first_of(stretch.first, end)).or_else(|| first_of(0, u32::MAX))
        })
    }

    /// The tiles on a worker's way: from where it began to where another one is.
    pub(super) fn way(&self, number: SurveyNumber, worker: &Arc<str>) -> Range<u32> {
        let way = self.workers.get(worker).and_then(|worker| worker.ways.get(&number));
        way.map_or(0..0, |way| {
            let (before, beyond) = self.others_around(number, worker, way.at);
            way.begin.max(before.unwrap_or(0))..beyond
        })
    }

    /// The last tile up to this one that another worker is at, and the first beyond it.
    fn others_around(&self, number: SurveyNumber, worker: &Arc<str>, tile: u32) -> (Option<u32>, u32) {
        let of_other = |(&(_, at), name): (&(SurveyNumber, u32), &Arc<str>)| (name != worker).then_some(at);
        let before = self.places.range((number, 0)..=(number, tile)).rev().find_map(of_other);
        let beyond = self.places.range((number, tile.saturating_add(1))..=(number, u32::MAX)).find_map(of_other);
        (before, beyond.unwrap_or(u32::MAX))
    }

    /// The longest of the stretches, for a worker that leaves its place.
    fn longest_stretch(&self, number: SurveyNumber, queue: &Queue, leaves: &Arc<str>, memory: u64) -> Option<Stretch> {
        let mut longest: Option<Stretch> = None;
        let mut from = 0;
        for _ in 0..STRETCHES {
            let Some(first) = queue.next(from, memory) else { break };
            let (before, end) = self.others_around(number, leaves, first);
            let last = queue.last_below(end, memory).unwrap_or(first);
            let stretch = Stretch { first, last, is_walked: before.is_some() };
            if longest.is_none_or(|longest| stretch.len() > longest.len()) {
                longest = Some(stretch);
            }
            from = end;
        }
        longest
    }

    /// How many workers look for a place in a survey, one that leaves its own among them.
    fn seekers(&self, number: SurveyNumber, leaves: &Arc<str>, now: Duration) -> u32 {
        let others = self.workers.iter().filter(|&(name, other)| {
            name != leaves && self.is_at_work(other, now) && !other.ways.contains_key(&number)
        });
        u32::try_from(others.count()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// The worker is at this tile, unless somebody else is.
    pub(super) fn comes_to(&mut self, number: SurveyNumber, tile: u32, name: &Arc<str>) {
        if self.places.contains_key(&(number, tile)) {
            return;
        }
        let goes_on = self.way(number, name).contains(&tile);
        let Some(worker) = self.workers.get_mut(name) else { return };
        let left = worker.ways.get(&number).copied();
        let begin = left.filter(|_| goes_on).map_or(tile, |way| way.begin);
        worker.ways.insert(number, Way { begin, at: tile });
        if let Some(left) = left {
            self.places.remove(&(number, left.at));
        }
        self.places.insert((number, tile), Arc::clone(name));
    }

    /// The worker is nowhere any more.
    pub(super) fn leave_places(&mut self, name: &Arc<str>) {
        let Some(worker) = self.workers.get_mut(name) else { return };
        for (number, way) in std::mem::take(&mut worker.ways) {
            self.places.remove(&(number, way.at));
        }
    }

    /// Nobody works in a survey any more.
    pub(super) fn clear_places(&mut self, number: SurveyNumber) {
        for worker in self.workers.values_mut() {
            if let Some(way) = worker.ways.remove(&number) {
                self.places.remove(&(number, way.at));
            }
        }
    }
}
