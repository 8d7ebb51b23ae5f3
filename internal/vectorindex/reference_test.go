package vectorindex_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/internal/vectorindex/vectortest"
)

var reference = flag.String("reference", "", "the program that testdata/hnswlib.cpp makes: measure beside it, with -figures vectors (minutes)")

// trial is what both are measured with.
type trial struct {
	dimensions int
	metric     vectorindex.Metric
	m          int
}

func (x trial) String() string { return fmt.Sprintf("%d %s m%d", x.dimensions, x.metric, x.m) }

// trials change one thing at a time.
func trials() []trial {
	all := []trial{{384, vectorindex.Cosine, 16}, {384, vectorindex.Euclidean, 16}, {384, vectorindex.Dot, 16}}
	for _, m := range []int{8, 32, 64} {
		all = append(all, trial{384, vectorindex.Cosine, m})
	}
	for _, d := range []int{128, 768, 1536} {
		all = append(all, trial{d, vectorindex.Cosine, 16})
	}
	return all
}

// pace is what an ef gave.
type pace struct {
	ef                int
	recall, perSecond float64
}

// efs are tried for a number of neighbours.
func efs(k int) []int {
	if k == 10 {
		return []int{10, 15, 20, 30, 50, 80, 120}
	}
	return []int{k, k * 3 / 2, k * 2, k * 4}
}

var neighbours = []int{10, 50, 100, 200}

// TestBesideAReference measures queries per second at equal recall beside another
// index, on the same vectors, one thread each: by hand. Here the queries are asked
// before and after the other program has run, there twice in a row, and the faster
// of the two counts.
func TestBesideAReference(t *testing.T) {
	if *reference == "" || *figures == 0 {
		t.Skip("measures for minutes beside another program: -reference says which, -figures with how many vectors")
	}
	for _, x := range trials() {
		t.Run(x.String(), func(t *testing.T) { beside(t, x, *figures) })
	}
}

func beside(t *testing.T, x trial, n int) {
	const asked = 300
	all := vectortest.Clustered(21, n+asked, x.dimensions, max(n/100, 10))
	vectors, queries := all[:n], all[n:]
	o := vectorindex.Options{Dimensions: x.dimensions, Metric: x.metric, Encoding: vectorindex.F32, Kind: vectorindex.Flat, M: x.m, FlatMax: n, Seed: 1}
	exact, _ := built(t, o, vectors, 0)
	want := make([][]vectorindex.Hit, asked)
	f := open(t, vectorindex.Bytes(exact))
	for i, q := range queries {
		answer, err := f.Search(t.Context(), vectorindex.Query{Vector: q, K: neighbours[len(neighbours)-1]})
		require.NoError(t, err)
		want[i] = answer.Hits
	}
	f, exact = nil, nil
	dir := t.TempDir()
	export(t, dir, x.metric == vectorindex.Cosine, vectors, queries, want)

	o.Kind, o.FlatMax = vectorindex.HNSW, 1
	debug.FreeOSMemory()
	held := resident(t, "VmRSS")
	require.NoError(t, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)) // the peak begins anew
	begun := cpuSeconds(t)
	b, err := vectorindex.NewBuilder(o, 1<<40)
	require.NoError(t, err)
	for i, v := range vectors {
		require.NoError(t, b.Append(offsetOf(i), stamp(offsetOf(i)), v))
	}
	var out bytes.Buffer
	out.Grow(n * (6*x.dimensions + 16*x.m + 100))
	result, err := b.Write(&out)
	require.NoError(t, err)
	took := cpuSeconds(t) - begun
	peak := resident(t, "VmHWM") - held - result.Size
	b = nil
	f = open(t, vectorindex.Bytes(out.Bytes()))
	ours := make(map[int][]pace)
	sweep(t, f, queries, want, ours)
	theirs, builtIn, grown := runReference(t, dir, x)
	sweep(t, f, queries, want, ours)

	t.Logf("built, µs a vector: %.0f here, %.0f there, %.2f of it", took*1e6/float64(n), builtIn*1e6/float64(n), took/builtIn)
	t.Logf("memory, bytes a vector: at most %d while built here, garbage and vectors with it, beside the shard of %d of which %d are codes and graph; %d there", peak/int64(n), result.Size/int64(n), (result.Size-int64(n*(4*x.dimensions+4)))/int64(n), grown/int64(n))
	for _, k := range neighbours {
		for _, aim := range []float64{0.95, 0.99} {
			// Where the least ef gives more than the aim, that is compared.
			at := max(aim, min(ours[k][0].recall, ours[k][len(ours[k])-1].recall), min(theirs[k][0].recall, theirs[k][len(theirs[k])-1].recall))
			here, ok := speedAt(ours[k], at)
			there, ok2 := speedAt(theirs[k], at)
			if !ok || !ok2 {
				t.Logf("k %d, recall %.3f: not reached", k, at)
				continue
			}
			t.Logf("k %d, recall %.3f: %.1f and %.1f thousand queries per second of processor time, ratio %.2f", k, at, here/1e3, there/1e3, here/there)
			if at > 0.99 {
				break
			}
		}
	}
}

