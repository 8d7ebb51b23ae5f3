package compactor

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/milvus"
	"github.com/chronik-stream/chronik/milvus/milvustest"
)

// newMilvusWorld is a world with a provider and a Milvus.
func newMilvusWorld(t *testing.T) *world {
	w := newWorld(t)
	w.provider = newProvider()
	var err error
	w.milvus, err = milvustest.Start()
	require.NoError(t, err)
	t.Cleanup(w.milvus.Close)
	return w
}

func (w *world) milvusClient() *milvus.Client {
	if w.milvus == nil {
		return nil
	}
	client, err := milvus.Open(milvus.Config{Address: w.milvus.Address, RequestTimeout: patience})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, client.Close()) })
	return client
}

func inMilvus(model string, more ...string) map[string]string {
	return embeddedBy(model, append([]string{"vector.index.backend", "milvus"}, more...)...)
}

// checkCollection wants the partition's collection to have what its shards have,
// and the manifest to say so. It returns its name.
func (w *world) checkCollection(p topic.Partition, model string) string {
	w.t.Helper()
	section := w.checkShards(p, model)
	require.Len(w.t, section.Collections, 1)
	c := section.Collections[0]
	whole := manifest.Range{First: section.LogStart, Next: section.Marks.Vector}
	require.Empty(w.t, whole.Without(c.Ranges), "%+v", c)
	want := w.readShards(section)
	prefix := strconv.Itoa(int(p.Index)) + ":"
	n := 0
	for _, key := range w.milvus.Keys(c.Name) {
		if offset, ours := strings.CutPrefix(key, prefix); ours {
			n++
			at, err := strconv.ParseInt(offset, 10, 64)
			require.NoError(w.t, err)
			require.Equal(w.t, want[at], w.milvus.Vector(c.Name, key), key)
		}
	}
	require.Equal(w.t, len(want), n)
	return c.Name
}

func (w *world) look(c *Compactor) {
	w.t.Helper()
	require.NoError(w.t, c.lookAtCollections(w.t.Context()))
}

func TestACollectionHasWhatShardsHave(t *testing.T) {
	w := newMilvusWorld(t)
	notes := w.topic("notes", 2, inMilvus("a", "vector.index.m", "24"))
	c := w.start(w.quick(), w.store, w.bucket)
	for i := range 6 {
		w.commit(rows{p: part(notes.ID, 0), n: 20 + i}, rows{p: part(notes.ID, 1), n: 3})
		w.settle(c)
	}
	name := w.checkCollection(part(notes.ID, 0), "a")
	require.Equal(t, name, w.checkCollection(part(notes.ID, 1), "a"))
	require.Equal(t, "HNSW", w.milvus.Index(name)["index_type"])
	require.Contains(t, w.milvus.Index(name)["params"], `"M":"24"`)
	section, _ := w.section(part(notes.ID, 0))
	require.Contains(t, section.Vector[0].Settings, `"index":"flat"`, "shards are for keeping")

	// What is at rest is left alone.
	before := w.milvus.Calls("Upsert") + w.milvus.Calls("Delete") + w.milvus.Calls("HasCollection")
	w.settle(c)
	require.Equal(t, before, w.milvus.Calls("Upsert")+w.milvus.Calls("Delete")+w.milvus.Calls("HasCollection"))

	_, err := w.store.SetLogStart(t.Context(), part(notes.ID, 0), 33)
	require.NoError(t, err)
	require.NoError(t, c.catalogCaughtUp(w))
	w.settle(c)
	w.checkCollection(part(notes.ID, 0), "a")
	w.sweep(c)
	w.checkCollection(part(notes.ID, 1), "a")
}

