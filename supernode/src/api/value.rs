//! Values as the npm package keeps them, and as HTTP shows them: what a page writes a program reads, and the other way round.
//!
//! One tag byte, then bytes, UTF-8 text or JSON (`wasm/js/values.ts`). The tag is the content type, so there are three of
//! them; bytes that something else wrote have no tag and are shown as they are.

use axum::http::{HeaderMap, StatusCode, header};
use serde::de::IgnoredAny;

use super::error::ApiError;

const BYTES: u8 = 0xb0;
const TEXT: u8 = 0xb1;
const JSON: u8 = 0xb2;

const OCTETS_TYPE: &str = "application/octet-stream";
const TEXT_TYPE: &str = "text/plain; charset=utf-8";
const JSON_TYPE: &str = "application/json";

/// Which tag the content of a request gets.
pub(super) fn kind(headers: &HeaderMap) -> Result<u8, ApiError> {
    let unsupported = |given: &str| {
        let message = format!(
            "a value is {JSON_TYPE}, text/plain in UTF-8 or {OCTETS_TYPE}, not {given}: say which by Content-Type"
        );
        ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    };
    if let Some(coding) = headers.get(header::CONTENT_ENCODING)
        && coding != "identity"
    {
        return Err(unsupported("compressed"));
    }
    let Some(given) = headers.get(header::CONTENT_TYPE) else { return Ok(BYTES) };
    let given = given.to_str().map_err(|_| unsupported("this"))?;
    let mut parts = given.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let charset = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.eq_ignore_ascii_case("charset").then(|| value.trim_matches('"').to_ascii_lowercase())
    });
    if charset.is_some_and(|charset| !matches!(&charset[..], "utf-8" | "utf8" | "us-ascii")) {
        return Err(unsupported(given));
    }
    match &essence[..] {
        OCTETS_TYPE => Ok(BYTES),
        "text/plain" => Ok(TEXT),
        JSON_TYPE => Ok(JSON),
        _ => Err(unsupported(given)),
    }
}

/// The record's value for some content.
pub(super) fn encode(kind: u8, content: &[u8]) -> Result<Vec<u8>, ApiError> {
    match kind {
        TEXT if str::from_utf8(content).is_err() => return Err(ApiError::invalid("the text is not UTF-8")),
        JSON => is_json(content).map_err(|why| ApiError::invalid(format!("the content is not JSON: {why}")))?,
        _ => {}
    }
    let mut value = Vec::with_capacity(content.len() + 1);
    value.push(kind);
    value.extend_from_slice(content);
    Ok(value)
}

/// The content of a record's value, and its type.
pub(super) fn decode(mut value: Vec<u8>) -> (&'static str, Vec<u8>) {
    let content_type = match value.split_first() {
        Some((&BYTES, _)) => OCTETS_TYPE,
        Some((&TEXT, text)) if str::from_utf8(text).is_ok() => TEXT_TYPE,
        Some((&JSON, json)) if is_json(json).is_ok() => JSON_TYPE,
        // Not of this encoding after all.
        _ => return (OCTETS_TYPE, value),
    };
    value.remove(0);
    (content_type, value)
}

fn is_json(content: &[u8]) -> Result<(), String> {
    let text = str::from_utf8(content).map_err(|error| error.to_string())?;
    serde_json::from_str::<IgnoredAny>(text).map(|_| ()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn typed(content_type: &str) -> Result<u8, ApiError> {
        kind(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap())]))
    }

    #[test]
    fn content_comes_back_as_what_it_was() {
        for (content_type, content) in [
            ("application/json", &b"{\"a\": [1, 2.50, \"\\ud83d\\ude80\"]}"[..]),
            ("text/plain; charset=utf-8", "bøt".as_bytes()),
            ("application/octet-stream", &[0, 0xff, 0xb1]),
            ("application/octet-stream", &[]),
        ] {
            let value = encode(typed(content_type).unwrap(), content).unwrap();
            assert_eq!(decode(value), (content_type, content.to_vec()));
        }
        assert_eq!(kind(&HeaderMap::new()).unwrap(), BYTES);
        assert_eq!(typed("Text/Plain").unwrap(), TEXT);
    }

    #[test]
    fn as_pages_write_it() {
        assert_eq!(decode(b"\xb1hei".to_vec()), (TEXT_TYPE, b"hei".to_vec()));
        assert_eq!(decode(b"\xb2[1]".to_vec()), (JSON_TYPE, b"[1]".to_vec()));
        // Something else wrote these.
        for other in [&b"plain"[..], b"", b"\xb1\xff", b"\xb2[1"] {
            assert_eq!(decode(other.to_vec()), (OCTETS_TYPE, other.to_vec()));
        }
    }

    #[test]
    fn what_is_not_what_it_says() {
        assert!(encode(JSON, b"{").is_err() && encode(JSON, b"").is_err() && encode(JSON, b"\"\xff\"").is_err());
        assert!(encode(TEXT, b"\xff").is_err());
        for wrong in ["text/html", "application/x-www-form-urlencoded", "text/plain; charset=latin1", "", "x"] {
            let status = typed(wrong).unwrap_err().status;
            assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{wrong}");
        }
    }
}
