package kvtest

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/metastore/kv"
)

func testWatchOnce(t *testing.T, e *env) {
	first := e.put(t, "a", "1")
	e.put(t, "a", "2")
	w := e.watch(t, e.root, first)
	past := w.until(t, count(2))
	e.put(t, "b", "3")
	deleted := e.txn(t, kv.Txn{Then: []kv.Op{kv.Delete(e.key("a"))}}).Revision
	present := w.until(t, count(2))

	require.Len(t, past, 2)
	require.Equal(t, "1", string(past[0].Value))
	require.Equal(t, first, past[0].ModRevision)
	require.Equal(t, "2", string(past[1].Value))
	require.Equal(t, first, past[1].CreateRevision)
	require.Len(t, present, 2)
	require.Equal(t, "3", string(present[0].Value))
	require.Equal(t, kv.Event{Entry: kv.Entry{Key: e.key("a"), ModRevision: deleted}, Deleted: true}, present[1])
}

// testWatchWhole writes transactions of many keys as fast as it can, in front
// of a slow and late watch, and counts keys by revision.
func testWatchWhole(t *testing.T, e *env) {
	const txns, keys = 30, 50
	first := e.put(t, "first", "")
	for n := range txns {
		txn := kv.Txn{}
		for i := range keys {
			txn.Then = append(txn.Then, kv.Put(e.key(strconv.Itoa(i)), []byte(strconv.Itoa(n))))
		}
		e.txn(t, txn)
	}
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	seen := 0
	for c := range e.Store.Watch(ctx, e.root, first+1) {
		require.NoError(t, c.Err)
		byRevision := make(map[int64]int)
		for _, event := range c.Events {
			byRevision[event.ModRevision]++
		}
		for revision, n := range byRevision {
			require.Equal(t, keys, n, "revision %d", revision)
		}
		if seen += len(c.Events); seen == txns*keys {
			break
		}
	}
	require.Equal(t, txns*keys, seen)
}

func testWatchPrefix(t *testing.T, e *env) {
	first := e.put(t, "in/1", "")
	w := e.watch(t, e.key("in/"), first)
	e.put(t, "in", "")
	e.put(t, "in0", "")
	e.put(t, "out/1", "")
	e.put(t, "in/2", "")
	events := w.until(t, count(2))
	require.Len(t, events, 2)
	require.Equal(t, e.key("in/1"), events[0].Key)
	require.Equal(t, e.key("in/2"), events[1].Key)
}

func testWatchProgress(t *testing.T, e *env) {
	first := e.put(t, "in/1", "")
	w := e.watch(t, e.key("in/"), first)
	last := e.put(t, "out/1", "")
	events := w.until(t, func(_ []kv.Event, revision int64) bool { return revision >= last })
	require.Len(t, events, 1, "progress has no events of its own")
}

func testWatchEnds(t *testing.T, e *env) {
	first := e.put(t, "a", "")
	w := e.watch(t, e.root, first)
	w.until(t, count(1))
	w.cancel()
	requireClosed(t, w.ch)
}

func requireClosed(t *testing.T, ch <-chan kv.Changes) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case _, ok := <-ch:
			if !ok {
				return
			}
		case <-deadline:
			require.Fail(t, "watch does not end")
		}
	}
}

func testWatchCompacted(t *testing.T, e *env) {
	if e.Compact == nil {
		t.Skip("this backend cannot be compacted on demand")
	}
	first := e.put(t, "a", "1")
	e.put(t, "a", "2")
	last := e.put(t, "a", "3")
	require.NoError(t, e.Compact(e.ctx, last))

	var err error
	for c := range e.Store.Watch(e.ctx, e.root, first) {
		err = errors.Join(err, c.Err)
	}
	require.ErrorIs(t, err, kv.ErrCompacted)

	w := e.watch(t, e.root, last+1)
	e.put(t, "a", "4")
	events := w.until(t, count(1))
	require.Equal(t, "4", string(events[0].Value), "what comes after the compaction is there")
}

// testRangeThenWatch is how a catalog is built: while a writer counts up, the
// state of a range plus the events of a watch after it give every value.
func testRangeThenWatch(t *testing.T, e *env) {
	const last = 150
	e.put(t, "n", "0")
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 1; n <= last; n++ {
			if _, err := e.Store.Txn(e.ctx, kv.Txn{Then: []kv.Op{kv.Put(e.key("n"), []byte(strconv.Itoa(n)))}}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	defer wg.Wait()
	entries, revision, err := e.Store.Range(e.ctx, e.root)
	require.NoError(t, err)
	n, err := strconv.Atoi(string(entries[0].Value))
	require.NoError(t, err)
	w := e.watch(t, e.root, revision+1)
	events := w.until(t, count(last-n))
	for _, event := range events {
		n++
		require.Equal(t, strconv.Itoa(n), string(event.Value))
	}
	require.Equal(t, last, n)
}
