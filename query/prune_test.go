//go:build !nosql

package query

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/query/tail/tailtest"
)

var conditions = flag.Int("prune.conditions", 40, "how many conditions the tests of pruning try")

// The same conditions, written so that nothing can be understood of them, have
// the same answer over the same records.
func TestAPrunedAnswerIsTheAnswerOverEverything(t *testing.T) {
	for name, inParts := range map[string]bool{"whole files": false, "row groups and columns": true} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 2, func(config *Config) {
				if !inParts {
					config.wholeBytes = 1 << 30
				}
			})
			c.table = func(o *columnar.Options) {
				o.RowGroupRows, o.PageBytes, o.BloomColumns = 10, 64, []string{"_key", "x", "city", "seen", "mixed"}
			}
			rng := rand.New(rand.NewPCG(3, 5))
			produceShapes(t, c, rng, 600, 40)
			pruned, fewer := 0, 0
			for range *conditions {
				inner, outer := "", randomCondition(rng, 2)
				if rng.IntN(3) == 0 {
					inner = randomCondition(rng, 1)
				}
				build := func(wrap func(string) string) string {
					from := "orders"
					if inner != "" {
						from = "(SELECT * FROM orders WHERE " + wrap(inner) + ") AS t"
					}
					return "SELECT count(*) AS n, sum(_offset * 7 + _partition) AS h, count(x) AS x, max(city) AS city FROM " + from + " WHERE " + wrap(outer)
				}
				query := build(func(s string) string { return s })
				got, want := c.ask(query), c.ask(build(opaque))
				require.Zero(t, want.Stats.FilesPruned)
				require.Equal(t, want.Rows, got.Rows, query)
				require.Equal(t, want.Coverage, got.Coverage, query)
				pruned += got.Stats.FilesPruned
				if got.Stats.RowsScanned < want.Stats.RowsScanned {
					fewer++
				}
			}
			require.Greater(t, pruned, 5**conditions, "or this test says nothing")
			require.Greater(t, fewer, *conditions/2)
		})
	}
}

// opaque is a condition of which nothing is understood.
func opaque(condition string) string { return "CASE WHEN " + condition + " THEN true ELSE false END" }

// produceShapes writes records of many shapes, most of them into files of fileRecords.
func produceShapes(t *testing.T, c *cluster, rng *rand.Rand, records, fileRecords int) {
	for p := range 2 {
		for i := range records {
			if i > 0 && i%fileRecords == 0 && i < records-fileRecords/2 {
				c.compact(int32(p), int64(i))
			}
			era := i / fileRecords
			fields := []string{fmt.Sprintf(`"x":%d`, era*10+rng.IntN(30))}
			if era%3 == 0 {
				fields[0] = fmt.Sprintf(`"x":%g`, float64(era*10)+rng.Float64()*30)
			}
			if rng.IntN(3) > 0 {
				fields = append(fields, fmt.Sprintf(`"city":%q`, []string{"", "é", "a", "b", "c", "d", "e", "f", "g", "h"}[rng.IntN(2)*(2+era%8)]+fmt.Sprint(rng.IntN(5))))
			}
			if era%4 == 1 {
				fields = append(fields, fmt.Sprintf(`"mixed":%d`, rng.IntN(100)))
			} else if era%4 == 2 {
				fields = append(fields, fmt.Sprintf(`"mixed":"%d"`, rng.IntN(100)))
			}
			// Beyond what a double can tell apart, in some files only.
			big := fmt.Sprintf(`"big":%d`, int64(1)<<53+int64(era)+rng.Int64N(3))
			if era%5 == 4 {
				big += ".5"
			}
			fields = append(fields, big)
			if era > 7 {
				fields = append(fields, fmt.Sprintf(`"late":%v`, rng.IntN(2) == 0), fmt.Sprintf(`"seen":"2026-11-%02dT01:02:03Z"`, 1+era))
			}
			key := fmt.Sprintf("k%d", rng.IntN(200))
			if rng.IntN(4) == 0 {
				key = string([]byte{byte(200 + era), byte(rng.IntN(256)), 0})
			}
			c.broker.ProduceRecords(t, p, tailtest.Record{
				Timestamp: int64(1_700_000_000_000 + era*3_600_000 + rng.IntN(2_400_000)), Key: key, Value: "{" + strings.Join(fields, ",") + "}",
			})
		}
		require.Greater(t, c.store.Catalog().Partition(topic.Partition{Topic: c.topic.ID, Index: int32(p)}).Manifest.Marks.Columnar, int64(0))
	}
}

