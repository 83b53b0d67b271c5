import { createElement, type ReactElement } from "react";
import { connect } from "pontoon-db/slim";
import { PontoonProvider, useLive, usePontoon, useQuery } from "pontoon-db/react";

function Bids({ item }: { item: string }): ReactElement {
  const { status, db } = usePontoon();
  const { rows, refetch } = useQuery<{ amount: number }>("SELECT amount FROM bids WHERE item = $1", [item], { timeout: 1_000 });
  const live = useLive("SELECT * FROM bids", [], { db });
  const total: number = rows.reduce((sum, { amount }) => sum + amount, 0);
  return createElement("button", { onClick: refetch }, status, total, live.rows.length);
}

export const app = createElement(
  PontoonProvider,
  { options: { network: "shop", supernodes: ["/pontoon"] } },
  createElement(Bids, { item: "boat" }),
);
// @ts-expect-error -- a provider has either options or an open database.
export const wrong = createElement(PontoonProvider, {});

export const slim = connect({
  network: "shop",
  supernodes: ["/pontoon"],
  wasm: { peer: fetch("/peer.wasm"), parser: "/parser.wasm", sql: () => new URL("https://example.org/sql.wasm") },
  start: () => new Worker("/engine.js", { type: "module" }),
});
// @ts-expect-error -- SQL's module is missing.
void connect({ network: "shop", supernodes: [], wasm: { peer: new Uint8Array() } });
