package group

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// storeWait is how long an answer waits for the state that it tells of to be
	// stored, and a request for its group to be read. The write goes on after it.
	storeWait = 5 * time.Second
	// idleKept is how long a group without members is remembered after somebody
	// used it, so that its commits need not read it each time.
	idleKept = 30 * time.Second
)

// running is a group in memory, from when it is read until it is forgotten:
// because nobody is in it, because its slot goes to another broker or is lost, or
// because somebody else wrote it.
//
// Whatever a step changes of the durable part makes a new version of the state.
// One writer at a time stores it; versions that come meanwhile are one write
// together. An answer that tells of a version waits until that is stored.
type running struct {
	name string
	term *term

	ready chan struct{} // closed when it is read, or cannot be
	over  chan struct{} // closed when gone

	mu      sync.Mutex
	kind    kind // nil: the group does not exist
	record  Record
	timer   *time.Timer
	used    time.Time // when a request came last
	gone    error     // why it is not to be used any more
	changed bool      // besides what kind.Changed tells
	version int64     // of the state
	stored  int64     // the newest version that is certainly stored
	writing bool
	waiting []waiter      // in the order of their versions
	told    []func(error) // of the step under way: to wait for what it leaves
	held    chan struct{} // closed when requests may take steps again; nil: they may
	retired bool          // no step is taken any more; what is being stored is its end
}

// waiter is somebody who waits for a version to be stored.
type waiter struct {
	version int64
	until   time.Time
	tell    func(error) // does not block
}

// become replaces the group's state by another kind of it, or by none.
func (g *running) become(k kind) { g.kind, g.changed = k, true }

// after does what follows a step: notes a new version and has it stored, gives
// the answers, and sets the timer. g.mu is held.
func (g *running) after(now time.Time) {
	changed := g.changed
	g.changed = false
	var answers []Answer
	if g.kind != nil {
		changed = g.kind.Changed() || changed
		answers = g.kind.Take()
	}
	if changed {
		g.version++
	}
	for _, a := range answers {
		if a.Err != nil {
			a.To <- a // tells of nothing that could be lost
			continue
		}
		g.wait(now, func(err error) {
			if err != nil {
				a = Answer{To: a.To, Joined: Joined{Generation: -1, MemberID: a.Joined.MemberID}, Err: err}
			}
			a.To <- a
		})
	}
	for _, tell := range g.told {
		g.wait(now, tell)
	}
	g.told = nil
	if g.version > g.stored && !g.writing {
		g.writing = true
		g.term.tasks.Go(g.write)
	}
	g.setTimer(now)
}

// wait has tell called when all that the state is now is stored, or is not in time.
func (g *running) wait(now time.Time, tell func(error)) {
	if g.stored >= g.version {
		tell(nil)
		return
	}
	g.waiting = append(g.waiting, waiter{g.version, now.Add(storeWait), tell})
}

// settle tells those whose version is stored, and those whose time is over.
func (g *running) settle(now time.Time) {
	left := g.waiting[:0]
	for _, w := range g.waiting {
		switch {
		case w.version <= g.stored:
			w.tell(nil)
		case !now.Before(w.until):
			g.term.coordinator.metrics.late.Inc()
			w.tell(ErrNotStored)
		default:
			left = append(left, w)
		}
	}
	clear(g.waiting[len(left):])
	g.waiting = left
}

// idle reports whether nothing is lost when the group is forgotten.
func (g *running) idle() bool {
	return (g.kind == nil || g.kind.Idle()) && g.stored >= g.version && !g.writing && len(g.waiting) == 0 && g.held == nil
}

// hold keeps requests away from the group until release: what a step has found
// stays true meanwhile. g.mu is held.
func (g *running) hold() { g.held = make(chan struct{}) }

func (g *running) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.held)
	g.held = nil
	if g.gone == nil {
		g.setTimer(time.Now())
	}
}

// free waits until held is closed: ErrLoading when that takes too long.
func (g *running) free(ctx context.Context, held <-chan struct{}) error {
	timeout := time.NewTimer(storeWait)
	defer timeout.Stop()
	select {
	case <-held:
	case <-g.over:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrLoading, ctx.Err())
	case <-timeout.C:
		return ErrLoading
	}
	return nil
}

func (g *running) setTimer(now time.Time) {
	var next time.Time
	if g.kind != nil {
		next = g.kind.Next()
	}
	if len(g.waiting) > 0 && (next.IsZero() || g.waiting[0].until.Before(next)) {
		next = g.waiting[0].until
	}
	if g.idle() {
		next = g.used.Add(idleKept)
	}
	if next.IsZero() {
		g.timer.Stop()
		return
	}
	g.timer.Reset(next.Sub(now))
}

