//! Two link hosts in one page, over real WebRTC; the test carries their signals as the overlay would.

use std::{cell::RefCell, rc::Rc, time::Duration};

use js_sys::{Object, Reflect};
use pontoon_core::{Id, LinkId, Origin, SessionId};
use pontoon_wasm::host::{Command, Event, LinkHost, Negotiator};
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

use super::{pause, until};

const SESSION: SessionId = SessionId(7);

#[wasm_bindgen(module = "/js/rtc.js")]
extern "C" {
    #[wasm_bindgen(js_name = Negotiator)]
    type PageNegotiator;
    #[wasm_bindgen(constructor, js_class = "Negotiator")]
    fn new(configuration: &Object, open_ms: f64) -> PageNegotiator;
    #[wasm_bindgen(method, getter)]
    fn budget(this: &PageNegotiator) -> JsValue;
}

/// A host and everything it told.
struct End {
    host: LinkHost,
    negotiator: JsValue,
    events: Rc<RefCell<Vec<Event>>>,
}

impl End {
    fn new(open_ms: u32) -> End {
        let events = Rc::new(RefCell::new(Vec::new()));
        let told = events.clone();
        let negotiator = JsValue::from(PageNegotiator::new(&Object::new(), f64::from(open_ms)));
        let ours: Negotiator = negotiator.clone().unchecked_into();
        End { host: LinkHost::new(Some(ours), move |event| told.borrow_mut().push(event)), negotiator, events }
    }

    /// A figure of the page's connections.
    fn connections(&self, figure: &str) -> f64 {
        let budget = self.negotiator.unchecked_ref::<PageNegotiator>().budget();
        Reflect::get(&budget, &figure.into()).unwrap().as_f64().unwrap()
    }

    /// Takes the signals that wait for the other end.
    fn signals(&self) -> Vec<Event> {
        self.events.borrow_mut().extract_if(.., |event| matches!(event, Event::RtcSignal { .. })).collect()
    }

    fn link(&self) -> Option<LinkId> {
        self.events.borrow().iter().find_map(|event| match event {
            Event::LinkUp { link, origin: Origin::Rtc { session: SESSION } } => Some(*link),
            _ => None,
        })
    }

    fn received(&self) -> Vec<Vec<u8>> {
        let events = self.events.borrow();
        events
            .iter()
            .filter_map(|event| if let Event::Chunk { bytes, .. } = event { Some(bytes.clone()) } else { None })
            .collect()
    }

    fn told(&self, wanted: impl Fn(&Event) -> bool) -> bool {
        self.events.borrow().iter().any(wanted)
    }
}

/// Carries the signals of each end to the other; `reversed` turns their order around.
fn carry(from: &End, to: &End, reversed: bool) {
    let mut signals = from.signals();
    if reversed {
        signals.reverse();
    }
    for signal in signals {
        if let Event::RtcSignal { session, payload } = signal {
            to.host.execute(Command::RtcSignal { session, payload });
        }
    }
}

async fn linked(reversed: bool) -> (End, LinkId, End, LinkId) {
    let (a, b) = (End::new(10_000), End::new(10_000));
    a.host.execute(Command::RtcOpen { session: SESSION, peer: Id::default(), initiator: true });
    b.host.execute(Command::RtcOpen { session: SESSION, peer: Id::default(), initiator: false });
    if reversed {
        pause(Duration::from_millis(500)).await; // Let offer and candidates pile up.
    }
    until("both channels open", || {
        carry(&a, &b, reversed);
        carry(&b, &a, reversed);
        a.link().is_some() && b.link().is_some()
    })
    .await;
    let (at_a, at_b) = (a.link().unwrap(), b.link().unwrap());
    (a, at_a, b, at_b)
}

