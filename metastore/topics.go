package metastore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/objstore"
)

// PartitionsMax is how many partitions one topic may have.
const PartitionsMax = 100_000

// CreateTopic creates a topic and returns it as stored. A zero ID or CreatedAt
// is filled in. Errors: ErrTopicExists, topic.ErrInvalidName, ErrInvalid.
//
// That name and id are absent is no condition that fails for good once the topic
// has been created: it may have been deleted again when the transaction, sent a
// second time because an answer was lost, arrives. So it also compares that no
// topic has been deleted since.
func (s *Store) CreateTopic(ctx context.Context, t Topic) (Topic, error) {
	what := fmt.Sprintf("create topic %s", t.Name)
	if err := topic.ValidateName(t.Name); err != nil {
		return Topic{}, fmt.Errorf("%s: %w", what, err)
	}
	if err := checkPartitions(t.Partitions); err != nil {
		return Topic{}, fmt.Errorf("%s: %w", what, err)
	}
	if t.ID.IsZero() {
		t.ID = topic.NewID()
	}
	if t.CreatedAt.IsZero() {
		t.CreatedAt = time.Now().UTC()
	}
	name, id := s.keys.topic(t.Name), s.keys.topicID(t.ID)
	deletions := s.keys.topicDeletions()
	var result kv.TxnResult
	var stored kv.Entry
	var doubt, found bool
	for {
		seen := s.topicDeletions.Load()
		var again bool
		var err error
		result, again, err = s.settle(ctx, what, kv.Txn{
			If:   []kv.Compare{{Key: name}, {Key: id}, {Key: deletions, ModRevision: seen}},
			Then: []kv.Op{kv.Put(name, encode(t)), kv.Put(id, []byte(t.Name))},
			Read: []string{name, deletions},
		})
		doubt = doubt || again
		if err != nil {
			return Topic{}, inDoubt(doubt, err)
		}
		stored, found = result.Read[name]
		now := result.Read[deletions].ModRevision
		if result.Succeeded || found || now == seen {
			break
		}
		s.topicDeletions.Store(now)
		if doubt { // created and deleted by now, or never created
			return Topic{}, fmt.Errorf("%s: a topic was deleted meanwhile, maybe this one: %w", what, kv.ErrUnknownOutcome)
		}
	}
	if !result.Succeeded {
		now, err := decodeTopic(stored)
		switch {
		case !found:
			return Topic{}, inDoubt(doubt, fmt.Errorf("%s: its id %s: %w", what, t.ID, ErrTopicExists))
		case err != nil:
			return Topic{}, inDoubt(doubt, fmt.Errorf("%s: read %s: %w", what, name, err))
		case now.ID != t.ID || !doubt:
			return Topic{}, inDoubt(doubt, fmt.Errorf("%s: %w", what, ErrTopicExists))
		}
	}
	t.ModRevision = stored.ModRevision
	s.caughtUp(ctx, t.ModRevision)
	return t, nil
}

func checkPartitions(n int32) error {
	if n < 1 || n > PartitionsMax {
		return fmt.Errorf("%w: %d partitions, want 1 to %d", ErrInvalid, n, PartitionsMax)
	}
	return nil
}

// UpdateTopic changes a topic by f, which gets a copy to change and may be
// called more than once. Name, id and time of creation stay, and partitions are
// never taken away. Errors: ErrTopicUnknown, ErrInvalid, f's own.
func (s *Store) UpdateTopic(ctx context.Context, name string, f func(*Topic) error) (Topic, error) {
	what := fmt.Sprintf("update topic %s", name)
	entry, err := s.change(ctx, what, s.keys.topic(name), nil, nil, func(old kv.Entry) ([]byte, error) {
		if old.ModRevision == 0 {
			return nil, ErrTopicUnknown
		}
		before, err := decodeTopic(old)
		if err != nil {
			return nil, err
		}
		t := before
		t.Config = maps.Clone(before.Config)
		if t.Config == nil {
			t.Config = make(map[string]string)
		}
		if err := f(&t); err != nil {
			return nil, err
		}
		if t.Name != before.Name || t.ID != before.ID || !t.CreatedAt.Equal(before.CreatedAt) {
			return nil, fmt.Errorf("%w: a topic's name, id and time of creation stay", ErrInvalid)
		}
		if t.Partitions < before.Partitions {
			return nil, fmt.Errorf("%w: %d partitions after %d", ErrInvalid, t.Partitions, before.Partitions)
		}
		if err := checkPartitions(t.Partitions); err != nil {
			return nil, err
		}
		if t.Durability = before.Durability; t.Config[configDurability] != before.Config[configDurability] {
			t.Durability++
		}
		return encode(t), nil
	})
	if err != nil {
		return Topic{}, err
	}
	return decodeTopic(entry)
}

// configDurability is the setting of a topic that says what acknowledged means.
const configDurability = "durability"

// DeleteTopic deletes the topic of that name: see DeleteTopicID.
func (s *Store) DeleteTopic(ctx context.Context, name string) error {
	t, ok := s.catalog.Topic(name)
	if !ok {
		return fmt.Errorf("delete topic %s: %w", name, ErrTopicUnknown)
	}
	return s.DeleteTopicID(ctx, t.ID)
}

