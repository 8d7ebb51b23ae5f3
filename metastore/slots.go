package metastore

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/chronik-stream/chronik/metastore/kv"
)

// Slots is how many coordinator slots there are. Groups are shared out over them
// by name, and they over the brokers, as partitions are. The number is part of
// the keys of groups.
const Slots = 64

// SlotOf is the slot that a group belongs to.
func SlotOf(group string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(group)) // writing to a hash never fails
	sum := h.Sum32()
	return int((sum ^ sum>>16) % Slots) // the low bits of FNV alone see the low bits of the name only
}

// Slot is the value of slots/<n>: who coordinates the groups of a slot. The key
// is never deleted, so its mod_revision names one ownership for ever.
type Slot struct {
	Broker  BrokerID `json:"broker"`  // -1: released
	Session Session  `json:"session"` // of the broker that owns it; 0: released
	Epoch   int64    `json:"epoch"`   // counts the ownerships, from 1

	ModRevision int64 `json:"-"` // 0: nobody ever owned it
}

// HeldSlot is one ownership of a slot. What is written of the slot's groups
// compares its revision, so nothing of it is applied once the slot was released
// or taken again, by whomever. All methods may be called at once.
type HeldSlot struct {
	session  *BrokerSession
	slot     int
	epoch    int64
	revision int64

	mu    sync.Mutex
	twins map[string]bool // keys that a lost try of this ownership may still put where there is none
}

// noteTwins remembers what a transaction, of which a try was lost, would put where
// there was nothing. That condition holds again once such a key is deleted, and
// the lost try could bring back what it held: so the key stays while this
// ownership lasts.
func (h *HeldSlot) noteTwins(conditions []kv.Compare) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range conditions {
		if c.ModRevision != 0 {
			continue
		}
		if h.twins == nil {
			h.twins = make(map[string]bool)
		}
		h.twins[c.Key] = true
	}
}

// twin tells whether a key must not be deleted under this ownership.
func (h *HeldSlot) twin(key string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.twins[key]
}

// Slot is the slot's number.
func (h *HeldSlot) Slot() int { return h.slot }

// Epoch counts the ownerships of the slot.
func (h *HeldSlot) Epoch() int64 { return h.epoch }

// Revision names the ownership: that of the catalog in which the slot shows it.
func (h *HeldSlot) Revision() int64 { return h.revision }

// Valid reports whether the session under which the slot was taken certainly
// lives now, so that nobody else can have come to own it against its will.
func (h *HeldSlot) Valid() bool { return h.session.Valid() }

// owned is the condition that every write of the slot's groups carries. [slot-compare]
func (h *HeldSlot) owned(k keys) kv.Compare {
	return kv.Compare{Key: k.slot(h.slot), ModRevision: h.revision}
}

// checkHeld returns ErrSlotLost once the ownership is over.
func (s *Store) checkHeld(ctx context.Context, h *HeldSlot) error {
	owned := h.owned(s.keys)
	entry, _, err := s.kv.Get(ctx, owned.Key)
	if err == nil && !owned.Holds(entry.ModRevision) {
		err = h.lost()
	}
	return err
}

// lost is the error of an ownership that is over.
func (h *HeldSlot) lost() error {
	return fmt.Errorf("epoch %d of coordinator slot %d: %w", h.epoch, h.slot, ErrSlotLost)
}

// Slot returns who owns a slot, and whether the owner's session is alive.
func (v *View) Slot(n int) (slot Slot, alive bool) {
	slot = v.slots[n]
	return slot, slot.Session != 0 && v.brokers[slot.Broker].Session == slot.Session
}

// Slot is View.Slot.
func (c *Catalog) Slot(n int) (slot Slot, alive bool) {
	c.View(func(v *View) { slot, alive = v.Slot(n) })
	return slot, alive
}

func (v *View) applySlot(rest string, e kv.Event) error {
	n, err := strconv.Atoi(rest)
	if err != nil || n < 0 || n >= Slots {
		return fmt.Errorf("slot %q: want a number below %d", rest, Slots)
	}
	var s Slot
	if !e.Deleted { // which nobody does
		if err := decode(e.Entry, &s); err != nil {
			return err
		}
		s.ModRevision = e.ModRevision
	}
	v.slots[n] = s
	return nil
}

