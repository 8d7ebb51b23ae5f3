package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// query is a question with {t} for the table and {offset} and the like for the
// columns that have a short spelling.
type query struct {
	text    string
	ordered bool // its order is total, so the rows must come in it
}

// writtenQueries are those that people ask, and the corners.
var writtenQueries = []query{
	{"SELECT * FROM {t}", false},
	{"SELECT count(*) AS n FROM {t}", true},
	{"SELECT count(*) AS n, count({key}) AS keys, count({value}) AS vals, count(DISTINCT {key}) AS ids FROM {t}", true},
	{"SELECT {partition} AS p, min({offset}) AS a, max({offset}) AS b, count(*) AS n FROM {t} GROUP BY {partition} ORDER BY p", true},
	{"SELECT {key} AS k, {value} AS v, {timestamp} AS at FROM {t} ORDER BY {partition}, {offset} LIMIT 17 OFFSET 5", true},
	{"SELECT {offset} AS o, {partition} AS p FROM {t} WHERE {timestamp} >= TIMESTAMPTZ '2026-04-01 00:00:00+00' AND {timestamp} < '2026-04-01T06:00:00Z' ORDER BY p, o", true},
	{"SELECT date_trunc('day', {timestamp}) AS d, count(*) AS n, sum(n) AS s FROM {t} GROUP BY ALL ORDER BY d", true},
	{"SELECT CAST({timestamp} AS DATE) AS d, avg(amount) AS a FROM {t} GROUP BY d HAVING count(*) > 3 ORDER BY d", true},
	{"SELECT city, count(*) AS n, sum(amount) AS s, min(at) AS a, max(at) AS b FROM {t} GROUP BY city", false},
	{"SELECT city, ok, count(*) AS n FROM {t} GROUP BY ROLLUP (city, ok)", false},
	{"SELECT count(*) FILTER (WHERE ok) AS yes, count(*) FILTER (WHERE NOT ok) AS no, count(*) FILTER (WHERE ok IS NULL) AS open FROM {t}", true},
	{"SELECT decode_utf8({key}) AS k, count(*) AS n FROM {t} WHERE {key} IN ('k1', 'k2', 'k3', 'k99999') GROUP BY k ORDER BY k", true},
	{"SELECT {offset} AS o, {partition} AS p FROM {t} WHERE {key} = 'k7' ORDER BY p, o", true},
	{"SELECT count(*) AS n FROM {t} WHERE {key} = 'no such key'", true},
	{"SELECT count(*) AS n FROM {t} WHERE {key} = encode('k3')", true},
	{"SELECT count(*) AS n FROM {t} WHERE {value} IS NULL", true},
	{"SELECT count(*) AS n FROM {t} WHERE octet_length({value}) = 0", true},
	{"SELECT json_extract_string({value}, '$.deep.x') AS x, count(*) AS n FROM {t} GROUP BY x", false},
	{"SELECT json_extract_string(decode_utf8({value}), '$.deep.y[2]') AS y, max({offset}) AS m FROM {t} GROUP BY y", false},
	{"SELECT {headers}['host'] AS h, count(*) AS n FROM {t} GROUP BY h", false},
	{"SELECT cardinality({headers}) AS c, count(*) AS n FROM {t} GROUP BY c", false},
	{"SELECT {headers} AS h, {offset} AS o, {partition} AS p FROM {t} WHERE {offset} < 20 ORDER BY p, o", true},
	{"SELECT a.{offset} AS o, count(*) AS n FROM {t} a JOIN {t} b ON a.n = b.n AND a.{partition} = b.{partition} WHERE a.{offset} < 30 GROUP BY o ORDER BY o", true},
	{"SELECT city, n, row_number() OVER (PARTITION BY city ORDER BY id) AS r FROM {t} WHERE city IS NOT NULL QUALIFY r <= 2 ORDER BY city, r", true},
	{"SELECT {partition} AS p, {offset} AS o, lag(n) OVER (PARTITION BY {partition} ORDER BY {offset}) AS before FROM {t} ORDER BY p, o", true},
	{"WITH big AS (SELECT * FROM {t} WHERE amount > 700), top AS (SELECT city, max(amount) AS m FROM big GROUP BY city) SELECT top.city, m FROM top ORDER BY m DESC, city NULLS LAST", true},
	{"SELECT city FROM {t} WHERE n > 400 UNION SELECT city FROM {t} WHERE n < -400", false},
	{"SELECT city FROM {t} WHERE n > 0 EXCEPT SELECT city FROM {t} WHERE n < -499", false},
	{"SELECT count(*) AS n FROM {t} WHERE n = (SELECT max(n) FROM {t})", true},
	{"SELECT count(*) AS n FROM {t} o WHERE EXISTS (SELECT 1 FROM {t} i WHERE i.{key} = o.{key} AND i.{offset} > o.{offset} AND i.{partition} = o.{partition})", true},
	{"SELECT DISTINCT code FROM {t}", false},
	{"SELECT code, count(*) AS n FROM {t} WHERE code = '7' OR code LIKE 'x1%' GROUP BY code", false},
	{"SELECT grows, count(*) AS n FROM {t} GROUP BY grows", false},
	{"SELECT turns, count(*) AS n FROM {t} GROUP BY turns", false},
	{"SELECT sum(id) AS s, min(id) AS a, max(id) AS b FROM {t}", true},
	{"SELECT median(n) AS m, quantile_cont(amount, 0.9) AS q, stddev(n) AS d FROM {t}", true},
	{"SELECT string_agg(city, ',' ORDER BY {partition}, {offset}) AS s FROM {t} WHERE {offset} BETWEEN 3 AND 12", true},
	{"SELECT list(n ORDER BY {partition}, {offset}) AS l FROM {t} WHERE {offset} <= 4", true},
	{"SELECT arg_max(city, id) AS c, bool_and(ok) AS every, bool_or(ok) AS some FROM {t}", true},
	{"SELECT * EXCLUDE ({headers}) FROM {t} WHERE {partition} = 1 AND {offset} = 3", false},
	{"SELECT upper(city) AS u, length(city) AS l FROM {t} WHERE city ILIKE 'PARIS' ORDER BY u, l", true},
	{"SELECT n / 0 AS x FROM {t} WHERE n = 1", false},
	{"SELECT no_such_column FROM {t}", false},
	{"SELECT CAST(city AS INTEGER) AS x FROM {t}", false},
	{"SELECT count(*) AS n FROM {t} WHERE at BETWEEN '2026-01-10' AND '2026-01-20'", true},
	{"SELECT count(*) AS n FROM {t} WHERE {timestamp} BETWEEN '2026-03-31' AND '2026-04-01'", true},
	{"SELECT count(*) AS n FROM {t} WHERE CAST({timestamp} AS DATE) = DATE '2026-03-31'", true},
	{"SELECT count(*) AS n FROM {t} WHERE {timestamp} > '1999-01-01' AND NOT ({timestamp} > '2026-03-31T12:00:00+02:00')", true},
	{"SELECT count(*) AS n FROM {t} WHERE NULL", true},
	{"SELECT count(*) AS n FROM {t} WHERE {offset} IN (1, 2, NULL)", true},
	{"SELECT count(*) AS n FROM {t} WHERE {offset} NOT IN (1, 2, NULL)", true},
	{"SELECT count(*) AS n FROM {t} WHERE amount <> amount OR amount IS NULL", true},
	{"SELECT count(*) AS n FROM {t} WHERE n = 3.5 OR n < 1e300", true},
	{"SELECT count(*) AS n FROM {t} WHERE {offset} < 9223372036854775808", true},
	{"SELECT count(*) AS n FROM {t} WHERE {partition} = '1' AND {offset} > '5'", true},
	{"SELECT count(*) AS n FROM {t} WHERE city > 'N' AND city <= 'Paris'", true},
	{"SELECT count(*) AS n FROM {t} WHERE city COLLATE NOCASE = 'PARIS'", true},
	{"SELECT count(*) AS n FROM {t} WHERE coalesce(city, 'none') = 'none'", true},
	{"SELECT count(*) AS n FROM {t} WHERE (CASE WHEN ok THEN n ELSE -n END) > 100", true},
}

