//! Catalogs made of files: links are walked, each document once, within limits.

use std::collections::{BTreeSet, VecDeque};

use futures::StreamExt;
use serde_json::Value;
use url::Url;

use super::MAX_DOCUMENT;
use super::document::{self, Document};
use super::gather::Gathering;
use super::geoparquet;
use super::json::{links, text};
use crate::error::ImageryError;
use crate::store::{Stores, address};

/// Documents that a catalog may have.
const MAX_DOCUMENTS: usize = 200_000;
/// How deep catalogs may nest.
const MAX_DEPTH: usize = 32;
/// Documents that are fetched at the same time.
const AT_ONCE: usize = 16;

/// A document to fetch.
struct Step {
    url: Url,
    depth: usize,
    /// The collection that it is found under.
    collection: Option<String>,
}

/// Walks a catalog from its root.
///
/// # Errors
/// What a store says other than that a document is not there: a survey must not miss scenes because of a bad moment.
/// [`ImageryError::Document`] for a catalog beyond the limits.
pub(super) async fn walk(
    stores: &Stores,
    root: Value,
    url: &Url,
    gathering: &mut Gathering<'_>,
) -> Result<(), ImageryError> {
    let mut visited = BTreeSet::from([url.as_str().to_owned()]);
    let mut queue = VecDeque::new();
    follow(stores, &root, &Step { url: url.clone(), depth: 0, collection: None }, gathering, &mut visited, &mut queue)?;
    while !queue.is_empty() {
        let batch: Vec<Step> = queue.drain(..queue.len().min(AT_ONCE * 4)).collect();
        let mut fetched = futures::stream::iter(batch.into_iter().map(|step| async move {
            let bytes = stores.document(step.url.as_str(), MAX_DOCUMENT).await;
            (step, bytes)
        }))
        .buffered(AT_ONCE);
        while let Some((step, bytes)) = fetched.next().await {
            let bytes = match bytes {
                Ok(bytes) => bytes,
                Err(error @ ImageryError::Transient { .. }) => return Err(error),
                Err(error) => {
                    gathering.refuse(address::label(step.url.as_str()), error.to_string());
                    continue;
                }
            };
            match document::parse(&bytes, &step.url) {
                Ok(Document::Items { items, .. }) => {
                    for item in &items {
                        gathering.item(item, &step.url, step.collection.as_deref());
                    }
                }
                Ok(Document::Table) => match geoparquet::items(bytes, address::label(step.url.as_str())).await {
                    Ok(items) => {
                        for item in &items {
                            gathering.item(item, &step.url, step.collection.as_deref());
                        }
                    }
                    Err(error) => gathering.refuse(address::label(step.url.as_str()), error.to_string()),
                },
                Ok(Document::Catalog(catalog) | Document::Api(catalog)) => {
                    follow(stores, &catalog, &step, gathering, &mut visited, &mut queue)?;
                }
                Err(error) => gathering.refuse(address::label(step.url.as_str()), error.to_string()),
            }
        }
    }
    Ok(())
}

/// Puts the links of a catalog into the queue.
fn follow(
    stores: &Stores,
    catalog: &Value,
    step: &Step,
    gathering: &mut Gathering<'_>,
    visited: &mut BTreeSet<String>,
    queue: &mut VecDeque<Step>,
) -> Result<(), ImageryError> {
    let collection = match text(catalog, "type") {
        Some("Collection") => text(catalog, "id").map(str::to_owned),
        _ => None,
    };
    let too_large = |cause: String| ImageryError::Document {
        href: address::label(step.url.as_str()),
        cause,
        mend: "give the part of the catalog that is needed, or a stac-geoparquet file of it".into(),
    };
    for link in links(catalog).filter(|link| matches!(link.rel, "item" | "child" | "items")) {
        let url = match address::join(&step.url, link.href).and_then(|url| stores.check(url.as_str()).map(|()| url)) {
            Ok(url) => url,
            Err(error) => {
                gathering.refuse(
                    format!("link `{}` of {}", link.href, address::label(step.url.as_str())),
                    error.to_string(),
                );
                continue;
            }
        };
        // Cycles and doubled links lead to what was seen.
        if !visited.insert(url.as_str().to_owned()) {
            continue;
        }
        if visited.len() > MAX_DOCUMENTS {
            return Err(too_large(format!("the catalog has more than {MAX_DOCUMENTS} documents")));
        }
        if step.depth >= MAX_DEPTH {
            return Err(too_large(format!("the catalog nests more than {MAX_DEPTH} deep")));
        }
        let collection = collection.clone().or_else(|| step.collection.clone());
        queue.push_back(Step { url, depth: step.depth + 1, collection });
    }
    Ok(())
}
