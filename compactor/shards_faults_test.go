package compactor

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/embedder/embeddertest"
	"github.com/chronik-stream/chronik/objstore"
)

// embedWork is a history of a topic with vectors: merges, a log start that is raised, a
// change of the model, of the index, and a topic that is deleted.
func (w *world) embedWork(turn int) {
	w.t.Helper()
	catalog := w.store.Catalog()
	if turn == 0 {
		w.topic("notes", 2, embeddedBy("a", "retention.ms", "-1"))
		w.topic("gone", 1, embeddedBy("a"))
	}
	var all []rows
	for _, t := range catalog.Topics() {
		for i := range t.Partitions {
			all = append(all, rows{p: part(t.ID, i), n: 5 + turn})
		}
	}
	for range 2 {
		w.commit(all...)
	}
	notes, _ := catalog.Topic("notes")
	switch turn {
	case 1:
		_, err := w.store.SetLogStart(w.t.Context(), part(notes.ID, 0), 9)
		require.NoError(w.t, err)
	case 2:
		require.NoError(w.t, w.update("notes", "vector.embedding.endpoint", "http://models/b"))
	case 3:
		require.NoError(w.t, w.update("notes", "vector.index.type", "ivf"))
		require.NoError(w.t, w.store.DeleteTopic(w.t.Context(), "gone"))
	}
}

func TestKilledAtAnyStepEachRecordIsInTheIndexOnce(t *testing.T) {
	for _, after := range []bool{false, true} {
		survived := false
		first := 1
		if after {
			first = 2
		}
		for at := first; !survived; at += 1 + at/4 {
			t.Run(fmt.Sprintf("step %d after %v", at, after), func(t *testing.T) {
				survived = killedWhileEmbedding(t, at, after)
			})
			if t.Failed() {
				return
			}
			require.Less(t, at, 2000)
		}
	}
}

