package vector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/query/indexcache"
	"github.com/chronik-stream/chronik/query/masks"
	"github.com/chronik-stream/chronik/query/places"
	"github.com/chronik-stream/chronik/query/shardcache"
	"github.com/chronik-stream/chronik/query/snapshot"
)

// Config is what a Searcher works with. What has no default is required.
type Config struct {
	Sources *snapshot.Sources
	Shards  *shardcache.Cache
	Masks   *masks.Masks
	Places  *places.Places // shared with whatever else takes the node's processors
	// Embedder makes vectors of the texts that are asked for; nil: only vectors can
	// be asked for.
	Embedder      *embedder.Service
	Milvus        Collections // nil: topics whose index is in a Milvus are searched in their shards
	TopicDefaults topicconfig.Defaults
	Timeout       time.Duration // of a request that names none; default 30 s
	Parallel      int           // shards of one request that are searched at once; default one per core
	RecordBytes   int64         // of records that are kept for previews; default 64 MiB
	ValueBytes    int64         // of keys and values in one answer; default 256 MiB
	Log           *slog.Logger
}

// Searcher searches topics. All methods may be called at once.
type Searcher struct {
	config  Config
	records *records

	searches, searched, requests, bytes atomic.Int64
}

// New returns a Searcher.
func New(c Config) *Searcher {
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Parallel <= 0 {
		c.Parallel = runtime.GOMAXPROCS(0)
	}
	if c.RecordBytes <= 0 {
		c.RecordBytes = 64 << 20
	}
	if c.ValueBytes <= 0 {
		c.ValueBytes = 256 << 20
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Searcher{config: c, records: newRecords(c.Sources.Manifests, c.RecordBytes, c.ValueBytes)}
}

// Counts are what a Searcher has done.
type Counts struct {
	Searches int64
	Shards   int64 // that were searched
	Reads          // from the bucket, for shards
}

// Counts returns the counts since New.
func (s *Searcher) Counts() Counts {
	return Counts{Searches: s.searches.Load(), Shards: s.searched.Load(), Reads: Reads{Requests: s.requests.Load(), Bytes: s.bytes.Load()}}
}

// vanishedMax is how often a search begins again because records that it found
// were deleted meanwhile; then they are left out.
const vanishedMax = 3

// Search answers a request. Errors: *RequestError, *UnknownTopicError,
// *NotEnabledError, *ProviderError, *UnavailableError, *DamagedError, *TooLargeError, *LaggingError,
// *snapshot.UnsettledError, *places.BusyError, and those of a context that ended.
func (s *Searcher) Search(ctx context.Context, r Request) (*Answer, error) {
	began := time.Now()
	s.searches.Add(1)
	if err := r.check(); err != nil {
		return nil, err
	}
	if r.Timeout <= 0 {
		r.Timeout = s.config.Timeout
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	var meter indexcache.Meter
	ctx = indexcache.WithMeter(ctx, &meter)
	defer func() {
		s.requests.Add(meter.Requests())
		s.bytes.Add(meter.Bytes())
	}()
	a, known, err := s.arrive(ctx, &r)
	if err != nil {
		return nil, err
	}
	var answer *Answer
	for attempt := 1; ; attempt++ {
		answer, err = s.answer(ctx, a, &r, known)
		if err != nil {
			return nil, err
		}
		if r.Bare {
			break
		}
		f, err := s.records.fill(ctx, a.topic.ID, a.vector.Field, answer.Hits, r.Values)
		if err != nil {
			return nil, err
		}
		if f.gone > 0 && attempt < vanishedMax {
			known = nil
			continue
		}
		answer.Hits = present(answer.Hits)
		if f.damaged != nil {
			answer.Warnings = append(answer.Warnings, fmt.Sprintf("not all records can be read: %v", f.damaged))
		}
		break
	}
	answer.EmbedTime = a.questions.took
	answer.SearchTime = time.Since(began) - a.questions.took
	answer.Reads = Reads{Requests: meter.Requests(), Bytes: meter.Bytes()}
	return answer, nil
}

// asked is a request under way: the topic, and the question as its models have it.
type asked struct {
	topic     *metastore.Topic
	vector    topicconfig.Vector
	questions *questions
	settings  map[string]vectorindex.Settings // of shards, parsed
}

// is takes note of what the topic is now: another one of its name, perhaps, or one
// with another model.
func (a *asked) is(t *metastore.Topic, c topicconfig.Vector) {
	a.topic = t
	if c != a.vector {
		a.vector, a.questions = c, a.questions.again(c)
	}
}

// parse returns what a shard was made with.
func (a *asked) parse(f manifest.File) (vectorindex.Settings, error) {
	settings, known := a.settings[f.Settings]
	if known {
		return settings, nil
	}
	settings, err := vectorindex.ParseSettings(f.Settings)
	if err != nil {
		return settings, snapshot.OfFile(f.Object, format.In(f.Object, format.Corrupt(0, "%v", err)))
	}
	a.settings[f.Settings] = settings
	return settings, nil
}

// arrive asks the models, and waits for what freshness latest is to cover, before
// there is a place for the search: while a provider is slow, others are answered.
func (s *Searcher) arrive(ctx context.Context, r *Request) (*asked, *snapshot.Presence, error) {
	came, err := s.config.Places.Come(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer came()
	t, err := s.topic(r.Topic)
	if err != nil {
		return nil, nil, err
	}
	a := &asked{topic: t, vector: s.settings(t), settings: map[string]vectorindex.Settings{}}
	if err := r.checkVector(a.vector); err != nil {
		return nil, nil, err
	}
	a.questions = newQuestions(s.config.Embedder, a.vector, r)
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	models := make(chan error, 1)
	go func() { models <- a.questions.askAll(asking, s.former(asking, a)) }()
	known, err := s.await(ctx, r)
	if err != nil {
		cancel()
		<-models
		return nil, nil, err
	}
	return a, known, <-models
}

// former are the models that shards of the topic have now, without its current one.
func (s *Searcher) former(ctx context.Context, a *asked) []embedder.Model {
	partitions, err := s.config.Sources.Partitions(ctx, a.topic, snapshot.Vector, nil)
	if err != nil {
		return nil // the search itself will say what is wrong
	}
	var models []embedder.Model
	for _, p := range partitions {
		for _, f := range p.Section.Vector {
			settings, err := a.parse(f)
			if m := modelOf(settings); err == nil && !a.questions.current(m) {
				models = append(models, m)
			}
		}
	}
	return models
}

// answer searches the topic within the node's budgets. When what it was bound to
// is gone in the middle of it, it begins again.
func (s *Searcher) answer(ctx context.Context, a *asked, r *Request, known *snapshot.Presence) (*Answer, error) {
	var answer *Answer
	for {
		var unasked *unaskedError
		err := s.place(ctx, func() error {
			return s.config.Sources.Bind(ctx, r.Topic, func(int) error {
				b, err := s.bind(ctx, a, r, known)
				known = nil // the next attempt asks anew
				if err != nil {
					return err
				}
				answer, err = s.nearest(ctx, b, r)
				return err
			})
		})
		if !errors.As(err, &unasked) {
			return answer, err
		}
		// A model came up meanwhile.
		if err := a.questions.askAll(ctx, []embedder.Model{unasked.model}); err != nil {
			return nil, err
		}
	}
}

// place runs work on one of the node's places.
func (s *Searcher) place(ctx context.Context, work func() error) error {
	if err := s.config.Places.Take(ctx); err != nil {
		return err
	}
	defer s.config.Places.Leave()
	return work()
}

// topic finds the topic of that name.
func (s *Searcher) topic(name string) (*metastore.Topic, error) {
	t, ok := s.config.Sources.Catalog.Topic(name)
	if !ok {
		return nil, &UnknownTopicError{name}
	}
	if !s.settings(t).Enabled {
		return nil, &NotEnabledError{Topic: name}
	}
	var index metastore.VectorIndex
	s.config.Sources.Catalog.View(func(v *metastore.View) { index = v.VectorIndex(t.ID) })
	if index.Dropped {
		return nil, &NotEnabledError{Topic: name, Dropped: true}
	}
	return t, nil
}

func (s *Searcher) settings(t *metastore.Topic) topicconfig.Vector {
	return topicconfig.Resolve(t.Config, s.config.TopicDefaults).Vector
}

// check refuses what makes no sense for any topic.
func (r *Request) check() error {
	refuse := func(text string, args ...any) error { return &RequestError{fmt.Sprintf(text, args...)} }
	switch {
	case r.K < 1 || r.K > CandidatesMax:
		return refuse("k is %d; it must be 1 to %d", r.K, CandidatesMax)
	case r.Ef < 0 || r.Probes < 0:
		return refuse("ef_search is %d and nprobe %d; they must not be negative", r.Ef, r.Probes)
	case math.IsNaN(r.Recall) || r.Recall < 0 || r.Recall > 1:
		return refuse("the recall is %v; it must be above 0, and 1 at most", r.Recall)
	case r.Freshness != "" && !snapshot.Freshness(r.Freshness).Known():
		return refuse("the freshness is %q; it must be latest, available or cold", r.Freshness)
	case (r.Text == "") == (r.Vector == nil):
		return refuse("either a text or a vector must be asked for")
	}
	return nil
}

// checkVector refuses a vector that is none of this topic's.
func (r *Request) checkVector(c topicconfig.Vector) error {
	if r.Vector == nil {
		return nil
	}
	dimensions := c.Dimensions
	if dimensions == 0 { // as the model's, which only shards know
		dimensions = len(r.Vector)
	}
	if err := vectorindex.Check(r.Vector, dimensions); err != nil {
		return &RequestError{fmt.Sprintf("vector: %v", err)}
	}
	return nil
}
