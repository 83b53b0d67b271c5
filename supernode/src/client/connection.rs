//! One request a connection, over HTTP or HTTPS.

use std::{fmt::Write as _, path::Path, sync::Arc};

use axum::{
    body::{Body, Bytes},
    http::{Request, Uri},
};
use futures_util::StreamExt as _;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{
    net::TcpStream,
    time::{Duration, timeout},
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::MaybeTlsStream;

use super::ClientError;
use crate::tls;

/// To connect, and between two pieces of an answer: more than a statement may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// An answer that is read whole.
const WHOLE_BYTES_MAX: usize = 256 << 20;

/// Where to ask, and with what.
pub(super) struct Connection {
    server: String,
    authority: String,
    token: Option<String>,
    /// For `https`: how to check whose certificate.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// What it said, good so far.
pub(super) struct Answer {
    server: String,
    pieces: axum::body::BodyDataStream,
    whole: Vec<u8>,
}

impl Connection {
    /// Where `https` is checked against the certificates of the file `ca`, or the system's.
    pub(super) fn new(server: &str, token: Option<&str>, ca: Option<&Path>) -> Result<Connection, ClientError> {
        let bad = || ClientError::Server(server.to_owned());
        let uri: Uri = server.parse().map_err(|_| bad())?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?;
        if uri.path() != "/" || uri.query().is_some() {
            return Err(bad());
        }
        let (port, tls) = match uri.scheme_str() {
            Some("http") => (80, None),
            Some("https") => {
                let name = host.trim_matches(['[', ']']).to_owned();
                let name = ServerName::try_from(name).map_err(|_| bad())?;
                let config = tls::client::config(ca).map_err(|error| ClientError::Local(error.to_string()))?;
                (443, Some((config, name)))
            }
            _ => return Err(bad()),
        };
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(port));
        Ok(Connection { server: server.to_owned(), authority, token: token.map(str::to_owned), tls })
    }

    async fn connect(&self) -> std::io::Result<MaybeTlsStream<TcpStream>> {
        let stream = TcpStream::connect(&self.authority).await?;
        Ok(match &self.tls {
            None => MaybeTlsStream::Plain(stream),
            Some((config, name)) => {
                let connector = TlsConnector::from(Arc::clone(config));
                MaybeTlsStream::Rustls(connector.connect(name.clone(), stream).await?)
            }
        })
    }

    /// The answer, where it is no error.
    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        content: Vec<u8>,
    ) -> Result<Answer, ClientError> {
        let broken = |reason: String| ClientError::Unreached { server: self.server.clone(), reason };
        let mut request = Request::builder().method(method).uri(path).header("host", &self.authority);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Body::from(content)).map_err(|error| ClientError::Local(error.to_string()))?;
        let asking = async {
            let stream = self.connect().await.map_err(|error| error.to_string())?;
            let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
            let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
            tokio::spawn(connection);
            sender.send_request(request).await.map_err(|error| error.to_string())
        };
        let response = match timeout(PATIENCE, asking).await {
            Ok(Ok(response)) => response,
            Ok(Err(reason)) => return Err(broken(reason)),
            Err(_) => return Err(broken("no answer in time".to_owned())),
        };
        let (parts, body) = response.into_parts();
        let pieces = Body::new(body).into_data_stream();
        let answer = Answer { server: self.server.clone(), pieces, whole: Vec::new() };
        if parts.status.is_success() {
            return Ok(answer);
        }
        let told = answer.json().await.unwrap_or_default();
        let text = |name: &str| told["error"][name].as_str().map(str::to_owned);
        let mut message = text("message").unwrap_or_else(|| parts.status.to_string());
        if let Some(position) = told["error"]["position"].as_u64() {
            let _ = write!(message, " (character {position})");
        }
        if let Some(hint) = text("hint") {
            let _ = write!(message, "; {hint}");
        }
        Err(ClientError::Refused { code: text("code").unwrap_or_else(|| parts.status.as_str().to_owned()), message })
    }
}

impl Answer {
    /// The next piece of it.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let broken = |reason: String| ClientError::Unreached { server: self.server.clone(), reason };
        match timeout(PATIENCE, self.pieces.next()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(piece))) => Ok(Some(piece)),
            Ok(Some(Err(error))) => Err(broken(error.to_string())),
            Err(_) => Err(broken("no more of the answer in time".to_owned())),
        }
    }

    /// All of it, as JSON.
    pub(super) async fn json(mut self) -> Result<serde_json::Value, ClientError> {
        while let Some(piece) = self.next().await? {
            if self.whole.len() + piece.len() > WHOLE_BYTES_MAX {
                return Err(ClientError::Local("the answer is too large for a table: try --format csv".to_owned()));
            }
            self.whole.extend_from_slice(&piece);
        }
        serde_json::from_slice(&self.whole)
            .map_err(|error| ClientError::Local(format!("the answer is no JSON: {error}")))
    }
}

/// The path of a key.
pub(super) fn path(namespace: &str, key: &str) -> String {
    format!("/v1/kv/{}/{}", encoded(namespace), encoded(key))
}

fn encoded(text: &str) -> impl std::fmt::Display + '_ {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let authority = |server| Connection::new(server, None, None).map(|connection| connection.authority).ok();
        assert_eq!(authority("http://127.0.0.1:8080").as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(authority("http://sn.example.org/").as_deref(), Some("sn.example.org:80"));
        for wrong in ["", "localhost:8080", "https://", "http://", "http://a/b", "ws://a"] {
            assert_eq!(authority(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn paths_keep_every_letter() {
        assert_eq!(path("a/b", "ø ?"), "/v1/kv/a%2Fb/%C3%B8%20%3F");
    }
}
