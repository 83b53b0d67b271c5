//! TLS by `rustls`: what a supernode shows to who connects ([`server`]), what it answers to who does not speak TLS
//! ([`unsecured`]), and how it checks whom it dials ([`client`]).
//!
//! `ring` is the only provider of cryptography; TLS 1.3 and 1.2. Without a certificate a supernode speaks plain HTTP, for a
//! proxy in front of it to wrap.

pub(crate) mod client;
mod end;
pub(crate) mod server;
pub(crate) mod unsecured;

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use rustls::crypto::CryptoProvider;

use crate::files::FileError;

/// Settings of TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The file (PEM) with the certificate that is served, the intermediate ones after it; needs [`Tls::key`].
    pub cert: Option<PathBuf>,
    /// The file (PEM) with its private key.
    pub key: Option<PathBuf>,
    /// The file (PEM) with the certificates that supernodes dialled by `wss://` are checked against; `None`: the system's.
    pub ca: Option<PathBuf>,
}

/// The flags for it.
#[derive(Clone, Debug, Default, Args)]
pub struct TlsArgs {
    /// Serve https and wss: the file (PEM) with the certificate, the intermediate ones after it
    #[arg(long, env = "PONTOON_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The file (PEM) with the certificate's private key
    #[arg(long, env = "PONTOON_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Check wss:// peers against the certificates in this file (PEM) instead of the system's
    #[arg(long, env = "PONTOON_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

impl TlsArgs {
    /// The settings that they mean; an empty name is none.
    pub fn settings(&self) -> Tls {
        let named = |file: &Option<PathBuf>| file.clone().filter(|file| !file.as_os_str().is_empty());
        Tls { cert: named(&self.tls_cert), key: named(&self.tls_key), ca: named(&self.ca) }
    }
}

/// What of [`Tls`] cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A certificate without its key.
    #[error("a certificate needs its private key: --tls-key FILE")]
    NoKey,
    /// A key without its certificate.
    #[error("a private key needs its certificate: --tls-cert FILE")]
    NoCert,
    /// The certificate does not read.
    #[error("{0}")]
    Cert(FileError),
    /// The key does not read.
    #[error("{0}")]
    Key(FileError),
    /// They do not belong together.
    #[error("{}: it is not the key of the certificate in {}", key.display(), cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The certificates to check others against do not read.
    #[error("{0}")]
    Ca(FileError),
    /// The system has no certificates to check others against.
    #[error("this system has no certificates to check a wss:// address against ({0}): --ca FILE names some")]
    NoRoots(String),
    /// The library does not do it.
    #[error("TLS: {0}")]
    Library(String),
}

impl TlsError {
    /// The flag that it is about.
    pub fn key(&self) -> &'static str {
        match self {
            TlsError::NoKey | TlsError::Cert(_) | TlsError::Library(_) => "tls-cert",
            TlsError::NoCert | TlsError::Key(_) | TlsError::Mismatch { .. } => "tls-key",
            TlsError::Ca(_) | TlsError::NoRoots(_) => "ca",
        }
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> TlsError {
        TlsError::Library(error.to_string())
    }
}

impl Tls {
    /// Refuses what cannot be meant. `dials` says whether somebody is dialled by `wss://`.
    pub(crate) fn check(&self, dials: bool) -> Result<(), TlsError> {
        server::Served::load(self)?;
        // The system's certificates are read at the start only: that takes a moment.
        if self.ca.is_some() || dials {
            client::config(self.ca.as_deref())?;
        }
        Ok(())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
