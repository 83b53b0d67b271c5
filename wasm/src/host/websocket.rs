//! A WebSocket to a supernode: one binary message carries one chunk.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
};

use js_sys::{ArrayBuffer, Uint8Array};
use pontoon_core::{LinkId, Origin};
use wasm_bindgen::prelude::*;
use web_sys::{BinaryType, MessageEvent, WebSocket};

use super::{Event, Host, Stalled, with_host};
use crate::{
    clock::Timer,
    limits::{DIAL_TIMEOUT_MS, WEBSOCKET_BUFFERED_MAX},
};

#[wasm_bindgen(module = "/js/dial.js")]
extern "C" {
    /// A socket to an address, perhaps dialled before.
    #[wasm_bindgen(catch)]
    fn dial(address: &str) -> Result<WebSocket, JsValue>;
    /// Tells its handlers what happened before they were set.
    #[wasm_bindgen(js_name = caughtUp)]
    fn caught_up(socket: &WebSocket);
}

/// One socket and its handlers.
pub struct Socket {
    socket: WebSocket,
    address: String,
    opened: Cell<bool>,
    dial_timeout: RefCell<Option<Timer>>,
    on_open: Closure<dyn Fn()>,
    on_message: Closure<dyn Fn(MessageEvent)>,
    on_end: Closure<dyn Fn()>,
}

impl Socket {
    /// Starts to open a socket; what becomes of it is told to the host, once the socket has [`begun`](Self::begin).
    pub(super) fn dial(host: Weak<Host>, link: LinkId, address: String) -> Result<Rc<Socket>, JsValue> {
        let socket = dial(&address)?;
        socket.set_binary_type(BinaryType::Arraybuffer);
        let made = Rc::new_cyclic(|this: &Weak<Socket>| {
            let on_open = {
                let (host, this) = (host.clone(), this.clone());
                Closure::<dyn Fn()>::new(move || {
                    if let Some(this) = this.upgrade() {
                        this.on_open(&host, link);
                    }
                })
            };
            let on_message = {
                let (host, address) = (host.clone(), address.clone());
                Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
                    match event.data().dyn_into::<ArrayBuffer>() {
                        Ok(buffer) => {
                            let bytes = Uint8Array::new(&buffer).to_vec();
                            with_host(&host, |host| host.tell(Event::Chunk { link, bytes }));
                        }
                        // Text is no part of the protocol, but says how to be reached.
                        Err(other) => {
                            if let Some(text) = other.as_string() {
                                with_host(&host, |host| host.on_text(&address, &text));
                            }
                        }
                    }
                })
            };
            let end = move || with_host(&host, |host| host.on_socket_end(link));
            let on_end = Closure::<dyn Fn()>::new(end.clone());
            let dial_timeout = RefCell::new(Some(Timer::after(DIAL_TIMEOUT_MS, end)));
            Socket { socket, address, opened: Cell::new(false), dial_timeout, on_open, on_message, on_end }
        });
        made.socket.set_onopen(Some(made.on_open.as_ref().unchecked_ref()));
        made.socket.set_onmessage(Some(made.on_message.as_ref().unchecked_ref()));
        made.socket.set_onclose(Some(made.on_end.as_ref().unchecked_ref()));
        made.socket.set_onerror(Some(made.on_end.as_ref().unchecked_ref()));
        Ok(made)
    }

    /// Tells what happened already. The host knows the socket by now.
    pub(super) fn begin(&self) {
        caught_up(&self.socket);
    }

    fn on_open(&self, host: &Weak<Host>, link: LinkId) {
        self.opened.set(true);
        self.dial_timeout.replace(None);
        let origin = Origin::Dialled { address: self.address.clone() };
        with_host(host, |host| host.tell(Event::LinkUp { link, origin }));
    }

    /// Whether it ever opened.
    pub(super) fn opened(&self) -> bool {
        self.opened.get()
    }

    /// Where it leads.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn send(&self, bytes: &[u8]) -> Result<(), Stalled> {
        if self.socket.buffered_amount() > WEBSOCKET_BUFFERED_MAX {
            return Err(Stalled);
        }
        self.socket.send_with_u8_array(bytes).map_err(|_| Stalled)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        self.socket.set_onerror(None);
        // Fails only with a code or reason that is no good; none is given.
        let _ = self.socket.close();
    }
}
