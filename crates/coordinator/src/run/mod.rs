//! The coordinator at work: one task owns the schedule, the registry, the journal and the waiting calls.
//!
//! Events are taken in batches: all are stepped, what they record is appended once, and only then is anything said.

mod crew;
mod entry;
mod finish;
mod progress;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use proto::v1;
use survey::failure::FailureClass;
use survey::ids::SurveyId;
use survey::job::{JobKey, ObjectRef};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, error, info, warn};

use crate::clock::Clock;
use crate::error::CoordinatorError;
use crate::journal::record::{Submitted, SurveyEnd};
use crate::journal::{Journal, JournalReader, Record, SubmissionBook};
use crate::metrics::Meters;
use crate::publish::Publisher;
use crate::schedule::event::{Answer, Effect, Event, Poll, Submission};
use crate::schedule::state::{Phase, State};
use crate::schedule::step::step;

pub(crate) use crew::Crew;
pub(crate) use entry::{Entry, Registry, Standing};
pub(crate) use finish::{Finished, damaged_among, fetch_notes, fetch_plan};

/// Most events that share one append.
const BATCH: usize = 1024;
/// Most records in one append.
const APPEND: usize = 50_000;
/// Calls and requests that may wait for the task.
pub(crate) const QUEUE: usize = 4096;
/// How often time passes for the state, and progress is published at most.
const TICK: Duration = Duration::from_millis(50);

type Answered = Result<v1::Survey, CoordinatorError>;
/// Where the inputs of a job lie, and who left them.
type Inputs = (imagery::commit::Output, Vec<(JobKey, ObjectRef)>);

/// What the task is asked.
pub(crate) enum Command {
    Poll {
        poll: Poll,
        reply: oneshot::Sender<Answer>,
    },
    /// What a job reads, and where that lies.
    Inputs {
        survey: SurveyId,
        key: JobKey,
        reply: oneshot::Sender<Option<Inputs>>,
    },
    /// What is known of a survey that is to be submitted, or why it may not.
    Look {
        submitted: Box<Submitted>,
        label: String,
        reply: oneshot::Sender<Result<Option<Entry>, CoordinatorError>>,
    },
    /// Gives jobs to the schedule, unless the survey is being done already.
    Begin {
        begin: Box<Begin>,
        reply: oneshot::Sender<Answered>,
    },
    /// What is known of a spec.
    Spec {
        submission: String,
        reply: oneshot::Sender<Option<SubmissionBook>>,
    },
    /// How a survey was submitted.
    Submitted {
        survey: SurveyId,
        reply: oneshot::Sender<Option<Submitted>>,
    },
    /// Writes down what concerns submissions only.
    Note {
        record: Record,
        reply: oneshot::Sender<()>,
    },
    /// A survey cannot go on.
    GiveUp {
        survey: SurveyId,
        message: String,
    },
    Finished(Finished),
    Cancel {
        survey: String,
        reply: oneshot::Sender<Answered>,
    },
    Get {
        survey: String,
        reply: oneshot::Sender<Answered>,
    },
    List {
        reply: oneshot::Sender<Vec<v1::Survey>>,
    },
    Watch {
        survey: String,
        reply: oneshot::Sender<Result<watch::Receiver<v1::Survey>, CoordinatorError>>,
    },
    Workers {
        reply: oneshot::Sender<Vec<v1::Worker>>,
    },
    Drain {
        worker: String,
        reply: oneshot::Sender<Result<v1::Worker, CoordinatorError>>,
    },
    RootRead(Event),
    /// Lets go of the journal and ends.
    Stop {
        reply: oneshot::Sender<()>,
    },
}

/// A survey whose jobs are known.
pub(crate) struct Begin {
    pub submitted: Submitted,
    pub output: imagery::commit::Output,
    pub submission: Submission,
    /// Written down with it: what it had committed, and what is open again.
    pub records: Vec<Record>,
    /// It goes on by itself, and was not submitted.
    pub is_left: bool,
}

/// Why the task stopped.
pub(crate) type Fate = Arc<OnceLock<CoordinatorError>>;

pub(crate) struct Task<J> {
    pub state: State,
    pub registry: Registry,
    pub crew: Crew,
    pub journal: J,
    pub meters: Meters,
    pub reader: Arc<dyn JournalReader>,
    pub publisher: Arc<dyn Publisher>,
    pub clock: Arc<dyn Clock>,
    pub commands: mpsc::Receiver<Command>,
    /// To hand back what is done aside; weak, so that the task ends with its last user.
    pub own: mpsc::WeakSender<Command>,
    pub fate: Fate,
    /// Dropped with the task: so others see that it has ended.
    pub _living: watch::Sender<()>,
}

