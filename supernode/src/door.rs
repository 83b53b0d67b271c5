//! Who may become a link by WebSocket: peers with a join token, and pages of the origins that are listed.
//!
//! 1. a page says its origin: one that is neither listed nor this supernode's own is refused (403), if any are listed;
//! 2. where there are join tokens, the address must have one of them, as `/pontoon?token=...` (401).
//!
//! A browser can put nothing but an address into the handshake, hence the query. A token is written to no log, neither here
//! nor where it is dialled ([`without_query`], [`without_tokens`]).

use std::{
    borrow::Cow,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use axum::http::{HeaderMap, Uri, header};
use percent_encoding::percent_decode_str;
use subtle::{Choice, ConstantTimeEq as _};

use crate::{
    api::Api,
    files::{self, FileError, Watched},
    metrics::{self, Metrics},
    reload::Source,
};

/// The parameter of the address that is the token.
const GIVEN: &str = "token=";
const TOKEN_BYTES_MIN: usize = 16;
const TOKEN_BYTES_MAX: usize = 256;
/// Tokens of a file. All are compared with what is given.
const TOKENS_MAX: usize = 1_024;

/// What is wrong with a file of join tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// It does not read.
    #[error("{0}")]
    File(#[from] FileError),
    /// A line is no token.
    #[error(
        "{}:{line}: a join token is {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} of the characters A-Z a-z 0-9 - . _ ~",
        file.display()
    )]
    Token {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Nobody could join.
    #[error("{}: it holds no token", .0.display())]
    Empty(PathBuf),
    /// More than are compared.
    #[error("{}: it holds more than {TOKENS_MAX} tokens", .0.display())]
    Many(PathBuf),
}

/// The join tokens in force, and their file.
pub(crate) struct JoinTokens {
    file: PathBuf,
    watched: Watched,
    tokens: RwLock<Vec<String>>,
}

impl JoinTokens {
    /// Reads the file; `None` where none is set.
    pub(crate) fn load(file: Option<&Path>) -> Result<Option<Arc<JoinTokens>>, JoinError> {
        let Some(file) = file else { return Ok(None) };
        let watched = Watched::new(vec![file.to_owned()]);
        let tokens = RwLock::new(read(file)?);
        Ok(Some(Arc::new(JoinTokens { file: file.to_owned(), watched, tokens })))
    }

    /// Compares with every token, without telling by the time that it takes how much is right.
    fn have(&self, given: &[u8]) -> bool {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let one = |so_far: Choice, token: &String| so_far | token.as_bytes().ct_eq(given);
        tokens.iter().fold(Choice::from(0), one).into()
    }
}

impl fmt::Debug for JoinTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinTokens").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Source for JoinTokens {
    fn name(&self) -> &'static str {
        "join tokens"
    }

    fn changed(&self) -> bool {
        self.watched.changed()
    }

    fn reload(&self) -> Result<(), String> {
        let new = read(&self.file).map_err(|error| error.to_string())?;
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

/// One token a line; empty lines and those that begin with `#` are none.
fn read(file: &Path) -> Result<Vec<String>, JoinError> {
    let text = files::read_text(file)?;
    let mut tokens = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let token = line.trim();
        if token.is_empty() || token.starts_with('#') {
            continue;
        }
        let plain = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
        if !plain || !(TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token.len()) {
            return Err(JoinError::Token { file: file.to_owned(), line: index + 1 });
        }
        if tokens.len() == TOKENS_MAX {
            return Err(JoinError::Many(file.to_owned()));
        }
        tokens.push(token.to_owned());
    }
    if tokens.is_empty() { Err(JoinError::Empty(file.to_owned())) } else { Ok(tokens) }
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("pages of this origin may not join here")]
    Origin,
    #[error("joining needs a token: /pontoon?token=TOKEN")]
    NoToken,
    #[error("this join token is not known here")]
    WrongToken,
}

impl From<Refused> for metrics::Refused {
    fn from(refused: Refused) -> metrics::Refused {
        match refused {
            Refused::Origin => metrics::Refused::Origin,
            Refused::NoToken => metrics::Refused::NoJoinToken,
            Refused::WrongToken => metrics::Refused::WrongJoinToken,
        }
    }
}

/// The door of `/pontoon`.
#[derive(Debug)]
pub(crate) struct Door {
    tokens: Option<Arc<JoinTokens>>,
    metrics: Arc<Metrics>,
}

impl Door {
    pub(crate) fn new(tokens: Option<Arc<JoinTokens>>, metrics: Arc<Metrics>) -> Door {
        Door { tokens, metrics }
    }

    /// Whether a request for `/pontoon` may become a link; that it may not is counted, and logged once a second for each
    /// reason.
    pub(crate) fn admits(&self, api: &Api, address: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
        let admitted = match api.keeps_out(headers) {
            true => Err(Refused::Origin),
            false => self.admits_token(address),
        };
        if let Err(reason) = admitted
            && let Some(count) = self.metrics.refuse(reason.into())
        {
            let origin = headers.get(header::ORIGIN);
            tracing::warn!(%reason, ?origin, count, "a WebSocket was refused (the last one's origin)");
        }
        admitted
    }

