package e2e

import "regexp"

// query is a question with {t} for the table, {u} for another one, and {offset} and
// the like for the columns that have a short spelling. Where Chronik's own words
// are not DuckDB's, it has both: ⟨Chronik¦DuckDB⟩. ‹binary› stands for
// ⟨binary¦decode_utf8(binary)⟩, which Chronik puts there by itself.
type query struct {
	text       string
	ordered    bool  // its order is total, so the rows must come in it
	parameters []any // of Chronik; DuckDB has the constants themselves
}

var (
	spelling = regexp.MustCompile(`⟨([^⟨⟩]*)¦([^⟨⟩]*)⟩`)
	decoding = regexp.MustCompile(`‹([^‹›]*)›`)
)

// spelled is a query in Chronik's words, and in DuckDB's.
func spelled(text string) (ours, theirs string) {
	ours, theirs = text, text
	for spelling.MatchString(ours) {
		ours, theirs = spelling.ReplaceAllString(ours, "$1"), spelling.ReplaceAllString(theirs, "$2")
	}
	return decoding.ReplaceAllString(ours, "$1"), decoding.ReplaceAllString(theirs, "decode_utf8($1)")
}

// writtenQueries are those that people ask, and the corners.
var writtenQueries = []query{
	{text: "SELECT * FROM {t}"},
	{text: "SELECT count(*) AS n FROM {t}", ordered: true},
	{text: "SELECT count(*) AS n, count({key}) AS keys, count({value}) AS vals, count(DISTINCT {key}) AS ids FROM {t}", ordered: true},
	{text: "SELECT {partition} AS p, min({offset}) AS a, max({offset}) AS b, count(*) AS n FROM {t} GROUP BY {partition} ORDER BY p", ordered: true},
	{text: "SELECT {key} AS k, {value} AS v, {timestamp} AS at FROM {t} ORDER BY {partition}, {offset} LIMIT 17 OFFSET 5", ordered: true},
	{text: "SELECT {offset} AS o, {partition} AS p FROM {t} WHERE {timestamp} >= TIMESTAMPTZ '2026-04-01 00:00:00+00' AND {timestamp} < '2026-04-01T06:00:00Z' ORDER BY p, o", ordered: true},
	{text: "SELECT date_trunc('day', {timestamp}) AS d, count(*) AS n, sum(n) AS s FROM {t} GROUP BY ALL ORDER BY d", ordered: true},
	{text: "SELECT CAST({timestamp} AS DATE) AS d, avg(amount) AS a FROM {t} GROUP BY d HAVING count(*) > 3 ORDER BY d", ordered: true},
	{text: "SELECT city, count(*) AS n, sum(amount) AS s, min(at) AS a, max(at) AS b FROM {t} GROUP BY city"},
	{text: "SELECT city, ok, count(*) AS n FROM {t} GROUP BY ROLLUP (city, ok)"},
	{text: "SELECT count(*) FILTER (WHERE ok) AS yes, count(*) FILTER (WHERE NOT ok) AS no, count(*) FILTER (WHERE ok IS NULL) AS open FROM {t}", ordered: true},
	{text: "SELECT decode_utf8({key}) AS k, count(*) AS n FROM {t} WHERE {key} IN ('k1', 'k2', 'k3', 'k99999') GROUP BY k ORDER BY k", ordered: true},
	{text: "SELECT {offset} AS o, {partition} AS p FROM {t} WHERE {key} = 'k7' ORDER BY p, o", ordered: true},
	{text: "SELECT count(*) AS n FROM {t} WHERE {key} = 'no such key'", ordered: true},
	{text: "SELECT count(*) AS n FROM {t} WHERE {key} = encode('k3')", ordered: true},
	{text: "SELECT count(*) AS n FROM {t} WHERE {value} IS NULL", ordered: true},
	{text: "SELECT count(*) AS n FROM {t} WHERE octet_length({value}) = 0", ordered: true},
	{text: "SELECT json_extract_string({value}, '$.deep.x') AS x, count(*) AS n FROM {t} GROUP BY x"},
	{text: "SELECT json_extract_string(decode_utf8({value}), '$.deep.y[2]') AS y, max({offset}) AS m FROM {t} GROUP BY y"},
	{text: "SELECT {headers}['host'] AS h, count(*) AS n FROM {t} GROUP BY h"},
	{text: "SELECT cardinality({headers}) AS c, count(*) AS n FROM {t} GROUP BY c"},
	{text: "SELECT {headers} AS h, {offset} AS o, {partition} AS p FROM {t} WHERE {offset} < 20 ORDER BY p, o", ordered: true},
	{text: "SELECT a.{offset} AS o, count(*) AS n FROM {t} a JOIN {t} b ON a.n = b.n AND a.{partition} = b.{partition} WHERE a.{offset} < 30 GROUP BY o ORDER BY o", ordered: true},
	{text: "SELECT city, n, row_number() OVER (PARTITION BY city ORDER BY id) AS r FROM {t} WHERE city IS NOT NULL QUALIFY r <= 2 ORDER BY city, r", ordered: true},
	{text: "SELECT {partition} AS p, {offset} AS o, lag(n) OVER (PARTITION BY {partition} ORDER BY {offset}) AS before FROM {t} ORDER BY p, o", ordered: true},
	{text: "WITH big AS (SELECT * FROM {t} WHERE amount > 700), top AS (SELECT city, max(amount) AS m FROM big GROUP BY city) SELECT top.city, m FROM top ORDER BY m DESC, city NULLS LAST", ordered: true},
	{text: "SELECT city FROM {t} WHERE n > 400 UNION SELECT city FROM {t} WHERE n < -400"},
	{text: "SELECT city FROM {t} WHERE n > 0 EXCEPT SELECT city FROM {t} WHERE n < -499"},
	{text: "SELECT count(*) AS n FROM {t} WHERE n = (SELECT max(n) FROM {t})", ordered: true},
	{text: "SELECT count(*) AS n FROM {t} o WHERE EXISTS (SELECT 1 FROM {t} i WHERE i.{key} = o.{key} AND i.{offset} > o.{offset} AND i.{partition} = o.{partition})", ordered: true},
	{text: "SELECT DISTINCT code FROM {t}"},
	{text: "SELECT code, count(*) AS n FROM {t} WHERE code = '7' OR code LIKE 'x1%' GROUP BY code"},
	{text: "SELECT grows, count(*) AS n FROM {t} GROUP BY grows"},
	{text: "SELECT turns, count(*) AS n FROM {t} GROUP BY turns"},
	{text: "SELECT sum(id) AS s, min(id) AS a, max(id) AS b FROM {t}", ordered: true},
	{text: "SELECT median(n) AS m, quantile_cont(amount, 0.9) AS q, stddev(n) AS d FROM {t}", ordered: true},
	{text: "SELECT string_agg(city, ',' ORDER BY {partition}, {offset}) AS s FROM {t} WHERE {offset} BETWEEN 3 AND 12", ordered: true},
	{text: "SELECT list(n ORDER BY {partition}, {offset}) AS l FROM {t} WHERE {offset} <= 4", ordered: true},
	{text: "SELECT arg_max(city, id) AS c, bool_and(ok) AS every, bool_or(ok) AS some FROM {t}", ordered: true},
	{text: "SELECT * EXCLUDE ({headers}) FROM {t} WHERE {partition} = 1 AND {offset} = 3"},
	{text: "SELECT upper(city) AS u, length(city) AS l FROM {t} WHERE city ILIKE 'PARIS' ORDER BY u, l", ordered: true},
	{text: "SELECT n / 0 AS x FROM {t} WHERE n = 1"},
	{text: "SELECT no_such_column FROM {t}"},
	{text: "SELECT CAST(city AS INTEGER) AS x FROM {t}"},
	{text: "SELECT count(*) AS n FROM {t} WHERE at BETWEEN '2026-01-10' AND '2026-01-20'", ordered: true},
	{text: "SELECT count(*) AS n FROM {t} WHERE {timestamp} BETWEEN '2026-03-31' AND '2026-04-01'", ordered: true},
	{text: "SELECT count(*) AS n FROM {t} WHERE CAST({timestamp} AS DATE) = DATE '2026-03-31'", ordered: true},
	{text: "SELECT count(*) AS n FROM {t} WHERE {timestamp} > '1999-01-01' AND NOT ({timestamp} > '2026-03-31T12:00:00+02:00')", ordered: true},
	{text: "SELECT count(*) AS n FROM {t} WHERE NULL", ordered: true},
	{text: "SELECT count(*) AS n FROM {t} WHERE {offset} IN (1, 2, NULL)", ordered: true},
	{text: "SELECT count(*) AS n FROM {t} WHERE {offset} NOT IN (1, 2, NULL)", ordered: true},
	{text: "SELECT count(*) AS n FROM {t} WHERE amount <> amount OR amount IS NULL", ordered: true},
	{text: "SELECT count(*) AS n FROM {t} WHERE n = 3.5 OR n < 1e300", ordered: true},
	{text: "SELECT count(*) AS n FROM {t} WHERE {offset} < 9223372036854775808", ordered: true},
	{text: "SELECT count(*) AS n FROM {t} WHERE {partition} = '1' AND {offset} > '5'", ordered: true},
	{text: "SELECT count(*) AS n FROM {t} WHERE city > 'N' AND city <= 'Paris'", ordered: true},
	{text: "SELECT count(*) AS n FROM {t} WHERE city COLLATE NOCASE = 'PARIS'", ordered: true},
	{text: "SELECT count(*) AS n FROM {t} WHERE coalesce(city, 'none') = 'none'", ordered: true},
	{text: "SELECT count(*) AS n FROM {t} WHERE (CASE WHEN ok THEN n ELSE -n END) > 100", ordered: true},
	{text: "SELECT upper(‹{key}›) AS k, length(‹{value}›) AS l, ‹{key}› || '/' || ‹{headers}['host']› AS b FROM {t} ORDER BY {partition}, {offset} LIMIT 50", ordered: true},
	{text: "SELECT ⟨upper(max({key}))¦upper(max(decode_utf8({key})))⟩ AS k FROM {t}", ordered: true},
	{text: "SELECT count(*) AS n FROM {t} WHERE ‹{key}› LIKE 'k1%' AND ⟨({value} ->> 'ok')¦json_extract_string({value}, '$.ok')⟩ = 'true'", ordered: true},
	{text: "SELECT ⟨json_extract({value}, '$.deep.y')¦json_extract({value}, '$.deep.y')::VARCHAR⟩ AS y, ⟨{value} -> 'deep'¦json_extract({value}, '$.deep')::VARCHAR⟩ AS d FROM {t} ORDER BY {partition}, {offset} LIMIT 40", ordered: true},
	{text: "SELECT count(*) AS n, count(DISTINCT k) AS k FROM (SELECT {key} AS k, {offset} AS o FROM {t}) WHERE k > 'k2' AND o > 10", ordered: true},
	{text: "SELECT count(*) AS n FROM (SELECT {offset} AS o FROM {t} UNION ALL SELECT {offset} FROM {u})", ordered: true},
	{text: "SELECT * FROM {t} WHERE {offset} < 3 UNION ALL BY NAME SELECT * FROM {u} WHERE {offset} < 3"},
	{text: "SELECT count(*) AS n, sum(b.{offset}) AS s FROM {t} a LEFT JOIN {u} b ON a.{partition} = b.{partition} AND a.{offset} = b.{offset} AND b.{offset} > 700", ordered: true},
	{text: "SELECT count(*) AS n FROM {t} a LEFT JOIN {u} b ON a.{partition} = b.{partition} AND a.{offset} = b.{offset} + 600 WHERE b.{offset} IS NULL", ordered: true},
	{text: "SELECT {offset} AS o, {partition} AS p FROM {t} WHERE {key} = ⟨$1¦'k7'⟩ AND {timestamp} >= ⟨$2¦'2026-03-31T01:00:00Z'⟩ AND {offset} BETWEEN ⟨$3¦5⟩ AND ⟨$4¦1000⟩ ORDER BY p, o", ordered: true, parameters: []any{"k7", "2026-03-31T01:00:00Z", 5, 1000}},
	{text: "SELECT {offset} AS o FROM {t} WHERE {partition} = ⟨$1¦1⟩ ORDER BY o LIMIT ⟨$2¦10⟩ OFFSET ⟨$3¦7⟩", ordered: true, parameters: []any{1, 10, 7}},
	{text: "SELECT count(*) AS n FROM {t} WHERE {key} IN (⟨$1¦'k1'⟩, ⟨$2¦'k2'⟩) OR ‹{value}› LIKE ⟨$3¦'%München%'⟩ OR city = ⟨$4¦NULL⟩ OR amount < ⟨$5¦12.5::DOUBLE⟩", ordered: true, parameters: []any{"k1", "k2", "%München%", nil, 12.5}},
	{text: "SELECT {partition} AS p, count(*) AS n FROM {t} GROUP BY p HAVING count(*) > ⟨$1¦3⟩ ORDER BY p DESC LIMIT 2 OFFSET 1", ordered: true, parameters: []any{3}},
	{text: "WITH RECURSIVE up(o) AS (SELECT min({offset}) FROM {t} UNION ALL SELECT o + 100 FROM up WHERE o < 900) SELECT o, (SELECT count(*) FROM {t} WHERE {offset} <= up.o) AS n FROM up ORDER BY o", ordered: true},
}
