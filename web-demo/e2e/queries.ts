// Questions of different shapes over the sample data. SQLite and Pontoon read each of them alike.

import { FLIGHTS_BY_STATE } from "../src/examples";
import type { Statement } from "./processes";

export interface Query extends Statement {
  /** What is special about it. */
  shape: string;
  /** Whether ORDER BY leaves no two rows in doubt, so that the order counts too. */
  ordered?: boolean;
}

export const QUERIES: Query[] = [
  { shape: "join, group, order by an aggregate, limit", sql: FLIGHTS_BY_STATE, ordered: true },
  { shape: "count of a whole table", sql: "SELECT count(*) AS n FROM routes" },
  { shape: "primary key", sql: "SELECT name, city, latitude FROM airports WHERE iata = $1", params: ["SEA"] },
  {
    shape: "composite primary key",
    sql: "SELECT count AS flights FROM routes WHERE origin = $1 AND destination = $2",
    params: ["ATL", "SEA"],
  },
  { shape: "absent key", sql: "SELECT name FROM airports WHERE iata = 'no such'" },
  {
    shape: "filter by range and equality, all rows back",
    sql: "SELECT iata, latitude, longitude FROM airports WHERE latitude > 60.5 AND state = 'AK'",
  },
  { shape: "LIKE", sql: "SELECT iata, name FROM airports WHERE name LIKE '%International%' AND name NOT LIKE 'S%'" },
  {
    shape: "IN and BETWEEN",
    sql: "SELECT origin, destination, count AS flights FROM routes WHERE origin IN ('SEA', 'PDX', 'BOI') AND count BETWEEN 50 AND 500",
  },
  {
    shape: "all aggregates of one group",
    sql: "SELECT count(*) AS n, sum(count) AS s, avg(count) AS a, min(count) AS lo, max(count) AS hi FROM routes",
  },
  { shape: "aggregates over no rows", sql: "SELECT count(*) AS n, sum(count) AS s, max(origin) AS m FROM routes WHERE count < 0" },
  {
    shape: "HAVING",
    sql: "SELECT origin, count(*) AS n FROM routes GROUP BY origin HAVING count(*) >= 100 ORDER BY n DESC, origin",
    ordered: true,
  },
  { shape: "group by two columns", sql: "SELECT country, state, count(*) AS n, avg(latitude) AS lat FROM airports GROUP BY country, state" },
  { shape: "DISTINCT", sql: "SELECT DISTINCT state FROM airports WHERE country = 'USA'" },
  { shape: "ORDER BY, LIMIT, OFFSET", sql: "SELECT iata, city FROM airports ORDER BY iata DESC LIMIT 25 OFFSET 100", ordered: true },
  {
    shape: "left join, unmatched rows alone",
    sql: "SELECT a.iata, a.name FROM airports a LEFT JOIN routes r ON r.origin = a.iata WHERE r.origin IS NULL AND a.state = 'WA'",
  },
  {
    shape: "left join, matched and unmatched",
    sql: "SELECT a.iata, count(r.destination) AS n FROM airports a LEFT JOIN routes r ON r.origin = a.iata WHERE a.state = 'MT' GROUP BY a.iata",
  },
  {
    shape: "two joins to one table",
    sql: `SELECT o.city AS from_city, d.city AS to_city, r.count AS flights FROM routes r
JOIN airports o ON r.origin = o.iata JOIN airports d ON r.destination = d.iata
WHERE o.state = 'WA' AND d.state = 'CA'`,
  },
  {
    shape: "CASE and arithmetic in a group",
    sql: `SELECT CASE WHEN count >= 1000 THEN 'busy' WHEN count >= 100 THEN 'steady' ELSE 'thin' END AS kind,
count(*) AS n, sum(count * 2 + 1) AS s FROM routes GROUP BY CASE WHEN count >= 1000 THEN 'busy' WHEN count >= 100 THEN 'steady' ELSE 'thin' END`,
  },
  { shape: "functions of text", sql: "SELECT upper(city) AS u, length(name) AS l FROM airports WHERE lower(state) = 'or'" },
  {
    shape: "parameters in a filter and a join",
    sql: `SELECT a.state, max(r.count) AS hi FROM routes r JOIN airports a ON r.destination = a.iata
WHERE r.count > $1 AND r.origin <> $2 GROUP BY a.state`,
    params: [200, "ATL"],
  },
  { shape: "a whole table", sql: "SELECT origin, destination, count AS flights FROM routes" },
];

/** Changes, in order; QUERIES are asked again after them. */
export const CHANGES: Statement[] = [
  { sql: "UPDATE airports SET name = $1 WHERE iata = $2", params: ["Seattle-Tacoma, afloat", "SEA"] },
  { sql: "UPDATE routes SET count = count + 1000 WHERE origin = 'BOI'" },
  { sql: "DELETE FROM routes WHERE origin = 'ATL' AND count < 100" },
  { sql: "INSERT INTO airports VALUES ('PONT1', 'Pontoon', 'Afloat', 'WA', 'USA', 47.6, -122.5), ('PONT2', 'Pier', 'Ashore', 'MT', 'USA', 46, -110)" },
];
