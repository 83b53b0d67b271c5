// Statements a visitor can run with one click, from the plain to the telling.

export interface Example {
  /** On the button. */
  name: string;
  sql: string;
}

/** The question that the page asks first: a join and a grouping over two tables that are spread over all peers. */
export const FLIGHTS_BY_STATE = `SELECT a.state, count(*) AS routes, sum(r.count) AS flights
FROM routes r JOIN airports a ON r.origin = a.iata
GROUP BY a.state
ORDER BY flights DESC
LIMIT 10`;

export const EXAMPLES: Example[] = [
  { name: "Busiest states", sql: FLIGHTS_BY_STATE },
  { name: "One airport, one get", sql: `SELECT iata, name, city, state FROM airports WHERE iata = 'SEA'` },
  {
    name: "Airports nobody flies from",
    sql: `SELECT a.iata, a.name, a.state
FROM airports a LEFT JOIN routes r ON r.origin = a.iata
WHERE r.origin IS NULL
ORDER BY a.iata
LIMIT 10`,
  },
  {
    name: "Longest reach",
    sql: `SELECT a.name, count(*) AS destinations, avg(r.count) AS flights_each
FROM routes r JOIN airports a ON r.origin = a.iata
GROUP BY a.name
HAVING count(*) >= 90
ORDER BY destinations DESC`,
  },
  {
    name: "Explain the plan",
    sql: `EXPLAIN ${FLIGHTS_BY_STATE}`,
  },
  {
    name: "What a join cost",
    sql: `EXPLAIN ANALYZE SELECT a.name, r.count
FROM routes r JOIN airports a ON a.iata = r.destination
WHERE r.origin = 'SEA'
ORDER BY r.count DESC
LIMIT 5`,
  },
  { name: "Rename one", sql: `UPDATE airports SET name = 'Seattle-Tacoma, afloat' WHERE iata = 'SEA'` },
  {
    name: "Two letters only",
    sql: `SELECT DISTINCT country, state FROM airports ORDER BY country, state LIMIT 20`,
  },
];
