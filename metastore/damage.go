package metastore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/objstore"
)

// DamagesMax bounds the objects that are reported at once. A bucket that loses
// more has lost more than files that can be made again.
const DamagesMax = 1000

// damageReasonMax bounds the text of a report, in bytes.
const damageReasonMax = 500

// Damage is the value of damaged/<object>: somebody found a file that is derived
// from a partition's log damaged or missing. A compactor looks for itself, makes
// the file again where that is true, and deletes the key.
type Damage struct {
	Object string    `json:"object"`
	Reason string    `json:"reason"` // for people
	Found  time.Time `json:"found"`

	// Lost says why the file cannot be made again: the log does not have what was
	// in it. Empty: nobody has tried yet.
	Lost   string    `json:"lost,omitempty"`
	LostAt time.Time `json:"lost_at,omitzero"` // of the last attempt

	ModRevision int64 `json:"-"`
}

// ReportDamage says that a file of a partition is damaged or missing. What is
// reported already, and files of a topic that is gone, change nothing. Errors:
// ErrInvalid for the name of anything but such a file, and when DamagesMax
// objects are reported.
func (s *Store) ReportDamage(ctx context.Context, object, reason string) error {
	what := "report damage of " + object
	name, err := objstore.ParseName(object)
	if err != nil || !name.OfPartition() {
		return fmt.Errorf("%s: %w: no file of a partition", what, ErrInvalid)
	}
	known, total := false, 0
	s.catalog.View(func(v *View) {
		total = v.damages
		known = slices.ContainsFunc(v.Partition(name.Partition).Damaged, func(d Damage) bool { return d.Object == object })
	})
	if known {
		return nil
	}
	if total >= DamagesMax {
		return fmt.Errorf("%s: %w: %d others are reported", what, ErrInvalid, total)
	}
	reason = strings.ToValidUTF8(reason[:min(len(reason), damageReasonMax)], "")
	key := s.keys.damage(object)
	result, _, err := s.settle(ctx, what, kv.Txn{
		If:   []kv.Compare{{Key: key}, {Key: s.keys.topicID(name.Partition.Topic), Exists: true}}, // [topic-exists]
		Then: []kv.Op{kv.Put(key, encode(Damage{Object: object, Reason: reason, Found: time.Now().UTC()}))},
	})
	if err != nil {
		return err
	}
	s.caughtUp(ctx, result.Revision)
	return nil
}

// LoseDamage notes in a report why its file cannot be made again. A report that
// is gone or was changed meanwhile stays as it is.
func (s *Store) LoseDamage(ctx context.Context, d Damage, why string, at time.Time) error {
	what := "note that " + d.Object + " is lost"
	key := s.keys.damage(d.Object)
	seen := d.ModRevision
	d.Lost, d.LostAt = strings.ToValidUTF8(why[:min(len(why), damageReasonMax)], ""), at.UTC()
	result, _, err := s.settle(ctx, what, kv.Txn{
		If:   []kv.Compare{{Key: key, ModRevision: seen}},
		Then: []kv.Op{kv.Put(key, encode(d))},
	})
	if err != nil {
		return err
	}
	s.caughtUp(ctx, result.Revision)
	return nil
}

// ClearDamage deletes the reports of objects.
func (s *Store) ClearDamage(ctx context.Context, objects ...string) error {
	ops := make([]kv.Op, len(objects))
	for i, object := range objects {
		ops[i] = kv.Delete(s.keys.damage(object))
	}
	return s.writeAll(ctx, "clear reports of damage", ops)
}

// Damaged returns all reports, sorted by object.
func (v *View) Damaged() []Damage {
	var all []Damage
	for _, p := range v.partitions {
		all = append(all, p.damaged...)
	}
	slices.SortFunc(all, func(a, b Damage) int { return strings.Compare(a.Object, b.Object) })
	return all
}

// applyDamage changes the reports of a partition, which readers share.
func (v *View) applyDamage(object string, e kv.Event) error {
	name, err := objstore.ParseName(object)
	if err != nil || !name.OfPartition() {
		return nil // of a later version
	}
	known := v.of(name.Partition)
	same := func(d Damage) bool { return d.Object == object }
	before := len(known.damaged)
	damaged := slices.DeleteFunc(slices.Clone(known.damaged), same)
	if !e.Deleted {
		d := Damage{ModRevision: e.ModRevision}
		if err := decode(e.Entry, &d); err != nil {
			return err
		}
		d.Object = object
		damaged = append(damaged, d)
	}
	known.damaged = damaged
	v.damages += len(damaged) - before
	v.tidy(name.Partition)
	return nil
}

// damagesOf are the keys of the reports of partitions.
func (v *View) damagesOf(match func(topic.Partition) bool) (keys []string) {
	for p, known := range v.partitions {
		if match(p) {
			for _, d := range known.damaged {
				keys = append(keys, v.keys.damage(d.Object))
			}
		}
	}
	return keys
}
