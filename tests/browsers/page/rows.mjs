// The table of `reload` and `longtask`: the columns of `sql-wasm`, the same rows in every engine.

export const TABLE = "CREATE TABLE sales (id INTEGER PRIMARY KEY, item INTEGER, amount REAL, note TEXT, day INTEGER)";
export const WIDTH = 5;

/** The row of that number. */
export function row(id) {
  const mixed = Math.imul(id + 1, 0x9e3779b1) >>> 0;
  return [id, mixed % 1_000, (mixed % 100_000) / 100, `note ${mixed}`, (mixed >>> 8) % 365];
}

/** `count` rows in statements of 1,000, all values parameters: texts and parameters. */
export function* inserts(count) {
  for (let from = 0; from < count; from += 1_000) {
    const rows = Array.from({ length: Math.min(1_000, count - from) }, (_, at) => row(from + at));
    const marks = rows.map((_, at) => `(${Array.from({ length: WIDTH }, (_, column) => `$${at * WIDTH + column + 1}`)})`);
    yield [`INSERT INTO sales VALUES ${marks}`, rows.flat()];
  }
}