func TestWhatIsCompactedAwayIsNotInTheCollection(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newMilvusWorld(t)
			k := newKeyed(w, seed, inMilvus("a", "min.cleanable.dirty.ratio", "0", "delete.retention.ms", "0", "columnar.enabled", "true"))
			random := rand.New(rand.NewPCG(seed, 6))
			c := k.start(k.quick(), k.store, k.bucket)
			for range 10 {
				k.write(1+random.IntN(4), 8)
				if random.IntN(2) == 0 {
					k.clock.Add(time.Minute.Milliseconds())
				}
				require.NoError(t, c.catalogCaughtUp(w))
				for range random.IntN(6) {
					c.round(t.Context())
				}
				if random.IntN(3) == 0 {
					k.settle(c)
					k.checkCollection(k.p, "a")
				}
			}
			k.settle(c)
			k.checkCollection(k.p, "a")
			k.table() // no mask counts twice
			section, _ := k.section(k.p)
			for _, name := range section.Collections[0].Masks {
				require.True(t, slices.ContainsFunc(section.Masks, func(m manifest.File) bool { return m.Object == name }), "a mask that is gone is forgotten")
			}
		})
	}
}

func TestAMilvusThatIsAwayDelaysItselfAlone(t *testing.T) {
	w := newMilvusWorld(t)
	notes := w.topic("notes", 1, inMilvus("a", "columnar.enabled", "true"))
	p := part(notes.ID, 0)
	w.milvus.Plan(func(string) milvustest.Fault { return milvustest.Away })
	c := w.start(w.quick(), w.store, w.bucket)
	for i := range 4 {
		w.commit(rows{p: p, n: 10})
		next := int64(10 * (i + 1))
		require.Eventually(t, func() bool {
			c.round(t.Context())
			section, _ := w.section(p)
			return section.Marks == manifest.Marks{Log: next, Columnar: next, Vector: next}
		}, patience, time.Millisecond)
	}
	section := w.checkShards(p, "a")
	require.Empty(t, section.Collections)
	w.milvus.Plan(nil)
	w.settle(c)
	w.checkCollection(p, "a")
	require.Equal(t, 1, w.provider.most())
}

// Each step is a walk through the shard.
func TestAShardOfFewVectorsComesIntoACollectionInFewSteps(t *testing.T) {
	config := Config{collectVectors: 10}
	for _, c := range []struct {
		file manifest.File
		step int64
	}{
		{manifest.File{First: 100, Next: 135, Records: 35}, 10},
		{manifest.File{First: 100, Next: 135, Records: 34}, 10},
		{manifest.File{First: 100, Next: 100 + 1_000_000, Records: 100}, 100_000},
		{manifest.File{First: 0, Next: 1000}, 10_000},
	} {
		require.Equal(t, c.step, config.stepOf(c.file), "%+v", c.file)
	}
}

// A Milvus is so slow that a shard never comes into it as a whole.
func TestWhatCameIntoACollectionOfAShardIsNotPutAgain(t *testing.T) {
	w := newMilvusWorld(t)
	notes := w.topic("notes", 1, inMilvus("a"))
	p := part(notes.ID, 0)
	config := w.quick()
	config.collectVectors = 10
	c := w.start(config, w.store, w.bucket)
	var left atomic.Int64
	w.milvus.Plan(func(method string) milvustest.Fault {
		if method == "Upsert" && left.Add(-1) < 0 {
			return milvustest.Away
		}
		return milvustest.None
	})
	w.commit(rows{p: p, n: 35})
	for next := range int64(3) {
		left.Store(1)
		require.Eventually(t, func() bool {
			c.round(t.Context())
			section, _ := w.section(p)
			return len(section.Collections) == 1 && slices.Equal(section.Collections[0].Ranges, []manifest.Range{{Next: 10 * (next + 1)}})
		}, patience, time.Millisecond)
	}
	w.milvus.Plan(nil)
	w.settle(c)
	w.checkCollection(p, "a")
}

