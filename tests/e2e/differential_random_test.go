package e2e

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// column is something that has a value in each row.
type column struct {
	name string // as it stands in the query
	base string // what it is, which says which constants make sense
	typ  columnType
}

// queries makes random queries over {t} and {u}, whose JSON columns have the same
// types where both have them.
type queries struct {
	r          *rand.Rand
	types      map[string]columnType // of {t}
	otherTypes map[string]columnType // of {u}
	parameters []any
}

// randomQuery asks something that nobody thought of.
func randomQuery(r *rand.Rand, types, otherTypes map[string]columnType) query {
	g := &queries{r: r, types: types, otherTypes: otherTypes}
	shapes := []func() (text string, ordered bool){
		g.rows, g.sums, g.groups, g.subquery, g.windows, g.join, g.join, g.set, g.with, g.nested, g.distinct, g.groupingSets,
	}
	text, ordered := shapes[r.IntN(len(shapes))]()
	text, g.parameters = g.renumbered(text)
	return query{text, ordered, g.parameters}
}

var numbered = regexp.MustCompile(`\$\d+`)

// renumbered keeps those of the parameters that the query has in the end, in its
// order, and now and then writes ? for them.
func (g *queries) renumbered(text string) (string, []any) {
	var used []any
	question := g.r.IntN(2) == 0
	text = numbered.ReplaceAllStringFunc(text, func(name string) string {
		n, _ := strconv.Atoi(name[1:])
		used = append(used, g.parameters[n-1])
		if question {
			return "?"
		}
		return fmt.Sprintf("$%d", len(used))
	})
	return text, used
}

// The shapes of queries.

func (g *queries) rows() (string, bool) {
	from := g.of("", g.types)
	var items []string
	for i := range 1 + g.r.IntN(4) {
		items = append(items, fmt.Sprintf("%s AS c%d", g.value(from).name, i))
	}
	return "SELECT " + strings.Join(items, ", ") + " FROM {t}" + g.where(from) +
		" ORDER BY {partition}, {offset} LIMIT " + g.count(60) + g.pick("", "", " OFFSET "+g.count(900)), true
}

func (g *queries) sums() (string, bool) {
	from := g.of("", g.types)
	return "SELECT " + g.aggregates(from) + " FROM {t}" + g.where(from), true
}

func (g *queries) groups() (string, bool) {
	from := g.of("", g.types)
	by := g.value(from).name
	return "SELECT " + by + " AS g, " + g.aggregates(from) + " FROM {t}" + g.where(from) + " GROUP BY g" +
		g.pick("", " HAVING count(*) > "+g.count(9)), false
}

func (g *queries) subquery() (string, bool) {
	from := g.of("", g.types)
	inner := "SELECT {partition} AS p, {offset} AS o, " + g.value(from).name + " AS v FROM {t}" + g.where(from)
	outer := g.pick("", " WHERE o "+g.comparison()+g.count(1500), " WHERE p = 1 AND v IS NOT NULL")
	return "SELECT p, count(*) AS n, count(v) AS vs, min(v) AS a, max(v) AS b, sum(o) AS os FROM (" + inner + ")" + outer + " GROUP BY p ORDER BY p", true
}

func (g *queries) windows() (string, bool) {
	from := g.of("", g.types)
	c := g.value(from)
	function := g.pick("row_number()", "ntile(5)", "count(*)", "lag("+c.name+", 2)", "lead("+c.name+")",
		"first_value("+c.name+")", "last_value("+c.name+")", "nth_value("+c.name+", 3)", "min("+c.name+")", "max("+c.name+")", "count("+c.name+")", "sum(n)")
	frame := g.pick("", "", " ROWS BETWEEN 2 PRECEDING AND CURRENT ROW", " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING", " ROWS BETWEEN 3 FOLLOWING AND 5 FOLLOWING")
	over := " OVER (PARTITION BY " + g.pick("{partition}", g.column(from).name) + " ORDER BY {partition}, {offset}" + frame + ")"
	if g.r.IntN(5) == 0 {
		function, over = g.pick("rank()", "dense_rank()", "count(*)", "cume_dist()"), " OVER (ORDER BY "+g.column(from).name+")"
	}
	return "SELECT {partition} AS p, {offset} AS o, " + function + over + " AS w FROM {t}" + g.where(from) +
		g.pick("", " QUALIFY row_number() OVER (PARTITION BY {partition} ORDER BY {offset} DESC) <= "+g.count(20)) +
		" ORDER BY p, o LIMIT " + g.count(3000), true
}

