package sim

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/metastore"
)

// trouble is what can befall a cluster. Each seed has a choice of these.
type trouble struct {
	name string
	// strike begins it, and returns what is to be done to end it, which may be nil.
	strike func(w *World, s *server) (heal func())
	lasts  [2]time.Duration
	whom   whom
}

// whom a trouble befalls.
type whom int

const (
	anybody   whom = iota
	brokers        // only
	embedders      // whoever asks the provider of embeddings
)

// storm is weather for one seam of one process.
func storm(seam string, c climate) func(*World, *server) func() {
	return func(w *World, s *server) func() {
		l := s.current()
		if l == nil {
			return nil
		}
		mixed := c
		if mixed.most == 0 {
			mixed.least, mixed.most = fair[seam].least, fair[seam].most
		}
		l.use(seam, &mixed)
		return func() { l.use(seam, nil) }
	}
}

func kill(power bool) func(*World, *server) func() {
	return func(w *World, s *server) func() {
		if s.current() == nil {
			return nil
		}
		if power {
			s.powerLoss()
		} else {
			s.down(true)
		}
		return s.up
	}
}

const second = time.Second

func troubles() []trouble {
	return []trouble{
		{"kill -9", kill(false), [2]time.Duration{second / 10, 20 * second}, anybody},
		{"power loss", kill(true), [2]time.Duration{second / 10, 20 * second}, anybody},
		{"restart", func(w *World, s *server) func() {
			s.down(false)
			return s.up
		}, [2]time.Duration{second / 10, 5 * second}, anybody},
		{"pause", func(w *World, s *server) func() {
			if l := s.current(); l != nil {
				l.pause(w.sched.now() + between(s.rng, 100*time.Millisecond, 25*second))
			}
			return nil
		}, [2]time.Duration{second, 2 * second}, anybody},
		{"metadata store unreliable", storm(seamKV, climate{failBefore: 0.1, failAfter: 0.1, lose: 0.05, late: 0.1, lateMax: 40 * second}), [2]time.Duration{second, 30 * second}, anybody},
		{"metadata store late", storm(seamKV, climate{late: 0.5, lateMax: 40 * second}), [2]time.Duration{second, 20 * second}, anybody},
		{"metadata store only late", storm(seamKV, climate{late: 1, lateMax: 40 * second}), [2]time.Duration{5 * second, 30 * second}, brokers},
		{"metadata store slow", storm(seamKV, climate{least: 100 * time.Millisecond, most: 3 * second}), [2]time.Duration{second, 30 * second}, anybody},
		{"metadata store away", storm(seamKV, climate{lose: 0.7, failBefore: 1}), [2]time.Duration{second, 25 * second}, anybody},
		{"bucket unreliable", storm(seamBucket, climate{failBefore: 0.2, failAfter: 0.2, lose: 0.05}), [2]time.Duration{second, 30 * second}, anybody},
		{"bucket slow", storm(seamBucket, climate{least: 500 * time.Millisecond, most: 10 * second}), [2]time.Duration{second, 30 * second}, anybody},
		{"bucket away", storm(seamBucket, climate{failBefore: 1}), [2]time.Duration{second, 60 * second}, anybody},
		{"disk slow", storm(seamDisk, climate{least: 50 * time.Millisecond, most: 15 * second}), [2]time.Duration{second, 10 * second}, brokers},
		{"disk fails", storm(seamDisk, climate{failBefore: 0.1, failAfter: 0.2}), [2]time.Duration{second, 5 * second}, brokers},
		{"network unreliable", storm(seamNet, climate{lose: 0.02, slow: 0.02}), [2]time.Duration{second, 30 * second}, brokers},
		{"drain", func(w *World, s *server) func() {
			w.drain(s.id, true)
			return func() { w.drain(s.id, false) }
		}, [2]time.Duration{second, 30 * second}, brokers},
		{"network cut", func(w *World, s *server) func() {
			others := []string{"p1", "p2", "p3", "r1", "r2", "g1", "b1", "b2", "b3"}
			other := others[s.rng.IntN(len(others))]
			w.net.sever(s.name, other, true)
			return func() { w.net.sever(s.name, other, false) }
		}, [2]time.Duration{second, 30 * second}, brokers},
	}
}

