//! Every bound and period of the browser driver. Those of the engine are in `pontoon_core::config`.

/// Above so many bytes in a data channel's own buffer, chunks wait in ours (a channel throws at 16 MiB).
pub const RTC_BUFFERED_HIGH: u32 = 1 << 20;
/// Below so many bytes the channel asks for more.
pub const RTC_BUFFERED_LOW: u32 = 256 << 10;
/// Bytes that may wait for one data channel; beyond, the link is closed: its reader has stalled.
pub const RTC_QUEUE_BYTES_MAX: usize = 16 << 20;
/// Bytes that may wait in one WebSocket; beyond, the link is closed.
pub const WEBSOCKET_BUFFERED_MAX: u32 = 32 << 20;
/// A WebSocket that is not open by then has failed.
pub const DIAL_TIMEOUT_MS: u32 = 10_000;
/// Batches written in one transaction.
pub const BATCHES_PER_TRANSACTION: usize = 256;
/// Events kept for a listener that does not listen yet.
pub const EVENTS_WAITING_MAX: usize = 1_024;
/// How long closing waits for the orderly leave.
pub const LEAVE_TIMEOUT_MS: u32 = 6_000;
