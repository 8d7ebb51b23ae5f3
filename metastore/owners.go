package metastore

import (
	"context"
	"fmt"
	"slices"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore/kv"
)

// Take is one partition that a broker wants to own.
type Take struct {
	// View is what the wish rests on: that the owner is gone, and First.
	View PartitionView
	// First is the first offset that the new epoch may give, at least
	// View.Next(). A broker that comes back with its disk counts what its WAL
	// holds too.
	First int64
	// Recovered says that this broker brings records of an earlier ownership that
	// are not committed yet.
	Recovered bool
	// Object says that the broker will acknowledge under durability=object. That
	// may follow from its own configuration, of which the topic knows nothing.
	Object bool
}

// EpochEnd returns the offset at which epoch e ends: the smallest start of any
// later epoch. It is false for the current epoch and later ones.
func (o Owner) EpochEnd(e Epoch) (end int64, ended bool) {
	for _, s := range o.Starts {
		if s.Epoch > e && (!ended || s.First < end) {
			end, ended = s.First, true
		}
	}
	return end, ended
}

// withEpoch returns starts with another epoch. Epochs that begin at or above
// its first offset are left out: whatever was given in them is cut off there,
// and EpochEnd, which asks later epochs only, answers the same for every epoch
// without them. So the list grows with epochs that have data, not with takes.
func withEpoch(starts []EpochStart, e Epoch, first int64) []EpochStart {
	kept := slices.DeleteFunc(slices.Clone(starts), func(s EpochStart) bool { return s.First >= first })
	return append(kept, EpochStart{Epoch: e, First: first})
}

// startsMax is how many starts are kept before those that nobody needs are let go.
const startsMax = 64

// pruned leaves out starts of epochs that end below the log start, when there are
// many. No reader can ask for their offsets. A broker that comes back with a disk
// of such an epoch is told the right end of it, or a higher one that is not above
// the log start: what it then takes for committed is deleted whatever it was.
func pruned(starts []EpochStart, logStart int64) []EpochStart {
	for len(starts) > startsMax && starts[1].First <= logStart {
		starts = starts[1:]
	}
	return starts
}

// Take makes the broker the owner of partitions, each with the epoch after its
// last, and returns those it got. A partition that is missing was not taken:
// somebody else changed its owner, or the topic is gone; the catalog shows it.
// Errors: ErrFenced; ErrInvalid for a Take whose View is older than the session,
// shows another live owner or has a higher Next than First. If ctx ends, those
// taken so far are returned with the error, and the rest may have been taken:
// they are to be taken again, with a new epoch.
func (s *Store) Take(ctx context.Context, bs *BrokerSession, takes []Take) (map[topic.Partition]Owner, error) {
	changes := make([]ownerChange, 0, len(takes))
	for _, t := range takes {
		if t.View.Topic == nil {
			continue
		}
		if err := checkTake(bs, t); err != nil {
			return nil, fmt.Errorf("take %s: %w", t.View.Partition, err)
		}
		epoch := Epoch(0)
		if t.View.Owner.ModRevision != 0 {
			epoch = t.View.Owner.Epoch + 1
		}
		durability := t.View.Topic.Durability
		if !t.Object || t.Recovered && !t.View.AckedInBucket() {
			durability = -1
		}
		changes = append(changes, ownerChange{partition: t.View.Partition, seen: t.View.Owner.ModRevision, topic: true, owner: Owner{
			Broker:     bs.Broker(),
			Session:    bs.ID(),
			Epoch:      epoch,
			Starts:     pruned(withEpoch(t.View.Owner.Starts, epoch, t.First), t.View.Manifest.LogStart),
			Durability: durability,
		}})
	}
	return s.changeOwners(ctx, "take partitions", bs, changes)
}

func checkTake(bs *BrokerSession, t Take) error {
	owner := t.View.Owner
	switch {
	// The view says at one revision whose session is gone and where the log ends;
	// an older one than our own session could miss commits of the one before. [one-revision]
	case t.View.Revision < int64(bs.ID()):
		return fmt.Errorf("%w: view of revision %d is older than session %d", ErrInvalid, t.View.Revision, bs.ID())
	case t.View.OwnerAlive && owner.Session != bs.ID():
		return fmt.Errorf("%w: session %d of broker %d owns it", ErrInvalid, owner.Session, owner.Broker)
	case t.First < t.View.Next():
		return fmt.Errorf("%w: epoch would begin at %d, but offsets below %d are committed", ErrInvalid, t.First, t.View.Next())
	}
	return nil
}

