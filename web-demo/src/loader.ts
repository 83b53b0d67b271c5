// Sample data: reads the files that came with the page and inserts them in batches. Doing it twice is harmless.

import type { Inspect, Pontoon, SqlParam } from "pontoon-db";
import airportsUrl from "vega-data/airports.csv?url";
import flightsUrl from "vega-data/flights-20k.json?url";
import routesUrl from "vega-data/flights-airport.csv?url";
import { parseCsv } from "./csv";
import { byId, h } from "./dom";
import { count, duration, plural } from "./format";
import { errorCode, errorMessage } from "./swarm";

/** Rows of one INSERT. */
const BATCH_ROWS = 250;
/** INSERTs in flight at once. */
const BATCHES_AT_ONCE = 3;
/** How often a batch is tried when somebody else inserts the same rows at the same time. */
const ATTEMPTS = 5;

/** Between two counts of the tables' rows. */
const COUNT_MS = 3000;

type Row = SqlParam[];

interface Table {
  name: string;
  create: string;
  /** Columns that make up the key. They come first. */
  key: string[];
  rows(): Promise<Row[]>;
}

const TABLES: Record<"airports" | "routes" | "flights", Table> = {
  airports: {
    name: "airports",
    create: `CREATE TABLE IF NOT EXISTS airports (iata TEXT PRIMARY KEY, name TEXT, city TEXT, state TEXT, country TEXT,
 latitude REAL, longitude REAL)`,
    key: ["iata"],
    async rows() {
      const text = ["iata", "name", "city", "state", "country"];
      return (await csv(airportsUrl)).map((row) => [
        ...text.map((name) => row[name] ?? ""),
        Number(row["latitude"]),
        Number(row["longitude"]),
      ]);
    },
  },
  routes: {
    name: "routes",
    create: `CREATE TABLE IF NOT EXISTS routes (origin TEXT, destination TEXT, count INTEGER,
 PRIMARY KEY (origin, destination))`,
    key: ["origin", "destination"],
    async rows() {
      return (await csv(routesUrl)).map((row) => [row["origin"] ?? "", row["destination"] ?? "", Number(row["count"])]);
    },
  },
  flights: {
    name: "flights",
    create: `CREATE TABLE IF NOT EXISTS flights (id INTEGER PRIMARY KEY, at TIMESTAMP, delay INTEGER, distance INTEGER,
 origin TEXT, destination TEXT)`,
    key: ["id"],
    async rows() {
      interface Flight {
        date: string;
        delay: number;
        distance: number;
        origin: string;
        destination: string;
      }
      const flights = (await (await fetched(flightsUrl)).json()) as Flight[];
      return flights.map(({ date, delay, distance, origin, destination }, id) => {
        const at = new Date(`${date.replaceAll("/", "-").replace(" ", "T")}:00Z`);
        return [id, at, delay, distance, origin, destination];
      });
    },
  },
};

export class Loader {
  private readonly basic = byId<HTMLButtonElement>("load-basic");
  private readonly flights = byId<HTMLButtonElement>("load-flights");
  private readonly bar = byId<HTMLProgressElement>("load-bar");
  private readonly label = byId("load-label");
  private readonly error = byId("load-error");
  private joined = false;
  private busy = false;
  /** Peers and records as of the last count: another tab may have loaded. */
  private counted = "";
  private countedAt = -Infinity;

  constructor(private readonly db: Pontoon) {
    this.basic.addEventListener("click", () => void this.load([TABLES.airports, TABLES.routes]));
    this.flights.addEventListener("click", () => void this.load([TABLES.flights]));
  }

  /** Counts again, now and then, when peers or records came or went. */
  snapshot({ joined, peers, store }: Inspect): void {
    this.joined = joined;
    this.basic.disabled = this.flights.disabled = !joined || this.busy;
    const counted = `${peers.length} ${store.records}`;
    if (!joined || this.busy || counted === this.counted || performance.now() - this.countedAt < COUNT_MS) return;
    this.counted = counted;
    this.countedAt = performance.now();
    void this.refresh();
  }

  /** Shows which sample tables the swarm has, and how many rows of them. */
  async refresh(): Promise<void> {
    const items = await Promise.all(
      Object.values(TABLES).map(async ({ name }) => {
        const rows = await this.count(name).catch(() => undefined);
        if (rows === undefined) return null;
        return h("li", { "data-table": name }, h("code", {}, name), " ", h("b", {}, count(rows)), " rows in the swarm");
      }),
    );
    byId("tables").replaceChildren(...items.filter((item) => item !== null));
  }

