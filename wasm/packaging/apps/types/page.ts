import { connect, PontoonError } from "pontoon-db";
import type { ConnectOptions, LiveQuery, Pontoon, QueryResult, Row, SqlValue } from "pontoon-db";

const options: ConnectOptions = { network: "shop", supernodes: ["wss://sn.example.org/pontoon"] };
const db: Pontoon = await connect(options);
const result: QueryResult = await db.sql`SELECT ${1} AS n, ${"a"} AS s, ${new Date()} AS at`;
const value: SqlValue | undefined = result.rows[0]?.["n"];
const typed = await db.query<{ n: number }>("SELECT 1 AS n", [], { timeout: 1_000, signal: AbortSignal.timeout(500) });
const n: number | undefined = typed.rows[0]?.n;
const live: LiveQuery<Row> = db.live("SELECT 1");
for await (const { added, coverage } of live) console.log(added.length, coverage.toFixed(2));
const tree = db.pht<string>("names");
await tree.insert(["a", 1], "b");

try {
  // @ts-expect-error -- a parameter is a value that SQL has.
  await db.query("SELECT $1", [() => 1]);
} catch (error) {
  if (error instanceof PontoonError && error.code === "query_canceled") console.log(error.sqlstate, value, n);
}
// @ts-expect-error -- the addresses are missing.
await connect({ network: "shop" });
