//go:build !nosql && linux

package engine

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var allGreedy = flag.Bool("greedy.all", false, "run all greedy queries, also those that end by their timeout")

// greedy are queries that would take more memory than there is, if they were let.
var greedy = map[string]string{
	"a text of texts for each row": `SELECT max(length(repeat(repeat('x', 10000), 10000 + (i % 7)::INT))) FROM range(100000) r(i)`,
	"doubled texts":                `WITH a AS (SELECT repeat('x', 10000) || i s FROM range(100000) r(i)), b AS (SELECT s||s||s||s||s||s||s||s||s||s s FROM a), c AS (SELECT s||s||s||s||s||s||s||s||s||s s FROM b) SELECT max(length(s||s||s||s||s||s||s||s||s||s||s||s||s)) FROM c`,
	"a list of everything":         `SELECT len(list(i)) FROM range(1000000000000) r(i)`,
	"a list without a table":       `SELECT len(range(100000000000))`,
	"a series without a table":     `SELECT len(generate_series(1, 100000000000))`,
	"a list for each row":          `SELECT sum(len(range(i))) FROM range(1000000000) r(i)`,
	"rows that double":             `WITH RECURSIVE r(i, s) AS (SELECT 1, 'x' UNION ALL SELECT i + 1, s || s FROM r) SELECT max(length(s)) FROM r`,
	"a quantile":                   `SELECT quantile_cont(i, 0.5) FROM range(10000000000) r(i)`,
	"a list of lists":              `SELECT list_transform(range(1000000), lambda x: range(1000000))`,
	"a list of lists of lists":     `SELECT len(flatten(list_transform(range(100000), lambda x: list_transform(range(1000), lambda y: range(1000)))))`,
	"a product of unnested lists":  `SELECT list(a + b + c) FROM unnest(range(10000)) x(a), unnest(range(10000)) y(b), unnest(range(10000)) z(c)`,
	"a list made longer":           `SELECT len(list_resize([1], 10000000000))`,
	"lists made longer":            `SELECT sum(len(list_resize([1], 1000000 + i))) FROM range(100000) r(i)`,
	"a formatted text":             `SELECT length(printf('%2000000000d', 1))`,
	"formatted texts":              `SELECT sum(length(format('{:1000000d}', i))) FROM range(1000000) r(i)`,
	"an expression that blows up":  `SELECT regexp_matches(repeat('a', 100000), '(((((a{1,100}){1,100}){1,100}){1,100}){1,100})$')`,
	"distances of texts":           `SELECT sum(damerau_levenshtein(repeat('a', 10000) || i, repeat('b', 10000) || i)) FROM range(100000) r(i)`,
	"a similarity of texts":        `SELECT jaro_similarity(repeat('ab', 1000000), repeat('ba', 1000000))`,
	"a struct of texts":            `SELECT max(s) FROM (SELECT {'a': repeat('x', 1000000), 'b': repeat('y', 1000000 + i::INT)} s FROM range(100000) r(i))`,
}

