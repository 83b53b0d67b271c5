//! The link host: carries out what the engine wants of the network and tells it what happened there.
//!
//! [`Command`]s come in, [`Event`]s go out. WebSockets and data channels are used here, where the engine is: in a worker
//! or on the page. What negotiates WebRTC sessions is on the page, where `RTCPeerConnection` is. Invariant: the tables are never borrowed while an event is told, for its listener may
//! command in turn. Everything dropped nulls its handlers and closes its connection, so that the browser collects it.

mod rtc;
mod websocket;

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
};

use js_sys::Uint8Array;
use pontoon_core::{Id, Input, LinkId, Origin, Output, SessionId, map::Map};
use wasm_bindgen::prelude::*;

pub use rtc::Negotiator;

use rtc::Session;
use websocket::Socket;

use crate::js;

#[wasm_bindgen(module = "/js/dial.js")]
extern "C" {
    /// What a supernode told of how to be reached; `undefined` if it is nothing of that kind.
    #[wasm_bindgen(js_name = readReach)]
    fn read_reach(address: &str, text: &str) -> JsValue;
}

/// What the engine wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open a WebSocket.
    Dial {
        /// Its address.
        address: String,
    },
    /// Send one message.
    Send {
        /// Over this channel.
        link: LinkId,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Close a channel.
    Close {
        /// The channel.
        link: LinkId,
    },
    /// Open a WebRTC session.
    RtcOpen {
        /// Its name.
        session: SessionId,
        /// The other end.
        peer: Id,
        /// Whether this side makes the offer.
        initiator: bool,
    },
    /// What the other end of a session said.
    RtcSignal {
        /// The session.
        session: SessionId,
        /// For the negotiator.
        payload: Vec<u8>,
    },
    /// Forget a session and close its channel.
    RtcClose {
        /// The session.
        session: SessionId,
    },
    /// Close everything, tell nothing more.
    Shutdown,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A channel is open.
    LinkUp {
        /// Its name.
        link: LinkId,
        /// How it came to be.
        origin: Origin,
    },
    /// A channel is closed.
    LinkDown {
        /// The channel.
        link: LinkId,
    },
    /// A message arrived.
    Chunk {
        /// On this channel.
        link: LinkId,
        /// The message.
        bytes: Vec<u8>,
    },
    /// A WebSocket did not open.
    DialFailed {
        /// Its address.
        address: String,
    },
    /// A supernode told of others.
    Supernodes {
        /// Their addresses.
        addresses: Vec<String>,
    },
    /// Something for the other end of a session.
    RtcSignal {
        /// The session.
        session: SessionId,
        /// For the negotiator.
        payload: Vec<u8>,
    },
    /// A session did not open.
    RtcFailed {
        /// The session.
        session: SessionId,
        /// For people.
        reason: String,
    },
}

impl From<Event> for Input {
    fn from(event: Event) -> Input {
        match event {
            Event::LinkUp { link, origin } => Input::LinkUp { link, origin },
            Event::LinkDown { link } => Input::LinkDown { link },
            Event::Chunk { link, bytes } => Input::Chunk { link, bytes },
            Event::DialFailed { address } => Input::DialFailed { address },
            Event::Supernodes { addresses } => Input::Supernodes { addresses },
            Event::RtcSignal { session, payload } => Input::RtcSignal { session, payload },
            Event::RtcFailed { session, reason } => Input::RtcFailed { session, reason },
        }
    }
}

impl TryFrom<Output> for Command {
    type Error = Output;

    /// The outputs that are the link host's to carry out; the others come back.
    fn try_from(output: Output) -> Result<Command, Output> {
        Ok(match output {
            Output::Dial { address } => Command::Dial { address },
            Output::Send { link, bytes } => Command::Send { link, bytes },
            Output::Close { link } => Command::Close { link },
            Output::RtcOpen { session, peer, initiator } => Command::RtcOpen { session, peer, initiator },
            Output::RtcSignal { session, payload } => Command::RtcSignal { session, payload },
            Output::RtcClose { session } => Command::RtcClose { session },
            other => return Err(other),
        })
    }
}

