package faults_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/metastore/kv/faults"
	"github.com/chronik-stream/chronik/metastore/kv/kvtest"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWithoutRulesItKeepsTheContract(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kvtest.Backend {
		inner := memory.New()
		s := faults.New(inner, faults.Plan{})
		t.Cleanup(func() {
			require.NoError(t, s.Close())
			require.NoError(t, inner.Close())
		})
		return kvtest.Backend{
			Store:   s,
			Compact: func(_ context.Context, revision int64) error { inner.Compact(revision); return nil },
			TTL:     50 * time.Millisecond,
		}
	})
}

func plan(t *testing.T, text string) faults.Plan {
	t.Helper()
	p, err := faults.ParsePlan(text)
	require.NoError(t, err)
	return p
}

func TestEffectsOfATransaction(t *testing.T) {
	for _, c := range []struct {
		rule    string
		err     error
		applied bool
	}{
		{"txn * fail-before nth=1", kv.ErrUnavailable, false},
		{"txn * fail-after nth=1", kv.ErrUnknownOutcome, true},
		{"txn * lose nth=1", kv.ErrUnknownOutcome, false},
		{"txn a late=1h nth=1", kv.ErrUnknownOutcome, false},
		{"txn * delay=1s nth=1", nil, true},
		{"txn b fail-before p=1", nil, true},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := memory.New()
				defer inner.Close()
				s := faults.New(inner, plan(t, c.rule))
				defer s.Close()
				_, err := s.Txn(t.Context(), kv.Txn{Then: []kv.Op{kv.Put("a", nil)}})
				require.ErrorIs(t, err, c.err)
				_, ok, err := inner.Get(t.Context(), "a")
				require.NoError(t, err)
				require.Equal(t, c.applied, ok)
				if c.err == kv.ErrUnknownOutcome {
					require.Equal(t, []int64{1}, s.Struck())
				}
			})
		})
	}
}

func TestLateTransactionComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := memory.New()
		defer inner.Close()
		s := faults.New(inner, plan(t, "txn * late=1h nth=1"))
		defer s.Close()
		_, err := s.Txn(t.Context(), kv.Txn{Then: []kv.Op{kv.Put("a", nil)}})
		require.ErrorIs(t, err, kv.ErrUnknownOutcome)
		start := time.Now()
		s.Settle()
		require.Equal(t, time.Hour, time.Since(start))
		_, ok, err := inner.Get(t.Context(), "a")
		require.NoError(t, err)
		require.True(t, ok)
	})
}

func TestCutEndsAWatch(t *testing.T) {
	inner := memory.New()
	defer inner.Close()
	s := faults.New(inner, plan(t, "watch * cut nth=2"))
	defer s.Close()
	put := func() {
		_, err := s.Txn(t.Context(), kv.Txn{Then: []kv.Op{kv.Put("a", nil)}})
		require.NoError(t, err)
	}
	put()
	w := s.Watch(t.Context(), "", 2)
	require.NoError(t, (<-w).Err)
	put()
	require.ErrorIs(t, (<-w).Err, kv.ErrUnavailable)
	_, open := <-w
	require.False(t, open)
}

func TestOneSeedStrikesTheSameCalls(t *testing.T) {
	run := func(seed uint64) (struck []bool) {
		inner := memory.New()
		defer inner.Close()
		p := plan(t, "get * fail-before p=0.5")
		p.Seed = seed
		s := faults.New(inner, p)
		defer s.Close()
		for range 64 {
			_, _, err := s.Get(t.Context(), "a")
			struck = append(struck, err != nil)
		}
		return struck
	}
	require.Equal(t, run(1), run(1))
	require.NotEqual(t, run(1), run(2))
}

func TestPlanPrintsAsItParses(t *testing.T) {
	const text = "seed 7; txn /commits/ fail-after p=0.05; * * delay=20ms every=10; txn * late=1m0s nth=3; watch * cut nth=1"
	p := plan(t, text)
	require.Equal(t, text, p.String())
	require.Equal(t, p, plan(t, "# a comment\n"+text+"\n\n"))
}

func FuzzParsePlan(f *testing.F) {
	f.Add("seed 7; txn /commits/ fail-after p=0.05; get * lose nth=2")
	f.Add("txn * late=1ns every=1")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := faults.ParsePlan(text)
		if err != nil {
			return
		}
		again, err := faults.ParsePlan(p.String())
		if err != nil {
			t.Fatalf("%q prints as %q: %v", text, p, err)
		}
		require.Equal(t, p, again, "what is printed reads as what was parsed")
	})
}
