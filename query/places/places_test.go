package places

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQueriesBeyondTheBoundWaitInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{RunningMax: 1, WaitingMax: 2, WaitMax: time.Minute})
		require.NoError(t, p.Take(t.Context()))
		order := make(chan int, 2)
		for i := range 2 {
			go func() {
				if p.Take(t.Context()) == nil {
					order <- i
				}
			}()
			synctest.Wait()
		}
		require.Equal(t, 2, p.Waiting())
		p.Leave()
		require.Equal(t, 0, <-order)
		require.Equal(t, 1, p.Running())
		p.Leave()
		require.Equal(t, 1, <-order)
		p.Leave()
		require.Zero(t, p.Running())
		require.Zero(t, p.Waiting())
	})
}

func TestNobodyWaitsWhereEnoughDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{RunningMax: 1, WaitingMax: 1, WaitMax: time.Minute})
		require.NoError(t, p.Take(t.Context()))
		go func() { _ = p.Take(t.Context()) }()
		synctest.Wait()
		began := time.Now()
		var busy *BusyError
		require.ErrorAs(t, p.Take(t.Context()), &busy)
		require.Equal(t, BusyError{Running: 1, Waiting: 1}, *busy)
		require.Zero(t, time.Since(began))
		require.EqualValues(t, 1, p.Refused())
		p.Leave()
	})
}

func TestAWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{RunningMax: 1, WaitingMax: 1, WaitMax: 10 * time.Second})
		require.NoError(t, p.Take(t.Context()))
		var busy *BusyError
		require.ErrorAs(t, p.Take(t.Context()), &busy)
		require.Equal(t, 10*time.Second, busy.Waited)
		require.ErrorAs(t, p.Take(Hurried(t.Context(), time.Second)), &busy)
		require.Equal(t, time.Second, busy.Waited)
		require.ErrorAs(t, p.Take(Hurried(t.Context(), time.Hour)), &busy)
		require.Equal(t, 10*time.Second, busy.Waited)

		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, p.Take(ctx), context.DeadlineExceeded)
		require.EqualValues(t, 3, p.Refused())
		p.Leave()
		require.NoError(t, p.Take(t.Context()), "a wait that ended left nothing behind")
		p.Leave()
	})
}

func TestNotTooManyAreOnTheirWayToAPlace(t *testing.T) {
	p := New(Options{RunningMax: 1, WaitingMax: 1, WaitMax: time.Minute})
	var came []func()
	for range comingFactor {
		one, err := p.Come(t.Context())
		require.NoError(t, err)
		came = append(came, one)
	}
	var busy *BusyError
	_, err := p.Come(t.Context())
	require.ErrorAs(t, err, &busy)
	require.EqualValues(t, 1, p.Refused())
	require.NoError(t, p.Take(t.Context()), "places are another matter")
	came[0]()
	_, err = p.Come(t.Context())
	require.NoError(t, err)
}
