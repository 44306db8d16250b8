//! A journal as rows, so that replaying it costs what there is to know and not what has happened: a job that is done is
//! one row, and a survey that is over is one.
//!
//! | key | value |
//! |---|---|
//! | `owner` | `JournalOwner`, and the epoch |
//! | `spec/<digest>` | `SubmissionRow` |
//! | `survey/<id>` | `SurveyRow` |
//! | `job/<id>/<generation>/<job key>` | `JobRow`: it is done, or it has failed for good |
//! | `attempt/<id>/<generation>/<epoch>/<number>` | `JobRow`: an attempt that failed and was counted |
//!
//! A survey that begins anew, or whose jobs have gone to ledgers, gets a larger generation: rows of smaller ones are void,
//! whenever they are swept away.

use bytes::Bytes;
use prost::Message;
use proto::convert::enums::{failure_class, failure_class_to_wire};
use proto::convert::job::{key as job_key, key_to_wire, object, object_to_wire};
use proto::{ConvertError, v1};
use survey::failure::FailureClass;
use survey::ids::SurveyId;
use survey::job::{JobKey, ObjectRef};

use crate::journal::books::{Books, JobBook, SubmissionBook, SubmissionFate, SurveyBook};
use crate::journal::record::{Received, Record, Submitted, SurveyEnd};
use crate::schedule::event::Attempt;

/// The row that says who has the journal.
pub(crate) const OWNER: &[u8] = b"owner";
/// Where submissions and surveys are.
pub(crate) const SPECS: &[u8] = b"spec/";
pub(crate) const SURVEYS: &[u8] = b"survey/";

/// A change of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Put(Vec<u8>, Bytes),
    Delete(Vec<u8>),
}

/// What a writer knows of its journal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub epoch: u64,
    pub books: Books,
    /// Attempts that this writer has counted.
    attempts: u64,
}

/// The rows of a survey's jobs of one kind, up to a generation.
pub(crate) fn jobs_of(kind: &str, survey: &SurveyId) -> Vec<u8> {
    format!("{kind}/{survey}/").into_bytes()
}

/// The rows of a generation of a survey's jobs.
pub(crate) fn generation_of(kind: &str, survey: &SurveyId, generation: u64) -> Vec<u8> {
    format!("{kind}/{survey}/{generation:016x}/").into_bytes()
}

fn job_row(survey: &SurveyId, generation: u64, key: JobKey) -> Vec<u8> {
    let mut row = generation_of("job", survey, generation);
    row.extend(key_to_wire(key).encode_to_vec());
    row
}

impl Rows {
    /// What a record changes. Takes it up in the books, too.
    pub(crate) fn apply(&mut self, record: &Record) -> Vec<Change> {
        match record {
            Record::Received(received) => {
                let book = SubmissionBook { received: received.clone(), fate: None };
                self.books.submissions.insert(received.submission.clone(), book);
                self.submission(&received.submission)
            }
            Record::Refused { submission, class, message } => {
                let fate = SubmissionFate::Refused { class: *class, message: message.clone() };
                self.decide(submission, fate)
            }
            Record::Became { submission, survey } => self.decide(submission, SubmissionFate::Became(survey.clone())),
            Record::Submitted(submitted) => {
                let id = submitted.survey.clone();
                let generation = match self.books.surveys.get(&id) {
                    Some(book) if is_same(&book.submitted, submitted) => book.generation,
                    Some(book) => book.generation + 1,
                    None => 0,
                };
                let book = SurveyBook { submitted: submitted.clone(), end: None, generation };
                self.books.surveys.insert(id.clone(), book);
                let mut changes = self.survey(&id);
                if !submitted.submission.is_empty() {
                    changes.extend(self.decide(&submitted.submission, SubmissionFate::Became(id)));
                }
                changes
            }
            Record::Completed { survey, key, object } => {
                self.job(survey, *key, v1::job_row::Outcome::Object(object_to_wire(object)))
            }
            Record::Failed { survey, key, class, message } => self.job(survey, *key, failure(*class, message)),
            Record::AttemptFailed { survey, key, class, message } => {
                let Some(book) = self.books.surveys.get(survey) else { return Vec::new() };
                self.attempts += 1;
                let mut row = generation_of("attempt", survey, book.generation);
                row.extend(format!("{:016x}/{:016x}", self.epoch, self.attempts).into_bytes());
                vec![Change::Put(row, self.job_value(*key, failure(*class, message)))]
            }
            Record::Reopened { survey, key } => match self.books.surveys.get(survey) {
                Some(book) => vec![Change::Delete(job_row(survey, book.generation, *key))],
                None => Vec::new(),
            },
            // The end says so.
            Record::Cancelled { .. } => Vec::new(),
            Record::Ended { survey, end } => {
                let Some(book) = self.books.surveys.get_mut(survey) else { return Vec::new() };
                if !end.ledgers.is_empty() {
                    book.generation += 1;
                }
                book.end = Some((**end).clone());
                self.survey(survey)
            }
        }
    }

