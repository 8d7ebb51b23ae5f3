package faults_test

import (
	"fmt"
	"io"
	"math/bits"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/faults"
	"github.com/chronik-stream/chronik/objstore/memory"
	"github.com/chronik-stream/chronik/objstore/objtest"
)

func TestWithoutRulesNothingFails(t *testing.T) {
	objtest.Run(t, func(*testing.T) objstore.Bucket { return faults.New(memory.New(), faults.Plan{Seed: 1}) })
}

func plan(t *testing.T, text string) faults.Plan {
	t.Helper()
	p, err := faults.ParsePlan(text)
	require.NoError(t, err)
	return p
}

func TestPlansPrintAsTheyParse(t *testing.T) {
	const text = "seed 7; put segments/ fail-after p=0.05; get * delay=20ms every=10; open * cut nth=3; * topics/ flip p=1; list * fail-before p=1e-09"
	p := plan(t, "# a comment\n"+strings.ReplaceAll(text, ";", "\n")+"\n;")
	require.Equal(t, text, p.String())
	require.Equal(t, p, plan(t, p.String()))
}

func TestWrongPlansAreRefused(t *testing.T) {
	for _, text := range []string{
		"put", "put * fail-before", "putt * fail-before p=1", "put * explode p=1", "put * fail-before p=0",
		"put * fail-before p=1.1", "put * fail-before p=NaN", "put * delay p=1", "put * delay=-1s p=1",
		"put * fail-before nth=0", "put * cut=3 p=1", "put * cut q=1", "seed x", "seed -1",
	} {
		_, err := faults.ParsePlan(text)
		require.Error(t, err, text)
	}
}

// FuzzParsePlan: what parses prints, and the print parses to the same plan.
func FuzzParsePlan(f *testing.F) {
	f.Add("seed 7; put segments/ fail-after p=0.05; get * delay=20ms every=10")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := faults.ParsePlan(text)
		if err != nil {
			return
		}
		again, err := faults.ParsePlan(p.String())
		require.NoError(t, err, p.String())
		require.Equal(t, p, again)
	})
}

func TestFailAfterHasItsEffectAndFailBeforeHasNone(t *testing.T) {
	inner := memory.New()
	b := faults.New(inner, plan(t, "put before fail-before p=1; put after fail-after p=1; put cut cut p=1"))
	for _, name := range []string{"before", "after", "cut"} {
		_, err := b.Put(t.Context(), name, objstore.Bytes([]byte("x")), objstore.Condition{IfAbsent: true})
		require.ErrorIs(t, err, objstore.ErrUnavailable)
	}
	names, err := objtest.Names(inner.List(t.Context(), ""))
	require.NoError(t, err)
	require.Equal(t, []string{"after"}, names)
	require.Equal(t, []int64{1, 1, 1}, b.Struck())

	b.Use(plan(t, "delete * fail-after p=1"))
	require.ErrorIs(t, b.Delete(t.Context(), "after"), objstore.ErrUnavailable)
	_, err = inner.Head(t.Context(), "after")
	require.ErrorIs(t, err, objstore.ErrNotFound)
}

func TestFlipTurnsOneBit(t *testing.T) {
	data := objtest.Bytes(5_000, 1)
	for _, op := range []string{"get", "open", "put"} {
		b := faults.New(memory.New(), plan(t, "seed 3; "+op+" * flip nth=1"))
		objtest.Put(t, b, "o", data)
		got, err := b.Get(t.Context(), "o", 0, -1)
		require.NoError(t, err)
		if op == "open" {
			r, err := b.Open(t.Context(), "o")
			require.NoError(t, err)
			got, err = io.ReadAll(r)
			require.NoError(t, err)
			require.NoError(t, r.Close())
		}
		different := 0
		for i := range data {
			different += bits.OnesCount8(data[i] ^ got[i])
		}
		require.Equal(t, 1, different, op)
	}
}

func TestCutEndsReadersAndListsWithAnError(t *testing.T) {
	b := faults.New(memory.New(), plan(t, "seed 5; open * cut p=1; list * cut p=1"))
	for i := range 20 {
		objtest.Put(t, b, fmt.Sprintf("o%02d", i), make([]byte, 1_000))
	}
	r, err := b.Open(t.Context(), "o01")
	require.NoError(t, err)
	got, err := io.ReadAll(r)
	require.ErrorIs(t, err, objstore.ErrUnavailable)
	require.Less(t, len(got), 1_000)
	require.NoError(t, r.Close())
	names, err := objtest.Names(b.List(t.Context(), ""))
	require.ErrorIs(t, err, objstore.ErrUnavailable)
	require.Less(t, len(names), 20)
}

func TestDelayWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := faults.New(memory.New(), plan(t, "put * delay=3s p=1; put * fail-before nth=2"))
		start := time.Now()
		objtest.Put(t, b, "o", nil)
		require.Equal(t, 3*time.Second, time.Since(start))
		_, err := b.Put(t.Context(), "o", objstore.Bytes(nil), objstore.Condition{})
		require.ErrorIs(t, err, objstore.ErrUnavailable, "a delay hides no later rule")
		require.Equal(t, 6*time.Second, time.Since(start))
	})
}

// strikes is which of many calls a plan strikes, names taken in the given order.
func strikes(t *testing.T, p faults.Plan, backwards bool) map[string]bool {
	b := faults.New(memory.New(), p)
	hit := map[string]bool{}
	for i := range 1_000 {
		if backwards {
			i = 999 - i
		}
		for try := range 2 {
			_, err := b.Put(t.Context(), fmt.Sprint("o", i), objstore.Bytes(nil), objstore.Condition{})
			hit[fmt.Sprint(i, " ", try)] = err != nil
		}
	}
	return hit
}

func TestASeedReplaysWhateverTheOrder(t *testing.T) {
	p := plan(t, "seed 11; put * fail-before p=0.1")
	first := strikes(t, p, false)
	require.Equal(t, first, strikes(t, p, true))
	hits := 0
	for _, hit := range first {
		if hit {
			hits++
		}
	}
	require.InDelta(t, 200, hits, 60)
	p.Seed = 12
	require.NotEqual(t, first, strikes(t, p, false))
}
