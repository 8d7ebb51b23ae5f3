package search

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/internal/textsearch"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/query/masks"
	"github.com/chronik-stream/chronik/query/places"
	"github.com/chronik-stream/chronik/query/snapshot"
	"github.com/chronik-stream/chronik/query/splitcache"
	"github.com/chronik-stream/chronik/query/tail"
)

// Config is what a Searcher works with. What has no default is required.
type Config struct {
	Sources       *snapshot.Sources
	Splits        *splitcache.Cache
	Masks         *masks.Masks
	Places        *places.Places // shared with whatever else takes the node's processors
	TopicDefaults topicconfig.Defaults
	Timeout       time.Duration // of a request that names none; default 30 s
	Parallel      int           // splits of one request that are searched at once; default one per core
	Log           *slog.Logger
}

// Searcher searches topics. All methods may be called at once.
type Searcher struct {
	config Config

	searched, skipped atomic.Int64
}

// Splits count the splits that searches came upon.
type Splits struct {
	Searched int64
	Skipped  int64 // no document of them could match
}

// Splits returns the counts since New.
func (s *Searcher) Splits() Splits {
	return Splits{s.searched.Load(), s.skipped.Load()}
}

// New returns a Searcher.
func New(c Config) *Searcher {
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Searcher{config: c}
}

// describeWait is for the newest records, where metadata of a topic is asked for.
const describeWait = 5 * time.Second

// Search answers a request. Errors, besides those of the request itself
// (*textquery.Error): *UnknownTopicError, *NotSearchableError, *DamagedError,
// *snapshot.UnsettledError, *tail.LaggingError, *places.BusyError, and those of a
// context that ended.
func (s *Searcher) Search(ctx context.Context, topics []string, r *textquery.Request, o Options) (*Answer, error) {
	until, stop := limit(r.Timeout)
	defer stop()
	var answer *Answer
	err := s.run(ctx, topics, o, scope{}, func(ctx context.Context, b *bound) error {
		engine := textsearch.Searcher{Parts: b.searched(), Now: time.Now(), Parallel: s.config.Parallel, Until: until}
		result, err := engine.Search(ctx, r)
		if err != nil {
			return err
		}
		s.searched.Add(int64(result.PartsTotal - result.PartsSkipped))
		s.skipped.Add(int64(result.PartsSkipped))
		answer = &Answer{Result: *result, TimedOut: result.Cut, Coverage: b.coverage, Shards: b.shards}
		return nil
	})
	return answer, err
}

// limit returns what is closed when the time is over in which a request wants to be
// answered, be it with less than everything; nil: it does not say.
func limit(timeout time.Duration) (until <-chan struct{}, stop func()) {
	if timeout <= 0 {
		return nil, func() {}
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	return ctx.Done(), cancel
}

// Doc returns one record; nil when there is none.
func (s *Searcher) Doc(ctx context.Context, topic string, partition int32, offset int64, o Options) (*textsearch.Hit, error) {
	var hit *textsearch.Hit
	err := s.run(ctx, []string{topic}, o, scope{one: true, partition: partition, offset: offset}, func(ctx context.Context, b *bound) (err error) {
		hit, err = b.record(ctx, partition, offset)
		return err
	})
	return hit, err
}

// Mapping returns the fields that documents have, by topic.
func (s *Searcher) Mapping(ctx context.Context, topics []string) (map[string][]textindex.Field, error) {
	mapping := map[string][]textindex.Field{}
	err := s.describe(ctx, topics, func(_ context.Context, b *bound) error {
		clear(mapping)
		for _, t := range topics {
			mapping[t] = b.fields(t)
		}
		return nil
	})
	return mapping, err
}

// Counts returns the sizes of indexes, by topic.
func (s *Searcher) Counts(ctx context.Context, topics []string) (map[string]Counts, error) {
	counts := map[string]Counts{}
	err := s.describe(ctx, topics, func(_ context.Context, b *bound) error {
		clear(counts)
		for _, t := range topics {
			counts[t] = b.counts(t)
		}
		return nil
	})
	return counts, err
}

// describe runs work over topics as they are now when the brokers are quick, and
// over what is in the bucket when they are not.
func (s *Searcher) describe(ctx context.Context, topics []string, work func(context.Context, *bound) error) error {
	err := s.run(ctx, topics, Options{Timeout: describeWait}, scope{}, work)
	var lagging *tail.LaggingError
	if errors.As(err, &lagging) && ctx.Err() == nil {
		return s.run(ctx, topics, Options{Freshness: string(snapshot.Cold)}, scope{}, work)
	}
	return err
}

// run binds topics and works over them, within the node's budgets. When what they
// were bound to is gone in the middle of the work, both begin again.
func (s *Searcher) run(ctx context.Context, topics []string, o Options, sc scope, work func(context.Context, *bound) error) error {
	if o.Timeout <= 0 {
		o.Timeout = s.config.Timeout
	}
	want := snapshot.Freshness(o.Freshness)
	if want == "" {
		want = snapshot.Latest
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	known, err := s.arrive(ctx, topics, want)
	if err != nil {
		return err
	}
	if err := s.config.Places.Take(ctx); err != nil {
		return err
	}
	defer s.config.Places.Leave()
	return s.config.Sources.Bind(ctx, names(topics), func(attempt int) error {
		b, err := s.bind(ctx, topics, want, known, sc, attempt > 4)
		known = nil // the next attempt asks anew
		if err != nil {
			return err
		}
		defer b.release()
		return s.retry(ctx, b, work)
	})
}

// retry is work, once more where bytes were damaged: that may have happened on the
// way, or here.
func (s *Searcher) retry(ctx context.Context, b *bound, work func(context.Context, *bound) error) error {
	for attempt := 1; ; attempt++ {
		err := work(ctx, b)
		var of *textsearch.PartError
		if !errors.As(err, &of) || b.parts[of.Part].object == "" {
			return err
		}
		p := &b.parts[of.Part]
		if !errors.Is(err, format.ErrCorrupt) || attempt > 1 {
			return snapshot.OfFile(p.object, err)
		}
		s.config.Splits.Forget(p.object)
		if err := s.reopen(ctx, b, p); err != nil {
			return err
		}
	}
}

// arrive waits until the tails of topics have what the latest is to cover, before
// there is a place for the search: while one topic's tail is behind, others are
// searched. It returns what it learned of each topic, nil of one that changes
// meanwhile.
func (s *Searcher) arrive(ctx context.Context, topics []string, want snapshot.Freshness) ([]*snapshot.Presence, error) {
	known := make([]*snapshot.Presence, len(topics))
	if want != snapshot.Latest {
		return known, nil
	}
	came, err := s.config.Places.Come(ctx)
	if err != nil {
		return nil, err
	}
	defer came()
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(topicsMax)
	for i, name := range topics {
		group.Go(func() error {
			p, err := s.present(inner, name, want)
			if err == nil {
				err = s.awaitTail(inner, p)
			}
			var lagging *tail.LaggingError
			switch {
			case err == nil:
				known[i] = p
			case errors.As(err, &lagging) || inner.Err() != nil:
				return err
			}
			return nil // anything else bind will meet again, or it has passed
		})
	}
	return known, group.Wait()
}

// topicsMax is how many topics of one search are asked for at once.
const topicsMax = 8
