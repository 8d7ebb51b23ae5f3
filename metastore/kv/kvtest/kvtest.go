// Package kvtest is the contract of kv.Store as a test suite: what passes it
// can carry Chronik's metadata.
package kvtest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/metastore/kv"
)

// Backend is a store under test.
type Backend struct {
	Store kv.Store
	// Compact forgets the history up to and including revision. Nil: the
	// store cannot be made to, and the test of it is skipped.
	Compact func(ctx context.Context, revision int64) error
	// TTL is the shortest lease that the store can grant.
	TTL time.Duration
}

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// Run runs the suite. Each test gets a store from open, closed by open's own
// t.Cleanup; the stores may share data, for every test keeps to its own prefix.
func Run(t *testing.T, open func(t *testing.T) Backend) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, e *env)
	}{
		{"GetOfAnAbsentKeyFindsNothing", testGetAbsent},
		{"PutCountsRevisions", testPutRevisions},
		{"TxnIsOneRevision", testTxnOneRevision},
		{"TxnTakesElseWhenAConditionFails", testTxnElse},
		{"TxnReadsWhatItWrote", testTxnReads},
		{"CompareExistsAndAbsent", testCompareExists},
		{"TxnOverTheLimitsHasNoEffect", testTxnLimits},
		{"TxnAtTheLimitsIsApplied", testTxnAtLimits},
		{"DeleteOfAnAbsentKeyChangesNothing", testDeleteAbsent},
		{"CompareAndSwapHasOneWinner", testOneWinner},
		{"CompareAndSwapLosesNoUpdate", testNoLostUpdate},
		{"RangeIsSortedAndKeepsToItsPrefix", testRangePrefix},
		{"RangeIsOneSnapshot", testRangeSnapshot},
		{"RangeReturnsManyKeys", testRangeMany},
		{"EndedContextIsAnError", testContext},
		{"WatchSeesPastAndPresentOnce", testWatchOnce},
		{"WatchNeverSplitsARevision", testWatchWhole},
		{"WatchKeepsToItsPrefix", testWatchPrefix},
		{"WatchShowsProgress", testWatchProgress},
		{"WatchEndsWithItsContext", testWatchEnds},
		{"WatchOfCompactedRevisionsSaysSo", testWatchCompacted},
		{"RangeThenWatchMissesNothing", testRangeThenWatch},
		{"LeaseTakesItsKeysAlong", testLeaseExpires},
		{"KeepAliveHoldsALease", testLeaseKept},
		{"RevokeDeletesAtOnce", testLeaseRevoked},
		{"UnknownLeaseIsRefused", testLeaseUnknown},
		{"PutWithoutLeaseDetaches", testLeaseDetached},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
			t.Cleanup(cancel)
			c.test(t, &env{Backend: open(t), ctx: ctx, root: "/kvtest/" + t.Name() + "/"})
		})
	}
}

// env is one test's store and its corner of the key space.
type env struct {
	Backend
	ctx  context.Context
	root string
}

func (e *env) key(name string) string { return e.root + name }

func (e *env) txn(t *testing.T, txn kv.Txn) kv.TxnResult {
	t.Helper()
	result, err := e.Store.Txn(e.ctx, txn)
	require.NoError(t, err)
	return result
}

// put writes under the test's prefix and returns the revision.
func (e *env) put(t *testing.T, name, value string) int64 {
	t.Helper()
	return e.txn(t, kv.Txn{Then: []kv.Op{kv.Put(e.key(name), []byte(value))}}).Revision
}

func (e *env) get(t *testing.T, name string) (kv.Entry, bool) {
	t.Helper()
	entry, ok, err := e.Store.Get(e.ctx, e.key(name))
	require.NoError(t, err)
	return entry, ok
}

// watch starts a watch that ends with the test.
func (e *env) watch(t *testing.T, prefix string, revision int64) *watch {
	t.Helper()
	ctx, cancel := context.WithCancel(e.ctx)
	w := &watch{ch: e.Store.Watch(ctx, prefix, revision), cancel: cancel}
	t.Cleanup(cancel)
	return w
}

type watch struct {
	ch     <-chan kv.Changes
	cancel context.CancelFunc
	seen   int64 // the last Revision
}

// until reads changes until done says so, and returns all the events.
func (w *watch) until(t *testing.T, done func(events []kv.Event, revision int64) bool) []kv.Event {
	t.Helper()
	var events []kv.Event
	deadline := time.After(patience)
	for !done(events, w.seen) {
		select {
		case c, ok := <-w.ch:
			require.True(t, ok, "watch ended")
			require.NoError(t, c.Err)
			require.GreaterOrEqual(t, c.Revision, w.seen, "revisions never fall")
			w.check(t, c)
			w.seen = c.Revision
			events = append(events, c.Events...)
		case <-deadline:
			require.Fail(t, "watch shows too little", "after %d events, at revision %d", len(events), w.seen)
		}
	}
	return events
}

// check holds a value against what kv.Changes promises.
func (w *watch) check(t *testing.T, c kv.Changes) {
	t.Helper()
	last := w.seen
	for i, e := range c.Events {
		require.Greater(t, e.ModRevision, w.seen, "events come after those of the value before")
		require.GreaterOrEqual(t, e.ModRevision, last, "events are in order")
		require.LessOrEqual(t, e.ModRevision, c.Revision, "event %d is covered by Revision", i)
		last = e.ModRevision
	}
}

func count(n int) func([]kv.Event, int64) bool {
	return func(events []kv.Event, _ int64) bool { return len(events) >= n }
}
