package textindex_test

import (
	"bytes"
	"fmt"
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
			m.Append(r)
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
