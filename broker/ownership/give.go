package ownership

import (
	"context"
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// leaving is a served partition that another broker is wished for.
type leaving struct {
	part   *ingest.Partition
	reason move
}

// given is what became of one.
type given struct {
	leaving
	next     int64 // everything below is committed
	released bool  // or its release is in doubt: it is not to be served again as it is
}

const (
	// flushTimeout bounds the flush while the partitions are still served: it
	// takes what the bucket takes.
	flushTimeout = time.Minute
	// pauseMax bounds the second, short one, while they are not.
	pauseMax = 5 * time.Second
	// calmTime is how long nothing is given up after it did not work.
	calmTime = 10 * time.Second
)

// give begins to give partitions up, all with one flush, in another goroutine:
// a slow bucket must not keep this broker from taking others. One goroutine
// does so at a time; the rest is found again by a later look.
func (m *Manager) give(ctx context.Context, parts []leaving) {
	if len(m.moving) > 0 {
		return
	}
	for _, l := range parts {
		m.moving[l.part.ID] = true
	}
	m.slog.Info("giving partitions to other brokers", "partitions", len(parts), "why", parts[0].reason)
	go func() { m.moved <- m.hand(ctx, parts) }()
}

// hand gives partitions up. It touches nothing of m's state.
func (m *Manager) hand(ctx context.Context, parts []leaving) []given {
	all := make([]given, len(parts))
	for i, l := range parts {
		all[i].leaving = l
	}
	// Most is flushed while everything is still served.
	if err := m.flush(ctx, flushTimeout); err != nil {
		m.slog.Warn("partitions are kept: what they have cannot be flushed", "partitions", len(parts), "error", err)
		return all
	}
	for _, l := range parts {
		l.part.Pause()
	}
	err := m.flush(ctx, pauseMax)
	var ready []topic.Partition
	for i := range all {
		next, settled := all[i].part.Settled()
		if err != nil || !settled {
			all[i].part.Resume()
			continue
		}
		// It accepts nothing any more, and everything that it ever accepted in this
		// session is known to be committed [release-after-flush].
		all[i].next, all[i].released = next, true
		ready = append(ready, all[i].part.ID)
	}
	if err != nil {
		m.slog.Warn("partitions are kept: what they got last cannot be flushed", "partitions", len(parts), "error", err)
	}
	if len(ready) == 0 {
		return all
	}
	if err := m.Store.Release(ctx, m.Session, ready); err != nil {
		// Which were released is not known. None is served again as it is: what
		// the catalog still shows to be ours is taken, or released, again.
		m.slog.Warn("the release of partitions is in doubt", "partitions", len(ready), "error", err)
	}
	return all
}

func (m *Manager) flush(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return m.Log.Flush(ctx)
}

// settle takes note of what was given up.
func (m *Manager) settle(all []given) {
	for _, g := range all {
		p := g.part.ID
		delete(m.moving, p)
		if !g.released {
			m.calm = time.Now().Add(calmTime)
			continue
		}
		m.Log.Drop(p)
		delete(m.owned, p)
		m.left[p] = g.next
		m.metrics.moves.WithLabelValues(string(g.reason)).Inc()
	}
}

// releaseUnserved gives up partitions that this session owns and does not serve.
func (m *Manager) releaseUnserved(ctx context.Context, partitions []topic.Partition) error {
	for _, p := range partitions {
		delete(m.taken, p)
	}
	return m.Store.Release(ctx, m.Session, partitions)
}

// Release gives everything back that the session owns. The log must have refused
// and flushed before: a released partition has nothing left that could still be
// committed [release-after-flush]. What was taken and could not be served yet is
// kept if our disk has some of it.
func (m *Manager) Release(ctx context.Context) error {
	var all []topic.Partition
	m.Store.Catalog().View(func(v *metastore.View) {
		for _, t := range v.Topics() {
			for i := range t.Partitions {
				p := topic.Partition{Topic: t.ID, Index: i}
				owner, _ := v.Owner(p)
				if _, served := m.owned[p]; owner.Session == m.Session.ID() && (served || len(m.recovered[p]) == 0) {
					all = append(all, p)
				}
			}
		}
	})
	if err := m.Store.Release(ctx, m.Session, all); err != nil {
		return fmt.Errorf("release %d partitions: %w", len(all), err)
	}
	m.metrics.moves.WithLabelValues(string(moveStop)).Add(float64(len(m.owned)))
	clear(m.owned)
	return nil
}
