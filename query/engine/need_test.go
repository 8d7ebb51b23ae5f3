//go:build !nosql

package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/query/gate"
	"github.com/chronik-stream/chronik/query/prune"
)

// shown writes a predicate as SQL would.
func shown(p prune.Predicate, v prune.Values) string {
	join := func(parts []prune.Predicate, word string) string {
		var texts []string
		for _, q := range parts {
			texts = append(texts, shown(q, v))
		}
		return "(" + strings.Join(texts, word) + ")"
	}
	value := func(i int) string {
		if i >= len(v) {
			return "missing"
		}
		s := v[i].String()
		if v[i].AsTime.Kind != prune.Unknown {
			s += "@" + v[i].AsTime.String()
		}
		return s
	}
	switch p := p.(type) {
	case nil:
		return "true"
	case prune.And:
		return join(p, " AND ")
	case prune.Or:
		return join(p, " OR ")
	case prune.Compare:
		if p.Cut > 0 {
			return p.Column + "/" + p.Cut.String() + [...]string{"=", "<", "<=", ">", ">="}[p.Op] + value(p.Constant)
		}
		return p.Column + [...]string{"=", "<", "<=", ">", ">="}[p.Op] + value(p.Constant)
	case prune.In:
		var all []string
		for _, i := range p.Constants {
			all = append(all, value(i))
		}
		return p.Column + " IN " + strings.Join(all, ",")
	case prune.IsNull:
		return p.Column + " null"
	case prune.NotNull:
		return p.Column + " not null"
	}
	return fmt.Sprintf("%T", p)
}

