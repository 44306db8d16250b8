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
    if says("416") || says("Requested range was invalid") || says("Wanted range starting at") {
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
    } else if ["400 Bad", "301 ", "302 ", "307 ", "308 ", "405 ", "410 "].iter().any(|status| says(status)) {
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
