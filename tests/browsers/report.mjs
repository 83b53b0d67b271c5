// The one shape of a figure, as `bench` prints it (tests/src/bin/bench/report.rs): a JSON object a line.

/** Prints a figure; `more` tells rows of one figure apart. */
export function report(scenario, figure, value, unit, more = {}) {
  const rounded = typeof value === "number" ? Number(value.toPrecision(6)) : null;
  console.log(JSON.stringify({ scenario, figure, value: rounded, unit, ...more }));
}

/** The value below which `share` of the others are; `NaN` of none. */
export function quantile(values, share) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted.length === 0 ? Number.NaN : sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

export const median = (values) => quantile(values, 0.5);
