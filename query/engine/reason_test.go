//go:build !nosql

package engine

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnErrorBehindTheFirstRowsIsTheQuerysOwn(t *testing.T) {
	e, file := open(t, Options{Threads: 2}), table(t)
	for range 10 { // without a second look one in thirty was an interrupt
		_, err := ask(t, e, file, `SELECT CAST(CASE WHEN range = 400000 THEN 'x' ELSE range::VARCHAR END AS BIGINT) AS n
			FROM range(500000), orders WHERE offset < 2`, 1<<40)
		require.ErrorIs(t, err, ErrQuery)
		require.ErrorContains(t, err, "Could not convert string 'x'")
	}
}

// An interrupt that nobody asked for has a reason, which another run finds.
func TestAnInterruptIsNoReason(t *testing.T) {
	e, file := open(t, Options{Threads: 2}), table(t)
	query := func(sql string) error {
		rows, err := e.Stream(t.Context(), Query{SQL: sql, RowsMax: 1 << 40, Files: []string{file}})
		require.NoError(t, err)
		defer rows.Close()
		return rows.do(func() error { return rows.reason(failed("INTERRUPT Error: Interrupted!")) })
	}
	require.ErrorContains(t, query(`SELECT CAST(CASE WHEN i = 400000 THEN 'x' ELSE i::VARCHAR END AS BIGINT) FROM range(500000) r(i)`), "Could not convert")
	require.ErrorContains(t, query(`SELECT 1`), "INTERRUPT")
}
