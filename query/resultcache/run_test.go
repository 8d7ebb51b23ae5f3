package resultcache

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
)

// engine runs a question that answers a batch each time that it is let to.
type engine struct {
	alloc   *memory.CheckedAllocator
	next    chan []string // nil ends it, closed fails it
	started atomic.Int64
	open    atomic.Int64
	ended   error // beside the context's, when that ends it
}

var errBroken = errors.New("broken")

func newEngine(t *testing.T) *engine {
	e := &engine{alloc: memory.NewCheckedAllocator(memory.DefaultAllocator), next: make(chan []string)}
	t.Cleanup(func() {
		e.alloc.AssertSize(t, 0)
		require.Zero(t, e.open.Load(), "rows that nobody closed")
	})
	return e
}

func (e *engine) begin(ctx context.Context) (Rows, error) {
	e.started.Add(1)
	e.open.Add(1)
	return &engineRows{rows: rows{alloc: e.alloc}, engine: e, ctx: ctx}, nil
}

type engineRows struct {
	rows
	engine *engine
	ctx    context.Context
	closed bool
}

func (r *engineRows) Next() (arrow.RecordBatch, error) {
	select {
	case <-r.ctx.Done():
		return nil, errors.Join(r.ctx.Err(), r.engine.ended)
	case batch, ok := <-r.engine.next:
		switch {
		case !ok:
			return nil, errBroken
		case batch == nil:
			return nil, io.EOF
		}
		r.batches = [][]string{batch}
		return r.rows.Next()
	}
}

func (r *engineRows) Close() error {
	if !r.closed {
		r.closed = true
		r.engine.open.Add(-1)
	}
	return nil
}

// asking asks in the background, and reads the answer to its end.
type asking struct {
	texts  []string
	shared bool
	err    error
	cancel context.CancelFunc
	done   chan struct{}
}

func asks(t *testing.T, c *Cache, e *engine) *asking {
	ctx, cancel := context.WithCancel(t.Context())
	a := &asking{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		var rows Rows
		if rows, a.shared, a.err = c.Ask(ctx, key("q"), e.begin); a.err == nil {
			a.texts, a.err = read(t, rows)
		}
	}()
	synctest.Wait()
	return a
}

func together(t *testing.T, play func(t *testing.T, c *Cache, e *engine)) {
	synctest.Test(t, func(t *testing.T) {
		play(t, newCache(Options{BytesMax: 1 << 20, AnswerBytesMax: 4 << 10}), newEngine(t))
	})
}

func TestThoseWhoAskTheSameAtTheSameTimeShareOneRun(t *testing.T) {
	together(t, func(t *testing.T, c *Cache, e *engine) {
		all := []*asking{asks(t, c, e), asks(t, c, e), asks(t, c, e)}
		e.next <- []string{"x"}
		all = append(all, asks(t, c, e))
		e.next <- []string{"y"}
		e.next <- nil
		for i, a := range all {
			<-a.done
			require.NoError(t, a.err)
			require.Equal(t, []string{"x", "y"}, a.texts)
			require.Equal(t, i > 0, a.shared)
		}
		require.EqualValues(t, 1, e.started.Load())
		require.EqualValues(t, 3, c.Counts().Joined)
		later := asks(t, c, e)
		<-later.done
		require.True(t, later.shared, "it is kept, too")
		require.Empty(t, c.runs)
	})
}

func TestARunOutlivesTheOneThatBeganIt(t *testing.T) {
	together(t, func(t *testing.T, c *Cache, e *engine) {
		one, two := asks(t, c, e), asks(t, c, e)
		e.next <- []string{"x"}
		one.cancel()
		<-one.done
		require.ErrorIs(t, one.err, context.Canceled)
		e.next <- []string{"y"}
		e.next <- nil
		<-two.done
		require.NoError(t, two.err)
		require.Equal(t, []string{"x", "y"}, two.texts)
		require.EqualValues(t, 1, e.started.Load())
	})
}

func TestARunEndsWithTheLastWhoWaits(t *testing.T) {
	together(t, func(t *testing.T, c *Cache, e *engine) {
		one, two := asks(t, c, e), asks(t, c, e)
		two.cancel()
		<-two.done
		require.EqualValues(t, 1, e.open.Load())
		one.cancel()
		<-one.done
		require.Zero(t, e.open.Load(), "it has ended when the last one is told")
		require.ErrorIs(t, one.err, context.Canceled)
		require.ErrorIs(t, two.err, context.Canceled)

		three := asks(t, c, e)
		e.next <- nil
		<-three.done
		require.NoError(t, three.err, "who comes later has nothing to do with that")
		require.Empty(t, three.texts)
		require.EqualValues(t, 2, e.started.Load())
	})
}

