//! The files of the demo page, embedded in the program (read from their folder in a debug build).
//!
//! Names below `assets/` carry a hash of their content, as bundlers make them, and may be kept forever; everything
//! else is asked for again each time and answered "not modified" by its hash. A file `x.br` or `x.gz` beside `x` is
//! served in its place to who accepts it.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use rust_embed::{EmbeddedFile, RustEmbed};

/// Finds a file by its path, without a leading slash.
pub type Site = fn(&str) -> Option<EmbeddedFile>;

#[derive(RustEmbed)]
#[folder = "../web-demo/dist"]
#[allow_missing = true]
struct Demo;

const INDEX: &str = "index.html";
const NOT_BUILT: &str = "<!doctype html><meta charset=utf-8><title>Pontoon</title>\
    <h1>This supernode runs</h1><p>It was built without the demo page. Build the page and the supernode again: \
    <code>make demo</code>. Peers connect to <code>/pontoon</code>; <a href=/healthz>/healthz</a> says how it is.";

/// The built demo page.
pub fn demo(path: &str) -> Option<EmbeddedFile> {
    Demo::get(path)
}

/// Answers a GET or HEAD of `path` (with its leading slash).
pub(crate) fn respond(site: Site, path: &str, request: &HeaderMap) -> Response<Body> {
    let path = match path.trim_start_matches('/') {
        "" => INDEX,
        path => path,
    };
    match site(path) {
        Some(file) => respond_file(site, path, file, request),
        None if path == INDEX => plain(StatusCode::OK, "text/html; charset=utf-8", NOT_BUILT),
        None => plain(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "not found\n"),
    }
}

fn respond_file(site: Site, path: &str, file: EmbeddedFile, request: &HeaderMap) -> Response<Body> {
    let (encoding, file) = match accepted(request).find_map(|(code, end)| Some((code, site(&format!("{path}.{end}"))?)))
    {
        Some((encoding, packed)) => (Some(encoding), packed),
        None => (None, file),
    };
    let hash: String = file.metadata.sha256_hash()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{hash}\"");
    let known = request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .any(|known| known.to_str().is_ok_and(|known| known.contains(&tag)));
    let mut response = match known {
        true => plain(StatusCode::NOT_MODIFIED, "", ""),
        false => Response::new(Body::from(file.data)),
    };
    let cache = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = response.headers_mut();
    let mut set = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, &content_type(path));
    set(header::CACHE_CONTROL, cache);
    set(header::ETAG, &tag);
    set(header::VARY, "accept-encoding");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if let Some(encoding) = encoding {
        set(header::CONTENT_ENCODING, encoding);
    }
    response
}

/// The encodings that the other end accepts, the denser first, and how their files end.
fn accepted(request: &HeaderMap) -> impl Iterator<Item = (&'static str, &'static str)> {
    let accept = request.get(header::ACCEPT_ENCODING).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let accepts = |code: &str| {
        accept.split(',').any(|item| {
            let (name, quality) = item.split_once(';').unwrap_or((item, ""));
            name.trim() == code && !matches!(quality.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
        })
    };
    let (brotli, gzip) = (accepts("br"), accepts("gzip"));
    [("br", "br", brotli), ("gzip", "gz", gzip)].into_iter().filter(|code| code.2).map(|(code, end, _)| (code, end))
}

fn content_type(path: &str) -> String {
    let guess = mime_guess::from_path(path).first_or_octet_stream();
    match (guess.type_().as_str(), guess.subtype().as_str()) {
        ("text", _) | (_, "javascript" | "json") => format!("{}; charset=utf-8", guess.essence_str()),
        _ => guess.essence_str().to_owned(),
    }
}

pub(crate) fn plain(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    if !content_type.is_empty() {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn site(path: &str) -> Option<EmbeddedFile> {
        #[derive(RustEmbed)]
        #[folder = "tests/site"]
        struct Fixture;
        Fixture::get(path)
    }

    fn get(path: &str, headers: &[(HeaderName, &str)]) -> Response<Body> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        respond(site, path, &headers.collect())
    }

    fn header<'a>(response: &'a Response<Body>, name: &HeaderName) -> &'a str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[test]
    fn types_and_caching() {
        let index = get("/", &[]);
        assert_eq!(index.status(), StatusCode::OK);
        assert_eq!(header(&index, &header::CONTENT_TYPE), "text/html; charset=utf-8");
        assert_eq!(header(&index, &header::CACHE_CONTROL), "no-cache");
        let wasm = get("/assets/engine-1234.wasm", &[]);
        assert_eq!(header(&wasm, &header::CONTENT_TYPE), "application/wasm");
        assert!(header(&wasm, &header::CACHE_CONTROL).contains("immutable"));
        let script = get("/assets/page-5678.js", &[]);
        assert_eq!(header(&script, &header::CONTENT_TYPE), "text/javascript; charset=utf-8");
    }

    #[test]
    fn what_is_known_is_not_sent_again() {
        let tag = header(&get("/index.html", &[]), &header::ETAG).to_owned();
        let again = get("/index.html", &[(header::IF_NONE_MATCH, &tag)]);
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        let other = get("/assets/page-5678.js", &[(header::IF_NONE_MATCH, &tag)]);
        assert_eq!(other.status(), StatusCode::OK);
    }

    #[test]
    fn packed_files_go_to_those_who_accept_them() {
        let packed = get("/assets/page-5678.js", &[(header::ACCEPT_ENCODING, "gzip, deflate, br")]);
        assert_eq!(header(&packed, &header::CONTENT_ENCODING), "gzip");
        assert_eq!(header(&packed, &header::CONTENT_TYPE), "text/javascript; charset=utf-8");
        for accept in ["", "br", "gzip;q=0", "identity"] {
            let plain = get("/assets/page-5678.js", &[(header::ACCEPT_ENCODING, accept)]);
            assert_eq!(header(&plain, &header::CONTENT_ENCODING), "", "{accept}");
        }
    }

    #[test]
    fn nothing_outside_the_folder() {
        for path in ["/../Cargo.toml", "/assets/../../Cargo.toml", "//etc/passwd", "/nothing", "/assets"] {
            assert_eq!(get(path, &[]).status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn without_a_page_the_index_says_how_to_build_it() {
        let response = respond(|_| None, "/", &HeaderMap::new());
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(respond(|_| None, "/page.js", &HeaderMap::new()).status(), StatusCode::NOT_FOUND);
    }
}
