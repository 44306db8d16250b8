//! The coordinator at work: one task owns the state, the journal and the waiting calls.
//!
//! Events are taken in batches: all are stepped, what they record is appended once, and only then is anything said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use imagery::commit::Output;
use proto::v1;
use survey::failure::FailureClass;
use survey::ids::SurveyId;
use survey::job::ObjectRef;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, error, info, warn};

use crate::clock::Clock;
use crate::error::CoordinatorError;
use crate::journal::history::{Histories, History};
use crate::journal::{Journal, Record};
use crate::progress;
use crate::schedule::event::{Answer, Effect, Event, Poll, Submission};
use crate::schedule::state::{Phase, State};
use crate::schedule::step::step;

/// Most events that share one append.
const BATCH: usize = 256;
/// Calls and requests that may wait for the task.
pub(crate) const QUEUE: usize = 1024;
/// How often time passes for the state, and progress is published at most.
const TICK: Duration = Duration::from_millis(50);

/// What the task is asked.
pub(crate) enum Command {
    Poll {
        poll: Poll,
        reply: oneshot::Sender<Answer>,
    },
    /// What the journal says of the output's surveys.
    History {
        reply: oneshot::Sender<Vec<History>>,
    },
    Submit {
        submission: Box<Submission>,
        records: Vec<Record>,
        reply: oneshot::Sender<v1::Survey>,
    },
    Cancel {
        survey: SurveyId,
        reply: oneshot::Sender<Option<v1::Survey>>,
    },
    Get {
        survey: SurveyId,
        reply: oneshot::Sender<Option<v1::Survey>>,
    },
    List {
        reply: oneshot::Sender<Vec<v1::Survey>>,
    },
    Watch {
        survey: SurveyId,
        reply: oneshot::Sender<Option<watch::Receiver<v1::Survey>>>,
    },
    RootRead(Event),
}

/// Why the task stopped.
pub(crate) type Fate = Arc<OnceLock<CoordinatorError>>;

pub(crate) struct Task<J> {
    pub state: State,
    pub histories: Histories,
    pub journal: J,
    pub output: Output,
    pub clock: Arc<dyn Clock>,
    pub commands: mpsc::Receiver<Command>,
    /// To hand back what is read aside; weak, so that the task ends with its last user.
    pub own: mpsc::WeakSender<Command>,
    pub fate: Fate,
}

/// A reply that waits until what it says is durable.
type Reply = Box<dyn FnOnce(&State) + Send>;

#[derive(Default)]
struct Pending {
    polls: BTreeMap<(String, u64), oneshot::Sender<Answer>>,
    watchers: BTreeMap<SurveyId, watch::Sender<v1::Survey>>,
    changed: BTreeSet<SurveyId>,
}