    fn admits_token(&self, address: &Uri) -> Result<(), Refused> {
        let Some(tokens) = &self.tokens else { return Ok(()) };
        let pairs = address.query().unwrap_or_default().split('&');
        let mut given = pairs.filter_map(|pair| pair.strip_prefix(GIVEN));
        let given: Vec<u8> = percent_decode_str(given.next().ok_or(Refused::NoToken)?).collect();
        if tokens.have(&given) { Ok(()) } else { Err(Refused::WrongToken) }
    }
}

/// An address as it may be logged: its query may be a token.
pub(crate) fn without_query(address: &str) -> &str {
    address.split_once('?').map_or(address, |(address, _)| address)
}

/// A text in which addresses may stand, as it may be logged.
pub(crate) fn without_tokens(text: &str) -> Cow<'_, str> {
    let Some((before, mut rest)) = text.split_once(GIVEN) else { return Cow::Borrowed(text) };
    let mut shown = before.to_owned();
    loop {
        shown += GIVEN;
        shown += "..";
        rest = rest.trim_start_matches(|letter: char| !letter.is_whitespace() && !"&\"',".contains(letter));
        let Some((before, after)) = rest.split_once(GIVEN) else { break };
        shown += before;
        rest = after;
    }
    shown += rest;
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "first-token-of-all.~_";

    fn door(content: &str) -> Result<Door, JoinError> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tokens");
        std::fs::write(&file, content).unwrap();
        JoinTokens::load(Some(&file)).map(|tokens| Door::new(tokens, Arc::default()))
    }

    #[test]
    fn one_of_the_tokens_opens() {
        let door = door(&format!("# for the shop\n{TOKEN}\n\n  another-token-12345 \r\n")).unwrap();
        let ask = |address: &str| door.admits_token(&address.parse().unwrap());
        let encoded = TOKEN.replace('~', "%7E");
        for right in [TOKEN, &encoded, "another-token-12345", "another-token-12345&x=1"] {
            assert_eq!(ask(&format!("/pontoon?token={right}")), Ok(()), "{right}");
        }
        assert_eq!(ask(&format!("/pontoon?x=1&token={TOKEN}")), Ok(()));
        for missing in ["/pontoon", "/pontoon?", "/pontoon?tokens=1", "/pontoon?token"] {
            assert_eq!(ask(missing), Err(Refused::NoToken), "{missing}");
        }
        let longer = format!("{TOKEN}x");
        for wrong in ["", "x", &TOKEN[1..], &longer, "%23%20for%20the%20shop"] {
            assert_eq!(ask(&format!("/pontoon?token={wrong}")), Err(Refused::WrongToken), "{wrong}");
        }
        let open = Door::new(None, Arc::default());
        assert_eq!(open.admits_token(&"/pontoon".parse().unwrap()), Ok(()));
    }

    #[test]
    fn files_that_are_none() {
        assert!(matches!(door("# nobody\n"), Err(JoinError::Empty(_))));
        for wrong in ["short", "with a space in the middle", "per%20cent-per%20cent"] {
            assert!(matches!(door(&format!("# x\n{wrong}\n")), Err(JoinError::Token { line: 2, .. })), "{wrong}");
        }
        let many: String = (0..=TOKENS_MAX).map(|number| format!("token-number-{number:06}\n")).collect();
        assert!(matches!(door(&many), Err(JoinError::Many(_))));
    }

    #[test]
    fn nothing_shows_a_token() {
        let shown = format!("{:?} {:?}", door(&format!("{TOKEN}\n")).unwrap(), door(&format!("{TOKEN}!\n")));
        assert!(!shown.contains(TOKEN), "{shown}");
        assert_eq!(without_query(&format!("wss://a/pontoon?token={TOKEN}")), "wss://a/pontoon");
        assert_eq!(without_query("wss://a/pontoon"), "wss://a/pontoon");
        let told = format!("from ws://a/pontoon?token={TOKEN} to ws://b?token={TOKEN}&x=1");
        assert_eq!(without_tokens(&told), "from ws://a/pontoon?token=.. to ws://b?token=..&x=1");
        assert_eq!(without_tokens("nothing to hide"), "nothing to hide");
    }

    #[test]
    fn tokens_change_while_it_runs() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tokens");
        std::fs::write(&file, "the-old-token-1234").unwrap();
        let tokens = JoinTokens::load(Some(&file)).unwrap().unwrap();
        std::fs::write(&file, "the-new-token-12345").unwrap();
        assert!(tokens.changed());
        tokens.reload().unwrap();
        assert!(tokens.have(b"the-new-token-12345") && !tokens.have(b"the-old-token-1234"));
        std::fs::write(&file, "broken").unwrap();
        assert!(tokens.reload().is_err() && tokens.have(b"the-new-token-12345"));
    }
}
