//! Addresses: from what a person or a catalog wrote to absolute URLs, and back to words that may stand in an error.

use url::Url;

use crate::error::ImageryError;

/// URL schemes that a store exists for.
const SCHEMES: [&str; 11] = ["file", "s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss", "http", "https"];

/// What a URL without a store says.
fn unsupported(href: &str, what: impl Into<String>) -> ImageryError {
    ImageryError::Unsupported {
        href: label(href),
        what: what.into(),
        mend: "use a path, or a URL of file, s3, gs, az, https or http".into(),
    }
}

/// Whether `href` starts with a scheme (`s3:`, `https:`) rather than being a path.
fn scheme(href: &str) -> Option<&str> {
    let (scheme, rest) = href.split_once(':')?;
    // One letter is a drive, not a scheme.
    (scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        && rest.starts_with('/'))
    .then_some(scheme)
}

/// Parses an absolute URL of a scheme that a store exists for.
///
/// # Errors
/// [`ImageryError::Unsupported`] for another scheme, for a URL that is none and for one that holds a password.
pub fn parse(href: &str) -> Result<Url, ImageryError> {
    let mut url = Url::parse(href.trim()).map_err(|error| unsupported(href, format!("this URL ({error})")))?;
    if !SCHEMES.contains(&url.scheme()) && url.scheme() != "memory" {
        return Err(unsupported(href, format!("the URL scheme `{}`", url.scheme())));
    }
    if url.password().is_some() {
        return Err(ImageryError::Unsupported {
            href: label(href),
            what: "a password in a URL".into(),
            mend: "name the environment variables that hold the credentials in [[storage]]".into(),
        });
    }
    if url.scheme() != "file" && url.scheme() != "memory" && url.host_str().is_none_or(str::is_empty) {
        return Err(unsupported(href, "a URL without a bucket or host"));
    }
    url.set_fragment(None);
    Ok(url)
}

