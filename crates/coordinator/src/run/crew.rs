//! The workers as they were last heard of, for people: the schedule needs less.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proto::convert::job::key_to_wire;
use proto::v1;
use survey::ids::SurveyId;
use survey::job::JobKey;

use crate::schedule::event::{Answer, Attempt, Poll};

/// Workers by name.
#[derive(Default)]
pub(crate) struct Crew {
    workers: BTreeMap<String, Member>,
}

#[derive(Default)]
struct Member {
    seen: Duration,
    sequence: u64,
    memory_total: u64,
    memory_free: u64,
    slots: u32,
    /// It said so, or was told to.
    draining: bool,
    told_to_drain: bool,
    held: BTreeMap<Attempt, Held>,
}

struct Held {
    survey: SurveyId,
    key: JobKey,
    since: Duration,
}

impl Crew {
    /// A worker calls. It is told of its draining in the call that the schedule sees.
    pub(crate) fn called(&mut self, poll: &mut Poll, now: Duration) {
        let member = self.workers.entry(poll.worker.clone()).or_default();
        poll.draining |= member.told_to_drain;
        if poll.sequence < member.sequence {
            return;
        }
        let running: BTreeSet<Attempt> = poll.running.iter().map(|&(attempt, _)| attempt).collect();
        member.held.retain(|attempt, _| running.contains(attempt));
        member.seen = now;
        member.sequence = poll.sequence;
        member.memory_total = poll.memory_total;
        member.memory_free = poll.memory_free;
        member.slots = poll.slots;
        member.draining = poll.draining;
    }

    /// A worker is answered. Says whether it shall leave.
    pub(crate) fn answered(&mut self, worker: &str, answer: &Answer, now: Duration) -> bool {
        let Some(member) = self.workers.get_mut(worker) else { return false };
        for assignment in &answer.assignments {
            let (survey, key) = (assignment.survey.clone(), assignment.job.key);
            member.held.insert(assignment.attempt, Held { survey, key, since: now });
        }
        for attempt in &answer.revoked {
            member.held.remove(attempt);
        }
        member.told_to_drain
    }

    /// Tells a worker to leave, with its next call.
    pub(crate) fn drain(&mut self, worker: &str, now: Duration) -> Option<v1::Worker> {
        let member = self.workers.get_mut(worker)?;
        member.told_to_drain = true;
        member.draining = true;
        Some(told(worker, member, now))
    }

    /// Forgets workers that were not heard of for so long.
    pub(crate) fn forget(&mut self, longer_than: Duration, now: Duration) {
        self.workers.retain(|_, member| member.seen + longer_than > now);
    }

    /// All workers.
    pub(crate) fn list(&self, now: Duration) -> Vec<v1::Worker> {
        self.workers.iter().map(|(name, member)| told(name, member, now)).collect()
    }
}

fn told(name: &str, member: &Member, now: Duration) -> v1::Worker {
    let milliseconds = |since: Duration| u64::try_from(now.saturating_sub(since).as_millis()).unwrap_or(u64::MAX);
    v1::Worker {
        name: name.to_owned(),
        silent_ms: milliseconds(member.seen),
        memory_total: member.memory_total,
        memory_free: member.memory_free,
        slots: member.slots,
        draining: member.draining,
        jobs: member
            .held
            .values()
            .map(|held| v1::HeldJob {
                survey: held.survey.0.clone(),
                key: Some(key_to_wire(held.key)),
                held_ms: milliseconds(held.since),
            })
            .collect(),
    }
}
