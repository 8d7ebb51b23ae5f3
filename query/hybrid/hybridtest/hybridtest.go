// Package hybridtest is for tests: topics in memory that are searched by words, with
// the real index, and by meaning, with vectors that are counts of words. Words that
// mean the same count as one.
package hybridtest

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textindex/analysis"
	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/internal/textsearch"
	"github.com/chronik-stream/chronik/query/search"
	"github.com/chronik-stream/chronik/query/snapshot"
	"github.com/chronik-stream/chronik/query/vector"
)

// Dimensions are those of the vectors.
const Dimensions = 64

// Began is the timestamp of the record at offset 0; each further one is a second
// younger.
var Began = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// same are words, and what they count as.
var same = map[string]string{"automobile": "car", "vehicle": "car", "purchase": "buy", "bought": "buy", "physician": "doctor"}

// World is some topics.
type World struct {
	mu     sync.Mutex
	topics map[string]*records

	// Fail is asked before each search, with "text" or "vector"; nil: none fails. Its
	// context is that of the search.
	Fail func(ctx context.Context, side string) error
	// Requests are what was asked of the vector side, and Texts of the other one.
	Requests []vector.Request
	Texts    []search.Options
	// ReadRecords counts the records that were read.
	ReadRecords int
}

type records struct {
	searchable, vectors bool
	partitions          map[int32]*log
}

type log struct {
	values [][]byte
	index  *textindex.Memory
}

// New returns a world without topics.
func New() *World { return &World{topics: map[string]*records{}} }

// Create adds a topic.
func (w *World) Create(topic string, searchable, vectors bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.topics[topic] = &records{searchable: searchable, vectors: vectors, partitions: map[int32]*log{}}
}

// Add appends records to a partition.
func (w *World) Add(topic string, partition int32, values ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.topics[topic]
	l := t.partitions[partition]
	if l == nil {
		l = &log{index: textindex.NewMemory(textindex.Options{Analyzer: analyzer(), Source: true})}
		t.partitions[partition] = l
	}
	for _, v := range values {
		offset := int64(len(l.values))
		l.values = append(l.values, []byte(v))
		if err := l.index.Append(textindex.Record{Offset: offset, Timestamp: Timestamp(offset), Value: []byte(v)}); err != nil {
			panic(err)
		}
	}
}

// Timestamp is that of the record at an offset, in ms.
func Timestamp(offset int64) int64 { return Began.Add(time.Duration(offset) * time.Second).UnixMilli() }

func analyzer() *analysis.Analyzer {
	a, err := analysis.ByName("standard")
	if err != nil {
		panic(err)
	}
	return a
}

func (w *World) failing(ctx context.Context, side string) error {
	if w.Fail != nil {
		return w.Fail(ctx, side)
	}
	return nil
}

// TextSide is the search for words.
func (w *World) TextSide() *Words { return &Words{w} }

// Words searches for words: a hybrid.Text.
type Words struct{ world *World }

// Search implements hybrid.Text.
func (s *Words) Search(ctx context.Context, topics []string, r *textquery.Request, o search.Options) (*search.Answer, error) {
	w := s.world
	if err := w.failing(ctx, "text"); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Texts = append(w.Texts, o)
	engine := textsearch.Searcher{Now: Began}
	coverage := map[string]snapshot.Coverage{}
	for _, name := range topics {
		t := w.topics[name]
		if t == nil {
			return nil, &search.UnknownTopicError{Topic: name}
		}
		if !t.searchable {
			return nil, &search.NotSearchableError{Topic: name}
		}
		coverage[name] = t.coverage(0)
		for _, p := range slices.Sorted(maps.Keys(t.partitions)) {
			engine.Parts = append(engine.Parts, textsearch.Part{Topic: name, Partition: p, Split: t.partitions[p].index.Snapshot(), Analyzer: analyzer()})
		}
	}
	found, err := engine.Search(ctx, r)
	if err != nil {
		return nil, err
	}
	return &search.Answer{Result: *found, Coverage: coverage}, nil
}

