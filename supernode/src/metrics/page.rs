//! The page of metrics.

use std::sync::Arc;

use super::{
    Metrics,
    text::{
        Kind::{Counter, Gauge},
        Text,
    },
};
use crate::{
    figures::{Figures, STATES, TRANSPORTS},
    health::Health,
};

/// How the supernode is, when it is looked at.
#[derive(Debug)]
pub(crate) struct Looks {
    pub(crate) health: Health,
    pub(crate) figures: Arc<Figures>,
}

/// Numbers of the connections that nobody counts along.
pub(crate) struct Now {
    /// Bytes that wait in all queues.
    pub(crate) queue_bytes: usize,
    /// Addresses that are remembered.
    pub(crate) addresses: usize,
    /// It is leaving, or about to.
    pub(crate) leaving: bool,
    /// When the certificate that is served ends, in seconds since 1970.
    pub(crate) certificate_end: Option<i64>,
}

/// Of what the engine counts, what is a number of the moment.
const HELD: [&str; 7] = [
    "queries_running",
    "queries_waiting",
    "tasks_open",
    "task_bytes",
    "joins_open",
    "exchange_buckets",
    "exchange_bytes",
];
/// How the names of bytes by purpose begin, among what the engine counts.
const BYTES_OF: &str = "bytes_";
/// Has a metric of its own.
const RELAYED: [&str; 2] = ["frames_relayed", "bytes_relayed"];

/// The text that is served.
pub(crate) fn page(looks: &Looks, metrics: &Metrics, now: &Now) -> String {
    let mut text = Text::default();
    state(&mut text, looks, now);
    sockets(&mut text, looks, metrics, now);
    engine(&mut text, &looks.figures);
    disk(&mut text, &looks.health);
    requests(&mut text, metrics);
    process(&mut text);
    text.finish()
}

fn state(text: &mut Text, Looks { health, .. }: &Looks, now: &Now) {
    let help = "The program; its value is 1.";
    text.each(Gauge, "pontoon_build_info", help, "version", [(health.version, 1)]);
    text.one(Gauge, "pontoon_uptime_seconds", "Seconds since the start.", health.uptime_s);
    text.one(Gauge, "pontoon_joined", "Whether the node has joined its network.", u8::from(health.joined));
    let ready = !now.leaving && health.ready().is_ok();
    text.one(Gauge, "pontoon_ready", "Whether /readyz answers 200.", u8::from(ready));
    if let Some(end) = now.certificate_end {
        let help = "When the certificate that is served ends, in seconds since 1970.";
        text.one(Gauge, "pontoon_certificate_not_after_seconds", help, end);
    }
}

fn sockets(text: &mut Text, Looks { health, .. }: &Looks, metrics: &Metrics, now: &Now) {
    let ended = metrics.connections_ended.get();
    let open = metrics.connections.get().saturating_sub(ended);
    text.one(Gauge, "pontoon_connections", "Accepted connections that are open.", open);
    let help = "Connections accepted.";
    text.one(Counter, "pontoon_connections_accepted_total", help, metrics.connections.get());
    text.one(Gauge, "pontoon_addresses", "Addresses that limits are kept for.", now.addresses);
    text.one(Gauge, "pontoon_websockets", "Open WebSockets, accepted and dialled.", health.sockets);
    text.one(Counter, "pontoon_websockets_opened_total", "WebSockets opened.", health.counters.sockets_opened);
    let help = "Attempts to reach another supernode that failed.";
    text.one(Counter, "pontoon_dials_failed_total", help, health.counters.dials_failed);
    text.one(Gauge, "pontoon_webrtc_sessions", "WebRTC sessions, those that are being negotiated too.", health.webrtc);
    text.one(Counter, "pontoon_webrtc_opened_total", "WebRTC data channels opened.", health.counters.channels_opened);
    let help = "WebRTC sessions that came to nothing.";
    text.one(Counter, "pontoon_webrtc_failed_total", help, health.counters.channels_failed);
    if let Some(turn) = &health.turn {
        text.one(Gauge, "pontoon_turn_allocations", "TURN allocations.", turn.allocations);
        text.one(Counter, "pontoon_turn_allocations_made_total", "TURN allocations made.", turn.allocations_made);
        let help = "Requests to TURN refused: credentials that are over, or too much.";
        text.one(Counter, "pontoon_turn_refused_total", help, turn.allocations_refused);
        text.one(Counter, "pontoon_turn_bytes_total", "Bytes that TURN carried, both ways.", turn.bytes);
        let help = "Datagrams that TURN dropped: to closed addresses, or too many.";
        text.one(Counter, "pontoon_turn_dropped_total", help, turn.dropped);
    }
    let help = "Bytes received on accepted connections.";
    text.one(Counter, "pontoon_received_bytes_total", help, metrics.received_bytes.get());
    let help = "Bytes sent on accepted connections.";
    text.one(Counter, "pontoon_sent_bytes_total", help, metrics.sent_bytes.get());
    let help = "Messages taken of WebSockets and data channels.";
    text.one(Counter, "pontoon_received_chunks_total", help, metrics.received_chunks.get());
    let help = "Messages sent on WebSockets.";
    text.one(Counter, "pontoon_sent_chunks_total", help, metrics.sent_chunks.get());
    text.one(Gauge, "pontoon_queue_bytes", "Bytes that wait to be sent to clients.", now.queue_bytes);
    let held_back_s = metrics.held_back_us.get() as f64 / 1e6;
    let help = "Seconds for which WebSockets were not read because their clients sent too much, all of them together.";
    text.one(Counter, "pontoon_held_back_seconds_total", help, held_back_s);
    let help = "Clients and connections that were cut, by reason.";
    text.each(Counter, "pontoon_cut_total", help, "reason", metrics.cuts());
    let help = "Connections, upgrades and requests that were refused, by reason.";
    text.each(Counter, "pontoon_refused_total", help, "reason", metrics.refusals());
}