// DeleteTopicID deletes a topic. Its name and id go first and at once: from then
// on it is unknown, can be neither taken nor given a manifest, and its ranges
// in segments count as rewritten. Owners and manifests follow in bounded
// transactions; what a crash leaves of them, SweepTopics deletes. The topic's
// objects are marked for deletion by their prefix, as of now: whoever deletes them
// leaves them for a while to fetches and queries that are under way.
func (s *Store) DeleteTopicID(ctx context.Context, id topic.ID) error {
	what := fmt.Sprintf("delete topic %s", id)
	t, ok := s.catalog.TopicByID(id)
	if !ok {
		return fmt.Errorf("%s: %w", what, ErrTopicUnknown)
	}
	name, idKey, deletions := s.keys.topic(t.Name), s.keys.topicID(id), s.keys.topicDeletions()
	objects := Deletion{Object: objstore.PrefixOfTopic(id), NotBefore: time.Now()}
	// The name's key changes with every update of the topic. That it still
	// belongs to this id is what the id's key says: the two are only ever put
	// and deleted together.
	result, doubt, err := s.settle(ctx, what, kv.Txn{
		If: []kv.Compare{{Key: idKey, Exists: true}},
		Then: []kv.Op{
			kv.Delete(idKey), kv.Delete(name), kv.Put(deletions, []byte(id.String())),
			kv.Put(s.keys.deletion(objects.Object), encode(objects)),
		},
		Read: []string{deletions},
	})
	if err != nil {
		return err
	}
	if !result.Succeeded && !doubt {
		return fmt.Errorf("%s: %w", what, ErrTopicUnknown)
	}
	s.topicDeletions.Store(result.Read[deletions].ModRevision)
	s.caughtUp(ctx, result.Revision)
	return s.deletePartitions(ctx, what, func(p topic.Partition) bool { return p.Topic == id })
}

// SweepTopics deletes what is left of deleted topics: owners, manifests and the
// groups' committed offsets. Any node may call it at any time.
func (s *Store) SweepTopics(ctx context.Context) error {
	broken := s.sweepDeletedTopics(ctx, s.keys.underGroups(dirOffsets))
	var unknown map[topic.ID]bool
	s.catalog.View(func(v *View) {
		unknown = make(map[topic.ID]bool)
		for p := range v.partitions {
			if v.topicsByID[p.Topic] == nil {
				unknown[p.Topic] = true
			}
		}
		for id := range v.iceberg {
			if v.topicsByID[id] == nil {
				unknown[id] = true
			}
		}
		for id := range v.vectors {
			if v.topicsByID[id] == nil {
				unknown[id] = true
			}
		}
	})
	return errors.Join(broken, s.deletePartitions(ctx, "sweep deleted topics",
		func(p topic.Partition) bool { return unknown[p.Topic] }))
}

// deletePartitions deletes owners, manifests and reports of damage of those
// partitions, all of deleted topics, that the catalog knows, and what there is
// of their Iceberg tables and vector indexes.
func (s *Store) deletePartitions(ctx context.Context, what string, match func(topic.Partition) bool) error {
	var gone []kv.Op
	s.catalog.View(func(v *View) {
		for p, known := range v.partitions {
			if !match(p) {
				continue
			}
			if known.owner.ModRevision != 0 {
				gone = append(gone, kv.Delete(s.keys.owner(p)))
			}
			if known.manifest.ModRevision != 0 {
				gone = append(gone, kv.Delete(s.keys.manifest(p)))
			}
		}
		for _, key := range v.damagesOf(match) {
			gone = append(gone, kv.Delete(key))
		}
		for id := range v.iceberg {
			if match(topic.Partition{Topic: id}) {
				gone = append(gone, kv.Delete(s.keys.iceberg(id)))
			}
		}
		for id := range v.vectors {
			if match(topic.Partition{Topic: id}) {
				gone = append(gone, kv.Delete(s.keys.vectors(id)))
			}
		}
	})
	return s.writeAll(ctx, what, gone)
}

// writeAll applies operations that hold on their own and may be repeated, in as
// many transactions as it takes.
func (s *Store) writeAll(ctx context.Context, what string, ops []kv.Op) error {
	for len(ops) > 0 {
		txn := kv.Txn{}
		for len(ops) > 0 && fits(txn, 0, ops[0]) {
			txn.Then = append(txn.Then, ops[0])
			ops = ops[1:]
		}
		if len(txn.Then) == 0 {
			return fmt.Errorf("%s: write %s: %w", what, ops[0].Key, kv.ErrTooLarge)
		}
		result, _, err := s.settle(ctx, what, txn)
		if err != nil {
			return err
		}
		s.caughtUp(ctx, result.Revision)
	}
	return nil
}

// fits reports whether some more conditions and operations find room in txn.
func fits(txn kv.Txn, conditions int, ops ...kv.Op) bool {
	txn.Then = append(txn.Then[:len(txn.Then):len(txn.Then)], ops...)
	const conditionBytesMax = 512 // a key of ours and what comes with it
	return len(txn.If)+conditions <= kv.TxnOperationsMax &&
		txn.Operations() <= kv.TxnOperationsMax &&
		txn.Bytes()+conditions*conditionBytesMax <= kv.TxnBytesMax
}
