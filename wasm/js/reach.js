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
