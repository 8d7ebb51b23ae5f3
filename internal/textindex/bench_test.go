package textindex_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/textindex"
)

// jsonLogs are logs as services write them: 11 fields, among them a message,
// 280 bytes.
func jsonLogs(n int) []textindex.Record {
	r := rand.New(rand.NewPCG(42, 42))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	all := make([]textindex.Record, n)
	for i := range all {
		ms := int64(1_760_000_000_000) + int64(i)*7
		message := pick(
			fmt.Sprintf("user %d logged in from 10.%d.%d.%d", r.IntN(100_000), r.IntN(256), r.IntN(256), r.IntN(256)),
			fmt.Sprintf("request finished with status %d after %d ms", 200+r.IntN(5)*100, r.IntN(3000)),
			fmt.Sprintf("connection to database shard-%d timed out, retrying in %d ms", r.IntN(32), r.IntN(500)),
			"cache miss for key "+fmt.Sprintf("item:%d", r.IntN(1_000_000)),
			"payment accepted "+strings.Repeat("ok ", r.IntN(4)),
		)
		all[i] = textindex.Record{
			Offset: int64(i), Timestamp: ms, Key: fmt.Appendf(nil, "host-%d", r.IntN(500)),
			Value: fmt.Appendf(nil, `{"ts":%q,"level":%q,"service":"gateway-%d","method":%q,"path":"/api/v1/%s/%d","status":%d,"bytes":%d,"took_ms":%.2f,"client":"10.%d.%d.%d","cached":%v,"message":%q}`,
				time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z"), pick("info", "info", "info", "warn", "error"), r.IntN(8), pick("GET", "GET", "POST", "DELETE"),
				pick("orders", "users", "items"), r.IntN(100_000), 200+r.IntN(5)*100, r.IntN(50_000), r.ExpFloat64()*20, r.IntN(256), r.IntN(256), r.IntN(256), r.IntN(3) == 0, message),
		}
	}
	return all
}

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
	records := jsonLogs(200_000)
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
	records := jsonLogs(200_000)
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
	records := jsonLogs(200_000)
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
	for _, r := range jsonLogs(1_000_000) {
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
