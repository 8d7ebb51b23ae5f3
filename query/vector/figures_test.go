package vector

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/query/filecache"
	"github.com/chronik-stream/chronik/query/masks"
	"github.com/chronik-stream/chronik/query/shardcache"
)

var (
	figures     = flag.Int("figures", 0, "measure with a shard of so many vectors (minutes)")
	figuresDims = flag.Int("figures.dims", 384, "dimensions of them")
)

// far is a bucket whose Gets take a while, so that those of a search that wait for
// one another can be told from those that do not.
type far struct {
	objstore.Bucket
	takes time.Duration

	mu     sync.Mutex
	rounds int // of Gets one after the other that have ended
	gets   int
	bytes  int64
}

func (f *far) Get(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	f.mu.Lock()
	round := f.rounds + 1
	f.gets++
	f.bytes += length
	f.mu.Unlock()
	timer := time.NewTimer(f.takes)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	b, err := f.Bucket.Get(ctx, name, offset, length)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rounds = max(f.rounds, round)
	return b, err
}

func (f *far) took() (rounds, gets int, bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rounds, gets, bytes = f.rounds, f.gets, f.bytes
	f.rounds, f.gets, f.bytes = 0, 0, 0
	return rounds, gets, bytes
}

// TestColdFigures measures what a search of a large shard costs of which nothing,
// or its footer, is here: by hand, with -figures.
func TestColdFigures(t *testing.T) {
	if *figures == 0 {
		t.Skip("measures for minutes: -figures says with how many vectors")
	}
	count, size := *figures, *figuresDims
	bucket := &far{takes: 50 * time.Millisecond}
	n := newNode(t, 1, func(c *Config) { c.Embedder = nil })
	bucket.Bucket, n.bucket = n.bucket, bucket
	n.set(map[string]string{"vector.embedding.dimensions": fmt.Sprint(size)})
	n.settings.Dimensions, n.settings.Index, n.settings.M, n.settings.EFConstruction = size, "ivf", 0, 0

	const asked = 30
	r := rand.New(rand.NewPCG(21, 11))
	vectors := clusters(r, count+asked, size)
	questions := vectors[count:]
	o, err := n.settings.Options()
	require.NoError(t, err)
	b, err := vectorindex.NewBuilder(o, 1<<40)
	require.NoError(t, err)
	for i, v := range vectors[:count] {
		require.NoError(t, b.Append(int64(i), int64(i), v))
	}
	var out bytes.Buffer
	out.Grow(count * (5*size + 64))
	began := time.Now()
	result, err := b.Write(&out)
	require.NoError(t, err)
	t.Logf("%d × %d: built in %s, %d bytes, footer %d", count, size, time.Since(began).Round(time.Second), result.Size, result.Footer)
	section, seen := n.section(0)
	section.Vector = []manifest.File{n.putShard(0, 0, int64(count), out.Bytes(), result)}
	section.Marks.Vector = int64(count)
	n.swap(section, seen)
	out = bytes.Buffer{}

	files, err := filecache.Open(bucket, filecache.Options{Dir: filepath.Join(t.TempDir(), "cold")})
	require.NoError(t, err)
	t.Cleanup(files.Close)
	n.config.Masks = masks.New(files)
	truths := map[string][]int64{}
	for _, footer := range []bool{false, true} {
		for name, filter := range map[string]Filter{"all": {}, "half": {MinOffset: pointer(int64(count / 2))}, "10 %": {MinOffset: pointer(int64(count - count/10))}, "3 %": {MinOffset: pointer(int64(count - count/33))}, "1 %": {MinOffset: pointer(int64(count - count/100))}, "0.01 %": {MinOffset: pointer(int64(count - count/10_000))}} {
			var took []time.Duration
			var rounds, gets, found, wanted int
			var read int64
			for i, q := range questions {
				n.config.Shards = shardcache.New(files, shardcache.Options{})
				if footer {
					n.ask(Request{Vector: questions[(i+1)%asked], K: 1, Bare: true, Filter: Filter{MaxOffset: pointer(int64(0))}})
				}
				bucket.took()
				began := time.Now()
				a, err := n.try(Request{Vector: q, K: 10, Bare: true, Filter: filter, Recall: vectorindex.DefaultRecall})
				took = append(took, time.Since(began))
				require.NoError(t, err)
				some, of, bytes := bucket.took()
				rounds, gets, read = max(rounds, some), gets+of, read+bytes
				first := int64(0)
				if filter.MinOffset != nil {
					first = *filter.MinOffset
				}
				key := fmt.Sprint(name, i)
				if truths[key] == nil {
					truths[key] = nearestOf(vectors[:count], q, first, 10)
				}
				found, wanted = found+common(a.Hits, truths[key]), wanted+len(truths[key])
				n.config.Shards.Close()
			}
			slices.Sort(took)
			t.Logf("footer here %t, filter %s: recall %.4f, at most %d rounds, %.1f requests, %.2f MB, p50 %s, p99 %s", footer, name, float64(found)/float64(wanted),
				rounds, float64(gets)/asked, float64(read)/asked/1e6, took[asked/2].Round(time.Millisecond), took[asked-1].Round(time.Millisecond))
		}
	}
}