// write stores the newest version until there is no newer one.
func (g *running) write() {
	for {
		g.mu.Lock()
		if g.gone != nil || g.stored >= g.version {
			g.writing = false
			if g.gone == nil && g.retired {
				g.dropLocked(ErrNotCoordinator)
			} else if g.gone == nil {
				g.setTimer(time.Now())
			}
			g.mu.Unlock()
			return
		}
		version := g.version
		var state Stored
		if g.kind != nil {
			state = g.kind.Durable()
		}
		g.mu.Unlock()

		// Members learn of a generation when no commit of an earlier one is under
		// way any more: who goes on with a partition reads what was committed last.
		if busy := g.term.commits.settled(g.name); busy != nil {
			select {
			case <-busy:
			case <-g.term.life.Done():
			}
		}
		err := g.record.Write(g.term.life, state)

		g.mu.Lock()
		if err != nil {
			g.mu.Unlock()
			g.term.coordinator.metrics.writes.WithLabelValues("failed").Inc()
			if g.term.life.Err() == nil {
				g.term.coordinator.log.Warn("a group's state could not be stored, it is read again", "group", g.name, "error", err)
			}
			g.drop(fmt.Errorf("%w: %w", ErrNotStored, err))
			return
		}
		g.term.coordinator.metrics.writes.WithLabelValues("stored").Inc()
		g.stored = version
		g.settle(time.Now())
		g.mu.Unlock()
	}
}

// drop forgets the group and refuses whoever waits with err.
func (g *running) drop(err error) {
	g.term.forget(g)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dropLocked(err)
}

// retire ends the group when what is being stored is stored. Requests that wait
// for members, and not for the store, are not waited for.
func (g *running) retire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.retired = true
	if !g.writing {
		g.dropLocked(ErrNotCoordinator)
	}
}

// refuse is drop for a group that cannot be read. It is forgotten a moment later:
// until then who asks for it gets err, and does not have it read again.
func (g *running) refuse(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dropLocked(err)
	time.AfterFunc(loadPause, func() { g.term.forget(g) })
}

func (g *running) dropLocked(err error) {
	if g.gone != nil {
		return
	}
	g.gone = err
	if g.timer != nil {
		g.timer.Stop()
	}
	for _, w := range g.waiting {
		w.tell(err)
	}
	g.waiting = nil
	close(g.over)
}

// awake is what the timer does.
func (g *running) awake() {
	g.mu.Lock()
	if g.gone != nil || g.retired {
		g.mu.Unlock()
		return
	}
	now := time.Now()
	g.settle(now)
	if g.idle() && !now.Before(g.used.Add(idleKept)) {
		g.dropLocked(errForgotten)
		g.mu.Unlock()
		g.term.forget(g)
		return
	}
	defer g.mu.Unlock()
	g.step(now, func() {
		if g.kind != nil {
			g.kind.Expire(now)
		}
	})
}

// step runs f and what follows it. g.mu is held.
func (g *running) step(now time.Time, f func()) {
	var before, after Summary
	if g.kind != nil {
		before = g.kind.Summary()
	}
	f()
	g.logGone()
	g.downgrade(now)
	if g.kind != nil {
		after = g.kind.Summary()
	}
	g.after(now)
	if after.Phase != before.Phase && after.Phase == Preparing {
		g.term.coordinator.metrics.rebalances.Inc()
		g.term.coordinator.log.Info("group rebalances", "group", g.name, "generation", after.Generation, "members", after.Members, "reason", after.Reason)
	}
	if after.Phase != before.Phase && (after.Phase == Stable || after.Phase == Empty) {
		g.term.coordinator.log.Info("group settled", "group", g.name, "kind", after.Kind, "phase", string(after.Phase),
			"generation", after.Generation, "members", after.Members)
	}
}

// load reads the group.
func (g *running) load() {
	defer close(g.ready)
	record, err := g.term.storage.LoadGroup(g.term.life, g.name)
	now := time.Now()
	var k kind
	if err == nil {
		k, err = restore(record.State(), g.term.coordinator.limitsOf(g.name), now)
	}
	if err != nil {
		if g.term.life.Err() == nil {
			g.term.coordinator.log.Error("a group cannot be read", "group", g.name, "error", err)
		}
		g.refuse(err)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone != nil || g.retired {
		g.dropLocked(ErrNotCoordinator)
		return
	}
	g.record, g.kind = record, k
	g.timer = time.AfterFunc(time.Hour, g.awake)
	g.setTimer(now)
}