    /// The row of who has the journal.
    pub(crate) fn owner(&self, writer: &str) -> Change {
        let row = v1::journal_row::Row::Owner(v1::JournalOwner { writer: writer.to_owned() });
        Change::Put(OWNER.to_vec(), self.value(row))
    }

    fn value(&self, row: v1::journal_row::Row) -> Bytes {
        Bytes::from(v1::JournalRow { epoch: self.epoch, row: Some(row) }.encode_to_vec())
    }

    fn decide(&mut self, submission: &str, fate: SubmissionFate) -> Vec<Change> {
        match self.books.submissions.get_mut(submission) {
            Some(book) => {
                book.fate = Some(fate);
                self.submission(submission)
            }
            None => Vec::new(),
        }
    }

    fn submission(&self, digest: &str) -> Vec<Change> {
        let Some(SubmissionBook { received, fate }) = self.books.submissions.get(digest) else { return Vec::new() };
        let row = v1::SubmissionRow {
            name: received.name.clone(),
            output: received.output.clone(),
            priority: received.priority,
            fate: fate.as_ref().map(|fate| match fate {
                SubmissionFate::Became(survey) => v1::submission_row::Fate::Survey(survey.0.clone()),
                SubmissionFate::Refused { class, message } => v1::submission_row::Fate::Refusal(v1::Refusal {
                    class: failure_class_to_wire(*class),
                    message: message.clone(),
                }),
            }),
        };
        let key = [SPECS, digest.as_bytes()].concat();
        vec![Change::Put(key, self.value(v1::journal_row::Row::Submission(row)))]
    }

    fn survey(&self, id: &SurveyId) -> Vec<Change> {
        let Some(SurveyBook { submitted, end, generation }) = self.books.surveys.get(id) else { return Vec::new() };
        let row = v1::SurveyRow {
            name: submitted.name.clone(),
            plan: Some(object_to_wire(&submitted.plan)),
            notes: submitted.notes.as_ref().map(object_to_wire),
            output: submitted.output.clone(),
            halo_px: submitted.halo_px,
            max_job_memory: submitted.max_job_memory,
            priority: submitted.priority,
            version: submitted.version.clone(),
            submission: submitted.submission.clone(),
            generation: *generation,
            since: Some(v1::Attempt { epoch: submitted.since.epoch, counter: submitted.since.counter }),
            end: end.as_ref().map(|end| v1::SurveyEnd {
                survey: Some(end.survey.clone()),
                ledgers: end.ledgers.iter().map(object_to_wire).collect(),
            }),
        };
        let key = [SURVEYS, id.0.as_bytes()].concat();
        vec![Change::Put(key, self.value(v1::journal_row::Row::Survey(row)))]
    }

    fn job(&self, id: &SurveyId, key: JobKey, outcome: v1::job_row::Outcome) -> Vec<Change> {
        let Some(book) = self.books.surveys.get(id) else { return Vec::new() };
        vec![Change::Put(job_row(id, book.generation, key), self.job_value(key, outcome))]
    }

    fn job_value(&self, key: JobKey, outcome: v1::job_row::Outcome) -> Bytes {
        let row = v1::JobRow { key: Some(key_to_wire(key)), outcome: Some(outcome) };
        self.value(v1::journal_row::Row::Job(row))
    }

    /// Takes up a row that was read.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn read(&mut self, key: &[u8], value: &[u8]) -> Result<(), ConvertError> {
        let row = v1::JournalRow::decode(value).map_err(|error| invalid("row", &error.to_string()))?;
        self.epoch = self.epoch.max(row.epoch);
        let text = |prefix: &[u8]| {
            key.strip_prefix(prefix)
                .and_then(|rest| std::str::from_utf8(rest).ok())
                .map(str::to_owned)
                .ok_or_else(|| invalid("key", "it is not one of its row"))
        };
        match row.row.ok_or_else(|| missing("row"))? {
            v1::journal_row::Row::Owner(_) | v1::journal_row::Row::Job(_) => {}
            v1::journal_row::Row::Submission(row) => {
                let submission = text(SPECS)?;
                let fate = row.fate.map(submission_fate).transpose()?;
                let (name, output, priority) = (row.name, row.output, row.priority);
                let received = Received { submission: submission.clone(), name, output, priority };
                self.books.submissions.insert(submission, SubmissionBook { received, fate });
            }
            v1::journal_row::Row::Survey(row) => {
                let id = SurveyId(text(SURVEYS)?);
                self.books.surveys.insert(id.clone(), survey_book(id, row)?);
            }
        }
        Ok(())
    }
}

