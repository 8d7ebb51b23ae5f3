// Package slots takes the coordinator slots that this broker is to own, has their
// groups served, and gives them back.
//
// A Manager belongs to one session of the broker and starts with nothing
// [new-session-empty]. It follows the catalog. A slot that this broker is wished
// to own and that nobody holds, or somebody whose session is over, it takes at
// once, under its session: all that there is of a group is in the metadata store,
// so no grace has to pass. A slot that another broker is wished to own it gives
// back after its groups have come to rest: nothing is accepted for them any more,
// and what was being written is written [release-after-flush]. Only one that comes
// back again and again is waited for, as with partitions, before it is given any.
//
// A slot that the catalog shows to be this session's, but that is not served, was
// taken or released by a try whose answer was lost. It is taken again, with a new
// epoch, so that the lost try comes to nothing if it comes late
// [doubted-release-retakes].
package slots

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/broker/ownership"
	"github.com/chronik-stream/chronik/metastore"
)

// Wished returns who is to own each slot, at one revision of the metadata;
// metastore.NoBroker for nobody.
type Wished func(v *metastore.View) [metastore.Slots]metastore.BrokerID

// Options are what a Manager is made of.
type Options struct {
	Store   *metastore.Store
	Session *metastore.BrokerSession
	Groups  *group.Coordinator
	Wished  Wished
	// Delay is what ownership.Lives doubles for a broker that comes back again and
	// again, until it is given what others serve. 0: nobody is waited for.
	Delay time.Duration
	Log   *slog.Logger
}

// Manager owns coordinator slots for one session.
type Manager struct {
	Options
	held  map[int]*metastore.HeldSlot
	lives ownership.Lives
}

// New returns a Manager that owns nothing yet.
func New(o Options) *Manager {
	return &Manager{Options: o, held: make(map[int]*metastore.HeldSlot), lives: ownership.Lives{}}
}

const (
	// retry is how long what failed waits, when nothing changes meanwhile.
	retry = time.Second
	// rest keeps a look at the catalog, which changes with every flush, rare.
	rest = 10 * time.Millisecond
	// releaseTime bounds the last release. What it does not achieve, the end of
	// the session does.
	releaseTime = time.Second
)

// Run owns slots until ctx ends, or the session does; then it gives them back.
func (m *Manager) Run(ctx context.Context) {
	defer m.giveBack(ctx)
	for {
		changed := m.Store.Catalog().Changed()
		var timer <-chan time.Time
		wait, err := m.reconcile(ctx)
		if err != nil && ctx.Err() == nil {
			m.Log.Warn("coordinator slots could not be taken or released, trying again", "error", err)
			wait = retry
		}
		if wait > 0 {
			timer = time.After(wait)
		}
		select {
		case <-changed:
		case <-timer:
		case <-m.Session.Done():
			return
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(rest):
		case <-m.Session.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// reconcile looks at the catalog once and does what follows. It returns how long to
// wait for the next look at most, 0 for ever.
func (m *Manager) reconcile(ctx context.Context) (wait time.Duration, err error) {
	take, release, lost, wait := m.look(time.Now())
	m.end(append(slices.Clone(release), lost...))
	for _, n := range lost {
		m.Log.Warn("coordinator slot was lost", "slot", n)
	}
	var failed error
	if len(release) > 0 {
		if failed = m.Store.ReleaseSlots(ctx, m.Session, release); failed == nil {
			m.Log.Info("coordinator slots released", "slots", len(release), "owned", len(m.held))
		}
	}
	if len(take) == 0 {
		return wait, failed
	}
	taken, err := m.Store.TakeSlots(ctx, m.Session, take)
	for n, held := range taken {
		m.held[n] = held
		m.Groups.Begin(n, group.InMetastore(m.Store, held))
	}
	if len(taken) > 0 {
		m.Log.Info("coordinator slots taken", "slots", len(taken), "owned", len(m.held))
	}
	return wait, errors.Join(failed, err)
}

// look finds what is to be done, under one revision [one-revision], and when there
// may be more that no change of the catalog announces.
func (m *Manager) look(now time.Time) (take map[int]metastore.Slot, release, lost []int, wait time.Duration) {
	take = make(map[int]metastore.Slot)
	self := m.Session.Broker()
	m.Store.Catalog().View(func(v *metastore.View) {
		if v.Revision() < int64(m.Session.ID()) {
			return // it may show what a former session of this broker owned as owned by nobody else
		}
		m.lives.See(v, now)
		wished := m.Wished(v)
		for n := range metastore.Slots {
			slot, alive := v.Slot(n)
			held, serving := m.held[n]
			ours := alive && slot.Session == m.Session.ID()
			switch {
			case serving && slot.ModRevision > held.Revision():
				lost = append(lost, n)
			case serving && slot.ModRevision < held.Revision():
				// The catalog does not show yet that it was taken.
			case wished[n] == self && (ours || !alive) && !serving:
				take[n] = slot
			case wished[n] != self && ours:
				left := m.lives.Hold(wished[n], m.Delay, now)
				switch {
				case left <= 0, !serving, v.Draining(self):
					release = append(release, n)
				case wait == 0 || left < wait:
					wait = left
				}
			}
		}
	})
	return take, release, lost, wait
}

// end has the groups of slots come to rest.
func (m *Manager) end(slots []int) {
	var ending sync.WaitGroup
	for _, n := range slots {
		ending.Go(func() { m.Groups.End(n) })
		delete(m.held, n)
	}
	ending.Wait()
}

// giveBack ends all and releases it.
func (m *Manager) giveBack(ctx context.Context) {
	all := slices.Sorted(maps.Keys(m.held))
	m.end(all)
	if len(all) == 0 || !m.Session.Valid() {
		return // a session that is over has nothing to release
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	if err := m.Store.ReleaseSlots(ctx, m.Session, all); err != nil {
		m.Log.Warn("the coordinator slots end with the session", "error", fmt.Errorf("release %d slots: %w", len(all), err))
	}
}