// coverage is of all but the newest records.
func (t *records) coverage(lag int64) snapshot.Coverage {
	c := snapshot.Coverage{Partitions: map[int32]snapshot.PartitionCoverage{}}
	for p, l := range t.partitions {
		high := int64(len(l.values))
		c.Partitions[p] = snapshot.PartitionCoverage{To: max(0, high-lag), HighWatermark: high}
		c.LagRecords += high - max(0, high-lag)
	}
	return c
}

// Search implements hybrid.Vectors, of all but the newest record of each partition.
func (w *World) Search(ctx context.Context, r vector.Request) (*vector.Answer, error) {
	if err := w.failing(ctx, "vector"); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Requests = append(w.Requests, r)
	t := w.topics[r.Topic]
	if t == nil {
		return nil, &vector.UnknownTopicError{Topic: r.Topic}
	}
	if !t.vectors {
		return nil, &vector.NotEnabledError{Topic: r.Topic}
	}
	asked := r.Vector
	if r.Text != "" {
		asked = Embed(r.Text)
	}
	if len(asked) != Dimensions {
		return nil, &vector.RequestError{Reason: fmt.Sprintf("vector has %d numbers, those of topic %s have %d", len(asked), r.Topic, Dimensions)}
	}
	answer := &vector.Answer{Coverage: t.coverage(1), EmbedTime: time.Millisecond, SearchTime: time.Millisecond, Recall: 0.95}
	for p, l := range t.partitions {
		for offset, value := range l.values[:max(0, len(l.values)-1)] {
			answer.TotalVectors++
			h := vector.Hit{Topic: r.Topic, Partition: p, Offset: int64(offset), Timestamp: Timestamp(int64(offset))}
			if !takes(r.Filter, h) {
				continue
			}
			embedding := Embed(string(value))
			h.Distance = distance(asked, embedding)
			h.Score = 1 - h.Distance/2
			if r.Embeddings {
				h.Embedding = embedding
			}
			if !r.Bare {
				t.read(&h, r.Values)
			}
			answer.Hits = append(answer.Hits, h)
		}
	}
	slices.SortFunc(answer.Hits, func(a, b vector.Hit) int {
		switch {
		case a.Distance != b.Distance:
			return int(math.Copysign(1, float64(a.Distance-b.Distance)))
		case a.Partition != b.Partition:
			return int(a.Partition - b.Partition)
		}
		return int(a.Offset - b.Offset)
	})
	answer.Hits = answer.Hits[:min(len(answer.Hits), r.K)]
	return answer, nil
}

func takes(f vector.Filter, h vector.Hit) bool {
	within := func(v int64, low, high *int64) bool { return (low == nil || v >= *low) && (high == nil || v <= *high) }
	return (f.Partitions == nil || slices.Contains(f.Partitions, h.Partition)) &&
		within(h.Offset, f.MinOffset, f.MaxOffset) && within(h.Timestamp, f.MinTimestamp, f.MaxTimestamp)
}

func (t *records) read(h *vector.Hit, values bool) {
	value := t.partitions[h.Partition].values[h.Offset]
	h.Preview = string(value[:min(len(value), 100)])
	if values {
		h.Value = value
	}
}

// Records implements hybrid.Vectors. The newest record of a partition is not in the
// bucket yet.
func (w *World) Records(_ context.Context, topic string, hits []vector.Hit, values bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range hits {
		w.ReadRecords++
		if newest := len(w.topics[topic].partitions[hits[i].Partition].values) - 1; hits[i].Offset < int64(newest) {
			w.topics[topic].read(&hits[i], values)
		}
	}
	return nil
}

// Embed is the vector of a text.
func Embed(text string) []float32 {
	v := make([]float32, Dimensions)
	var sum float64
	for _, word := range strings.Fields(strings.ToLower(text)) {
		if other := same[word]; other != "" {
			word = other
		}
		h := fnv.New32a()
		_, _ = h.Write([]byte(word))
		v[h.Sum32()%Dimensions]++
	}
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	for i := range v {
		if sum > 0 {
			v[i] /= float32(math.Sqrt(sum))
		}
	}
	return v
}

func distance(a, b []float32) float32 {
	var dot float32
	for i := range a {
		dot += a[i] * b[i]
	}
	return 1 - dot
}
