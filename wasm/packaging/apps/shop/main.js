// The smallest page: joins, writes, asks, shows what came and leaves.
import { connect } from "pontoon-db";

const { supernode, table } = Object.fromEntries(new URLSearchParams(location.search));
const output = document.querySelector("output");

try {
  const db = await connect({ network: "pontoon", supernodes: [supernode], storage: "memory" });
  await db.query(`CREATE TABLE ${table} (id INTEGER PRIMARY KEY, item TEXT, amount REAL)`);
  await db.query(`INSERT INTO ${table} VALUES (1, $1, $2), (2, 'oar', 3)`, ["boat", 12.5]);
  const { rows, coverage } = await db.query(`SELECT item, amount FROM ${table} WHERE amount > $1`, [10]);
  await db.close();
  output.value = JSON.stringify({ rows, coverage });
} catch (error) {
  output.value = `${error.name} ${error.code}: ${error.message}`;
}