// TestPartitionFigures measures searches of shards that are here, of all partitions
// and of one: by hand, with -figures.
func TestPartitionFigures(t *testing.T) {
	if *figures == 0 {
		t.Skip("measures for minutes: -figures says with how many vectors")
	}
	const partitions, asked = 6, 300
	size, each := *figuresDims, *figures/partitions
	n := newNode(t, partitions, func(c *Config) { c.Embedder = nil })
	n.set(map[string]string{"vector.embedding.dimensions": fmt.Sprint(size)})
	n.settings.Dimensions, n.settings.M, n.settings.EFConstruction = size, vectorindex.DefaultM, vectorindex.DefaultEfConstruction
	vectors := clusters(rand.New(rand.NewPCG(22, 11)), partitions*each+asked, size)
	questions := vectors[partitions*each:]
	o, err := n.settings.Options()
	require.NoError(t, err)
	o.FlatMax = 1
	for index := range partitions {
		b, err := vectorindex.NewBuilder(o, 1<<40)
		require.NoError(t, err)
		for i, v := range vectors[index*each : (index+1)*each] {
			require.NoError(t, b.Append(int64(i), int64(i), v))
		}
		var out bytes.Buffer
		result, err := b.Write(&out)
		require.NoError(t, err)
		section, seen := n.section(index)
		section.Vector, section.Marks.Vector = []manifest.File{n.putShard(index, 0, int64(each), out.Bytes(), result)}, int64(each)
		n.swap(section, seen)
	}
	n.config.Shards = shardcache.New(n.files, shardcache.Options{WholeBytes: 1 << 30})
	t.Cleanup(n.config.Shards.Close)
	for _, parallel := range []int{1, 2} {
		n.config.Parallel = parallel
		for _, k := range []int{10, 50, 100, 200} {
			for name, filter := range map[string]Filter{"all": {}, "one": {Partitions: []int32{3}}} {
				var took []time.Duration
				for round := range 2 { // the first fetches the shards
					took = took[:0]
					for _, q := range questions {
						began := time.Now()
						_, err := n.try(Request{Vector: q, K: k, Bare: true, Filter: filter})
						require.NoError(t, err)
						took = append(took, time.Since(began))
					}
					slices.Sort(took)
					if round == 1 {
						t.Logf("%d at once, %s partitions, k %d: p50 %s, p95 %s", parallel, name, k, took[asked/2].Round(time.Microsecond), took[asked*19/20].Round(time.Microsecond))
					}
				}
			}
		}
	}
}

// clusters are vectors around middles, a hundred to each.
func clusters(r *rand.Rand, n, dimensions int) [][]float32 {
	middles := make([][]float32, max(n/100, 10))
	around := func(middle []float32, spread float64) []float32 {
		v := make([]float32, dimensions)
		for d := range v {
			v[d] = float32(spread * r.NormFloat64())
			if middle != nil {
				v[d] += middle[d]
			}
		}
		return v
	}
	for i := range middles {
		middles[i] = around(nil, 1)
	}
	all := make([][]float32, n)
	for i := range all {
		all[i] = around(middles[r.IntN(len(middles))], 0.6)
	}
	return all
}

// nearestOf compares a question with all vectors from an offset on.
func nearestOf(vectors [][]float32, q []float32, first int64, k int) []int64 {
	type near struct {
		offset   int64
		distance float64
	}
	var best []near
	for i := first; i < int64(len(vectors)); i++ {
		var dot, length float32
		for d, x := range vectors[i] {
			dot += x * q[d]
			length += x * x
		}
		at := near{i, -float64(dot) * abs(float64(dot)) / float64(length)}
		if len(best) == k && at.distance >= best[k-1].distance {
			continue
		}
		place, _ := slices.BinarySearchFunc(best, at, func(x, y near) int { return cmp.Compare(x.distance, y.distance) })
		best = slices.Insert(best, place, at)
		best = best[:min(k, len(best))]
	}
	offsets := make([]int64, len(best))
	for i, b := range best {
		offsets[i] = b.offset
	}
	return offsets
}

func abs(x float64) float64 { return max(x, -x) }

// common is how many hits are among the true ones.
func common(hits []Hit, want []int64) (n int) {
	for _, h := range hits {
		if slices.Contains(want, h.Offset) {
			n++
		}
	}
	return n
}
