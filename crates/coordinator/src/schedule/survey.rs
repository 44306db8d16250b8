//! A survey from its submission to its end: submit, cancel, and the reading of its root.

use std::collections::BTreeMap;
use std::time::Duration;

use survey::failure::FailureClass;
use survey::ids::{Digest, SurveyId};
use survey::job::{ObjectRef, Stage};

use crate::journal::Record;
use crate::schedule::books::{Books, Status, job_of_usual_key};
use crate::schedule::event::{Attempt, Earlier, Effect, Submission};
use crate::schedule::graph::Graph;
use crate::schedule::measure::Measure;
use crate::schedule::policy::seed;
use crate::schedule::queue::Queue;
use crate::schedule::state::{Located, Phase, RootState, State, SurveyNumber, SurveyState, Tally, Timer, Trouble};

/// Largest priority.
const MAX_PRIORITY: u32 = 10_000;

impl State {
    pub(super) fn submit(&mut self, submission: Submission, now: Duration, effects: &mut Vec<Effect>) {
        let known = self.ids.get(&submission.survey).copied();
        let is_running =
            |number: SurveyNumber| self.surveys.get(number).is_some_and(|survey| survey.phase == Phase::Running);
        if known.is_some_and(is_running) {
            // The same submission again: it is being done.
            return;
        }
        let mut survey = SurveyState::new(submission);
        survey.served = self.served;
        let number = known.or_else(|| self.vacant.pop()).unwrap_or(self.surveys.len());
        self.ids.insert(survey.id.clone(), number);
        match self.surveys.get_mut(number) {
            Some(place) => *place = survey,
            None => self.surveys.push(survey),
        }
        self.heard = self.heard.max(now);
        self.has_fresh = true;
        self.touch(number);
        self.end_if_settled(number);
        self.ask_for_root(number, now, effects);
    }

    pub(super) fn cancel(&mut self, id: &SurveyId, effects: &mut Vec<Effect>) {
        let Some(&number) = self.ids.get(id) else { return };
        let Some(survey) = self.surveys.get_mut(number).filter(|survey| survey.phase == Phase::Running) else { return };
        let held: Vec<u64> =
            survey.live.values().flat_map(|live| [Some(live.first), live.second].into_iter().flatten()).collect();
        for counter in held {
            self.release(counter);
        }
        let Some(survey) = self.surveys.get_mut(number) else { return };
        survey.cancel();
        let retry_at = survey.root.retry_at.take();
        self.timers.retain(|(_, timer)| !matches!(timer, Timer::Retry(survey, _) if *survey == number));
        if let Some(at) = retry_at {
            self.timers.remove(&(at, Timer::Root(number)));
        }
        self.clear_places(number);
        effects.push(Effect::Record(Record::Cancelled { survey: id.clone() }));
        self.touch(number);
    }

    /// Has the root's findings read, where they are committed and not known, and sees to it that this is not forgotten.
    pub(super) fn ask_for_root(&mut self, number: SurveyNumber, now: Duration, effects: &mut Vec<Effect>) {
        let patience = self.policy.root_patience;
        let Some(survey) = self.surveys.get_mut(number) else { return };
        if survey.phase != Phase::Running || !survey.is_root_unread() {
            return;
        }
        let Some(object) = survey.root_object() else { return };
        effects.push(Effect::ReadRoot { survey: survey.id.clone(), object });
        self.wait_for_root(number, now + patience);
    }

    fn wait_for_root(&mut self, number: SurveyNumber, until: Duration) {
        let Some(survey) = self.surveys.get_mut(number) else { return };
        if let Some(before) = survey.root.retry_at.replace(until) {
            self.timers.remove(&(before, Timer::Root(number)));
        }
        self.timers.insert((until, Timer::Root(number)));
    }

    /// The root is not waited for any more.
    pub(super) fn forget_root(&mut self, number: SurveyNumber) {
        let at = self.surveys.get_mut(number).and_then(|survey| survey.root.retry_at.take());
        if let Some(at) = at {
            self.timers.remove(&(at, Timer::Root(number)));
        }
    }

    pub(super) fn root_read(
        &mut self,
        id: &SurveyId,
        object: &ObjectRef,
        read: Result<BTreeMap<u32, Vec<ObjectRef>>, (FailureClass, String)>,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let Some(&number) = self.ids.get(id) else { return };
        let Some(survey) = self.surveys.get_mut(number) else { return };
        let is_current = survey.phase == Phase::Running
            && survey.is_root_unread()
            && survey.root_object().is_some_and(|root| root == *object);
        if !is_current {
            return;
        }
        match read {
            Ok(closed_at) => {
                survey.note_components(closed_at);
                self.forget_root(number);
                self.has_fresh = true;
            }
            Err((class, message)) => self.root_unreadable(number, class, &message, now, effects),
        }
        self.touch(number);
    }

