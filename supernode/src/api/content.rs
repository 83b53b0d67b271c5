//! A request's content: all of it, no more than a limit, in time.

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, StatusCode, header},
};
use futures_util::StreamExt as _;
use tokio::time::{Duration, timeout};

use super::error::ApiError;

/// The content, of at most `bytes_max`.
pub(super) async fn read(body: Body, bytes_max: usize, patience: Duration) -> Result<Vec<u8>, ApiError> {
    let reading = async {
        let mut content = Vec::new();
        let mut stream = body.into_data_stream();
        while let Some(piece) = stream.next().await {
            let piece: Bytes = piece.map_err(|error| ApiError::invalid(format!("the content ends early: {error}")))?;
            if content.len() + piece.len() > bytes_max {
                return Err(too_large(bytes_max));
            }
            content.extend_from_slice(&piece);
        }
        Ok(content)
    };
    let late = || ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the content did not come in time");
    timeout(patience, reading).await.unwrap_or_else(|_| Err(late()))
}

/// The same of a request that is JSON, and says so.
pub(super) async fn json(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
    patience: Duration,
) -> Result<Vec<u8>, ApiError> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|given| given.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let message = "the request is application/json: say so by Content-Type";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
    }
    read(body, bytes_max, patience).await
}

fn too_large(bytes_max: usize) -> ApiError {
    let message = format!("the content has more than {bytes_max} bytes");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_more_than_the_limit_and_not_forever() {
        let soon = Duration::from_millis(20);
        assert_eq!(read(Body::from("four"), 4, soon).await.unwrap(), b"four");
        let status = |result: Result<Vec<u8>, ApiError>| result.unwrap_err().status;
        assert_eq!(status(read(Body::from("five!"), 4, soon).await), StatusCode::PAYLOAD_TOO_LARGE);
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(status(read(never, 4, soon).await), StatusCode::REQUEST_TIMEOUT);
    }
}
