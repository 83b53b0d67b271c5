//! Pontoon's native peer: meeting point, WebSocket relay, durable peer and host of the demo page.
