package compactor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Keys are compacted away before, while and after their records are embedded, and
// shards are merged in between: in the end the index has what the log has.
func TestWhatIsCompactedAwayIsNotInTheIndex(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t)
			w.provider = newProvider()
			config := embeddedBy("a", "min.cleanable.dirty.ratio", "0", "delete.retention.ms", "0")
			if seed%2 == 0 {
				config["columnar.enabled"] = "true"
			}
			k := newKeyed(w, seed, config)
			random := rand.New(rand.NewPCG(seed, 5))
			var slow atomic.Pointer[chan struct{}]
			w.provider.set(func(ctx context.Context, _ []string) int {
				if gate := slow.Load(); gate != nil {
					select {
					case <-*gate:
					case <-ctx.Done():
					}
				}
				return 0
			})
			c := k.start(k.quick(), k.store, k.bucket)
			for range 12 {
				gate := make(chan struct{})
				if random.IntN(2) == 0 {
					slow.Store(&gate)
				}
				k.write(1+random.IntN(4), 8)
				if random.IntN(2) == 0 {
					k.clock.Add(time.Minute.Milliseconds())
				}
				require.NoError(t, c.catalogCaughtUp(w))
				for worked := true; worked; {
					worked, _ = c.round(t.Context())
				}
				section, _ := k.section(k.p)
				k.readShards(section) // nothing twice
				if random.IntN(2) == 0 {
					slow.Store(nil)
					close(gate)
					k.settle(c)
					k.checkShards(k.p, "a")
				} else {
					slow.Store(nil)
					close(gate)
				}
			}
			k.settle(c)
			k.checkShards(k.p, "a")
			if seed%2 == 0 {
				k.table() // its masks are as they should be
			}
			k.sweep(c)
			k.checkShards(k.p, "a")
		})
	}
}

// Shards in which nothing had a vector need no mask. What takes their place was read of
// the log before a cleaning.
func TestWhatIsCompactedAwayWhileItIsEmbeddedAgainIsNotInTheIndex(t *testing.T) {
	w := newWorld(t)
	w.provider = newProvider()
	k := newKeyed(w, 1, embeddedBy("a", "vector.field", "$.none", "min.cleanable.dirty.ratio", "0", "delete.retention.ms", "0"))
	c := k.start(k.quick(), k.store, k.bucket)
	k.write(4, 8)
	k.settle(c)
	section, view := k.section(k.p)
	before := w.readLog(snapshot{view: view, section: section})

	asked, gate := make(chan struct{}, 1000), make(chan struct{})
	w.provider.set(func(ctx context.Context, _ []string) int {
		asked <- struct{}{}
		select {
		case <-gate:
		case <-ctx.Done():
		}
		return 0
	})
	require.NoError(t, w.update(view.Topic.Name, "vector.field", "value"))
	require.NoError(t, c.catalogCaughtUp(w))
	c.round(t.Context())
	<-asked
	k.write(4, 8)
	k.clock.Add(time.Minute.Milliseconds())
	require.NoError(t, c.catalogCaughtUp(w))
	require.Eventually(t, func() bool {
		c.round(t.Context())
		section, view := k.section(k.p)
		now := w.readLog(snapshot{view: view, section: section})
		for offset := range before {
			if _, there := now[offset]; !there {
				return section.Clean.Next == view.Next()
			}
		}
		return false
	}, patience, time.Millisecond)
	close(gate)
	k.settle(c)
	k.checkShards(k.p, "a")
}
