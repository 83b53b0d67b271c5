-- Statements that were once answered otherwise than by SQLite: a blank line begins a new database.

-- RANGE with an offset over NULLs alone, which have no type.
CREATE TABLE t (k INTEGER PRIMARY KEY);
INSERT INTO t VALUES (1), (2);
SELECT max(x.k) OVER (ORDER BY x.n ASC NULLS LAST RANGE BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING)
FROM (SELECT k, NULL AS n FROM t) AS x

-- What all alternatives of an OR share joins, too.
CREATE TABLE t (a INTEGER, b INTEGER);
INSERT INTO t VALUES (1, 1), (1, 2), (2, NULL), (NULL, 3);
SELECT x.a, x.b, y.b FROM t x, t y WHERE (x.a = y.a AND x.b < 2 AND y.b > 1) OR (x.a = y.a AND x.b > 1 AND y.b = 1);
SELECT x.a, y.b FROM t x, t y WHERE x.a = y.a OR (y.b > 1 AND x.a = y.a);
SELECT count(*) FROM t WHERE (a = 1 AND b = 1) OR (b = 1) OR (b = 1 AND a IS NULL)
