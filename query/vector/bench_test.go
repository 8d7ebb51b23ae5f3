package vector

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/embedder/embeddertest"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/query/shardcache"
)

// BenchmarkSearch is a search over shards that are here, and what of it is the
// shards'.
func BenchmarkSearch(b *testing.B) {
	n := newNode(b, 1, func(c *Config) { c.Parallel = 1 })
	n.config.Shards.Close()
	for i := range 20 {
		n.say(0, 1000, i)
		n.index(0, int64(i+1)*1000)
	}
	n.merge(0)
	section, _ := n.section(0)
	n.config.Shards = shardcache.New(n.files, shardcache.Options{WholeBytes: 1 << 30})
	b.Cleanup(n.config.Shards.Close)
	text := "t1 t5 t9 t17"
	b.Run("shard", func(b *testing.B) {
		opened, err := n.config.Shards.Open(b.Context(), section.Vector[0])
		require.NoError(b, err)
		defer opened.Release()
		for b.Loop() {
			_, err := opened.Search(b.Context(), vectorindex.Query{Vector: embeddertest.Vector(text, dimensions), K: 10, Ef: 50})
			require.NoError(b, err)
		}
	})
	for name, r := range map[string]Request{
		"vector, bare": {Vector: embeddertest.Vector(text, dimensions), Bare: true},
		"text, bare":   {Text: text, Bare: true},
		"text":         {Text: text},
		"filtered":     {Text: text, Filter: Filter{MinOffset: pointer(int64(19_000))}},
	} {
		r.Topic, r.K = "logs", 10
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, err := n.Search(b.Context(), r)
				require.NoError(b, err)
			}
		})
	}
}