/// A reply that waits until what it says is durable.
type Reply = Box<dyn FnOnce(&State, &Registry) + Send>;

#[derive(Default)]
struct Pending {
    polls: BTreeMap<(String, u64), oneshot::Sender<Answer>>,
    /// By the id of a survey or the digest of a submission. A channel each, so that they are told in the order in which they
    /// came: one channel wakes its receivers in any.
    watchers: BTreeMap<String, Vec<watch::Sender<v1::Survey>>>,
    /// Surveys and submissions that are another now.
    changed: BTreeSet<String>,
}

/// What a turn has collected.
#[derive(Default)]
struct Turn {
    effects: Vec<Effect>,
    replies: Vec<Reply>,
    stop: Option<oneshot::Sender<()>>,
}

impl<J: Journal> Task<J> {
    /// Works until nobody can ask any more, or the journal fails.
    pub(crate) async fn run(mut self) {
        let mut pending = Pending::default();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let stop = loop {
            let mut commands = Vec::new();
            // The tick first: calls without end must not keep time from passing.
            let is_tick = tokio::select! {
                biased;
                _ = ticks.tick() => true,
                taken = self.commands.recv_many(&mut commands, BATCH) => {
                    if taken == 0 {
                        break None;
                    }
                    false
                }
            };
            match self.turn(commands, is_tick, &mut pending).await {
                Ok(None) => {}
                Ok(stop) => break stop,
                Err(cause) => {
                    error!(error = %cause, "coordinator stops");
                    let _ = self.fate.set(cause);
                    break None;
                }
            }
        };
        // Who waits is told that nobody is here any more.
        self.commands.close();
        drop(pending);
        self.journal.close().await;
        if let Some(stop) = stop {
            let _ = stop.send(());
        }
    }

    async fn turn(
        &mut self,
        commands: Vec<Command>,
        is_tick: bool,
        pending: &mut Pending,
    ) -> Result<Option<oneshot::Sender<()>>, CoordinatorError> {
        let now = self.clock.now();
        let mut turn = Turn::default();
        for command in commands {
            self.take(command, now, pending, &mut turn);
        }
        if is_tick {
            turn.effects.extend(step(&mut self.state, Event::Tick, now));
            self.crew.forget(self.state.policy().forget_worker, now);
        }
        // Better no coordinator than wrong books: the next one reads the journal, which is in order.
        if let Some(Effect::Broken(broken)) = turn.effects.iter().find(|effect| matches!(effect, Effect::Broken(_))) {
            return Err(CoordinatorError::Broken(broken.clone()));
        }
        self.end_cancelled(&mut turn.effects);
        let mut records = Vec::new();
        turn.effects.retain(|effect| match effect {
            Effect::Record(record) => {
                records.push(record.clone());
                false
            }
            _ => true,
        });
        // What this turn cancels ends in one append; a survey that is taken up anew may have millions of records.
        for records in records.chunks(APPEND) {
            let began = self.clock.now();
            self.journal.append(records).await?;
            self.meters.count_append(records.len(), self.clock.now().saturating_sub(began));
        }
        for effect in turn.effects {
            self.perform(effect, now, pending);
        }
        for reply in turn.replies {
            reply(&self.state, &self.registry);
        }
        self.publish(is_tick, pending);
        Ok(turn.stop)
    }

