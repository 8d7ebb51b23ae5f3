package columnar

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/internal/batch"
)

// jsonLogs are access logs as services write them: 10 fields, 230 bytes.
func jsonLogs(n int) []rec {
	r := rand.New(rand.NewPCG(42, 42))
	methods := []string{"GET", "GET", "GET", "POST", "PUT", "DELETE"}
	paths := []string{"/", "/api/v1/orders", "/api/v1/orders/%d", "/api/v1/users/%d", "/static/app.js", "/health", "/search?q=item-%d"}
	statuses := []int{200, 200, 200, 200, 201, 204, 301, 404, 500}
	recs := make([]rec, n)
	for i := range recs {
		path := paths[r.IntN(len(paths))]
		if bytes.Contains([]byte(path), []byte("%d")) {
			path = fmt.Sprintf(path, r.IntN(100_000))
		}
		ms := noon + int64(i)
		recs[i] = rec{
			offset: int64(i), ms: ms, key: fmt.Appendf(nil, "host-%d", r.IntN(500)),
			value: fmt.Appendf(nil, `{"ts":%q,"level":"info","service":"gateway-%d","method":%q,"path":%q,"status":%d,"bytes":%d,"took_ms":%.2f,"client":"10.%d.%d.%d","cached":%v}`,
				time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z"), r.IntN(8), methods[r.IntN(len(methods))], path, statuses[r.IntN(len(statuses))],
				r.IntN(50_000), r.ExpFloat64()*20, r.IntN(256), r.IntN(256), r.IntN(256), r.IntN(3) == 0),
		}
	}
	return recs
}

// BenchmarkWrite is the compactor's work: JSON logs to Parquet, on one core
// with -cpu 1. Aim: 0.7 million rows a second.
func BenchmarkWrite(b *testing.B) {
	const rows = 200_000
	logs := jsonLogs(rows)
	text := make([]rec, rows)
	for i := range text {
		text[i] = logs[i]
		text[i].value = append([]byte("log: "), logs[i].value...)
	}
	smallPages, quick := TableOptions("logs", testPartition), TableOptions("logs", testPartition)
	smallPages.PageBytes, quick.Compression = 128<<10, "snappy"
	for _, c := range []struct {
		name    string
		recs    []rec
		codec   batch.Codec
		options Options
	}{
		{"json, pages of 128 KiB", logs, batch.None, smallPages},
		{"json, snappy", logs, batch.None, quick},
		{"json", logs, batch.None, TableOptions("logs", testPartition)},
		{"json from lz4", logs, batch.LZ4, TableOptions("logs", testPartition)},
		{"text", text, batch.None, TableOptions("logs", testPartition)},
		{"json tail", logs, batch.None, TailOptions("logs", testPartition)},
	} {
		data := pack(b, c.recs, 500, c.codec)
		raw := 0
		for _, r := range c.recs {
			raw += len(r.key) + len(r.value)
		}
		b.Run(c.name, func(b *testing.B) { benchmarkWrite(b, data, c.options, rows, raw) })
	}
}

// benchmarkWrite writes rows of so many bytes again and again.
func benchmarkWrite(b *testing.B, data []byte, o Options, rows, raw int) {
	b.SetBytes(int64(raw))
	b.ReportAllocs()
	decoder := batch.NewDecoder(64 << 20)
	var size int64
	begun := cpuSeconds(b)
	for b.Loop() {
		result, err := Write(context.Background(), Of(data), decoder, o, func(string) (io.Writer, error) { return io.Discard, nil })
		if err != nil {
			b.Fatal(err)
		}
		size = result.Files[0].Size
	}
	cpu := cpuSeconds(b) - begun
	b.ReportMetric(float64(rows)*float64(b.N)/cpu/1e6, "Mrows/core-s")
	b.ReportMetric(float64(raw)*float64(b.N)/cpu/1e6, "MB/core-s")
	b.ReportMetric(float64(raw)/float64(size), "ratio")
}

// cpuSeconds is what the process has used, collector included: a figure that
// holds on a busy machine too.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

func BenchmarkObserve(b *testing.B) {
	recs := jsonLogs(1000)
	in := newInference(nil, 1000)
	b.SetBytes(int64(len(recs[0].value)))
	for i := 0; b.Loop(); i++ {
		if !in.observe(recs[i%1000].value) {
			b.Fatal("not an object")
		}
	}
}