/// Whether a submission goes on with what another has begun: job keys mean something within one plan only.
pub(crate) fn is_same(earlier: &Submitted, later: &Submitted) -> bool {
    earlier.plan == later.plan && earlier.version == later.version && earlier.output == later.output
}

fn failure(class: FailureClass, message: &str) -> v1::job_row::Outcome {
    let (class, message) = (failure_class_to_wire(class), message.to_owned());
    v1::job_row::Outcome::Failure(v1::JobFailure { class, message })
}

fn submission_fate(fate: v1::submission_row::Fate) -> Result<SubmissionFate, ConvertError> {
    Ok(match fate {
        v1::submission_row::Fate::Survey(survey) => SubmissionFate::Became(SurveyId(survey)),
        v1::submission_row::Fate::Refusal(refusal) => {
            SubmissionFate::Refused { class: failure_class(refusal.class)?, message: refusal.message }
        }
    })
}

fn survey_book(survey: SurveyId, row: v1::SurveyRow) -> Result<SurveyBook, ConvertError> {
    let end = row.end.map(|end| {
        Ok::<_, ConvertError>(SurveyEnd {
            survey: end.survey.ok_or_else(|| missing("end.survey"))?,
            ledgers: end.ledgers.into_iter().map(object).collect::<Result<_, _>>()?,
        })
    });
    Ok(SurveyBook {
        submitted: Submitted {
            survey,
            name: row.name,
            plan: object(row.plan.ok_or_else(|| missing("plan"))?)?,
            notes: row.notes.map(object).transpose()?,
            output: row.output,
            halo_px: row.halo_px,
            max_job_memory: row.max_job_memory,
            priority: row.priority,
            version: row.version,
            submission: row.submission,
            since: row.since.map_or_else(Attempt::default, |v1::Attempt { epoch, counter }| Attempt { epoch, counter }),
        },
        end: end.transpose()?,
        generation: row.generation,
    })
}

impl JobBook {
    /// Takes up the value of a job's row.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn read(&mut self, value: &[u8]) -> Result<(), ConvertError> {
        self.take(job_of(value)?)
    }

    /// Takes up the value of an attempt's row.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn read_attempt(&mut self, value: &[u8]) -> Result<(), ConvertError> {
        let row = job_of(value)?;
        let key = job_key(row.key.ok_or_else(|| missing("key"))?)?;
        if let Some(v1::job_row::Outcome::Failure(failure)) = row.outcome {
            self.attempts.push((key, failure_class(failure.class)?));
        }
        Ok(())
    }

    /// Takes up a job.
    ///
    /// # Errors
    /// A part is missing or invalid.
    pub(crate) fn take(&mut self, row: v1::JobRow) -> Result<(), ConvertError> {
        let key = job_key(row.key.ok_or_else(|| missing("key"))?)?;
        match row.outcome.ok_or_else(|| missing("outcome"))? {
            v1::job_row::Outcome::Object(reference) => {
                self.completed.insert(key, object(reference)?);
            }
            v1::job_row::Outcome::Failure(failure) => {
                self.failed.insert(key, (failure_class(failure.class)?, failure.message));
            }
        }
        Ok(())
    }

    /// The jobs as rows of a ledger, by key.
    pub(crate) fn rows(&self) -> impl Iterator<Item = v1::JobRow> {
        let done = |(key, object): (&JobKey, &ObjectRef)| v1::JobRow {
            key: Some(key_to_wire(*key)),
            outcome: Some(v1::job_row::Outcome::Object(object_to_wire(object))),
        };
        let failed = |(key, (class, message)): (&JobKey, &(FailureClass, String))| v1::JobRow {
            key: Some(key_to_wire(*key)),
            outcome: Some(failure(*class, message)),
        };
        self.completed.iter().map(done).chain(self.failed.iter().map(failed))
    }
}

fn job_of(value: &[u8]) -> Result<v1::JobRow, ConvertError> {
    let row = v1::JournalRow::decode(value).map_err(|error| invalid("row", &error.to_string()))?;
    match row.row {
        Some(v1::journal_row::Row::Job(row)) => Ok(row),
        _ => Err(missing("job")),
    }
}

fn invalid(field: &str, problem: &str) -> ConvertError {
    ConvertError::Invalid { field: field.to_owned(), problem: problem.to_owned() }
}

fn missing(field: &str) -> ConvertError {
    invalid(field, "it is missing")
}
