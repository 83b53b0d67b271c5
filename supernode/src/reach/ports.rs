//! UDP sockets in the operator's range of ports.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
};

use tokio::net::UdpSocket;

/// Ports of the range that are tried before there is said to be none.
const TRIES: usize = 64;

/// Binds a port of the range that is free, or any.
pub(super) async fn bind(ip: IpAddr, ports: Option<&RangeInclusive<u16>>) -> io::Result<UdpSocket> {
    let Some(ports) = ports else { return UdpSocket::bind((ip, 0)).await };
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..TRIES {
        match UdpSocket::bind((ip, draw(ports)?)).await {
            Ok(socket) => return Ok(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

fn draw(ports: &RangeInclusive<u16>) -> io::Result<u16> {
    let number = getrandom::u32().map_err(io::Error::other)?;
    let among = u32::from(*ports.end() - *ports.start()) + 1;
    Ok(*ports.start() + (number % among) as u16)
}

/// The address of this machine that somebody sees: the interface that leads there. Nothing is sent.
pub(super) async fn local_address(towards: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if towards.is_ipv4() { [0, 0, 0, 0].into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(towards).await?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ports_are_of_the_range_until_it_is_used_up() {
        let ports = 42_100..=42_103;
        let mut bound = Vec::new();
        loop {
            match bind([127, 0, 0, 1].into(), Some(&ports)).await {
                Ok(socket) => bound.push(socket),
                Err(error) => break assert_eq!(error.kind(), io::ErrorKind::AddrInUse),
            }
        }
        assert!((1..=4).contains(&bound.len()));
        assert!(bound.iter().all(|socket| ports.contains(&socket.local_addr().unwrap().port())));
    }

    #[tokio::test]
    async fn who_is_near_sees_this_machine_by_the_address_in_between() {
        assert_eq!(local_address(([127, 0, 0, 1], 9).into()).await.unwrap(), IpAddr::from([127, 0, 0, 1]));
    }
}
