package compactor

import (
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/segment"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/memory"
)

// BenchmarkPass is a pass from a segment in memory to a log file, a table and
// splits: what a compactor does to each record that arrives, without the network.
func BenchmarkPass(b *testing.B) {
	const records = 200_000
	for _, config := range []map[string]string{
		{"columnar.enabled": "true"}, {"searchable": "true"}, {"columnar.enabled": "true", "searchable": "true"}, {},
	} {
		b.Run(fmt.Sprint(slices.Sorted(maps.Keys(config))), func(b *testing.B) {
			c, s := segmentOfLogs(b, records, config)
			plan, _ := c.policy.decide(s, c.now().Add(time.Hour))
			require.False(b, plan.log.empty())
			b.SetBytes(plan.log.bytes(s))
			begun := cpuSeconds(b)
			var made manifest.Section
			for b.Loop() {
				p, err := c.pass(b.Context(), task{snap: s, plan: plan})
				require.NoError(b, err)
				require.NoError(b, manifest.Check(p.snap.section, p.section))
				made = p.section
			}
			b.ReportMetric(float64(records)*float64(b.N)/(cpuSeconds(b)-begun)/1e6, "Mrecords/core-s")
			b.ReportMetric(float64(bytesOf(made.Log))/records, "log-B/record")
			b.ReportMetric(float64(bytesOf(made.Columnar))/records, "table-B/record")
			b.ReportMetric(float64(bytesOf(made.Text))/records, "split-B/record")
		})
	}
}

// BenchmarkMergeSplits is a merge of eight splits of access logs into one.
func BenchmarkMergeSplits(b *testing.B) {
	const records = 200_000
	c, s := segmentOfLogs(b, records, map[string]string{"searchable": "true"})
	c.policy.DocumentsMax = records / 8
	plan, _ := c.policy.decide(s, c.now().Add(time.Hour))
	first, err := c.pass(b.Context(), task{snap: s, plan: plan})
	require.NoError(b, err)
	require.Len(b, first.section.Text, 8)
	s.section = first.section
	s.view.Manifest.Version, s.view.Manifest.Marks.Log, s.view.Manifest.Marks.Text, s.view.Ranges = 1, records, records, nil
	c.policy.DocumentsMax = records
	plan, _ = c.policy.decide(s, c.now())
	require.Len(b, plan.mergeText, 8)
	b.SetBytes(bytesOf(s.section.Text))
	b.ReportAllocs()
	begun := cpuSeconds(b)
	for b.Loop() {
		p, err := c.pass(b.Context(), task{snap: s, plan: plan})
		require.NoError(b, err)
		require.Len(b, p.section.Text, 1)
	}
	b.ReportMetric(float64(records)*float64(b.N)/(cpuSeconds(b)-begun)/1e6, "Mrecords/core-s")
}

func bytesOf(files []manifest.File) (n int64) {
	for _, f := range files {
		n += f.Size
	}
	return n
}

// Cleaning one log file, all of which is new, by keys of which each came four
// times: its keys are gathered, and what is left is written.
func BenchmarkClean(b *testing.B) {
	const records = 200_000
	for _, codec := range []batch.Codec{batch.None, batch.Zstd} {
		b.Run(codec.String(), func(b *testing.B) {
			c, s := segmentOf(b, records, records/4, codec, nil)
			plan, _ := c.policy.decide(s, c.now().Add(24*time.Hour))
			first, err := c.pass(b.Context(), task{snap: s, plan: plan})
			require.NoError(b, err)
			s.section = first.section
			s.view.Manifest.Version, s.view.Manifest.Marks.Log, s.view.Ranges = s.section.Version, s.section.Marks.Log, nil
			s.config = topicconfig.Resolve(map[string]string{"cleanup.policy": "compact"}, nil)
			plan, _ = c.policy.decide(s, c.now())
			require.True(b, plan.clean.due())
			b.SetBytes(s.section.Log[0].Size)
			b.ReportAllocs()
			begun := cpuSeconds(b)
			var left int64
			for b.Loop() {
				p, err := c.pass(b.Context(), task{snap: s, plan: plan, cleaning: &cleaning{}})
				require.NoError(b, err)
				require.NoError(b, manifest.Check(p.snap.section, p.section))
				require.Equal(b, int64(records), p.section.Clean.Next)
				left = p.section.Log[0].Records
			}
			b.ReportMetric(float64(records)*float64(b.N)/(cpuSeconds(b)-begun)/1e6, "Mrecords/core-s")
			b.ReportMetric(float64(left)/records, "left")
		})
	}
}

// segmentOfLogs is a compactor and a partition with one segment of access logs.
func segmentOfLogs(b *testing.B, records int, config map[string]string) (*Compactor, snapshot) {
	return segmentOf(b, records, 500, batch.None, config)
}

// segmentOf is the same with that many hosts, their names being the keys.
func segmentOf(b *testing.B, records, hosts int, codec batch.Codec, config map[string]string) (*Compactor, snapshot) {
	bucket := memory.New()
	id := ulid.MustNew(ulid.Now(), ulid.DefaultEntropy())
	p := topic.Partition{Topic: topic.NewID()}
	w := segment.NewWriter(segment.Meta{Kind: segment.KindSegment, ID: id.String()})
	w.Begin(p, 0)
	r := rand.New(rand.NewPCG(1, 2))
	var builder batch.Builder
	for offset := 0; offset < records; offset += 100 {
		builder.Reset(batch.Options{Codec: codec})
		for i := range 100 {
			builder.Append(time.Now().UnixMilli(), fmt.Appendf(nil, "host-%d", r.IntN(hosts)), fmt.Appendf(nil,
				`{"at":%q,"level":"info","service":"gateway-%d","path":"/api/v1/orders/%d","status":%d,"bytes":%d,"took_ms":%.2f,"cached":%v}`,
				time.Now().UTC().Format(time.RFC3339Nano), r.IntN(8), r.IntN(100_000), 200+r.IntN(4)*100, offset+i, r.ExpFloat64()*20, i%3 == 0))
		}
		raw, err := builder.Build(nil)
		require.NoError(b, err)
		batch.PatchOffset(raw, int64(offset), 0)
		h, err := batch.ParseHeader(raw)
		require.NoError(b, err)
		require.NoError(b, w.Append(h, raw))
	}
	w.End(nil)
	parts, footer, err := w.Finish()
	require.NoError(b, err)
	body := objstore.Buffers(parts)
	_, err = bucket.Put(b.Context(), "segment", body, objstore.Condition{})
	require.NoError(b, err)

	c := &Compactor{config: Config{}.withDefaults(), bucket: bucket, log: slog.New(slog.DiscardHandler), now: time.Now, metrics: newMetrics(), source: newSource(bucket)}
	c.policy = c.config.Policy
	c.decoder.New = func() any { return batch.NewDecoder(64 << 20) }
	s := snapshot{config: topicconfig.Resolve(config, nil)}
	s.view.Partition, s.view.Topic = p, &metastore.Topic{Name: "logs", ID: p.Topic, Partitions: 1}
	s.view.Ranges = []metastore.RangeRef{{
		SegmentRange: metastore.SegmentRange{Partition: p, First: 0, Next: int64(records), Length: footer.Ranges[0].Length, MaxTimestamp: footer.Ranges[0].MaxTimestamp},
		Segment:      &metastore.Segment{ID: id.String(), Object: "segment", Size: body.Size},
	}}
	return c, s
}

func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
