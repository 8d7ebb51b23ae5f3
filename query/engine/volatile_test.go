//go:build !nosql

package engine

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/query/gate"
)

// TestWhatChanceOrTimeDecidesIsCalledVolatile asks DuckDB which of the allowed
// functions it does not fold, and tries what stands for the time besides.
func TestWhatChanceOrTimeDecidesIsCalledVolatile(t *testing.T) {
	e := open(t, Options{})
	isVolatile := func(query string) bool {
		plan, err := gate.Check(t.Context(), e, gate.NewNames([]string{"orders"}), query, 10)
		require.NoError(t, err, query)
		return plan.Volatile
	}
	allowed := map[string]bool{}
	for _, name := range gate.Functions() {
		allowed[name] = true
	}
	rows, err := e.parser.QueryContext(t.Context(), `SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE stability <> 'CONSISTENT'`)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	seen := 0
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		if allowed[name] {
			seen++
			require.True(t, isVolatile(fmt.Sprintf(`SELECT "%s"()`, name)), name)
		}
	}
	require.NoError(t, rows.Err())
	require.Greater(t, seen, 5)

	for _, query := range []string{
		`SELECT count(*) FROM orders WHERE timestamp > now() - INTERVAL 1 HOUR`, `SELECT CURRENT_DATE`, `SELECT LOCALTIMESTAMP`, `SELECT today()`,
		`WITH a AS (SELECT uuid() AS u) SELECT * FROM a`, `SELECT (SELECT random())`, `SELECT * FROM orders USING SAMPLE 3`,
		`SELECT * FROM orders TABLESAMPLE 10%`, `SELECT list_transform([1], x -> x + random())`, `FROM orders ORDER BY random()`,
	} {
		require.True(t, isVolatile(query), query)
	}
	for _, query := range []string{
		`SELECT count(*) FROM orders`, `SELECT hash(value), sum(offset) FROM orders GROUP BY ALL`, `SELECT date_trunc('day', timestamp) FROM orders`,
	} {
		require.False(t, isVolatile(query), query)
	}
	// Texts that other databases read as the time of the query are no times here.
	for _, text := range []string{"now", "today", "yesterday", "tomorrow"} {
		_, err := e.parser.ExecContext(t.Context(), fmt.Sprintf(`SELECT '%s'::TIMESTAMPTZ, '%[1]s'::DATE`, text))
		require.Error(t, err, text)
	}
}
