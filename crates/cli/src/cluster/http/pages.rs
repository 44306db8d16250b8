//! Surveys and workers as pages, as parts of pages and as JSON.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use report::live::{self, View};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::form_urlencoded;

use super::reply::{self, Refusal};
use super::{Site, gather};
use crate::cluster::standing;

/// How long a page that was made is good for, however many look at it.
const FRESH: Duration = Duration::from_millis(900);
/// Most pages that are kept.
const MOST_KEPT: usize = 64;

type Kept = Arc<tokio::sync::Mutex<Option<(Instant, Arc<View>)>>>;

/// Pages that are made at the same time: the coordinator has other things to do.
const DRAWN_AT_ONCE: usize = 2;

/// Pages that were made lately, by survey and open county. One of a kind is made at a time.
pub struct Views {
    places: Mutex<BTreeMap<(String, Option<String>), Kept>>,
    turns: Semaphore,
}

impl Default for Views {
    fn default() -> Self {
        Self { places: Mutex::default(), turns: Semaphore::new(DRAWN_AT_ONCE) }
    }
}

impl Views {
    fn place(&self, key: (String, Option<String>)) -> Kept {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= MOST_KEPT && !places.contains_key(&key) {
            // Those that nobody waits for.
            places.retain(|_, kept| Arc::strong_count(kept) > 1);
        }
        Arc::clone(places.entry(key).or_default())
    }
}

type Answer = Result<Response, Refusal>;

/// `/`: all surveys.
pub async fn index(State(site): State<Site>) -> Answer {
    Ok(reply::html(site.index().await?.0.page()?))
}

/// A part of `/`.
pub async fn index_part(State(site): State<Site>, Path(part): Path<String>) -> Answer {
    part_of(&site.index().await?.0, &part)
}

/// `/api/surveys`: all surveys, and which parts their page has.
pub async fn index_api(State(site): State<Site>) -> Answer {
    let (view, surveys) = site.index().await?;
    Ok(reply::json(&json!({ "surveys": surveys, "page": versions(&view) })))
}

/// A survey.
pub async fn survey(State(site): State<Site>, Path(survey): Path<String>, RawQuery(query): RawQuery) -> Answer {
    Ok(reply::html(site.survey(survey, open(query.as_deref())).await?.page()?))
}

/// A part of a survey's page.
pub async fn survey_part(
    State(site): State<Site>,
    Path((survey, part)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Answer {
    part_of(&*site.survey(survey, open(query.as_deref())).await?, &part)
}

/// How a survey stands, and which parts its page has.
pub async fn survey_api(State(site): State<Site>, Path(name): Path<String>, RawQuery(query): RawQuery) -> Answer {
    let survey = site.coordinator.survey(&name).await?;
    let mut document = standing::document(&survey);
    if let Some(document) = document.as_object_mut() {
        document.insert("seconds_left".into(), json!(site.paces.left(&survey)));
        let view = site.survey(name, open(query.as_deref())).await?;
        document.insert("page".into(), versions(&view));
    }
    Ok(reply::json(&document))
}

/// The county that a query asks for.
fn open(query: Option<&str>) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query?.as_bytes());
    pairs.find(|(name, _)| name == "county").map(|(_, county)| county.into_owned())
}

fn part_of(view: &View, part: &str) -> Answer {
    let part = view.part(part).ok_or_else(|| Refusal::missing(format!("{part}: the page has no such part")))?;
    Ok(reply::html(part.html.clone()))
}

/// What the page's script needs to know.
fn versions(view: &View) -> Value {
    let parts: serde_json::Map<String, Value> =
        view.parts.iter().map(|part| (part.name.to_owned(), part.version.clone().into())).collect();
    json!({ "title": view.title, "over": view.is_over, "build": live::build(), "parts": parts })
}

impl Site {
    async fn index(&self) -> Result<(View, Vec<Value>), Refusal> {
        let surveys = self.coordinator.surveys().await?;
        let workers: Vec<_> = self.coordinator.workers().await?.iter().map(gather::worker).collect();
        let standings: Vec<_> = surveys.iter().map(|survey| self.standing(survey)).collect();
        Ok((live::index(&standings, &workers)?, surveys.iter().map(standing::document).collect()))
    }

    /// The page of a survey, made anew where it is older than a moment.
    async fn survey(&self, survey: String, open: Option<String>) -> Result<Arc<View>, Refusal> {
        let place = self.views.place((survey.clone(), open.clone()));
        let mut kept = place.lock().await;
        if let Some((made, view)) = kept.as_ref()
            && made.elapsed() < FRESH
        {
            return Ok(Arc::clone(view));
        }
        let _turn = self.views.turns.acquire().await;
        let gathered = self.gather(&survey).await?;
        let drawn = tokio::task::spawn_blocking(move || gathered.view(open.as_deref())).await;
        let view = Arc::new(drawn.map_err(|error| Refusal::unreadable(&error))??);
        *kept = Some((Instant::now(), Arc::clone(&view)));
        Ok(view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_county_is_read_from_the_query_whatever_its_letters() {
        assert_eq!(open(Some("county=KP%2F02+16")).as_deref(), Some("KP/02 16"));
        assert_eq!(open(Some("a=b&county=%EA%B2%BD")).as_deref(), Some("경"));
        assert_eq!(open(Some("country=x")), None);
        assert_eq!(open(None), None);
    }
}
