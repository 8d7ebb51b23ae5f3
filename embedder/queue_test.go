package embedder_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/embedder/embeddertest"
	"github.com/chronik-stream/chronik/internal/topicconfig"
)

// slow is a provider that takes a second for each request.
func slow(t *testing.T, c embedder.Config, v topicconfig.Vector) *rig {
	return newRig(t, embeddertest.External, embeddertest.Options{Plan: plan(t, "* * delay=1s p=1")}, c, v)
}

func TestCallersThatWaitTogetherShareRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := slow(t, embedder.Config{}, topicconfig.Vector{BatchSize: 50, Concurrency: 2})
		began := time.Now()
		var callers sync.WaitGroup
		for c := range 42 {
			callers.Go(func() {
				texts := []string{fmt.Sprintf("caller %d", c), fmt.Sprintf("and %d again", c)}
				v, err := r.embedder.Embed(t.Context(), texts)
				if err != nil {
					t.Error(err)
					return
				}
				for i, text := range texts {
					if want := embeddertest.Vector(text, 64); fmt.Sprint(v.At(i)) != fmt.Sprint(want) {
						t.Errorf("%q has another's vector", text)
					}
				}
			})
		}
		callers.Wait()
		// Two requests go at once with what there is, and two with all that came meanwhile.
		require.LessOrEqual(t, time.Since(began), 2*time.Second)
		requests := r.server.Requests()
		require.LessOrEqual(t, len(requests), 4)
		total := 0
		for _, request := range requests {
			require.LessOrEqual(t, len(request.Texts), 50)
			total += len(request.Texts)
		}
		require.Equal(t, 84, total)
		require.Equal(t, 2, r.server.Most())
	})
}

func TestALongCallDoesNotHoldUpAShortOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := slow(t, embedder.Config{}, topicconfig.Vector{BatchSize: 10, Concurrency: 1})
		long := make(chan time.Duration)
		began := time.Now()
		go func() {
			_, err := r.embedder.Embed(t.Context(), words(1000))
			if err != nil {
				t.Error(err)
			}
			long <- time.Since(began)
		}()
		synctest.Wait()
		_, err := r.embedder.Embed(t.Context(), []string{"a", "b", "c"})
		require.NoError(t, err)
		require.LessOrEqual(t, time.Since(began), 3*time.Second)
		_, err = r.embedder.Query(t.Context(), "at once")
		require.NoError(t, err)
		require.LessOrEqual(t, time.Since(began), 4*time.Second)
		require.Equal(t, 101*time.Second, <-long) // 1003 texts
	})
}

// unit is a vector that takes no time.
func unit(_ string, dimensions int) []float32 {
	v := make([]float32, dimensions)
	v[0] = 1
	return v
}

func TestARequestHasBoundedTextAndTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, embeddertest.External, embeddertest.Options{VectorOf: unit}, embedder.Config{InputTokensMax: 1 << 20}, topicconfig.Vector{BatchSize: 100, Concurrency: 1})
		texts := make([]string, 5)
		for i := range texts {
			texts[i] = strings.Repeat("x", 3<<20)
		}
		_, err := r.embedder.Embed(t.Context(), texts)
		require.NoError(t, err)
		require.Len(t, r.server.Requests(), 3) // of 8 MiB

		s := embeddertest.New(embeddertest.Options{Dimensions: 1536, VectorOf: unit})
		service, err := embedder.New(embedder.Config{Transport: s.Transport(), OpenAIBaseURL: s.OpenAI()})
		require.NoError(t, err)
		e, err := service.Open(topicconfig.Vector{Provider: "openai", Model: "text-embedding-3-small", Dimensions: 1536, BatchSize: 2048, Concurrency: 1})
		require.NoError(t, err)
		texts = texts[:0]
		for range 100 {
			texts = append(texts, strings.Repeat("word ", 8000)) // cut at 8191 tokens, of four bytes
		}
		v, err := e.Embed(t.Context(), texts)
		require.NoError(t, err)
		require.Equal(t, 100, v.Cut)
		for _, request := range s.Requests() {
			require.LessOrEqual(t, len(request.Texts), 36) // of 300,000 tokens
			require.Len(t, request.Texts[0], 8191*4)
		}
		require.Len(t, s.Requests(), 3)
	})
}

func TestAProviderThatTakesFewerTextsIsAskedForFewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, embeddertest.External, embeddertest.Options{TextsMax: 32}, embedder.Config{}, topicconfig.Vector{BatchSize: 256, Concurrency: 1})
		for round := range 3 {
			before := len(r.server.Requests())
			v, err := r.embedder.Embed(t.Context(), words(256))
			require.NoError(t, err)
			require.NotNil(t, v.At(255))
			if round > 0 {
				require.Equal(t, 8, len(r.server.Requests())-before)
			}
		}
	})
}

func TestACallThatEndsTakesItsTextsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := slow(t, embedder.Config{}, topicconfig.Vector{BatchSize: 10, Concurrency: 1})
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error)
		go func() {
			v, err := r.embedder.Embed(ctx, words(1000))
			if v.Len() != 20 || v.At(19) == nil {
				t.Errorf("%d texts are answered for", v.Len())
			}
			ended <- err
		}()
		time.Sleep(2500 * time.Millisecond)
		cancel(cause)
		require.ErrorIs(t, <-ended, cause)
		synctest.Wait()
		require.Len(t, r.server.Requests(), 3)

		// A request with another's texts in it goes on.
		first, cancel := context.WithCancelCause(t.Context())
		for _, texts := range [][]string{{"in the way"}, {"ends"}} {
			go func() {
				_, err := r.embedder.Embed(first, texts)
				ended <- err
			}()
			synctest.Wait()
		}
		stays := make(chan error)
		go func() {
			v, err := r.embedder.Embed(t.Context(), []string{"stays"})
			if err == nil && v.At(0) == nil {
				err = errors.New("no vector")
			}
			stays <- err
		}()
		time.Sleep(1500 * time.Millisecond)
		require.NoError(t, <-ended)
		cancel(cause)
		require.ErrorIs(t, <-ended, cause)
		require.NoError(t, <-stays)
		require.Equal(t, 1, r.server.Texts()["ends"])
	})
}

func TestTopicsThatAgreeShareAnEmbedder(t *testing.T) {
	s, err := embedder.New(embedder.Config{})
	require.NoError(t, err)
	open := func(v topicconfig.Vector) *embedder.Embedder {
		e, err := s.Open(v)
		require.NoError(t, err)
		return e
	}
	v := topicconfig.Vector{Provider: "external", Endpoint: "http://127.0.0.1:1/embed", BatchSize: 8, Concurrency: 1, Metric: "cosine"}
	other := v
	other.Metric, other.Field = "dot", "key"
	require.Same(t, open(v), open(other))
	other.BatchSize = 9
	require.NotSame(t, open(v), open(other))
	for _, wrong := range []topicconfig.Vector{{Provider: "external"}, {Provider: "none"}, {Provider: "openai", Model: "text-embedding-3-small"}} {
		_, err := s.Open(wrong)
		var e *embedder.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, embedder.Misconfigured, e.Kind)
	}
}
