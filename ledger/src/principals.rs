//! Who may call the internal routes: principals with a token each, compared in constant time.

use http::{HeaderMap, header};
use serde::Deserialize;

use crate::config::{ConfigError, Secret};

/// Shortest token that is accepted, in bytes.
pub const TOKEN_BYTES_MIN: usize = 16;
/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// What a principal may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// Pulls emergency levers.
    PlatformEngineer,
    /// Looks after the service; pulls the levers that repair without closing anything.
    Sre,
}

/// Somebody who may call `/internal/admin`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// How the audit log calls them.
    pub name: String,
    /// What they may do.
    pub duty: Duty,
    /// Their bearer token.
    pub token: Secret,
}

impl Principal {
    /// Reads a JSON list of principals.
    ///
    /// # Errors
    /// What is no such list. The text, which holds secrets, is not repeated.
    pub fn list(json: &str) -> Result<Vec<Principal>, ConfigError> {
        serde_json::from_str(json).map_err(|error| ConfigError {
            field: "principals",
            reason: format!(
                "line {} column {}: want [{{\"name\": …, \"duty\": \"platform_engineer\" or \"sre\", \"token\": …}}]",
                error.line(),
                error.column()
            ),
        })
    }
}

/// Checks names and tokens; `job_token` is nobody's.
///
/// # Errors
/// The first principal who could be taken for another.
pub(crate) fn validate(principals: &[Principal], job_token: &Secret) -> Result<(), ConfigError> {
    let fail = |reason: String| {
        Err(ConfigError {
            field: "principals",
            reason,
        })
    };
    for (at, principal) in principals.iter().enumerate() {
        let name = &principal.name;
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return fail(format!("principal {at}: a name has 1 to 64 characters"));
        }
        if principal.token.0.len() < TOKEN_BYTES_MIN {
            return fail(format!("{name}: a token needs at least 16 characters"));
        }
        let others = &principals[..at];
        if others.iter().any(|other| other.name == *name) {
            return fail(format!("{name} is there twice"));
        }
        let tokens = others.iter().map(|other| &other.token);
        if tokens
            .chain([job_token])
            .any(|token| *token == principal.token)
        {
            return fail(format!("{name}: the token is somebody else's too"));
        }
    }
    Ok(())
}

/// The principal whose token the request bears. Each is compared, so that time tells nothing.
pub(crate) fn of<'p>(principals: &'p [Principal], headers: &HeaderMap) -> Option<&'p Principal> {
    let given = bearer(headers)?;
    let matching = principals
        .iter()
        .map(|principal| (same(given, principal.token.0.as_bytes()), principal));
    matching.fold(None, |found, (matches, principal)| match matches {
        true => Some(principal),
        false => found,
    })
}

/// Whether the request bears this token.
pub(crate) fn bears(headers: &HeaderMap, token: &Secret) -> bool {
    bearer(headers).is_some_and(|given| same(given, token.0.as_bytes()))
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?;
    value.as_bytes().strip_prefix(b"Bearer ")
}

/// Compares in a time that depends on the lengths alone.
fn same(given: &[u8], wanted: &[u8]) -> bool {
    let mut difference = u8::from(given.len() != wanted.len());
    for (at, byte) in wanted.iter().enumerate() {
        difference |= byte ^ given.get(at).copied().unwrap_or(0);
    }
    std::hint::black_box(difference) == 0
}