// Release gives up those of the partitions that the catalog shows to be the
// session's. The caller has stopped accepting for them and knows every commit
// that holds them to be applied. If ctx ends, a release may still arrive: who
// wants to go on with such a partition takes it again, with a new epoch.
func (s *Store) Release(ctx context.Context, bs *BrokerSession, partitions []topic.Partition) error {
	var changes []ownerChange
	s.catalog.View(func(v *View) {
		for _, p := range partitions {
			owner, _ := v.Owner(p)
			if owner.Session != bs.ID() {
				continue
			}
			released := owner
			released.Broker, released.Session = NoBroker, 0
			changes = append(changes, ownerChange{partition: p, seen: owner.ModRevision, owner: released})
		}
	})
	_, err := s.changeOwners(ctx, "release partitions", bs, changes)
	return err
}

// ownerChange is one put of an owner.
type ownerChange struct {
	partition topic.Partition
	seen      int64 // the key's mod_revision that it replaces
	topic     bool  // only if the topic exists
	owner     Owner
}

// changeOwners applies changes in bounded transactions and returns what is
// known to be applied. Changes that can not be any more are left out.
func (s *Store) changeOwners(ctx context.Context, what string, bs *BrokerSession, changes []ownerChange) (map[topic.Partition]Owner, error) {
	applied := make(map[topic.Partition]Owner, len(changes))
	for len(changes) > 0 {
		txn, n := s.packOwners(bs, changes)
		if n == 0 {
			return applied, fmt.Errorf("%s: %s: %w", what, changes[0].partition, kv.ErrTooLarge)
		}
		left, err := s.settleOwners(ctx, what, bs, txn, changes[:n], applied)
		if err != nil {
			return applied, err
		}
		changes = append(left, changes[n:]...)
	}
	return applied, nil
}

// packOwners builds a transaction out of as many changes as fit.
func (s *Store) packOwners(bs *BrokerSession, changes []ownerChange) (txn kv.Txn, n int) {
	txn.If = append(txn.If, bs.alive(s.keys))
	topics := make(map[topic.ID]bool)
	for _, c := range changes {
		put := kv.Put(s.keys.owner(c.partition), encode(c.owner))
		compares := []kv.Compare{{Key: put.Key, ModRevision: c.seen}} // [owner-compare]
		if c.topic && !topics[c.partition.Topic] {
			compares = append(compares, kv.Compare{Key: s.keys.topicID(c.partition.Topic), Exists: true}) // [topic-exists]
		}
		if !fits(txn, len(compares), put) {
			break
		}
		topics[c.partition.Topic] = true
		txn.If = append(txn.If, compares...)
		txn.Then = append(txn.Then, put)
		n++
	}
	return txn, n
}

// settleOwners sends one transaction and adds what it achieved to applied. If
// it was refused, the changes that stand a chance without the others are left.
func (s *Store) settleOwners(
	ctx context.Context, what string, bs *BrokerSession, txn kv.Txn,
	changes []ownerChange, applied map[topic.Partition]Owner,
) (left []ownerChange, err error) {
	result, doubt, err := s.settle(ctx, what, txn)
	if err != nil {
		return nil, err
	}
	if result.Succeeded {
		for _, c := range changes {
			c.owner.ModRevision = result.Revision
			applied[c.partition] = c.owner
		}
		s.caughtUp(ctx, result.Revision)
		return nil, nil
	}
	// What has made a condition fail is for good: revisions do not come back,
	// neither do sessions and topics. So a look after the refusal is enough.
	current, err := s.look(ctx, what, txn)
	if err != nil {
		return nil, inDoubt(doubt, err)
	}
	var latest int64
	for _, c := range changes {
		key := s.keys.owner(c.partition)
		entry := current[key]
		latest = max(latest, entry.ModRevision)
		switch {
		case entry.ModRevision == c.seen:
			if _, exists := current[s.keys.topicID(c.partition.Topic)]; exists || !c.topic {
				left = append(left, c)
			}
		case doubt && string(entry.Value) == string(encode(c.owner)):
			c.owner.ModRevision = entry.ModRevision
			applied[c.partition] = c.owner
		}
	}
	s.caughtUp(ctx, latest)
	if alive := bs.alive(s.keys); !alive.Holds(current[alive.Key].ModRevision) {
		err := bs.fenced("its key is gone or belongs to another session")
		bs.lose(err)
		return nil, inDoubt(doubt, fmt.Errorf("%s: %w", what, err))
	}
	return left, nil
}
