// In the page: each engine with what its documentation advises, and the operations that all of them run.

/** Pontoon: one peer that founded a network of its own, in memory, its engine on the page as sql.js is. Statements with parameters. */
async function pontoon({ tables }) {
  const { connect } = await import("/pontoon/index.js");
  const db = await connect({ network: "sql-wasm", supernodes: [], alone: true, storage: "memory", worker: false });
  for (const table of tables) await db.query(table.sql, []);
  const read = async (text, params) => {
    const { rows, coverage } = await db.query(text, params);
    if (coverage !== 1) throw new Error(`coverage ${coverage}`);
    return rows;
  };
  return {
    prepareInsert({ name, width, rows }, batch) {
      const statements = [];
      for (let from = 0; from < rows.length; from += batch) {
        const part = rows.slice(from, from + batch);
        const marks = part.map((_, row) => `(${Array.from({ length: width }, (_, at) => `$${row * width + at + 1}`)})`);
        statements.push([`INSERT INTO ${name} VALUES ${marks}`, part.flat()]);
      }
      return async () => {
        let affected = 0;
        for (const [text, params] of statements) affected += (await db.query(text, params)).affected;
        return affected;
      };
    },
    execute: (text) => db.query(text),
    prepare: async (text) => (params) => read(text, params),
    plain: (rows) => rows.map((row) => Object.values(row)),
  };
}

/** sql.js: prepared statements; a bulk insert is one transaction. */
async function sqljs({ tables }) {
  const { default: load } = await umd("/modules/sql.js/dist/sql-wasm.js", "initSqlJs");
  const SQL = await load({ locateFile: (file) => `/modules/sql.js/dist/${file}` });
  const db = new SQL.Database();
  for (const table of tables) db.run(table.sql);
  return {
    prepareInsert({ name, width, rows }) {
      return async () => {
        db.run("BEGIN");
        const statement = db.prepare(`INSERT INTO ${name} VALUES (${Array(width).fill("?")})`);
        for (const row of rows) statement.run(row);
        statement.free();
        db.run("COMMIT");
        return rows.length;
      };
    },
    execute: async (text) => db.run(text),
    async prepare(text) {
      const statement = db.prepare(text);
      return async (params) => {
        const rows = [];
        statement.bind(params);
        while (statement.step()) rows.push(statement.get());
        statement.reset();
        return rows;
      };
    },
    plain: (rows) => rows,
  };
}

/** DuckDB-wasm: in its worker, prepared statements, results as Arrow; a bulk insert is one Arrow table. */
async function duckdb({ tables }) {
  const [duck, arrow] = [await import("/modules/@duckdb/duckdb-wasm/dist/duckdb-browser.mjs"), await import("apache-arrow")];
  const dist = "/modules/@duckdb/duckdb-wasm/dist";
  const db = new duck.AsyncDuckDB(new duck.VoidLogger(), new Worker(`${dist}/duckdb-browser-eh.worker.js`));
  await db.instantiate(new URL(`${dist}/duckdb-eh.wasm`, location.href).href);
  await db.open({ query: { castBigIntToDouble: true, castDecimalToDouble: true } });
  const connection = await db.connect();
  // Integers of 64 bits and reals of double precision, as the others have.
  const sql = (text) => text.replaceAll("INTEGER", "BIGINT").replaceAll("REAL", "DOUBLE");
  for (const table of tables) await connection.query(sql(table.sql));
  const types = { INTEGER: () => new arrow.Int64(), REAL: () => new arrow.Float64(), TEXT: () => new arrow.Utf8() };
  const read = (table) => {
    const columns = table.schema.fields.map((_, at) => {
      const column = table.getChildAt(at);
      return column.nullCount === 0 && arrow.DataType.isFloat(column.type) ? column.toArray() : [...column];
    });
    return { columns, count: table.numRows };
  };
  return {
    prepareInsert({ name, columns, rows }) {
      const vectors = columns.map(([column, type], at) => {
        const value = (row) => (type === "INTEGER" && row[at] !== null ? BigInt(row[at]) : row[at]);
        return [column, arrow.vectorFromArray(rows.map(value), types[type]())];
      });
      const table = new arrow.Table(Object.fromEntries(vectors));
      return async () => {
        await connection.insertArrowTable(table, { name, create: false });
        return rows.length;
      };
    },
    execute: (text) => connection.query(text),
    async prepare(text) {
      const statement = await connection.prepare(text);
      return async (params) => read(await statement.query(...params));
    },
    plain: ({ columns, count }) => Array.from({ length: count }, (_, row) => columns.map((column) => column[row])),
  };
}