#[wasm_bindgen_test]
async fn a_session_opens_carries_chunks_in_order_and_closes() {
    let (a, at_a, b, at_b) = linked(false).await;
    let chunks: Vec<Vec<u8>> = (0..=255_u8).map(|index| vec![index; 16 * 1_024]).collect();
    for chunk in &chunks {
        a.host.execute(Command::Send { link: at_a, bytes: chunk.clone() });
    }
    b.host.execute(Command::Send { link: at_b, bytes: b"hello".to_vec() });
    until("all chunks arrive", || b.received().len() == chunks.len() && a.received().len() == 1).await;
    assert_eq!(b.received(), chunks);
    assert_eq!(a.received(), [b"hello".to_vec()]);

    a.host.execute(Command::Send { link: at_a, bytes: b"goodbye".to_vec() });
    a.host.execute(Command::Close { link: at_a });
    until("the other end hears of it", || b.told(|event| *event == Event::LinkDown { link: at_b })).await;
    assert_eq!(b.received().last().unwrap(), b"goodbye", "what was sent before closing arrives");
    assert!(!a.told(|event| matches!(event, Event::LinkDown { .. })), "who closes knows it already");
    assert_eq!(a.host.figures().rtc_open, 0);
    assert_eq!(b.host.figures().rtc_open, 0);
}

#[wasm_bindgen_test]
async fn candidates_may_overtake_descriptions() {
    let (a, _, b, _) = linked(true).await;
    assert_eq!((a.connections("opened"), b.connections("opened")), (1.0, 1.0));
}

#[wasm_bindgen_test]
async fn a_session_that_nobody_answers_fails_and_frees_its_connection() {
    let a = End::new(300);
    a.host.execute(Command::RtcOpen { session: SESSION, peer: Id::default(), initiator: true });
    until("the attempt fails", || a.told(|event| matches!(event, Event::RtcFailed { session: SESSION, .. }))).await;
    assert_eq!((a.host.figures().rtc_open, a.connections("open")), (0, 0.0));
}

#[wasm_bindgen_test]
async fn what_is_no_offer_costs_no_connection() {
    let b = End::new(300);
    b.host.execute(Command::RtcOpen { session: SESSION, peer: Id::default(), initiator: false });
    let stray = br#"{"candidate":{"candidate":"candidate:1","sdpMLineIndex":0}}"#;
    b.host.execute(Command::RtcSignal { session: SESSION, payload: stray.to_vec() });
    b.host.execute(Command::RtcSignal { session: SESSION, payload: b"\xffjunk".to_vec() });
    until("the wait ends", || b.told(|event| matches!(event, Event::RtcFailed { session: SESSION, .. }))).await;
    assert_eq!(b.connections("opened"), 0.0);
}

#[wasm_bindgen_test]
async fn a_malformed_offer_fails_the_session() {
    let b = End::new(10_000);
    b.host.execute(Command::RtcOpen { session: SESSION, peer: Id::default(), initiator: false });
    b.host
        .execute(Command::RtcSignal { session: SESSION, payload: br#"{"type":"offer","sdp":"v=nonsense"}"#.to_vec() });
    until("the session fails", || b.told(|event| matches!(event, Event::RtcFailed { session: SESSION, .. }))).await;
}

#[wasm_bindgen_test]
async fn a_channel_that_nobody_reads_from_is_bounded() {
    let (a, at_a, _b, _) = linked(false).await;
    // The page's one thread runs this loop, so that nothing drains meanwhile.
    for _ in 0..2_000 {
        a.host.execute(Command::Send { link: at_a, bytes: vec![0; 16 * 1_024] });
    }
    assert!(a.told(|event| *event == Event::LinkDown { link: at_a }), "32 MB wait for one channel");
}

#[wasm_bindgen_test]
async fn dialling_nobody_fails() {
    let a = End::new(10_000);
    for address in ["ws://127.0.0.1:9/", "not an address"] {
        a.host.execute(Command::Dial { address: address.to_owned() });
        until("the dial fails", || a.told(|event| *event == Event::DialFailed { address: address.to_owned() })).await;
    }
    assert_eq!(a.host.figures().websockets_open, 0);
}