// sweep asks all queries with each ef, and keeps the faster of what it knew.
func sweep(t *testing.T, f *vectorindex.File, queries [][]float32, want [][]vectorindex.Hit, known map[int][]pace) {
	for _, k := range neighbours {
		for i, ef := range efs(k) {
			hits := make([][]vectorindex.Hit, len(queries))
			begun := cpuSeconds(t)
			for n, v := range queries {
				answer, err := f.Search(context.Background(), vectorindex.Query{Vector: v, K: k, Ef: ef, Recall: -1})
				require.NoError(t, err)
				hits[n] = answer.Hits
			}
			speed, sum := float64(len(queries))/(cpuSeconds(t)-begun), 0.0
			for n := range hits {
				sum += recall(hits[n], want[n][:k])
			}
			p := pace{ef, sum / float64(len(queries)), speed}
			if len(known[k]) <= i {
				known[k] = append(known[k], p)
			}
			known[k][i].perSecond = max(known[k][i].perSecond, speed)
		}
		t.Logf("here, k %d: %v", k, known[k])
	}
}

// speedAt is how many queries a second there are at a recall: between two points
// that were measured, as their logarithms lie.
func speedAt(points []pace, aim float64) (float64, bool) {
	for i, p := range points {
		switch {
		case p.recall < aim:
		case i == 0:
			return p.perSecond, true
		default:
			before := points[i-1]
			part := (aim - before.recall) / (p.recall - before.recall)
			return before.perSecond * math.Pow(p.perSecond/before.perSecond, part), true
		}
	}
	return 0, false
}

// runReference runs the other program: what each ef gave, seconds of its build and
// by how many bytes that grew it.
func runReference(t *testing.T, dir string, x trial) (points map[int][]pace, seconds float64, grown int64) {
	space := "ip"
	if x.metric == vectorindex.Euclidean {
		space = "l2"
	}
	arguments := []string{dir, strconv.Itoa(x.dimensions), space, strconv.Itoa(x.m), strconv.Itoa(vectorindex.DefaultEfConstruction)}
	for _, k := range neighbours {
		arguments = append(arguments, fmt.Sprintf("%d:%s", k, strings.Join(strings.Fields(strings.Trim(fmt.Sprint(efs(k)), "[]")), ",")))
	}
	out, err := exec.CommandContext(t.Context(), *reference, arguments...).Output()
	require.NoError(t, err)
	points = make(map[int][]pace)
	for line := range strings.Lines(string(out)) {
		var k int
		var p pace
		if _, err := fmt.Sscanf(line, "build %g %d", &seconds, &grown); err == nil {
			continue
		}
		_, err := fmt.Sscanf(line, "search %d %d %g %g", &k, &p.ef, &p.recall, &p.perSecond)
		require.NoError(t, err, line)
		points[k] = append(points[k], p)
	}
	for _, k := range neighbours {
		t.Logf("there, k %d: %v", k, points[k])
	}
	return points, seconds, grown
}

// resident is a size of the process in bytes, as Linux names it.
func resident(t *testing.T, name string) int64 {
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, rest, _ := bytes.Cut(status, []byte(name+":"))
	var kib int64
	_, err = fmt.Sscanf(string(rest), "%d kB", &kib)
	require.NoError(t, err)
	return kib << 10
}

// export writes what the reference reads. For the cosine vectors are of length 1:
// its product is then that.
func export(t *testing.T, dir string, unit bool, vectors, queries [][]float32, want [][]vectorindex.Hit) {
	write := func(name string, put func(w *bufio.Writer)) {
		file, err := os.Create(filepath.Join(dir, name))
		require.NoError(t, err)
		defer file.Close()
		w := bufio.NewWriter(file)
		put(w)
		require.NoError(t, w.Flush())
	}
	var word [4]byte
	put := func(w *bufio.Writer, v uint32) {
		binary.LittleEndian.PutUint32(word[:], v)
		_, _ = w.Write(word[:]) // Flush says whether it failed
	}
	rows := func(all [][]float32) func(w *bufio.Writer) {
		return func(w *bufio.Writer) {
			for _, v := range all {
				sum := 0.0
				for _, x := range v {
					sum += float64(x) * float64(x)
				}
				if !unit {
					sum = 1
				}
				for _, x := range v {
					put(w, math.Float32bits(float32(float64(x)/math.Sqrt(sum))))
				}
			}
		}
	}
	write("vectors", rows(vectors))
	write("queries", rows(queries))
	write("truth", func(w *bufio.Writer) {
		for _, hits := range want {
			for _, h := range hits {
				put(w, uint32(((h.Offset-1000)*2+2)/3))
			}
		}
	})
}
