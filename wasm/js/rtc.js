// WebRTC sessions: one connection with one ordered, reliable data channel each, negotiated by id so that both ends make it
// at once. `RTCPeerConnection` exists on pages only, so this runs there, also where the engine is in a worker; the channel
// goes to the engine as soon as it is made. What the two ends say to each other travels through the overlay as JSON: a
// description (RFC 8829) or a trickled candidate (RFC 8838).
//
// Invariants: what the other end says is worked off one after the other, candidates only after the description that they
// belong to; a connection is made only for an offer, ours or the other end's; a session that is over has no handlers.

/** How long a session may take to open. */
const OPEN_MS = 15_000;
/** Who has found no way by then tries TURN as well. */
const TURN_MS = 3_000;
/** A connection that is interrupted for so long is restarted (RFC 8445, 2.4), and given up when it was for so long. */
const RESTART_MS = 500;
const LOST_MS = 8_000;
/** How long a closed session's connection stays to deliver what is buffered. */
const LINGER_MS = 1_000;
/** Before an offer is made: making a connection keeps both pages busy, while what they have to say first goes over the relay. */
const OFFER_MS = 100;
/** Characters of one signal, and signals of one session that wait. */
const SIGNAL_MAX = 64 << 10;
const WAITING_MAX = 64;
/** Browsers admit some 500 connections to a page, and closed ones count until they are collected. */
export const CONNECTIONS_MAX = 450;
/** Sessions remembered for `diagnose`. */
const REMEMBERED_MAX = 64;
/** Supernodes whose STUN and TURN servers are used: browsers grow slow with many. */
const SUPERNODES_MAX = 3;

/**
 * @typedef {RTCSessionDescriptionInit | { candidate: RTCIceCandidateInit }} Signal
 * @typedef {import("./types.js").Report} Report
 * @typedef {import("./types.js").Nat} Nat
 * @typedef {import("./types.js").Budget} Budget
 * @typedef {import("./dial.js").Servers} Servers
 *
 * @typedef {object} Host
 * @property {(what: Uint8Array | string | RTCDataChannel) => void} tell
 * @property {() => RTCPeerConnection} connect
 * @property {(connection: RTCPeerConnection) => boolean} turn
 * @property {(candidate: RTCIceCandidate) => void} found
 */

/** Negotiates sessions for an engine. */
export class Negotiator {
  /** Who is told: bytes are a signal, text is why a session failed, anything else is its channel.
   * @type {((session: number, what: Uint8Array | string | RTCDataChannel) => void) | undefined} */
  told;
  /** @type {Map<number, Session>} */
  #sessions = new Map();
  /** @type {RTCConfiguration} */
  #configuration;
  /** STUN and TURN servers of supernodes, by their addresses, the latest last. @type {Map<string, Servers>} */
  #servers = new Map();
  /** This page's own addresses, and under which names its sockets were seen. @type {Set<string>} */
  #hosts = new Set();
  /** @type {{ socket: string, address: string, port: number, by: string }[]} */
  #seen = [];
  #opened = 0;
  #collected = 0;
  #registry = new FinalizationRegistry(() => (this.#collected += 1));
  /** @type {Report[]} */
  #reports = [];

  #openMs;

  /** @param {RTCConfiguration} [configuration] @param {number} [openMs] A session that is not open by then has failed. */
  constructor(configuration = {}, openMs = OPEN_MS) {
    this.#configuration = configuration;
    this.#openMs = openMs;
  }

