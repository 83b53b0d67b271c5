//! The link host: carries out what the engine wants of the network and tells it what happened there.
//!
//! [`Command`]s come in, [`Event`]s go out, both plain values: the engine may live in a worker, this half lives where
//! `RTCPeerConnection` does. Invariant: the tables are never borrowed while an event is told, for its listener may
//! command in turn. Everything dropped nulls its handlers and closes its connection, so that the browser collects it.

mod rtc;
mod signal;
mod websocket;

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
};

use pontoon_core::{Input, LinkId, Origin, Output, SessionId, map::Map};
use wasm_bindgen::JsValue;

pub use signal::Signal;

use rtc::Session;
use websocket::Socket;

use crate::{clock::Timer, limits::SIGNALS_WAITING_MAX};

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
        /// Whether this side makes the offer.
        initiator: bool,
    },
    /// What the other end of a session said.
    RtcSignal {
        /// The session.
        session: SessionId,
        /// An encoded [`Signal`].
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
    /// Something for the other end of a session.
    RtcSignal {
        /// The session.
        session: SessionId,
        /// An encoded [`Signal`].
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
            Output::RtcOpen { session, initiator, .. } => Command::RtcOpen { session, initiator },
            Output::RtcSignal { session, payload } => Command::RtcSignal { session, payload },
            Output::RtcClose { session } => Command::RtcClose { session },
            other => return Err(other),
        })
    }
}

/// How WebRTC sessions are opened.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The application's `RTCIceServer[]`, if it gave one.
    pub ice_servers: Option<JsValue>,
    /// A session that is not open by then has failed.
    pub rtc_timeout_ms: u32,
}

/// Figures of a link host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// WebRTC connections opened since the start.
    pub rtc_opened: u32,
    /// WebRTC sessions held now, opening ones included.
    pub rtc_open: usize,
    /// WebSockets held now, opening ones included.
    pub websockets_open: usize,
}

/// See the module's documentation.
pub struct LinkHost(Rc<Host>);

/// What the parts of the host share.
struct Host {
    options: Options,
    tell: Box<dyn Fn(Event)>,
    tables: RefCell<Tables>,
    next_link: Cell<u64>,
    rtc_opened: Cell<u32>,
    shut_down: Cell<bool>,
}

#[derive(Default)]
struct Tables {
    sockets: Map<LinkId, Rc<Socket>>,
    /// Sessions that wait for the other side's offer. Only an offer is worth one of the page's connections.
    awaited: Map<SessionId, Awaited>,
    sessions: Map<SessionId, Rc<Session>>,
    /// Open data channels.
    channels: Map<LinkId, SessionId>,
}

struct Awaited {
    /// Candidates that overtook their offer.
    early: Vec<Signal>,
    _timeout: Timer,
}

impl LinkHost {
    /// A link host that tells `listener` what happens, also while a command is carried out.
    pub fn new(options: Options, listener: impl Fn(Event) + 'static) -> LinkHost {
        LinkHost(Rc::new(Host {
            options,
            tell: Box::new(listener),
            tables: RefCell::default(),
            next_link: Cell::new(1),
            rtc_opened: Cell::new(0),
            shut_down: Cell::new(false),
        }))
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
            Command::RtcOpen { session, initiator } => host.rtc_open(session, initiator),
            Command::RtcSignal { session, payload } => {
                if let Some(signal) = Signal::decode(&payload) {
                    host.on_signal(session, signal);
                }
            }
            Command::RtcClose { session } => {
                if let Some(link) = host.drop_session(session) {
                    host.tell(Event::LinkDown { link });
                }
            }
            Command::Shutdown => {
                host.shut_down.set(true);
                let dropped = core::mem::take(&mut *host.tables.borrow_mut());
                drop(dropped);
            }
        }
    }

    /// Figures for debug pages.
    pub fn figures(&self) -> Figures {
        let tables = self.0.tables.borrow();
        Figures {
            rtc_opened: self.0.rtc_opened.get(),
            rtc_open: tables.sessions.len(),
            websockets_open: tables.sockets.len(),
        }
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
                self.tables.borrow_mut().sockets.insert(link, socket);
            }
            Err(_) => self.tell(Event::DialFailed { address }),
        }
    }

    fn rtc_open(self: &Rc<Self>, session: SessionId, initiator: bool) {
        if initiator {
            if let Some(opened) = self.connect(session) {
                opened.offer();
            }
            return;
        }
        let host = Rc::downgrade(self);
        let timeout = Timer::after(self.options.rtc_timeout_ms, move || {
            with_host(&host, |host| host.on_session_end(session, "no offer in time"));
        });
        self.tables.borrow_mut().awaited.insert(session, Awaited { early: Vec::new(), _timeout: timeout });
    }

    fn on_signal(self: &Rc<Self>, session: SessionId, signal: Signal) {
        let open = self.tables.borrow().sessions.get(&session).cloned();
        if let Some(open) = open {
            return open.on_signal(signal);
        }
        let mut early = {
            let mut tables = self.tables.borrow_mut();
            let Some(awaited) = tables.awaited.get_mut(&session) else { return };
            if !matches!(signal, Signal::Offer(_)) {
                if awaited.early.len() < SIGNALS_WAITING_MAX {
                    awaited.early.push(signal);
                }
                return;
            }
            core::mem::take(&mut awaited.early)
        };
        self.tables.borrow_mut().awaited.remove(&session);
        if let Some(open) = self.connect(session) {
            open.on_signal(signal);
            early.drain(..).for_each(|signal| open.on_signal(signal));
        }
    }

    fn connect(self: &Rc<Self>, session: SessionId) -> Option<Rc<Session>> {
        match Session::open(Rc::downgrade(self), session, &self.options) {
            Ok(opened) => {
                self.rtc_opened.set(self.rtc_opened.get() + 1);
                self.tables.borrow_mut().sessions.insert(session, opened.clone());
                Some(opened)
            }
            Err(reason) => {
                self.tell(Event::RtcFailed { session, reason });
                None
            }
        }
    }

    fn send(&self, link: LinkId, bytes: Vec<u8>) {
        let sent = {
            let tables = self.tables.borrow();
            let channel = tables.channels.get(&link).and_then(|session| tables.sessions.get(session));
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
            let dropped = (tables.sessions.remove(&session), tables.awaited.remove(&session));
            let link = tables.channels.iter().find(|(_, of)| **of == session).map(|(link, _)| *link);
            if let Some(link) = link {
                tables.channels.remove(&link);
            }
            (dropped, link)
        };
        drop(dropped);
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
        let known = {
            let tables = self.tables.borrow();
            tables.sessions.contains_key(&session) || tables.awaited.contains_key(&session)
        };
        match self.drop_session(session) {
            Some(link) => self.tell(Event::LinkDown { link }),
            None if known => self.tell(Event::RtcFailed { session, reason: reason.to_owned() }),
            None => {}
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
