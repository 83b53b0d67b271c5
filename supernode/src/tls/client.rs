//! How the other end of `wss://` and `https://` is checked: against the system's certificates (and `SSL_CERT_FILE`, as with
//! other programs), or against those of one file only.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tokio_tungstenite::Connector;

use super::{Tls, TlsError, provider};
use crate::files::{self, FileError};

/// Certificates that are read of one file.
const ROOTS_MAX: usize = 4_096;

/// Whether an address is dialled by TLS.
pub(crate) fn is_secure(address: &str) -> bool {
    address.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("wss://"))
}

/// For dialling other supernodes. The certificates are read when the first one is dialled by TLS.
#[derive(Clone, Debug)]
pub(crate) struct Dialling {
    ca: Option<PathBuf>,
    config: Arc<OnceLock<Result<Arc<ClientConfig>, TlsError>>>,
}

impl Dialling {
    pub(crate) fn new(tls: &Tls) -> Dialling {
        Dialling { ca: tls.ca.clone(), config: Arc::default() }
    }

    /// How an address is dialled.
    pub(crate) fn connector(&self, address: &str) -> Result<Connector, TlsError> {
        if !is_secure(address) {
            return Ok(Connector::Plain);
        }
        self.config.get_or_init(|| config(self.ca.as_deref())).clone().map(Connector::Rustls)
    }
}

/// Checks against the certificates of a file, or against the system's.
pub(crate) fn config(ca: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = ca.map_or_else(of_system, of_file)?;
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

fn of_file(file: &Path) -> Result<RootCertStore, TlsError> {
    let bad = |reason: &dyn ToString| TlsError::Ca(FileError::new(file, reason.to_string()));
    let text = files::read(file).map_err(TlsError::Ca)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text).take(ROOTS_MAX) {
        let certificate = certificate.map_err(|error| bad(&error))?;
        roots.add(certificate).map_err(|error| bad(&error))?;
    }
    if roots.is_empty() { Err(bad(&"it holds no certificate (PEM)")) } else { Ok(roots) }
}

fn of_system() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = found.errors.first().map_or_else(|| "none was found".to_owned(), ToString::to_string);
        return Err(TlsError::NoRoots(reason));
    }
    Ok(roots)
}
