//go:build !nosql

package engine

import (
	"context"
	"io"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/stretchr/testify/require"
)

// stream starts a query over no files.
func stream(t testing.TB, ctx context.Context, e *Engine, sql string, rowsMax int64) *Rows {
	t.Helper()
	rows, err := e.Stream(ctx, Query{SQL: sql, RowsMax: rowsMax})
	require.NoError(t, err)
	return rows
}

func TestAStreamAnswersEveryRowOnceInBatchesOfSomeThousands(t *testing.T) {
	e := open(t, Options{})
	const n = 300_000
	rows := stream(t, t.Context(), e, `SELECT i, 'v' || i AS v FROM range(300000) r(i)`, n)
	defer rows.Close()
	require.Equal(t, "int64 utf8", rows.Schema().Field(0).Type.String()+" "+rows.Schema().Field(1).Type.String())
	seen, batches := make([]bool, n), 0
	for {
		batch, err := rows.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		require.Positive(t, batch.NumRows())
		require.LessOrEqual(t, batch.NumRows(), int64(batchRows))
		for row, v := range batch.Column(0).(*array.Int64).Int64Values() {
			if seen[v] || batch.Column(1).ValueStr(row) != "v"+strconv.FormatInt(v, 10) {
				t.Fatalf("row %d is %s", v, batch.Column(1).ValueStr(row))
			}
			seen[v] = true
		}
		batch.Release()
		batches++
	}
	require.NotContains(t, slices.Compact(seen), false)
	require.Less(t, batches, n/2048)
	require.False(t, rows.Truncated())
	_, err := rows.Next()
	require.ErrorIs(t, err, io.EOF)
}

func TestAStreamEndsAtItsBound(t *testing.T) {
	e := open(t, Options{})
	for _, bound := range []int64{0, 1, 2047, 2048, 2049, 30_000} {
		rows := stream(t, t.Context(), e, `SELECT * FROM range(1000000)`, bound)
		var got int64
		for {
			batch, err := rows.Next()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			got += batch.NumRows()
			batch.Release()
		}
		require.Equal(t, bound, got)
		require.True(t, rows.Truncated())
		require.NoError(t, rows.Close())
	}
}

// A reader that is busy elsewhere does not keep a query alive behind its time,
// and one that comes back learns why there is no more.
func TestAStreamEndsWithItsContextWhoeverReads(t *testing.T) {
	e := open(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	rows := stream(t, ctx, e, `SELECT i FROM range(1000000000) r(i)`, 1<<40)
	batch, err := rows.Next()
	require.NoError(t, err)
	batch.Release()
	cancel()
	began := time.Now()
	for err == nil {
		if batch, err = rows.Next(); err == nil {
			batch.Release()
		}
	}
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, rows.Close())
	require.Less(t, time.Since(began), time.Second)
}

func TestACloseStopsAQueryThatRuns(t *testing.T) {
	e := open(t, Options{})
	rows := stream(t, t.Context(), e, `SELECT hash(a.range + b.range) FROM range(100000) a, range(100000) b`, 1<<40)
	began := time.Now()
	require.NoError(t, rows.Close())
	require.NoError(t, rows.Close())
	require.Less(t, time.Since(began), time.Second)
	_, err := rows.Next()
	require.Error(t, err)
	require.NotErrorIs(t, err, io.EOF)
}

func TestAnErrorInTheMiddleIsNoEnd(t *testing.T) {
	e := open(t, Options{Threads: 1})
	rows := stream(t, t.Context(), e, `SELECT CASE WHEN i = 900000 THEN 'x'::INTEGER ELSE i END FROM range(1000000) r(i)`, 1<<40)
	defer rows.Close()
	var got int64
	for {
		batch, err := rows.Next()
		if err != nil {
			require.ErrorIs(t, err, ErrQuery)
			break
		}
		got += batch.NumRows()
		batch.Release()
	}
	require.Positive(t, got)
	require.Less(t, got, int64(900_001))
}

func TestParametersKeepTheirTypesAndTheirCount(t *testing.T) {
	e := open(t, Options{})
	got, err := run(t.Context(), e, Query{
		SQL:        `SELECT $1 + 1, $2, ?3 || 'x', $4, $5 IS NULL, typeof($1), typeof($6), $1`,
		Parameters: []any{int64(1) << 60, 1.5, "a'b", []byte{0xff}, nil, true}, RowsMax: 1,
	})
	require.NoError(t, err)
	require.Equal(t, `[[1152921504606846977,1.5,"a'bx",{"$binary":"/w=="},true,"BIGINT","BOOLEAN",1152921504606846976]]`, got.json)
	for _, values := range [][]any{nil, {int64(1)}, {int64(1), int64(2), int64(3)}} {
		_, err := run(t.Context(), e, Query{SQL: `SELECT $1 + $2`, Parameters: values, RowsMax: 1})
		require.ErrorIs(t, err, ErrQuery)
		require.ErrorContains(t, err, "the query has 2 parameters")
	}
}
