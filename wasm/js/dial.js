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

// How to be reached: what a supernode tells who dials it, as text beside the binary messages of its socket. It says at which
// port it answers STUN and TURN, at which other one STUN (who is seen at another port from there is behind a NAT that maps each
// destination anew), credentials for TURN, and the addresses of other supernodes.

const TEXT_MAX = 8 << 10;
const SUPERNODES_MAX = 16;

/**
 * @typedef {object} Servers
 * @property {string[]} stun
 * @property {RTCIceServer} [turn]
 * @property {number} until When the credentials of `turn` end, milliseconds since the epoch.
 *
 * @typedef {object} Reach
 * @property {Servers} [servers]
 * @property {string[]} supernodes
 */

/**
 * Reads it; nothing if it is none.
 * @param {string} address Of the supernode: what it answers at is at the same host.
 * @param {string} text
 * @returns {Reach | undefined}
 */
export function readReach(address, text) {
  if (text.length > TEXT_MAX) return undefined;
  try {
    const { udp, stun, username, credential, seconds, supernodes } = JSON.parse(text);
    /** @type {Reach} */
    const reach = { supernodes: [] };
    if (Array.isArray(supernodes)) {
      const from = new URL(address);
      reach.supernodes = supernodes.filter(isAddress).slice(0, SUPERNODES_MAX).map((other) => withToken(other, from));
    }
    if (isPort(udp)) {
      const { hostname } = new URL(address);
      const at = `${hostname}:${udp}`;
      const ports = isPort(stun) ? [udp, stun] : [udp];
      reach.servers = { stun: ports.map((port) => `stun:${hostname}:${port}`), until: Date.now() + (Number(seconds) || 0) * 1_000 };
      if (typeof username === "string" && typeof credential === "string") {
        reach.servers.turn = { urls: `turn:${at}?transport=udp`, username, credential };
      }
    }
    return reach;
  } catch {
    return undefined;
  }
}

/**
 * Supernodes of one network ask for the same token, if they do. What was told over TLS does not go out without.
 * @param {string} other @param {URL} from
 */
function withToken(other, from) {
  const token = from.searchParams.get("token");
  if (token === null || (from.protocol === "wss:" && !other.startsWith("wss:"))) return other;
  return `${other}?token=${encodeURIComponent(token)}`;
}

/** @param {unknown} port @returns {port is number} */
function isPort(port) {
  return Number.isInteger(port) && Number(port) > 0 && Number(port) < 65_536;
}

/** @param {unknown} address */
function isAddress(address) {
  return typeof address === "string" && address.length <= 256 && /^wss?:\/\/[^/?]+[^?]*$/.test(address);
}
