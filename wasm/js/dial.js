// Sockets to supernodes. They may be dialled early, while the engine's module is compiled and its store opened: what comes
// in meanwhile is kept for the engine.

/** What nobody has asked for by then is closed. */
const EARLY_MS = 10_000;

/** @type {Map<string, { socket: WebSocket, patience: ReturnType<typeof setTimeout> }>} */
const early = new Map();
/** What came of a socket before there was anybody to hear it. @type {WeakMap<WebSocket, MessageEvent[]>} */
const heard = new WeakMap();

/**
 * Dials what an engine will dial once it runs.
 * @param {readonly string[]} addresses
 */
export function dialEarly(addresses) {
  for (const address of addresses) {
    if (early.has(address)) continue;
    try {
      const socket = new WebSocket(address);
      socket.binaryType = "arraybuffer";
      /** @type {MessageEvent[]} */
      const events = [];
      heard.set(socket, events);
      socket.onmessage = (event) => void events.push(event);
      early.set(address, { socket, patience: setTimeout(forget, EARLY_MS, address) });
    } catch {
      // The engine is told when it dials.
    }
  }
}

/**
 * Closes what an engine that did not open would have asked for.
 * @param {readonly string[]} addresses
 */
export const forgetEarly = (addresses) => addresses.forEach(forget);

/** @param {string} address */
function forget(address) {
  take(address)?.close();
}

/** @param {string} address */
function take(address) {
  const { socket, patience } = early.get(address) ?? {};
  clearTimeout(patience);
  early.delete(address);
  return socket;
}

/**
 * A socket to an address, perhaps one that was dialled early: `caughtUp` goes with it.
 * @param {string} address
 */
export function dial(address) {
  const socket = take(address);
  return socket && socket.readyState <= WebSocket.OPEN ? socket : new WebSocket(address);
}

/**
 * Tells a socket's handlers, now that they are there, what happened before.
 * @param {WebSocket} socket
 */
export function caughtUp(socket) {
  const events = heard.get(socket);
  if (!events) return;
  heard.delete(socket);
  if (socket.readyState === WebSocket.OPEN) socket.onopen?.(new Event("open"));
  for (const event of events) socket.onmessage?.(event);
}
