//! Reach: how browsers that no address leads to are reached all the same.
//!
//! Beside its WebSockets, which relay for everybody, a supernode answers STUN (RFC 8489), by which a browser behind a NAT
//! learns its outer address; is a TURN server (RFC 8656) for those whose NAT lets nothing else through; and can be one end
//! of WebRTC data channels itself. What it offers of this it tells who dials it, as one text message at once and again
//! when the credentials are renewed: text, because everything of the engine is binary, and a peer that does not know of it
//! drops it.
//!
//! - [`turn`]: the STUN and TURN server; `ports`: which ports and addresses it uses, `destinations`: whom it sends to
//! - [`rtc`]: data channels

mod destinations;
mod ports;
pub(crate) mod rtc;
pub(crate) mod session;
mod settings;
pub(crate) mod turn;

use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::Instant};

pub use settings::{ReachArgs, ReachError, ReachSettings};
pub(crate) use turn::TurnFigures;
pub use turn::Turned;

/// Supernodes that are told of.
const SUPERNODES_MAX: usize = 16;
/// The longest text that is read as one of these.
const TEXT_BYTES_MAX: usize = 8 << 10;

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
    /// Addresses of supernodes of the network, this one's among them.
    #[serde(default)]
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
    supernodes: watch::Receiver<Vec<String>>,
}

impl Reach {
    /// What is told: the ports that answer, credentials as they are renewed, and supernodes as they are heard of.
    pub(crate) fn new(
        ports: turn::Ports,
        credentials: watch::Receiver<Option<Credentials>>,
        supernodes: watch::Receiver<Vec<String>>,
    ) -> Reach {
        Reach { ports, credentials, supernodes }
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

/// The supernodes of the network that have said how they are reached from outside: this one, and those that it heard of.
#[derive(Debug)]
pub(crate) struct Supernodes {
    own: Option<String>,
    all: watch::Sender<Vec<String>>,
}

impl Supernodes {
    /// This one, if it has a public address.
    pub(crate) fn new(own: Option<String>) -> Supernodes {
        let all = watch::Sender::new(own.iter().cloned().collect());
        Supernodes { own, all }
    }

    /// Who wants to know of them.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Vec<String>> {
        self.all.subscribe()
    }

    /// Another supernode tells of some; gives all others that are known.
    pub(crate) fn learn(&self, told: Vec<String>) -> Vec<String> {
        self.all.send_if_modified(|all| {
            let before = all.len();
            for address in told {
                if all.len() < SUPERNODES_MAX && !all.contains(&address) {
                    all.push(address);
                }
            }
            all.len() > before
        });
        self.all.borrow().iter().filter(|address| Some(*address) != self.own.as_ref()).cloned().collect()
    }
}

/// The supernodes that the one at `address` tells of. Those of one network ask for the same join token, if they do.
pub(crate) fn supernodes_told(address: &str, text: &str) -> Vec<String> {
    if text.len() > TEXT_BYTES_MAX {
        return Vec::new();
    }
    let told: Told = serde_json::from_str(text).unwrap_or_default();
    let dialable = |address: &String| crate::settings::dialable(address).is_ok();
    let query = address.split_once('?').map(|(_, query)| query);
    let with_token = |other: String| match query {
        Some(query) if !other.contains('?') => format!("{other}?{query}"),
        _ => other,
    };
    told.supernodes.into_iter().filter(dialable).take(SUPERNODES_MAX).map(with_token).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const A: &str = "ws://a/pontoon";

    #[tokio::test]
    async fn what_is_told_is_told_again_when_it_changes() {
        let (renew, credentials) = watch::channel(None);
        let ports = turn::Ports { udp: Some(3_478), stun: None };
        let supernodes = Supernodes::new(Some("ws://a/pontoon".to_owned()));
        let mut reach = Reach::new(ports, credentials, supernodes.subscribe());
        assert_eq!(reach.text().as_deref(), Some(r#"{"udp":3478,"supernodes":["ws://a/pontoon"]}"#));

        let until = Instant::now() + Duration::from_secs(60);
        renew.send(Some(Credentials { username: "u".to_owned(), password: "p".to_owned(), until })).unwrap();
        reach.changed().await;
        let told: Told = serde_json::from_str(&reach.text().unwrap()).unwrap();
        assert_eq!((told.username.as_deref(), told.credential.as_deref()), (Some("u"), Some("p")));
        assert!(told.seconds.unwrap() <= 60);

        let others = supernodes.learn(vec!["ws://a/pontoon".to_owned(), "ws://b/pontoon".to_owned()]);
        assert_eq!(others, ["ws://b/pontoon"], "itself it need not dial");
        reach.changed().await;
        assert_eq!(supernodes_told(A, &reach.text().unwrap()), ["ws://a/pontoon", "ws://b/pontoon"]);
        // Nothing new is nothing to tell.
        supernodes.learn(vec!["ws://b/pontoon".to_owned()]);
        let patience = tokio::time::timeout(Duration::from_millis(50), reach.changed());
        assert!(patience.await.is_err());
    }

    #[test]
    fn nothing_is_told_where_there_is_nothing() {
        let (_renew, credentials) = watch::channel(None);
        assert_eq!(Reach::new(turn::Ports::default(), credentials, Supernodes::new(None).subscribe()).text(), None);
    }

    #[test]
    fn what_another_supernode_tells_is_bounded_and_checked() {
        let many: Vec<String> = (0..100).map(|number| format!("ws://host{number}/pontoon")).collect();
        let text = serde_json::json!({ "supernodes": many, "and": "more" }).to_string();
        assert_eq!(supernodes_told(A, &text).len(), SUPERNODES_MAX);
        let odd = serde_json::json!({ "supernodes": ["http://a", "", "ws://b/pontoon"] }).to_string();
        assert_eq!(supernodes_told(A, &odd), ["ws://b/pontoon"]);
        assert_eq!(supernodes_told("wss://a/pontoon?token=t", &odd), ["ws://b/pontoon?token=t"]);
        for junk in ["", "[]", "{", r#"{"supernodes":3}"#] {
            assert!(supernodes_told(A, junk).is_empty());
        }
    }
}
