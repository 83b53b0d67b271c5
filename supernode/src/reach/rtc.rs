//! WebRTC data channels of a native peer, by the crate `webrtc`.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::Arc,
    time::Duration,
};

use bytes::BytesMut;
use pontoon_core::SessionId;
use rtc::ice::mdns::MulticastDnsMode;
use tokio::{
    sync::{Semaphore, mpsc},
    time::sleep,
};
use webrtc::{
    data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit},
    peer_connection::{
        PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceCandidateInit, RTCIceCandidateType,
        RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCSdpType, RTCSessionDescription, SettingEngineBuilder,
    },
};

use super::{
    ReachSettings,
    candidates::Candidates,
    ports,
    session::{self, Around, Channel, Connection, Happened, Signal},
};

/// Bytes of one channel that are under way; more wait in its queue.
const UNDER_WAY_BYTES: usize = 1 << 20;
/// Signals of one session that wait: more than a negotiation needs.
const SIGNALS_MAX: usize = 64;
/// What happened to one connection that nobody has looked at.
const HAPPENED_MAX: usize = 64;

/// The sessions of the driver.
pub(crate) struct Rtc {
    sessions: HashMap<SessionId, mpsc::Sender<Signal>>,
    around: Around,
    settings: ReachSettings,
    /// One for each connection, until it is closed.
    seats: Arc<Semaphore>,
    /// HTTP is answered at a loopback address: to this machine, or to a proxy on it.
    loopback: bool,
}

impl Rtc {
    /// None yet, of a peer that listens at `http`.
    pub(crate) fn new(around: Around, settings: ReachSettings, http: SocketAddr) -> Rtc {
        let seats = Arc::new(Semaphore::new(settings.sessions_max));
        Rtc { sessions: HashMap::new(), around, settings, seats, loopback: http.ip().is_loopback() }
    }

    /// Begins a session. What becomes of it is told as events. Private addresses of the other end are tried where somebody
    /// is `near`, connected from such an address, or where the operator says so.
    pub(crate) fn open(&mut self, session: SessionId, initiator: bool, near: bool) -> Result<(), &'static str> {
        if !self.settings.webrtc {
            return Err("no WebRTC here");
        }
        let seat = Arc::clone(&self.seats).try_acquire_owned().map_err(|_| "too many WebRTC sessions")?;
        let (signals_in, signals) = mpsc::channel(SIGNALS_MAX);
        self.sessions.insert(session, signals_in);
        let (around, settings, loopback) = (self.around.clone(), self.settings.clone(), self.loopback);
        let candidates = Candidates::new(near || settings.turn_private);
        tokio::spawn(async move {
            let _seat = seat;
            let connection = Made::new(&settings, loopback, candidates).await;
            session::run(connection, session, initiator, signals, around).await;
        });
        Ok(())
    }

    /// What the other end says.
    pub(crate) fn signal(&self, session: SessionId, payload: &[u8]) {
        if let (Some(signals), Ok(signal)) = (self.sessions.get(&session), serde_json::from_slice(payload)) {
            // One that floods loses what is too much.
            let _ = signals.try_send(signal);
        }
    }

    /// Forgets a session.
    pub(crate) fn close(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    /// Sessions now.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }
}

/// A connection of the crate.
struct Made {
    connection: Arc<dyn PeerConnection>,
    channel: Arc<dyn DataChannel>,
    happened: mpsc::Receiver<Happened>,
    candidates: Candidates,
    open: bool,
}

impl Made {
    async fn new(settings: &ReachSettings, loopback: bool, candidates: Candidates) -> Result<Made, String> {
        // Browsers hide their addresses behind names that only their own network resolves, and reach this peer by its own.
        let mut engine = SettingEngineBuilder::new()
            .with_include_loopback_candidate(loopback)
            .with_multicast_dns_mode(MulticastDnsMode::Disabled);
        if let Some(outer) = settings.outer_address {
            engine = engine.with_nat_1to1_ips(vec![outer.to_string()], RTCIceCandidateType::Host);
        }
        let (happened_in, happened) = mpsc::channel(HAPPENED_MAX);
        let all = IpAddr::from([0, 0, 0, 0]);
        let mut listens = vec![listen(all, settings.udp_ports.as_ref()).await?];
        if loopback {
            listens.push(listen(IpAddr::from([127, 0, 0, 1]), settings.udp_ports.as_ref()).await?);
        }
        let connection = PeerConnectionBuilder::new()
            .with_setting_engine(engine.build())
            .with_handler(Arc::new(Handler(happened_in)))
            .with_udp_addrs(listens)
            .with_data_channel_send_buffer_limit(UNDER_WAY_BYTES)
            .build()
            .await
            .map_err(|error| error.to_string())?;
        let init = RTCDataChannelInit { negotiated: Some(0), ..RTCDataChannelInit::default() };
        let channel = connection.create_data_channel("pontoon", Some(init)).await.map_err(|error| error.to_string())?;
        Ok(Made { connection: Arc::new(connection), channel, happened, candidates, open: false })
    }

