//! Who may see the pages: the holders of a token that may see surveys. Browsers send it as the password of HTTP Basic
//! authentication, programs as a bearer token.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coordinator::auth::Tokens;
use tonic::Code;

/// The method of the protocol that says the same as a page.
const METHOD: &str = "/groundbreak.v1.SurveyService/GetSurvey";

/// Lets a request pass, or says what it lacks.
pub async fn check(State(tokens): State<Option<Tokens>>, request: Request, next: Next) -> Response {
    let refused = tokens.and_then(|tokens| tokens.check(METHOD, bearer(request.headers()).as_deref()).err());
    match refused {
        None => next.run(request).await,
        Some(status) if status.code() == Code::PermissionDenied => {
            (StatusCode::FORBIDDEN, format!("{}\n", status.message())).into_response()
        }
        Some(_) => {
            let ask = HeaderValue::from_static("Basic realm=\"Groundbreak\", charset=\"UTF-8\"");
            let words =
                "This page needs a token of the role viewer or operator: any user name, the token as password.\n";
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, ask)], words).into_response()
        }
    }
}

/// The token of a request as the header of a call.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(format!("Bearer {}", rest.trim()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (_, token) = pair.split_once(':')?;
    Some(format!("Bearer {token}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        bearer(&headers)
    }

    #[test]
    fn the_password_is_the_token_whatever_the_user_name() {
        // RFC 7617, section 2: `Aladdin` and `open sesame`.
        assert_eq!(of("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").as_deref(), Some("Bearer open sesame"));
        assert_eq!(of("bearer abc").as_deref(), Some("Bearer abc"));
        for nothing in ["Basic", "Basic !", "Basic QWxhZGRpbg==", "Digest abc"] {
            assert_eq!(of(nothing), None, "{nothing}");
        }
    }
}
