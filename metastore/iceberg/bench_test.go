package iceberg

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
	objmemory "github.com/chronik-stream/chronik/objstore/memory"
)

// BenchmarkCommit commits tables of many partitions, each of which has a new file,
// over a bucket without latency, and tells what a snapshot takes in the metadata
// file.
func BenchmarkCommit(b *testing.B) {
	for _, partitions := range []int32{1, 64, 1000} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			w := newWorld(b, objmemory.New(), memory.New())
			var sections []manifest.Section
			next := int64(0)
			more := func() Source {
				for i := range partitions {
					if int(i) == len(sections) {
						sections = append(sections, manifest.Section{Partition: topic.Partition{Topic: w.topic.ID, Index: i}})
					}
					s := &sections[i]
					w.section.Partition = s.Partition
					s.Columnar = append(s.Columnar, w.file(next, next+1))
					s.Marks.Columnar = next + 1
				}
				next++
				w.now = w.now.Add(time.Minute)
				src := w.source()
				src.Sections = sections
				return src
			}
			_, err := w.p.Publish(b.Context(), more()) // the empty table
			require.NoError(b, err)
			w.p.Retention = 3 * time.Hour
			for b.Loop() {
				b.StopTimer()
				src := more()
				b.StartTimer()
				_, err := w.p.Publish(b.Context(), src)
				require.NoError(b, err)
			}
			b.StopTimer()
			data, _, err := Metadata(b.Context(), w.p.Bucket, w.source().Seen.Object)
			require.NoError(b, err)
			b.ReportMetric(float64(len(data))/float64(len(w.read().base.Snapshots())), "B/snapshot")
		})
	}
}
