//! STAC APIs: a search, page by page, as often as the server says that there is another page and no oftener.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use url::Url;

use super::MAX_DOCUMENT;
use super::document::{self, Document};
use super::gather::{Gathering, Query};
use super::json::{get, links, number, text};
use crate::error::ImageryError;
use crate::store::{Stores, address};

/// Items that are asked for at once.
const PAGE: usize = 250;
/// Pages of one search.
const MAX_PAGES: usize = 4000;
/// Items of one search.
const MAX_ITEMS: usize = 400_000;

/// A request of a search.
#[derive(Clone, Debug, PartialEq)]
enum Request {
    Get(Url),
    Post(Url, Map<String, Value>),
}

impl Request {
    fn url(&self) -> &Url {
        match self {
            Self::Get(url) | Self::Post(url, _) => url,
        }
    }

    /// What makes two requests the same.
    fn identity(&self) -> String {
        match self {
            Self::Get(url) => format!("GET {url}"),
            Self::Post(url, body) => format!("POST {url} {}", Value::Object(body.clone())),
        }
    }

    async fn send(&self, stores: &Stores) -> Result<bytes::Bytes, ImageryError> {
        let client = stores.http_client()?;
        let request = match self {
            Self::Get(url) => client.get(url.clone()),
            Self::Post(url, body) => client
                .post(url.clone())
                .header("content-type", "application/json")
                .body(Value::Object(body.clone()).to_string()),
        };
        stores
            .request(
                request.header("accept", "application/geo+json, application/json"),
                self.url().as_str(),
                MAX_DOCUMENT,
            )
            .await
    }
}

/// Searches an API from its landing page or one of its collections.
///
/// # Errors
/// What the server says; [`ImageryError::Document`] for answers that are no STAC, and for searches beyond the limits.
pub(super) async fn search(
    stores: &Stores,
    root: &Value,
    url: &Url,
    gathering: &mut Gathering<'_>,
) -> Result<(), ImageryError> {
    let dates = (gathering.query.from(), gathering.query.to());
    let request = first_request(root, url, &gathering.query, interval(dates))?;
    pages(stores, request, gathering, MAX_PAGES).await?;
    if gathering.found.is_empty() && dates.0.is_some() && dates.1.is_some() {
        // For the nearest date: two years around the window, one page each side is enough to tell.
        let year = chrono::Days::new(365);
        let wide = (
            dates.0.and_then(|date| date.checked_sub_days(year)),
            dates.1.and_then(|date| date.checked_add_days(year)),
        );
        let request = first_request(root, url, &gathering.query, interval(wide))?;
        if let Err(error) = pages(stores, request, gathering, 2).await {
            tracing::debug!(%error, "no nearest date");
        }
    }
    Ok(())
}

/// Follows the `next` links of a document that is a page itself.
///
/// # Errors
/// As [`search`].
pub(super) async fn more_pages(
    stores: &Stores,
    page: &Value,
    url: &Url,
    gathering: &mut Gathering<'_>,
) -> Result<(), ImageryError> {
    match next_request(stores, page, &Request::Get(url.clone()))? {
        Some(request) => pages(stores, request, gathering, MAX_PAGES).await,
        None => Ok(()),
    }
}

/// `datetime` of a search: days are inclusive.
fn interval(dates: (Option<chrono::NaiveDate>, Option<chrono::NaiveDate>)) -> Option<String> {
    if dates == (None, None) {
        return None;
    }
    let from = dates.0.map_or("..".to_owned(), |from| format!("{from}T00:00:00Z"));
    let to = dates.1.map_or("..".to_owned(), |to| format!("{to}T23:59:59.999Z"));
    Some(format!("{from}/{to}"))
}