fn engine(text: &mut Text, figures: &Figures) {
    let links = TRANSPORTS.into_iter().zip(figures.links_by);
    text.each(Gauge, "pontoon_links", "Links to peers, by transport.", "transport", links);
    text.one(Gauge, "pontoon_peers", "Live peers that the node has heard of.", figures.peers);
    let fragments = STATES.map(|state| (state, figures.fragments.get(state).copied().unwrap_or(0)));
    text.each(Gauge, "pontoon_fragments", "Regions that the node holds, by state.", "state", fragments);
    let help = "Share of the key space of which a copy is here, in step with its owner's: 1 at an archive.";
    text.one(Gauge, "pontoon_replicated_ratio", help, figures.replicated);
    text.one(Gauge, "pontoon_store_records", "Records kept, tombstones included.", figures.records);
    text.one(Gauge, "pontoon_store_bytes", "Bytes of the records kept, about.", figures.bytes);
    let counted = |name: &str| figures.counters.get(name).copied().unwrap_or(0);
    let help = "Frames handed on between peers.";
    text.one(Counter, "pontoon_relayed_frames_total", help, counted("frames_relayed"));
    let help = "Bytes of frames handed on between peers.";
    text.one(Counter, "pontoon_relayed_bytes_total", help, counted("bytes_relayed"));
    let help = "What the engine has under way, by what it is.";
    text.each(Gauge, "pontoon_engine_held", help, "what", HELD.map(|name| (name, counted(name))));
    let by_purpose = figures.counters.iter().filter(|(name, _)| !RELAYED.contains(&name.as_str()));
    let by_purpose = by_purpose.filter_map(|(name, count)| Some((name.strip_prefix(BYTES_OF)?, *count)));
    let help = "Bytes of frames sent to peers, by what for.";
    text.each(Counter, "pontoon_engine_sent_bytes_total", help, "purpose", by_purpose);
    let other = |name: &str| !RELAYED.contains(&name) && !HELD.contains(&name) && !name.starts_with(BYTES_OF);
    let events = figures.counters.iter().filter(|(name, _)| other(name)).map(|(name, count)| (name.as_str(), *count));
    text.each(Counter, "pontoon_engine_events_total", "Whatever else the engine counts.", "event", events);
}

fn disk(text: &mut Text, health: &Health) {
    let states = crate::DiskState::ALL.map(|state| (state.name(), u8::from(state == health.disk)));
    text.each(Gauge, "pontoon_disk_state", "The state of the disk is 1, the others are 0.", "state", states);
    let help = "Bytes that wait for the disk.";
    text.one(Gauge, "pontoon_disk_pending_bytes", help, health.disk_pending_bytes);
    let help = "Times that the disk stopped taking writes.";
    text.one(Counter, "pontoon_disk_outages_total", help, health.counters.disk_outages);
    let batches = [("written", health.counters.batches_written), ("failed", health.counters.batches_failed)];
    text.each(Counter, "pontoon_disk_batches_total", "Batches of writes, by what became of them.", "result", batches);
}

fn requests(text: &mut Text, metrics: &Metrics) {
    let help = "HTTP requests that have no answer yet.";
    text.one(Gauge, "pontoon_http_requests_in_flight", help, metrics.requests.in_flight());
    let help = "HTTP requests that waited because their address asks too quickly.";
    text.one(Counter, "pontoon_http_requests_held_back_total", help, metrics.requests_held_back.get());
    let name = "pontoon_http_requests_total";
    text.family("counter", name, "HTTP requests answered, by route and status.");
    for (route, status, count) in metrics.requests.counts() {
        text.sample(name, &[("route", route), ("status", &status.to_string())], count);
    }
    let name = "pontoon_http_request_duration_seconds";
    text.family("histogram", name, "From a request's header until the header of its answer, by route.");
    let [bucket, sum, count] = ["bucket", "sum", "count"].map(|part| format!("{name}_{part}"));
    for of in metrics.requests.histograms() {
        for (bound, within) in &of.within {
            text.sample(&bucket, &[("route", of.route), ("le", &bound.to_string())], within);
        }
        text.sample(&bucket, &[("route", of.route), ("le", "+Inf")], of.count);
        text.sample(&sum, &[("route", of.route)], of.sum_s);
        text.sample(&count, &[("route", of.route)], of.count);
    }
}

/// What other programs' pages have as well, by the same names; where the system tells it.
fn process(text: &mut Text) {
    let kilobytes = |status: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    if let Some(resident) = std::fs::read_to_string("/proc/self/status").ok().as_deref().and_then(kilobytes) {
        let help = "Memory of the process, in bytes.";
        text.one(Gauge, "process_resident_memory_bytes", help, resident * 1_024);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        text.one(Gauge, "process_open_fds", "File descriptors that are open.", files.count());
    }
    #[cfg(unix)]
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        text.one(Gauge, "process_max_fds", "File descriptors that there may be.", most);
    }
}
