//! What a store's error means.

use crate::error::ImageryError;
use crate::store::address::{label, scrub};

/// Translates a store's error about `href` that was met while reading.
#[must_use]
pub fn read_failure(href: &str, error: &object_store::Error) -> ImageryError {
    let href = label(href);
    match error {
        object_store::Error::NotFound { .. } => ImageryError::NotFound { href },
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            ImageryError::Denied { href, cause: words(error) }
        }
        object_store::Error::Precondition { .. } | object_store::Error::NotModified { .. } => {
            ImageryError::Changed { href, cause: "its ETag is another".into() }
        }
        object_store::Error::InvalidPath { .. } => {
            ImageryError::Corrupt { href, cause: format!("this is no valid object key: {}", words(error)) }
        }
        object_store::Error::NotSupported { .. } | object_store::Error::NotImplemented { .. } => {
            ImageryError::Unsupported { href, what: words(error), mend: "use another kind of store".into() }
        }
        other => generic(href, other),
    }
}

fn generic(href: String, error: &object_store::Error) -> ImageryError {
    let words = words(error);
    if let Some(io) = io_error(error) {
        return match io.kind() {
            std::io::ErrorKind::PermissionDenied => ImageryError::Denied { href, cause: words },
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => ImageryError::NotFound { href },
            std::io::ErrorKind::IsADirectory => {
                ImageryError::Corrupt { href, cause: "this is a folder, not a file".into() }
            }
            _ => ImageryError::Transient { href, cause: words },
        };
    }
    let says = |text: &str| words.contains(text);
    // A status with the words before it: a port, a key or a digest may hold the same digits.
    let status = |code: u16| words.contains(&format!("status code: {code} "));
    if status(416) || says("Requested range was invalid") || says("Wanted range starting at") {
        ImageryError::Corrupt { href, cause: "the file ends before the bytes that are asked for".into() }
    } else if says("non-partial response") || says("NotPartial") {
        ImageryError::Unsupported {
            href,
            what: "reading parts of a file from this server, which ignores Range requests,".into(),
            mend: "copy the file to a store that answers them, or to a folder".into(),
        }
    } else if says("169.254.169.254") || says("metadata.google.internal") {
        ImageryError::Denied { href, cause: "no credentials were found in the environment".into() }
    } else if says("outside the allowed prefixes") {
        ImageryError::Denied { href, cause: "the server redirects to another place".into() }
    } else if [400, 301, 302, 307, 308, 405, 410].into_iter().any(status) {
        ImageryError::Denied { href, cause: words }
    } else {
        ImageryError::Transient { href, cause: words }
    }
}

/// Translates a store's error about `href` that was met while writing: what no retry mends is [`ImageryError::Output`].
#[must_use]
pub fn write_failure(href: &str, error: &object_store::Error) -> ImageryError {
    match error {
        object_store::Error::Generic { .. } if io_error(error).is_none() => match generic(label(href), error) {
            transient @ ImageryError::Transient { .. } => transient,
            _ => ImageryError::Output { href: label(href), cause: words(error) },
        },
        _ => ImageryError::Output { href: label(href), cause: words(error) },
    }
}

/// The operating system's error beneath a store's, if there is one and it is not about the network.
fn io_error(error: &object_store::Error) -> Option<&std::io::Error> {
    let mut source: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    let mut over_network = false;
    while let Some(error) = source {
        over_network |= error.is::<object_store::client::HttpError>();
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return (!over_network).then_some(io);
        }
        source = error.source();
    }
    None
}

/// The words that say most: the operating system's where there are some, else the store's, scrubbed.
fn words(error: &object_store::Error) -> String {
    match io_error(error) {
        Some(io) => io.to_string(),
        None => {
            let mut text = error.to_string();
            // The innermost cause of a network error ("connection refused") is not part of the outer text.
            let mut source = std::error::Error::source(error);
            let mut last = None;
            while let Some(inner) = source {
                last = Some(inner.to_string());
                source = inner.source();
            }
            if let Some(last) = last.filter(|last| !text.contains(last.as_str())) {
                text = format!("{text}: {last}");
            }
            scrub(&text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &str) -> ImageryError {
        read_failure("s3://bucket/key", &object_store::Error::Generic { store: "S3", source: words.into() })
    }

    #[test]
    fn the_digits_of_a_port_or_a_digest_are_no_status() {
        for words in [
            "Error performing GET http://127.0.0.1:41632/survey/a.pb - HTTP error: error sending request",
            "Error performing PUT http://store/findings/3.9416f301 302 .pb in 301 ms - HTTP error: connection reset",
            "Error performing GET http://store:4100 /x - Server returned non-2xx status code: 503 Slow Down: 410 of 416",
        ] {
            assert!(matches!(of(words), ImageryError::Transient { .. }), "{words}: {:?}", of(words));
        }
        let said =
            |status: &str| of(&format!("Error performing GET x - Server returned non-2xx status code: {status}: "));
        assert!(matches!(said("416 Range Not Satisfiable"), ImageryError::Corrupt { .. }));
        for status in ["400 Bad Request", "301 Moved Permanently", "405 Method Not Allowed", "410 Gone"] {
            assert!(matches!(said(status), ImageryError::Denied { .. }), "{status}");
        }
    }
}