    fn take(&mut self, command: Command, now: Duration, pending: &mut Pending, turn: &mut Turn) {
        match command {
            Command::Poll { mut poll, reply } => {
                self.crew.called(&mut poll, now);
                // A repeated call takes the place of the one before, whose caller is gone.
                pending.polls.insert((poll.worker.clone(), poll.sequence), reply);
                turn.effects.extend(step(&mut self.state, Event::Poll(poll), now));
            }
            Command::Inputs { survey, key, reply } => {
                let output = self.registry.surveys.get(&survey).and_then(|entry| entry.output.clone());
                let inputs = self.state.survey(&survey).map(|survey| survey.objects_read(key));
                let _ = reply.send(output.zip(inputs));
            }
            Command::Look { submitted, label, reply } => {
                let admitted = self.registry.admit(&submitted, &label);
                let entry = || self.registry.surveys.get(&submitted.survey).cloned();
                let _ = reply.send(admitted.map(|()| entry()));
            }
            Command::Begin { begin, reply } => self.begin(*begin, reply, now, pending, turn),
            Command::Spec { submission, reply } => {
                let _ = reply.send(self.registry.submissions.get(&submission).cloned());
            }
            Command::Submitted { survey, reply } => {
                let _ = reply.send(self.registry.surveys.get(&survey).map(|entry| entry.submitted.clone()));
            }
            Command::Note { record, reply } => {
                self.note(&record, pending);
                turn.effects.push(Effect::Record(record));
                turn.replies.push(Box::new(move |_, _| {
                    let _ = reply.send(());
                }));
            }
            Command::GiveUp { survey, message } => {
                error!(%survey, message, "a survey cannot go on");
                self.end(&survey, v1::SurveyState::Failed, message, Vec::new(), &mut turn.effects);
            }
            Command::Finished(finished) => self.finished(finished, now, &mut turn.effects),
            Command::Cancel { survey: name, reply } => {
                if let Some(id) = self.registry.resolve(&name) {
                    turn.effects.extend(step(&mut self.state, Event::Cancel(id.clone()), now));
                    let standing = self.registry.surveys.get(&id).map(|entry| &entry.standing);
                    if matches!(standing, Some(Standing::Left | Standing::Opening)) {
                        let state = v1::SurveyState::Cancelled;
                        self.end(&id, state, String::new(), Vec::new(), &mut turn.effects);
                    }
                }
                self.answer_with(name, reply, turn);
            }
            Command::Get { survey, reply } => self.answer_with(survey, reply, turn),
            Command::List { reply } => turn.replies.push(Box::new(move |state, registry| {
                let _ = reply.send(registry.list(state));
            })),
            Command::Watch { survey, reply } => {
                let now = self.registry.view(&self.state, &survey);
                let receiver = now.map(|now| {
                    let (watcher, receiver) = watch::channel(now);
                    pending.watchers.entry(survey.clone()).or_default().push(watcher);
                    receiver
                });
                pending.changed.insert(survey.clone());
                let _ = reply.send(receiver.ok_or(CoordinatorError::UnknownSurvey(survey)));
            }
            Command::Workers { reply } => {
                let _ = reply.send(self.crew.list(now));
            }
            Command::Drain { worker, reply } => {
                let told = self.crew.drain(&worker, now);
                if told.is_some() {
                    info!(worker, "worker is to leave");
                    turn.effects.extend(step(&mut self.state, Event::Drain(worker.clone()), now));
                }
                let _ = reply.send(told.ok_or(CoordinatorError::UnknownWorker(worker)));
            }
            Command::RootRead(event) => turn.effects.extend(step(&mut self.state, event, now)),
            Command::Stop { reply } => turn.stop = Some(reply),
        }
    }

    /// Answers with a survey as it is when what was done is durable.
    fn answer_with(&self, name: String, reply: oneshot::Sender<Answered>, turn: &mut Turn) {
        turn.replies.push(Box::new(move |state, registry| {
            let found = registry.view(state, &name);
            let _ = reply.send(found.ok_or(CoordinatorError::UnknownSurvey(name)));
        }));
    }

    fn begin(
        &mut self,
        begin: Begin,
        reply: oneshot::Sender<Answered>,
        now: Duration,
        pending: &mut Pending,
        turn: &mut Turn,
    ) {
        let Begin { mut submitted, output, mut submission, records, is_left } = begin;
        // Another submission may have come first.
        if let Err(error) = self.registry.admit(&submitted, &output.label()) {
            let _ = reply.send(Err(error));
            return;
        }
        let id = submitted.survey.clone();
        let standing = self.registry.surveys.get(&id).map(|entry| entry.standing.clone());
        let is_to_begin = match standing {
            None | Some(Standing::Left) => true,
            Some(Standing::Opening) => is_left,
            Some(Standing::Ended(_)) => !is_left,
            Some(Standing::Running | Standing::Publishing) => false,
        };
        if is_to_begin {
            let resumed_jobs = submission.completed.len() as u64;
            info!(survey = %id, jobs = submission.graph.len(), done = resumed_jobs, "survey begins");
            if !is_left {
                // What failed is tried again: what was given out before may have been computed without it.
                submitted.since = self.state.next_attempt();
                submission.since = submitted.since;
                turn.effects.push(Effect::Record(Record::Submitted(submitted.clone())));
            }
            if !submitted.submission.is_empty() {
                pending.changed.insert(submitted.submission.clone());
                self.registry.became(&submitted.submission, &id);
            }
            turn.effects.extend(records.into_iter().map(Effect::Record));
            let (output, standing) = (Some(output), Standing::Running);
            self.registry.surveys.insert(id.clone(), Entry { submitted, output, standing, resumed_jobs, repaired: 0 });
            turn.effects.extend(step(&mut self.state, Event::Submit(Box::new(submission)), now));
        }
        self.answer_with(id.0, reply, turn);
    }

