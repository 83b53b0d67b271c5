//! Certificates made for a test, and clients that check them.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use pontoon_supernode::Tls;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A private authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate for `localhost` and 127.0.0.1, with its key, both PEM.
pub struct Certificate {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "an authority for a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    pub fn issue(&self) -> Certificate {
        self.issue_until(4_102_444_800)
    }

    /// One that ends at a time, in seconds since 1970.
    pub fn issue_until(&self, end: u64) -> Certificate {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(end);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Certificate { cert: cert.pem(), key: key.serialize_pem() }
    }

    /// Writes the authority's own certificate.
    pub fn save(&self, directory: &Path) -> PathBuf {
        let file = directory.join("ca.pem");
        fs::write(&file, &self.pem).unwrap();
        file
    }

    /// A client that knows this authority only.
    pub fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }

    /// Connects by TLS; gives the error of the one who checks, if it does not fit.
    pub async fn connect(&self, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(self.client()).connect(name, stream).await
    }
}

impl Certificate {
    /// Writes both files, and gives the settings with them.
    pub fn save(&self, directory: &Path) -> Tls {
        let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
        fs::write(&key, &self.key).unwrap();
        fs::write(&cert, &self.cert).unwrap();
        Tls { cert: Some(cert), key: Some(key), ca: None }
    }

    /// The certificate as it is served.
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }
}
