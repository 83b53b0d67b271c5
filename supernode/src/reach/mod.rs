//! Reach: how browsers that no address leads to are reached all the same.
//!
//! Beside its WebSockets, which relay for everybody, a supernode answers STUN (RFC 8489), by which a browser behind a NAT
//! learns its outer address; is a TURN server (RFC 8656) for those whose NAT lets nothing else through; and can be one end
//! of WebRTC data channels itself. What it offers of this it tells who dials it, as one text message at once and again
//! when the credentials are renewed: text, because everything of the engine is binary, and a peer that does not know of it
//! drops it.
//!
//! - [`turn`]: the STUN and TURN server; `ports`: which ports and addresses it uses, `destinations`: whom it sends to
//! - [`rtc`]: data channels; `candidates`: which addresses of the other end they try

pub(crate) mod candidates;
mod destinations;
mod ports;
pub(crate) mod rtc;
pub(crate) mod session;
mod settings;
pub(crate) mod turn;

use std::collections::BTreeMap;

pub(crate) use destinations::is_open;
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::Instant};

pub use settings::{ReachArgs, ReachError, ReachSettings};
pub(crate) use turn::TurnFigures;
pub use turn::Turned;

/// Supernodes that are told of.
const SUPERNODES_MAX: usize = 16;
/// The longest text that is read as one of these: above what the longest addresses make.
const TEXT_BYTES_MAX: usize = 8 << 10;
/// The longest address that is told.
const ADDRESS_BYTES_MAX: usize = 256;

/// What the text says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    /// The UDP port that answers STUN and TURN, at the host that was dialled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    udp: Option<u16>,
    /// Another one that answers STUN: two show whether a NAT maps each destination anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stun: Option<u16>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    /// Its password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
    /// How long the two are good for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seconds: Option<u64>,
    /// How this supernode is dialled from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public: Option<String>,
    /// How supernodes of the network are dialled, this one among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    supernodes: Vec<String>,
}

/// Credentials for TURN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) until: Instant,
}

/// What there is to tell, now and when it changes.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    ports: turn::Ports,
    credentials: watch::Receiver<Option<Credentials>>,
    public: Option<String>,
    supernodes: watch::Receiver<Vec<String>>,
}

impl Reach {
    /// What is told: the ports that answer, credentials as they are renewed, and supernodes as they are heard of.
    pub(crate) fn new(
        ports: turn::Ports,
        credentials: watch::Receiver<Option<Credentials>>,
        supernodes: &Supernodes,
    ) -> Reach {
        Reach { ports, credentials, public: supernodes.own.clone(), supernodes: supernodes.all.subscribe() }
    }

    /// The text for who has just dialled, or for everybody when it changed; nothing if there is nothing to tell.
    pub(crate) fn text(&mut self) -> Option<String> {
        let credentials = self.credentials.borrow_and_update().clone();
        let told = Told {
            udp: self.ports.udp,
            stun: self.ports.stun,
            username: credentials.as_ref().map(|it| it.username.clone()),
            credential: credentials.as_ref().map(|it| it.password.clone()),
            seconds: credentials.map(|it| it.until.saturating_duration_since(Instant::now()).as_secs()),
            public: self.public.clone(),
            supernodes: self.supernodes.borrow_and_update().clone(),
        };
        if told == Told::default() { None } else { serde_json::to_string(&told).ok() }
    }

    /// Waits until there is something new to tell; for ever if there never will be.
    pub(crate) async fn changed(&mut self) {
        let lasting = async |changed: Result<(), watch::error::RecvError>| {
            if changed.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = async { lasting(self.credentials.changed().await).await } => {}
            () = async { lasting(self.supernodes.changed().await).await } => {}
        }
    }
}

/// The supernodes of the network that say how they are dialled from outside: this one, and those that it dialled itself, until
/// dialling one fails (of two sockets between two supernodes one is closed, and its address not dialled again). Each says it
/// of itself alone: a list that was handed on would keep what is no more, and what nobody should dial.
#[derive(Debug)]
pub(crate) struct Supernodes {
    own: Option<String>,
    /// By the addresses that were dialled.
    told: BTreeMap<String, String>,
    all: watch::Sender<Vec<String>>,
}

impl Supernodes {
    /// This one, if it has a public address.
    pub(crate) fn new(own: Option<String>) -> Supernodes {
        let all = watch::Sender::new(own.iter().cloned().collect());
        Supernodes { own, told: BTreeMap::new(), all }
    }

    /// The supernode that was dialled at an address says how it is dialled from outside.
    pub(crate) fn told(&mut self, address: String, public: String) {
        self.told.insert(address, public);
        self.renew();
    }