// patient are queries that take their time, or all that they are given.
var patient = map[string]string{
	"a histogram":                     `SELECT cardinality(histogram(i)) FROM range(10000000000) r(i)`,
	"a mode":                          `SELECT mode(md5(i::VARCHAR)) FROM range(10000000000) r(i)`,
	"a window over all":               `SELECT max(x) FROM (SELECT list(i) OVER (ORDER BY i ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) x FROM range(1000000) r(i))`,
	"an arg_max of many":              `SELECT len(max(i, 900000)) FROM range(10000000000) r(i)`,
	"a text of texts":                 `SELECT length(repeat(repeat(repeat('x', 10000), 10000), 10000))`,
	"a list of texts":                 `SELECT len(list('text ' || i)) FROM range(1000000000000) r(i)`,
	"a text of everything":            `SELECT length(string_agg('text ' || i, ',')) FROM range(1000000000000) r(i)`,
	"rows forever":                    `WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT count(*) FROM r`,
	"rows that are remembered":        `WITH RECURSIVE r(i) AS (SELECT 1 UNION SELECT i + 1 FROM r) SELECT count(*) FROM r`,
	"a cross join":                    `SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE hash(a.range, b.range) = 1`,
	"a sorted cross join":             `SELECT a.range, b.range, md5((a.range * b.range)::VARCHAR) m FROM range(1000000) a, range(1000000) b ORDER BY m LIMIT 10 OFFSET 100000000`,
	"groups":                          `SELECT count(*) FROM (SELECT md5(i::VARCHAR) m, count(*) FROM range(10000000000) r(i) GROUP BY m)`,
	"distinct values":                 `SELECT count(DISTINCT md5(i::VARCHAR)) FROM range(10000000000) r(i)`,
	"a median of texts":               `SELECT median(md5(i::VARCHAR)) FROM range(10000000000) r(i)`,
	"windows of texts":                `SELECT max(x) FROM (SELECT string_agg(md5(i::VARCHAR), ',') OVER (ORDER BY i) x FROM range(1000000) r(i))`,
	"a window that spills":            `SELECT sum(x) FROM (SELECT median(i) OVER (ORDER BY md5(i::VARCHAR) ROWS BETWEEN 100000 PRECEDING AND 100000 FOLLOWING) x FROM range(100000000) r(i))`,
	"a reduced list":                  `SELECT length(list_reduce(list_transform(range(100), lambda x: repeat('x', 1000)), lambda a, b: a || a || b))`,
	"an unnested list":                `SELECT count(*) FROM (SELECT unnest(range(1000000)) a, unnest(range(1000000)) b FROM range(1000000000))`,
	"a padded text":                   `SELECT length(lpad('x', 2000000000, 'y'))`,
	"padded texts":                    `SELECT sum(length(rpad('x', 1000000 + i::INT, 'y'))) FROM range(100000) r(i)`,
	"replaced texts":                  `SELECT length(replace(replace(replace(repeat('x', 10000), 'x', repeat('x', 10000)), 'x', 'yyyyyyyyyy'), 'y', 'zzzzzzzzzz'))`,
	"texts replaced by expression":    `SELECT length(regexp_replace(regexp_replace(repeat('x', 10000), 'x', repeat('y', 10000), 'g'), 'y', 'zzzzzzzzzz', 'g'))`,
	"another formatted text":          `SELECT length(format('{:2000000000d}', 1))`,
	"a number of many digits":         `SELECT length(bitstring('1', 2000000000)::VARCHAR)`,
	"an expression of alternatives":   `SELECT count(*) FROM range(100000000) r(i) WHERE regexp_matches(repeat('ab', 1000) || i, '(a|b|ab)*c')`,
	"a distance of texts":             `SELECT levenshtein(repeat('a', 1000000), repeat('b', 1000000))`,
	"a wildcard that goes back":       `SELECT count(*) FROM range(1000000) r(i) WHERE (repeat('a', 10000) || i) LIKE '%a%a%a%a%a%a%a%a%a%a%ab'`,
	"a pattern that goes back":        `SELECT count(*) FROM range(1000000) r(i) WHERE (repeat('a', 10000) || i) SIMILAR TO '(a*)*b'`,
	"a map of everything":             `SELECT cardinality(map(list(i), list(i))) FROM range(1000000000) r(i)`,
	"an approximate top":              `SELECT approx_top_k(md5(i::VARCHAR), 900000) FROM range(10000000000) r(i)`,
	"a sample":                        `SELECT count(*) FROM (SELECT md5(i::VARCHAR) FROM range(10000000000) r(i) USING SAMPLE reservoir(1000000000 ROWS))`,
	"an answer of one large row":      `SELECT repeat('x', 10000) || repeat(repeat('y', 10000), 2000)`,
	"a large answer that is not read": `SELECT repeat('x', 100000) FROM range(100000000)`,
}