func (g *queries) join() (string, bool) {
	left, right := g.of("a.", g.types), g.of("b.", g.otherTypes)
	kind := g.pick("JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "SEMI JOIN", "ANTI JOIN", "ASOF JOIN")
	on := g.pick("a.{partition} = b.{partition} AND a.{offset} = b.{offset}", "a.{key} = b.{key} AND a.{partition} = b.{partition}",
		"a.id = b.id", "a.n = b.n AND a.{partition} = b.{partition}", "a.{offset} = b.{offset} + 100 AND a.{partition} = b.{partition}", "decode_utf8(a.{key}) = decode_utf8(b.{key}) AND a.n > b.n")
	switch kind {
	case "ASOF JOIN": // of rows of one moment any one is joined
		return "SELECT a.{partition} AS p, min(b.{timestamp}) AS f, max(b.{timestamp}) AS l, " + g.aggregates(left) +
			" FROM {t} a ASOF " + g.pick("", "LEFT ") + "JOIN {u} b ON a.{partition} = b.{partition} AND a.{timestamp} >= b.{timestamp}" + g.where(left) + " GROUP BY p ORDER BY p", true
	case "SEMI JOIN", "ANTI JOIN":
		return "SELECT " + g.aggregates(left) + " FROM {t} a " + kind + " {u} b ON " + on + g.where(left), true
	case "JOIN":
		if g.r.IntN(3) == 0 {
			return "SELECT count(*) AS n, sum(a.n) AS s, max(b.city) AS c FROM {t} a JOIN {u} b USING (" + g.pick("id", "n, city", "_partition, _offset, n, city") + ")", false
		}
	}
	if g.r.IntN(3) == 0 {
		on += " AND " + g.condition(slices.Concat(left, right), 0)
	}
	where := g.pick("", g.where(slices.Concat(left, right)), " WHERE b.{offset} IS NULL", " WHERE a.n IS NOT NULL AND "+g.condition(right, 1))
	return "SELECT count(*) AS n, sum(a.{offset}) AS s, sum(b.{offset}) AS t, min(" + g.value(left).name + ") AS x, max(" + g.value(right).name +
		") AS y, count(" + g.value(right).name + ") AS z FROM {t} a " + kind + " {u} b ON " + on + where, true
}

func (g *queries) set() (string, bool) {
	both := map[string]columnType{}
	for name, t := range g.types {
		if g.otherTypes[name] == t {
			both[name] = t
		}
	}
	from := g.of("", both)
	var items []string
	for i := range 1 + g.r.IntN(3) {
		items = append(items, fmt.Sprintf("%s AS c%d", g.value(from).name, i))
	}
	columns := strings.Join(items, ", ")
	text := "SELECT " + columns + " FROM {t}" + g.where(from) + g.pick(" UNION ALL ", " UNION ALL ", " UNION ", " INTERSECT ", " INTERSECT ALL ", " EXCEPT ", " EXCEPT ALL ", " UNION ALL BY NAME ") +
		"SELECT " + columns + " FROM {u}" + g.where(from)
	switch g.r.IntN(3) {
	case 0:
		return text + " ORDER BY ALL LIMIT " + g.count(50) + " OFFSET " + g.count(20), true
	case 1:
		return "SELECT count(*) AS n, count(DISTINCT c0) AS d, min(c0) AS a, max(c0) AS b FROM (" + text + ")", true
	}
	return text, false
}

func (g *queries) with() (string, bool) {
	from := g.of("", g.types)
	c := g.column(from)
	how := g.pick("AS", "AS MATERIALIZED", "AS NOT MATERIALIZED")
	if g.r.IntN(2) == 0 {
		return "WITH x " + how + " (SELECT * FROM {t}" + g.where(from) + ") SELECT " + g.bareAggregates(from) + " FROM x WHERE " + g.bareCondition(from, 1) +
			g.pick("", " AND {offset} > (SELECT min({offset}) FROM x)"), true
	}
	inner := []column{{"p", "{partition}", int64Column}, {"o", "{offset}", int64Column}, {"v", c.base, c.typ}}
	return "WITH x " + how + " (SELECT {partition} AS p, {offset} AS o, " + c.name + " AS v FROM {t}" + g.where(from) + "), " +
		"y AS (SELECT p, v, count(*) AS n FROM x WHERE " + g.bareCondition(inner, 1) + " GROUP BY p, v) " +
		"SELECT x.p, count(*) AS n, sum(y.n) AS s, min(o) AS o FROM x LEFT JOIN y ON x.p = y.p AND x.v IS NOT DISTINCT FROM y.v GROUP BY x.p ORDER BY x.p", true
}

func (g *queries) nested() (string, bool) {
	from, inner := g.of("o.", g.types), g.of("i.", g.otherTypes)
	some := g.condition(inner, 1)
	where := g.pick(
		"o.{offset} "+g.pick("", "NOT ")+"IN (SELECT i.{offset} FROM {u} i WHERE "+some+")",
		g.pick("", "NOT ")+"EXISTS (SELECT 1 FROM {u} i WHERE i.{key} = o.{key} AND "+some+")",
		"o.n > (SELECT avg(i.n) FROM {u} i WHERE "+some+")",
		"o.{offset} = (SELECT max(i.{offset}) FROM {u} i WHERE i.{partition} = o.{partition} AND i.n = o.n)",
		"o.{key} = ANY (SELECT i.{key} FROM {u} i WHERE "+some+")",
		"(o.{partition}, o.{offset}) IN (SELECT i.{partition}, i.{offset} FROM {u} i WHERE "+some+")")
	return "SELECT " + g.aggregates(from) + " FROM {t} o WHERE " + where + g.pick("", " AND "+g.condition(from, 1)), true
}

func (g *queries) distinct() (string, bool) {
	from := g.of("", g.types)
	a, b := g.value(from).name, g.value(from).name
	switch g.r.IntN(3) {
	case 0:
		return "SELECT DISTINCT " + a + " AS a, " + b + " AS b FROM {t}" + g.where(from), false
	case 1:
		return "SELECT DISTINCT ON (a) " + a + " AS a, {partition} AS p, {offset} AS o FROM {t}" + g.where(from) + " ORDER BY a, p, o", true
	}
	return "SELECT " + a + " AS a, count(DISTINCT " + b + ") AS b FROM {t}" + g.where(from) + " GROUP BY a HAVING count(*) BETWEEN " + g.count(5) + " AND " + g.count(500), false
}

func (g *queries) groupingSets() (string, bool) {
	from := g.of("", g.types)
	a, b := g.column(from).name, g.column(from).name
	if a == b {
		b = "city"
	}
	by := g.pick("ROLLUP (%[1]s, %[2]s)", "CUBE (%[1]s, %[2]s)", "GROUPING SETS ((%[1]s), (%[2]s), ())", "%[1]s, %[2]s", "ALL")
	if strings.Contains(by, "%") {
		by = fmt.Sprintf(by, a, b)
	}
	return "SELECT " + a + " AS a, " + b + " AS b, count(*) AS n, sum({offset}) AS s FROM {t}" + g.where(from) + " GROUP BY " + by, false
}

// Their parts.

// of are the columns of a table, some of them more often than others.
func (g *queries) of(prefix string, types map[string]columnType) []column {
	var all []column
	for name, t := range types {
		all = append(all, column{prefix + name, name, t})
	}
	// A map's order is not the seed's.
	slices.SortFunc(all, func(a, b column) int { return strings.Compare(a.name, b.name) })
	for _, c := range []column{
		{"", "{offset}", int64Column}, {"", "{offset}", int64Column}, {"", "{partition}", int64Column},
		{"", "{timestamp}", timestampColumn}, {"", "{timestamp}", timestampColumn}, {"", "{key}", "BLOB"}, {"", "{key}", "BLOB"},
	} {
		all = append(all, column{prefix + c.base, c.base, c.typ})
	}
	return all
}

func (g *queries) pick(choices ...string) string { return choices[g.r.IntN(len(choices))] }

func (g *queries) column(from []column) column { return from[g.r.IntN(len(from))] }

// made are values that are made of system columns.
var made = []column{
	{name: "upper(‹{key}›)", typ: textColumn}, {name: "substr(‹{key}›, 1, 2)", typ: textColumn}, {name: "left(‹{value}›, 9)", typ: textColumn},
	{name: "‹{key}› || '!'", typ: textColumn}, {name: "'<' || ‹{headers}['host']› || '>'", typ: textColumn}, {name: "‹{key}›::VARCHAR", typ: textColumn},
	{name: "concat(‹{key}›, '/', ‹{headers}['trace']›)", typ: textColumn}, {name: "replace(‹{key}›, 'k', 'key')", typ: textColumn},
	{name: "trim(‹{key}›, 'k')", typ: textColumn}, {name: "lpad(reverse(‹{key}›), 6, '.')", typ: textColumn}, {name: "split_part(‹{value}›, ',', 2)", typ: textColumn},
	{name: `regexp_extract(‹{value}›, '"city":"([^"]*)"', 1)`, typ: textColumn}, {name: "json_extract_string({value}, '$.deep.x')", typ: textColumn},
	{name: "⟨({value} ->> 'city')¦json_extract_string({value}, '$.city')⟩", typ: textColumn}, {name: "json_type({value}, '$.code')", typ: textColumn},
	{name: "⟨({value} -> 'code')¦json_extract({value}, '$.code')⟩::VARCHAR", typ: textColumn}, {name: "json_extract_string({value}, '/deep/y/1')", typ: textColumn},
	{name: "strftime({timestamp}, '%m-%d %H')", typ: textColumn}, {name: "decode_utf8({value})", typ: textColumn}, {name: "‹coalesce({key}, {value})›::VARCHAR", typ: textColumn},
	{name: "length(‹{value}›)", typ: int64Column}, {name: "octet_length({value})", typ: int64Column}, {name: "TRY_CAST(substr(‹{key}›, 2) AS BIGINT)", typ: int64Column},
	{name: "TRY_CAST(‹{key}› AS BIGINT)", typ: int64Column}, {name: "json_extract_int({value}, '$.n')", typ: int64Column}, {name: "json_extract_int({value}, '$.grows')", typ: int64Column},
	{name: "json_array_length({value}, '$.deep.y')", typ: int64Column}, {name: "strpos(‹{value}›, 'city')", typ: int64Column}, {name: "‹{headers}['trace']›::INT", typ: int64Column},
	{name: "levenshtein(‹{key}›, 'k12')", typ: int64Column}, {name: "hour({timestamp})", typ: int64Column}, {name: "epoch_ms({timestamp})", typ: int64Column},
	{name: "cardinality({headers})", typ: int64Column}, {name: "{offset} % 7", typ: int64Column}, {name: "json_extract_float({value}, '$.amount')", typ: doubleColumn},
	{name: "date_trunc('hour', {timestamp})", typ: timestampColumn}, {name: "{timestamp} - INTERVAL 90 MINUTE", typ: timestampColumn}, {name: "time_bucket(INTERVAL 7 HOUR, {timestamp})", typ: timestampColumn},
	{name: "({headers}['trace'] = '5')", typ: boolColumn}, {name: "json_exists({value}, '$.late')", typ: boolColumn}, {name: "json_valid({value})", typ: boolColumn},
}

// tests are conditions on system columns.
var tests = []string{
	"‹{key}› LIKE 'k1%'", "‹{key}› NOT LIKE 'k1%'", "‹{key}› ILIKE 'K2_'", "‹{key}› SIMILAR TO 'k[0-9]'", "‹{key}› LIKE 'k_5' ESCAPE '\\'", "‹{key}› GLOB 'k5*'",
	"starts_with(‹{key}›, 'k3')", "‹{key}› ^@ 'k4'", "regexp_matches(‹{key}›, '^k1.$')", "contains(‹{value}›, 'Oslo')", `‹{value}› LIKE '%"ok":true%'`, "‹{value}› LIKE '{%'",
	"suffix(‹{key}›, '7')", "‹{key}› LIKE 'K%n%'", "json_valid({value})", "json_exists({value}, '$.late')", `json_contains({value}, '{"none":null}')`,
	"{headers}['host'] IS NULL", "{headers}['trace'] = '5'", "‹{headers}['trace']› LIKE '1%'", "map_contains({headers}, 'host')", "{timestamp}::DATE = DATE '2026-03-31'",
	"date_trunc('day', {timestamp}) > '2026-03-30'", "decode_utf8({key}) = 'k9'", "decode_utf8({key}) >= 'k30'", "{value} IS NULL", "{key} IS NULL", "_topic LIKE 'c%'", "_topic = 'mixed'",
	"_timestamp_type = 0", "{offset} BETWEEN 100 AND 90 OR {offset} = 12", "length(‹{value}›) > 120", "{value} > '{'", "{value} = ''",
}

var short = regexp.MustCompile(`\{(key|value|headers|timestamp|offset|partition)\}|\b_topic\b|\b_timestamp_type\b`)

// qualified puts the table before the columns of a written expression.
func qualified(expression string, from []column) string {
	prefix, _, qualified := strings.Cut(from[0].name, ".")
	if !qualified {
		return expression
	}
	return short.ReplaceAllString(expression, prefix+".$0")
}

// value is a column, or something made of one.
func (g *queries) value(from []column) column {
	if g.r.IntN(3) > 0 {
		return g.column(from)
	}
	c := made[g.r.IntN(len(made))]
	return column{"(" + qualified(c.name, from) + ")", "", c.typ}
}

// count is a number of rows, sometimes as a parameter.
func (g *queries) count(below int) string {
	n := g.r.IntN(below)
	if g.r.IntN(5) > 0 {
		return fmt.Sprint(n)
	}
	return g.parameter(n, fmt.Sprint(n))
}

func (g *queries) parameter(value any, literal string) string {
	g.parameters = append(g.parameters, value)
	return fmt.Sprintf("⟨$%d¦%s⟩", len(g.parameters), literal)
}

func (g *queries) aggregates(from []column) string { return g.aggregatesOf(from, g.value) }

// bareAggregates have columns as they are: of those that come out of WITH the
// binary ones are not decoded.
func (g *queries) bareAggregates(from []column) string { return g.aggregatesOf(from, g.column) }

func (g *queries) aggregatesOf(from []column, value func([]column) column) string {
	items := []string{"count(*) AS n"}
	for i := range 1 + g.r.IntN(3) {
		c := value(from)
		f := g.pick("count(%s)", "min(%s)", "max(%s)", "count(DISTINCT %s)", "max(%s) FILTER (WHERE {partition} = 1)")
		if c.typ == int64Column || c.typ == doubleColumn {
			f = g.pick("sum(%s)", "avg(%s)", "min(%s)", "max(%s)", "count(%s)", "median(%s)")
		}
		items = append(items, fmt.Sprintf(qualified(f, from)+" AS a%d", c.name, i))
	}
	return strings.Join(items, ", ")
}

func (g *queries) where(from []column) string {
	if g.r.IntN(6) == 0 {
		return ""
	}
	return " WHERE " + g.condition(from, 2)
}

func (g *queries) condition(from []column, depth int) string {
	return g.combined(depth, func() string {
		if g.r.IntN(4) == 0 {
			return "(" + qualified(tests[g.r.IntN(len(tests))], from) + ")"
		}
		return g.comparing(g.value(from))
	})
}

// bareCondition is one on columns as they are.
func (g *queries) bareCondition(from []column, depth int) string {
	return g.combined(depth, func() string { return g.comparing(g.column(from)) })
}

func (g *queries) combined(depth int, one func() string) string {
	if depth > 0 {
		switch g.r.IntN(6) {
		case 0, 1:
			return g.combined(depth-1, one) + " AND " + g.combined(depth-1, one)
		case 2:
			return "(" + g.combined(depth-1, one) + " OR " + g.combined(depth-1, one) + ")"
		case 3:
			return "NOT (" + g.combined(depth-1, one) + ")"
		}
	}
	return one()
}

func (g *queries) comparing(c column) string {
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
			return c.name + g.pick("", " NOT") + g.pick(" LIKE ", " ILIKE ") + g.pick("'P%'", "'%a%'", "'x1_'", "'e%5'", "''")
		}
	case 6:
		if c.typ == int64Column || c.typ == doubleColumn {
			return c.name + g.pick(" + 1", " * 2", " - 3") + g.comparison() + g.constant(c)
		}
	}
	return c.name + g.comparison() + g.constant(c)
}

