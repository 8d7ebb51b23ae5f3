package embedder_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/embedder/embeddertest"
	"github.com/chronik-stream/chronik/internal/topicconfig"
)

func TestRatesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, embeddertest.External, embeddertest.Options{}, embedder.Config{RequestsPerMinute: 120}, topicconfig.Vector{Concurrency: 8})
		began := time.Now()
		_, err := r.embedder.Embed(t.Context(), words(122))
		require.NoError(t, err)
		require.Equal(t, time.Minute, time.Since(began).Round(time.Millisecond)) // two at once, then two a second

		// A query goes at once, and messages wait for what it used.
		began = time.Now()
		_, err = r.embedder.Query(t.Context(), "now")
		require.NoError(t, err)
		require.Zero(t, time.Since(began))
		_, err = r.embedder.Embed(t.Context(), words(1))
		require.NoError(t, err)
		require.Equal(t, time.Second, time.Since(began).Round(time.Millisecond))
	})
}

func TestTokensAreTheProvidersWhereItSaysThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 7 tokens a text, as the server counts, where 2 are estimated.
		r := newRig(t, embeddertest.OpenAI, embeddertest.Options{}, embedder.Config{TokensPerMinute: 7 * 60}, topicconfig.Vector{BatchSize: 10, Concurrency: 1})
		began := time.Now()
		v, err := r.embedder.Embed(t.Context(), words(600))
		require.NoError(t, err)
		require.Equal(t, 600*embeddertest.TokensOfText, v.Tokens)
		require.InDelta(t, 590, time.Since(began).Seconds(), 2) // a text a second; the last ten are waited for by who comes next
	})
}

func TestRequestsToOneModelAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := slow(t, embedder.Config{RequestsMax: 3}, topicconfig.Vector{Concurrency: 2})
		other, err := r.service.Open(topicconfig.Vector{Provider: "external", Endpoint: r.server.External(), BatchSize: 2, Concurrency: 9})
		require.NoError(t, err)
		done := make(chan error)
		for _, e := range []*embedder.Embedder{r.embedder, other} {
			go func() {
				_, err := e.Embed(t.Context(), words(30))
				done <- err
			}()
		}
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		require.Equal(t, 3, r.server.Most())
	})
}

func TestQueriesAreRememberedAndMadeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := slow(t, embedder.Config{CacheBytesMax: 3 * (256 + 4*64 + 8)}, topicconfig.Vector{})
		done := make(chan error)
		for range 20 {
			go func() {
				_, err := r.embedder.Query(t.Context(), "the same")
				done <- err
			}()
		}
		for range 20 {
			require.NoError(t, <-done)
		}
		require.Len(t, r.server.Requests(), 1)
		ask := func(text string) {
			v, err := r.embedder.Query(t.Context(), text)
			require.NoError(t, err)
			require.Equal(t, embeddertest.Vector(text, 64), v)
		}
		for _, text := range []string{"a", "b", "the same"} {
			ask(text)
		}
		require.Len(t, r.server.Requests(), 3)
		ask("c")        // there is room for three: a goes
		ask("the same") // was used after it
		require.Len(t, r.server.Requests(), 4)
		ask("a")
		require.Len(t, r.server.Requests(), 5)
	})
}

// A model's name is the topic's word for it: what one endpoint answers is not given
// to the topics of another.
func TestQueriesOfOneEndpointAreNotAnsweredByAnother(t *testing.T) {
	ours := embeddertest.New(embeddertest.Options{Dimensions: 8})
	theirs := embeddertest.New(embeddertest.Options{Dimensions: 8, Plan: plan(t, "* * forbid p=1")})
	defer func() { require.NoError(t, errors.Join(ours.Close(), theirs.Close())) }()
	s, err := embedder.New(embedder.Config{Transport: byHost{"ours.test": ours.Transport(), "theirs.test": theirs.Transport()}})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	open := func(host string) *embedder.Embedder {
		e, err := s.Open(topicconfig.Vector{Provider: "openai", Endpoint: "http://" + host + "/v1", Model: "m", Dimensions: 8})
		require.NoError(t, err)
		return e
	}
	_, err = open("ours.test").Query(t.Context(), "words")
	require.NoError(t, err)
	_, err = open("theirs.test").Query(t.Context(), "words")
	require.Error(t, err, "it was asked itself")
}

// byHost carries requests by their host.
type byHost map[string]http.RoundTripper

func (b byHost) RoundTrip(r *http.Request) (*http.Response, error) {
	return b[r.URL.Host].RoundTrip(r)
}
