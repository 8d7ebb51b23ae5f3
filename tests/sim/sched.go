package sim

import (
	"cmp"
	"container/heap"
	"math/rand/v2"
	"regexp"
	"slices"
	"sync"
	"testing/synctest"
	"time"
)

// scheduler lets one seam call after the other go on.
type scheduler struct {
	rng   *rand.Rand // its own goroutine's
	born  time.Time
	trace *trace
	after func() // called when everything has settled after an event

	mu      sync.Mutex
	arrived []*arrival
	wake    chan struct{}
	ended   chan struct{}
	ending  bool

	queue queue
	order int64
	rests int
}

// arrival is something that has come to a seam and of which nothing is decided.
type arrival struct {
	key  string // orders those that come at once
	draw func() // decides; runs in the scheduler
}

// event is something that is decided.
type event struct {
	due   time.Duration
	order int64
	run   func()
}

type queue []*event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].due, q[j].due), cmp.Compare(q[i].order, q[j].order)) < 0
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*event)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

func newScheduler(seed uint64, tr *trace) *scheduler {
	s := &scheduler{
		rng: rand.New(rand.NewPCG(seed, 1)), born: time.Now(), trace: tr, after: func() {},
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	go s.run()
	return s
}

// now is the virtual time since the world began.
func (s *scheduler) now() time.Duration { return time.Since(s.born) }

// arrive hands in something to be decided when everything else has come to rest.
func (s *scheduler) arrive(key string, draw func()) {
	s.mu.Lock()
	s.arrived = append(s.arrived, &arrival{key, draw})
	s.mu.Unlock()
	s.poke()
}

func (s *scheduler) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// at plans an event. Only the scheduler's goroutine may call it.
func (s *scheduler) at(due time.Duration, run func()) {
	s.order++
	heap.Push(&s.queue, &event{due, s.order, run})
}

// in plans an event a while from now. Only the scheduler's goroutine may call it.
func (s *scheduler) in(d time.Duration, run func()) { s.at(s.now()+d, run) }

// between draws a time, to the nanosecond, so that hardly ever two are equal.
// Only the scheduler's goroutine may call it.
func (s *scheduler) between(least, most time.Duration) time.Duration {
	return least + time.Duration(s.rng.Int64N(int64(most-least)+1))
}

// chance draws whether something of that probability happens.
func (s *scheduler) chance(p float64) bool { return p > 0 && s.rng.Float64() < p }

func (s *scheduler) run() {
	defer close(s.ended)
	for {
		synctest.Wait()
		s.rests++
		collect(s.rests)
		s.after()
		s.mu.Lock()
		arrived, ending := s.arrived, s.ending
		s.arrived = nil
		s.mu.Unlock()
		slices.SortStableFunc(arrived, func(a, b *arrival) int { return cmp.Compare(a.key, b.key) })
		for _, a := range arrived {
			a.draw()
		}
		if len(s.queue) == 0 {
			if ending && len(arrived) == 0 {
				return
			}
			if len(arrived) == 0 {
				<-s.wake
			}
			continue
		}
		wait := s.queue[0].due - s.now()
		if wait <= 0 {
			heap.Pop(&s.queue).(*event).run()
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.wake:
			timer.Stop()
		}
	}
}

// end returns when nothing is planned any more.
func (s *scheduler) end() {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	s.poke()
	<-s.ended
}

// made are names that are random by design: a run must not depend on them.
var made = regexp.MustCompile(`[0-9A-HJKMNP-TV-Z]{26}|[0-9a-f]{32}`)

// normal is a name without what is random in it.
func normal(name string) string { return made.ReplaceAllString(name, "*") }
