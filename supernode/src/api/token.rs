//! The token of HTTP. One that was read of a file is read again when the file changes; requests under way go on.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use subtle::ConstantTimeEq as _;

use super::access::AccessError;
use crate::{
    files::{self, Watched},
    reload::Source,
};

/// Shorter ones can be guessed.
pub(super) const TOKEN_BYTES_MIN: usize = 16;
pub(super) const TOKEN_BYTES_MAX: usize = 256;

/// A secret that is never printed. Clones are one and the same: what is read again is in force for all of them.
#[derive(Clone)]
pub struct Token(Arc<Kept>);

struct Kept {
    secret: RwLock<String>,
    file: Option<(PathBuf, Watched)>,
}

impl Token {
    /// 16 to 256 visible ASCII characters; white space around them is none of it.
    pub fn new(text: &str) -> Result<Token, AccessError> {
        Ok(Token(Arc::new(Kept { secret: RwLock::new(secret(text)?), file: None })))
    }

    /// The one in a file.
    pub fn of_file(file: &Path) -> Result<Token, AccessError> {
        let watched = Watched::new(vec![file.to_owned()]);
        let secret = RwLock::new(secret(&files::read_text(file)?)?);
        Ok(Token(Arc::new(Kept { secret, file: Some((file.to_owned(), watched)) })))
    }

    /// What is to be read again, if it is of a file.
    pub(crate) fn source(&self) -> Option<Arc<dyn Source>> {
        self.0.file.as_ref().map(|_| Arc::clone(&self.0) as Arc<dyn Source>)
    }

    /// Compares without telling by the time that it takes how much is right.
    pub(super) fn is(&self, given: &str) -> bool {
        let secret = self.0.secret.read().unwrap_or_else(PoisonError::into_inner);
        secret.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

fn secret(text: &str) -> Result<String, AccessError> {
    let text = text.trim();
    let fits = (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&text.len());
    if !fits || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(AccessError::Token);
    }
    Ok(text.to_owned())
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Source for Kept {
    fn name(&self) -> &'static str {
        "HTTP token"
    }

    fn changed(&self) -> bool {
        self.file.as_ref().is_some_and(|(_, watched)| watched.changed())
    }

    fn reload(&self) -> Result<(), String> {
        let Some((file, _)) = &self.file else { return Ok(()) };
        let text = files::read_text(file).map_err(|error| error.to_string())?;
        let new = secret(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        *self.secret.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_changes_with_its_file_while_that_is_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, "the-old-token-1234\n").unwrap();
        let token = Token::of_file(&file).unwrap();
        let (clone, source) = (token.clone(), token.source().unwrap());
        assert!(clone.is("the-old-token-1234") && !source.changed());
        std::fs::write(&file, "the-new-token-12345\n").unwrap();
        assert!(source.changed());
        source.reload().unwrap();
        assert!(clone.is("the-new-token-12345") && !clone.is("the-old-token-1234"));
        std::fs::write(&file, "short").unwrap();
        let reason = source.reload().unwrap_err();
        assert!(reason.contains("16 to 256") && reason.contains(&file.display().to_string()), "{reason}");
        assert!(clone.is("the-new-token-12345"));
        assert!(Token::new("the-old-token-1234").unwrap().source().is_none());
    }
}
