//! A survey's progress, and each county's result as it is committed, as one stream.

use std::collections::VecDeque;

use futures::Stream;
use imagery::commit::Output;
use imagery::store::Stores;
use prost::Message;
use proto::convert::job::object;
use proto::v1;
use tokio::sync::watch;
use tonic::Status;
use tracing::warn;

use crate::run::{Fate, is_over};
use crate::service::why_stopped;

/// Largest result of a county that is sent along, bytes.
const MAX_RESULT: u64 = 16 << 20;

struct Watching {
    receiver: watch::Receiver<v1::Survey>,
    /// To read results from, where these are sent along.
    stores: Option<Stores>,
    fate: Fate,
    /// By county: it was sent.
    sent: Vec<bool>,
    /// Counties that are done and not sent yet, and the survey that counts them as done.
    due: VecDeque<v1::CountyOutcome>,
    survey: Option<v1::Survey>,
    is_over: bool,
}

/// Each state of a survey up to a final one; an error where the coordinator stops before. With `stores`, counties' results
/// are sent along.
pub(super) fn until_over(
    mut receiver: watch::Receiver<v1::Survey>,
    stores: Option<Stores>,
    fate: Fate,
) -> impl Stream<Item = Result<v1::WatchSurveyResponse, Status>> + Send {
    receiver.mark_changed();
    let (sent, due, survey) = (Vec::new(), VecDeque::new(), None);
    let watching = Watching { receiver, stores, fate, sent, due, survey, is_over: false };
    futures::stream::unfold(Some(watching), |watching| async move {
        let mut watching = watching?;
        match watching.next().await {
            Ok(Some(update)) => Some((Ok(v1::WatchSurveyResponse { update: Some(update) }), Some(watching))),
            Ok(None) => None,
            Err(status) => Some((Err(status), None)),
        }
    })
}

impl Watching {
    async fn next(&mut self) -> Result<Option<v1::watch_survey_response::Update>, Status> {
        use v1::watch_survey_response::Update;
        if self.due.is_empty() && self.survey.is_none() {
            if self.is_over {
                return Ok(None);
            }
            if self.receiver.changed().await.is_err() {
                return Err(why_stopped(&self.fate).into());
            }
            let survey = self.receiver.borrow_and_update().clone();
            self.take(survey);
        }
        if let Some(outcome) = self.due.pop_front() {
            let result = self.result(&outcome).await;
            return Ok(Some(Update::County(v1::CountyUpdate { outcome: Some(outcome), result })));
        }
        Ok(self.survey.take().map(Update::Survey))
    }

    fn take(&mut self, survey: v1::Survey) {
        self.sent.resize(survey.counties.len().max(self.sent.len()), false);
        for (sent, county) in self.sent.iter_mut().zip(&survey.counties) {
            if !*sent && county.outcome.is_some() {
                *sent = true;
                self.due.push_back(county.clone());
            }
        }
        self.is_over = is_over(&survey);
        self.survey = Some(survey);
    }

    /// A county's result. What cannot be read is left out: the client has the reference.
    async fn result(&self, outcome: &v1::CountyOutcome) -> Option<v1::CountyResult> {
        let stores = self.stores.as_ref()?;
        let Some(v1::county_outcome::Outcome::Result(reference)) = &outcome.outcome else { return None };
        let reference = object(reference.clone()).ok().filter(|reference| reference.length <= MAX_RESULT)?;
        let output = Output::open(&self.survey.as_ref()?.output, stores).ok()?;
        match output.fetch(&reference).await {
            Ok(bytes) => v1::CountyResult::decode(bytes).ok(),
            Err(error) => {
                warn!(county = outcome.county, %error, "a county's result cannot be sent along");
                None
            }
        }
    }
}