/** A script that sets a global, or what CommonJS calls `module.exports`. */
async function umd(address, name) {
  const script = Object.assign(document.createElement("script"), { src: address });
  await new Promise((resolve, reject) => {
    Object.assign(script, { onload: resolve, onerror: () => reject(new Error(`${address} does not load`)) });
    document.head.append(script);
  });
  return { default: globalThis[name] };
}

const ENGINES = { pontoon, sqljs, duckdb };

/**
 * Runs the job once, over fresh databases of every engine. Gives for each operation how many rows it is about and the
 * milliseconds that each engine took, each time. Where engines answer differently it throws.
 */
export async function run() {
  const job = await (await fetch("/job.json")).json();
  const engines = new Map();
  for (const [name, open] of Object.entries(ENGINES)) engines.set(name, await open(job));
  const done = [];

  /** One operation by every engine in turn: `prepare` gives what is timed, `plain` makes lines of what that gives. */
  const measure = async (op, times, prepare, plain, count) => {
    const [took, actions] = [{}, new Map()];
    for (const [name, engine] of engines) {
      took[name] = [];
      actions.set(name, await prepare(engine));
    }
    let rows = 0;
    for (let time = 0; time < times; time += 1) {
      let first;
      for (const [name, engine] of engines) {
        const begun = performance.now();
        const answer = await actions.get(name)();
        took[name].push(performance.now() - begun);
        const lines = plain(engine, answer);
        first ??= { name, lines };
        if (lines.length === 0 || lines.join() !== first.lines.join()) throw new Error(differ(op, first, name, lines));
        rows = count ?? lines.length;
      }
    }
    done.push({ op, rows, took });
  };
  const query = async (op, sql) => {
    const prepare = async (engine) => {
      const ask = await engine.prepare(sql);
      return () => ask([]);
    };
    const ordered = sql.includes("ORDER BY");
    await measure(op, job.times, prepare, (engine, answer) => {
      const all = lines(engine.plain(answer));
      return ordered ? all : all.sort();
    });
  };

  for (const table of job.tables) {
    const insert = async (engine) => engine.prepareInsert(table, job.batch);
    await measure("insert", 1, insert, (_, count) => [String(count)], table.rows.length);
  }
  done.splice(1); // The small table is no operation of its own.
  const points = async (engine) => {
    const ask = await engine.prepare(job.point);
    return async () => {
      const found = [];
      for (const key of job.keys) found.push(await ask([key]));
      return found;
    };
  };
  await measure("point", 1, points, (engine, found) => lines(found.flatMap(engine.plain)), job.keys.length);
  for (const [op, sql] of job.queries) await query(op, sql);
  const index = async (engine) => () => engine.execute(job.index);
  await measure("create-index", 1, index, () => ["done"], job.tables[0].rows.length);
  await query("range-index", job.queries[0][1]);
  return done;
}

/** Rows as lines that can be compared: numbers are numbers, whatever an engine has for them. */
function lines(rows) {
  return rows.map((row) => JSON.stringify(row, (_, value) => (typeof value === "bigint" ? Number(value) : value)));
}

function differ(op, first, name, lines) {
  const at = lines.findIndex((line, index) => line !== first.lines[index]);
  const what = `${first.name} has ${first.lines.length} rows, ${name} ${lines.length}`;
  return `${op}: ${what}; the first that differ: ${first.lines[at]} and ${lines[at]}`;
}
