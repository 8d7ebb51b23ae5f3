package snapshot

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/query/tail"
)

const (
	// catchUpWait bounds how long the latest waits to know all that is in the
	// metadata store. Without it a topic may be taken for its predecessor of the
	// same name, and no more: whose log it is that ends there, the epochs tell.
	catchUpWait = time.Second
	// endsWait is for the log's end, which all but the latest only mention.
	endsWait = time.Second
)

// Presence is the topic that has a name at a moment, and where its logs began and
// ended.
type Presence struct {
	Topic *metastore.Topic
	Logs  Logs
}

// Of reports whether it is about this topic as it is.
func (p *Presence) Of(t *metastore.Topic) bool {
	return p != nil && t.ID == p.Topic.ID && t.Partitions == p.Topic.Partitions
}

// Logs is what the brokers say of a topic's partitions, by partition.
type Logs struct {
	Starts map[int32]int64 // asked for with Latest alone
	Ends   map[int32]tail.End
}

// Present finds the topic that find returns now, and where its logs begin and
// end. For the latest, now is not before the call: the catalog catches up with the
// metadata store while the brokers are asked.
func (s *Sources) Present(ctx context.Context, find func() (*metastore.Topic, error), want Freshness) (*Presence, error) {
	caught := make(chan struct{})
	go func() {
		defer close(caught)
		s.catchUp(ctx, want)
	}()
	asked, missing := find() // why there is none is seen below
	var logs Logs
	var failed error
	if missing == nil {
		logs, failed = s.logs(ctx, asked, want)
	}
	<-caught
	t, err := find()
	if err != nil {
		return nil, err
	}
	if missing != nil || t.ID != asked.ID || t.Partitions != asked.Partitions {
		logs, failed = s.logs(ctx, t, want)
	}
	if failed != nil {
		return nil, failed
	}
	return &Presence{t, logs}, nil
}

// catchUp waits until the catalog has all that was in the metadata store when
// the latest was asked for. Where that store is away brokers go on for a while,
// and so do queries.
func (s *Sources) catchUp(ctx context.Context, want Freshness) {
	if want != Latest || s.CatchUp == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpWait)
	defer cancel()
	if err := s.CatchUp(ctx); err != nil {
		s.Log.Debug("a query goes on with the metadata that it has", "err", err)
	}
}

// logs asks the brokers where the logs begin and end. Only latest depends on the
// answer: it has what was acknowledged, and not what was deleted, even while this
// node's catalog is behind. The others mention the ends, and do without when they
// do not come at once.
func (s *Sources) logs(ctx context.Context, t *metastore.Topic, want Freshness) (l Logs, err error) {
	if want == Latest {
		group, inner := errgroup.WithContext(ctx)
		group.Go(func() (err error) {
			l.Starts, err = s.Tails.Starts(inner, t.Name, t.ID, t.Partitions)
			return err
		})
		group.Go(func() (err error) {
			l.Ends, err = s.Tails.Ends(inner, t.Name, t.ID, t.Partitions)
			return err
		})
		return l, group.Wait()
	}
	short, cancel := context.WithTimeout(ctx, endsWait)
	defer cancel()
	l.Ends, err = s.Tails.Ends(short, t.Name, t.ID, t.Partitions)
	if err != nil {
		s.Log.Debug("the log's ends are not known", "topic", t.Name, "err", err)
	}
	return l, ctx.Err()
}
