//! What kind of document a catalog is: told by its bytes, not by its name.

use serde_json::Value;
use url::Url;

use super::json::{get, links, list, text};
use crate::error::ImageryError;
use crate::store::address::label;

/// A document with scenes, or with the way to them.
#[derive(Debug)]
pub(super) enum Document {
    /// Items, and the whole collection that they stand in (its `next` link leads to the next page).
    Items { items: Vec<Value>, whole: Option<Value> },
    /// A catalog or collection of files.
    Catalog(Value),
    /// The landing page, or a collection, of an API.
    Api(Value),
    /// A table of items (stac-geoparquet).
    Table,
}

/// Items that one document may hold.
const MAX_ITEMS: usize = 1_000_000;

/// Tells what a document is.
///
/// # Errors
/// [`ImageryError::Document`] for what is neither JSON nor Parquet, and for JSON that holds no scenes.
pub(super) fn parse(bytes: &[u8], url: &Url) -> Result<Document, ImageryError> {
    let refuse =
        |cause: String, mend: &str| ImageryError::Document { href: label(url.as_str()), cause, mend: mend.to_owned() };
    if bytes.starts_with(b"PAR1") {
        return Ok(Document::Table);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let value: Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(error) => match lines(bytes) {
            Some(items) => return Ok(Document::Items { items, whole: None }),
            None => {
                return Err(refuse(
                    format!("this is no STAC document ({error})"),
                    "give a STAC API, catalog, collection, item, item collection or stac-geoparquet file",
                ));
            }
        },
    };
    let version = text(&value, "stac_version").map(str::to_owned);
    let has_links = get(&value, "links").is_some_and(Value::is_array);
    match (&value, text(&value, "type")) {
        (Value::Array(_), _) => match value {
            Value::Array(items) if items.len() <= MAX_ITEMS => Ok(Document::Items { items, whole: None }),
            _ => Err(refuse(format!("it has more than {MAX_ITEMS} items"), "split it")),
        },
        (_, Some("FeatureCollection")) => {
            let mut value = value;
            match value.get_mut("features").map(Value::take) {
                Some(Value::Array(items)) if items.len() <= MAX_ITEMS => {
                    Ok(Document::Items { items, whole: Some(value) })
                }
                Some(Value::Array(_)) => Err(refuse(format!("it has more than {MAX_ITEMS} items"), "split it")),
                _ => Err(refuse("an item collection without `features`".into(), "give a STAC item collection")),
            }
        }
        (_, Some("Feature")) => Ok(Document::Items { items: vec![value], whole: None }),
        (_, kind) if has_links && version.is_some() => {
            if let Some(version) = version.filter(|version| !version.starts_with("1.")) {
                return Err(refuse(format!("it is of STAC {version}"), "migrate it to STAC 1.0 or 1.1"));
            }
            if !matches!(kind, None | Some("Catalog" | "Collection")) {
                return Err(refuse(format!("a document of type {}", kind.unwrap_or_default()), "give a STAC catalog"));
            }
            let served = matches!(url.scheme(), "http" | "https");
            let searches = links(&value).any(|link| link.rel == "search")
                || list(&value, "conformsTo")
                    .iter()
                    .any(|class| class.as_str().is_some_and(|class| class.contains("item-search")));
            let serves_items = kind == Some("Collection") && links(&value).any(|link| link.rel == "items");
            if served && (searches || serves_items) { Ok(Document::Api(value)) } else { Ok(Document::Catalog(value)) }
        }
        (Value::Object(object), _) if object.contains_key("collections") => Err(refuse(
            "it is an API's list of collections".into(),
            "give the API's root (its landing page) and name `collections`",
        )),
        _ => Err(refuse(
            "it is JSON and no STAC document".into(),
            "give a STAC API, catalog, collection, item, item collection or stac-geoparquet file",
        )),
    }
}

/// Newline-delimited JSON: an object a line.
fn lines(bytes: &[u8]) -> Option<Vec<Value>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let lines = text.lines().map(|line| line.trim_matches(['\u{1e}', ' ', '\t'])).filter(|line| !line.is_empty());
    let items: Option<Vec<Value>> = lines
        .take(MAX_ITEMS + 1)
        .map(|line| serde_json::from_str::<Value>(line).ok().filter(Value::is_object))
        .collect();
    items.filter(|items| !items.is_empty() && items.len() <= MAX_ITEMS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(bytes: &[u8], url: &str) -> Result<Document, ImageryError> {
        parse(bytes, &Url::parse(url).unwrap())
    }

    #[test]
    fn the_same_collection_is_an_api_on_a_server_and_a_catalog_in_a_folder() {
        let text = br#"{"type":"Collection","stac_version":"1.0.0","links":[{"rel":"items","href":"x"}]}"#;
        assert!(matches!(kind(text, "https://h/c"), Ok(Document::Api(_))));
        assert!(matches!(kind(text, "file:///c.json"), Ok(Document::Catalog(_))));
    }

    #[test]
    fn deep_json_and_what_is_no_json_are_refused_without_a_crash() {
        let deep = "[".repeat(1_000_000);
        let error = kind(deep.as_bytes(), "file:///deep.json").unwrap_err().to_string();
        assert!(error.contains("/deep.json") && error.contains("STAC"), "{error}");
        assert!(kind(b"\x00\x01", "file:///x").is_err());
        assert!(kind(b"", "file:///x").is_err());
        assert!(kind(b"{\"a\":1}", "file:///x").is_err());
    }

    #[test]
    fn a_line_an_item_is_read_as_items() {
        let text = b"{\"type\":\"Feature\",\"id\":\"a\"}\n\n{\"type\":\"Feature\",\"id\":\"b\"}\n";
        assert!(matches!(kind(text, "file:///x"), Ok(Document::Items { items, .. }) if items.len() == 2));
    }
}
