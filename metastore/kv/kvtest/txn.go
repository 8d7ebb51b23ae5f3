package kvtest

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/metastore/kv"
)

func testGetAbsent(t *testing.T, e *env) {
	_, ok := e.get(t, "nothing")
	require.False(t, ok)
}

func testPutRevisions(t *testing.T, e *env) {
	first := e.put(t, "a", "1")
	second := e.put(t, "a", "2")
	require.Greater(t, second, first)
	got, ok := e.get(t, "a")
	require.True(t, ok)
	require.Equal(t, kv.Entry{Key: e.key("a"), Value: []byte("2"), CreateRevision: first, ModRevision: second}, got)

	e.txn(t, kv.Txn{Then: []kv.Op{kv.Delete(e.key("a"))}})
	_, ok = e.get(t, "a")
	require.False(t, ok)
	again := e.put(t, "a", "3")
	got, _ = e.get(t, "a")
	require.Equal(t, again, got.CreateRevision, "a deleted key begins anew")
}

func testTxnOneRevision(t *testing.T, e *env) {
	e.put(t, "gone", "x")
	result := e.txn(t, kv.Txn{Then: []kv.Op{
		kv.Put(e.key("a"), []byte("1")), kv.Put(e.key("b"), nil), kv.Delete(e.key("gone")),
	}})
	require.True(t, result.Succeeded)
	for _, name := range []string{"a", "b"} {
		got, ok := e.get(t, name)
		require.True(t, ok)
		require.Equal(t, result.Revision, got.ModRevision)
	}
	_, ok := e.get(t, "gone")
	require.False(t, ok)
}

func testTxnElse(t *testing.T, e *env) {
	rev := e.put(t, "a", "1")
	e.put(t, "b", "1")
	txn := kv.Txn{
		If:   []kv.Compare{{Key: e.key("a"), ModRevision: rev}, {Key: e.key("b"), ModRevision: rev}},
		Then: []kv.Op{kv.Put(e.key("then"), nil)},
		Else: []kv.Op{kv.Put(e.key("else"), nil)},
	}
	result := e.txn(t, txn)
	require.False(t, result.Succeeded, "one of the two conditions does not hold")
	_, ok := e.get(t, "then")
	require.False(t, ok)
	_, ok = e.get(t, "else")
	require.True(t, ok)

	txn.Else = nil
	before := result.Revision
	require.Equal(t, before, e.txn(t, txn).Revision, "nothing done, no new revision")
}

func testTxnReads(t *testing.T, e *env) {
	rev := e.put(t, "a", "old")
	e.put(t, "b", "b")
	read := []string{e.key("a"), e.key("b"), e.key("absent")}

	result := e.txn(t, kv.Txn{
		If:   []kv.Compare{{Key: e.key("a"), ModRevision: rev}},
		Then: []kv.Op{kv.Put(e.key("a"), []byte("new"))},
		Read: read,
	})
	require.True(t, result.Succeeded)
	require.Len(t, result.Read, 2)
	require.Equal(t, "new", string(result.Read[e.key("a")].Value))
	require.Equal(t, result.Revision, result.Read[e.key("a")].ModRevision)

	result = e.txn(t, kv.Txn{If: []kv.Compare{{Key: e.key("a"), ModRevision: rev}}, Read: read})
	require.False(t, result.Succeeded)
	require.Equal(t, "new", string(result.Read[e.key("a")].Value), "the other branch reads too")
	require.Equal(t, "b", string(result.Read[e.key("b")].Value))
}

func testCompareExists(t *testing.T, e *env) {
	e.put(t, "here", "")
	holds := func(c kv.Compare) bool { return e.txn(t, kv.Txn{If: []kv.Compare{c}}).Succeeded }
	require.True(t, holds(kv.Compare{Key: e.key("here"), Exists: true}))
	require.False(t, holds(kv.Compare{Key: e.key("gone"), Exists: true}))
	require.True(t, holds(kv.Compare{Key: e.key("gone")}), "0: it does not exist")
	require.False(t, holds(kv.Compare{Key: e.key("here")}))
}