impl<J: Journal> Task<J> {
    /// Works until nobody can ask any more, or the journal fails.
    pub(crate) async fn run(mut self) {
        let mut pending = Pending::default();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mut commands = Vec::new();
            let is_tick = tokio::select! {
                taken = self.commands.recv_many(&mut commands, BATCH) => {
                    if taken == 0 {
                        return;
                    }
                    false
                }
                _ = ticks.tick() => true,
            };
            if let Err(cause) = self.turn(commands, is_tick, &mut pending).await {
                error!(error = %cause, "coordinator stops");
                let _ = self.fate.set(cause);
                return;
            }
        }
    }

    async fn turn(
        &mut self,
        commands: Vec<Command>,
        is_tick: bool,
        pending: &mut Pending,
    ) -> Result<(), CoordinatorError> {
        let now = self.clock.now();
        let mut effects = Vec::new();
        let mut replies: Vec<Reply> = Vec::new();
        for command in commands {
            self.take(command, now, pending, &mut effects, &mut replies);
        }
        if is_tick {
            effects.extend(step(&mut self.state, Event::Tick, now));
        }
        if cfg!(debug_assertions)
            && let Err(broken) = self.state.check()
        {
            error!(broken, "an invariant of the schedule is broken");
        }
        let mut records = Vec::new();
        effects.retain(|effect| match effect {
            Effect::Record(record) => {
                records.push(record.clone());
                false
            }
            _ => true,
        });
        if !records.is_empty() {
            self.journal.append(&records).await?;
            for record in records {
                self.histories.apply(record);
            }
        }
        for effect in effects {
            self.perform(effect, pending);
        }
        for reply in replies {
            reply(&self.state);
        }
        self.publish(is_tick, pending);
        Ok(())
    }

    fn take(
        &mut self,
        command: Command,
        now: Duration,
        pending: &mut Pending,
        effects: &mut Vec<Effect>,
        replies: &mut Vec<Reply>,
    ) {
        match command {
            Command::Poll { poll, reply } => {
                // A repeated call takes the place of the one before, whose caller is gone.
                pending.polls.insert((poll.worker.clone(), poll.sequence), reply);
                effects.extend(step(&mut self.state, Event::Poll(poll), now));
            }
            Command::History { reply } => {
                let _ = reply.send(self.histories.iter().cloned().collect());
            }
            Command::Submit { submission, records, reply } => {
                let id = submission.survey.clone();
                let is_running = self.state.survey(&id).is_some_and(|survey| survey.phase() == Phase::Running);
                if !is_running {
                    info!(survey = %id, jobs = submission.graph.jobs.len(), done = submission.completed.len(), "survey begins");
                    effects.extend(records.into_iter().map(Effect::Record));
                    effects.extend(step(&mut self.state, Event::Submit(submission), now));
                }
                replies.push(Box::new(move |state| {
                    if let Some(survey) = progress::survey(state, &id) {
                        let _ = reply.send(survey);
                    }
                }));
            }
            Command::Cancel { survey, reply } => {
                effects.extend(step(&mut self.state, Event::Cancel(survey.clone()), now));
                replies.push(Box::new(move |state| {
                    let _ = reply.send(progress::survey(state, &survey));
                }));
            }
            Command::Get { survey, reply } => {
                replies.push(Box::new(move |state| {
                    let _ = reply.send(progress::survey(state, &survey));
                }));
            }
            Command::List { reply } => replies.push(Box::new(move |state| {
                let ids: Vec<SurveyId> = state.surveys().map(|(id, _)| id.clone()).collect();
                let _ = reply.send(ids.iter().filter_map(|id| progress::survey(state, id)).collect());
            })),
            Command::Watch { survey, reply } => {
                let receiver = progress::survey(&self.state, &survey).map(|now| {
                    pending.watchers.entry(survey.clone()).or_insert_with(|| watch::channel(now).0).subscribe()
                });
                pending.changed.insert(survey);
                let _ = reply.send(receiver);
            }
            Command::RootRead(event) => effects.extend(step(&mut self.state, event, now)),
        }
    }

    fn perform(&self, effect: Effect, pending: &mut Pending) {
        match effect {
            Effect::Answer { worker, sequence, answer } => {
                for assignment in &answer.assignments {
                    debug!(survey = %assignment.survey, job = %assignment.job.key, worker, attempt = assignment.attempt.counter, "job leased");
                }
                if let Some(reply) = pending.polls.remove(&(worker, sequence)) {
                    // Where the caller has gone, its next call is told the same.
                    let _ = reply.send(answer);
                }
            }
            Effect::ReadRoot { survey, object } => self.read_root(survey, object),
            Effect::Alarm { survey, key, booked, reported, worker } => {
                error!(%survey, job = %key, booked = booked.to_hex(), reported = reported.to_hex(), worker, "two attempts at a job committed different bytes");
            }
            Effect::Changed(survey) => {
                pending.changed.insert(survey);
            }
            Effect::Record(_) => {}
        }
    }

    fn read_root(&self, survey: SurveyId, object: ObjectRef) {
        let (output, own) = (self.output.clone(), self.own.clone());
        tokio::spawn(async move {
            let read = match output.fetch(&object).await {
                Ok(bytes) => proto::objects::decode_closed_at(&bytes)
                    .map_err(|error| (FailureClass::BadInput, format!("{}: {error}", object.key))),
                Err(error) => Err((error.class(), error.to_string())),
            };
            if let Err((_, cause)) = &read {
                warn!(%survey, cause, "the merged findings cannot be read back");
            }
            if let Some(own) = own.upgrade() {
                let _ = own.send(Command::RootRead(Event::RootRead { survey, object, read })).await;
            }
        });
    }

    /// Tells watchers what changed: with the next tick, or at once where a survey is over.
    fn publish(&self, is_tick: bool, pending: &mut Pending) {
        let changed = std::mem::take(&mut pending.changed);
        for id in changed {
            let Some(survey) = self.state.survey(&id) else { continue };
            let is_over = survey.phase() != Phase::Running;
            if !(is_tick || is_over) {
                pending.changed.insert(id);
                continue;
            }
            if let Some(watchers) = pending.watchers.get(&id)
                && let Some(now) = progress::survey(&self.state, &id)
            {
                watchers.send_replace(now);
            }
        }
    }
}