/// The URL of a folder, with a slash at its end.
///
/// # Errors
/// [`ImageryError::Unsupported`] as in [`parse`].
pub fn folder(folder: &str) -> Result<Url, ImageryError> {
    let mut url = match scheme(folder) {
        Some(_) => parse(folder)?,
        None => {
            let path = if folder.is_empty() { std::path::Path::new(".") } else { std::path::Path::new(folder) };
            local(path, folder)?
        }
    };
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// The `file:///` URL of a path; `..` and `.` are taken out, links are not followed.
fn local(path: &std::path::Path, written: &str) -> Result<Url, ImageryError> {
    let absolute = std::path::absolute(path).map_err(|error| unsupported(written, format!("this path ({error})")))?;
    let mut clean = std::path::PathBuf::new();
    for part in absolute.components() {
        match part {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            std::path::Component::CurDir => {}
            other => clean.push(other),
        }
    }
    Url::from_file_path(&clean).map_err(|()| unsupported(written, "this path"))
}

/// What a person wrote in a survey file, relative to the folder of that file. A path is taken literally: `100%.tif` is
/// the file of that name.
///
/// # Errors
/// [`ImageryError::Unsupported`] as in [`parse`].
pub fn resolve(base: &Url, href: &str) -> Result<Url, ImageryError> {
    if scheme(href).is_some() {
        return parse(href);
    }
    match base.to_file_path() {
        Ok(folder) if base.scheme() == "file" => local(&folder.join(href), href),
        _ => join(base, href),
    }
}

/// What a document says, relative to the document (RFC 3986). In a folder, `#` and `?` are characters of a file name.
///
/// # Errors
/// [`ImageryError::Unsupported`] as in [`parse`].
pub fn join(document: &Url, href: &str) -> Result<Url, ImageryError> {
    let href = href.trim();
    if scheme(href).is_some() {
        return parse(href);
    }
    let escaped;
    let relative = if document.scheme() == "file" && href.contains(['#', '?']) {
        escaped = href.replace('#', "%23").replace('?', "%3F");
        &escaped
    } else {
        href
    };
    let url = document.join(relative).map_err(|error| unsupported(href, format!("this link ({error})")))?;
    parse(url.as_str())
}

/// The URL of the folder that holds a document.
#[must_use]
pub fn parent(document: &Url) -> Url {
    let mut folder = document.clone();
    folder.set_query(None);
    if !folder.path().ends_with('/') {
        let path = folder.path().rsplit_once('/').map_or("/", |(parent, _)| parent);
        let path = format!("{path}/");
        folder.set_path(&path);
    }
    folder
}

/// Whether a URL lies under a prefix. Compares whole path segments, so `s3://a/b` does not hold `s3://a/bc`.
#[must_use]
pub fn lies_under(url: &Url, prefix: &Url) -> bool {
    if (url.scheme(), url.host_str(), url.port_or_known_default())
        != (prefix.scheme(), prefix.host_str(), prefix.port_or_known_default())
    {
        return false;
    }
    // Escaped slashes and dots could climb out of the prefix once they are decoded.
    let lower = url.path().to_ascii_lowercase();
    if lower.contains("%2f") || lower.contains("%2e%2e") || url.path().split('/').any(|part| part == "..") {
        return false;
    }
    let prefix = prefix.path().trim_end_matches('/');
    url.path().strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether an absolute URL leads beyond a network, and not into a folder or this process' memory.
#[must_use]
pub fn is_far(href: &str) -> bool {
    !["file:", "memory:"].iter().any(|scheme| href.starts_with(scheme))
}

/// How an address is named to people: a path for a file, and a URL without its query, which may hold a signature.
#[must_use]
pub fn label(href: &str) -> String {
    match Url::parse(href) {
        Ok(url) if url.scheme() == "file" => {
            url.to_file_path().map_or_else(|()| href.to_owned(), |path| path.display().to_string())
        }
        Ok(mut url) if url.has_host() => {
            let signed = url.query().is_some();
            url.set_query(None);
            url.set_fragment(None);
            // Only fails for URLs that cannot hold credentials.
            let _ = url.set_password(None);
            if signed { format!("{url}?…") } else { url.to_string() }
        }
        _ => href.to_owned(),
    }
}

/// A store's words without what may be secret or endless: queries of URLs and bodies of answers.
#[must_use]
pub fn scrub(words: &str) -> String {
    let mut clean: Vec<String> = Vec::new();
    for word in words.split_whitespace() {
        match word.find("://").and_then(|scheme| word[scheme..].find('?').map(|query| scheme + query)) {
            Some(query) => clean.push(format!("{}?…", &word[..query])),
            None => clean.push(word.to_owned()),
        }
    }
    let clean = clean.join(" ");
    // An XML body: its code says what there is to say.
    let clean = match (clean.find("<?xml").or_else(|| clean.find("<Error>")), between(&clean, "<Code>", "</Code>")) {
        (Some(body), Some(code)) => format!("{}{code}", &clean[..body]),
        (Some(body), None) => clean[..body].to_owned(),
        _ => clean,
    };
    match clean.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None => clean,
    }
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let rest = &text[text.find(open)? + open.len()..];
    rest.find(close).map(|end| &rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_survey_is_literal_and_relative_to_its_folder() {
        let base = folder("/data/survey").unwrap();
        assert_eq!(base.as_str(), "file:///data/survey/");
        assert_eq!(resolve(&base, "a b#1.tif").unwrap().as_str(), "file:///data/survey/a%20b%231.tif");
        assert_eq!(resolve(&base, "../x/./y.tif").unwrap().as_str(), "file:///data/x/y.tif");
        assert_eq!(resolve(&base, "/abs/100%.tif").unwrap().to_file_path().unwrap().to_str(), Some("/abs/100%.tif"));
        assert_eq!(resolve(&base, "s3://bucket/key").unwrap().as_str(), "s3://bucket/key");
        let bucket = folder("s3://bucket/surveys").unwrap();
        assert_eq!(resolve(&bucket, "scenes/c.json").unwrap().as_str(), "s3://bucket/surveys/scenes/c.json");
    }

    #[test]
    fn a_link_is_relative_to_its_document_and_cannot_leave_its_bucket() {
        let document = parse("s3://bucket/a/catalog.json").unwrap();
        assert_eq!(join(&document, "./b/item.json").unwrap().as_str(), "s3://bucket/a/b/item.json");
        assert_eq!(join(&document, "../../../../x.json").unwrap().as_str(), "s3://bucket/x.json");
        let document = parse("https://host.example/a/catalog.json?sig=1").unwrap();
        assert_eq!(join(&document, "/b.json").unwrap().as_str(), "https://host.example/b.json");
    }

    #[test]
    fn a_prefix_holds_whole_segments_only_and_no_escapes() {
        let prefix = parse("s3://bucket/a").unwrap();
        let under = |href: &str| lies_under(&parse(href).unwrap(), &prefix);
        assert!(under("s3://bucket/a/b") && under("s3://bucket/a"));
        assert!(!under("s3://bucket/ab") && !under("s3://other/a/b") && !under("https://bucket/a/b"));
        assert!(!under("s3://bucket/a/%2e%2E%2Fb") && !under("s3://bucket/a/..%2fb"));
    }

    #[test]
    fn an_error_names_no_signature_and_no_password() {
        assert_eq!(label("https://h.example/a.tif?sig=SECRET"), "https://h.example/a.tif?…");
        assert_eq!(label("file:///a%20b.tif"), "/a b.tif");
        let error = parse("https://user:SECRET@h.example/a").unwrap_err().to_string();
        assert!(!error.contains("SECRET"), "{error}");
        assert_eq!(
            scrub(
                "GET https://h.example/a?sig=SECRET in 3s: status 403: <?xml?><Error><Code>AccessDenied</Code><K>SECRET</K>"
            ),
            "GET https://h.example/a?… in 3s: status 403: AccessDenied"
        );
    }

    #[test]
    fn another_scheme_is_refused_by_name() {
        let error = parse("ftp://host/a").unwrap_err().to_string();
        assert!(error.contains("`ftp`") && error.contains("s3"), "{error}");
    }
}