func (g *queries) comparison() string { return g.pick(" = ", " <> ", " < ", " <= ", " > ", " >= ") }

// constant is something that a column may be compared with.
func (g *queries) constant(c column) string {
	asParameter := g.r.IntN(8) == 0
	text := func(s string) string {
		if asParameter {
			return g.parameter(s, quote(s))
		}
		return quote(s)
	}
	number := func(v any) string {
		literal := fmt.Sprint(v)
		switch f, isFloat := v.(float64); {
		case asParameter && isFloat:
			return g.parameter(f, literal+"::DOUBLE")
		case asParameter:
			return g.parameter(v, literal)
		}
		return literal
	}
	switch {
	case g.r.IntN(40) == 0:
		if asParameter {
			return g.parameter(nil, "NULL")
		}
		return "NULL"
	case c.base == "{offset}":
		return number(g.r.IntN(1500))
	case c.base == "{partition}":
		return number(g.r.IntN(4))
	case c.base == "{timestamp}":
		at := time.Date(2026, 3, 30, 18, 0, 0, 0, time.UTC).Add(time.Duration(g.r.IntN(72*60)) * time.Minute)
		literal := at.Format(g.pick(time.RFC3339, time.DateOnly, "2006-01-02 15:04:05Z07:00"))
		if asParameter {
			return text(literal)
		}
		return g.pick("TIMESTAMPTZ ", "") + quote(literal)
	case c.base == "{key}":
		if asParameter {
			return text(fmt.Sprintf("k%d", g.r.IntN(600)))
		}
		return g.pick(fmt.Sprintf("'k%d'", g.r.IntN(600)), fmt.Sprintf("encode('k%d')", g.r.IntN(600)), `'\x6B\x39'::BLOB`)
	}
	switch c.typ {
	case boolColumn:
		return g.pick("true", "false")
	case int64Column:
		switch g.r.IntN(4) {
		case 0:
			return number(g.r.IntN(1100) - 550)
		case 1:
			return number(g.r.IntN(60))
		case 2:
			return number(float64(g.r.IntN(60)) + 0.5)
		}
		return number(int64(576460752303423488))
	case doubleColumn:
		switch g.r.IntN(3) {
		case 0:
			return number(float64(g.r.IntN(1600)) + 0.25)
		case 1:
			return number(g.r.IntN(1600))
		}
		return "1e9"
	case timestampColumn:
		return text(fmt.Sprintf("2026-%02d-%02dT%02d:00:00Z", 1+g.r.IntN(3), 1+g.r.IntN(28), g.r.IntN(24)))
	}
	return text(g.pick("Oslo", "Paris", "paris", "München", "", "o'Hara", "7", "x12", "v3", "5", "e17", "zzz", "true", "k12", "2026-01-10T00:00:00Z"))
}