// randomQuery asks something that nobody thought of.
func randomQuery(r *rand.Rand, types map[string]columnType) query {
	g := &queries{r: r}
	for name, t := range types {
		g.columns = append(g.columns, column{name, t})
	}
	g.columns = append(g.columns,
		column{"{offset}", int64Column}, column{"{offset}", int64Column}, column{"{partition}", int64Column},
		column{"{timestamp}", timestampColumn}, column{"{timestamp}", timestampColumn}, column{"{key}", "BLOB"})
	// A map's order is not the seed's.
	sortColumns(g.columns)
	where := ""
	if r.IntN(6) > 0 {
		where = " WHERE " + g.condition(2)
	}
	switch r.IntN(4) {
	case 0:
		var items []string
		for i := range 1 + r.IntN(4) {
			items = append(items, fmt.Sprintf("%s AS c%d", g.column().name, i))
		}
		return query{"SELECT " + strings.Join(items, ", ") + " FROM {t}" + where +
			fmt.Sprintf(" ORDER BY {partition}, {offset} LIMIT %d", r.IntN(60)), true}
	case 1:
		return query{"SELECT " + g.aggregates() + " FROM {t}" + where, true}
	case 2:
		by := g.column().name
		return query{"SELECT " + by + " AS g, " + g.aggregates() + " FROM {t}" + where + " GROUP BY " + by, false}
	}
	inner := "SELECT {partition} AS p, {offset} AS o, " + g.column().name + " AS v FROM {t}" + where
	return query{"SELECT p, count(*) AS n, count(v) AS vs, min(v) AS a, max(v) AS b, sum(o) AS os FROM (" + inner + ") GROUP BY p ORDER BY p", true}
}

