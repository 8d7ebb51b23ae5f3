package api

import (
	"context"
	"runtime"

	"github.com/chronik-stream/chronik/broker/wire"
)

// ampleItems is from how many partitions, members or configurations on an
// answer is ample: it costs much more than a small request.
const ampleItems = 100

// gate lets as many through at once as it has room. The ample answers of an API
// are made behind one, so that thousands that are asked for at once leave cores for
// produce and for the broker's lease, and are not in memory all together.
type gate chan struct{}

func newGate() gate { return make(gate, max(1, runtime.GOMAXPROCS(0)/2)) }

// ample waits for its turn to make an answer of so many items, and for room for
// it. ok is false when the connection has ended: nobody wants the answer.
func (h *Handler) ample(ctx context.Context, r *wire.Request, items int) (done func(), ok bool) {
	if items < ampleItems {
		return func() {}, true
	}
	making := h.routes[r.Key].making
	select {
	case making <- struct{}{}:
	case <-ctx.Done():
		return nil, false
	}
	done = func() { <-making }
	if r.Conn.AwaitAnswerRoom(ctx) != nil {
		done()
		return nil, false
	}
	return done, true
}

// distinct returns list without what has the key of one before it: whoever asks
// for the same thing ten thousand times in a request gets it once.
func distinct[T any, K comparable](list []T, key func(*T) K) []T {
	if len(list) < 2 {
		return list
	}
	seen := make(map[K]struct{}, len(list))
	kept := list[:0]
	for i := range list {
		k := key(&list[i])
		if _, twice := seen[k]; !twice {
			seen[k] = struct{}{}
			kept = append(kept, list[i])
		}
	}
	return kept
}

// itself is the key of what is compared as a whole.
func itself[T comparable](v *T) T { return *v }