func TestPlansSayWhichRowsTheirTablesMatterFor(t *testing.T) {
	e := open(t, Options{})
	names := gate.NewNames([]string{"a", "b"})
	for query, want := range map[string]string{
		`SELECT 1 FROM a`: "true",
		`SELECT 1 FROM a WHERE offset >= 5 AND 7 > offset AND x <> 3`:                                                             "(_offset>=5 AND _offset<7)",
		`SELECT 1 FROM a WHERE offset BETWEEN -5 AND 1e3::INT`:                                                                    "(_offset>=-5 AND _offset<=1000)",
		`SELECT 1 FROM a WHERE (x = 1.25 OR "Y" = 'it''s') AND NOT (z < 3)`:                                                       "((x=1.25 OR y='it's') AND z>=3)",
		`SELECT 1 FROM a WHERE x = 1 OR random() < 0.5`:                                                                           "true",
		`SELECT 1 FROM a WHERE x = 1 AND random() < 0.5`:                                                                          "(x=1)",
		`SELECT 1 FROM a WHERE x IN (1, 2.5, 'q') AND y NOT IN (1)`:                                                               "(x IN 1,2.5,'q')",
		`SELECT 1 FROM a WHERE x IN (1, z)`:                                                                                       "true",
		`SELECT 1 FROM a WHERE x IS NULL AND y IS NOT NULL AND b = true`:                                                          "(x null AND y not null AND b=true)",
		`SELECT 1 FROM a WHERE x = NULL AND x IS NOT DISTINCT FROM 5`:                                                             "true",
		`SELECT 1 FROM a WHERE timestamp >= '2026-11-23' AND timestamp < DATE '2026-11-24'`:                                       "(_timestamp>='2026-11-23'@2026-11-23T00:00:00Z AND _timestamp<2026-11-24T00:00:00Z)",
		`SELECT 1 FROM a WHERE timestamp = TIMESTAMP '2026-11-23 01:02:03.5' OR timestamp = TIMESTAMPTZ '2026-11-23 01:00:00+02'`: "((_timestamp=2026-11-23T01:02:03.5Z OR _timestamp=2026-11-22T23:00:00Z))",
		`SELECT 1 FROM a WHERE timestamp < now() AND timestamp BETWEEN 'junk' AND now()`:                                          "(_timestamp>='junk')",
		`SELECT 1 FROM a WHERE key = 'k1' AND decode_utf8(key) = 'k2' AND decode_utf8(value) = 'v' AND key = '\x01k'::BLOB`:       "(_key='k1' AND _key='k2' AND _key='\x01k')",
		`SELECT 1 FROM a WHERE c LIKE 'Os%o_' AND d LIKE '%x' AND starts_with(f, 'é') AND g ~~ '2026-1%'`:                         "(c>='Os' AND c<'Ot' AND d not null AND f>='é' AND g>='2026-1' AND g<'2026-2')",
		`SELECT 1 FROM a WHERE x = 170141183460469231731687303715884105727 AND y = 'nan'::DOUBLE AND z = 1.5::FLOAT`:              "(x=1.7014118346046923e+38 AND y=? AND z=?)",
		`SELECT 1 FROM a WHERE timestamp >= to_timestamp(1700000000) AND x = -(3)`:                                                "(_timestamp>=2023-11-14T22:13:20Z AND x=-3)",
		`SELECT 1 FROM a WHERE CAST(timestamp AS DATE) = '2026-11-23' AND date_trunc('hour', x) < now()::DATE AND date_trunc('MONTH', y) >= DATE '2026-11-01' AND date_trunc('aeon', z) = DATE '2026-11-01' AND CAST(z AS VARCHAR) = 'x'`: "(_timestamp/24h0m0s='2026-11-23'@2026-11-23T00:00:00Z AND y/744h0m0s>=2026-11-01T00:00:00Z)",
		// Uses of one table are joined.
		`SELECT 1 FROM a WHERE x = 1 UNION ALL SELECT 1 FROM a WHERE x = 2`: "((x=1) OR (x=2))",
		`SELECT (SELECT count(*) FROM a) FROM a WHERE x = 1`:                "true",
		// So does WITH, for all who name it.
		`WITH c AS (SELECT * FROM a WHERE x = 1) SELECT * FROM c WHERE y = 2`:                                                        "(y=2 AND x=1)",
		`WITH c AS (SELECT offset AS o, x AS y FROM a) SELECT 1 FROM c WHERE o < 5 AND c.y = 2 AND x = 3`:                            "(_offset<5 AND x=2)",
		`WITH c AS (FROM a) SELECT 1 FROM c WHERE x = 1 UNION ALL SELECT 1 FROM c WHERE x = 2`:                                       "(((x=1) OR (x=2)))",
		`WITH c AS (FROM a) SELECT 1 FROM c WHERE x = (SELECT max(x) FROM c)`:                                                        "true",
		`WITH c AS (FROM a WHERE x = 1) SELECT 1 FROM c t LEFT JOIN c u ON u.y = 2 WHERE t.z = 3`:                                    "(((z=3) OR (y=2)) AND x=1)",
		`WITH c AS (FROM a) SELECT 1 FROM c WHERE x = 1 UNION ALL SELECT 1 FROM c TABLESAMPLE 50% WHERE x = 1`:                       "true",
		`WITH c AS (FROM a) SELECT 1 FROM c AS t(p, q) WHERE p = 1 AND x = 2`:                                                        "true",
		`WITH c(p) AS (FROM a) SELECT 1 FROM c WHERE p = 1 AND x = 2`:                                                                "true",
		`WITH c AS (FROM a LIMIT 5) SELECT 1 FROM c WHERE x = 1`:                                                                     "true",
		`WITH c AS (FROM a), d AS (FROM c WHERE x = 1) SELECT 1 FROM d WHERE y = 2`:                                                  "(x=1)",
		`WITH c AS MATERIALIZED (FROM a) SELECT 1 FROM c WHERE EXISTS (FROM b WHERE c.x = b.x) AND y = 2`:                            "(y=2)",
		`WITH RECURSIVE c AS (FROM a), r AS (SELECT x FROM c WHERE y = 1 UNION SELECT c.x FROM c JOIN r ON c.y = 2) SELECT 1 FROM r`: "(((y=1) OR (y=2)))",
		// Subqueries that hand on rows as they are.
		`SELECT 1 FROM (SELECT * FROM a WHERE x = 1) t WHERE offset = 5 AND t.y = 2`:                               "(_offset=5 AND y=2 AND x=1)",
		`SELECT 1 FROM (SELECT offset AS o, x AS y FROM a) WHERE o < 5 AND y = 2 AND x = 3 AND _offset = 4`:        "(_offset<5 AND x=2)",
		`SELECT 1 FROM b LEFT JOIN (SELECT * FROM a WHERE x IS NULL) t ON t.y = b.y WHERE t.z = 1 AND t.w IS NULL`: "(z=1 AND x null)",
		`SELECT 1 FROM (SELECT * FROM (SELECT x FROM a WHERE w = 1)) WHERE x = 5`:                                  "(w=1)",
		`SELECT 1 FROM (SELECT * FROM a LIMIT 5) WHERE x = 5`:                                                      "true",
		`SELECT 1 FROM (SELECT DISTINCT ON (x) * FROM a) WHERE y = 5`:                                              "true",
		`SELECT 1 FROM (SELECT x, count(*) FROM a GROUP BY x) WHERE x = 5`:                                         "true",
		`SELECT 1 FROM (SELECT x, row_number() OVER () AS y FROM a) WHERE x = 5`:                                   "true",
		`SELECT 1 FROM (SELECT x FROM a UNION ALL SELECT x FROM a) WHERE x = 5`:                                    "true",
		`SELECT 1 FROM (SELECT * FROM a TABLESAMPLE 10%) WHERE x = 5`:                                              "true",
		`SELECT 1 FROM (SELECT * FROM a) AS t(p, q) WHERE p = 5`:                                                   "true",
		`SELECT 1 FROM (SELECT x, y AS x FROM a) WHERE x = 5`:                                                      "true",
		`SELECT 1 FROM (SELECT * FROM a) t WHERE EXISTS (SELECT 1 FROM (SELECT * FROM b) u WHERE t.x = 5)`:         "true",
		`WITH b AS (SELECT 1 AS x) SELECT 1 FROM (SELECT * FROM b WHERE x IN (SELECT x FROM a)) WHERE x = 5`:       "true",
		// An inner query's conditions are not the outer one's.
		`SELECT 1 FROM a WHERE EXISTS (SELECT 1 FROM b WHERE a.x = 5 AND b.y = 6)`: "true",
		`SELECT 1 FROM a WHERE x = (SELECT 5) AND (y, z) = (1, 2)`:                 "true",
		`SELECT x + 1 AS y FROM a GROUP BY x HAVING x = 5 QUALIFY x = 4`:           "true",
		// Joins.
		`SELECT 1 FROM a JOIN b ON a.x = b.x AND a.y = 1 WHERE a.z = 2 AND b.z = 3 AND q = 4`:                               "(y=1 AND z=2)",
		`SELECT 1 FROM a LEFT JOIN b ON a.y = 1 WHERE a.z = 2 AND a.q IS NULL`:                                              "(z=2 AND q null)",
		`SELECT 1 FROM b LEFT JOIN a ON a.y = 1 AND a.w IS NULL WHERE a.z = 2 AND a.q IS NULL AND (a.r = 1 OR a.s IS NULL)`: "(y=1 AND w null AND z=2)",
		`SELECT 1 FROM a RIGHT JOIN b ON a.y = 1 WHERE a.z = 2 AND a.q IS NULL`:                                             "(y=1 AND z=2)",
		`SELECT 1 FROM a FULL JOIN b ON a.y = 1 WHERE a.z = 2 AND a.q IS NULL`:                                              "(z=2)",
		`SELECT 1 FROM a SEMI JOIN b ON a.x = b.x WHERE a.z = 2`:                                                            "(z=2)",
		`SELECT 1 FROM b ANTI JOIN a ON a.x = b.x AND a.y = 1 WHERE b.z = 2`:                                                "true",
		`SELECT 1 FROM b ASOF JOIN a ON a.t >= b.t WHERE a.z = 2`:                                                           "true",
		`SELECT 1 FROM a ASOF JOIN b ON a.t >= b.t WHERE a.z = 2`:                                                           "(z=2)",
		`SELECT 1 FROM b ASOF JOIN a ON a.t >= b.t JOIN b AS c ON a.x = 5`:                                                  "true",
		`SELECT 1 FROM (a JOIN b ON a.x = 5) POSITIONAL JOIN b AS c WHERE a.z = 2`:                                          "(x=5)",
		`SELECT 1 FROM a POSITIONAL JOIN b WHERE a.z = 2`:                                                                   "true",
		`SELECT 1 FROM a CROSS JOIN b WHERE a.z = 2`:                                                                        "(z=2)",
		`SELECT 1 FROM a, b WHERE a.z = 2 AND b.z = 3`:                                                                      "(z=2)",
		`SELECT 1 FROM a, a AS c WHERE a.z = 2 AND c.z = 3`:                                                                 "((z=2) OR (z=3))",
		`SELECT 1 FROM a NATURAL JOIN b WHERE z = 2`:                                                                        "true",
		// Samples are taken before.
		`SELECT 1 FROM a TABLESAMPLE 10% WHERE x = 1`:                 "true",
		`SELECT 1 FROM a WHERE x = 1 USING SAMPLE 10 ROWS`:            "true",
		`SELECT 1 FROM (SELECT * FROM a) TABLESAMPLE 10% WHERE x = 1`: "true",
	} {
		t.Run(query, func(t *testing.T) {
			plan, err := gate.Check(t.Context(), e, names, query, 10)
			require.NoError(t, err)
			var row []prune.Value
			if plan.Constants.SQL != "" {
				row, err = e.Evaluate(t.Context(), plan.Constants.SQL)
				require.NoError(t, err)
			}
			values := plan.Constants.Values(row, nil)
			for _, table := range plan.Tables {
				if table.Topic != "a" {
					continue
				}
				got := shown(table.Need.Where, values)
				require.Equal(t, want, got)
			}
		})
	}
}

