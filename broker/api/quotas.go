package api

import (
	"context"
	"encoding/binary"
	"math"
	"net/netip"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/quota"
	"github.com/chronik-stream/chronik/broker/wire"
)

// This file holds clients to their quotas. An answer that throttles is sent at
// once, with the time in it, and the connection is not read for that time
// (KIP-219). Versions before that tell a client how long its answer was held
// back, so there it is held back.

// anonymous is the user of a client on a plain listener, as Kafka calls it.
const anonymous = "ANONYMOUS"

// clientOf is whom a request counts for.
func clientOf(r *wire.Request) quota.Client { return quota.Client{User: anonymous, ID: r.ClientID} }

// ConnectionThrottle is how long an address is over its quota of new connections:
// for wire.Config.Quota.
func (h *Handler) ConnectionThrottle(address netip.Addr) time.Duration {
	return h.accounts.Connect(address, time.Now())
}

// counts tells whether a quota of that kind may hold for the client of r. What
// another process of this cluster asks for was counted where its client asked.
func (h *Handler) counts(key string, r *wire.Request) bool {
	return h.accounts.Any(key) && !r.Conn.Internal()
}

// use counts an amount for the client of r.
func (h *Handler) use(key string, r *wire.Request, amount float64) time.Duration {
	if !h.counts(key, r) {
		return 0
	}
	return h.accounts.Use(key, clientOf(r), amount, time.Now())
}

// fetchLeft is how many bytes the client of r may fetch now. When there are
// none, throttle is how long it has to wait.
func (h *Handler) fetchLeft(r *wire.Request) (bytes int, throttle time.Duration) {
	if !h.counts(quota.Fetch, r) {
		return math.MaxInt, 0
	}
	left, throttle := h.accounts.Left(quota.Fetch, clientOf(r), time.Now())
	return int(min(left, math.MaxInt32)), throttle
}

// worked counts time that the broker worked for the client of r since begun.
// Waiting, for disks, stores and other clients, is not work.
func (h *Handler) worked(r *wire.Request, begun time.Time) time.Duration {
	if !h.counts(quota.Request, r) {
		return 0
	}
	return h.use(quota.Request, r, time.Since(begun).Seconds())
}

// mute does what a throttled client feels, at the end of its request. after says
// that its version expects to be answered at once. It returns what the answer
// tells.
func (h *Handler) mute(ctx context.Context, r *wire.Request, throttle time.Duration, after bool) int32 {
	if throttle <= 0 {
		return 0
	}
	m := h.routes[r.Key].metrics
	m.throttled.Inc()
	m.throttledSeconds.Add(throttle.Seconds())
	if after {
		r.Conn.Mute(throttle)
	} else {
		ending, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(r.Conn.Patience(), cancel) // a stopping broker answers
		pause(ending, throttle)
		stop()
		cancel()
	}
	return millis(throttle)
}

// throttle throttles a request that kmsg answers, for at least as long as the
// answer says already.
func (h *Handler) throttle(ctx context.Context, r *wire.Request, throttle time.Duration, resp kmsg.Response) {
	told, tells := resp.(interface {
		kmsg.ThrottleResponse
		kmsg.SetThrottleResponse
	})
	after := true
	if tells {
		var already int32
		already, after = told.Throttle()
		throttle = max(throttle, time.Duration(already)*time.Millisecond)
	}
	if throttle <= 0 {
		return
	}
	if millis := h.mute(ctx, r, throttle, after); tells {
		told.SetThrottle(millis)
	}
}

// mutations counts the partitions that one request creates or deletes.
type mutations struct {
	h        *Handler
	r        *wire.Request
	strict   bool // the version knows THROTTLING_QUOTA_EXCEEDED (KIP-599)
	throttle time.Duration
}

func (h *Handler) mutations(r *wire.Request, strictSince int16) *mutations {
	return &mutations{h: h, r: r, strict: r.Version >= strictSince}
}

// take counts partitions. A client that is over its quota is refused, or, if it
// does not know that error, served and throttled.
func (m *mutations) take(partitions int32) error {
	if !m.h.counts(quota.Mutations, m.r) {
		return nil
	}
	if m.strict {
		if _, m.throttle = m.h.accounts.Left(quota.Mutations, clientOf(m.r), time.Now()); m.throttle > 0 {
			return kerr.ThrottlingQuotaExceeded
		}
	}
	m.throttle = m.h.use(quota.Mutations, m.r, float64(partitions))
	return nil
}

// millis is what the answer tells.
func (m *mutations) millis() int32 { return millis(m.throttle) }

// millis rounds a throttle time up: a client that comes back early is throttled
// again.
func millis(throttle time.Duration) int32 {
	return int32(min(int64(math.MaxInt32), (throttle + time.Millisecond - 1).Milliseconds()))
}

// patchThrottle writes the throttle time of an encoded answer whose body begins
// with it.
func patchThrottle(out *wire.Response, flexible bool, millis int32) {
	at := 8
	if flexible {
		at++ // the tags of the header
	}
	binary.BigEndian.PutUint32(out.Buf[at:], uint32(millis))
}
