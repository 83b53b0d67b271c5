//! When the certificate that is served ends, and that it is said in time.

use std::sync::{Mutex, PoisonError};

use rustls_pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

const DAY_S: i64 = 24 * 3_600;
/// From so long before the end on it is said,
const SAID_BEFORE_S: i64 = 14 * DAY_S;
/// so often.
const SAID_EVERY_S: i64 = DAY_S;

/// When a certificate ends (notAfter), in seconds since 1970; `None` where that does not read.
pub(super) fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// When it was said last that the certificate ends.
#[derive(Debug, Default)]
pub(super) struct Said(Mutex<Option<i64>>);

impl Said {
    /// Whole days until the end, below 0 after it, if they are to be said now.
    pub(super) fn due(&self, end: i64, now: i64) -> Option<i64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let again = said.is_none_or(|said| now - said >= SAID_EVERY_S);
        if end - now > SAID_BEFORE_S || !again {
            return None;
        }
        *said = Some(now);
        Some((end - now).div_euclid(DAY_S))
    }

    /// There is another certificate.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_said_daily_from_two_weeks_before_on() {
        let (said, end) = (Said::default(), 100 * DAY_S);
        assert_eq!(said.due(end, end - 14 * DAY_S - 1), None);
        assert_eq!(said.due(end, end - 14 * DAY_S), Some(14));
        assert_eq!(said.due(end, end - 13 * DAY_S - 1), None, "not a day later");
        assert_eq!(said.due(end, end - 13 * DAY_S), Some(13));
        said.forget();
        assert_eq!(said.due(end, end - 13 * DAY_S + 1), Some(12), "another certificate, as short");
        assert_eq!(said.due(end, end + DAY_S), Some(-1));
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        assert_eq!(not_after(&CertificateDer::from_slice(b"nothing")), None);
    }
}
