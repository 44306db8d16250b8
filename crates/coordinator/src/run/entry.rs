//! What a coordinator knows of surveys and submissions beside their jobs: where they lie, how far they are, how they ended.

use std::collections::BTreeMap;

use imagery::commit::Output;
use imagery::store::Stores;
use proto::v1;
use survey::failure::FailureClass;
use survey::ids::SurveyId;

use crate::error::CoordinatorError;
use crate::journal::record::{Received, Submitted, SurveyEnd};
use crate::journal::{Books, SubmissionBook, SubmissionFate};
use crate::run::progress;
use crate::schedule::state::State;

/// All surveys and submissions.
pub(crate) struct Registry {
    pub surveys: BTreeMap<SurveyId, Entry>,
    pub submissions: BTreeMap<String, SubmissionBook>,
}

/// A survey.
#[derive(Clone)]
pub(crate) struct Entry {
    pub submitted: Submitted,
    /// `None` where no store exists for it (any more).
    pub output: Option<Output>,
    pub standing: Standing,
    /// Jobs that an earlier run had done.
    pub resumed_jobs: u64,
    /// Jobs that were done again because their objects were lost or damaged.
    pub repaired: u64,
}

/// How far a survey is.
#[derive(Clone)]
pub(crate) enum Standing {
    /// The journal knows it, and it waits to be submitted again.
    Left,
    /// What it has done is being read.
    Opening,
    /// Its jobs are in the schedule.
    Running,
    /// All its jobs are settled, and its results are being written.
    Publishing,
    /// It is over.
    Ended(Box<SurveyEnd>),
}

impl Registry {
    /// What a journal says. Surveys that are not over have the standing `open`.
    pub(crate) fn new(books: Books, stores: &Stores, open: &Standing) -> Self {
        let surveys = books
            .surveys
            .into_iter()
            .map(|(id, book)| {
                let output = Output::open(&book.submitted.output, stores).ok();
                let standing = book.end.map_or_else(|| open.clone(), |end| Standing::Ended(Box::new(end)));
                (id, Entry { submitted: book.submitted, output, standing, resumed_jobs: 0, repaired: 0 })
            })
            .collect();
        Self { surveys, submissions: books.submissions }
    }

    /// The survey of an id or of a submission's digest.
    pub(crate) fn resolve(&self, name: &str) -> Option<SurveyId> {
        match self.submissions.get(name).map(|book| &book.fate) {
            Some(Some(SubmissionFate::Became(survey))) => Some(survey.clone()),
            _ => self.surveys.get_key_value(&SurveyId(name.to_owned())).map(|(id, _)| id.clone()),
        }
    }

    /// A survey, or a submission that is none yet, as it is told.
    pub(crate) fn view(&self, state: &State, name: &str) -> Option<v1::Survey> {
        match self.resolve(name) {
            Some(id) => self.survey(state, &id),
            None => self.submissions.get(name).map(submission),
        }
    }

    /// A survey as it is told.
    pub(crate) fn survey(&self, state: &State, id: &SurveyId) -> Option<v1::Survey> {
        let entry = self.surveys.get(id)?;
        if let Standing::Ended(end) = &entry.standing {
            return Some(v1::Survey { workers: workers(state), ..end.survey.clone() });
        }
        let running = progress::survey(state, id).unwrap_or_default();
        Some(v1::Survey {
            id: id.0.clone(),
            name: entry.submitted.name.clone(),
            state: v1::SurveyState::Running as i32,
            workers: workers(state),
            output: entry.submitted.output.clone(),
            submission: entry.submitted.submission.clone(),
            repaired: entry.repaired,
            ..running
        })
    }

    /// All surveys and what is to become one, by id, in short.
    pub(crate) fn list(&self, state: &State) -> Vec<v1::Survey> {
        let surveys = self.surveys.keys().filter_map(|id| self.survey(state, id));
        let planned = |book: &&SubmissionBook| !matches!(book.fate, Some(SubmissionFate::Became(_)));
        let mut all: Vec<v1::Survey> =
            surveys.chain(self.submissions.values().filter(planned).map(submission)).collect();
        for survey in &mut all {
            survey.counties = Vec::new();
            survey.failed_jobs = Vec::new();
        }
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// A spec was submitted.
    pub(crate) fn received(&mut self, received: &Received) {
        let book = SubmissionBook { received: received.clone(), fate: None };
        self.submissions.insert(received.submission.clone(), book);
    }

    /// A spec has become a survey.
    pub(crate) fn became(&mut self, submission: &str, survey: &SurveyId) {
        if let Some(book) = self.submissions.get_mut(submission) {
            book.fate = Some(SubmissionFate::Became(survey.clone()));
        }
    }

    /// A spec was refused.
    pub(crate) fn refused(&mut self, submission: &str, class: FailureClass, message: &str) {
        if let Some(book) = self.submissions.get_mut(submission) {
            book.fate = Some(SubmissionFate::Refused { class, message: message.to_owned() });
        }
    }

    /// Whether a survey may be done under an output.
    pub(crate) fn admit(&self, submitted: &Submitted, label: &str) -> Result<(), CoordinatorError> {
        if let Some(entry) = self.surveys.get(&submitted.survey)
            && entry.submitted.output != submitted.output
        {
            return Err(CoordinatorError::Elsewhere {
                output: label.to_owned(),
                survey: submitted.survey.clone(),
                known: entry.output.as_ref().map_or_else(|| entry.submitted.output.clone(), Output::label),
            });
        }
        let other = self
            .surveys
            .values()
            .find(|entry| entry.submitted.output == submitted.output && entry.submitted.survey != submitted.survey);
        match other {
            Some(entry) => Err(CoordinatorError::OtherSurvey {
                output: label.to_owned(),
                found_name: entry.submitted.name.clone(),
                found: entry.submitted.survey.clone(),
                wanted_name: submitted.name.clone(),
                wanted: submitted.survey.clone(),
            }),
            None => Ok(()),
        }
    }
}

fn workers(state: &State) -> u32 {
    u32::try_from(state.workers()).unwrap_or(u32::MAX)
}

/// A submission that is no survey (yet), as it is told.
fn submission(book: &SubmissionBook) -> v1::Survey {
    let Received { submission, name, output, .. } = &book.received;
    let (state, message) = match &book.fate {
        Some(SubmissionFate::Refused { class: FailureClass::Cancelled, message }) => {
            (v1::SurveyState::Cancelled, message.clone())
        }
        Some(SubmissionFate::Refused { message, .. }) => (v1::SurveyState::Failed, message.clone()),
        _ => (v1::SurveyState::Planning, String::new()),
    };
    v1::Survey {
        id: submission.clone(),
        name: name.clone(),
        state: state as i32,
        message,
        output: output.clone(),
        submission: submission.clone(),
        ..v1::Survey::default()
    }
}
