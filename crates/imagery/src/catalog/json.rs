//! Reading of loosely typed JSON: a field that is absent, null or of another type is `None`.

use serde_json::Value;

/// A field that is there and not null.
pub(super) fn get<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.get(key).filter(|value| !value.is_null())
}

/// A text field that is not empty.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    get(value, key)?.as_str().map(str::trim).filter(|text| !text.is_empty())
}

/// A finite number.
pub(super) fn number(value: &Value, key: &str) -> Option<f64> {
    get(value, key)?.as_f64().filter(|number| number.is_finite())
}

/// A field that is an array; an empty one where it is not.
pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    get(value, key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The texts of an array, in lower case.
pub(super) fn lower_texts(value: &Value, key: &str) -> Vec<String> {
    list(value, key).iter().filter_map(|text| text.as_str().map(str::to_ascii_lowercase)).collect()
}

/// The finite numbers of an array; `None` where one of them is none.
pub(super) fn numbers(value: &Value, key: &str) -> Option<Vec<f64>> {
    let numbers: Option<Vec<f64>> =
        get(value, key)?.as_array()?.iter().map(|number| number.as_f64().filter(|number| number.is_finite())).collect();
    numbers.filter(|numbers| !numbers.is_empty())
}

/// A link of a STAC document.
#[derive(Clone, Debug)]
pub(super) struct Link<'a> {
    pub rel: &'a str,
    pub href: &'a str,
    pub whole: &'a Value,
}

/// The links of a document that have a relation and an address.
pub(super) fn links(document: &Value) -> impl Iterator<Item = Link<'_>> {
    list(document, "links")
        .iter()
        .filter_map(|link| Some(Link { rel: text(link, "rel")?, href: text(link, "href")?, whole: link }))
}
