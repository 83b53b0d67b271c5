//! Plain HTTP at a port of TLS: answered once, so that who wrote `http` or `ws` sees what is wrong.

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

const TEXT: &str = "this port speaks TLS only: use https:// (or wss://)\n";
/// How much of the request is read and dropped: closing with unread bytes resets the connection, and the answer is lost.
const DRAIN_BYTES: u64 = 64 << 10;

/// Waits for the first byte. A request begins with a letter, TLS with the number of a record (RFC 8446, section 5.1).
pub(crate) async fn is_http(stream: &TcpStream) -> bool {
    let mut first = [0];
    matches!(stream.peek(&mut first).await, Ok(1)) && first[0].is_ascii_alphabetic()
}

/// Answers 400 and closes.
pub(crate) async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let length = TEXT.len();
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{TEXT}"
    );
    if stream.write_all(answer.as_bytes()).await.is_ok() && stream.shutdown().await.is_ok() {
        let _ = tokio::io::copy(&mut stream.take(DRAIN_BYTES), &mut tokio::io::sink()).await;
    }
}
