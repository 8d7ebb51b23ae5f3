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

var conditions = flag.Int("prune.conditions", 80, "how many conditions TestAPrunedAnswerIsTheAnswerOverEverything tries")

// The same conditions, written so that nothing can be understood of them, have
// the same answer over the same records.
func TestAPrunedAnswerIsTheAnswerOverEverything(t *testing.T) {
	for name, inParts := range map[string]bool{"whole files": false, "row groups and columns": true} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 2, func(config *Config) {
				if inParts {
					config.wholeBytes = 1
				}
			})
			c.table = func(o *columnar.Options) {
				o.RowGroupRows, o.PageBytes, o.BloomColumns = 10, 64, []string{"_key", "x", "city", "seen", "mixed"}
			}
			rng := rand.New(rand.NewPCG(3, 5))
			produce(t, c, rng, 600, 40)
			pruned, fewer := 0, 0
			for range *conditions {
				condition := randomCondition(rng, 2)
				query := "SELECT count(*) AS n, sum(_offset * 7 + _partition) AS h, count(x) AS x, max(city) AS city FROM orders"
				got := c.ask(query + " WHERE " + condition)
				want := c.ask(query + " WHERE CASE WHEN " + condition + " THEN true ELSE false END")
				require.Zero(t, want.Stats.FilesPruned)
				require.Equal(t, want.Rows, got.Rows, condition)
				require.Equal(t, want.Coverage, got.Coverage, condition)
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

// produce writes records of many shapes, most of them into files of fileRecords.
func produce(t *testing.T, c *cluster, rng *rand.Rand, records, fileRecords int) {
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
				fields = append(fields, fmt.Sprintf(`"city":"%c%d"`, 'a'+era%8, rng.IntN(5)))
			}
			if era%4 == 1 {
				fields = append(fields, fmt.Sprintf(`"mixed":%d`, rng.IntN(100)))
			} else if era%4 == 2 {
				fields = append(fields, fmt.Sprintf(`"mixed":"%d"`, rng.IntN(100)))
			}
			if era > 7 {
				fields = append(fields, fmt.Sprintf(`"late":%v`, rng.IntN(2) == 0), fmt.Sprintf(`"seen":"2026-11-%02dT01:02:03Z"`, 1+era))
			}
			c.broker.ProduceRecords(t, p, tailtest.Record{
				Timestamp: int64(1_700_000_000_000 + era*3_600_000 + rng.IntN(2_400_000)),
				Key:       fmt.Sprintf("k%d", rng.IntN(200)), Value: "{" + strings.Join(fields, ",") + "}",
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
	switch rng.IntN(18) {
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
	case 15:
		return "date_trunc('" + pick("minute", "hour", "day", "week", "month") + "', timestamp) " + op + " " + when()
	case 16:
		return pick("CAST(timestamp AS DATE) ", "seen::DATE ") + op + " " + pick(when(), "'2023-11-15'", "DATE '2026-11-12'", "current_date - 1")
	}
	return "mixed " + op + " '" + n(100) + "'"
}