func TestNoQueryTakesMoreMemoryThanItMay(t *testing.T) {
	const (
		memory = 128 << 20
		beside = 128 << 20 // what the test itself may come to have meanwhile
	)
	queries := maps.Clone(greedy)
	if *allGreedy {
		maps.Copy(queries, patient)
	}
	e := open(t, Options{MemoryBytesMax: memory, SpillBytesMax: memory, Threads: 2})
	file := table(t)
	for name, query := range queries {
		t.Run(name, func(t *testing.T) {
			debug.FreeOSMemory()
			require.NoError(t, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)) // VmHWM begins anew
			before := resident(t, "VmRSS")
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			began := time.Now()
			_, err := askIn(ctx, e, file, query, 1000)
			took, peak := time.Since(began), resident(t, "VmHWM")
			t.Logf("%.2f s, %d MiB before, %d MiB at most: %v", took.Seconds(), before>>20, peak>>20, err)
			require.Less(t, peak-before, int64(memory+beside))
			if patient[name] == "" {
				require.Error(t, err)
			}
			if err != nil && !errors.Is(err, ErrTooLarge) && !errors.Is(err, context.DeadlineExceeded) {
				require.ErrorIs(t, err, ErrQuery)
			}
			var unfinished *Unfinished
			if errors.As(err, &unfinished) {
				<-unfinished.Ended
				t.Logf("it ended after %.2f s, %d MiB at most", time.Since(began).Seconds(), resident(t, "VmHWM")>>20)
			}
			got, err := ask(t, e, file, `SELECT count(*) FROM orders`, 1)
			require.NoError(t, err)
			require.Equal(t, `[[100]]`, got.json)
		})
	}
}

func TestAnAccountIsEvenWhenItsQueryHasEnded(t *testing.T) {
	e, file := open(t, Options{Threads: 2}), table(t)
	for _, query := range []string{
		`SELECT * FROM orders`,
		`SELECT count(*) FROM (SELECT md5(i::VARCHAR) m, list(i) FROM range(300000) r(i) GROUP BY m)`,
		`SELECT string_agg(repeat('x', 1000), ',') FROM range(10000)`,
		`SELECT histogram(i % 100000) FROM range(1000000) r(i)`,
		`SELECT length(replace(repeat('x', 1000000), 'x', 'yy')), nonsense`,
		`SELECT md5(i::VARCHAR) m FROM range(1000000) r(i) ORDER BY m`,
	} {
		rows, err := e.rows(t.Context(), 1000)
		require.NoError(t, err)
		a := rows.instance.account
		a.keep()
		_ = rows.do(func() error {
			if err := rows.run(Query{SQL: query, Files: []string{file}, Views: []View{{"orders", "SELECT * FROM read_parquet(['" + file + "'])"}}}); err != nil {
				return err
			}
			for {
				batch, err := rows.next()
				if err != nil {
					return err
				}
				batch.Release()
			}
		})
		require.NoError(t, rows.Close())
		require.Less(t, a.bytes(), int64(2*sampleBytes), query) // a small allocation or two may outlive it
		require.Greater(t, a.bytes(), int64(-1), query)
		a.close()
	}
}

// A constant is computed before the query runs, and has bounds of its own.
func TestConstantsTakeNoMoreThanQueriesMay(t *testing.T) {
	e := open(t, Options{MemoryBytesMax: 64 << 20})
	_, err := e.Evaluate(t.Context(), `SELECT length(repeat(repeat('x', 10000), 100000))`)
	require.ErrorIs(t, err, ErrTooLarge)
	row, err := e.Evaluate(t.Context(), `SELECT 1`)
	require.NoError(t, err)
	require.Len(t, row, 1)
}

// resident reads a figure of this process's memory, in bytes.
func resident(t *testing.T, field string) int64 {
	text, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, after, found := strings.Cut(string(bytes.TrimSpace(text)), field+":")
	require.True(t, found)
	var kib int64
	_, err = fmt.Sscan(after, &kib)
	require.NoError(t, err)
	return kib << 10
}