// vectorTroubles befall clusters with topics that are searched by meaning.
func vectorTroubles() []trouble {
	return []trouble{
		{"provider away", storm(seamProvider, climate{failBefore: 1}), [2]time.Duration{second, 40 * second}, embedders},
		{"provider unreliable", storm(seamProvider, climate{failBefore: 0.2, lose: 0.1}), [2]time.Duration{second, 30 * second}, embedders},
		{"provider slow", storm(seamProvider, climate{least: 500 * time.Millisecond, most: 40 * second}), [2]time.Duration{second, 30 * second}, embedders},
		{"provider lies", lie, [2]time.Duration{second, 30 * second}, embedders},
		{"vectors are made anew", func(w *World, s *server) func() {
			w.rebuildVectors(s.rng)
			return nil
		}, [2]time.Duration{second, second}, embedders},
		{"vector index is altered", func(w *World, s *server) func() {
			w.alterVectors(s.rng)
			return nil
		}, [2]time.Duration{second, second}, embedders},
	}
}

// trouble makes trouble for as long as the plan says.
func (w *World) trouble(ctx context.Context) {
	rng := w.random("trouble")
	var chosen []trouble
	for _, t := range append(troubles(), vectorTroubles()...) {
		if slices.Contains(w.plan.Troubles, t.name) {
			chosen = append(chosen, t)
		}
	}
	end := w.sched.now() + w.plan.Time
	for w.sched.now() < end {
		pass(ctx, between(rng, 500*time.Millisecond, 10*second))
		if len(chosen) == 0 {
			continue
		}
		t := chosen[rng.IntN(len(chosen))]
		s := w.nodes[rng.IntN(len(w.nodes))]
		if t.whom == brokers && s.addr == nil {
			s = w.nodes[0]
		}
		if t.whom == embedders && s.addr != nil {
			s = w.nodes[len(w.nodes)-1] // never a broker
		}
		lasts := between(rng, t.lasts[0], t.lasts[1])
		if left := max(0, end-w.sched.now()); lasts > left {
			lasts = left + between(rng, 0, 100*time.Millisecond) // not all at one instant
		}
		w.trace.add(w.sched.now(), "-- %s: %s for %v", s.name, t.name, lasts.Round(time.Millisecond))
		if heal := t.strike(w, s); heal != nil {
			w.healers.Go(func() {
				pass(ctx, lasts)
				w.trace.add(w.sched.now(), "-- %s: %s is over", s.name, t.name)
				heal()
			})
		}
	}
}

// drain says of a broker that it is to give up what it has, or that it is not.
func (w *World) drain(id metastore.BrokerID, draining bool) {
	if err := w.observer.SetDraining(context.Background(), id, draining); err != nil {
		w.t.Errorf("drain broker %d: %v", id, err)
	}
}

// rebuildVectors asks for the vectors of a topic to be made anew.
func (w *World) rebuildVectors(rng *rand.Rand) {
	if t, ok := w.indexed(rng); ok {
		if err := w.observer.RebuildVectors(context.Background(), w.ids[t.Name]); err != nil {
			w.t.Errorf("rebuild the vectors of %s: %v", t.Name, err)
		}
	}
}

// alterVectors alters how a topic's records are embedded or their vectors indexed.
func (w *World) alterVectors(rng *rand.Rand) {
	t, ok := w.indexed(rng)
	if !ok {
		return
	}
	key, value := altered(rng)
	w.trace.add(w.sched.now(), "-- %s is altered: %s=%s", t.Name, key, value)
	if _, err := w.observer.UpdateTopic(context.Background(), t.Name, func(t *metastore.Topic) error {
		t.Config[key] = value
		return nil
	}); err != nil {
		w.t.Errorf("alter %s: %v", t.Name, err)
	}
}

// indexed draws a topic that is searched by meaning.
func (w *World) indexed(rng *rand.Rand) (TopicPlan, bool) {
	var all []TopicPlan
	for _, t := range w.plan.Topics {
		if t.Index != "" {
			all = append(all, t)
		}
	}
	if len(all) == 0 {
		return TopicPlan{}, false
	}
	return all[rng.IntN(len(all))], true
}

// heal ends all trouble.
func (w *World) heal() {
	w.trace.add(w.sched.now(), "-- all is well again")
	w.net.heal()
	for _, s := range w.nodes {
		s.up()
		if l := s.current(); l != nil {
			l.pause(0)
			for _, seam := range []string{seamKV, seamBucket, seamDisk, seamNet, seamProvider} {
				l.use(seam, nil)
			}
		}
	}
}