func killedWhileEmbedding(t *testing.T, at int, after bool) (survived bool) {
	w := newWorld(t)
	w.provider = newProvider()
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	x := &executioner{kill: kill, after: after}
	first := w.start(w.quick(), w.open(mortalKV{w.kv, x}), mortalBucket{w.bucket, x})
	x.mu.Lock()
	x.steps, x.at = 0, at
	x.mu.Unlock()
	for turn := range turns {
		w.embedWork(turn)
		for ctx.Err() == nil {
			if err := first.catalogCaughtUp(w); err != nil {
				break
			}
			worked, _ := first.round(ctx)
			if ctx.Err() != nil || !worked && !first.jobs.busy() {
				break
			}
			if !worked {
				select {
				case <-first.jobs.wake:
				case <-ctx.Done():
				}
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	survived = ctx.Err() == nil
	x.mu.Lock()
	x.at, x.dead = 0, true
	x.mu.Unlock()
	w.sync()
	notes, ok := w.store.Catalog().Topic("notes")
	require.True(t, ok)
	for i := range notes.Partitions {
		section, _ := w.section(part(notes.ID, i))
		w.readShards(section) // nothing is there twice
	}

	second := w.start(w.quick(), w.store, w.bucket)
	w.settle(second)
	model := "a"
	if notes.Config["vector.embedding.endpoint"] == "http://models/b" {
		model = "b"
	}
	for i := range notes.Partitions {
		w.checkShards(part(notes.ID, i), model)
	}
	w.check()
	w.sweep(second)
	for i := range notes.Partitions {
		w.checkShards(part(notes.ID, i), model)
	}
	x.mu.Lock()
	x.dead = false // its membership is closed by the test
	x.mu.Unlock()
	return survived
}

// Two compactors of one name think that all partitions are theirs.
func TestTwoCompactorsOnOneIndexDoNoHarm(t *testing.T) {
	w := newWorld(t)
	w.provider = newProvider()
	one, two := w.start(w.quick(), w.open(w.kv), w.bucket), w.start(w.quick(), w.open(w.kv), w.bucket)
	for turn := range turns {
		w.embedWork(turn)
		var racing sync.WaitGroup
		for _, c := range []*Compactor{one, two} {
			require.NoError(t, c.catalogCaughtUp(w))
			racing.Go(func() {
				for worked := true; worked && t.Context().Err() == nil; {
					worked, _ = c.round(t.Context())
				}
			})
		}
		racing.Wait()
		w.check()
	}
	w.settle(one)
	w.settle(two)
	notes, _ := w.store.Catalog().Topic("notes")
	for i := range notes.Partitions {
		w.checkShards(part(notes.ID, i), "b")
	}
	w.sweep(one)
	w.check()
}

// A provider fails in all the ways of a provider: in the end every record is in the
// index, and what it answered was not asked for again.
func TestAProviderThatFailsIsAskedForTheRestAlone(t *testing.T) {
	w := newWorld(t)
	w.provider = newProvider()
	notes := w.topic("notes", 1, embeddedBy("a", "vector.batch_size", "4", "vector.embedding_concurrency", "1", "vector.max_retries", "0"))
	p := part(notes.ID, 0)
	requests := 0
	w.provider.set(func(context.Context, []string) int {
		requests++
		switch requests % 4 {
		case 1:
			return http.StatusInternalServerError
		case 3:
			return http.StatusUnauthorized
		}
		return 0
	})
	c := w.start(w.quick(), w.store, w.bucket)
	for range 3 {
		w.commit(rows{p: p, n: 30})
		w.settle(c)
	}
	w.checkShards(p, "a")
	require.Equal(t, 1, w.provider.most())
}

// Whatever a provider answers or does not, in the end each record is in the index
// once, with the vector that is its own.
func TestNoFaultOfAProviderComesIntoTheIndex(t *testing.T) {
	const dimensions = 8
	for _, fault := range []string{
		"retry-in=5ms", "back-in=5ms", "throttle", "fail", "forbid", "no-model", "quota", "cut", "garbage", "half", "long", "ragged", "nan", "twice", "hang", "reorder",
	} {
		t.Run(fault, func(t *testing.T) {
			plan, err := embeddertest.ParsePlan("* * " + fault + " every=2")
			require.NoError(t, err)
			server := embeddertest.New(embeddertest.Options{Dimensions: dimensions, Plan: plan})
			t.Cleanup(func() { require.NoError(t, server.Close()) })
			w := newWorld(t)
			w.embedder, err = embedder.New(embedder.Config{Transport: server.Transport(), RequestTimeout: time.Second})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, w.embedder.Close()) })
			notes := w.topic("notes", 1, map[string]string{
				"vector.enabled": "true", "vector.embedding.provider": "openai", "vector.embedding.model": "m", "vector.embedding.dimensions": "8",
				"vector.embedding.endpoint": server.OpenAI(), "vector.index.metric": "euclidean", "vector.batch_size": "10", "vector.embedding_concurrency": "1", "vector.max_retries": "0",
			})
			p := part(notes.ID, 0)
			c := w.start(w.quick(), w.store, w.bucket)
			w.commit(rows{p: p, n: 30})
			w.settle(c)
			w.checkVectors(p, func(text string) []float32 { return embeddertest.Vector(text, dimensions) })
			require.NotEmpty(t, server.Struck())
		})
	}
}

// Damage in the log that is the same each time leaves out a batch, and holds up
// neither the vectors nor, until then, anything else.
func TestADamagedBatchIsInNoShard(t *testing.T) {
	w := newWorld(t)
	w.provider = newProvider()
	notes := w.topic("notes", 2, embeddedBy("a"))
	bad, good := part(notes.ID, 0), part(notes.ID, 1)
	s := w.commit(rows{p: bad, n: 30}, rows{p: good, n: 10})
	third := s.Ranges[0].Length / 3
	w.spoil(s.Object, flip(s.Ranges[0].Position+third+third/2))
	config := w.quick()
	config.Policy.PlainAge = time.Hour // the log stays in its segment
	c := w.start(config, w.store, w.bucket)
	w.settle(c)
	section, _ := w.section(bad)
	require.Zero(t, section.Marks.Log)
	require.EqualValues(t, 30, section.Marks.Vector)
	got := w.readShards(section)
	require.Len(t, got, 20)
	require.NotContains(t, got, int64(15))
	w.checkShards(good, "a")
}