// randomCondition is a condition on the columns of produce.
func randomCondition(rng *rand.Rand, depth int) string {
	if depth > 0 && rng.IntN(3) > 0 {
		word := []string{" AND ", " AND ", " OR "}[rng.IntN(3)]
		return "(" + randomCondition(rng, depth-1) + word + randomCondition(rng, depth-1) + ")"
	}
	op := []string{"=", "<", "<=", ">", ">=", "<>"}[rng.IntN(6)]
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	n := func(max int) string { return fmt.Sprint(rng.IntN(max)) }
	when := func() string {
		text := fmt.Sprintf("2023-11-%02d %02d:%02d:00", 14+rng.IntN(2), rng.IntN(24), rng.IntN(60))
		return pick("'"+text+"'", "TIMESTAMP '"+text+"'", "TIMESTAMPTZ '"+text+"+02'", "DATE '"+text[:10]+"'", "now() - INTERVAL 1 DAY")
	}
	key := func() string { return pick("'k", "BLOB 'k") + n(220) + "'" }
	switch rng.IntN(21) {
	case 0:
		return "offset " + op + " " + n(700)
	case 1:
		return n(700) + " " + op + " offset"
	case 2:
		return "offset BETWEEN " + n(300) + " AND " + n(700)
	case 3:
		return "partition = " + n(3)
	case 4:
		return "timestamp " + op + " " + when()
	case 5:
		return "timestamp BETWEEN " + when() + " AND " + when()
	case 6:
		return "x " + op + " " + pick(n(200), n(200)+".5", n(200)+"e0", "-"+n(5), "9007199254740993", "NULL", "'nan'::DOUBLE")
	case 7:
		return "x IN (" + n(200) + ", " + n(200) + "." + n(9) + ", " + n(50) + ")"
	case 8:
		return "city " + op + " '" + pick("a1", "c", "h9", "", "B2") + "'"
	case 9:
		return "city LIKE '" + pick("a%", "b_", "%1", "c3", "h%4") + "'"
	case 10:
		return pick("late", "seen", "city", "x", "key", "mixed") + pick(" IS NULL", " IS NOT NULL")
	case 11:
		return "late = " + pick("true", "false")
	case 12:
		return "seen " + op + " " + pick("'2026-11-12'", "TIMESTAMPTZ '2026-11-13 01:02:03+00'")
	case 13:
		return pick("key", "decode_utf8(key)") + " = 'k" + n(220) + "'"
	case 14:
		return "key " + op + " " + key()
	case 18:
		return "big " + op + " " + fmt.Sprint(int64(1)<<53+rng.Int64N(16)) + pick("", ".0", ".5", "e0")
	case 19:
		return fmt.Sprintf(`key %s '\x%02X\x%02X'::BLOB`, op, 198+rng.IntN(18), rng.IntN(256))
	case 20:
		return "city " + op + " '" + pick("", "é", "é3", "2", "z") + "'"
	case 15:
		return "date_trunc('" + pick("minute", "hour", "day", "week", "month") + "', timestamp) " + op + " " + when()
	case 16:
		return pick("CAST(timestamp AS DATE) ", "seen::DATE ") + op + " " + pick(when(), "'2023-11-15'", "DATE '2026-11-12'", "current_date - 1")
	}
	return "mixed " + op + " '" + n(100) + "'"
}

// The first rows come from the files and row groups that have them.
func TestTheFirstRowsTakeNoMoreThanTheyHaveTo(t *testing.T) {
	c := newCluster(t, 2)
	c.table = func(o *columnar.Options) { o.RowGroupRows = 10 }
	rng := rand.New(rand.NewPCG(3, 5))
	produceShapes(t, c, rng, 400, 40)
	all := c.ask("SELECT count(*) FROM orders_cold WHERE random() < 2").Stats
	for range 60 {
		table := []string{"orders", "orders_cold"}[rng.IntN(2)]
		order := []string{"offset", "offset DESC", "timestamp", "timestamp DESC", "t.offset ASC"}[rng.IntN(5)]
		limit := fmt.Sprintf(" LIMIT %d OFFSET %d", 1+rng.IntN(30), rng.IntN(2)*rng.IntN(100))
		query := "SELECT offset, partition, x, value FROM " + table + " t"
		order = " ORDER BY " + order + ", partition, offset"
		got, want := c.ask(query+order+limit), c.ask(query+" WHERE random() < 2"+order+limit)
		require.Equal(t, want.Rows, got.Rows, order+limit)
		require.Equal(t, want.Coverage, got.Coverage)
		require.Less(t, got.Stats.RowsScanned, want.Stats.RowsScanned)
		require.Positive(t, got.Stats.FilesPruned)
	}
	a := c.ask("SELECT * FROM orders_cold LIMIT 7")
	require.Len(t, a.Rows, 7)
	require.LessOrEqual(t, a.Stats.RowsScanned, int64(40))
	require.Equal(t, all.FilesTotal-1, a.Stats.FilesPruned)
	require.Len(t, c.ask("SELECT * FROM orders_cold", `,"limit":55`).Rows, 55)
	// The rows of a CTE are not the table's.
	require.Len(t, c.ask("WITH c AS (SELECT offset FROM orders_cold WHERE offset % 200 = 199) SELECT * FROM c LIMIT 3").Rows,
		len(c.ask("SELECT offset FROM orders_cold WHERE offset % 200 = 199").Rows))
}

