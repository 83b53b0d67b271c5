// Bids, live and as asked for: three components that share one peer.
import { createElement as h, useState } from "react";
import { PontoonProvider, useLive, usePontoon, useQuery } from "pontoon-db/react";

export const BIDS = "SELECT item, amount FROM react_bids ORDER BY id";
export const ABOVE = "SELECT count(*) AS n FROM react_bids WHERE amount > $1";

/** `onOpen` is given the peer, for whoever looks at it from outside. */
export function Shop({ options, onOpen }) {
  const [open, setOpen] = useState(true);
  return h("main", null,
    h("button", { id: "toggle", onClick: () => setOpen(!open) }, open ? "close" : "open"),
    open && h(PontoonProvider, { options }, h(State, { options, onOpen }), h(Bids), h(Count)));
}

/** Asks for the same peer by its options. */
function State({ options, onOpen }) {
  const { status, db } = usePontoon(options);
  const same = usePontoon().db === db;
  if (db) onOpen(db);
  return h("p", { id: "state" }, `${status} ${same}`);
}

function Bids() {
  const { rows, loading } = useLive(BIDS);
  return h("ul", { "aria-busy": loading }, rows.map(({ item, amount }) => h("li", { key: item }, `${item} ${amount}`)));
}

function Count() {
  const [least, setLeast] = useState(10);
  const { rows, loading, error, refetch } = useQuery(ABOVE, [least]);
  const wrong = useQuery("SELECT * FROM nowhere");
  return h("section", null,
    h("button", { id: "less", onClick: () => setLeast(least - 1) }, "less"),
    h("button", { id: "again", onClick: refetch }, "again"),
    h("output", null, error ? error.code : loading ? "loading" : `${rows[0].n} above ${least}`),
    h("code", null, wrong.error?.code));
}
