//! Whom TURN and data channels send to: peers in the open network, and not what only the operator's own machines should reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is one of the open network: a TURN server that sends anywhere is a way around the firewall of who runs
/// it (RFC 8656, section 21.1.5).
pub(crate) fn is_open(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_open_v4(address),
        IpAddr::V6(address) => is_open_v6(address),
    }
}

fn is_open_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    let shared = first == 100 && (64..128).contains(&second);
    let protocols = [first, second, third] == [192, 0, 0];
    let benches = first == 198 && (18..20).contains(&second);
    let closed = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_broadcast()
        || address.is_multicast()
        || first == 0
        || first >= 240
        || shared
        || protocols
        || benches;
    !closed
}

fn is_open_v6(address: Ipv6Addr) -> bool {
    let closed = address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unique_local()
        || address.is_unicast_link_local();
    // 6to4, NAT64, Teredo and compatible addresses lead to IPv4, and would have to be looked at in turn.
    let translated =
        matches!(address.segments(), [0x2002, ..] | [0x64, 0xff9b, ..] | [0x2001, 0, ..] | [0, 0, 0, 0, 0, 0, ..]);
    let site = address.segments()[0] & 0xffc0 == 0xfec0;
    !closed && !translated && !site
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_and_what_is_not() {
        for open in ["203.0.113.7", "8.8.8.8", "2001:db8::1", "100.128.0.1"] {
            assert!(is_open(open.parse().unwrap()), "{open}");
        }
        for closed in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "2002:a00:1::",
            "64:ff9b::a00:1",
            "192.0.0.192",
            "198.18.0.1",
            "::7f00:1",
            "2001::1",
            "fec0::1",
        ] {
            assert!(!is_open(closed.parse().unwrap()), "{closed}");
        }
    }
}