// What a join does to conditions is kept in mind: the answer is the same as when
// nothing can be understood of them.
func TestPrunedJoinsAnswerAsUnprunedOnes(t *testing.T) {
	c := newCluster(t, 2)
	c.table = func(o *columnar.Options) { o.RowGroupRows = 10 }
	rng := rand.New(rand.NewPCG(9, 9))
	produceShapes(t, c, rng, 200, 40)
	joins := []string{"JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "SEMI JOIN", "ANTI JOIN", "ASOF JOIN", "ASOF LEFT JOIN"}
	condition := func(side string) string { return conditionOf(rng, side) }
	pruned := 0
	for range *conditions {
		join := joins[rng.IntN(len(joins))]
		// What one side can do without must not hide behind what the other needs.
		tables := [][]string{{"orders_hot", "orders_cold"}, {"orders_cold", "orders_hot"}}[rng.IntN(2)]
		on, where := "a.key = b.key AND a.partition = b.partition", []string{condition("a")}
		var extra []string
		if strings.HasPrefix(join, "ASOF") {
			on = "a.partition = b.partition AND a.timestamp >= b.timestamp"
		} else if rng.IntN(2) == 0 {
			extra = append(extra, condition([]string{"a", "b"}[rng.IntN(2)]))
		}
		columns := "count(*) AS n, sum(a.offset) AS a"
		if join != "SEMI JOIN" && join != "ANTI JOIN" {
			columns += ", sum(b.offset) AS b"
			if rng.IntN(2) == 0 {
				where = append(where, condition("b"))
			}
		}
		build := func(wrap func(string) string) string {
			q := "SELECT " + columns + " FROM " + tables[0] + " a " + join + " " + tables[1] + " b ON " + on
			for _, e := range extra {
				q += " AND " + wrap(e)
			}
			q += " WHERE true"
			for _, w := range where {
				q += " AND " + wrap(w)
			}
			return q
		}
		query := build(func(s string) string { return s })
		got, want := c.ask(query), c.ask(build(opaque))
		require.Equal(t, want.Rows, got.Rows, query)
		pruned += got.Stats.FilesPruned
	}
	require.Greater(t, pruned, *conditions)
}

// conditionOf is one on the columns of a side of a join.
func conditionOf(rng *rand.Rand, side string) string {
	pick := []string{".offset < %d", ".offset >= %d", ".x = %d", ".x > %d", ".city IS NULL OR %[2]s.x < %[1]d", ".city IS NULL AND %[2]s.offset > %[1]d", ".offset BETWEEN %d AND 90"}[rng.IntN(7)]
	if !strings.Contains(pick, "%[") {
		return "(" + side + fmt.Sprintf(pick, rng.IntN(120)) + ")"
	}
	return "(" + side + fmt.Sprintf(pick, rng.IntN(120), side) + ")"
}

// Of a CTE what matters to anybody who names it is read, and the rest is not.
func TestPrunedCTEsAnswerAsUnprunedOnes(t *testing.T) {
	c := newCluster(t, 2)
	c.table = func(o *columnar.Options) { o.RowGroupRows = 10 }
	rng := rand.New(rand.NewPCG(7, 11))
	produceShapes(t, c, rng, 200, 40)
	pruned := 0
	for range *conditions {
		inner, a, b := "true", conditionOf(rng, "a"), conditionOf(rng, "b")
		if rng.IntN(2) == 0 {
			inner = conditionOf(rng, "t")
		}
		form := []string{
			"SELECT count(*) AS n, sum(a.offset) AS o FROM c a WHERE {a}",
			"SELECT count(*) AS n, sum(o) AS o FROM (SELECT a.offset AS o FROM c a WHERE {a} UNION ALL SELECT -b.offset FROM c b WHERE {b})",
			"SELECT count(*) AS n, sum(a.offset) AS o, sum(b.offset) AS x FROM c a LEFT JOIN c b ON a.offset = b.offset AND a.partition = b.partition AND {b} WHERE {a}",
			"SELECT count(*) AS n, sum(a.offset) AS o FROM c a WHERE {a} AND a.offset IN (SELECT b.offset FROM c b WHERE {b})",
			"SELECT count(*) AS n, (SELECT sum(b.offset) FROM c b WHERE {b}) AS x FROM c a WHERE {a}",
			"SELECT count(*) AS n, (SELECT count(*) FROM c) AS x FROM c a WHERE {a}",
		}[rng.IntN(6)]
		build := func(wrap func(string) string) string {
			return "WITH c AS (SELECT * FROM orders_cold t WHERE " + wrap(inner) + ") " + strings.NewReplacer("{a}", wrap(a), "{b}", wrap(b)).Replace(form)
		}
		query := build(func(s string) string { return s })
		got, want := c.ask(query), c.ask(build(opaque))
		require.Equal(t, want.Rows, got.Rows, query)
		pruned += got.Stats.FilesPruned
	}
	require.Greater(t, pruned, *conditions/2)
}
