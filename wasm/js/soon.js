// Later in this thread, once what waits in its queue already is done: so what comes together goes on together. A thread that
// is idle waits some microseconds for it, and a page in the background no longer than any other.

/** @type {(() => void)[]} */
let waiting = [];

function run() {
  const due = waiting;
  waiting = [];
  for (const each of due) {
    try {
      each();
    } catch (error) {
      // It is told as an uncaught error, and holds up nothing else.
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}

/** @type {() => void} */
let wake = () => {
  const { setImmediate, scheduler } =
    /** @type {{ setImmediate?: (run: () => void) => void, scheduler?: { postTask(run: () => void, options: {}): unknown } }} */ (globalThis);
  // Node's queue; a message port there would keep the process alive.
  if (setImmediate) wake = () => setImmediate(run);
  // A port's messages take a detour.
  else if (scheduler?.postTask) wake = () => void scheduler.postTask(run, { priority: "user-visible" });
  else {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = run;
    wake = () => port2.postMessage(null);
  }
  wake();
};

/**
 * Calls it soon.
 * @param {() => void} each
 */
export function soon(each) {
  waiting.push(each);
  if (waiting.length === 1) wake();
}
