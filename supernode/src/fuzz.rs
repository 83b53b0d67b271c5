//! Doors for `fuzz/`: what is read of strangers, with no socket before it and no engine behind. No other program needs them.

use std::{collections::BTreeMap, io::Cursor, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::Request,
};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use pontoon_core::Id;
use tokio::{
    runtime::{Builder, Runtime},
    sync::{Semaphore, mpsc},
};
use webrtc::peer_connection::{RTCIceCandidateInit, RTCSessionDescription};

use crate::{
    api::{self, Access, Sizes},
    client::import::{csv_rows, insert, json_rows},
    engine::{Calls, Engine},
    metrics::Metrics,
    reach::{candidates::Candidates, is_open},
    traffic::{Addresses, TrafficLimits},
};

/// The most of an answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// All of `/v1`, open to everybody, in front of an engine that is gone: a request is read, and not carried out.
pub struct Api {
    runtime: Runtime,
    routes: TowerToHyperService<Router>,
}

impl Api {
    /// One for many requests.
    ///
    /// # Panics
    ///
    /// Where the operating system has no room for its runtime.
    #[allow(clippy::new_without_default, clippy::expect_used)]
    pub fn new() -> Api {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let (requests, _) = mpsc::channel(1);
        let looking = Arc::new(Semaphore::new(1));
        let engine = Engine { id: Id::ZERO, user: None, locality_bits: 0, requests, calls: Calls::default(), looking };
        let access = Access { open: true, ..Access::default() };
        let sizes = Sizes { key_bytes_max: 1 << 10, value_bytes_max: 64 << 10 };
        let bounds = (Addresses::new(&TrafficLimits::default()), Arc::new(Metrics::default()));
        let routes = TowerToHyperService::new(api::router(&api::Api::new(engine, access, sizes, bounds)));
        Api { runtime, routes }
    }

    /// The status of the answer, all of which is read; `None`: it is no request.
    pub fn ask<'a>(
        &self,
        method: &str,
        target: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        content: &[u8],
    ) -> Option<u16> {
        let request = Request::builder().method(method).uri(target);
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let request = request.body(Body::from(content.to_vec())).ok()?;
        self.runtime.block_on(async {
            let Ok(answer) = self.routes.call(request).await;
            let status = answer.status().as_u16();
            let _ = to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await;
            Some(status)
        })
    }
}

/// The first statement that the command `import` makes of a file, as it is sent.
pub fn import(json: bool, content: &[u8]) -> Option<Vec<u8>> {
    let types = [("i", "INTEGER"), ("r", "REAL"), ("b", "BOOLEAN"), ("d", "DATE"), ("t", "TEXT")];
    let types: BTreeMap<_, _> = types.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect();
    let rows = if json { json_rows(content) } else { csv_rows(content, &types) }.ok()?;
    let first = rows.first().filter(|row| !row.is_empty())?;
    Some(insert("t", &first.keys().collect::<Vec<_>>(), &rows[..1], &types))
}

/// What the other end of a WebRTC session says, to a peer that tries no private addresses.
///
/// # Panics
///
/// Where the crate that makes connections would try one.
pub fn signal(payload: &[u8]) {
    let Ok(signal) = serde_json::from_slice::<serde_json::Value>(payload) else { return };
    let mut candidates = Candidates::new(false);
    if let Some(candidate) = signal.get("candidate") {
        let Ok(told) = serde_json::from_value::<RTCIceCandidateInit>(candidate.clone()) else { return };
        if candidates.takes(&told.candidate) {
            check(told.candidate.strip_prefix("candidate:").unwrap_or(&told.candidate));
        }
        return;
    }
    let Ok(told) = serde_json::from_value::<RTCSessionDescription>(signal) else { return };
    let taken = candidates.of_description(&told.sdp);
    assert_eq!(Candidates::new(false).of_description(&taken), taken);
    let Ok(description) = rtc::sdp::SessionDescription::unmarshal(&mut Cursor::new(taken.as_bytes())) else { return };
    let media = description.media_descriptions.iter().flat_map(|media| &media.attributes);
    let attributes = description.attributes.iter().chain(media).filter(|attribute| attribute.is_ice_candidate());
    attributes.filter_map(|attribute| attribute.value.as_deref()).for_each(check);
}

fn check(candidate: &str) {
    if let Ok(read) = rtc::ice::candidate::unmarshal_candidate(candidate) {
        let address = read.address();
        assert!(address.parse().map_or_else(|_| address.ends_with(".local"), is_open), "{address}");
    }
}
