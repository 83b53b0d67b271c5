// Data channels for a worker in browsers that do not hand them over: the page pumps what goes through them.

/** Bytes that wait in the real channel; beyond, they wait in the worker's. */
const BUFFERED_HIGH = 1 << 20;

type ToPage = ArrayBuffer | "close";
type ToWorker = ArrayBuffer | "open" | "closed" | { sent: number };

/** Pumps a channel; gives the end for the worker. */
export function pump(channel: RTCDataChannel): MessagePort {
  const { port1, port2 } = new MessageChannel();
  const tell = (what: ToWorker): void => port1.postMessage(what, what instanceof ArrayBuffer ? [what] : []);
  const waiting: ArrayBuffer[] = [];
  const flush = (): void => {
    let sent = 0;
    while (waiting[0] && channel.readyState === "open" && channel.bufferedAmount < BUFFERED_HIGH) {
      sent += waiting[0].byteLength;
      channel.send(waiting.shift() as ArrayBuffer);
    }
    if (sent > 0) tell({ sent });
  };
  channel.binaryType = "arraybuffer";
  channel.bufferedAmountLowThreshold = BUFFERED_HIGH / 4;
  channel.onopen = () => tell("open");
  channel.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => tell(data);
  channel.onbufferedamountlow = flush;
  channel.onclose = channel.onerror = () => tell("closed");
  port1.onmessage = ({ data }: MessageEvent<ToPage>) => {
    if (data === "close") return channel.close();
    waiting.push(data);
    flush();
  };
  return port2;
}

/** What a pumped channel is to the engine: as much of an `RTCDataChannel` as it uses. */
export class Pumped {
  readyState: RTCDataChannelState = "connecting";
  binaryType = "arraybuffer";
  bufferedAmount = 0;
  bufferedAmountLowThreshold = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: ArrayBuffer }) => void) | null = null;
  onbufferedamountlow: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onerror: (() => void) | null = null;
  readonly #port: MessagePort;

  constructor(port: MessagePort) {
    this.#port = port;
    port.onmessage = ({ data }: MessageEvent<ToWorker>) => {
      if (data instanceof ArrayBuffer) return this.onmessage?.({ data });
      if (data === "open") {
        this.readyState = "open";
        return this.onopen?.();
      }
      if (data === "closed") {
        this.readyState = "closed";
        return this.onclose?.();
      }
      const before = this.bufferedAmount;
      this.bufferedAmount -= data.sent;
      const threshold = this.bufferedAmountLowThreshold;
      if (before > threshold && this.bufferedAmount <= threshold) this.onbufferedamountlow?.();
    };
  }

  send(bytes: Uint8Array): void {
    if (this.readyState !== "open") throw new Error("the channel is not open");
    // Of the engine's memory: it is copied, and what is copied handed over.
    const copy = bytes.slice().buffer as ArrayBuffer;
    this.bufferedAmount += copy.byteLength;
    this.#port.postMessage(copy, [copy]);
  }

  close(): void {
    this.readyState = "closed";
    this.#port.postMessage("close");
  }
}
