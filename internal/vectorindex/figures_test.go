package vectorindex_test

import (
	"bytes"
	"context"
	"flag"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/internal/vectorindex/vectortest"
)

var (
	figures     = flag.Int("figures", 0, "measure with so many vectors (minutes)")
	figuresDims = flag.Int("figures.dims", 384, "dimensions of them")
	figuresData = flag.String("figures.data", "clustered", "clustered or words")
	figuresKind = flag.Int("figures.kind", int(vectorindex.HNSW), "2 ivf, 3 hnsw")
	figuresEnc  = flag.Int("figures.encoding", int(vectorindex.F32), "1 f32, 2 f16, 3 int8, 4 binary")
	figuresM    = flag.Int("figures.m", 16, "neighbours of a row")
)

// cpuSeconds is what the process has used, collector included: a figure that
// holds on a busy machine too.
func cpuSeconds(t testing.TB) float64 {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// TestFigures measures what docs/benchmarks has: by hand, with -figures.
func TestFigures(t *testing.T) {
	if *figures == 0 {
		t.Skip("measures for minutes: -figures says with how many vectors")
	}
	const asked = 500
	n, dimensions := *figures, *figuresDims
	var all [][]float32
	if *figuresData == "words" {
		all = vectortest.Words(21, n+asked, dimensions)
	} else {
		all = vectortest.Clustered(21, n+asked, dimensions, max(n/100, 10))
	}
	vectors, queries := all[:n], all[n:]
	o := vectorindex.Options{Dimensions: dimensions, Metric: vectorindex.Cosine, Encoding: vectorindex.Encoding(*figuresEnc), Kind: vectorindex.Kind(*figuresKind), M: *figuresM, FlatMax: 1, Seed: 1}
	begun := cpuSeconds(t)
	data, result := built(t, o, vectors, 0)
	t.Logf("built %d × %d, %s, %s: %.1f s of processor time, %.0f µs a vector, %d bytes, footer %d", n, dimensions, result.Kind, o.Encoding, cpuSeconds(t)-begun, (cpuSeconds(t)-begun)*1e6/float64(n), result.Size, result.Footer)
	t.Logf("%+v", result.Calibration)
	f := open(t, vectorindex.Bytes(data))
	// The truth by the index itself, which compares all when a filter asks it to:
	// by the plain sum of each would take longer than all else.
	want := make([][]vectorindex.Hit, asked)
	exact, _ := built(t, vectorindex.Options{Dimensions: dimensions, Metric: vectorindex.Cosine, Encoding: vectorindex.F32, Kind: vectorindex.Flat, FlatMax: n, Seed: 1}, vectors, 0)
	all32 := open(t, vectorindex.Bytes(exact))
	for i, q := range queries {
		answer, err := all32.Search(context.Background(), vectorindex.Query{Vector: q, K: 200})
		require.NoError(t, err)
		want[i] = answer.Hits
	}
	all32, exact = nil, nil
	debug.FreeOSMemory()
	run := func(f *vectorindex.File, name string, q vectorindex.Query) {
		_, _ = measuredBy(t, f, want[:20], queries[:20], q, nil) // warm
		sum, hits, path := 0.0, make([][]vectorindex.Hit, asked), ""
		begun := cpuSeconds(t)
		for i, v := range queries {
			q.Vector = v
			answer, err := f.Search(context.Background(), q)
			require.NoError(t, err)
			hits[i], path = answer.Hits, string(answer.Path)
		}
		took := cpuSeconds(t) - begun
		for i := range hits {
			sum += recall(hits[i], want[i][:q.K])
		}
		t.Logf("%s: %s, k %d: recall %.4f, %.0f queries per second of processor time", name, path, q.K, sum/asked, asked/took)
	}
	for _, ef := range []int{10, 20, 30, 50, 80, 120, 200, 300} {
		if result.Kind == vectorindex.HNSW {
			run(f, "ef "+time.Duration(ef).String()[:len(time.Duration(ef).String())-2], vectorindex.Query{K: 10, Ef: ef, Recall: -1})
		}
	}
	for _, k := range []int{10, 50, 100, 200} {
		run(f, "calibrated for .95", vectorindex.Query{K: k})
	}
	run(f, "calibrated for .99", vectorindex.Query{K: 10, Recall: 0.99})
	object := newObject(data)
	cold, err := vectorindex.Open(context.Background(), object, result.Footer)
	require.NoError(t, err)
	reads, took := object.took()
	t.Logf("cold: footer %d reads, %d bytes", reads, took)
	sum := 0.0
	for i, q := range queries[:100] {
		answer, err := cold.Search(context.Background(), vectorindex.Query{Vector: q, K: 10})
		require.NoError(t, err)
		sum += recall(answer.Hits, want[i][:10])
	}
	reads, took = object.took()
	t.Logf("cold: a query %d reads, %d bytes, recall %.4f", reads/100, took/100, sum/100)
	if n >= 10_000 {
		merging(t, o, vectors)
	}
}

// merging adds a tenth to nine.
func merging(t *testing.T, o vectorindex.Options, vectors [][]float32) {
	o.Kind = vectorindex.IVF
	cut := len(vectors) * 9 / 10
	large, _ := built(t, o, vectors[:cut], 0)
	o.FlatMax = len(vectors)
	small, _ := built(t, o, vectors[cut:], cut)
	files := []*vectorindex.File{open(t, vectorindex.Bytes(large)), open(t, vectorindex.Bytes(small))}
	var out bytes.Buffer
	out.Grow(2 * len(large))
	begun := cpuSeconds(t)
	_, err := vectorindex.Merge(context.Background(), &out, files, vectorindex.MergeOptions{Kind: vectorindex.IVF, FlatMax: 1, Seed: 1})
	require.NoError(t, err)
	took := cpuSeconds(t) - begun
	t.Logf("merged %d and %d into lists: %.2f s of processor time, %.1f µs a vector of both, calibration with it", cut, len(vectors)-cut, took, took*1e6/float64(len(vectors)))
}
