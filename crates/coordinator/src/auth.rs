//! Who may call what: bearer tokens with roles, checked before a call reaches a service.
//!
//! A token file has one token per line: its role, the token, and a name for the log. Tokens are kept as digests and
//! compared in constant time; none is ever logged.
//!
//! ```text
//! # role    token                               name
//! operator  6f1c2a…                             ci
//! worker    90be17…                             fleet
//! viewer    c55d03…                             dashboard
//! ```

use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::Either;
use http::{Request, Response};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tonic::Status;
use tower::{Layer, Service};
use tracing::warn;

use crate::quota::Quotas;

/// Shortest token: less can be guessed.
const MIN_TOKEN: usize = 16;
/// Most tokens of a file.
const MAX_TOKENS: usize = 10_000;

/// What the holder of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// See surveys and workers.
    Viewer,
    /// Ask for jobs and report them.
    Worker,
    /// Everything but work: submit, cancel, drain, see.
    Operator,
}

impl Role {
    const ALL: [Self; 3] = [Self::Viewer, Self::Worker, Self::Operator];

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// As a token file says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Worker => "worker",
            Self::Operator => "operator",
        }
    }
}

/// The roles that may call a method, by its path; empty where nobody may, `None` where everybody may.
fn callers(path: &str) -> Option<&'static [Role]> {
    const SEE: &[Role] = &[Role::Viewer, Role::Operator];
    match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
        Some(("groundbreak.v1.WorkerService", _)) => Some(&[Role::Worker]),
        Some(("groundbreak.v1.SurveyService", method)) => Some(match method {
            "GetSurvey" | "ListSurveys" | "WatchSurvey" | "ListWorkers" => SEE,
            // What a later version adds is not for everybody until somebody says so.
            _ => &[Role::Operator],
        }),
        Some(("externalscaler.ExternalScaler" | "grpc.health.v1.Health", _)) => None,
        Some(("grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection", _)) => Some(SEE),
        _ => Some(&[]),
    }
}

/// Why a token file is refused. No message shows a token.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("token file, line {line}: {cause}; a line is `operator|worker|viewer TOKEN [NAME]`")]
pub struct TokenError {
    /// Its line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub cause: String,
}

/// The tokens that are valid.
#[derive(Clone, Default)]
pub struct Tokens(Arc<Vec<Entry>>);

struct Entry {
    digest: [u8; 32],
    role: Role,
    name: String,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|entry| (entry.role, &entry.name))).finish()
    }
}

