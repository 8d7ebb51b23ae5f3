package retry_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
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

func wrap(t *testing.T, b objstore.Bucket, o retry.Options) *retry.Bucket {
	t.Helper()
	r, err := retry.New(b, o)
	require.NoError(t, err)
	return r
}

func failing(t *testing.T, plan string) (*memory.Bucket, *faults.Bucket) {
	t.Helper()
	p, err := faults.ParsePlan(plan)
	require.NoError(t, err)
	inner := memory.New()
	return inner, faults.New(inner, p)
}

func TestRetryKeepsTheContract(t *testing.T) {
	objtest.Run(t, func(t *testing.T) objstore.Bucket { return wrap(t, memory.New(), retry.Options{}) })
}

// The whole contract holds over a store that fails every fifth call, half of
// them after the effect: exactly one winner, no update lost, no list short.
func TestRetryKeepsTheContractOverFaults(t *testing.T) {
	var struck int64
	objtest.Run(t, func(t *testing.T) objstore.Bucket {
		_, f := failing(t, "seed 4; * * fail-before p=0.1; * * fail-after p=0.1; open * cut p=0.3; list * cut p=0.3")
		t.Cleanup(func() {
			for _, n := range f.Struck() {
				struck += n
			}
		})
		return wrap(t, f, retry.Options{AttemptsMax: 20, BackoffMin: time.Microsecond, BackoffMax: time.Millisecond})
	})
	require.Greater(t, struck, int64(200))
}

func TestALostAnswerIsFoundToBeOnesOwn(t *testing.T) {
	inner, f := failing(t, "put new fail-after nth=1")
	b := wrap(t, f, retry.Options{BackoffMin: time.Nanosecond})
	a, err := b.Put(t.Context(), "new", objstore.Bytes(objtest.Bytes(100_000, 1)), objstore.Condition{IfAbsent: true})
	require.NoError(t, err)
	head, err := inner.Head(t.Context(), "new")
	require.NoError(t, err)
	require.Equal(t, head, a)
	require.Equal(t, []int64{1}, f.Struck())
}

func TestALostAnswerUnderIfMatchStaysUnknown(t *testing.T) {
	for _, effect := range []faults.Effect{faults.FailBefore, faults.FailAfter} {
		inner, f := failing(t, "")
		old := objtest.Put(t, inner, "o", []byte("0"))
		f.Use(faults.Plan{Rules: []faults.Rule{{Op: faults.Put, Effect: effect, Nth: 1}}})
		b := wrap(t, f, retry.Options{BackoffMin: time.Nanosecond})
		if effect == faults.FailBefore {
			objtest.Put(t, inner, "o", []byte("1")) // a rival's next value, the same as ours
		}
		_, err := b.Put(t.Context(), "o", objstore.Bytes([]byte("1")), objstore.Condition{IfMatch: old.ETag})
		require.ErrorIs(t, err, objstore.ErrUnavailable)
	}
}

func TestAnothersObjectIsNotTakenForOnesOwn(t *testing.T) {
	for name, other := range map[string][]byte{
		"same size":  []byte("theirs"),
		"other size": []byte("theirs, longer"),
	} {
		inner, f := failing(t, "put o fail-before nth=1")
		objtest.Put(t, inner, "o", other)
		b := wrap(t, f, retry.Options{BackoffMin: time.Nanosecond})
		_, err := b.Put(t.Context(), "o", objstore.Bytes([]byte("mine.!")), objstore.Condition{IfAbsent: true})
		require.ErrorIs(t, err, objstore.ErrExists, name)
	}
}

func TestWithoutDoubtARefusalIsFinal(t *testing.T) {
	inner := memory.New()
	objtest.Put(t, inner, "o", []byte("same"))
	_, err := wrap(t, inner, retry.Options{}).Put(t.Context(), "o", objstore.Bytes([]byte("same")), objstore.Condition{IfAbsent: true})
	require.ErrorIs(t, err, objstore.ErrExists, "equal bytes alone make nothing one's own")
}

func TestRetriesEndAndAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f := failing(t, "* * fail-before p=1")
		registry := prometheus.NewRegistry()
		b := wrap(t, f, retry.Options{
			AttemptsMax: 5, BackoffMin: time.Second, BackoffMax: 3 * time.Second, BreakerAfter: time.Hour,
			Jitter: func() float64 { return 1 }, Registerer: registry,
		})
		start := time.Now()
		_, err := b.Head(t.Context(), "o")
		require.ErrorIs(t, err, objstore.ErrUnavailable)
		require.ErrorContains(t, err, "after 5 attempts")
		require.Equal(t, []int64{5}, f.Struck())
		require.Equal(t, (1+2+3+3)*time.Second, time.Since(start))
		n, err := testutil.GatherAndCount(registry, "chronik_objstore_retries_total")
		require.NoError(t, err)
		require.Equal(t, 1, n)
	})
}

func TestTheCallersContextEndsTheRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f := failing(t, "* * fail-before p=1")
		b := wrap(t, f, retry.Options{BackoffMin: time.Hour, BackoffMax: time.Hour, Jitter: func() float64 { return 1 }})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := b.Get(ctx, "o", 0, -1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, objstore.ErrUnavailable, "why it was waiting is told too")
	})
}

func TestASilentStoreIsGivenUpAndAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, f := failing(t, "get * delay=1h nth=1; put * delay=1h nth=2; open * delay=1h nth=1")
		b := wrap(t, f, retry.Options{AttemptTimeout: time.Second, Jitter: func() float64 { return 0 }})
		objtest.Put(t, inner, "o", []byte("x"))
		start := time.Now()
		got, err := b.Get(t.Context(), "o", 0, 1)
		require.NoError(t, err)
		require.Equal(t, "x", string(got))
		require.Less(t, time.Since(start), 2*time.Second)

		objtest.Put(t, b, "p", nil)
		objtest.Put(t, b, "p", nil)
		r, err := b.Open(t.Context(), "o")
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.Equal(t, []int64{1, 1, 1}, f.Struck())
	})
}

// stalling opens readers that say nothing after the first half until their
// context ends.
type stalling struct{ objstore.Bucket }

type stalled struct {
	io.ReadCloser
	ctx  context.Context
	left int64
}

func (s stalling) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	a, err := s.Head(ctx, name)
	if err != nil {
		return nil, err
	}
	r, err := s.Bucket.Open(ctx, name)
	return &stalled{r, ctx, a.Size / 2}, err
}

func (s *stalled) Read(p []byte) (int, error) {
	if s.left == 0 {
		<-s.ctx.Done()
		return 0, fmt.Errorf("read: %w", s.ctx.Err())
	}
	n, err := s.ReadCloser.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	return n, err
}

func TestAStreamThatStallsGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := memory.New()
		want := objtest.Bytes(10<<20, 9)
		objtest.Put(t, inner, "o", want)
		b := wrap(t, stalling{inner}, retry.Options{AttemptTimeout: time.Second})
		r, err := b.Open(t.Context(), "o")
		require.NoError(t, err)
		var got bytes.Buffer
		_, err = io.Copy(&got, r)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got.Bytes()))
		require.NoError(t, r.Close())
	})
}
