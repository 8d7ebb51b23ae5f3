//go:build !nosql

package engine

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// differs is a query for the times of a type, over 260,000 years, for which two
// expressions over t differ, or the types of these.
func differs(typ, ours, theirs string) string {
	return fmt.Sprintf(`WITH times AS (
		SELECT make_timestamptz(i * 123456789012345 - 130000000000000000) AS x FROM range(3300) r(i)
		UNION ALL SELECT make_timestamptz(1700000000000000 + i * 86399000001) FROM range(1000) r(i)
		UNION ALL SELECT unnest([TIMESTAMPTZ 'infinity', '-infinity', NULL, '1582-10-10 00:00:00Z', '1582-10-04 23:59:59.999999Z', '1900-02-28 00:00:00Z',
			'1969-12-31 23:59:59.999999Z', '2000-01-02 23:59:59.999999Z', '2024-02-29 12:00:00Z', '2016-12-31 23:59:59.999999Z', '2021-01-03 00:00:00Z']))
	SELECT count(*)::VARCHAR || ' of ' || min(t)::VARCHAR || ', ' || min(%[2]s)::VARCHAR || ' and not ' || min(%[3]s)::VARCHAR || ' of ' || any_value(typeof(%[3]s))
	FROM (SELECT CAST(x AS %[1]s) AS t FROM times) WHERE %[2]s IS DISTINCT FROM %[3]s OR typeof(%[2]s) <> typeof(%[3]s) HAVING count(*) > 0`, typ, ours, theirs)
}

func TestTimesInUTCAreTakenApartAsDuckDBDoes(t *testing.T) {
	e := open(t, Options{})
	same := func(typ, call string) {
		t.Helper()
		name, _, _ := strings.Cut(call, "(")
		a, err := run(t.Context(), e, Query{SQL: differs(typ, call, "system.main."+call), RowsMax: 1})
		require.NoError(t, err, "%s of %s", name, typ)
		require.Equal(t, "[]", a.json, "%s of %s", call, typ)
	}
	for _, typ := range []string{"TIMESTAMPTZ", "TIMESTAMP", "DATE"} {
		for _, unit := range []string{"microseconds", "second", "minute", "hour", "day", "week", "MONTH", "quarter", "year", "isoyear", "decade", "century", "millennium"} {
			same(typ, "date_trunc('"+unit+"', t)")
		}
		for _, part := range []string{"year", "isodow", "era", "millisecond", "yearweek", "julian"} {
			same(typ, "date_part('"+part+"', t)")
		}
		for _, part := range []string{"year", "quarter", "month", "week", "day", "dayofmonth", "dayofweek", "isodow", "dayofyear", "hour", "minute"} {
			same(typ, part+"(t)")
		}
		for _, width := range []string{"7 minutes", "1 hour", "1 week", "1 month", "10 years"} {
			same(typ, "time_bucket(INTERVAL '"+width+"', t)")
		}
	}
	same("TIMESTAMPTZ", "datetrunc('hour', t)")
	same("TIMESTAMPTZ", "datepart('hour', t)")
	same("TIMESTAMPTZ", "date_part('timezone_hour', t)")
	same("TIMESTAMPTZ", "date_part(['year', 'month'], t)")
	same("TIMESTAMPTZ", "time_bucket(INTERVAL 1 hour, t, INTERVAL 5 minutes)")
	same("TIMESTAMPTZ", "time_bucket(INTERVAL 1 day, t, 'Europe/Berlin')")
	// A number with a fraction may differ in its last bit, as these do not.
	a, err := run(t.Context(), e, Query{SQL: "SELECT date_part('epoch', TIMESTAMPTZ '2024-05-17 13:45:12.345678Z')", RowsMax: 1})
	require.NoError(t, err)
	require.Equal(t, "[[1715953512.345678]]", a.json)
	for _, typ := range []string{"INTERVAL", "TIME"} {
		a, err := run(t.Context(), e, Query{SQL: "SELECT hour(x), date_part('minute', x), typeof(x) FROM (SELECT CAST('3:04:05' AS " + typ + ") AS x)", RowsMax: 1})
		require.NoError(t, err)
		require.Equal(t, `[[3,4,"`+typ+`"]]`, a.json)
	}
}

// BenchmarkTimes is what a function of time costs for each value, in processor time:
// DuckDB's own, and with the shortcut.
func BenchmarkTimes(b *testing.B) {
	const values = 1_000_000
	e := open(b, Options{Threads: 1})
	for _, call := range []string{"date_trunc('minute', t)", "date_trunc('day', t)", "time_bucket(INTERVAL 1 hour, t)", "hour(t)"} {
		for _, way := range []string{"system.main.", ""} {
			b.Run(way+call, func(b *testing.B) {
				begun := cpuSeconds(b)
				for b.Loop() {
					_, err := run(b.Context(), e, Query{SQL: fmt.Sprintf("SELECT max(%s%s) FROM (SELECT make_timestamptz(1700000000000000 + i * 1000) AS t FROM range(%d) r(i))", way, call, values), RowsMax: 1})
					require.NoError(b, err)
				}
				b.ReportMetric((cpuSeconds(b)-begun)*1e9/float64(b.N)/values, "ns-cpu/value")
			})
		}
	}
}

func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