func TestPlansSayWhichColumnsTheirTablesAreReadFor(t *testing.T) {
	e := open(t, Options{})
	names := gate.NewNames([]string{"a", "b"})
	for query, want := range map[string]string{
		`SELECT count(*) FROM a`:                                                 "[]",
		`SELECT Offset, "City" FROM a WHERE x IS NULL ORDER BY a.y`:              "[_offset a city x y]",
		`SELECT * FROM a`:                                                        "all",
		`FROM a`:                                                                 "all",
		`SELECT a.* FROM b, a`:                                                   "all",
		`SELECT b.* FROM b, a`:                                                   "[]",
		`SELECT * FROM (SELECT * FROM a)`:                                        "all",
		`SELECT t FROM (SELECT * FROM a) t`:                                      "all",
		`SELECT 1 WHERE EXISTS (FROM a)`:                                         "all",
		`SELECT x FROM (SELECT * FROM a UNION ALL FROM a)`:                       "all",
		`WITH c AS (FROM a) SELECT x FROM c`:                                     "[x]",
		`WITH c AS (FROM a) SELECT x FROM c UNION ALL FROM c`:                    "all",
		`WITH c AS (FROM a) SELECT c FROM c`:                                     "all",
		`WITH c AS (FROM a) SELECT x FROM c AS t(x)`:                             "all",
		`WITH c AS (SELECT x, y FROM a) FROM c`:                                  "[x y]",
		`SELECT x FROM (SELECT * EXCLUDE (y) FROM a)`:                            "all",
		`SELECT x FROM (SELECT * FROM a WHERE y = 1) WHERE z = 2`:                "[x y z]",
		`SELECT x FROM (SELECT * FROM a)`:                                        "[x]",
		`SELECT * FROM (SELECT x FROM a)`:                                        "[x]",
		`SELECT a FROM a`:                                                        "all",
		`SELECT unnest(c) FROM a AS c`:                                           "all",
		`SELECT x FROM a AS t(x, y)`:                                             "all",
		`SELECT COLUMNS('x.*') FROM a`:                                           "all",
		`SELECT b.x FROM a NATURAL JOIN b`:                                       "all",
		`SELECT b.x FROM a JOIN b USING (offset, y)`:                             "[_offset b x y]",
		`SELECT sum(x) OVER (PARTITION BY y ORDER BY z) FROM a`:                  "[x y z]",
		`SELECT max(x) FILTER (WHERE y > 1) FROM a GROUP BY z HAVING min(w) > 1`: "[w x y z]",
		`SELECT EXISTS (SELECT * FROM b WHERE b.x = a.x) FROM a`:                 "[a b x]",
		`SELECT json_extract_string(value, '$.a') FROM a`:                        "[_value]",
		`SELECT list_transform([1], v -> v + x) FROM a`:                          "[v x]",
	} {
		t.Run(query, func(t *testing.T) {
			plan, err := gate.Check(t.Context(), e, names, query, 10)
			require.NoError(t, err)
			for _, table := range plan.Tables {
				if table.Topic != "a" {
					continue
				}
				got := fmt.Sprint(table.Need.Columns)
				if table.Need.All {
					got = "all"
				}
				require.Equal(t, want, got)
			}
		})
	}
}

