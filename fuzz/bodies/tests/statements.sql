SELECT 1
SELECT * FROM many WHERE i = 3
SELECT DISTINCT ON (b) b, t AS name, i FROM many ORDER BY b, r DESC NULLS LAST LIMIT 2 OFFSET 1
SELECT count(*), sum(r), avg(n), min(ts), max(d) FILTER (WHERE b) FROM many GROUP BY b HAVING count(*) > 0
SELECT a, string_agg(t, ',' ORDER BY i), count(DISTINCT t) FROM few JOIN many ON c = i GROUP BY a, b + 1
SELECT m.i, f.a FROM many AS m LEFT JOIN few AS f ON m.i = f.c AND f.b > 1 WHERE m.t LIKE 'o%' OR m.t IS NULL
SELECT * FROM many NATURAL JOIN few FULL JOIN seen USING (a) CROSS JOIN (VALUES (1, 'x'), (2, 'y')) AS v (p, q)
SELECT i FROM many WHERE i IN (SELECT c FROM few WHERE few.b = many.i) OR EXISTS (SELECT 1 FROM few WHERE c = i)
SELECT i, (SELECT max(b) FROM few WHERE c = i) AS most FROM many WHERE r = ANY (SELECT 1.5) AND i NOT IN (1, 2)
SELECT i FROM many UNION ALL SELECT b FROM few EXCEPT SELECT 2 INTERSECT SELECT c FROM few ORDER BY 1
WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 5), m AS (SELECT * FROM n) SELECT sum(x) FROM m
SELECT i, row_number() OVER w, lag(r, 1, 0) OVER (ORDER BY i), sum(r) OVER (w ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM many WINDOW w AS (PARTITION BY b ORDER BY i)
SELECT CASE b WHEN true THEN 'y' ELSE 'n' END, coalesce(t, 'z'), nullif(i, 1), CAST(n AS INT), d::text, -i % 7 FROM many
SELECT extract(year FROM ts), date_trunc('month', ts), d + 3, ts - INTERVAL '1 day 2 hours', age(ts, '2020-01-01') FROM many
SELECT j -> 'a' ->> 0, j #>> '{a,1}', j @> '[]', jsonb_array_length(j), u::text, encode(bl, 'hex'), bl || '\x01' FROM many
SELECT substring(t FROM 1 FOR 2), position('n' IN t), trim(BOTH ' ' FROM t), t ~* '^o.e$', regexp_replace(t, 'n', 'N', 'g') FROM many
SELECT i NOT BETWEEN 5 AND 1, r IS DISTINCT FROM 1.5, b IS NOT TRUE FROM many
INSERT INTO many (i, t) VALUES (7, DEFAULT), (8, 'new') ON CONFLICT (i) DO UPDATE SET t = excluded.t || 'x' WHERE many.b RETURNING *
INSERT INTO few SELECT t, i, NULL FROM many WHERE i > 0 ON CONFLICT DO NOTHING
UPDATE many SET r = r * 2, t = DEFAULT FROM few WHERE c = i AND i = $1 RETURNING i, r AS twice
DELETE FROM many USING few WHERE c = i AND few.a = 'x' RETURNING *
TRUNCATE few
EXPLAIN SELECT * FROM many WHERE n > 1.5 ORDER BY d
EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM few ORDER BY a DESC LIMIT 1
ANALYZE many
SET pontoon.join_strategy = 'hash'
SHOW pontoon.dialect
CREATE TABLE IF NOT EXISTS new (id UUID PRIMARY KEY, x NUMERIC(12, 4) NOT NULL DEFAULT 1.5, y TEXT UNIQUE, CHECK (x > 0), FOREIGN KEY (x) REFERENCES many (n))
CREATE TABLE copied AS SELECT * FROM many
CREATE UNIQUE INDEX IF NOT EXISTS by_t ON many (t DESC, i)
CREATE VIEW more AS SELECT i + 1 AS j FROM many WHERE b
ALTER TABLE many ADD COLUMN z INT NOT NULL DEFAULT 5
ALTER TABLE many RENAME COLUMN t TO tt
ALTER TABLE many DROP COLUMN r
ALTER TABLE few ADD CONSTRAINT c CHECK (b < 100)
DROP TABLE IF EXISTS few CASCADE
DROP VIEW seen
DROP INDEX by_c