func TestWhoWaitedForARunThatFailsAsksByItself(t *testing.T) {
	together(t, func(t *testing.T, c *Cache, e *engine) {
		one, two, three := asks(t, c, e), asks(t, c, e), asks(t, c, e)
		close(e.next)
		for _, a := range []*asking{one, two, three} {
			<-a.done
			require.ErrorIs(t, a.err, errBroken)
		}
		require.EqualValues(t, 3, e.started.Load())
		require.Empty(t, c.runs)
		require.Zero(t, c.Counts().Answers)

		failing := func(context.Context) (Rows, error) { return nil, errBroken }
		_, _, err := c.Ask(t.Context(), key("q"), failing)
		require.ErrorIs(t, err, errBroken)
		panics := func(context.Context) (Rows, error) { panic("a mistake") }
		_, _, err = c.Ask(t.Context(), key("q"), panics)
		require.ErrorContains(t, err, "a mistake")
	})
}

func TestALargeAnswerIsTheFirstOnesAlone(t *testing.T) {
	together(t, func(t *testing.T, c *Cache, e *engine) {
		one, two := asks(t, c, e), asks(t, c, e)
		large := strings.Repeat("x", 5<<10)
		e.next <- []string{"begin"}
		e.next <- []string{large}
		synctest.Wait()
		require.EqualValues(t, 2, e.started.Load(), "who waited runs by itself as soon as that is known")
		for range 2 { // whoever of the two it is
			e.next <- []string{"end"}
		}
		e.next <- nil
		e.next <- nil
		<-one.done
		<-two.done
		require.NoError(t, errors.Join(one.err, two.err))
		require.False(t, one.shared || two.shared)
		require.Equal(t, 4, len(one.texts)+len(two.texts))
		require.Equal(t, []string{"begin", large}, one.texts[:2])
		require.Zero(t, c.Counts().Answers)
	})
}

func TestTheTimeOfTheFirstOneEndsALargeAnswer(t *testing.T) {
	together(t, func(t *testing.T, c *Cache, e *engine) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() {
			e.next <- []string{strings.Repeat("x", 5<<10)}
		}()
		rows, _, err := c.Ask(ctx, key("q"), e.begin)
		require.NoError(t, err)
		batch, err := rows.Next()
		require.NoError(t, err)
		batch.Release()
		_, err = rows.Next()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, rows.Close())
		require.NoError(t, rows.Close())
	})
}

func TestWhoReadsSlowlyKeepsNobodyWaiting(t *testing.T) {
	together(t, func(t *testing.T, c *Cache, e *engine) {
		slow := make(chan Rows)
		go func() {
			rows, _, err := c.Ask(t.Context(), key("q"), e.begin)
			if err != nil {
				t.Error(err)
			}
			slow <- rows
		}()
		synctest.Wait()
		quick := asks(t, c, e)
		e.next <- []string{"x"}
		e.next <- []string{"y"}
		e.next <- nil
		<-quick.done
		require.Equal(t, []string{"x", "y"}, quick.texts)
		rows := <-slow
		batch, err := rows.Next()
		require.NoError(t, err)
		batch.Release()
		require.NoError(t, rows.Close(), "with a batch that it never took")
	})
}

// A run that is told to end may take its time, and its error says so: the last one
// who goes has to hear it, whoever that is.
func TestTheLastToGoIsToldHowTheRunEnded(t *testing.T) {
	busy := errors.New("still at it")
	for name, firstGoesFirst := range map[string]bool{"the first one is the last": false, "another one is the last": true} {
		t.Run(name, func(t *testing.T) {
			together(t, func(t *testing.T, c *Cache, e *engine) {
				e.ended = busy
				last, before := asks(t, c, e), asks(t, c, e)
				if firstGoesFirst {
					last, before = before, last
				}
				before.cancel()
				<-before.done
				require.ErrorIs(t, before.err, context.Canceled)
				require.NotErrorIs(t, before.err, busy)
				last.cancel()
				<-last.done
				require.ErrorIs(t, last.err, context.Canceled)
				require.ErrorIs(t, last.err, busy)
			})
		})
	}
	together(t, func(t *testing.T, c *Cache, e *engine) {
		e.ended = busy
		go func() { e.next <- []string{"x"} }()
		rows, _, err := c.Ask(t.Context(), key("q"), e.begin)
		require.NoError(t, err)
		batch, err := rows.Next()
		require.NoError(t, err)
		batch.Release()
		require.ErrorIs(t, rows.Close(), busy, "it was reading ahead")
	})
}

// The run hands its rows over in the moment in which the first one goes.
func TestRowsThatAreHandedOverToOneWhoGoesAreClosed(t *testing.T) {
	c, e := newCache(Options{BytesMax: 1 << 20, AnswerBytesMax: 4 << 10}), newEngine(t)
	large := []string{strings.Repeat("x", 5<<10)}
	for range 2_000 {
		rows, _, err := c.Ask(t.Context(), key("q"), e.begin)
		require.NoError(t, err)
		select {
		case e.next <- large:
		case <-t.Context().Done():
		}
		_ = rows.Close()
	}
}
