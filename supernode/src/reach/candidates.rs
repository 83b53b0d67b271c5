//! Which of the other end's addresses a native peer checks by STUN: without a rule whoever opens a session could have it
//! send to any host of the operator's network, and see by the way which ones answer.
//!
//! Names that end in `.local`, by which browsers hide their own addresses, stand for nothing here and pass.

use std::net::IpAddr;

use super::destinations::is_open;

/// Addresses that are taken in one session. Browsers have a dozen, and as many again for each restart.
const CANDIDATES_MAX: usize = 128;
/// How a candidate begins, where it is no part of a message of its own.
const NAME: &str = "candidate:";

/// The rule of one session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidates {
    /// Private, loopback and link-local ones too.
    private: bool,
    left: usize,
}

impl Candidates {
    pub(crate) fn new(private: bool) -> Candidates {
        Candidates { private, left: CANDIDATES_MAX }
    }

    /// Whether a candidate (RFC 8839, section 5.1) is taken. It is read as the crate `webrtc` reads it.
    pub(crate) fn takes(&mut self, candidate: &str) -> bool {
        let candidate = candidate.strip_prefix(NAME).unwrap_or(candidate);
        let Some(address) = candidate.split_whitespace().nth(4) else { return false };
        let may = match address.parse::<IpAddr>() {
            Ok(ip) => self.private || is_open(ip),
            Err(_) => address.ends_with(".local"),
        };
        let takes = may && self.left > 0;
        self.left -= usize::from(takes);
        takes
    }

    /// A description (SDP) without the candidates that are not taken.
    pub(crate) fn of_description(&mut self, sdp: &str) -> String {
        let stays = |line: &&str| {
            let attribute = line.strip_prefix("a=").map(str::trim_start);
            let candidate = attribute.and_then(|attribute| attribute.strip_prefix(NAME));
            !line.is_empty() && candidate.is_none_or(|candidate| self.takes(candidate))
        };
        sdp.split(['\r', '\n']).filter(stays).flat_map(|line| [line, "\r\n"]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(address: &str) -> String {
        format!("candidate:842163049 1 udp 1677729535 {address} 46154 typ srflx raddr 10.0.0.17 rport 42100")
    }

    #[test]
    fn private_addresses_are_taken_where_they_may_be() {
        let taken = |private: bool, address: &str| Candidates::new(private).takes(&candidate(address));
        for open in ["203.0.113.7", "2001:db8::7", "e2494022-4d9a-4c1e-a750-cc48d4f8d6ee.local"] {
            assert!(taken(false, open) && taken(true, open), "{open}");
        }
        for closed in ["127.0.0.1", "10.0.0.17", "192.168.1.2", "169.254.169.254", "::1", "fd00::1", "::ffff:10.0.0.1"]
        {
            assert!(!taken(false, closed) && taken(true, closed), "{closed}");
        }
        for name in ["database.internal", "localhost"] {
            assert!(!taken(false, name) && !taken(true, name), "{name}");
        }
        for odd in ["", "candidate:1 1 udp 1", "candidate: 1 1 udp 1 database.internal 9 typ host"] {
            assert!(!Candidates::new(true).takes(odd), "{odd}");
        }
        // No space of ASCII, but one that separates.
        assert!(!taken(false, "10.0.0.17\u{a0}9"));
    }

    #[test]
    fn those_in_a_description_too() {
        let [inside, outside] = ["192.168.1.2", "203.0.113.7"].map(candidate);
        let sdp = format!("v=0\r\na={inside}\r\na=mid:0\r\na={outside}\r\n");
        assert_eq!(Candidates::new(false).of_description(&sdp), format!("v=0\r\na=mid:0\r\na={outside}\r\n"));
        assert_eq!(Candidates::new(true).of_description(&sdp), sdp);
        for hidden in [format!("v=0\ra={inside}\n"), format!("v=0\na= {inside}")] {
            assert_eq!(Candidates::new(false).of_description(&hidden), "v=0\r\n", "{hidden:?}");
        }
    }

    #[test]
    fn there_is_an_end_to_them() {
        let mut candidates = Candidates::new(false);
        let open = candidate("203.0.113.7");
        let taken = (0..2 * CANDIDATES_MAX).filter(|_| candidates.takes(&open)).count();
        assert_eq!(taken, CANDIDATES_MAX);
        assert_eq!(candidates.of_description(&format!("v=0\na={open}\n")), "v=0\r\n");
    }
}
