//! WebRTC: sessions are negotiated where `RTCPeerConnection` is, on the page (`js/rtc.js`); their data channels are used
//! here, wherever the engine is.
//!
//! Invariant: a session that is dropped has nulled its channel's handlers, closed the channel and told the negotiator.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::{Rc, Weak},
};

use js_sys::{ArrayBuffer, Uint8Array};
use pontoon_core::SessionId;
use wasm_bindgen::prelude::*;
use web_sys::{MessageEvent, RtcDataChannel, RtcDataChannelState, RtcDataChannelType};

use super::{Event, Host, Stalled, with_host};
use crate::limits::{RTC_BUFFERED_HIGH, RTC_BUFFERED_LOW, RTC_QUEUE_BYTES_MAX};

#[wasm_bindgen]
extern "C" {
    /// What negotiates sessions: see `js/rtc.js`. Sessions are numbers, signals bytes for the other end's negotiator.
    #[derive(Clone, Debug)]
    pub type Negotiator;
    /// Begins a session. What becomes of it is told to `told(session, what)`: bytes are a signal, text is why it failed,
    /// anything else is its data channel, which is still to open.
    #[wasm_bindgen(method)]
    pub(super) fn open(this: &Negotiator, session: f64, initiator: bool, peer: &str);
    /// What the other end's negotiator says.
    #[wasm_bindgen(method)]
    pub(super) fn signal(this: &Negotiator, session: f64, payload: &Uint8Array);
    /// A supernode says where it answers STUN and TURN.
    #[wasm_bindgen(method)]
    pub(super) fn servers(this: &Negotiator, address: &str, servers: &JsValue);
    /// Forgets a session and closes its connection.
    #[wasm_bindgen(method)]
    pub(super) fn close(this: &Negotiator, session: f64);
    /// Who is told.
    #[wasm_bindgen(method, setter)]
    pub(super) fn set_told(this: &Negotiator, told: Option<&JsValue>);
}

/// One session's data channel.
pub struct Session {
    channel: RtcDataChannel,
    handlers: RefCell<Option<Handlers>>,
    outgoing: RefCell<Outgoing>,
}

/// Chunks that wait for the channel to drain.
#[derive(Default)]
struct Outgoing {
    chunks: VecDeque<Vec<u8>>,
    bytes: usize,
}

struct Handlers {
    open: Closure<dyn Fn()>,
    message: Closure<dyn Fn(MessageEvent)>,
    drained: Closure<dyn Fn()>,
    closed: Closure<dyn Fn()>,
}

impl Session {
    /// Takes the channel of a session; what becomes of it is told to the host.
    pub(super) fn new(host: &Weak<Host>, name: SessionId, channel: RtcDataChannel) -> Rc<Session> {
        channel.set_binary_type(RtcDataChannelType::Arraybuffer);
        channel.set_buffered_amount_low_threshold(RTC_BUFFERED_LOW);
        let session = Rc::new(Session { channel, handlers: RefCell::new(None), outgoing: RefCell::default() });
        session.listen(host, name);
        session
    }

    /// Sends a chunk, or lets it wait until the channel has drained.
    pub(super) fn send(&self, bytes: Vec<u8>) -> Result<(), Stalled> {
        let mut outgoing = self.outgoing.borrow_mut();
        if outgoing.chunks.is_empty() && self.channel.buffered_amount() < RTC_BUFFERED_HIGH {
            return self.channel.send_with_u8_array(&bytes).map_err(|_| Stalled);
        }
        outgoing.bytes += bytes.len();
        outgoing.chunks.push_back(bytes);
        if outgoing.bytes > RTC_QUEUE_BYTES_MAX { Err(Stalled) } else { Ok(()) }
    }

    fn listen(self: &Rc<Self>, host: &Weak<Host>, name: SessionId) {
        // The channel's link, once it is open.
        let link = Rc::new(Cell::new(None));
        let (to, opened) = (host.clone(), link.clone());
        let open = Closure::<dyn Fn()>::new(move || {
            if opened.get().is_none() {
                with_host(&to, |host| opened.set(Some(host.on_channel_open(name))));
            }
        });
        let to = host.clone();
        let message = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
            if let (Some(link), Ok(buffer)) = (link.get(), event.data().dyn_into::<ArrayBuffer>()) {
                let bytes = Uint8Array::new(&buffer).to_vec();
                with_host(&to, |host| host.tell(Event::Chunk { link, bytes }));
            }
        });
        let this = Rc::downgrade(self);
        let drained = Closure::<dyn Fn()>::new(move || {
            if let Some(session) = this.upgrade() {
                session.flush();
            }
        });
        let to = host.clone();
        let closed = Closure::<dyn Fn()>::new(move || {
            with_host(&to, |host| host.on_session_end(name, "the channel closed"));
        });
        let handlers = Handlers { open, message, drained, closed };
        self.channel.set_onopen(Some(handlers.open.as_ref().unchecked_ref()));
        self.channel.set_onmessage(Some(handlers.message.as_ref().unchecked_ref()));
        self.channel.set_onbufferedamountlow(Some(handlers.drained.as_ref().unchecked_ref()));
        self.channel.set_onclose(Some(handlers.closed.as_ref().unchecked_ref()));
        self.channel.set_onerror(Some(handlers.closed.as_ref().unchecked_ref()));
        self.handlers.replace(Some(handlers));
    }

    fn flush(&self) {
        let mut outgoing = self.outgoing.borrow_mut();
        while self.channel.ready_state() == RtcDataChannelState::Open
            && self.channel.buffered_amount() < RTC_BUFFERED_HIGH
            && let Some(chunk) = outgoing.chunks.pop_front()
        {
            outgoing.bytes -= chunk.len();
            if self.channel.send_with_u8_array(&chunk).is_err() {
                return; // The channel is closing; `close` follows.
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.channel.set_onopen(None);
        self.channel.set_onmessage(None);
        self.channel.set_onbufferedamountlow(None);
        self.channel.set_onclose(None);
        self.channel.set_onerror(None);
        // Before its connection: so a goodbye that is still buffered goes out.
        self.channel.close();
    }
}
