//! The certificate that is served. It may be replaced while connections go on: who connects next sees the new one.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    InconsistentKeys, ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Duration, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Tls, TlsError,
    end::{Said, not_after},
    provider,
};
use crate::{
    files::{self, FileError, Watched},
    reload::Source,
};

/// More certificates are no chain.
const CHAIN_MAX: usize = 16;

/// The certificate in force, and its files.
pub(crate) struct Served {
    cert: PathBuf,
    key: PathBuf,
    watched: Watched,
    current: RwLock<Arc<CertifiedKey>>,
    said: Said,
}

impl Served {
    /// Reads the certificate and its key; `None` where none is set.
    pub(crate) fn load(tls: &Tls) -> Result<Option<Arc<Served>>, TlsError> {
        let (cert, key) = match (&tls.cert, &tls.key) {
            (None, None) => return Ok(None),
            (Some(_), None) => return Err(TlsError::NoKey),
            (None, Some(_)) => return Err(TlsError::NoCert),
            (Some(cert), Some(key)) => (cert.clone(), key.clone()),
        };
        let watched = Watched::new(vec![cert.clone(), key.clone()]);
        let current = RwLock::new(Arc::new(read(&cert, &key)?));
        Ok(Some(Arc::new(Served { cert, key, watched, current, said: Said::default() })))
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// When the certificate ends, in seconds since 1970.
    fn end(&self) -> Option<i64> {
        self.current().cert.first().and_then(not_after)
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("cert", &self.cert).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl Source for Served {
    fn name(&self) -> &'static str {
        "certificate"
    }

    fn changed(&self) -> bool {
        self.watched.changed()
    }

    fn reload(&self) -> Result<(), String> {
        let new = read(&self.cert, &self.key).map_err(|error| error.to_string())?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        self.said.forget();
        Ok(())
    }

    fn remind(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        let file = self.cert.display();
        match self.end().and_then(|end| self.said.due(end, now)) {
            Some(days @ 0..) => tracing::warn!(%file, days, "the certificate ends soon"),
            Some(_) => tracing::warn!(%file, "the certificate has ended: nobody who checks it connects"),
            None => {}
        }
    }
}

/// A certificate with its chain and its key, which belong together.
fn read(cert: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let no_cert = |reason: &dyn ToString| TlsError::Cert(FileError::new(cert, reason.to_string()));
    let text = files::read(cert).map_err(TlsError::Cert)?;
    let chain = CertificateDer::pem_slice_iter(&text).take(CHAIN_MAX).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| no_cert(&error))?;
    if chain.is_empty() {
        return Err(no_cert(&"it holds no certificate (PEM)"));
    }
    let no_key = |reason: &dyn ToString| TlsError::Key(FileError::new(key, reason.to_string()));
    let secret =
        PrivateKeyDer::from_pem_slice(&files::read(key).map_err(TlsError::Key)?).map_err(|error| match error {
            pem::Error::NoItemsFound => no_key(&"it holds no private key (PEM, without a password)"),
            error => no_key(&error),
        })?;
    let provider = provider();
    let signing = provider.key_provider.load_private_key(secret).map_err(|error| no_key(&error))?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(TlsError::Mismatch { cert: cert.to_owned(), key: key.to_owned() })
        }
        Err(error) => Err(no_cert(&error)),
    }
}

/// Takes connections in by TLS.
#[derive(Clone)]
pub(crate) struct Acceptor {
    tls: TlsAcceptor,
    served: Arc<Served>,
}

impl Acceptor {
    pub(crate) fn new(served: Arc<Served>) -> Result<Acceptor, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::clone(&served) as _);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Acceptor { tls: TlsAcceptor::from(Arc::new(config)), served })
    }

    /// When the certificate that is served now ends, in seconds since 1970.
    pub(crate) fn end(&self) -> Option<i64> {
        self.served.end()
    }

    /// The stream, if the other end says what it has to in time.
    pub(crate) async fn accept<S>(&self, stream: S, patience: Duration) -> Option<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match timeout(patience, self.tls.accept(stream)).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, "no TLS came of a connection");
                None
            }
            Err(_) => {
                tracing::debug!("a connection did not begin TLS in time");
                None
            }
        }
    }
}
