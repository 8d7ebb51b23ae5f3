package compactor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/vectorindex"
)

// provider is one of the protocol "external": a text's vector is made of its bytes
// and of the model's name.
type provider struct {
	mu       sync.Mutex
	asked    map[string]int // how often for each text, with its model
	requests int

	// answer, if not nil, may answer instead: a status that is not 0, or after a wait.
	answer func(ctx context.Context, texts []string) (status int)

	// large, if not nil, says which texts get vectors with so large a number; 0: it does not.
	large func(text string) float32
}

func newProvider() *provider { return &provider{asked: make(map[string]int)} }

func (p *provider) service(t *testing.T) *embedder.Service {
	if p == nil {
		return nil
	}
	s, err := embedder.New(embedder.Config{Transport: p})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

const dimensionsOfTests = 4

func vectorOf(model, text string) []float32 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, model+"\x00"+text)
	sum, v := h.Sum64(), make([]float32, dimensionsOfTests)
	for i := range v {
		v[i] = float32(int16(sum>>(16*i))) / 128
	}
	return v
}

// RoundTrip implements http.RoundTripper.
func (p *provider) RoundTrip(r *http.Request) (*http.Response, error) {
	var request struct {
		Texts []string `json:"texts"`
		Model string   `json:"model"`
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.requests++
	answer := p.answer
	p.mu.Unlock()
	respond := func(status int, v any) (*http.Response, error) {
		b, err := json.Marshal(v)
		return &http.Response{
			StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(b)), Request: r,
		}, err
	}
	if answer != nil {
		if status := answer(r.Context(), request.Texts); status != 0 {
			return respond(status, map[string]string{"error": "as the test says"})
		}
	}
	if r.Context().Err() != nil {
		return nil, r.Context().Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	vectors := make([][]float32, len(request.Texts))
	for i, text := range request.Texts {
		p.asked[r.URL.Path+" "+text]++
		vectors[i] = vectorOf(r.URL.Path, text)
		if p.large != nil {
			vectors[i][0] = cmp.Or(p.large(text), vectors[i][0])
		}
	}
	return respond(http.StatusOK, map[string]any{"embeddings": vectors})
}

func (p *provider) set(answer func(context.Context, []string) int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

// most is how often the text that was asked for the most often was.
func (p *provider) most() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.asked {
		n = max(n, k)
	}
	return n
}

func embeddedBy(model string, more ...string) map[string]string {
	config := map[string]string{
		"vector.enabled": "true", "vector.embedding.provider": "external", "vector.embedding.endpoint": "http://models/" + model, "vector.index.metric": "euclidean",
	}
	for i := 0; i < len(more); i += 2 {
		config[more[i]] = more[i+1]
	}
	return config
}

// readShards reads the vectors of a partition as query nodes do: of each shard
// those in the offsets of its entry that no mask names.
func (w *world) readShards(section manifest.Section) map[int64][]float32 {
	w.t.Helper()
	got := make(map[int64][]float32)
	hidden := make(map[int64]bool)
	for _, m := range section.Masks {
		for _, offset := range w.readMask(m) {
			hidden[offset] = true
		}
	}
	for _, f := range section.Vector {
		data, err := w.bucket.Get(w.t.Context(), f.Object, 0, -1)
		require.NoError(w.t, err)
		require.Len(w.t, data, int(f.Size))
		if f.Records == 0 {
			continue
		}
		shard, err := vectorindex.Open(w.t.Context(), vectorindex.Bytes(data), f.Footer)
		require.NoError(w.t, err)
		err = shard.Vectors(w.t.Context(), vectorindex.Filter{First: f.First, Next: f.Next}, func(offset int64, v []float32) error {
			if f.Masked > 0 && hidden[offset] || offset < section.LogStart {
				return nil
			}
			require.NotContains(w.t, got, offset, "a vector twice")
			got[offset] = append([]float32(nil), v...)
			return nil
		})
		require.NoError(w.t, err)
	}
	return got
}

// checkShards wants each record of the log that has a text to be in the index
// once, with the vector that a model makes of it.
func (w *world) checkShards(p topic.Partition, model string) manifest.Section {
	w.t.Helper()
	return w.checkVectors(p, func(text string) []float32 { return vectorOf("/"+model, text) })
}

func (w *world) checkVectors(p topic.Partition, vector func(text string) []float32) manifest.Section {
	w.t.Helper()
	section, view := w.section(p)
	require.Equal(w.t, view.Next(), max(section.Marks.Vector, section.LogStart), "the vector mark of %v", p)
	want := make(map[int64][]float32)
	for offset, value := range w.readLog(snapshot{view: view, section: section}) {
		if strings.TrimSpace(value) != "" && offset >= section.LogStart {
			want[offset] = vector(value)
		}
	}
	got := w.readShards(section)
	require.ElementsMatch(w.t, keysOf(want), keysOf(got))
	for offset, v := range want {
		require.Equal(w.t, v, got[offset], "offset %d", offset)
	}
	return section
}

func keysOf[V any](m map[int64]V) (keys []int64) {
	for k := range maps.Keys(m) {
		keys = append(keys, k)
	}
	return keys
}

func TestRecordsAreEmbeddedOnceAndShardsAreMerged(t *testing.T) {
	w := newWorld(t)
	w.provider = newProvider()
	notes := w.topic("notes", 2, embeddedBy("a"))
	c := w.start(w.quick(), w.store, w.bucket)
	for i := range 9 {
		w.commit(rows{p: part(notes.ID, 0), n: 20 + i}, rows{p: part(notes.ID, 1), n: 3})
		w.settle(c)
	}
	w.check()
	for i := range notes.Partitions {
		section := w.checkShards(part(notes.ID, i), "a")
		require.Less(t, len(section.Vector), 5, "small shards are merged")
		for _, f := range section.Vector {
			made, err := vectorindex.ParseSettings(f.Settings)
			require.NoError(t, err)
			require.Equal(t, dimensionsOfTests, made.Dimensions)
		}
	}
	require.Equal(t, 1, w.provider.most(), "a text is embedded once")
	w.sweep(c)
	w.checkShards(part(notes.ID, 0), "a")
}

func TestShardsThatThereIsNoMemoryToMergeStayAsTheyAre(t *testing.T) {
	w := newWorld(t)
	w.provider = newProvider()
	notes := w.topic("notes", 1, embeddedBy("a"))
	p := part(notes.ID, 0)
	config := w.quick()
	config.Policy.MergeMemory = 1
	c := w.start(config, w.store, w.bucket)
	const shards = 9
	for range shards {
		w.commit(rows{p: p, n: 5})
		w.settle(c)
	}
	require.Len(t, w.checkShards(p, "a").Vector, shards)
	require.NoError(t, w.update("notes", "vector.index.type", "ivf"))
	require.NoError(t, c.catalogCaughtUp(w))
	w.settle(c)
	for _, f := range w.checkShards(p, "a").Vector {
		require.Contains(t, f.Settings, `"index":"ivf"`, "one alone is made anew")
	}
}

func TestVectorsOfAnotherModelTakeTheirPlace(t *testing.T) {
	w := newWorld(t)
	w.provider = newProvider()
	notes := w.topic("notes", 1, embeddedBy("a"))
	p := part(notes.ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	for range 3 {
		w.commit(rows{p: p, n: 30})
		w.settle(c)
	}
	// The new model does not answer: the old one's vectors stay.
	w.provider.set(func(context.Context, []string) int { return http.StatusUnauthorized })
	require.NoError(t, w.update("notes", "vector.embedding.endpoint", "http://models/b"))
	require.NoError(t, c.catalogCaughtUp(w))
	for len(w.pausedJobs(c)) == 0 {
		c.round(t.Context())
	}
	w.checkShards(p, "a")
	w.provider.set(nil)
	w.settle(c)
	section := w.checkShards(p, "b")
	require.NotEmpty(t, section.Vector)

	// Another index of the same vectors asks no provider.
	before := w.provider.requests
	require.NoError(t, w.update("notes", "vector.index.type", "ivf"))
	require.NoError(t, c.catalogCaughtUp(w))
	w.settle(c)
	section = w.checkShards(p, "b")
	for _, f := range section.Vector {
		require.Contains(t, f.Settings, `"index":"ivf"`)
	}
	require.Equal(t, before, w.provider.requests)

	// Somebody asks for all of it anew, and later for none.
	require.NoError(t, w.store.RebuildVectors(t.Context(), notes.ID))
	require.NoError(t, c.catalogCaughtUp(w))
	w.settle(c)
	w.checkShards(p, "b")
	require.Greater(t, w.provider.requests, before)
	require.NoError(t, w.store.DropVectors(t.Context(), notes.ID))
	require.NoError(t, c.catalogCaughtUp(w))
	w.settle(c)
	section, _ = w.section(p)
	require.Empty(t, section.Vector)
	require.Zero(t, section.Marks.Vector)
	require.NoError(t, w.store.RebuildVectors(t.Context(), notes.ID, 0))
	require.NoError(t, c.catalogCaughtUp(w))
	w.settle(c)
	w.checkShards(p, "b")
	w.sweep(c)
}

// A provider that stops in the middle leaves what was embedded by then, and the
// others as they are, also when that is less than one of them.
func TestVectorsAreMadeAnewAPartAtATime(t *testing.T) {
	w := newWorld(t)
	w.provider = newProvider()
	notes := w.topic("notes", 1, embeddedBy("a", "vector.batch_size", "8", "vector.embedding_concurrency", "1"))
	p := part(notes.ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	for range 3 {
		w.commit(rows{p: p, n: 30})
		w.settle(c)
	}
	require.Len(t, w.checkShards(p, "a").Vector, 3, "the test shows nothing else")
	n := 0
	w.provider.set(func(context.Context, []string) int {
		if n++; n > 1 {
			return http.StatusUnauthorized
		}
		return 0
	})
	require.NoError(t, w.store.RebuildVectors(t.Context(), notes.ID))
	require.NoError(t, c.catalogCaughtUp(w))
	for len(w.pausedJobs(c)) == 0 {
		c.round(t.Context())
	}
	c.round(t.Context())
	require.Equal(t, []int64{0, 8, 30, 60}, firstsOf(w.checkShards(p, "a").Vector))
	w.provider.set(nil)
	w.settle(c)
	w.checkShards(p, "a")
}

func firstsOf(files []manifest.File) (firsts []int64) {
	for _, f := range files {
		firsts = append(firsts, f.First)
	}
	return firsts
}

// pausedJobs are the jobs that failed the last time.
func (w *world) pausedJobs(c *Compactor) (lanes []lane) {
	c.jobs.mu.Lock()
	defer c.jobs.mu.Unlock()
	for key := range c.jobs.paused {
		lanes = append(lanes, key.lane)
	}
	return lanes
}

func TestAProviderThatHangsDelaysVectorsAlone(t *testing.T) {
	w := newWorld(t)
	w.provider = newProvider()
	config := embeddedBy("a", "columnar.enabled", "true", "searchable", "true")
	notes := w.topic("notes", 1, config)
	p := part(notes.ID, 0)
	hang := make(chan struct{})
	w.provider.set(func(ctx context.Context, _ []string) int {
		select {
		case <-hang:
		case <-ctx.Done():
		}
		return 0
	})
	c := w.start(w.quick(), w.store, w.bucket)
	for i := range 5 {
		w.commit(rows{p: p, n: 10})
		for {
			if worked, _ := c.round(t.Context()); !worked {
				break
			}
		}
		section, _ := w.section(p)
		next := int64(10 * (i + 1))
		require.Equal(t, manifest.Marks{Log: next, Columnar: next, Text: next}, section.Marks)
	}
	close(hang)
	w.settle(c)
	w.check()
	w.checkShards(p, "a")
	require.Equal(t, 1, w.provider.most())
}

func TestRecordsWithoutTextAreInNoShard(t *testing.T) {
	w := newWorld(t)
	w.provider = newProvider()
	notes := w.topic("notes", 1, embeddedBy("a", "vector.field", "$.none"))
	p := part(notes.ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	for range 5 {
		w.commit(rows{p: p, n: 10})
		w.settle(c)
	}
	section, _ := w.section(p)
	require.Equal(t, int64(50), section.Marks.Vector)
	require.Empty(t, w.readShards(section))
	require.Zero(t, w.provider.requests)

	// What was to be embedded was not what is wanted.
	require.NoError(t, w.update("notes", "vector.field", "value"))
	require.NoError(t, c.catalogCaughtUp(w))
	w.settle(c)
	w.checkShards(p, "a")
	w.sweep(c)
}

func TestADamagedShardIsEmbeddedAgain(t *testing.T) {
	w := newWorld(t)
	w.provider = newProvider()
	notes := w.topic("notes", 1, embeddedBy("a"))
	p := part(notes.ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	for range 2 {
		w.commit(rows{p: p, n: 25})
		w.settle(c)
	}
	section, _ := w.section(p)
	require.Len(t, section.Vector, 2)
	sound, damaged := section.Vector[0], section.Vector[1]
	require.NoError(t, w.bucket.Delete(t.Context(), damaged.Object))
	require.NoError(t, w.store.ReportDamage(t.Context(), damaged.Object, "it is gone"))
	require.NoError(t, w.store.ReportDamage(t.Context(), sound.Object, "somebody thinks so"))
	require.NoError(t, c.catalogCaughtUp(w))
	w.settle(c)
	section = w.checkShards(p, "a")
	require.Equal(t, sound.Object, section.Vector[0].Object)
	require.NotEqual(t, damaged.Object, section.Vector[1].Object)
	w.sync()
	_, view := w.section(p)
	require.Empty(t, view.Damaged)
	require.Equal(t, 2, w.provider.most(), fmt.Sprint(w.provider.asked))
}
