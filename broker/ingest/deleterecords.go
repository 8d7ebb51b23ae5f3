package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// DeleteRecords implements api.Log. The log start moves in the metadata store
// first and is told afterwards, so that no restart takes it back.
//
// What lies below the new log start has to be committed before: recovery tells
// by the committed next, which is never below the log start, what of the WAL is
// still part of the log, and would drop a batch that the log start cuts in two.
// It is also why no check of the session is needed in the transaction: a log
// start up to the committed next harms nobody, whoever owns the partition by now.
func (l *Log) DeleteRecords(ctx context.Context, id topic.Partition, before int64) (low int64, err error) {
	p := l.Partition(id)
	if p == nil {
		return -1, core.ErrNotOwner
	}
	b, err := p.Bounds()
	if err != nil {
		return -1, err
	}
	if before == -1 {
		before = b.HighWatermark
	}
	if before < 0 || before > b.HighWatermark {
		return -1, fmt.Errorf("%w: records before %d, the log has %d to %d", core.ErrOffsetOutOfRange, before, b.LogStart, b.HighWatermark)
	}
	if before > b.LogStart {
		if err := l.raiseLogStart(ctx, p, before); err != nil {
			return -1, err
		}
	}
	if !l.Valid() {
		return -1, core.ErrNotOwner
	}
	return p.LogStart(), nil
}

func (l *Log) raiseLogStart(ctx context.Context, p *Partition, first int64) error {
	if err := p.waitCommitted(ctx, first); err != nil {
		return err
	}
	ref, err := l.opts.Store.SetLogStart(ctx, p.ID, first)
	switch {
	case errors.Is(err, metastore.ErrTopicUnknown):
		return err
	case err != nil:
		return fmt.Errorf("%w: whether the log start was stored is not known: %w", core.ErrTimeout, err)
	}
	p.startAt(ref.LogStart)
	return nil
}

// waitCommitted returns when everything below next, which is visible, is committed.
func (p *Partition) waitCommitted(ctx context.Context, next int64) error {
	p.mu.Lock()
	var last *entry
	if i := p.index(next - 1); p.committed < next && i < len(p.entries) {
		last = p.entries[i]
	}
	p.mu.Unlock()
	if last == nil {
		return nil
	}
	p.log.hurry()
	select {
	case <-last.seal.done:
		return last.seal.err
	case <-ctx.Done():
		return fmt.Errorf("%w: waiting for the object store", core.ErrTimeout)
	}
}

// startAt raises the log start and wakes those who wait below it.
func (p *Partition) startAt(first int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if first <= p.logStart {
		return
	}
	p.logStart = first
	for w := range p.waiters {
		w.wake()
	}
}

// Producers returns what is known of the idempotent producers of a partition, by
// their ids.
func (l *Log) Producers(id topic.Partition) ([]core.ActiveProducer, error) {
	p := l.Partition(id)
	if p == nil {
		return nil, core.ErrNotOwner
	}
	p.mu.Lock()
	states, refused := p.producers.Snapshot(), p.refused
	p.mu.Unlock()
	if refused != nil {
		return nil, refused
	}
	if !l.Valid() {
		return nil, core.ErrNotOwner
	}
	active := make([]core.ActiveProducer, 0, len(states))
	expired := time.Now().Add(-l.opts.ProducerExpiry).UnixMilli()
	for _, s := range states {
		if s.LastUsed < expired {
			continue // it goes with the next seal
		}
		a := core.ActiveProducer{ID: s.ID, Epoch: s.Epoch, LastSequence: -1, LastUsed: s.LastUsed}
		if n := len(s.Batches); n > 0 {
			a.LastSequence = s.Batches[n-1].LastSequence
		}
		active = append(active, a)
	}
	return active, nil
}

// UncommittedBytes are those of a partition that are in the WAL only.
func (p *Partition) UncommittedBytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var bytes int64
	for _, e := range p.entries[p.index(p.committed):] {
		bytes += int64(e.Length)
	}
	return bytes
}
