package sim

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// climate is what a seam does to a node's calls.
type climate struct {
	least, most time.Duration // one way
	slow        float64       // chance to take a hundred times as long
	failBefore  float64       // an error without an effect
	failAfter   float64       // an effect, and an error
	lose        float64       // neither an effect nor an answer
	late        float64       // an error, and an effect much later
	lateMax     time.Duration
}

// The seams.
const (
	seamKV     = "kv"
	seamBucket = "bucket"
	seamDisk   = "disk"
	seamNet    = "net"

	seamProvider = "provider"
)

var fair = map[string]climate{
	seamKV:     {least: 200 * time.Microsecond, most: 3 * time.Millisecond, slow: 0.002},
	seamBucket: {least: 2 * time.Millisecond, most: 40 * time.Millisecond, slow: 0.005},
	seamDisk:   {least: 100 * time.Microsecond, most: 3 * time.Millisecond, slow: 0.002},
	seamNet:    {least: 50 * time.Microsecond, most: 2 * time.Millisecond, slow: 0.0005},

	seamProvider: {least: 5 * time.Millisecond, most: 100 * time.Millisecond, slow: 0.01},
}

// life is one process: from its start to its end or death.
type life struct {
	world *World
	name  string // of the node

	mu      sync.Mutex
	dead    chan struct{}
	paused  time.Duration // until when nothing comes in or goes out
	weather map[string]climate
	conns   map[*conn]bool
}

func (w *World) newLife(name string) *life {
	l := &life{world: w, name: name, dead: make(chan struct{}), weather: map[string]climate{}, conns: map[*conn]bool{}}
	return l
}

func (l *life) isDead() bool {
	select {
	case <-l.dead:
		return true
	default:
		return false
	}
}

// die ends the process as kill -9 does: nothing it still does has any effect.
func (l *life) die() {
	l.mu.Lock()
	select {
	case <-l.dead:
		l.mu.Unlock()
		return
	default:
	}
	close(l.dead)
	conns := l.conns
	l.conns = map[*conn]bool{}
	l.mu.Unlock()
	for _, c := range slices.SortedFunc(maps.Keys(conns), func(a, b *conn) int { return cmp.Compare(a.name, b.name) }) {
		c.reset()
	}
}

// use sets the weather of a seam; nil is fair.
func (l *life) use(seam string, c *climate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c == nil {
		delete(l.weather, seam)
		return
	}
	l.weather[seam] = *c
}

// pause holds everything that comes in or goes out until then.
func (l *life) pause(until time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = until
}

func (l *life) state(seam string) (climate, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, ok := l.weather[seam]
	if !ok {
		c = fair[seam]
	}
	return c, l.paused
}

// outcome is how a call ended.
type outcome int

const (
	done     outcome = iota
	refused          // certainly without effect
	doubtful         // nobody knows
)

var errDead = errors.New("this process is dead")

// call is one call of a seam.
type call struct {
	l        *life
	seam     string
	what     string
	effect   func()
	answered chan struct{}
	outcome  outcome
}

// do takes a call through the scheduler. effect runs in the scheduler, and must
// not wait for anything; it may run after do has returned doubtful.
func (l *life) do(ctx context.Context, seam, what string, effect func()) (outcome, error) {
	if err := ctx.Err(); err != nil {
		return refused, err
	}
	if l.isDead() {
		// Who goes on without a pause would stop virtual time.
		pass(context.WithoutCancel(ctx), time.Millisecond)
		return refused, errDead
	}
	c := &call{l: l, seam: seam, what: what, effect: effect, answered: make(chan struct{})}
	l.world.sched.arrive(l.name+" "+seam+" "+what, c.draw)
	select {
	case <-c.answered:
		if c.outcome != done {
			return c.outcome, errors.New("injected failure")
		}
		return done, nil
	case <-ctx.Done():
		return doubtful, ctx.Err()
	case <-l.dead:
		return doubtful, errDead
	}
}

// draw decides what becomes of a call.
func (c *call) draw() {
	s := c.l.world.sched
	w, paused := c.l.state(c.seam)
	before, after := s.between(w.least, w.most), s.between(w.least, w.most)
	if s.chance(w.slow) {
		before *= 100
	}
	if s.chance(w.slow) {
		after *= 100
	}
	// What a process sends that does not run goes out when it runs again.
	if rest := paused - s.now(); rest > 0 {
		before += rest
	}
	switch {
	case s.chance(w.failBefore):
		s.in(before, func() { c.answer(refused, "refused") })
	case s.chance(w.lose):
		s.in(before+100*after, func() { c.answer(doubtful, "lost") })
	case s.chance(w.failAfter):
		s.in(before, func() { c.apply("applied") })
		s.in(before+after, func() { c.answer(doubtful, "its answer is lost") })
	case s.chance(w.late):
		s.in(before+after, func() { c.answer(doubtful, "is late") })
		s.in(before+s.between(0, w.lateMax), func() { c.apply("applied late") })
	default:
		s.in(before, func() { c.apply("applied") })
		s.in(before+after, func() { c.answer(done, "") })
	}
}

func (c *call) apply(how string) {
	s := c.l.world.sched
	if c.l.isDead() && s.chance(0.5) {
		return // it had not left the machine
	}
	s.trace.add(s.now(), "%s %s %s: %s", c.l.name, c.seam, c.what, how)
	c.effect()
}

func (c *call) answer(o outcome, how string) {
	s := c.l.world.sched
	if _, paused := c.l.state(c.seam); paused > s.now() {
		s.at(paused+s.between(1, time.Millisecond), func() { c.answer(o, how) })
		return
	}
	if how != "" {
		s.trace.add(s.now(), "%s %s %s: %s", c.l.name, c.seam, c.what, how)
	}
	c.outcome = o
	close(c.answered)
}
