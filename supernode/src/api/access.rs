//! Who may do what over HTTP: who has the token, the origins whose pages may ask, and bounds.
//!
//! Whoever reaches the port may read bare namespaces. Writes and SQL need the token. A page of an origin that is not
//! listed can neither read answers nor write: browsers say where a request comes from, programs do not.

use std::{path::PathBuf, time::Duration};

use axum::http::{HeaderMap, Uri, header};
use clap::Args;

use super::token::{TOKEN_BYTES_MAX, TOKEN_BYTES_MIN, Token};
use crate::files::FileError;

/// Settings of the HTTP interface.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// What writes and SQL need; `None`: nobody may, unless it is [`Access::open`].
    pub token: Option<Token>,
    /// Everybody may do everything.
    pub open: bool,
    /// Origins of pages that may use it beside those that this supernode serves, such as `https://shop.example.org`;
    /// `*` is all. If there are any, pages of others may not join by WebSocket either.
    pub origins: Vec<String>,
    /// Bounds.
    pub limits: ApiLimits,
}

/// Bounds of the HTTP interface.
#[derive(Clone, Debug)]
pub struct ApiLimits {
    /// Requests that are carried out at once; one more is answered 429.
    pub requests_max: usize,
    /// For the operations on keys that a request comes to.
    pub timeout: Duration,
    /// For a request's content to arrive.
    pub content_timeout: Duration,
    /// Requests with statements that are carried out at once, or whose results are not read yet; one more is answered 429.
    pub sql_max: usize,
    /// A request with statements and parameters.
    pub sql_bytes_max: usize,
    /// Live queries at once; one more is answered 429.
    pub live_max: usize,
    /// For the statements of a request; a request may say less.
    pub sql_timeout: Duration,
    /// Who takes nothing of a large result for so long is cut.
    pub stall_timeout: Duration,
}

impl Default for ApiLimits {
    fn default() -> ApiLimits {
        ApiLimits {
            requests_max: 256,
            timeout: Duration::from_secs(10),
            content_timeout: Duration::from_secs(10),
            // What the engine runs of its own at once.
            sql_max: 16,
            sql_bytes_max: 1 << 20,
            live_max: 64,
            sql_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(30),
        }
    }
}

/// What of [`Access`] cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// Too short, too long, or not plain.
    #[error("a token is {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} visible ASCII characters")]
    Token,
    /// The file of the token does not read.
    #[error("{0}")]
    TokenFile(#[from] FileError),
    /// Two ways to say who may.
    #[error("--open and a token contradict each other: leave one of them out")]
    OpenWithToken,
    /// No origin of a page.
    #[error("{0:?} is not the origin of a page: it should look like https://shop.example.org, without a path, or be *")]
    Origin(String),
}

impl AccessError {
    /// The flag that it is about, without its dashes.
    pub fn key(&self) -> &'static str {
        match self {
            AccessError::Token | AccessError::TokenFile(_) => "token-file",
            AccessError::OpenWithToken => "open",
            AccessError::Origin(_) => "origin",
        }
    }
}

/// Why a request may not do what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// Nobody may: no token was configured.
    Unconfigured,
    /// It has none.
    Missing,
    /// It is another one.
    Wrong,
}

impl Access {
    /// Refuses what cannot be meant.
    pub fn check(&self) -> Result<(), AccessError> {
        if self.open && self.token.is_some() {
            return Err(AccessError::OpenWithToken);
        }
        let wrong = self.origins.iter().find(|origin| *origin != "*" && !is_origin(origin));
        wrong.map_or(Ok(()), |wrong| Err(AccessError::Origin(wrong.clone())))
    }

    /// Whether a request has what writes and SQL need.
    pub(super) fn admits(&self, headers: &HeaderMap) -> Result<(), Denied> {
        if self.open {
            return Ok(());
        }
        let token = self.token.as_ref().ok_or(Denied::Unconfigured)?;
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (scheme, given) = given.and_then(|given| given.split_once(' ')).ok_or(Denied::Missing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Denied::Missing);
        }
        if token.is(given.trim()) { Ok(()) } else { Err(Denied::Wrong) }
    }

    /// Whether pages of an origin were listed.
    pub(super) fn lists(&self, origin: &str) -> bool {
        self.origins.iter().any(|listed| listed == "*" || listed.eq_ignore_ascii_case(origin))
    }
}

