package compactor

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/metastore"
)

// indexedSnapshot is a partition with shards of these sizes, of ten records each,
// made with the settings of a topic's configuration.
func indexedSnapshot(config map[string]string, sizes ...int64) snapshot {
	effective := topicconfig.Resolve(config, nil)
	settings := vectorindex.TopicSettings(effective.Vector, 0)
	settings.Dimensions = 4
	s := snapshot{view: metastore.PartitionView{Topic: &metastore.Topic{Name: "t"}}, config: effective}
	for i, size := range sizes {
		s.section.Vector = append(s.section.Vector, manifest.File{
			Object: fmt.Sprint("shard-", i), First: int64(10 * i), Next: int64(10*i + 10), Records: 10, Size: size, Footer: 10, Settings: settings.String(),
		})
	}
	s.view.Manifest.Marks.Vector = int64(10 * len(sizes))
	return s
}

func TestSmallShardsAreMergedWhileLargeOnesAre(t *testing.T) {
	const large, small = 40 << 20, 100 << 10
	var sizes []int64
	for range 8 {
		sizes = append(sizes, large)
	}
	for range 9 {
		sizes = append(sizes, small)
	}
	p := Policy{}.withDefaults()
	s := indexedSnapshot(embeddedBy("a"), sizes...)
	plan, _ := p.shards(s, time.Now())
	require.Equal(t, s.section.Vector[8:], plan.merge, "small ones first")

	s = indexedSnapshot(embeddedBy("a"), sizes[:12]...)
	plan, _ = p.shards(s, time.Now())
	require.Equal(t, s.section.Vector, plan.merge, "those behind the large ones go along")
	require.Greater(t, sizeOf(plan.merge), int64(smallMergeBytes))

	s = indexedSnapshot(embeddedBy("a"), sizes...)
	s.claimed = map[string]bool{}
	for _, f := range s.section.Vector[:8] {
		s.claimed[f.Object] = true
	}
	plan, _ = p.shards(s, time.Now())
	require.Equal(t, s.section.Vector[8:], plan.merge)
	for _, f := range plan.merge {
		s.claimed[f.Object] = true
	}
	plan, _ = p.shards(s, time.Now())
	require.Empty(t, plan.merge, "all of them are taken")
}

func TestShardsGrowUpToTheirBound(t *testing.T) {
	p := Policy{}.withDefaults()
	sizes := []int64{p.ShardBytesMax, p.ShardBytesMax - 1, p.ShardBytesMax / 2}
	plan, _ := p.shards(indexedSnapshot(embeddedBy("a"), sizes...), time.Now())
	require.Empty(t, plan.merge)
}

func TestWhatMadeAShardDecidesWhatBecomesOfIt(t *testing.T) {
	p := Policy{}.withDefaults()
	for _, c := range []struct {
		name        string
		config      map[string]string
		redo, merge bool
	}{
		{"as it is", embeddedBy("a"), false, false},
		{"another model", embeddedBy("b"), true, false},
		{"another field", embeddedBy("a", "vector.field", "key"), true, false},
		{"other dimensions", embeddedBy("a", "vector.embedding.dimensions", "5"), true, false},
		{"another metric", embeddedBy("a", "vector.index.metric", "dot"), false, true},
		{"another quantization", embeddedBy("a", "vector.quantization", "int8"), false, true},
		{"another index", embeddedBy("a", "vector.index.type", "flat"), false, true},
		{"turned off", embeddedBy("a", "vector.enabled", "false"), false, false},
	} {
		s := indexedSnapshot(embeddedBy("a"), 1000)
		s.config = topicconfig.Resolve(c.config, nil)
		plan, _ := p.shards(s, time.Now())
		require.Equal(t, c.redo, len(plan.redo) > 0, c.name)
		require.Equal(t, c.merge, len(plan.merge) > 0, c.name)
		s.vectors.Generation = 1
		plan, _ = p.shards(s, time.Now())
		require.Equal(t, s.indexed(), len(plan.redo) > 0, "%s, of an earlier generation", c.name)
	}
}
