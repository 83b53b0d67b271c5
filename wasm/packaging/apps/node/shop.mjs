// Two peers in one process: what one writes, the other one reads. Ends by itself once both are closed.
import { connect } from "pontoon-db";

const [supernode, table] = process.argv.slice(2);
const own = "WebSocket" in globalThis;
const [a, b] = await Promise.all([1, 2].map(() => connect({ network: "pontoon", supernodes: [supernode] })));
await a.query(`CREATE TABLE ${table} (id INTEGER PRIMARY KEY, item TEXT, amount REAL)`);
await a.query(`INSERT INTO ${table} VALUES (1, $1, $2)`, ["boat", 12.5]);
const { rows, coverage } = await b.query(`SELECT item, amount FROM ${table}`);
const { storage } = (await b.stats()).driver;
await Promise.all([a.close(), b.close()]);
console.log(JSON.stringify({ rows, coverage, storage, own, distinct: a.id !== b.id, closed: Date.now() }));
