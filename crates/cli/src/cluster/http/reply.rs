//! Answers with the headers that every page has: a browser loads nothing but what this port serves, and runs no script
//! but ours.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use coordinator::CoordinatorError;

/// Scripts and style sheets come from this port alone. Style attributes, which hold only numbers of ours, are allowed.
pub const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; \
     img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// For what is not a page: whatever it holds, nothing of it runs.
pub const FILE_POLICY: &str = "default-src 'none'; sandbox; frame-ancestors 'none'";

/// How long a browser may keep an answer.
#[derive(Clone, Copy, Debug)]
pub enum Keep {
    /// Not at all: it is another soon.
    No,
    /// An hour.
    Hour,
}

/// An answer with a body.
pub fn with(kind: &'static str, policy: &str, keep: Keep, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    let keep = match keep {
        Keep::No => "no-store",
        Keep::Hour => "private, max-age=3600",
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(policy) = HeaderValue::from_str(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// A page.
pub fn html(body: String) -> Response {
    with("text/html; charset=utf-8", PAGE_POLICY, Keep::No, body)
}

/// A JSON document.
pub fn json(document: &serde_json::Value) -> Response {
    with("application/json", FILE_POLICY, Keep::No, format!("{document}\n"))
}

/// Why there is no answer, in words.
pub struct Refusal(StatusCode, String);

impl Refusal {
    /// There is no such thing.
    pub fn missing(what: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, what.into())
    }

    /// It cannot be shown here.
    pub fn too_large(what: impl Into<String>) -> Self {
        Self(StatusCode::PAYLOAD_TOO_LARGE, what.into())
    }

    /// It cannot be read.
    pub fn unreadable(cause: &impl std::fmt::Display) -> Self {
        Self(StatusCode::BAD_GATEWAY, cause.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = with("text/plain; charset=utf-8", FILE_POLICY, Keep::No, format!("{}\n", self.1));
        *response.status_mut() = self.0;
        response
    }
}

impl From<CoordinatorError> for Refusal {
    fn from(error: CoordinatorError) -> Self {
        match error {
            CoordinatorError::UnknownSurvey(_) => Self(StatusCode::NOT_FOUND, error.to_string()),
            _ => Self(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        }
    }
}

impl From<report::ReportError> for Refusal {
    fn from(error: report::ReportError) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}