  /** How many rows a table has; `undefined` when there is no such table. */
  private async count(table: string): Promise<number | undefined> {
    try {
      const { rows } = await this.db.query<{ n: number }>(`SELECT count(*) AS n FROM ${table}`);
      return rows[0]?.n;
    } catch (error) {
      if (errorCode(error) === "undefined_table") return undefined;
      throw error;
    }
  }

  private async load(tables: Table[]): Promise<void> {
    this.busy = this.basic.disabled = this.flights.disabled = true;
    this.error.hidden = true;
    byId("load-progress").hidden = false;
    const names = tables.map(({ name }) => name).join(" and ");
    this.show(0, `Fetching ${names} …`);
    const began = performance.now();
    try {
      const sources = await Promise.all(tables.map(async (table) => ({ table, rows: await table.rows() })));
      for (const { create } of tables) await this.db.query(create);
      const total = sources.reduce((sum, { rows }) => sum + rows.length, 0);
      let done = 0;
      let written = 0;
      for (const { table, rows } of sources) {
        const present = await this.count(table.name);
        const missing = present === 0 ? rows : present === rows.length ? [] : await this.missing(table, rows);
        done += rows.length - missing.length;
        await each(batches(missing), BATCHES_AT_ONCE, async (batch) => {
          written += await this.insert(table, batch);
          done += batch.length;
          const rate = written / ((performance.now() - began) / 1000);
          this.show(done / total, `${count(done)} of ${plural(total, "row")} · ${table.name} · ${count(rate)} rows/s`);
        });
      }
      const took = duration(performance.now() - began);
      this.show(1, written === 0 ? `All ${plural(total, "row")} were aboard already.` : `${plural(total, "row")} of ${names} aboard in ${took}.`);
    } catch (error) {
      this.error.hidden = false;
      this.error.replaceChildren(h("code", {}, errorCode(error) ?? "error"), ` ${errorMessage(error)}`);
      this.label.textContent = "Stopped. Loading again goes on where it was.";
    } finally {
      this.busy = false;
      this.basic.disabled = this.flights.disabled = !this.joined;
      await this.refresh();
    }
  }

  private show(share: number, text: string): void {
    this.bar.value = share;
    this.label.textContent = text;
  }

  /** Those of `rows` whose keys the table does not have. */
  private async missing(table: Table, rows: Row[]): Promise<Row[]> {
    const found = await this.db.query(`SELECT ${table.key.join(", ")} FROM ${table.name}`);
    const keys = new Set(found.rows.map((row) => keyOf(table.key.map((name) => row[name]))));
    return rows.filter((row) => !keys.has(keyOf(row.slice(0, table.key.length))));
  }

  /** Inserts a batch; rows that another tab inserts at the same time are left to it. Gives how many were written. */
  private async insert(table: Table, batch: Row[]): Promise<number> {
    let rows = batch;
    for (let attempt = 1; rows.length > 0; attempt++) {
      try {
        return (await this.db.query(insertText(table.name, rows), rows.flat())).affected;
      } catch (error) {
        if (errorCode(error) !== "unique_violation" || attempt === ATTEMPTS) throw error;
        console.warn("rows of a batch are there already", table.name, error);
        rows = await this.missing(table, rows);
      }
    }
    return 0;
  }
}

function insertText(table: string, rows: Row[]): string {
  let parameter = 0;
  const values = rows.map((row) => `(${row.map(() => `$${++parameter}`).join(", ")})`);
  return `INSERT INTO ${table} VALUES ${values.join(", ")}`;
}

function keyOf(values: unknown[]): string {
  return JSON.stringify(values.map(String));
}

function batches(rows: Row[]): Row[][] {
  const cut: Row[][] = [];
  for (let at = 0; at < rows.length; at += BATCH_ROWS) cut.push(rows.slice(at, at + BATCH_ROWS));
  return cut;
}

/** Runs `work` on each item, a few at once. */
async function each<T>(items: T[], atOnce: number, work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  const worker = async (): Promise<void> => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

async function fetched(url: string): Promise<Response> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: HTTP ${response.status}`);
  return response;
}

async function csv(url: string): Promise<Record<string, string>[]> {
  return parseCsv(await (await fetched(url)).text());
}
