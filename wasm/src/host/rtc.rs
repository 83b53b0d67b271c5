//! A WebRTC session: one connection with one ordered, reliable data channel, negotiated by id so that both ends make
//! it at once. The initiator offers; candidates trickle through the overlay.
//!
//! Invariant: signals are worked off one at a time in the order of their arrival, candidates only after the remote
//! description; a session that is dropped has closed its connection and nulled every handler.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::{Rc, Weak},
};

use js_sys::{ArrayBuffer, Uint8Array};
use pontoon_core::SessionId;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    MessageEvent, RtcConfiguration, RtcDataChannel, RtcDataChannelInit, RtcDataChannelState, RtcDataChannelType,
    RtcIceCandidateInit, RtcPeerConnection, RtcPeerConnectionIceEvent, RtcPeerConnectionState, RtcSdpType,
    RtcSessionDescriptionInit,
};

use super::{Event, Host, Options, Signal, Stalled, with_host};
use crate::{
    clock::{self, Timer},
    js,
    limits::{RTC_BUFFERED_HIGH, RTC_BUFFERED_LOW, RTC_LINGER_MS, RTC_QUEUE_BYTES_MAX, SIGNALS_WAITING_MAX},
};

const LABEL: &str = "pontoon";
const CHANNEL_ID: u16 = 0;

/// One session.
pub struct Session {
    name: SessionId,
    host: Weak<Host>,
    connection: RtcPeerConnection,
    channel: RtcDataChannel,
    handlers: RefCell<Option<Handlers>>,
    open_timeout: RefCell<Option<Timer>>,
    work: RefCell<Work>,
    working: Cell<bool>,
    outgoing: RefCell<Outgoing>,
}

/// What is to be done, one at a time.
#[derive(Default)]
struct Work {
    steps: VecDeque<Step>,
    /// Candidates that came before the description they belong to.
    early: Vec<Signal>,
    described: bool,
}

enum Step {
    Offer,
    Remote(Signal),
}

/// Chunks that wait for the channel to drain.
#[derive(Default)]
struct Outgoing {
    chunks: VecDeque<Vec<u8>>,
    bytes: usize,
}

struct Handlers {
    candidate: Closure<dyn Fn(RtcPeerConnectionIceEvent)>,
    state: Closure<dyn Fn()>,
    open: Closure<dyn Fn()>,
    message: Closure<dyn Fn(MessageEvent)>,
    drained: Closure<dyn Fn()>,
    closed: Closure<dyn Fn()>,
}

impl Session {
    /// Starts a session; what becomes of it is told to the host.
    pub(super) fn open(host: Weak<Host>, name: SessionId, options: &Options) -> Result<Rc<Session>, String> {
        let configuration = RtcConfiguration::new();
        if let Some(servers) = &options.ice_servers {
            configuration.set_ice_servers(servers);
        }
        let connection =
            RtcPeerConnection::new_with_configuration(&configuration).map_err(|error| js::describe(&error))?;
        let init = RtcDataChannelInit::new();
        init.set_negotiated(true);
        init.set_id(CHANNEL_ID);
        let channel = connection.create_data_channel_with_data_channel_dict(LABEL, &init);
        channel.set_binary_type(RtcDataChannelType::Arraybuffer);
        channel.set_buffered_amount_low_threshold(RTC_BUFFERED_LOW);

        let session = Rc::new(Session {
            name,
            host: host.clone(),
            connection,
            channel,
            handlers: RefCell::new(None),
            open_timeout: RefCell::new(Some(Timer::after(options.rtc_timeout_ms, move || {
                with_host(&host, |host| host.on_session_end(name, "not open in time"));
            }))),
            work: RefCell::default(),
            working: Cell::new(false),
            outgoing: RefCell::default(),
        });
        session.listen();
        Ok(session)
    }

    /// This side is the initiator.
    pub(super) fn offer(self: &Rc<Self>) {
        self.push(Step::Offer);
    }

