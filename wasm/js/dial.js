// Sockets to supernodes. They may be dialled early, while the engine's module is compiled and its store opened: what comes
// in meanwhile is kept for the engine.

/** What nobody has asked for by then is closed. */
const EARLY_MS = 7_000;

/** @type {Map<string, { socket: WebSocket, patience: ReturnType<typeof setTimeout> }>} */
const early = new Map();
/** What came of a socket before there was anybody to hear it. @type {WeakMap<WebSocket, MessageEvent[]>} */
const heard = new WeakMap();

/**
 * Dials what an engine will dial once it runs; gives what closes that again, if it does not.
 * @param {readonly string[]} addresses
 * @returns {() => void}
 */
export function dialEarly(addresses) {
  /** @type {Map<string, WebSocket>} */
  const dialled = new Map();
  for (const address of addresses) {
    if (early.has(address)) continue;
    try {
      const socket = new WebSocket(address);
      socket.binaryType = "arraybuffer";
      /** @type {MessageEvent[]} */
      const events = [];
      heard.set(socket, events);
      socket.onmessage = (event) => void events.push(event);
      dialled.set(address, socket);
      early.set(address, { socket, patience: setTimeout(forget, EARLY_MS, address, socket) });
    } catch {
      // The engine is told when it dials.
    }
  }
  return () => dialled.forEach((socket, address) => forget(address, socket));
}

/** @param {string} address @param {WebSocket} socket */
function forget(address, socket) {
  if (early.get(address)?.socket === socket) take(address)?.close();
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