// A provider's numbers can be finite and beyond what distances are computed with:
// such a record has no vector, and those behind it do not wait for it.
func TestAVectorThatCannotBeIndexedHoldsNothingUp(t *testing.T) {
	w := newWorld(t)
	w.provider = newProvider()
	unfit := 0
	w.provider.large = func(string) float32 {
		if unfit++; unfit%3 == 1 {
			return 1e30
		}
		return 0
	}
	notes := w.topic("notes", 1, embeddedBy("a"))
	p := part(notes.ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	w.commit(rows{p: p, n: 1}) // all of a shard
	w.settle(c)
	w.commit(rows{p: p, n: 20})
	w.settle(c)
	section, _ := w.section(p)
	require.EqualValues(t, 21, section.Marks.Vector)
	require.Len(t, w.readShards(section), 14)
	require.Equal(t, 1, w.provider.most())
}

// Vectors were fit for the index, and are not for the one that is asked for now.
func TestAVectorThatAnotherQuantizationCannotHoldHoldsNothingUp(t *testing.T) {
	w := newWorld(t)
	w.provider = newProvider()
	n := 0
	w.provider.large = func(string) float32 {
		if n++; n == 1 || n == 5 {
			return 1e6
		}
		return 0
	}
	notes := w.topic("notes", 1, embeddedBy("a"))
	p := part(notes.ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	for _, n := range []int{1, 20} { // 0 is all of a shard
		w.commit(rows{p: p, n: n})
		w.settle(c)
	}
	section, _ := w.section(p)
	require.Len(t, w.readShards(section), 21)
	require.NoError(t, w.update("notes", "vector.quantization", "f16"))
	require.NoError(t, c.catalogCaughtUp(w))
	w.settle(c)
	section, _ = w.section(p)
	got := w.readShards(section)
	require.Len(t, got, 19)
	require.NotContains(t, got, int64(0))
	require.NotContains(t, got, int64(4))
	for _, f := range section.Vector {
		require.Contains(t, f.Settings, `"quantization":"f16"`)
	}
	require.Equal(t, 1, w.provider.most())
}

// A missing object of the log is no damage: its partition waits until it is back, for
// vectors as for all else that is made of the log.
func TestAMissingObjectOfTheLogHoldsItsVectorsUpUntilItIsBack(t *testing.T) {
	w := newWorld(t)
	w.provider = newProvider()
	notes := w.topic("notes", 2, embeddedBy("a"))
	bad, good := part(notes.ID, 0), part(notes.ID, 1)
	s := w.commit(rows{p: bad, n: 10})
	sound, err := w.bucket.Get(t.Context(), s.Object, 0, -1)
	require.NoError(t, err)
	require.NoError(t, w.bucket.Delete(t.Context(), s.Object))
	w.commit(rows{p: bad, n: 10}, rows{p: good, n: 10})
	c := w.start(w.quick(), w.store, w.bucket)
	require.Eventually(t, func() bool {
		c.round(t.Context())
		section, _ := w.section(good)
		return section.Marks.Vector == 10 && len(w.pausedJobs(c)) > 0
	}, patience, time.Millisecond)
	section, _ := w.section(bad)
	require.Zero(t, section.Marks.Vector)
	_, err = w.bucket.Put(t.Context(), s.Object, objstore.Bytes(sound), objstore.Condition{})
	require.NoError(t, err)
	w.settle(c)
	w.checkShards(bad, "a")
	w.checkShards(good, "a")
}