    /// The other end said something.
    pub(super) fn on_signal(self: &Rc<Self>, signal: Signal) {
        self.push(Step::Remote(signal));
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

    fn listen(self: &Rc<Self>) {
        let on = |action: fn(&Rc<Session>)| {
            let this = Rc::downgrade(self);
            Closure::<dyn Fn()>::new(move || {
                if let Some(session) = this.upgrade() {
                    action(&session);
                }
            })
        };
        let this = Rc::downgrade(self);
        let candidate = Closure::<dyn Fn(RtcPeerConnectionIceEvent)>::new(move |event: RtcPeerConnectionIceEvent| {
            if let (Some(session), Some(candidate)) = (this.upgrade(), event.candidate()) {
                session.say(&Signal::Candidate {
                    candidate: candidate.candidate(),
                    mid: candidate.sdp_mid(),
                    line: candidate.sdp_m_line_index(),
                });
            }
        });
        let this = Rc::downgrade(self);
        // The channel's link, once it is open.
        let link = Rc::new(Cell::new(None));
        let opened = link.clone();
        let open = Closure::<dyn Fn()>::new(move || {
            if let (Some(session), None) = (this.upgrade(), opened.get()) {
                session.open_timeout.replace(None);
                with_host(&session.host, |host| opened.set(Some(host.on_channel_open(session.name))));
            }
        });
        let host = self.host.clone();
        let message = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
            if let (Some(link), Ok(buffer)) = (link.get(), event.data().dyn_into::<ArrayBuffer>()) {
                let bytes = Uint8Array::new(&buffer).to_vec();
                with_host(&host, |host| host.tell(Event::Chunk { link, bytes }));
            }
        });
        let handlers = Handlers {
            candidate,
            state: on(|session| match session.connection.connection_state() {
                RtcPeerConnectionState::Failed => session.end("the connection failed"),
                RtcPeerConnectionState::Closed => session.end("the connection closed"),
                _ => {}
            }),
            open,
            message,
            drained: on(|session| session.flush()),
            closed: on(|session| session.end("the channel closed")),
        };
        self.connection.set_onicecandidate(Some(handlers.candidate.as_ref().unchecked_ref()));
        self.connection.set_onconnectionstatechange(Some(handlers.state.as_ref().unchecked_ref()));
        self.channel.set_onopen(Some(handlers.open.as_ref().unchecked_ref()));
        self.channel.set_onmessage(Some(handlers.message.as_ref().unchecked_ref()));
        self.channel.set_onbufferedamountlow(Some(handlers.drained.as_ref().unchecked_ref()));
        self.channel.set_onclose(Some(handlers.closed.as_ref().unchecked_ref()));
        self.channel.set_onerror(Some(handlers.closed.as_ref().unchecked_ref()));
        self.handlers.replace(Some(handlers));
    }

    fn say(&self, signal: &Signal) {
        let payload = signal.encode();
        with_host(&self.host, |host| host.tell(Event::RtcSignal { session: self.name, payload }));
    }

    fn end(&self, reason: &str) {
        with_host(&self.host, |host| host.on_session_end(self.name, reason));
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

    fn push(self: &Rc<Self>, step: Step) {
        {
            let mut work = self.work.borrow_mut();
            if work.steps.len() >= SIGNALS_WAITING_MAX {
                return; // More than a handshake needs: not from a driver of ours.
            }
            work.steps.push_back(step);
        }
        if !self.working.replace(true) {
            let this = Rc::downgrade(self);
            spawn_local(async move { work_off(this).await });
        }
    }

    async fn step(&self, step: Step) -> Result<(), JsValue> {
        match step {
            Step::Offer => {
                let offer = JsFuture::from(self.connection.create_offer()).await?;
                self.describe_self(offer.unchecked_into(), Signal::Offer).await
            }
            Step::Remote(Signal::Offer(sdp)) => {
                self.describe_remote(RtcSdpType::Offer, &sdp).await?;
                let answer = JsFuture::from(self.connection.create_answer()).await?;
                self.describe_self(answer.unchecked_into(), Signal::Answer).await
            }
            Step::Remote(Signal::Answer(sdp)) => self.describe_remote(RtcSdpType::Answer, &sdp).await,
            Step::Remote(candidate @ Signal::Candidate { .. }) => {
                {
                    let mut work = self.work.borrow_mut();
                    if !work.described {
                        if work.early.len() < SIGNALS_WAITING_MAX {
                            work.early.push(candidate);
                        }
                        return Ok(());
                    }
                }
                self.add_candidate(candidate).await;
                Ok(())
            }
        }
    }

    async fn describe_self(
        &self,
        description: RtcSessionDescriptionInit,
        signal: fn(String) -> Signal,
    ) -> Result<(), JsValue> {
        JsFuture::from(self.connection.set_local_description(&description)).await?;
        let sdp = js::text_property(&description, "sdp").unwrap_or_default();
        self.say(&signal(sdp));
        Ok(())
    }

    async fn describe_remote(&self, kind: RtcSdpType, sdp: &str) -> Result<(), JsValue> {
        let description = RtcSessionDescriptionInit::new(kind);
        description.set_sdp(sdp);
        JsFuture::from(self.connection.set_remote_description(&description)).await?;
        let early = {
            let mut work = self.work.borrow_mut();
            work.described = true;
            core::mem::take(&mut work.early)
        };
        for candidate in early {
            self.add_candidate(candidate).await;
        }
        Ok(())
    }

    /// An address that the browser does not take is one address less.
    async fn add_candidate(&self, signal: Signal) {
        let Signal::Candidate { candidate, mid, line } = signal else { return };
        let init = RtcIceCandidateInit::new(&candidate);
        init.set_sdp_mid(mid.as_deref());
        init.set_sdp_m_line_index(line);
        let _ = JsFuture::from(self.connection.add_ice_candidate_with_opt_rtc_ice_candidate_init(Some(&init))).await;
    }
}

/// Works off the steps of a session until none is left or the session is gone.
async fn work_off(this: Weak<Session>) {
    loop {
        let Some(session) = this.upgrade() else { return };
        let Some(step) = session.work.borrow_mut().steps.pop_front() else {
            session.working.set(false);
            return;
        };
        if let Err(error) = session.step(step).await {
            return session.end(&js::describe(&error));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.set_onicecandidate(None);
        self.connection.set_onconnectionstatechange(None);
        self.channel.set_onopen(None);
        self.channel.set_onmessage(None);
        self.channel.set_onbufferedamountlow(None);
        self.channel.set_onclose(None);
        self.channel.set_onerror(None);
        // Closing the channel first lets a goodbye that is still buffered go out; closing the connection would drop it.
        self.channel.close();
        let connection = self.connection.clone();
        match connection.connection_state() {
            RtcPeerConnectionState::Connected => clock::later(RTC_LINGER_MS, move || connection.close()),
            _ => connection.close(),
        }
    }
}