fn is_origin(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let host = uri.host().is_some_and(|host| !host.is_empty());
    // A URI without a path reads as one with `/`.
    host && matches!(uri.scheme_str(), Some("http" | "https")) && uri.path() == "/" && !text.ends_with('/')
}

/// The flags for it.
#[derive(Clone, Debug, Default, Args)]
pub struct AccessArgs {
    /// The file with the token that writes and SQL over HTTP need; PONTOON_TOKEN is the token itself
    #[arg(long, env = "PONTOON_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Let everybody who reaches the port write and ask SQL over HTTP
    #[arg(long, env = "PONTOON_OPEN")]
    pub open: bool,
    /// An origin whose pages may use the HTTP interface, and whose pages alone may join, as https://shop.example.org; may be given several times (in the
    /// environment: with commas)
    #[arg(long = "origin", env = "PONTOON_ORIGINS", value_name = "ORIGIN", value_delimiter = ',')]
    pub origins: Vec<String>,
}

impl AccessArgs {
    /// The settings that they, and `PONTOON_TOKEN`, mean.
    pub fn settings(&self) -> Result<Access, AccessError> {
        // No flag: other users of the machine see a program's arguments.
        let told = std::env::var("PONTOON_TOKEN").ok().filter(|token| !token.is_empty());
        let token = match (&self.token_file, told) {
            (Some(file), _) => Some(Token::of_file(file)?),
            (None, told) => told.as_deref().map(Token::new).transpose()?,
        };
        let access = Access {
            token,
            open: self.open,
            origins: self.origins.iter().filter(|origin| !origin.is_empty()).cloned().collect(),
            limits: ApiLimits::default(),
        };
        access.check()?;
        Ok(access)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const SECRET: &str = "correct-horse-battery";

    fn with(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(authorization).unwrap())])
    }

    #[test]
    fn a_token_opens_and_nothing_else_does() {
        let access = Access { token: Some(Token::new(SECRET).unwrap()), ..Access::default() };
        assert_eq!(access.admits(&with(&format!("Bearer {SECRET}"))), Ok(()));
        assert_eq!(access.admits(&with(&format!("bearer  {SECRET}"))), Ok(()));
        for wrong in ["Bearer x", "Bearer ", &format!("Bearer {SECRET}x"), &format!("Bearer {}", &SECRET[1..])] {
            assert_eq!(access.admits(&with(wrong)), Err(Denied::Wrong), "{wrong}");
        }
        for missing in [HeaderMap::new(), with(SECRET), with(&format!("Basic {SECRET}"))] {
            assert_eq!(access.admits(&missing), Err(Denied::Missing));
        }
        let shut = Access::default();
        assert_eq!(shut.admits(&with("Bearer ")), Err(Denied::Unconfigured));
        assert_eq!(Access { open: true, ..shut }.admits(&HeaderMap::new()), Ok(()));
    }

    #[test]
    fn a_token_is_never_printed() {
        let access = Access { token: Some(Token::new(SECRET).unwrap()), ..Access::default() };
        assert!(!format!("{access:?}").contains(SECRET));
    }

    #[test]
    fn what_cannot_be_meant() {
        for wrong in ["", "short", "with a space in it", "ümläute-ümläute-ümläute"] {
            assert!(matches!(Token::new(wrong), Err(AccessError::Token)), "{wrong}");
        }
        let listed = |origin: &str| Access { origins: vec![origin.to_owned()], ..Access::default() };
        for right in ["*", "https://shop.example.org", "http://localhost:5173"] {
            assert_eq!(listed(right).check(), Ok(()));
        }
        for wrong in ["shop.example.org", "https://shop.example.org/", "https://a/b", "ftp://a", "null"] {
            assert!(listed(wrong).check().is_err(), "{wrong}");
        }
        let both = Access { token: Token::new(SECRET).ok(), open: true, ..Access::default() };
        assert_eq!(both.check(), Err(AccessError::OpenWithToken));
    }

    #[test]
    fn listed_origins() {
        let access = Access { origins: vec!["https://shop.example.org".to_owned()], ..Access::default() };
        assert!(access.lists("https://shop.example.org") && access.lists("https://SHOP.example.org"));
        assert!(!access.lists("https://shop.example.org.evil.net") && !access.lists("null"));
    }
}
