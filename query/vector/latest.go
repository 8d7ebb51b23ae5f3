package vector

import (
	"context"
	"errors"

	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/query/snapshot"
	"github.com/chronik-stream/chronik/query/tail"
)

// freshness is what is asked for.
func (r *Request) freshness() snapshot.Freshness {
	if r.Freshness == "" {
		return snapshot.Available
	}
	return snapshot.Freshness(r.Freshness)
}

func (s *Searcher) present(ctx context.Context, r *Request) (*snapshot.Presence, error) {
	return s.config.Sources.Present(ctx, func() (*metastore.Topic, error) { return s.topic(r.Topic) }, r.freshness())
}

// await returns what the topic is, for the latest once all that was acknowledged
// has its vectors; nil when it changes meanwhile, which the search will meet again.
// *LaggingError: the time was over before.
func (s *Searcher) await(ctx context.Context, r *Request) (*snapshot.Presence, error) {
	p, err := s.present(ctx, r)
	if err == nil && r.freshness() == snapshot.Latest {
		err = s.awaitMarks(ctx, p)
	}
	var behind *LaggingError
	switch {
	case err == nil:
		return p, nil
	case errors.As(err, &behind) || ctx.Err() != nil:
		return nil, err
	}
	return nil, nil
}

// awaitMarks waits until the vector marks have reached where the logs ended.
func (s *Searcher) awaitMarks(ctx context.Context, p *snapshot.Presence) error {
	for {
		revision := s.config.Sources.Catalog.Revision()
		marks, ok := s.config.Sources.Marks(p.Topic.ID, snapshot.Vector)
		if !ok {
			return tail.ErrGone
		}
		lags := lags(marks, p.Logs.Ends)
		if len(lags) == 0 {
			return nil
		}
		if err := s.config.Sources.Catalog.WaitRevision(ctx, revision+1); err != nil {
			return &LaggingError{Topic: p.Topic.Name, Partitions: lags, Cause: err}
		}
	}
}

// lags are the partitions whose marks are below where their logs ended.
func lags(marks map[int32]int64, ends map[int32]tail.End) (all []tail.Lag) {
	for p := range int32(len(marks)) {
		if end, known := ends[p]; known && marks[p] < end.Offset {
			all = append(all, tail.Lag{Partition: p, Next: marks[p], Target: end.Offset})
		}
	}
	return all
}

// behind reports whether one of the partitions is.
func behind(partitions []snapshot.Partition, ends map[int32]tail.End) bool {
	for _, p := range partitions {
		if end, known := ends[p.Index]; known && p.Mark < end.Offset {
			return true
		}
	}
	return false
}