type column struct {
	name string
	typ  columnType
}

func sortColumns(columns []column) {
	for i := range columns {
		for j := i; j > 0 && columns[j].name < columns[j-1].name; j-- {
			columns[j], columns[j-1] = columns[j-1], columns[j]
		}
	}
}

type queries struct {
	r       *rand.Rand
	columns []column
}

func (g *queries) column() column { return g.columns[g.r.IntN(len(g.columns))] }

func (g *queries) pick(choices ...string) string { return choices[g.r.IntN(len(choices))] }

func (g *queries) aggregates() string {
	items := []string{"count(*) AS n"}
	for i := range 1 + g.r.IntN(3) {
		c := g.column()
		f := g.pick("count", "min", "max")
		if c.typ == int64Column || c.typ == doubleColumn {
			f = g.pick("sum", "avg", "min", "max", "count")
		}
		items = append(items, fmt.Sprintf("%s(%s) AS a%d", f, c.name, i))
	}
	return strings.Join(items, ", ")
}

func (g *queries) condition(depth int) string {
	if depth > 0 {
		switch g.r.IntN(6) {
		case 0, 1:
			return g.condition(depth-1) + " AND " + g.condition(depth-1)
		case 2:
			return "(" + g.condition(depth-1) + " OR " + g.condition(depth-1) + ")"
		case 3:
			return "NOT (" + g.condition(depth-1) + ")"
		}
	}
	c := g.column()
	switch g.r.IntN(8) {
	case 0:
		return c.name + g.pick(" IS NULL", " IS NOT NULL")
	case 1:
		return c.name + g.pick("", " NOT") + " IN (" + g.constant(c) + ", " + g.constant(c) + ", " + g.constant(c) + ")"
	case 2:
		return c.name + g.pick("", " NOT") + " BETWEEN " + g.constant(c) + " AND " + g.constant(c)
	case 3:
		return g.constant(c) + g.comparison() + c.name
	case 4:
		return c.name + g.pick(" IS DISTINCT FROM ", " IS NOT DISTINCT FROM ") + g.constant(c)
	case 5:
		if c.typ == textColumn {
			return c.name + g.pick("", " NOT") + " LIKE " + g.pick("'P%'", "'%a%'", "'x1_'", "'e%5'", "''")
		}
	case 6:
		if c.typ == int64Column || c.typ == doubleColumn {
			return c.name + g.pick(" + 1", " * 2", " - 3") + g.comparison() + g.constant(c)
		}
	}
	return c.name + g.comparison() + g.constant(c)
}

func (g *queries) comparison() string { return g.pick(" = ", " <> ", " < ", " <= ", " > ", " >= ") }

func (g *queries) constant(c column) string {
	switch {
	case g.r.IntN(40) == 0:
		return "NULL"
	case c.name == "{offset}":
		return fmt.Sprint(g.r.IntN(1500))
	case c.name == "{partition}":
		return fmt.Sprint(g.r.IntN(4))
	case c.name == "{timestamp}":
		at := time.Date(2026, 3, 30, 18, 0, 0, 0, time.UTC).Add(time.Duration(g.r.IntN(72*60)) * time.Minute)
		return g.pick("TIMESTAMPTZ ", "") + "'" + at.Format(g.pick(time.RFC3339, time.DateOnly, "2006-01-02 15:04:05Z07:00")) + "'"
	case c.name == "{key}":
		return g.pick(fmt.Sprintf("'k%d'", g.r.IntN(600)), fmt.Sprintf("encode('k%d')", g.r.IntN(600)), `'\x6B\x39'::BLOB`)
	}
	switch c.typ {
	case boolColumn:
		return g.pick("true", "false")
	case int64Column:
		return g.pick(fmt.Sprint(g.r.IntN(1100)-550), fmt.Sprint(g.r.IntN(60)), fmt.Sprintf("%d.5", g.r.IntN(60)), "576460752303423488")
	case doubleColumn:
		return g.pick(fmt.Sprintf("%d.25", g.r.IntN(1600)), fmt.Sprint(g.r.IntN(1600)), "1e9")
	case timestampColumn:
		return fmt.Sprintf("'2026-%02d-%02dT%02d:00:00Z'", 1+g.r.IntN(3), 1+g.r.IntN(28), g.r.IntN(24))
	}
	return g.pick("'Oslo'", "'Paris'", "'paris'", "'München'", "''", "'o''Hara'", "'7'", "'x12'", "'v3'", "'5'", "'e17'", "'zzz'")
}