    async fn local(&self) -> Result<Signal, String> {
        let local = self.connection.local_description().await.ok_or("no description")?;
        serde_json::to_value(local).map_err(|error| error.to_string())
    }
}

/// The address, at a port of the range if there is one.
async fn listen(ip: IpAddr, ports: Option<&RangeInclusive<u16>>) -> Result<SocketAddr, String> {
    let Some(range) = ports else { return Ok(SocketAddr::new(ip, 0)) };
    // It is free a moment later as well, but for bad luck, which costs one session.
    let free = ports::bind(ip, Some(range)).await.and_then(|socket| socket.local_addr());
    free.map_err(|error| format!("no port in --udp-ports: {error}"))
}

fn told<T>(result: Result<T, webrtc::error::Error>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

impl Connection for Made {
    type Channel = Arc<dyn DataChannel>;

    async fn offer(&mut self) -> Result<Signal, String> {
        let offer = told(self.connection.create_offer(None).await)?;
        told(self.connection.set_local_description(offer).await)?;
        self.local().await
    }

    async fn describe(&mut self, description: Signal) -> Result<Option<Signal>, String> {
        let mut description: RTCSessionDescription =
            serde_json::from_value(description).map_err(|error| error.to_string())?;
        description.sdp = self.candidates.of_description(&description.sdp);
        let offered = description.sdp_type == RTCSdpType::Offer;
        told(self.connection.set_remote_description(description).await)?;
        if !offered {
            return Ok(None);
        }
        let answer = told(self.connection.create_answer(None).await)?;
        told(self.connection.set_local_description(answer).await)?;
        self.local().await.map(Some)
    }

    async fn candidate(&mut self, candidate: Signal) -> Result<(), String> {
        let candidate: RTCIceCandidateInit = serde_json::from_value(candidate).map_err(|error| error.to_string())?;
        // An empty one says that there are no more.
        if !candidate.candidate.is_empty() && !self.candidates.takes(&candidate.candidate) {
            return Err("an address that is not to be tried, or one too many".to_owned());
        }
        told(self.connection.add_ice_candidate(candidate).await)
    }

    async fn next(&mut self) -> Happened {
        loop {
            tokio::select! {
                Some(happened) = self.happened.recv() => return happened,
                event = self.channel.poll() => match event {
                    Some(DataChannelEvent::OnOpen) if !self.open => {
                        self.open = true;
                        return Happened::Open;
                    }
                    Some(DataChannelEvent::OnMessage(message)) => return Happened::Message(message.data.to_vec()),
                    Some(DataChannelEvent::OnClose | DataChannelEvent::OnClosing) | None => {
                        return Happened::Ended("the channel closed");
                    }
                    Some(_) => {}
                },
            }
        }
    }

    fn channel(&self) -> Arc<dyn DataChannel> {
        Arc::clone(&self.channel)
    }

    async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::debug!(%error, "a WebRTC connection did not close");
        }
    }
}

impl Channel for Arc<dyn DataChannel> {
    async fn send(&self, bytes: Vec<u8>) -> Result<(), String> {
        told(DataChannel::send(self.as_ref(), BytesMut::from(&bytes[..])).await)
    }

    async fn flushed(&self) {
        while self.outstanding_bytes().await.is_ok_and(|bytes| bytes > 0) {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Hears what the crate tells of a connection.
struct Handler(mpsc::Sender<Happened>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let Ok(candidate) = event.candidate.to_json() else { return };
        let _ = self.0.try_send(Happened::Signal(serde_json::json!({ "candidate": candidate })));
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        let ended = match state {
            RTCPeerConnectionState::Failed => Happened::Ended("no way to the other end, or it is gone"),
            RTCPeerConnectionState::Closed => Happened::Ended("the connection closed"),
            _ => return,
        };
        let _ = self.0.try_send(ended);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// Hands what one end says to the other until both are open.
    async fn opened(private: bool) -> bool {
        let settings = ReachSettings::default();
        let end = || async { Made::new(&settings, true, Candidates::new(private)).await.unwrap() };
        let (mut one, mut other) = (end().await, end().await);
        let offer = one.offer().await.unwrap();
        let answer = other.describe(offer).await.unwrap().unwrap();
        one.describe(answer).await.unwrap();
        let mut open = [false; 2];
        let both = async {
            while open != [true; 2] {
                let (happened, at) = tokio::select! {
                    happened = one.next() => (happened, 0),
                    happened = other.next() => (happened, 1),
                };
                match happened {
                    Happened::Open => open[at] = true,
                    // Whatever addresses the machine has besides.
                    Happened::Signal(signal) if signal.to_string().contains(" 127.0.0.1 ") => {
                        let hears = if at == 0 { &mut other } else { &mut one };
                        let taken = hears.candidate(signal["candidate"].clone()).await;
                        assert_eq!(taken.is_ok(), private, "{taken:?}");
                    }
                    _ => {}
                }
            }
        };
        timeout(Duration::from_secs(if private { 20 } else { 3 }), both).await.is_ok()
    }

    #[tokio::test]
    async fn private_addresses_are_tried_only_where_they_may_be() {
        assert!(opened(true).await);
        assert!(!opened(false).await);
    }
}
