// A page of the NAT laboratory: connects, and lets itself be asked.
import { connect } from "/pontoon/index.js";

const { network, supernodes } = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const db = connect({ network, supernodes, timeout: 30_000 });

window.lab = {
  id: async () => (await db).id,
  diagnose: async () => (await db).diagnose(),
  /** The link to a peer, as `diagnose` tells it. */
  async link(peer) {
    const { links } = await (await db).diagnose();
    return links.find((link) => link.peer === peer) ?? null;
  },
  async fill(table) {
    const rows = Array.from({ length: 20 }, (_, number) => `(${number}, 'row ${number}')`);
    await (await db).query(`CREATE TABLE ${table} (id INTEGER PRIMARY KEY, name TEXT)`);
    await (await db).query(`INSERT INTO ${table} VALUES ${rows}`);
  },
  async count(table) {
    const { rows, coverage } = await (await db).query(`SELECT count(*) AS count, sum(id) AS sum FROM ${table}`);
    return { coverage, count: Number(rows[0].count), sum: Number(rows[0].sum) };
  },
};
