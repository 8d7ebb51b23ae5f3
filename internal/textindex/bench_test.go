package textindex_test

import (
	"bytes"
	"context"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textindex/indextest"
)

func rawBytes(records []textindex.Record) (n int) {
	for _, r := range records {
		n += len(r.Key) + len(r.Value)
	}
	return n
}

// cpuSeconds is what the process has used, collector included: a figure that
// holds on a busy machine too.
func cpuSeconds(b testing.TB) float64 {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// BenchmarkBuild is the compactor's work: JSON logs to a split. Aim: 40,000
// documents per core-second, 0.45 of what came in.
func BenchmarkBuild(b *testing.B) {
	records := indextest.Logs(200_000)
	raw := rawBytes(records)
	b.SetBytes(int64(raw))
	b.ReportAllocs()
	var size int
	var taken int64
	begun := cpuSeconds(b)
	for b.Loop() {
		m := textindex.NewMemory(textindex.Options{Analyzer: standard(b)})
		for _, r := range records {
			require.NoError(b, m.Append(r))
		}
		taken = m.Bytes()
		var out bytes.Buffer
		_, err := m.Write(&out)
		require.NoError(b, err)
		size = out.Len()
	}
	b.ReportMetric(float64(len(records)*b.N)/(cpuSeconds(b)-begun)/1e3, "kdocs/core-s")
	b.ReportMetric(float64(size)/float64(len(records)), "B/doc")
	b.ReportMetric(float64(size)/float64(raw), "of-raw")
	b.ReportMetric(float64(taken)/float64(raw), "memory-of-raw")
}

// BenchmarkMerge brings eight splits together, as a compactor does again and
// again.
func BenchmarkMerge(b *testing.B) {
	records := indextest.Logs(200_000)
	files := pieces(b, records, 8)
	b.ReportAllocs()
	begun := cpuSeconds(b)
	for b.Loop() {
		_, err := textindex.Merge(context.Background(), io.Discard, files, textindex.MergeOptions{})
		require.NoError(b, err)
	}
	b.ReportMetric(float64(len(records)*b.N)/(cpuSeconds(b)-begun)/1e3, "kdocs/core-s")
}

// BenchmarkSource is BenchmarkBuild with the records kept.
func BenchmarkSource(b *testing.B) {
	records := indextest.Logs(200_000)
	var size int
	begun := cpuSeconds(b)
	for b.Loop() {
		size = len(written(b, index(b, records)))
	}
	b.ReportMetric(float64(len(records)*b.N)/(cpuSeconds(b)-begun)/1e3, "kdocs/core-s")
	b.ReportMetric(float64(size)/float64(rawBytes(records)), "of-raw")
}

// BenchmarkRead asks a file of a million documents, in memory.
func BenchmarkRead(b *testing.B) {
	ctx := context.Background()
	m := textindex.NewMemory(textindex.Options{Analyzer: standard(b)})
	for _, r := range indextest.Logs(1_000_000) {
		require.NoError(b, m.Append(r))
	}
	f := open(b, written(b, m))
	// What an operation costs in processor time holds on a busy machine too.
	measure := func(name string, run func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			begun := cpuSeconds(b)
			run(b)
			b.ReportMetric((cpuSeconds(b)-begun)*1e6/float64(b.N), "cpu-µs/op")
		})
	}
	lookup := func(b *testing.B, f *textindex.File, field textindex.Field, term string) textindex.Term {
		found, err := f.Lookup(ctx, field, []byte(term))
		require.NoError(b, err)
		return found[0]
	}
	measure("look up a text's term", func(b *testing.B) {
		for b.Loop() {
			lookup(b, f, text("message"), "10.1.2.3")
		}
	})
	measure("look up a keyword", func(b *testing.B) {
		for b.Loop() {
			lookup(b, f, keyword("path"), "/api/v1/orders/777")
		}
	})
	measure("walk 200,000 postings", func(b *testing.B) {
		term := lookup(b, f, text("message"), "payment")
		for b.Loop() {
			p, err := f.Postings(ctx, term, textindex.Frequencies)
			require.NoError(b, err)
			for d := p.Next(); d != textindex.Done; d = p.Next() {
				_ = p.Freq()
			}
		}
		b.ReportMetric(float64(term.Documents), "postings")
	})
	measure("match a range of a million longs", func(b *testing.B) {
		for b.Loop() {
			c, err := f.Column(ctx, long("bytes"))
			require.NoError(b, err)
			c.Match(1000, 2000)
		}
	})
	measure("read a million values", func(b *testing.B) {
		for b.Loop() {
			c, err := f.Column(ctx, long("bytes"))
			require.NoError(b, err)
			for d := range c.Documents() {
				c.Value(d)
			}
		}
	})
	measure("walk all terms", func(b *testing.B) {
		for b.Loop() {
			n := 0
			for _, err := range f.Terms(ctx, text("message"), nil) {
				require.NoError(b, err)
				n++
			}
			b.ReportMetric(float64(n), "terms")
		}
	})
}
