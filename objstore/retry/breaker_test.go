package retry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/faults"
	"github.com/chronik-stream/chronik/objstore/memory"
	"github.com/chronik-stream/chronik/objstore/objtest"
	"github.com/chronik-stream/chronik/objstore/retry"
)

// asking counts what reaches the store.
type asking struct {
	objstore.Bucket
	heads, others, underway, together atomic.Int64
}

func (a *asking) Head(ctx context.Context, name string) (objstore.Attributes, error) {
	a.heads.Add(1)
	return a.Bucket.Head(ctx, name)
}

func (a *asking) Get(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	a.others.Add(1)
	return a.Bucket.Get(ctx, name, offset, length)
}

func (a *asking) Put(ctx context.Context, name string, body objstore.Body, cond objstore.Condition) (objstore.Attributes, error) {
	a.others.Add(1)
	a.together.Store(max(a.together.Load(), a.underway.Add(1)))
	defer a.underway.Add(-1)
	return a.Bucket.Put(ctx, name, body, cond)
}

var away = faults.Plan{Rules: []faults.Rule{{Op: faults.Any, Effect: faults.FailBefore, Probability: 1}}}

func TestAStoreThatIsAwayIsHardlyAskedAndItsReadersAreToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := failing(t, "")
		objtest.Put(t, inner, "o", []byte("x"))
		store := &asking{Bucket: f}
		registry := prometheus.NewRegistry()
		b := wrap(t, store, retry.Options{Registerer: registry})
		require.NoError(t, objstore.Available(b))
		f.Use(away)

		for range 3 { // 6 attempts each, if they are made
			_, err := b.Get(t.Context(), "o", 0, 1)
			require.ErrorIs(t, err, objstore.ErrUnavailable)
		}
		require.EqualValues(t, 10, store.others.Load())
		require.ErrorIs(t, objstore.Available(b), objstore.ErrUnavailable)

		// For a minute, a reader each 10 ms: none waits, and the store is asked by
		// small probes only, of which there are few.
		began := time.Now()
		for range 6000 {
			start := time.Now()
			_, err := b.Get(t.Context(), "o", 0, 1)
			require.ErrorIs(t, err, objstore.ErrUnavailable)
			require.ErrorContains(t, err, "not asked")
			require.Zero(t, time.Since(start))
			time.Sleep(10 * time.Millisecond)
		}
		require.Equal(t, time.Minute, time.Since(began))
		require.EqualValues(t, 10, store.others.Load())
		require.InDelta(t, 45, store.heads.Load(), 20)

		f.Use(faults.Plan{})
		_, err := b.Get(t.Context(), "o", 0, 1)
		for start := time.Now(); err != nil; _, err = b.Get(t.Context(), "o", 0, 1) {
			require.Less(t, time.Since(start), 2*time.Second+time.Millisecond)
			time.Sleep(time.Millisecond)
		}
		require.NoError(t, objstore.Available(b))
		require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
			# HELP chronik_objstore_away 1 while the object store is held to be away: it failed several times in a row.
			# TYPE chronik_objstore_away gauge
			chronik_objstore_away 0
			# HELP chronik_objstore_away_total How often it was held to be away.
			# TYPE chronik_objstore_away_total counter
			chronik_objstore_away_total 1
		`), "chronik_objstore_away", "chronik_objstore_away_total"))
	})
}

// Many puts that wait for a store come one after the other's probe, not each
// with its own bytes.
func TestPutsWaitForTheStoreAndOneProbeFindsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f := failing(t, "")
		f.Use(away)
		store := &asking{Bucket: f}
		b := wrap(t, store, retry.Options{})
		const puts = 50
		done := make(chan error, puts)
		for i := range puts {
			go func() {
				for { // as a flush does
					_, err := b.Put(t.Context(), fmt.Sprint(i), objstore.Bytes([]byte("x")), objstore.Condition{IfAbsent: true})
					if !errors.Is(err, objstore.ErrUnavailable) {
						done <- err
						return
					}
				}
			}()
		}
		time.Sleep(time.Minute)
		require.LessOrEqual(t, store.others.Load(), int64(puts), "no put was tried twice")
		require.InDelta(t, 45, store.heads.Load(), 20)
		tried, probed := store.others.Load(), store.heads.Load()
		f.Use(faults.Plan{})
		start := time.Now()
		for range puts {
			require.NoError(t, <-done)
		}
		require.LessOrEqual(t, time.Since(start), 2*time.Second)
		require.EqualValues(t, 1, store.heads.Load()-probed, "probes of a store that is back")
		require.EqualValues(t, puts, store.others.Load()-tried)
	})
}

func TestAPutThatWaitsEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f := failing(t, "")
		f.Use(away)
		b := wrap(t, f, retry.Options{BreakerFailures: 2})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		_, err := b.Put(ctx, "o", objstore.Bytes(nil), objstore.Condition{})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, objstore.ErrUnavailable)
		require.Equal(t, 10*time.Second, time.Since(start))
	})
}

// A store that is silent makes few attempts fail, each after a long time.
func TestAStoreThatIsSilentIsHeldToBeAwayAfterSomeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f := failing(t, "* * delay=1h p=1")
		b := wrap(t, f, retry.Options{})
		start := time.Now()
		_, err := b.Get(t.Context(), "o", 0, 1)
		require.ErrorIs(t, err, objstore.ErrUnavailable)
		require.Less(t, time.Since(start), 40*time.Second, "two attempts of 15 s and a pause, not six")
		require.Error(t, b.Available())
	})
}

func TestAnAnswerOfAnyKindShowsThatTheStoreIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f := failing(t, "get * fail-before every=2")
		b := wrap(t, f, retry.Options{BreakerFailures: 2})
		for range 100 {
			_, err := b.Get(t.Context(), "absent", 0, 1)
			require.ErrorIs(t, err, objstore.ErrNotFound)
		}
		require.NoError(t, b.Available())
	})
}

// Callers that give up say nothing about the store.
func TestCallersThatGiveUpDoNotMakeTheStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f := failing(t, "get * delay=1s p=1")
		b := wrap(t, f, retry.Options{BreakerFailures: 2})
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			_, err := b.Get(ctx, "o", 0, 1)
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		require.NoError(t, b.Available())
	})
}

func TestAPrefixTellsWhetherItsStoreIsAvailable(t *testing.T) {
	_, f := failing(t, "* * fail-before p=1")
	b := wrap(t, f, retry.Options{BackoffMin: time.Nanosecond, BackoffMax: time.Nanosecond, BreakerFailures: 2})
	p, err := objstore.WithPrefix(b, "cluster")
	require.NoError(t, err)
	_, err = p.Head(t.Context(), "o")
	require.Error(t, err)
	require.ErrorIs(t, objstore.Available(p), objstore.ErrUnavailable)
	require.NoError(t, objstore.Available(memory.New()))
}