    /// Nobody answers at an address any more.
    pub(crate) fn gone(&mut self, address: &str) {
        if self.told.remove(address).is_some() {
            self.renew();
        }
    }

    fn renew(&self) {
        let mut all: Vec<String> = self.own.iter().chain(self.told.values()).cloned().collect();
        all.dedup();
        all.truncate(SUPERNODES_MAX);
        self.all.send_if_modified(|before| {
            let changed = *before != all;
            *before = all;
            changed
        });
    }
}

/// How another supernode says that it is dialled. Not with a token: who is told of it has one or has none.
pub(crate) fn public_told(text: &str) -> Option<String> {
    let told: Told = serde_json::from_str(text).ok().filter(|_| text.len() <= TEXT_BYTES_MAX)?;
    told.public.filter(|public| check_public(public).is_ok())
}

/// Whether an address may be told to everybody.
pub(crate) fn check_public(address: &str) -> Result<(), &'static str> {
    if address.len() > ADDRESS_BYTES_MAX {
        return Err("it is too long");
    }
    if address.contains('?') {
        return Err("everybody is told of it: no token belongs in it");
    }
    crate::settings::dialable(address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const B: &str = "ws://b.internal/pontoon";

    #[tokio::test]
    async fn what_is_told_is_told_again_when_it_changes() {
        let (renew, credentials) = watch::channel(None);
        let ports = turn::Ports { udp: Some(3_478), stun: None };
        let mut supernodes = Supernodes::new(Some("ws://a/pontoon".to_owned()));
        let mut reach = Reach::new(ports, credentials, &supernodes);
        let first = r#"{"udp":3478,"public":"ws://a/pontoon","supernodes":["ws://a/pontoon"]}"#;
        assert_eq!(reach.text().as_deref(), Some(first));

        let until = Instant::now() + Duration::from_secs(60);
        renew.send(Some(Credentials { username: "u".to_owned(), password: "p".to_owned(), until })).unwrap();
        reach.changed().await;
        let told: Told = serde_json::from_str(&reach.text().unwrap()).unwrap();
        assert_eq!((told.username.as_deref(), told.credential.as_deref()), (Some("u"), Some("p")));
        assert!(told.seconds.unwrap() <= 60);

        supernodes.told(B.to_owned(), "ws://b/pontoon".to_owned());
        reach.changed().await;
        let told: Told = serde_json::from_str(&reach.text().unwrap()).unwrap();
        assert_eq!(told.supernodes, ["ws://a/pontoon", "ws://b/pontoon"]);
        // Nothing new is nothing to tell.
        supernodes.told(B.to_owned(), "ws://b/pontoon".to_owned());
        let patience = tokio::time::timeout(Duration::from_millis(50), reach.changed());
        assert!(patience.await.is_err());
        // Who is gone is told of no more.
        supernodes.gone(B);
        reach.changed().await;
        assert_eq!(serde_json::from_str::<Told>(&reach.text().unwrap()).unwrap().supernodes, ["ws://a/pontoon"]);
    }

    #[test]
    fn nothing_is_told_where_there_is_nothing() {
        let (_renew, credentials) = watch::channel(None);
        assert_eq!(Reach::new(turn::Ports::default(), credentials, &Supernodes::new(None)).text(), None);
    }

    #[test]
    fn a_supernode_says_its_own_address_and_no_other() {
        let says = |public: &str| {
            public_told(
                &serde_json::json!({ "public": public, "supernodes": ["ws://evil/"], "and": "more" }).to_string(),
            )
        };
        assert_eq!(says("wss://b/pontoon").as_deref(), Some("wss://b/pontoon"));
        let long = format!("ws://{}/", "x".repeat(ADDRESS_BYTES_MAX));
        for wrong in ["http://b", "", "wss://b/pontoon?token=t", &long] {
            assert_eq!(says(wrong), None, "{wrong}");
        }
        for junk in ["", "[]", "{", r#"{"public":3}"#, r#"{"supernodes":["ws://a"]}"#] {
            assert_eq!(public_told(junk), None);
        }
    }

    #[test]
    fn the_list_is_bounded() {
        let mut supernodes = Supernodes::new(None);
        let (_renew, credentials) = watch::channel(None);
        let mut reach = Reach::new(turn::Ports::default(), credentials, &supernodes);
        for link in 0..100 {
            supernodes.told(link.to_string(), format!("ws://{link:0>240}/"));
        }
        let text = reach.text().unwrap();
        assert!(text.len() <= TEXT_BYTES_MAX);
        assert_eq!(serde_json::from_str::<Told>(&text).unwrap().supernodes.len(), SUPERNODES_MAX);
    }
}