// Calls fail before or after they took effect, compactors end in the middle: in
// the end each vector is in the collection once, and a text was embedded once.
func TestFaultsOfMilvusLoseNothing(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newMilvusWorld(t)
			notes := w.topic("notes", 2, inMilvus("a"))
			random := rand.New(rand.NewPCG(seed, 7))
			var mu sync.Mutex
			w.milvus.Plan(func(string) milvustest.Fault {
				mu.Lock()
				defer mu.Unlock()
				if random.IntN(3) > 0 {
					return milvustest.None
				}
				return []milvustest.Fault{milvustest.Away, milvustest.LostAnswer, milvustest.RateLimited, milvustest.Broken}[random.IntN(4)]
			})
			c := w.start(w.quick(), w.store, w.bucket)
			for turn := range 6 {
				w.commit(rows{p: part(notes.ID, 0), n: 9}, rows{p: part(notes.ID, 1), n: 5})
				require.NoError(t, c.catalogCaughtUp(w))
				for range 3 {
					c.round(t.Context())
				}
				if turn%2 == 1 { // a compactor ends, another one takes over
					c.jobs.cancel()
					c = w.start(w.quick(), w.store, w.bucket)
				}
			}
			w.settle(c)
			w.checkCollection(part(notes.ID, 0), "a")
			w.checkCollection(part(notes.ID, 1), "a")
		})
	}
}

func TestACollectionThatSomebodyDroppedIsFilledAnew(t *testing.T) {
	w := newMilvusWorld(t)
	notes := w.topic("notes", 2, inMilvus("a"))
	c := w.start(w.quick(), w.store, w.bucket)
	w.commit(rows{p: part(notes.ID, 0), n: 20}, rows{p: part(notes.ID, 1), n: 5})
	w.settle(c)
	name := w.checkCollection(part(notes.ID, 0), "a")
	requests := w.provider.requests

	w.milvus.Lose(name)
	w.look(c)
	w.settle(c)
	w.checkCollection(part(notes.ID, 0), "a")
	w.checkCollection(part(notes.ID, 1), "a")

	// One partition's records come while nobody has looked yet: the collection is
	// made again, and what the other had in the former one is not taken to be in it.
	w.milvus.Lose(name)
	w.commit(rows{p: part(notes.ID, 0), n: 3})
	w.settle(c)
	w.checkCollection(part(notes.ID, 0), "a")
	w.look(c)
	w.settle(c)
	w.checkCollection(part(notes.ID, 1), "a")
	require.Equal(t, requests+1, w.provider.requests, "nothing is embedded twice")
}