/// Figures of a link host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// WebRTC sessions held now, opening ones included.
    pub rtc_open: usize,
    /// WebSockets held now, opening ones included.
    pub websockets_open: usize,
}

/// See the module's documentation.
pub struct LinkHost(Rc<Host>);

/// Is told a session, and what became of it.
type Told = Closure<dyn Fn(f64, JsValue)>;

/// What the parts of the host share.
struct Host {
    tell: Box<dyn Fn(Event)>,
    tables: RefCell<Tables>,
    next_link: Cell<u64>,
    negotiator: Option<Negotiator>,
    /// What the negotiator tells.
    told: RefCell<Option<Told>>,
    shut_down: Cell<bool>,
}

#[derive(Default)]
struct Tables {
    sockets: Map<LinkId, Rc<Socket>>,
    /// Sessions that are being negotiated, and those with a data channel.
    sessions: Map<SessionId, Option<Rc<Session>>>,
    /// Open data channels.
    channels: Map<LinkId, SessionId>,
}

impl LinkHost {
    /// A link host that tells `listener` what happens, also while a command is carried out. Without a negotiator no
    /// session opens.
    pub fn new(negotiator: Option<Negotiator>, listener: impl Fn(Event) + 'static) -> LinkHost {
        let host = Rc::new(Host {
            tell: Box::new(listener),
            tables: RefCell::default(),
            next_link: Cell::new(1),
            negotiator,
            told: RefCell::new(None),
            shut_down: Cell::new(false),
        });
        if let Some(negotiator) = &host.negotiator {
            let to = Rc::downgrade(&host);
            let told = Told::new(move |session: f64, what: JsValue| {
                if let Some(host) = to.upgrade() {
                    host.on_told(SessionId(session as u64), what);
                }
            });
            negotiator.set_told(Some(told.as_ref()));
            host.told.replace(Some(told));
        }
        LinkHost(host)
    }

    /// Carries out a command. One about a channel or session that is gone has no effect.
    pub fn execute(&self, command: Command) {
        let host = &self.0;
        if host.shut_down.get() {
            return;
        }
        match command {
            Command::Dial { address } => host.dial(address),
            Command::Send { link, bytes } => host.send(link, bytes),
            Command::Close { link } => host.drop_link(link),
            Command::RtcOpen { session, peer, initiator } => host.rtc_open(session, peer, initiator),
            Command::RtcSignal { session, payload } => {
                if let Some(negotiator) = &host.negotiator {
                    negotiator.signal(session.0 as f64, &Uint8Array::from(&payload[..]));
                }
            }
            Command::RtcClose { session } => {
                if let Some(link) = host.drop_session(session) {
                    host.tell(Event::LinkDown { link });
                }
            }
            Command::Shutdown => {
                host.shut_down.set(true);
                if let Some(negotiator) = &host.negotiator {
                    negotiator.set_told(None);
                }
                let dropped = core::mem::take(&mut *host.tables.borrow_mut());
                for (session, channel) in dropped.sessions {
                    drop(channel);
                    host.close_session(session);
                }
            }
        }
    }

    /// Figures for debug pages.
    pub fn figures(&self) -> Figures {
        let tables = self.0.tables.borrow();
        Figures { rtc_open: tables.sessions.len(), websockets_open: tables.sockets.len() }
    }
}

impl Host {
    fn tell(&self, event: Event) {
        if !self.shut_down.get() {
            (self.tell)(event);
        }
    }

    fn fresh_link(&self) -> LinkId {
        let link = self.next_link.get();
        self.next_link.set(link + 1);
        LinkId(link)
    }

    fn dial(self: &Rc<Self>, address: String) {
        let link = self.fresh_link();
        match Socket::dial(Rc::downgrade(self), link, address.clone()) {
            Ok(socket) => {
                self.tables.borrow_mut().sockets.insert(link, socket.clone());
                socket.begin();
            }
            Err(_) => self.tell(Event::DialFailed { address }),
        }
    }

    fn rtc_open(&self, session: SessionId, peer: Id, initiator: bool) {
        match &self.negotiator {
            Some(negotiator) => {
                self.tables.borrow_mut().sessions.insert(session, None);
                negotiator.open(session.0 as f64, initiator, &peer.to_string());
            }
            None => self.tell(Event::RtcFailed { session, reason: "no WebRTC here".to_owned() }),
        }
    }

