// A pipe between two pages, through Pontoon or by a bare RTCDataChannel: `send` takes bytes, and may give a promise;
// `onMessage` is told of bytes; `window` messages may be on their way at once, or `ready` says when the next one may go.

/** The kinds of messages: their first byte. */
const [DATA, BEGIN, END, PING, PONG] = [0, 1, 2, 3, 4];

const pipes = {};

/** Through the package; `db` is connected. */
export function openPontoon(other) {
  const listeners = new Set();
  db.onMessage(({ message }) => listeners.forEach((listener) => listener(message)));
  // As many as may wait for one destination.
  const WINDOW = 256;
  let [flying, landed] = [0, () => {}];
  add("pontoon", {
    async ready() {
      while (flying >= WINDOW) await new Promise((resolve) => (landed = resolve));
    },
    async send(bytes) {
      flying += 1;
      await db.sendNode(other, bytes).catch((error) => pipes.pontoon.fail?.(error));
      flying -= 1;
      landed();
    },
    onMessage: (listener) => listeners.add(listener),
  });
}

/** A bare channel: ordered, reliable, as the package's own. With an offer it answers it; gives what the other side needs. */
export async function openBare(offer) {
  const connection = new RTCPeerConnection();
  const channel = connection.createDataChannel("bare", { negotiated: true, id: 0 });
  channel.binaryType = "arraybuffer";
  channel.bufferedAmountLowThreshold = 256 << 10;
  const opened = new Promise((resolve) => (channel.onopen = resolve));
  globalThis.bare = { connection, opened };
  add("bare", {
    async ready() {
      if (channel.bufferedAmount < 1 << 20) return;
      await new Promise((resolve) => channel.addEventListener("bufferedamountlow", resolve, { once: true }));
    },
    send: (bytes) => channel.send(bytes),
    onMessage: (listener) => channel.addEventListener("message", ({ data }) => listener(new Uint8Array(data))),
  });
  if (offer) await connection.setRemoteDescription(offer);
  await connection.setLocalDescription();
  if (connection.iceGatheringState !== "complete") {
    await new Promise((resolve) => {
      connection.onicegatheringstatechange = () => connection.iceGatheringState === "complete" && resolve();
    });
  }
  return connection.localDescription.toJSON();
}

/** Every pipe answers: to a ping with a pong of the same length, to the last of announced messages with an end. */
function add(name, pipe) {
  let left = 0;
  pipes[name] = pipe;
  pipe.onMessage((bytes) => {
    const [kind] = bytes;
    if (kind === BEGIN) left = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
    else if (kind === DATA && --left === 0) pipe.send(Uint8Array.of(END));
    else if (kind === PING) pipe.send(bytes.with(0, PONG));
    else if (kind === END || kind === PONG) pipes[name].told?.();
  });
}

/** The next end or pong. */
const told = (pipe) => new Promise((resolve, reject) => Object.assign(pipe, { told: resolve, fail: reject }));

/** Messages of `size` bytes one after the other, until the other side says that it has all: bytes a second. */
export async function throughput({ name, size, count }) {
  const pipe = pipes[name];
  const begin = new Uint8Array(5);
  begin[0] = BEGIN;
  new DataView(begin.buffer).setUint32(1, count);
  const payload = crypto.getRandomValues(new Uint8Array(size));
  payload[0] = DATA;
  const ended = told(pipe);
  const begun = performance.now();
  pipe.send(begin);
  for (let sent = 0; sent < count; sent += 1) {
    await pipe.ready();
    pipe.send(payload);
  }
  await ended;
  return (size * count) / ((performance.now() - begun) / 1_000);
}

/** The round trips of `count` messages of `size` bytes, one at a time, each answered by the other page: milliseconds. */
export async function roundTrips({ name, size, count }) {
  const pipe = pipes[name];
  const payload = new Uint8Array(size);
  payload[0] = PING;
  const times = [];
  for (let sent = 0; sent < count; sent += 1) {
    const answered = told(pipe);
    const begun = performance.now();
    pipe.send(payload);
    await answered;
    times.push(performance.now() - begun);
  }
  return times;
}
