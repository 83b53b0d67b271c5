// An answer: how much of the swarm it covers, what it cost, and its rows.

import type { Cost, QueryResult, Row, SqlValue } from "pontoon-db";
import { h } from "./dom";
import { bytes, cell, duration, plural, share } from "./format";
import { errorCode, errorMessage } from "./swarm";

/** Rows drawn; the rest is only counted. */
const ROWS_MAX = 500;

export function showResult(place: HTMLElement, result: QueryResult): void {
  const { columns, rows } = result;
  place.replaceChildren(facts(result));
  if (columns.length === 0) return;
  if (isPlan(result)) {
    const lines = rows.map((row) => cell(row[columns[0]?.name ?? ""]));
    place.append(h("pre", { class: "plan", tabindex: 0, "aria-label": "Plan" }, lines.join("\n")));
    return;
  }
  place.append(h("div", { class: "sheet", tabindex: 0, role: "region", "aria-label": "Rows" }, sheet(result)));
  if (rows.length > ROWS_MAX) place.append(h("p", { class: "hint" }, `The first ${ROWS_MAX} rows are shown.`));
}

export function showError(place: HTMLElement, error: unknown): void {
  const code = h("code", {}, errorCode(error) ?? "error");
  place.replaceChildren(h("p", { class: "error", role: "alert" }, code, ` ${errorMessage(error)}`));
}

function facts({ columns, rows, affected, coverage, assumedLost, cost }: QueryResult): HTMLElement {
  const amount = columns.length > 0 ? plural(rows.length, "row") : `${plural(affected, "row")} written`;
  return h(
    "p",
    { class: "facts" },
    coverage === 1
      ? h("span", { class: "badge complete", title: "Every part of the key space that was asked answered." }, "complete")
      : h("span", { class: "badge partial", title: "Some part of the key space did not answer in time." }, `covers ${share(coverage)}`),
    assumedLost ? h("span", { class: "badge partial", title: "A part that answered had lost the majority of its copies." }, "some assumed lost") : null,
    h("b", {}, amount),
    ...costs(cost),
  );
}

function costs({ peers, messages, bytes: size, elapsedMs }: Cost): HTMLElement[] {
  return [duration(elapsedMs), plural(peers, "peer"), plural(messages, "message"), bytes(size)].map((text) => h("span", {}, text));
}

/** EXPLAIN answers with lines of text in one column. */
function isPlan({ columns, rows }: QueryResult): boolean {
  const [column, ...more] = columns;
  return column !== undefined && more.length === 0 && rows.length > 0 && /plan/i.test(column.name);
}

function sheet({ columns, rows }: QueryResult): HTMLElement {
  const numeric = columns.map(({ type }) => type === "INTEGER" || type === "REAL");
  const head = columns.map(({ name, type }, at) =>
    h("th", { scope: "col", class: numeric[at] && "number" }, name, type ? h("small", {}, type) : null),
  );
  const body = rows.slice(0, ROWS_MAX).map((row: Row) =>
    h("tr", {}, ...columns.map(({ name }, at) => tableCell(row[name] ?? null, numeric[at] ?? false))),
  );
  return h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...body));
}

function tableCell(value: SqlValue, numeric: boolean): HTMLElement {
  const looks = value === null ? "null" : numeric ? "number" : false;
  const shown = numeric && typeof value === "number" && Number.isInteger(value) ? value.toLocaleString("en") : cell(value);
  return h("td", { class: looks }, shown);
}
