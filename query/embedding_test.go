//go:build !nosql

package query

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/columnar"
)

func TestVectorsInAFileAreNoColumnThatNobodyAskedFor(t *testing.T) {
	c := newCluster(t, 1)
	c.broker.Produce(t, 0, 0, `{"a":1}`)
	c.compact(0, 1)
	want := c.ask("SELECT * FROM orders").Columns
	c.broker.Produce(t, 0, 0, `{"a":2}`)
	c.table = func(o *columnar.Options) {
		o.Embeddings = &columnar.Embeddings{Dimensions: 3, Of: func(int64) ([]float32, error) { return []float32{1, 2, 3}, nil }}
	}
	c.compact(0, 2)
	a := c.ask("SELECT * FROM orders ORDER BY offset")
	require.Equal(t, want, a.Columns)
	require.Equal(t, 2.0, a.Rows[1]["a"])
	require.Len(t, a.Rows, 2)
}