    /// The negotiator says something of a session.
    fn on_told(self: &Rc<Self>, session: SessionId, what: JsValue) {
        if !self.tables.borrow().sessions.contains_key(&session) {
            return;
        }
        if let Some(signal) = what.dyn_ref::<Uint8Array>() {
            self.tell(Event::RtcSignal { session, payload: signal.to_vec() });
        } else if let Some(reason) = what.as_string() {
            self.on_session_end(session, &reason);
        } else {
            let opened = Session::new(&Rc::downgrade(self), session, what.unchecked_into());
            self.tables.borrow_mut().sessions.insert(session, Some(opened));
        }
    }

    fn close_session(&self, session: SessionId) {
        if let Some(negotiator) = &self.negotiator {
            negotiator.close(session.0 as f64);
        }
    }

    fn send(&self, link: LinkId, bytes: Vec<u8>) {
        let sent = {
            let tables = self.tables.borrow();
            let channel = tables.channels.get(&link).and_then(|session| tables.sessions.get(session)?.as_ref());
            match (tables.sockets.get(&link), channel) {
                (Some(socket), _) => socket.send(&bytes),
                (None, Some(session)) => session.send(bytes),
                (None, None) => Ok(()),
            }
        };
        if sent.is_err() {
            self.drop_link(link);
            self.tell(Event::LinkDown { link });
        }
    }

    fn drop_link(&self, link: LinkId) {
        let socket = self.tables.borrow_mut().sockets.remove(&link);
        drop(socket);
        let session = self.tables.borrow().channels.get(&link).copied();
        if let Some(session) = session {
            self.drop_session(session);
        }
    }

    /// Forgets a session and gives the link that it carried.
    fn drop_session(&self, session: SessionId) -> Option<LinkId> {
        let (dropped, link) = {
            let mut tables = self.tables.borrow_mut();
            let dropped = tables.sessions.remove(&session);
            let link = tables.channels.iter().find(|(_, of)| **of == session).map(|(link, _)| *link);
            if let Some(link) = link {
                tables.channels.remove(&link);
            }
            (dropped, link)
        };
        if let Some(channel) = dropped {
            drop(channel);
            self.close_session(session);
        }
        link
    }

    /// A data channel opened.
    fn on_channel_open(&self, session: SessionId) -> LinkId {
        let link = self.fresh_link();
        self.tables.borrow_mut().channels.insert(link, session);
        self.tell(Event::LinkUp { link, origin: Origin::Rtc { session } });
        link
    }

    /// A session came to its end, before or after its channel opened.
    fn on_session_end(&self, session: SessionId, reason: &str) {
        let known = self.tables.borrow().sessions.contains_key(&session);
        match self.drop_session(session) {
            Some(link) => self.tell(Event::LinkDown { link }),
            None if known => self.tell(Event::RtcFailed { session, reason: reason.to_owned() }),
            None => {}
        }
    }

    /// A supernode says how to be reached.
    fn on_text(&self, address: &str, text: &str) {
        let told = read_reach(address, text);
        let servers = js::property(&told, "servers").filter(JsValue::is_truthy);
        if let (Some(negotiator), Some(servers)) = (&self.negotiator, servers) {
            negotiator.servers(address, &servers);
        }
        let addresses = js::strings(&js::property(&told, "supernodes").unwrap_or_default());
        if !addresses.is_empty() {
            self.tell(Event::Supernodes { addresses });
        }
    }

    /// A WebSocket closed, or did not open.
    fn on_socket_end(&self, link: LinkId) {
        let Some(socket) = self.tables.borrow_mut().sockets.remove(&link) else { return };
        if socket.opened() {
            self.tell(Event::LinkDown { link });
        } else {
            self.tell(Event::DialFailed { address: socket.address().to_owned() });
        }
    }
}

/// A channel did not take a message: too much waits in it, or it is closing.
struct Stalled;

/// Runs `action` on the host, if it is still there.
fn with_host(host: &Weak<Host>, action: impl FnOnce(&Host)) {
    if let Some(host) = host.upgrade() {
        action(&host);
    }
}