// TakeSlots makes the broker the owner of slots, which it has seen as the map
// says, each with the epoch after its last, and returns those it got. One that is
// missing was changed by somebody else; the catalog shows it. A slot of another
// session that lives is ErrInvalid. If ctx ends, the slots may be taken all the
// same: they are to be taken again, with a new epoch, before they are served.
// [doubted-release-retakes]
func (s *Store) TakeSlots(ctx context.Context, bs *BrokerSession, seen map[int]Slot) (map[int]*HeldSlot, error) {
	changes := make(map[int]Slot, len(seen))
	for n, old := range seen {
		if old.Session != 0 && old.Session != bs.ID() {
			if b, alive := s.catalog.Broker(old.Broker); alive && b.Session == old.Session {
				return nil, fmt.Errorf("take coordinator slot %d: %w: session %d of broker %d owns it", n, ErrInvalid, old.Session, old.Broker)
			}
		}
		changes[n] = Slot{Broker: bs.Broker(), Session: bs.ID(), Epoch: old.Epoch + 1, ModRevision: old.ModRevision}
	}
	applied, err := s.changeSlots(ctx, "take coordinator slots", bs, changes)
	held := make(map[int]*HeldSlot, len(applied))
	for n, slot := range applied {
		held[n] = &HeldSlot{session: bs, slot: n, epoch: slot.Epoch, revision: slot.ModRevision}
	}
	return held, err
}

// ReleaseSlots gives slots up. The caller does not serve them any more. Those
// that the catalog does not show to be the session's are left out; of the others
// none is this session's afterwards, unless an error says that it is not known.
func (s *Store) ReleaseSlots(ctx context.Context, bs *BrokerSession, slots []int) error {
	changes := make(map[int]Slot, len(slots))
	s.catalog.View(func(v *View) {
		for _, n := range slots {
			old, _ := v.Slot(n)
			if old.Session == bs.ID() {
				changes[n] = Slot{Broker: NoBroker, Epoch: old.Epoch, ModRevision: old.ModRevision}
			}
		}
	})
	_, err := s.changeSlots(ctx, "release coordinator slots", bs, changes)
	return err
}

// changeSlots replaces slots, all in one transaction, and returns what is known
// to be applied. The changes' ModRevision is that of what they replace.
func (s *Store) changeSlots(ctx context.Context, what string, bs *BrokerSession, changes map[int]Slot) (map[int]Slot, error) {
	applied := make(map[int]Slot, len(changes))
	left := slices.Sorted(maps.Keys(changes))
	alive := bs.alive(s.keys)
	for len(left) > 0 {
		txn := kv.Txn{If: []kv.Compare{alive}}
		for _, n := range left {
			txn.If = append(txn.If, kv.Compare{Key: s.keys.slot(n), ModRevision: changes[n].ModRevision}) // [owner-compare]
			txn.Then = append(txn.Then, kv.Put(s.keys.slot(n), encode(changes[n])))
		}
		result, doubt, err := s.settle(ctx, what, txn)
		if err != nil {
			return applied, err
		}
		if result.Succeeded {
			for _, n := range left {
				slot := changes[n]
				slot.ModRevision = result.Revision
				applied[n] = slot
			}
			s.caughtUp(ctx, result.Revision)
			return applied, nil
		}
		// As with owners: what has made a condition fail is for good.
		current, err := s.look(ctx, what, txn)
		if err != nil {
			return applied, inDoubt(doubt, err)
		}
		var latest int64
		var again []int
		for _, n := range left {
			entry := current[s.keys.slot(n)]
			latest = max(latest, entry.ModRevision)
			switch {
			case entry.ModRevision == changes[n].ModRevision:
				again = append(again, n)
			case doubt && string(entry.Value) == string(encode(changes[n])):
				slot := changes[n]
				slot.ModRevision = entry.ModRevision
				applied[n] = slot
			}
		}
		s.caughtUp(ctx, latest)
		if !alive.Holds(current[alive.Key].ModRevision) {
			err := bs.fenced("its key is gone or belongs to another session")
			bs.lose(err)
			return applied, inDoubt(doubt, fmt.Errorf("%s: %w", what, err))
		}
		left = again
	}
	return applied, nil
}