func testTxnLimits(t *testing.T, e *env) {
	many := make([]kv.Op, kv.TxnOperationsMax+1)
	for i := range many {
		many[i] = kv.Put(e.key(strconv.Itoa(i)), nil)
	}
	for name, ops := range map[string][]kv.Op{
		"operations": many,
		"bytes":      {kv.Put(e.key("large"), make([]byte, kv.TxnBytesMax))},
		"twice":      {kv.Put(e.key("same"), nil), kv.Delete(e.key("same"))},
	} {
		_, err := e.Store.Txn(e.ctx, kv.Txn{Then: ops})
		require.ErrorIs(t, err, kv.ErrTooLarge, name)
		require.NotErrorIs(t, err, kv.ErrUnknownOutcome, name)
	}
	entries, _, err := e.Store.Range(e.ctx, e.root)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func testTxnAtLimits(t *testing.T, e *env) {
	txn := kv.Txn{}
	for i := range kv.TxnOperationsMax {
		key := e.key(strconv.Itoa(i))
		txn.If = append(txn.If, kv.Compare{Key: key})
		txn.Then = append(txn.Then, kv.Put(key, nil))
	}
	txn.Then[0].Value = bytes.Repeat([]byte{'x'}, kv.TxnBytesMax-txn.Bytes())
	require.Equal(t, kv.TxnBytesMax, txn.Bytes())
	require.True(t, e.txn(t, txn).Succeeded)
}

func testDeleteAbsent(t *testing.T, e *env) {
	before := e.put(t, "a", "")
	require.Equal(t, before, e.txn(t, kv.Txn{Then: []kv.Op{kv.Delete(e.key("nothing"))}}).Revision)
}

func testOneWinner(t *testing.T, e *env) {
	var winners atomic.Int32
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			result, err := e.Store.Txn(e.ctx, kv.Txn{
				If:   []kv.Compare{{Key: e.key("prize")}},
				Then: []kv.Op{kv.Put(e.key("prize"), []byte(strconv.Itoa(i)))},
			})
			if err == nil && result.Succeeded {
				winners.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, winners.Load())
}

func testNoLostUpdate(t *testing.T, e *env) {
	const workers, each = 8, 20
	e.put(t, "n", "0")
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for done := 0; done < each; {
				old, _, err := e.Store.Get(e.ctx, e.key("n"))
				if err != nil {
					t.Error(err)
					return
				}
				n, _ := strconv.Atoi(string(old.Value))
				result, err := e.Store.Txn(e.ctx, kv.Txn{
					If:   []kv.Compare{{Key: old.Key, ModRevision: old.ModRevision}},
					Then: []kv.Op{kv.Put(old.Key, []byte(strconv.Itoa(n+1)))},
				})
				if err != nil {
					t.Error(err)
					return
				}
				if result.Succeeded {
					done++
				}
			}
		})
	}
	wg.Wait()
	got, _ := e.get(t, "n")
	require.Equal(t, strconv.Itoa(workers*each), string(got.Value))
}

func testRangePrefix(t *testing.T, e *env) {
	for _, name := range []string{"p/b", "p/a", "p/", "p0", "p", "o/z", "p/a/x"} {
		e.put(t, name, name)
	}
	entries, revision, err := e.Store.Range(e.ctx, e.key("p/"))
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, string(entry.Value))
		require.LessOrEqual(t, entry.ModRevision, revision)
	}
	require.Equal(t, []string{"p/", "p/a", "p/a/x", "p/b"}, names)

	entries, _, err = e.Store.Range(e.ctx, e.key("nothing/"))
	require.NoError(t, err)
	require.Empty(t, entries)
}

// testRangeSnapshot keeps pairs of keys equal by transactions and looks for a
// range that sees one changed and the other not.
func testRangeSnapshot(t *testing.T, e *env) {
	const pairs = 40 // enough keys of enough bytes for several pages of any implementation
	value := func(n int) []byte { return append(bytes.Repeat([]byte{'.'}, 4000), strconv.Itoa(n)...) }
	write := func(n int) error {
		txn := kv.Txn{}
		for i := range pairs {
			txn.Then = append(txn.Then, kv.Put(e.key(fmt.Sprintf("a%03d", i)), value(n)), kv.Put(e.key(fmt.Sprintf("z%03d", i)), value(n)))
		}
		_, err := e.Store.Txn(e.ctx, txn)
		return err
	}
	require.NoError(t, write(0))
	ctx, cancel := context.WithCancel(e.ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 1; ctx.Err() == nil; n++ {
			if err := write(n); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 10 {
		entries, revision, err := e.Store.Range(e.ctx, e.root)
		require.NoError(t, err)
		require.Len(t, entries, 2*pairs)
		for _, entry := range entries {
			require.Equal(t, entries[0].ModRevision, entry.ModRevision, "one snapshot")
			require.LessOrEqual(t, entry.ModRevision, revision)
		}
	}
	cancel()
	wg.Wait()
}

func testRangeMany(t *testing.T, e *env) {
	const keys = 2500
	for i := 0; i < keys; {
		txn := kv.Txn{}
		for ; i < keys && len(txn.Then) < kv.TxnOperationsMax; i++ {
			txn.Then = append(txn.Then, kv.Put(e.key(fmt.Sprintf("%05d", i)), []byte(strconv.Itoa(i))))
		}
		e.txn(t, txn)
	}
	entries, _, err := e.Store.Range(e.ctx, e.root)
	require.NoError(t, err)
	require.Len(t, entries, keys)
	for i, entry := range entries {
		require.Equal(t, strconv.Itoa(i), string(entry.Value))
	}
}

func testContext(t *testing.T, e *env) {
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	_, _, err := e.Store.Get(ctx, e.key("a"))
	require.ErrorIs(t, err, context.Canceled)
	_, _, err = e.Store.Range(ctx, e.root)
	require.ErrorIs(t, err, context.Canceled)
	_, err = e.Store.Txn(ctx, kv.Txn{Then: []kv.Op{kv.Put(e.key("a"), nil)}})
	require.ErrorIs(t, err, context.Canceled)
	_, err = e.Store.Grant(ctx, e.TTL)
	require.ErrorIs(t, err, context.Canceled)
}
