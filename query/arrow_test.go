//go:build !nosql

package query

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/columnar"
)

// Files of columnar.format=arrow become Parquet when they come into the cache,
// beside those that are Parquet from before.
func TestArrowFilesAreReadAsTheTableThatTheyAre(t *testing.T) {
	c := newCluster(t, 1, func(config *Config) { config.wholeBytes = 1 })
	c.broker.Produce(t, 0, 0, `{"a":1,"b":"x"}`)
	c.compact(0, 1)
	c.table = func(o *columnar.Options) { o.Format = "arrow" }
	c.broker.Produce(t, 0, 0, `{"a":2.5,"b":"y"}`)
	c.broker.Produce(t, 0, 0, `{"a":3,"c":true}`)
	object := c.compact(0, 3)
	require.True(t, strings.HasSuffix(object, ".arrow"), object)
	c.broker.Produce(t, 0, 0, `{"a":4}`)
	for range 2 { // fetched, and from the cache
		require.Equal(t, []map[string]any{
			{"_offset": 0.0, "a": 1.0, "b": "x", "c": nil},
			{"_offset": 1.0, "a": 2.5, "b": "y", "c": nil},
			{"_offset": 2.0, "a": 3.0, "b": nil, "c": true},
			{"_offset": 3.0, "a": 4.0, "b": nil, "c": nil},
		}, c.ask("SELECT _offset, a, b, c FROM orders ORDER BY _offset").Rows)
		require.Equal(t, []map[string]any{{"n": 1.0}}, c.ask("SELECT count(*) AS n FROM orders WHERE a = 2.5 AND b = 'y'").Rows)
	}
}