func TestAnotherModelOrIndexGetsACollectionOfItsOwn(t *testing.T) {
	w := newMilvusWorld(t)
	notes := w.topic("notes", 1, inMilvus("a"))
	p := part(notes.ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	c.sweeping.Store(true)
	for range 3 {
		w.commit(rows{p: p, n: 30})
		w.settle(c)
	}
	first := w.checkCollection(p, "a")
	require.NoError(t, w.update("notes", "vector.embedding.endpoint", "http://models/b"))
	require.NoError(t, c.catalogCaughtUp(w))
	w.settle(c)
	second := w.checkCollection(p, "b")
	require.NotEqual(t, first, second)
	requests := w.provider.requests
	require.NoError(t, w.update("notes", "vector.index.type", "ivf"))
	require.NoError(t, c.catalogCaughtUp(w))
	w.settle(c)
	third := w.checkCollection(p, "b")
	require.NotEqual(t, second, third)
	require.Equal(t, requests, w.provider.requests, "an index asks no provider")

	// Young ones are left: a job may be about to name them.
	w.look(c)
	require.Len(t, w.milvus.Names(), 3)
	w.clock.Add((48 * time.Hour).Milliseconds())
	w.look(c)
	require.Equal(t, []string{third}, w.milvus.Names())
	w.checkCollection(p, "b")

	// Elsewhere, and back.
	require.NoError(t, w.update("notes", "vector.index.backend", "native"))
	require.NoError(t, c.catalogCaughtUp(w))
	w.settle(c)
	section := w.checkShards(p, "b")
	require.Empty(t, section.Collections)
	w.look(c)
	require.Empty(t, w.milvus.Names())
	require.NoError(t, w.update("notes", "vector.index.backend", "milvus"))
	require.NoError(t, c.catalogCaughtUp(w))
	w.settle(c)
	w.checkCollection(p, "b")
	require.Equal(t, requests, w.provider.requests)

	// Somebody else's is left alone, and goes with nobody's topic.
	require.NoError(t, w.store.DeleteTopic(t.Context(), "notes"))
	w.topic("notes", 1, inMilvus("b"))
	require.NoError(t, c.catalogCaughtUp(w))
	client := w.milvusClient()
	other := milvus.Collection{Name: milvus.Name("another", notes.ID, vectorindex.Settings{}), Dimensions: 3, Metric: 1, Kind: 1, Encoding: 1}
	_, err := client.Ensure(t.Context(), other)
	require.NoError(t, err)
	w.look(c)
	require.Equal(t, []string{other.Name}, w.milvus.Names())
}

func TestADamagedMaskDoesNotHoldACollectionUp(t *testing.T) {
	w := newMilvusWorld(t)
	k := newKeyed(w, 1, inMilvus("a", "min.cleanable.dirty.ratio", "0", "delete.retention.ms", "0"))
	c := k.start(k.quick(), k.store, k.bucket)
	k.write(6, 40)
	k.settle(c)
	k.checkCollection(k.p, "a")
	w.milvus.Plan(func(method string) milvustest.Fault { // nothing is taken out of it
		if method == "Delete" {
			return milvustest.Away
		}
		return milvustest.None
	})
	var masks []manifest.File
	for i := 0; len(masks) == 0; i++ {
		require.Less(t, i, 50)
		k.write(3, 40)
		k.clock.Add(time.Minute.Milliseconds())
		require.NoError(t, c.catalogCaughtUp(w))
		for range 20 {
			c.round(t.Context())
			section, _ := k.section(k.p)
			masks = slices.DeleteFunc(section.Masks, func(m manifest.File) bool {
				return len(section.Collections) == 0 || !section.Collections[0].Needs(m)
			})
			if len(masks) > 0 {
				break
			}
		}
	}
	for _, m := range masks {
		k.spoil(m.Object, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		k.report(m.Object)
	}
	require.NoError(t, c.catalogCaughtUp(w))
	w.milvus.Plan(nil)
	k.settle(c)
	k.checkCollection(k.p, "a")
}

// A compactor ends at its nth call of Milvus, which takes effect or not: the next
// one brings each vector in once.
func TestKilledAtAnyCallOfMilvusEachVectorIsThereOnce(t *testing.T) {
	for _, last := range []milvustest.Fault{milvustest.Away, milvustest.LostAnswer} {
		survived := false
		for at := 1; !survived; at += 1 + at/4 {
			survived = killedWhileCollecting(t, at, last)
			if t.Failed() {
				t.Fatalf("killed at call %d, fault %d", at, last)
			}
			require.Less(t, at, 2000)
		}
	}
}

func killedWhileCollecting(t *testing.T, at int, last milvustest.Fault) (survived bool) {
	w := newMilvusWorld(t)
	notes := w.topic("notes", 2, inMilvus("a"))
	first := w.start(w.quick(), w.store, w.bucket)
	var calls atomic.Int64
	w.milvus.Plan(func(string) milvustest.Fault {
		switch n := calls.Add(1); {
		case n < int64(at):
			return milvustest.None
		case n == int64(at):
			first.jobs.cancel()
			return last
		}
		return milvustest.Away
	})
	model := "a"
	for turn := range 4 {
		w.commit(rows{p: part(notes.ID, 0), n: 7}, rows{p: part(notes.ID, 1), n: 4})
		switch turn {
		case 1:
			_, err := w.store.SetLogStart(t.Context(), part(notes.ID, 0), 9)
			require.NoError(t, err)
		case 2:
			require.NoError(t, w.update("notes", "vector.embedding.endpoint", "http://models/b"))
			model = "b"
		}
		require.NoError(t, first.catalogCaughtUp(w))
		for first.jobs.ctx.Err() == nil {
			worked, _ := first.round(t.Context())
			if !worked && !first.jobs.busy() {
				break
			}
			if !worked {
				select {
				case <-first.jobs.wake:
				case <-first.jobs.ctx.Done():
				}
			}
		}
	}
	survived = first.jobs.ctx.Err() == nil
	w.milvus.Plan(nil)
	second := w.start(w.quick(), w.store, w.bucket)
	w.settle(second)
	w.checkCollection(part(notes.ID, 0), model)
	w.checkCollection(part(notes.ID, 1), model)
	return survived
}