func TestConstantsAreInUTCOnWhateverConnection(t *testing.T) {
	t.Setenv("TZ", "America/New_York")
	e := open(t, Options{})
	held, err := e.parser.Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, held.Close()) }()
	row, err := e.Evaluate(t.Context(), "SELECT TRY_CAST('2026-11-23 12:00:00' AS TIMESTAMP WITH TIME ZONE), TIMESTAMP '2026-11-23 12:00:00', 1.5, 3::HUGEINT, 'a', 'b'::BLOB, NULL, true, INTERVAL 1 DAY, 1.5::FLOAT")
	require.NoError(t, err)
	var shown []string
	for _, v := range row {
		shown = append(shown, v.String())
	}
	require.Equal(t, []string{"2026-11-23T12:00:00Z", "2026-11-23T12:00:00Z", "1.5", "3", "'a'", "'b'", "?", "true", "?", "?"}, shown)
}

func TestPlansSayWhenFewRowsAreEnough(t *testing.T) {
	e := open(t, Options{})
	names := gate.NewNames([]string{"a", "b"})
	for query, want := range map[string]prune.First{
		`SELECT * FROM a`:         {Rows: 10},
		`SELECT * FROM a LIMIT 3`: {Rows: 3},
		`SELECT x, decode_utf8(value) AS v, x + 1 FROM a LIMIT 3 OFFSET 4`:      {Rows: 7},
		`SELECT offset, x FROM a ORDER BY offset DESC, x LIMIT 3`:               {Rows: 3, Column: "_offset", Descending: true},
		`SELECT * EXCLUDE (value) FROM a t ORDER BY t.timestamp LIMIT 3`:        {Rows: 3, Column: "_timestamp"},
		`SELECT timestamp AS ts FROM a ORDER BY ts LIMIT 3`:                     {Rows: 3, Column: "_timestamp"},
		`SELECT -offset AS _offset FROM a ORDER BY _offset LIMIT 3`:             {},
		`SELECT -offset AS offset FROM a ORDER BY offset LIMIT 3`:               {},
		`SELECT * REPLACE (-_offset AS _offset) FROM a ORDER BY offset LIMIT 3`: {},
		`SELECT x FROM a ORDER BY x LIMIT 3`:                                    {},
		`SELECT x FROM a ORDER BY 1 LIMIT 3`:                                    {},
		`SELECT x FROM a ORDER BY ALL LIMIT 3`:                                  {},
		`SELECT count(*) FROM a LIMIT 3`:                                        {},
		`SELECT x, max(y) OVER () FROM a LIMIT 3`:                               {},
		`SELECT unnest([x]) FROM a LIMIT 3`:                                     {},
		`SELECT DISTINCT x FROM a LIMIT 3`:                                      {},
		`SELECT x FROM a GROUP BY x LIMIT 3`:                                    {},
		`SELECT x FROM a GROUP BY ALL LIMIT 3`:                                  {},
		`SELECT x FROM a WHERE y = 1 LIMIT 3`:                                   {},
		`SELECT x FROM a LIMIT 3%`:                                              {},
		`SELECT x FROM a LIMIT (SELECT 3)`:                                      {},
		`SELECT x FROM a TABLESAMPLE 50% LIMIT 3`:                               {},
		`SELECT x FROM a USING SAMPLE 5 LIMIT 3`:                                {},
		`SELECT x FROM a QUALIFY row_number() OVER () > 5 LIMIT 3`:              {},
		`SELECT x FROM a, b LIMIT 3`:                                            {},
		`SELECT x FROM a UNION ALL SELECT x FROM a LIMIT 3`:                     {},
		`SELECT x FROM (SELECT x FROM a) LIMIT 3`:                               {},
		`SELECT x, (SELECT count(*) FROM a) FROM a LIMIT 3`:                     {},
		`SELECT sum(x) FILTER (WHERE y) FROM a LIMIT 3`:                         {},
		`SELECT COLUMNS(*)::VARCHAR FROM a LIMIT 3`:                             {},
		`WITH c AS (SELECT * FROM a WHERE x = 1) SELECT * FROM c LIMIT 3`:       {},
		`WITH c AS (SELECT * FROM a WHERE x = 1) SELECT * FROM c`:               {},
		`WITH c AS (SELECT x FROM a ORDER BY y) SELECT * FROM c LIMIT 3`:        {},
		`WITH c AS (SELECT 1) SELECT * FROM a LIMIT 3`:                          {Rows: 3},
	} {
		plan, err := gate.Check(t.Context(), e, names, query, 10)
		require.NoError(t, err, query)
		require.Equal(t, want, plan.Tables[0].Need.First, query)
	}
}

func TestTheClockIsReadOnlyWhereItMayLag(t *testing.T) {
	e := open(t, Options{})
	plan, err := gate.Check(t.Context(), e, gate.NewNames([]string{"a"}),
		`SELECT 1 FROM a WHERE timestamp > current_timestamp - INTERVAL '1 hour' AND timestamp < current_date AND x = current_time AND timestamp <> now()`, 10)
	require.NoError(t, err)
	row, err := e.Evaluate(t.Context(), plan.Constants.SQL)
	require.NoError(t, err)
	need := plan.Tables[0].Need
	require.Equal(t, prune.And{prune.Compare{Column: "_timestamp", Op: prune.Greater}}, need.Where)
	require.Contains(t, need.Words, "current_timestamp")
	got := time.UnixMicro(plan.Constants.Values(row, nil)[0].Int64)
	require.WithinDuration(t, time.Now().Add(-time.Hour), got, time.Minute)
}