impl Tokens {
    /// Reads a token file.
    ///
    /// # Errors
    /// Names the line.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let mut entries: Vec<Entry> = Vec::new();
        for (line, content) in (1..).zip(text.lines()) {
            let mut words = content.split_whitespace();
            let refuse = |cause: String| Err(TokenError { line, cause });
            let Some(role) = words.next().filter(|word| !word.starts_with('#')) else { continue };
            let Some(role) = Role::of(role) else { return refuse(format!("`{role}` is no role")) };
            let Some(token) = words.next() else { return refuse("there is no token".into()) };
            if token.len() < MIN_TOKEN {
                return refuse(format!("the token has fewer than {MIN_TOKEN} characters"));
            }
            let digest = digest(token);
            if entries.iter().any(|entry| entry.digest == digest) {
                return refuse("the token was given before".into());
            }
            let name = words.next().map_or_else(|| format!("{}-{line}", role.name()), str::to_owned);
            entries.push(Entry { digest, role, name });
            if entries.len() > MAX_TOKENS {
                return refuse(format!("more than {MAX_TOKENS} tokens"));
            }
        }
        if entries.is_empty() {
            return Err(TokenError { line: 0, cause: "there is no token in it".into() });
        }
        Ok(Self(Arc::new(entries)))
    }

    /// The role and name of a token. Takes the same time whichever it is.
    fn holder(&self, token: &str) -> Option<(Role, &str)> {
        let presented = digest(token);
        let mut found = u32::MAX;
        for (index, entry) in (0_u32..).zip(self.0.iter()) {
            let is_same: Choice = entry.digest.ct_eq(&presented);
            found.conditional_assign(&index, is_same);
        }
        let entry = self.0.get(usize::try_from(found).ok()?)?;
        Some((entry.role, &entry.name))
    }

    /// Whether the bearer of `authorization` (a header's value) may call the method at `path`.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` without a valid token, `PERMISSION_DENIED` with another role's.
    pub fn check(&self, path: &str, authorization: Option<&str>) -> Result<(), Status> {
        self.permit(path, authorization.is_some(), self.bearer(authorization))
    }

    /// The role and name of the token in an `authorization` header.
    fn bearer(&self, authorization: Option<&str>) -> Option<(Role, &str)> {
        self.holder(authorization?.strip_prefix("Bearer ")?.trim())
    }

    fn permit(&self, path: &str, is_token_shown: bool, holder: Option<(Role, &str)>) -> Result<(), Status> {
        let Some(callers) = callers(path) else { return Ok(()) };
        let Some((role, name)) = holder else {
            return Err(Status::unauthenticated(if is_token_shown {
                "the token is not one of this coordinator's (--token-file)"
            } else {
                "this call needs a token (--token-file)"
            }));
        };
        if callers.contains(&role) {
            return Ok(());
        }
        let needed = callers.iter().map(|role| role.name()).collect::<Vec<_>>().join("` or `");
        warn!(caller = name, role = role.name(), path, "a call was refused: the token has another role");
        Err(Status::permission_denied(format!(
            "the token `{name}` has the role `{}` and this call needs `{needed}`",
            role.name()
        )))
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Refuses calls without the right token, and those of callers that call too often. With no tokens configured whoever
/// calls may do everything, with no quotas as often as they like.
#[derive(Clone, Debug)]
pub struct Gate {
    tokens: Option<Tokens>,
    quotas: Option<Quotas>,
}

impl Gate {
    /// A gate for `tokens`; `None` is an open one.
    #[must_use]
    pub fn new(tokens: Option<Tokens>) -> Self {
        Self { tokens, quotas: None }
    }

    /// The same gate, for callers that keep to their quotas.
    #[must_use]
    pub fn with_quotas(self, quotas: Option<Quotas>) -> Self {
        Self { quotas, ..self }
    }

    fn check<B>(&self, request: &Request<B>) -> Result<(), Status> {
        let authorization = request.headers().get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let holder = self.tokens.as_ref().and_then(|tokens| tokens.bearer(authorization));
        // Before anything is refused for another reason: guessing tokens is calling, too.
        if let Some(quotas) = &self.quotas {
            quotas.count(request.extensions(), holder.map(|(_, name)| name))?;
        }
        match &self.tokens {
            Some(tokens) => tokens.permit(request.uri().path(), authorization.is_some(), holder),
            None => Ok(()),
        }
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { gate: self.clone(), inner }
    }
}

/// A service behind a [`Gate`].
#[derive(Clone, Debug)]
pub struct Gated<S> {
    gate: Gate,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Gated<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response<R>, S::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.gate.check(&request) {
            Ok(()) => Either::Right(self.inner.call(request)),
            Err(status) => Either::Left(ready(Ok(status.into_http()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use tonic::Code;

    const FILE: &str = "# three\noperator operator-token-0001 ci\n\nworker   worker-token-000002\nviewer viewer-token-000003 wall # a screen\n";

    fn code(path: &str, header: Option<&str>) -> Option<Code> {
        Tokens::parse(FILE).unwrap().check(path, header).err().map(|status| status.code())
    }

    /// Every method that the protocol has, from its own description.
    fn methods() -> Vec<String> {
        let set = prost_types::FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
        let services = set.file.iter().flat_map(|file| file.service.iter().map(|service| (file.package(), service)));
        services
            .flat_map(|(package, service)| {
                service.method.iter().map(move |method| format!("/{package}.{}/{}", service.name(), method.name()))
            })
            .collect()
    }

    #[test]
    fn each_role_calls_its_methods_and_no_other() {
        let roles =
            [("operator", "operator-token-0001"), ("worker", "worker-token-000002"), ("viewer", "viewer-token-000003")];
        let mut allowed: Vec<(String, Vec<&str>)> = Vec::new();
        for path in methods() {
            let may = roles.iter().filter(|(_, token)| code(&path, Some(&format!("Bearer {token}"))).is_none());
            allowed.push((path.rsplit('/').next().unwrap().to_owned(), may.map(|(role, _)| *role).collect()));
        }
        let of = |method: &str| allowed.iter().find(|(name, _)| name == method).unwrap().1.clone();
        assert_eq!(of("Poll"), ["worker"]);
        assert_eq!(of("SubmitSurvey"), ["operator"]);
        assert_eq!(of("CancelSurvey"), ["operator"]);
        for seen in ["GetSurvey", "ListSurveys", "WatchSurvey"] {
            assert_eq!(of(seen), ["operator", "viewer"], "{seen}");
        }
        assert!(allowed.iter().all(|(_, may)| !may.is_empty()), "{allowed:?}");
    }

    #[test]
    fn without_a_valid_token_nothing_passes_but_health() {
        for path in methods() {
            for header in [
                None,
                Some("Bearer"),
                Some("Bearer "),
                Some("Basic operator-token-0001"),
                Some("Bearer operator-token-0002"),
            ] {
                assert_eq!(code(&path, header), Some(Code::Unauthenticated), "{path} {header:?}");
            }
        }
        assert_eq!(code("/grpc.health.v1.Health/Check", None), None);
        assert_eq!(code("/some.other/Thing", Some("Bearer operator-token-0001")), Some(Code::PermissionDenied));
    }

    #[test]
    fn a_token_file_with_a_mistake_is_refused_by_line_and_without_the_token() {
        for (text, line) in [
            ("operator short", 1),
            ("# x\nadmin operator-token-0001", 2),
            ("viewer", 1),
            ("worker worker-token-000002\nviewer worker-token-000002", 2),
            ("# nothing", 0),
        ] {
            let error = Tokens::parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text}");
            assert!(!error.to_string().contains("token-0"), "{error}");
        }
    }

    #[test]
    fn no_token_shows_in_a_debug_line() {
        let shown = format!("{:?}", Gate::new(Some(Tokens::parse(FILE).unwrap())));
        assert!(shown.contains("wall") && !shown.contains("token-0"), "{shown}");
    }
}
