// Values and quantities for people.

const integers = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const decimals = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

/** The first digits of an id: enough to tell a few hundred peers apart. */
export function shortId(id: string): string {
  return id.slice(0, 6);
}

export function count(value: number | bigint): string {
  return integers.format(value);
}

/** `1 row`, `2 rows`. */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

export function bytes(value: number): string {
  if (value < 1000) return `${integers.format(value)} B`;
  if (value < 1e6) return `${decimals.format(value / 1e3)} kB`;
  return `${decimals.format(value / 1e6)} MB`;
}

/** A duration given in milliseconds. */
export function duration(ms: number): string {
  if (ms < 10) return `${decimals.format(ms)} ms`;
  if (ms < 1000) return `${integers.format(ms)} ms`;
  return `${decimals.format(ms / 1000)} s`;
}

/** A share of 1; exactly 1 is said as such, and nothing below 1 is ever rounded up to it. */
export function share(value: number): string {
  if (value === 1) return "100%";
  return `${(Math.floor(value * 1000) / 10).toFixed(1)}%`;
}

export function time(ms: number): string {
  return new Date(ms).toTimeString().slice(0, 8);
}

/** A SQL value. */
export function cell(value: unknown): string {
  if (value === null || value === undefined) return "NULL";
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(12)));
  if (value instanceof Date) return value.toISOString().replace("T", " ").replace("Z", "");
  if (value instanceof Uint8Array) {
    const shown = Array.from(value.subarray(0, 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
    return `\\x${shown}${value.length > 16 ? "…" : ""}`;
  }
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
