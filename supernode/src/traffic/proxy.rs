//! Whose request it is, where a proxy brings it.

use std::net::IpAddr;

use axum::http::HeaderMap;

const FORWARDED: &str = "x-forwarded-for";

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) address: IpAddr,
    /// It is a proxy that is trusted to say whom it connects for.
    pub(crate) proxy: bool,
}

/// The address that a request comes from. Each proxy adds whom it heard from at the end of `X-Forwarded-For`, and anybody may
/// send one: so it is the last address that is not a trusted proxy, and only where a trusted proxy sends it.
pub(crate) fn client(caller: Caller, headers: &HeaderMap, trusted: &[IpAddr]) -> IpAddr {
    if !caller.proxy {
        return caller.address;
    }
    let lines: Vec<&str> = headers.get_all(FORWARDED).iter().filter_map(|line| line.to_str().ok()).collect();
    let mut client = caller.address;
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        // What is no address was not written by a proxy that is trusted: nothing before it is believed.
        let Ok(hop) = hop.trim().parse::<IpAddr>() else { break };
        client = hop.to_canonical();
        if !trusted.contains(&client) {
            break;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn from(caller: &str, forwarded: &[&str]) -> IpAddr {
        let trusted = [ip("10.0.0.1"), ip("10.0.0.2")];
        let caller = Caller { address: ip(caller), proxy: trusted.contains(&ip(caller)) };
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED, line.parse().unwrap());
        }
        client(caller, &headers, &trusted)
    }

    #[test]
    fn only_what_trusted_proxies_say_is_believed() {
        assert_eq!(from("192.0.2.1", &["203.0.113.9"]), ip("192.0.2.1"), "anybody can send the header");
        assert_eq!(from("10.0.0.1", &["203.0.113.9"]), ip("203.0.113.9"));
        assert_eq!(from("10.0.0.1", &["198.51.100.7, 203.0.113.9"]), ip("203.0.113.9"), "what the client claims");
        assert_eq!(from("10.0.0.1", &["198.51.100.7", "203.0.113.9,10.0.0.2"]), ip("203.0.113.9"));
        assert_eq!(from("10.0.0.1", &["203.0.113.9, unknown"]), ip("10.0.0.1"));
        assert_eq!(from("10.0.0.1", &[]), ip("10.0.0.1"));
    }
}