    /// The root's timer has run out: it was to be read again, or nobody has said what became of that.
    pub(super) fn root_overdue(&mut self, number: SurveyNumber, now: Duration, effects: &mut Vec<Effect>) {
        let retries = self.policy.retries;
        let Some(survey) = self.surveys.get_mut(number) else { return };
        survey.root.retry_at = None;
        if survey.phase != Phase::Running || !survey.is_root_unread() {
            return;
        }
        survey.root.failed_reads += 1;
        if survey.root.failed_reads > retries {
            self.root_unreadable(number, FailureClass::Retryable, "nobody has read them in time", now, effects);
        } else {
            self.ask_for_root(number, now, effects);
        }
        self.touch(number);
    }

    fn root_unreadable(
        &mut self,
        number: SurveyNumber,
        class: FailureClass,
        message: &str,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        let policy = self.policy.clone();
        let Some(survey) = self.surveys.get_mut(number) else { return };
        let Some((root, key)) = survey.graph.root.and_then(|root| Some((root, survey.graph.key(root)?))) else {
            return;
        };
        if class == FailureClass::Retryable && survey.root.failed_reads < policy.retries {
            // The timer counts.
            let until = now + policy.pause(survey.root.failed_reads + 1, seed(key));
            self.wait_for_root(number, until);
            return;
        }
        let message = format!("the merged findings cannot be read back: {message}");
        self.reopen_job(number, root, class, &message, now, effects);
    }

    /// Forgets a survey that is over, so that its memory is free.
    pub(crate) fn forget(&mut self, id: &SurveyId) {
        let Some(&number) = self.ids.get(id) else { return };
        if let Some(survey) = self.surveys.get_mut(number).filter(|survey| survey.phase != Phase::Running) {
            *survey = SurveyState::vacant();
            self.ids.remove(id);
            self.vacant.push(number);
        }
    }

    pub(super) fn end_if_settled(&mut self, number: SurveyNumber) {
        if let Some(survey) = self.surveys.get_mut(number)
            && survey.phase == Phase::Running
            && survey.books.open() == 0
        {
            survey.phase = Phase::Ended;
            survey.troubles.clear();
            self.clear_places(number);
        }
    }
}

impl SurveyState {
    /// What stands in the place of a survey that was forgotten.
    fn vacant() -> Self {
        let plan = ObjectRef { key: String::new(), digest: Digest([0; 32]), length: 0 };
        let mut vacant = Self::new(Submission {
            survey: SurveyId::from(""),
            name: String::new(),
            plan,
            output: String::new(),
            graph: Graph::default(),
            max_job_memory: 0,
            completed: BTreeMap::new(),
            priority: 1,
            since: Attempt::default(),
            earlier: Earlier::default(),
        });
        vacant.phase = Phase::Ended;
        vacant
    }

    fn new(submission: Submission) -> Self {
        let Submission { survey, name, plan, output, graph, max_job_memory, completed, priority, since, earlier } =
            submission;
        let mut tally = Tally::default();
        for number in graph.numbers() {
            let (stage, cost) = (graph.stage_of(number), graph.cost(number));
            tally.jobs[stage] += 1;
            tally.cost_open[stage] += cost;
            tally.cost_total += cost;
        }
        let mut survey = Self {
            id: survey,
            name,
            plan,
            output,
            max_job_memory,
            priority: priority.clamp(1, MAX_PRIORITY),
            since,
            phase: Phase::Running,
            books: Books::new(graph.len()),
            queues: Stage::ALL.map(|stage| Queue::new(graph.stage(stage))),
            live: BTreeMap::new(),
            lone: Default::default(),
            troubles: BTreeMap::new(),
            root: RootState::default(),
            repairs: BTreeMap::new(),
            tally,
            measures: [Measure::default(), Measure::default(), Measure::default(), Measure::default()],
            served: 0,
            queued: None,
            unfit_since: None,
            graph,
        };
        for (key, object) in completed {
            if let Some(number) = survey.graph.number(key)
                && survey.books.restore_done(number, key, &object)
            {
                survey.count_settled(number, true);
            }
        }
        for (key, (class, message)) in earlier.failed {
            if let Some(number) = survey.graph.number(key)
                && survey.books.restore_failed(number, class, &message)
            {
                survey.count_settled(number, false);
            }
        }
        for (key, class) in earlier.attempts_failed {
            if let Some(number) = survey.graph.number(key)
                && survey.books.status(number).is_some_and(|status| !status.is_settled())
            {
                let raised = survey.memory(number).saturating_mul(2).min(max_job_memory);
                let trouble = survey.troubles.entry(number).or_default();
                trouble.restore(class);
                if class == FailureClass::OutOfMemory {
                    trouble.memory = Some(raised);
                }
            }
        }
        if survey.graph.root.is_some_and(|root| survey.books.status(root) == Some(Status::Failed)) {
            survey.root.closed_at = Some(BTreeMap::new());
        }
        if earlier.is_cancelled {
            survey.cancel();
            return survey;
        }
        for number in survey.graph.numbers() {
            if survey.books.status(number) == Some(Status::Waiting(0)) {
                survey.place(number);
            }
        }
        survey
    }

