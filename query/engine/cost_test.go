//go:build !nosql && linux

package engine

import (
	"database/sql"
	"io"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// costs are queries by what they make DuckDB allocate.
var costs = []struct{ name, query string }{
	{"scan", `SELECT count(*), sum(amount), min(id) FROM topics.t WHERE city <> 'city 5'`},
	{"few groups", `SELECT city, count(*), avg(amount) FROM topics.t GROUP BY city`},
	{"many groups", `SELECT count(*) FROM (SELECT note, sum(amount) FROM topics.t GROUP BY note)`},
	{"sort", `SELECT * FROM topics.t ORDER BY note LIMIT 10 OFFSET 500000`},
	{"texts", `SELECT max(upper(note || ' ' || city)) FROM topics.t`},
	{"lists", `SELECT max(len(l)) FROM (SELECT list(note) AS l FROM topics.t GROUP BY id % 10000)`},
	{"joined texts", `SELECT max(length(s)) FROM (SELECT string_agg(note, ',') AS s FROM topics.t GROUP BY id % 10000)`},
	{"text of JSON", `SELECT count(DISTINCT json_extract_string(value, '$.note')) FROM topics.t`},
	{"expressions", `SELECT count(*) FROM topics.t WHERE regexp_replace(note, '[aeiou0-4]+', '-', 'g') LIKE '%-x'`},
	{"long texts", `SELECT max(length(repeat(note, 5000 + (id % 7)::INT))) FROM topics.t WHERE id < 4000`},
	{"answer", `SELECT id, city, amount, note FROM topics.t`},
}

// BenchmarkCost reports processor time of the whole process, in user mode and in
// the kernel, which other processes disturb less than the clock.
func BenchmarkCost(b *testing.B) {
	path := filepath.Join(b.TempDir(), "t.parquet")
	db, err := sql.Open("duckdb", "")
	require.NoError(b, err)
	_, err = db.ExecContext(b.Context(), `COPY (SELECT i AS id, 'city ' || i % 100 AS city, i % 1000 / 7 AS amount, md5((i % 600000)::VARCHAR) AS note,
		encode('{"id":' || i || ',"note":"' || md5((i % 100000)::VARCHAR) || '"}') AS value FROM range(1000000) r(i)) TO '`+path+`'`)
	require.NoError(b, err)
	require.NoError(b, db.Close())
	e := open(b, Options{Threads: 2})
	for _, c := range costs {
		b.Run(c.name, func(b *testing.B) {
			user, kernel := processorTime(b)
			for b.Loop() {
				drain(b, e, Query{SQL: c.query, RowsMax: 1 << 40, Files: []string{path},
					Views: []View{{"t", "SELECT * FROM read_parquet(['" + path + "'])"}}})
			}
			userNow, kernelNow := processorTime(b)
			b.ReportMetric((userNow-user).Seconds()*1000/float64(b.N), "user-ms/op")
			b.ReportMetric((kernelNow-kernel).Seconds()*1000/float64(b.N), "kernel-ms/op")
		})
	}
}

func drain(b *testing.B, e *Engine, q Query) {
	rows, err := e.Stream(b.Context(), q)
	require.NoError(b, err)
	defer rows.Close()
	for {
		batch, err := rows.Next()
		if err == io.EOF {
			return
		}
		require.NoError(b, err)
		batch.Release()
	}
}

func processorTime(b *testing.B) (user, kernel time.Duration) {
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano()), time.Duration(usage.Stime.Nano())
}