    /// Takes up what concerns a submission.
    fn note(&mut self, record: &Record, pending: &mut Pending) {
        match record {
            Record::Received(received) => {
                self.registry.received(received);
                pending.changed.insert(received.submission.clone());
            }
            Record::Refused { submission, class, message } => {
                self.registry.refused(submission, *class, message);
                pending.changed.insert(submission.clone());
            }
            Record::Became { submission, survey } => {
                self.registry.became(submission, survey);
                pending.changed.insert(submission.clone());
            }
            _ => {}
        }
    }

    /// Ends what this turn has cancelled, in the same append.
    fn end_cancelled(&mut self, effects: &mut Vec<Effect>) {
        let cancelled: Vec<SurveyId> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Record(Record::Cancelled { survey }) => Some(survey.clone()),
                _ => None,
            })
            .collect();
        for survey in cancelled {
            self.end(&survey, v1::SurveyState::Cancelled, String::new(), Vec::new(), effects);
        }
    }

    /// Writes down that a survey is over, and forgets its jobs.
    fn end(
        &mut self,
        id: &SurveyId,
        state: v1::SurveyState,
        message: String,
        ledgers: Vec<ObjectRef>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(told) = self.registry.survey(&self.state, id) else { return };
        let Some(entry) = self.registry.surveys.get_mut(id) else { return };
        if matches!(entry.standing, Standing::Ended(_)) {
            return;
        }
        let survey = v1::Survey { state: state as i32, message, ..told };
        let end = Box::new(SurveyEnd { survey, ledgers });
        info!(survey = %id, state = state.as_str_name(), "survey is over");
        entry.standing = Standing::Ended(end.clone());
        effects.push(Effect::Record(Record::Ended { survey: id.clone(), end }));
        effects.push(Effect::Changed(id.clone()));
    }

    fn perform(&mut self, effect: Effect, now: Duration, pending: &mut Pending) {
        match effect {
            Effect::Answer { worker, sequence, mut answer } => {
                for assignment in &answer.assignments {
                    debug!(survey = %assignment.survey, job = %assignment.job.key, worker, attempt = assignment.attempt.counter, "job leased");
                }
                answer.drain |= self.crew.answered(&worker, &answer, now);
                if let Some(reply) = pending.polls.remove(&(worker, sequence)) {
                    // Where the caller has gone, its next call is told the same.
                    let _ = reply.send(answer);
                }
            }
            Effect::ReadRoot { survey, object } => self.read_root(survey, object),
            Effect::Alarm { survey, key, booked, reported, worker } => {
                error!(%survey, job = %key, booked = booked.to_hex(), reported = reported.to_hex(), worker, "two attempts at a job committed different bytes");
            }
            Effect::Changed(survey) => self.changed(&survey, pending),
            Effect::Record(_) | Effect::Broken(_) => {}
        }
    }

    /// A survey is another: where its last job has ended its results are due, and where it is over it can be forgotten.
    fn changed(&mut self, id: &SurveyId, pending: &mut Pending) {
        pending.changed.insert(id.0.clone());
        let repaired = self.state.survey(id).map(|survey| (survey.phase(), survey.repaired()));
        let Some(entry) = self.registry.surveys.get_mut(id) else { return };
        if matches!(entry.standing, Standing::Ended(_)) {
            self.state.forget(id);
            return;
        }
        let Some((phase, repaired)) = repaired else { return };
        entry.repaired = repaired;
        if phase == Phase::Ended && matches!(entry.standing, Standing::Running) {
            entry.standing = Standing::Publishing;
            self.finish(id);
        }
    }

    fn read_root(&self, survey: SurveyId, object: ObjectRef) {
        let Some(output) = self.registry.surveys.get(&survey).and_then(|entry| entry.output.clone()) else { return };
        let own = self.own.clone();
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
        if changed.is_empty() {
            return;
        }
        let mut later = BTreeSet::new();
        pending.watchers.retain(|name, watchers| {
            // A submission that has become a survey changes with it.
            let survey = self.registry.resolve(name).map_or_else(|| name.clone(), |id| id.0);
            if changed.contains(&survey) || changed.contains(name) {
                match self.registry.view(&self.state, name) {
                    Some(now) if is_tick || is_over(&now) => {
                        for watcher in watchers.iter() {
                            watcher.send_replace(now.clone());
                        }
                    }
                    _ => {
                        later.insert(survey);
                    }
                }
            }
            watchers.retain(|watcher| watcher.receiver_count() > 0);
            !watchers.is_empty()
        });
        pending.changed = later;
    }
}

/// Whether a survey as it is told is in a final state.
pub(crate) fn is_over(survey: &v1::Survey) -> bool {
    !matches!(survey.state(), v1::SurveyState::Planning | v1::SurveyState::Running)
}
