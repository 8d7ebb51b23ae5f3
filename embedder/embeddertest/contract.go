package embeddertest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/embedder"
)

// Contract checks everything that an Embedder promises, whatever makes the
// vectors. open is called once per subtest.
func Contract(t *testing.T, open func(t *testing.T) *embedder.Embedder) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *embedder.Embedder)
	}{
		{"nothing becomes nothing", nothing},
		{"each text has its own vector, in order", inOrder},
		{"a text's vector does not depend on its company", alone},
		{"blank texts have none", blanks},
		{"any script, and what is no character, is a text", scripts},
		{"a long text is cut", long},
		{"a query is embedded as a message is", query},
		{"many callers get their own", manyCallers},
		{"an ended context ends the call", ended},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func embed(t *testing.T, e *embedder.Embedder, texts ...string) embedder.Vectors {
	t.Helper()
	v, err := e.Embed(t.Context(), texts)
	require.NoError(t, err)
	require.Equal(t, len(texts), v.Len())
	return v
}

// same says that two vectors are, up to what batching does to sums of floats.
func same(t *testing.T, want, got []float32, of string) {
	t.Helper()
	require.Len(t, got, len(want), of)
	for i := range want {
		require.InDelta(t, want[i], got[i], 1e-4, "dimension %d of %s", i, of)
	}
}

func nothing(t *testing.T, e *embedder.Embedder) {
	v := embed(t, e)
	require.Zero(t, v.Len())
}

// sentences are n texts, each with words of its own.
func sentences(n int) []string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf("order %d: %s shoes number %d", i, []string{"red", "green", "blue"}[i%3], i*7)
	}
	return texts
}

func inOrder(t *testing.T, e *embedder.Embedder) {
	texts := sentences(700)
	v := embed(t, e, texts...)
	require.Equal(t, v.Model, e.Model())
	require.Positive(t, v.Model.Dimensions)
	for i := range texts {
		require.Len(t, v.At(i), v.Model.Dimensions)
		for _, f := range v.At(i) {
			require.False(t, math.IsNaN(float64(f)) || math.IsInf(float64(f), 0))
		}
	}
	for _, i := range []int{0, 1, 255, 256, 257, 699} {
		same(t, embed(t, e, texts[i]).At(0), v.At(i), texts[i])
	}
}

func alone(t *testing.T, e *embedder.Embedder) {
	text := "a red shoe"
	want := embed(t, e, text).At(0)
	same(t, want, embed(t, e, strings.Repeat("many more words ", 60), text, "x").At(1), text)
}

func blanks(t *testing.T, e *embedder.Embedder) {
	v := embed(t, e, "", "one", " \n\t", "two", "")
	for i, has := range []bool{false, true, false, true, false} {
		require.Equal(t, has, v.At(i) != nil, "text %d", i)
	}
	none := embed(t, e, "", " ")
	require.Nil(t, none.At(0))
	_, err := e.Query(t.Context(), "  ")
	var wrong *embedder.Error
	require.ErrorAs(t, err, &wrong)
}

func scripts(t *testing.T, e *embedder.Embedder) {
	texts := []string{"Größe und Maß", "красные туфли", "红色的鞋子", "أحذية حمراء", "👟👠🥾", "\x00\x01\x7f", "a\xffb", `{"json": [1, "two"]}`, "\u202ereversed", "�"}
	v := embed(t, e, texts...)
	for i, text := range texts {
		require.NotNil(t, v.At(i), "%q", text)
	}
}

func long(t *testing.T, e *embedder.Embedder) {
	for _, word := range []string{"shoes ", "鞋", "x"} {
		v := embed(t, e, "short", strings.Repeat(word, 1<<20/len(word)), "short as well")
		require.NotNil(t, v.At(1))
		require.Equal(t, 1, v.Cut)
	}
}

func query(t *testing.T, e *embedder.Embedder) {
	text := "green shoes for the winter"
	want := embed(t, e, text).At(0)
	for range 2 { // the second time it is remembered
		got, err := e.Query(t.Context(), text)
		require.NoError(t, err)
		same(t, want, got, text)
	}
}

func manyCallers(t *testing.T, e *embedder.Embedder) {
	texts := sentences(300)
	want := embed(t, e, texts...)
	group, ctx := errgroup.WithContext(t.Context())
	for c := range 30 {
		group.Go(func() error {
			first := c * 10
			v, err := e.Embed(ctx, texts[first:first+10])
			if err != nil {
				return err
			}
			for i := range 10 {
				for d, f := range want.At(first + i) {
					if math.Abs(float64(v.At(i)[d]-f)) > 1e-4 {
						return fmt.Errorf("dimension %d of %q is %v, not %v", d, texts[first+i], v.At(i)[d], f)
					}
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
}

func ended(t *testing.T, e *embedder.Embedder) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	v, err := e.Embed(ctx, sentences(10))
	require.ErrorIs(t, err, cause)
	require.Zero(t, v.Len())
	_, err = e.Query(ctx, "never asked before")
	require.ErrorIs(t, err, cause)
}