fn first_request(
    root: &Value,
    url: &Url,
    query: &Query<'_>,
    datetime: Option<String>,
) -> Result<Request, ImageryError> {
    let collections = query.window.collections.clone().unwrap_or_default();
    let searches: Vec<_> = links(root).filter(|link| link.rel == "search").collect();
    let is_post = |link: &&super::json::Link<'_>| {
        text(link.whole, "method").is_some_and(|method| method.eq_ignore_ascii_case("post"))
    };
    let bbox: Vec<String> = query.bbox.iter().map(ToString::to_string).collect();
    let whole_world = query.bbox == [-180.0, -90.0, 180.0, 90.0];
    let get = |mut target: Url, collections: &[String]| {
        {
            let mut pairs = target.query_pairs_mut();
            if !whole_world {
                pairs.append_pair("bbox", &bbox.join(","));
            }
            if let Some(datetime) = &datetime {
                pairs.append_pair("datetime", datetime);
            }
            if !collections.is_empty() {
                pairs.append_pair("collections", &collections.join(","));
            }
            pairs.append_pair("limit", &PAGE.to_string());
        }
        Request::Get(target)
    };
    if let Some(link) = searches.iter().find(|link| !is_post(link)) {
        return Ok(get(address::join(url, link.href)?, &collections));
    }
    if let Some(link) = searches.first() {
        let mut body = Map::new();
        if !whole_world {
            body.insert("bbox".into(), json!(query.bbox));
        }
        if let Some(datetime) = datetime {
            body.insert("datetime".into(), json!(datetime));
        }
        if !collections.is_empty() {
            body.insert("collections".into(), json!(collections));
        }
        body.insert("limit".into(), json!(PAGE));
        return Ok(Request::Post(address::join(url, link.href)?, body));
    }
    if let Some(link) = links(root).find(|link| link.rel == "items") {
        return Ok(get(address::join(url, link.href)?, &[]));
    }
    // A landing page that conforms to item search and forgets the link.
    let mut target = url.clone();
    target.set_path(&format!("{}/search", url.path().trim_end_matches('/')));
    Ok(get(target, &collections))
}

/// The request of the `next` link, which must stay under the allowed prefixes.
fn next_request(stores: &Stores, page: &Value, last: &Request) -> Result<Option<Request>, ImageryError> {
    let Some(link) = links(page).find(|link| link.rel == "next") else { return Ok(None) };
    let url = address::join(last.url(), link.href)?;
    stores.check(url.as_str())?;
    let is_post = text(link.whole, "method").is_some_and(|method| method.eq_ignore_ascii_case("post"));
    if !is_post {
        return Ok(Some(Request::Get(url)));
    }
    let merges = get(link.whole, "merge").and_then(Value::as_bool).unwrap_or(false);
    let mut body = match (last, merges) {
        (Request::Post(_, body), true) => body.clone(),
        _ => Map::new(),
    };
    if let Some(extra) = get(link.whole, "body").and_then(Value::as_object) {
        body.extend(extra.clone());
    }
    Ok(Some(Request::Post(url, body)))
}

async fn pages(
    stores: &Stores,
    first: Request,
    gathering: &mut Gathering<'_>,
    max_pages: usize,
) -> Result<(), ImageryError> {
    let mut asked = BTreeSet::new();
    let mut request = first;
    let (mut received, mut total) = (0_usize, None);
    for page_number in 1.. {
        let href = || address::label(request.url().as_str());
        if !asked.insert(request.identity()) {
            gathering
                .warnings
                .push(format!("{}: the search leads back to a page that was read; it ends there", href()));
            break;
        }
        let bytes = request.send(stores).await?;
        let Document::Items { items, whole: Some(page) } = document::parse(&bytes, request.url())? else {
            return Err(ImageryError::Document {
                href: href(),
                cause: "the search answers with something that is no item collection".into(),
                mend: "check that the catalog is a STAC API's root".into(),
            });
        };
        let mut new = 0;
        for item in &items {
            new += usize::from(gathering.item(item, request.url(), None));
        }
        received += new;
        total = number(&page, "numberMatched")
            .or_else(|| get(&page, "context").and_then(|context| number(context, "matched")))
            .or(total);
        let next = next_request(stores, &page, &request)?;
        // An empty page ends a search, whatever it links to; so does a page of which all was seen.
        if items.is_empty() || next.is_none() {
            break;
        }
        if new == 0 {
            gathering.warnings.push(format!("{}: the search repeats its pages; it ends at page {page_number}", href()));
            break;
        }
        if page_number >= max_pages && max_pages < MAX_PAGES {
            return Ok(());
        }
        if page_number >= max_pages || received > MAX_ITEMS {
            return Err(ImageryError::Document {
                href: href(),
                cause: format!("the search has more than {page_number} pages or {received} items"),
                mend: "name `collections`, a shorter window or fewer counties".into(),
            });
        }
        if let Some(next) = next {
            request = next;
        }
    }
    if let Some(total) = total.filter(|total| *total > received as f64) {
        gathering.warnings.push(format!(
            "{}: the search promises {total} items and gives {received}",
            address::label(request.url().as_str())
        ));
    }
    Ok(())
}
