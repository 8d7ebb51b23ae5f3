package metastore

import (
	"context"
	"fmt"

	"github.com/chronik-stream/chronik/metastore/kv"
)

// Commit makes a segment, which is in the object store already, part of the log:
// one transaction, whatever the number of its ranges, applied at most once and
// in the order of seg.Sequence, which counts a session's commits from 1.
//
// It waits until the commits before it are applied, and repeats its transaction
// until the outcome is known. On nil the segment is committed; with the same
// segment again it is nil again. On ErrFenced the session is over. If ctx ends
// first the error may wrap kv.ErrUnknownOutcome; the same segment has to be
// committed again then, for no later one is sent before it is known to be applied.
//
// A segment is committed under the session in which its offsets were given, or
// never: one of another session is ErrFenced.
func (s *Store) Commit(ctx context.Context, bs *BrokerSession, seg Segment) error {
	what := fmt.Sprintf("commit segment %s, number %d of session %d", seg.ID, seg.Sequence, bs.ID())
	if seg.Session != bs.ID() || seg.Broker != bs.Broker() {
		return fmt.Errorf("%s: its offsets were given by broker %d in session %d: %w", what, seg.Broker, seg.Session, ErrFenced)
	}
	if err := checkSegment(&seg); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	last, done, err := bs.enter(ctx, &seg)
	if err != nil || done {
		if err != nil {
			err = fmt.Errorf("%s: %w", what, err)
		}
		return err
	}
	mark, err := s.settleCommit(ctx, what, bs, last, &seg)
	bs.leave(mark)
	if err != nil {
		return err
	}
	s.caughtUp(ctx, mark.revision)
	return nil
}

// checkSegment refuses what no reader could make sense of.
func checkSegment(seg *Segment) error {
	if seg.ID == "" || seg.Object == "" || segmentID(seg.ID) != seg.ID {
		return fmt.Errorf("%w: segment %q in object %q", ErrInvalid, seg.ID, seg.Object)
	}
	if len(seg.Ranges) > SegmentRangesMax {
		return fmt.Errorf("%w: %d ranges, at most %d are allowed", kv.ErrTooLarge, len(seg.Ranges), SegmentRangesMax)
	}
	for i, r := range seg.Ranges {
		switch {
		case r.First < 0 || r.Next <= r.First:
			return fmt.Errorf("%w: range %d of %s is [%d, %d)", ErrInvalid, i, r.Partition, r.First, r.Next)
		case r.Position < 0 || r.Length <= 0 || r.Position+r.Length > seg.Size:
			return fmt.Errorf("%w: range %d of %s lies at %d with %d bytes, in an object of %d",
				ErrInvalid, i, r.Partition, r.Position, r.Length, seg.Size)
		case r.Partition.Index < 0 || r.Epoch < 0:
			return fmt.Errorf("%w: range %d of %s in epoch %d", ErrInvalid, i, r.Partition, r.Epoch)
		}
	}
	return nil
}

// enter waits for the turn of a segment. It returns the commit before it, or
// done if the segment is committed already.
func (bs *BrokerSession) enter(ctx context.Context, seg *Segment) (last commitMark, done bool, err error) {
	for {
		bs.mu.Lock()
		last, turn := bs.last, bs.turn
		switch {
		case seg.Sequence == last.Sequence && seg.ID == last.Segment && last.Sequence > 0:
			bs.mu.Unlock()
			return last, true, nil
		case seg.Sequence <= last.Sequence:
			bs.mu.Unlock()
			return last, false, fmt.Errorf("%w: number %d is segment %s", ErrOutOfOrder, last.Sequence, last.Segment)
		case seg.Sequence == last.Sequence+1 && !bs.busy:
			bs.busy = true
			bs.mu.Unlock()
			return last, false, nil
		}
		bs.mu.Unlock()
		select {
		case <-turn:
		case <-bs.Done():
			return last, false, bs.fenced("it ended before the commit was sent")
		case <-ctx.Done():
			return last, false, fmt.Errorf("wait for the commits before it: %w", ctx.Err())
		}
	}
}

// leave records the last commit known to be applied and lets the next one go.
func (bs *BrokerSession) leave(mark commitMark) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	bs.last = mark
	bs.busy = false
	close(bs.turn)
	bs.turn = make(chan struct{})
}

// settleCommit returns the last commit known to be applied: of seg when err is
// nil, else the one before it.
func (s *Store) settleCommit(ctx context.Context, what string, bs *BrokerSession, last commitMark, seg *Segment) (commitMark, error) {
	key := s.keys.commit(bs.Broker())
	mark := commitMark{Session: bs.ID(), Sequence: seg.Sequence, Segment: seg.ID, Identity: bs.broker.Identity}
	alive := bs.alive(s.keys)
	// The session's key as it was registered [session-compare], and the marker as
	// the commit before left it [commit-sequence]: late or sent twice, it applies
	// once, in its turn, or never.
	txn := kv.Txn{
		If:   []kv.Compare{alive, {Key: key, ModRevision: last.revision}},
		Then: []kv.Op{kv.Put(key, encode(mark))},
		Read: []string{alive.Key, key},
	}
	for part, value := range encodeSegment(seg) {
		txn.Then = append(txn.Then, kv.Put(s.keys.segment(seg.ID, part), value))
	}

	result, doubt, err := s.settle(ctx, what, txn)
	if err != nil {
		return last, err
	}
	if result.Succeeded {
		mark.revision = result.Revision
		return mark, nil
	}
	// The marker of this very segment means that a lost try was applied, even
	// if the session has ended since: only a new session resets the marker.
	var current commitMark
	if err := decode(result.Read[key], &current); err != nil {
		return last, inDoubt(doubt, fmt.Errorf("%s: read %s: %w", what, key, err))
	}
	applied := current == mark
	over := !alive.Holds(result.Read[alive.Key].ModRevision)
	if over {
		bs.lose(bs.fenced("its key is gone or belongs to another session"))
	}
	switch {
	case applied:
		mark.revision = result.Read[key].ModRevision
		return mark, nil
	case over:
		return last, inDoubt(doubt, fmt.Errorf("%s: %w", what, ErrFenced))
	default:
		return last, fmt.Errorf("%s: %w: number %d is segment %s", what, ErrOutOfOrder, current.Sequence, current.Segment)
	}
}