  /** Begins a session, with an offer if it is the initiator's end.
   * @param {number} name @param {boolean} initiator @param {string} peer */
  open(name, initiator, peer) {
    const session = new Session(name, {
      tell: (what) => this.#sessions.get(name) === session && this.told?.(name, what),
      connect: () => this.#connect(peer),
      turn: (connection) => this.#turn(connection),
      found: (candidate) => this.#found(name, candidate),
    }, initiator, peer);
    this.#sessions.set(name, session);
    this.#reports.push(session.report);
    if (this.#reports.length > REMEMBERED_MAX) this.#reports.shift();
    session.begin(this.#openMs);
  }

  /** A supernode says where it answers STUN and TURN. @param {string} address @param {Servers} servers */
  servers(address, servers) {
    this.#servers.delete(address);
    this.#servers.set(address, servers);
    const [oldest] = this.#servers.keys();
    if (this.#servers.size > SUPERNODES_MAX && oldest !== undefined) this.#servers.delete(oldest);
  }

  /** What the other end says. @param {number} name @param {Uint8Array} payload */
  signal(name, payload) {
    if (payload.length > SIGNAL_MAX) return;
    try {
      this.#sessions.get(name)?.hear(JSON.parse(new TextDecoder().decode(payload)));
    } catch {
      // Not of a driver of ours.
    }
  }

  /** Forgets a session. @param {number} name */
  close(name) {
    this.#sessions.get(name)?.close();
    this.#sessions.delete(name);
  }

  /** Forgets all. */
  shutdown() {
    this.told = undefined;
    for (const name of [...this.#sessions.keys()]) this.close(name);
  }

  /** @returns {Budget} */
  get budget() {
    const open = [...this.#sessions.values()].filter((session) => session.connected).length;
    return { opened: this.#opened, open, held: this.#opened - this.#collected, max: CONNECTIONS_MAX };
  }

  /** What was tried of late, the latest last, and which NAT this page seems to be behind.
   * @returns {Promise<{ nat: Nat, reports: Report[] }>} */
  async reports() {
    await Promise.all([...this.#sessions.values()].map((session) => session.look()));
    return { nat: this.#nat(), reports: this.#reports.map((report) => ({ ...report })) };
  }

  /** One of this page's addresses. @param {number} session @param {RTCIceCandidate & { url?: string | null }} candidate */
  #found(session, { type, protocol, address, port, relatedPort, usernameFragment, url }) {
    if (type === "host" && address) this.#hosts.add(address);
    if (type !== "srflx" || protocol !== "udp" || !address || !port) return;
    // Browsers that hide a page's addresses hide its ports as well: then one gathering of a session stands for its socket.
    this.#seen.push({ socket: `${session} ${usernameFragment} ${relatedPort ?? 0}`, address, port, by: url ?? "" });
    if (this.#seen.length > WAITING_MAX) this.#seen.shift();
  }

  /** @returns {Nat} */
  #nat() {
    if (!this.#configuration.iceServers?.length && this.#servers.size === 0 || this.#opened === 0) return "unknown";
    const seen = this.#seen;
    if (seen.length === 0) return this.#hosts.size === 0 ? "unknown" : "no answer";
    // Two servers saw one socket at two ports.
    const two = seen.some((one) => seen.some((other) =>
      one.socket === other.socket && one.address === other.address && one.port !== other.port && (one.by !== other.by || one.by === "")));
    if (two) return "symmetric";
    return seen.every(({ address }) => this.#hosts.has(address)) ? "none" : "cone";
  }

  /**
   * What an attempt is given. TURN costs its server a socket for each attempt: it comes in where the others do not do.
   * @param {boolean} turns @returns {RTCConfiguration}
   */
  #configured(turns) {
    const iceServers = [...(this.#configuration.iceServers ?? [])];
    for (const { stun, turn, until } of this.#servers.values()) {
      iceServers.push({ urls: stun });
      if (turns && turn && until > Date.now()) iceServers.push(turn);
    }
    return { ...this.#configuration, iceServers };
  }

  /** Whether an attempt at a peer is given TURN from the start. @param {string} peer */
  #turns(peer) {
    const before = this.#reports.filter((report) => report.peer === peer);
    const failed = before.some(({ state, local }) => state === "failed" && local.length > 0);
    return failed || this.#nat() === "symmetric" || before.some(({ pair }) => pair?.includes("relay"));
  }

  /** @param {string} peer */
  #connect(peer) {
    if (this.budget.held >= CONNECTIONS_MAX) throw new Error("this page has opened too many connections");
    const connection = new RTCPeerConnection(this.#configured(this.#turns(peer)));
    this.#opened += 1;
    this.#registry.register(connection, undefined);
    return connection;
  }

  /** The way over TURN for a connection that has not found another; whether there is one. @param {RTCPeerConnection} connection */
  #turn(connection) {
    const turns = (/** @type {RTCConfiguration} */ { iceServers }) =>
      iceServers?.some(({ urls }) => [urls].flat().some((url) => url.startsWith("turn"))) ?? false;
    const configuration = this.#configured(true);
    if (turns(connection.getConfiguration()) || !turns(configuration)) return false;
    try {
      connection.setConfiguration(configuration);
      return true;
    } catch {
      return false; // A browser that cannot: the next attempt at this peer begins with it.
    }
  }
}

/** One session. */
class Session {
  /** @type {RTCPeerConnection | undefined} */
  #connection;
  /** @type {Promise<void>} */
  #work = Promise.resolve();
  #waiting = 0;
  /** Candidates that came before the description they belong to. @type {RTCIceCandidateInit[]} */
  #early = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #turning;
  #initiator;
  #host;
  #over = false;
  /** Who waits for what the connection says of itself. @type {Set<(stats: undefined) => void>} */
  #asked = new Set();
  /** @type {Report} */
  report;

  /**
   * @param {number} name
   * @param {Host} host
   * @param {boolean} initiator
   * @param {string} peer
   */
  constructor(name, host, initiator, peer) {
    this.#host = host;
    this.#initiator = initiator;
    const state = initiator ? "offered" : "answered";
    this.report = { session: name, peer, state, startedAt: Date.now(), local: [], remote: [], restarts: 0 };
  }

  get connected() {
    return this.#connection !== undefined;
  }

  /** @param {number} openMs */
  begin(openMs) {
    this.#wait(openMs, () => this.#fail(this.connected ? "not open in time" : "no offer in time"));
    if (!this.#initiator) return;
    this.#turning = setTimeout(() => this.#turn(), TURN_MS);
    const offer = () => this.#step(async () => this.#describe(this.#made()));
    // In a page that is hidden a timer may ring a minute later.
    if (globalThis.document?.visibilityState === "visible") setTimeout(offer, OFFER_MS);
    else offer();
  }

  /** @param {Signal} signal */
  hear(signal) {
    if (this.#waiting >= WAITING_MAX) return; // More than a negotiation needs.
    this.#step(() => this.#take(signal));
  }

  close() {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#turning);
    for (const answer of this.#asked) answer(undefined);
    if (this.report.state !== "failed") this.report.state = "closed";
    const connection = this.#connection;
    this.#connection = undefined;
    if (!connection) return;
    connection.onicecandidate = connection.onconnectionstatechange = null;
    // What the channel still has to say goes out first.
    if (connection.connectionState === "connected") setTimeout(() => connection.close(), LINGER_MS);
    else connection.close();
  }

  /** Looks which way the connection goes. */
  async look() {
    const stats = await this.#stats();
    /** @type {Map<string, any>} */
    const found = new Map();
    stats?.forEach((/** @type {any} */ entry) => found.set(entry.id, entry));
    for (const pair of found.values()) {
      if (pair.type !== "candidate-pair" || !(pair.selected ?? (pair.nominated && pair.state === "succeeded"))) continue;
      const kinds = [pair.localCandidateId, pair.remoteCandidateId].map((id) => found.get(id)?.candidateType ?? "?");
      this.report.pair = kinds.join(" to ");
    }
  }

  /** What the connection says of itself; nothing if it is closed meanwhile: Firefox never answers then.
   * @returns {Promise<RTCStatsReport | undefined>} */
  #stats() {
    const connection = this.#connection;
    return new Promise((resolve) => {
      if (!connection) return resolve(undefined);
      this.#asked.add(resolve);
      connection.getStats().then(resolve, () => resolve(undefined)).finally(() => this.#asked.delete(resolve));
    });
  }

  /** @param {Signal} signal */
  async #take(signal) {
    if ("candidate" in signal) {
      note(this.report.remote, signal.candidate.candidate);
      if (this.#connection?.remoteDescription) return this.#add(signal.candidate);
      if (this.#early.length < WAITING_MAX) this.#early.push(signal.candidate);
      return;
    }
    // Only an offer is worth one of the page's connections, and only an offer is answered.
    const due = signal.type === "offer" ? !this.#initiator : this.#connection?.signalingState === "have-local-offer";
    if (!due) return;
    const connection = this.#made();
    await connection.setRemoteDescription(signal);
    for (const candidate of this.#early.splice(0)) await this.#add(candidate);
    if (signal.type === "offer") await this.#describe(connection);
  }

  /** An address that the browser does not take is one address less. @param {RTCIceCandidateInit} candidate */
  async #add(candidate) {
    await this.#connection?.addIceCandidate(candidate).catch(() => undefined);
  }

  /** Our offer, or the answer to the other end's. @param {RTCPeerConnection} connection */
  async #describe(connection) {
    await connection.setLocalDescription();
    if (connection.localDescription) this.#say(connection.localDescription.toJSON());
  }

  /** The connection; made, with its channel, when it is not there. */
  #made() {
    if (this.#connection) return this.#connection;
    const connection = this.#host.connect();
    this.#connection = connection;
    const channel = connection.createDataChannel("pontoon", { negotiated: true, id: 0 });
    connection.onicecandidate = ({ candidate }) => {
      if (!candidate?.candidate) return;
      note(this.report.local, candidate.candidate);
      this.#host.found(candidate);
      this.#say({ candidate: candidate.toJSON() });
    };
    connection.onconnectionstatechange = () => this.#look(connection);
    // In the task that made it: later it cannot be handed to a worker.
    this.#host.tell(channel);
    return connection;
  }

  /** @param {RTCPeerConnection} connection */
  #look(connection) {
    switch (connection.connectionState) {
      case "connected":
        clearTimeout(this.#timer);
        clearTimeout(this.#turning);
        this.report.openMs ??= Date.now() - this.report.startedAt;
        this.report.state = "open";
        return;
      case "disconnected":
        // Addresses changed, or a moment without network: the initiator asks for new ways; who is slower waits.
        this.report.state = "interrupted";
        return this.#wait(RESTART_MS, () => this.#restart(connection));
      case "failed":
        return this.report.restarts === 0 ? this.#restart(connection) : this.#fail("the connection failed");
      case "closed":
        return this.#fail("the connection closed");
    }
  }

  /** @param {RTCPeerConnection} connection */
  #restart(connection) {
    // What never opened has tried every way it had.
    if (this.report.openMs === undefined) return this.#fail("no way to the other end was found");
    this.report.restarts += 1;
    this.#wait(LOST_MS, () => this.#fail("the connection was lost"));
    if (!this.#initiator) return;
    connection.restartIce();
    this.#step(() => this.#describe(connection));
  }

  /** No way was found yet: perhaps there is one over TURN. One end's is enough. */
  #turn() {
    this.#step(async () => {
      const connection = this.#connection;
      if (!connection || this.report.openMs !== undefined) return;
      // Who has not answered yet is waited for.
      if (!connection.remoteDescription) this.#turning = setTimeout(() => this.#turn(), TURN_MS / 3);
      else if (this.#host.turn(connection)) {
        connection.restartIce();
        await this.#describe(connection);
      }
    });
  }

  /** @param {Signal} signal */
  #say(signal) {
    if (!this.#over) this.#host.tell(new TextEncoder().encode(JSON.stringify(signal)));
  }

  /** @param {string} reason */
  #fail(reason) {
    if (this.#over) return;
    Object.assign(this.report, { state: "failed", reason });
    this.#host.tell(reason);
  }

  /** @param {() => Promise<void>} step */
  #step(step) {
    this.#waiting += 1;
    this.#work = this.#work
      .then(() => (this.#over ? undefined : step()))
      .catch((error) => this.#fail(String(error?.message ?? error)))
      .finally(() => (this.#waiting -= 1));
  }

  /** @param {number} ms @param {() => void} then */
  #wait(ms, then) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, ms);
  }
}

/** Notes the kind of a candidate. @param {string[]} kinds @param {string | undefined} candidate */
function note(kinds, candidate) {
  const kind = / typ (\w+)/.exec(candidate ?? "")?.[1];
  if (kind && !kinds.includes(kind)) kinds.push(kind);
}