    /// Lets an open job that stands nowhere wait for what it misses, or be given out.
    pub(super) fn place(&mut self, number: u32) {
        match self.missing(number) {
            0 => {
                self.books.set(number, Status::Waiting(0));
                self.make_ready(number);
            }
            missing => {
                self.books.set(number, Status::Waiting(missing));
            }
        }
    }

    fn cancel(&mut self) {
        self.phase = Phase::Cancelled;
        self.queues.iter_mut().for_each(Queue::clear);
        self.troubles.clear();
    }

    /// What the root has committed.
    fn root_object(&self) -> Option<ObjectRef> {
        let root = self.graph.root?;
        self.books.object(root, self.graph.key(root)?)
    }

    /// Counts a job that is done or has failed for good.
    pub(super) fn count_settled(&mut self, number: u32, is_done: bool) {
        let (stage, cost) = (self.graph.stage_of(number), self.graph.cost(number));
        let settled = if is_done { &mut self.tally.done } else { &mut self.tally.failed };
        settled[stage] += 1;
        self.tally.cost_done += cost;
        self.tally.cost_open[stage] -= cost;
    }

    /// Counts a job that is done as open again.
    pub(super) fn count_open(&mut self, number: u32) {
        let (stage, cost) = (self.graph.stage_of(number), self.graph.cost(number));
        self.tally.done[stage] -= 1;
        self.tally.cost_done -= cost;
        self.tally.cost_open[stage] += cost;
    }

    /// The root will never say where components are, or has said it: the counties wait for one thing less.
    pub(super) fn stop_waiting_for_root(&mut self, closed_at: BTreeMap<u32, Vec<Located>>) {
        if self.root.closed_at.is_some() {
            return;
        }
        self.root.closed_at = Some(closed_at);
        for number in self.graph.stage(Stage::Assemble) {
            self.wait_for_less(number);
        }
    }

    /// Notes where each county's components are, and which jobs committed them.
    fn note_components(&mut self, closed_at: BTreeMap<u32, Vec<ObjectRef>>) {
        let root = self.graph.root.and_then(|root| self.graph.key(root));
        let unusual = self.books.unusual_keys();
        let locate = |object: ObjectRef| {
            let usual = || job_of_usual_key(&object).and_then(|key| self.graph.number(key));
            let found = unusual.get(object.key.as_str()).copied().or_else(usual);
            let key = found.and_then(|number| self.graph.key(number));
            match (found, key) {
                (Some(number), Some(key)) if self.books.object(number, key).as_ref() == Some(&object) => {
                    Some(Located::Booked(number))
                }
                (_, key) => Some(Located::Elsewhere(Box::new((key.or(root)?, object)))),
            }
        };
        let located = closed_at
            .into_iter()
            .map(|(county, objects)| (county, objects.into_iter().filter_map(locate).collect()))
            .collect();
        self.stop_waiting_for_root(located);
    }

    /// Estimated share of its work that is behind it, for its stage: whether half of the stage is.
    pub(super) fn is_half_done(&self, stage: usize) -> bool {
        let settled = self.tally.done[stage] + self.tally.failed[stage];
        settled * 2 >= self.tally.jobs[stage]
    }
}

impl Trouble {
    /// Counts an attempt that failed before a restart. Its worker is not known any more: one that no other failure is
    /// counted for.
    fn restore(&mut self, class: FailureClass) {
        match class {
            FailureClass::Poison | FailureClass::Fatal => {
                self.poisonings += 1;
                self.poisoned.push(format!("(attempt {} before a restart)", self.poisonings).into());
            }
            FailureClass::Retryable => self.retries += 1,
            FailureClass::Cancelled => self.hand_backs += 1,
            FailureClass::OutOfMemory | FailureClass::BadInput | FailureClass::InputChanged => {}
        }
    }
}

/// The stages in the order in which their jobs are given out: later ones first, so that findings do not pile up.
pub(super) const LATER_FIRST: [usize; 4] = [3, 2, 1, 0];
