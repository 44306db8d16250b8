//! What a journal says of its survey, folded into what a new coordinator needs.

use std::collections::BTreeMap;

use survey::failure::FailureClass;
use survey::ids::SurveyId;
use survey::job::{JobKey, ObjectRef};

use crate::journal::record::{Record, Submitted};

/// The survey of a journal.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// The newest submission.
    pub submitted: Submitted,
    /// Jobs that are done.
    pub completed: BTreeMap<JobKey, ObjectRef>,
    /// Jobs that failed for good.
    pub failed: BTreeMap<JobKey, (FailureClass, String)>,
    /// It was stopped.
    pub is_cancelled: bool,
}

/// The surveys of a journal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histories(BTreeMap<SurveyId, History>);

impl Histories {
    /// The surveys of `records`.
    #[must_use]
    pub fn of(records: impl IntoIterator<Item = Record>) -> Self {
        let mut histories = Self::default();
        for record in records {
            histories.apply(record);
        }
        histories
    }

    /// All surveys.
    pub fn iter(&self) -> impl Iterator<Item = &History> {
        self.0.values()
    }

    /// A survey.
    #[must_use]
    pub fn get(&self, survey: &SurveyId) -> Option<&History> {
        self.0.get(survey)
    }

    /// Takes up one more record. A submission with another plan or by another version begins its survey anew: job keys
    /// mean something within one plan only.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Submitted(submitted) => match self.0.get_mut(&submitted.survey) {
                Some(history)
                    if history.submitted.plan == submitted.plan && history.submitted.version == submitted.version =>
                {
                    history.submitted = submitted;
                    history.is_cancelled = false;
                }
                _ => {
                    let (completed, failed) = (BTreeMap::new(), BTreeMap::new());
                    let survey = submitted.survey.clone();
                    self.0.insert(survey, History { submitted, completed, failed, is_cancelled: false });
                }
            },
            Record::Completed { survey, key, object } => {
                if let Some(history) = self.0.get_mut(&survey) {
                    history.failed.remove(&key);
                    history.completed.entry(key).or_insert(object);
                }
            }
            Record::Failed { survey, key, class, message } => {
                if let Some(history) = self.0.get_mut(&survey) {
                    history.completed.remove(&key);
                    history.failed.insert(key, (class, message));
                }
            }
            Record::Cancelled { survey } => {
                if let Some(history) = self.0.get_mut(&survey) {
                    history.is_cancelled = true;
                }
            }
            Record::Reopened { survey, key } => {
                if let Some(history) = self.0.get_mut(&survey) {
                    history.completed.remove(&key);
                    history.failed.remove(&key);
                }
            }
            Record::AttemptFailed { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{completed, object, submitted};

    fn survey() -> SurveyId {
        SurveyId::from("a")
    }

    #[test]
    fn the_first_completion_stands_until_the_job_is_opened_again() {
        let key = JobKey::Calibrate(1);
        let other = Record::Completed { survey: survey(), key, object: object("other") };
        let read = |records: &[Record]| Histories::of(records.to_vec()).get(&survey()).unwrap().clone();
        let once = read(&[submitted("a"), completed(1)]);
        assert_eq!(read(&[submitted("a"), completed(1), other.clone()]), once);
        let reopened = Record::Reopened { survey: survey(), key };
        let again = read(&[submitted("a"), completed(1), reopened, other]);
        assert_eq!(again.completed[&key], object("other"));
    }

    #[test]
    fn the_same_submission_goes_on_and_another_plan_begins_anew() {
        let Record::Submitted(mut moved) = submitted("a") else { unreachable!() };
        let read = |records: Vec<Record>| Histories::of(records).get(&survey()).unwrap().completed.len();
        assert_eq!(read(vec![submitted("a"), completed(1), completed(2), submitted("a")]), 2);
        moved.plan = object("plan of other tiles");
        assert_eq!(read(vec![submitted("a"), completed(1), Record::Submitted(moved)]), 0);
    }
}
