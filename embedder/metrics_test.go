package embedder_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/embedder/embeddertest"
	"github.com/chronik-stream/chronik/internal/topicconfig"
)

// gathered are the counters and gauges of a registry, by name and value of the last
// label, and how many observations histograms have.
func gathered(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	require.NoError(t, err)
	values := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.Metric {
			name := family.GetName()
			for _, label := range m.Label {
				switch label.GetName() {
				case "provider":
					require.Equal(t, "openai", label.GetValue())
				case "model":
					require.Equal(t, "a-model", label.GetValue())
				default:
					name += " " + label.GetValue()
				}
			}
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}

func TestMetricsSayWhatWasDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		r := newRig(t, embeddertest.OpenAI, embeddertest.Options{TextBytesMax: 400, Plan: plan(t, "* * throttle nth=1; * poison refuse p=1; * * delay=1s p=1")},
			embedder.Config{Registerer: registry, PricePerMillionTokens: 125_000, InputTokensMax: 100}, topicconfig.Vector{BatchSize: 4, RetriesMax: 2})
		long := make([]byte, 1000)
		for i := range long {
			long[i] = 'x'
		}
		done := make(chan error)
		go func() {
			_, err := r.embedder.Embed(t.Context(), []string{"one", "two", "", "three", string(long), "poison", "four"})
			done <- err
		}()
		synctest.Wait()
		require.Equal(t, 6., gathered(t, registry)["chronik_embedding_queue_depth"])
		require.NoError(t, <-done)
		r.embedder.Skipped(embedder.SkipNotUTF8, 3)
		for range 3 {
			_, err := r.embedder.Query(t.Context(), "where")
			require.NoError(t, err)
		}
		r.server.Use(plan(t, "* * forbid p=1"))
		_, err := r.embedder.Query(t.Context(), "when")
		require.Error(t, err)
		for range 4 {
			time.Sleep(time.Second)
		}
		const p = "chronik_embedding_"
		// Four texts, throttled and again; then poison and four: refused, a probe, poison
		// alone, four; where; when.
		require.Equal(t, map[string]float64{
			p + "requests_total": 8, p + "latency_seconds": 8, p + "retries_total": 1,
			p + "errors_total throttled": 1, p + "errors_total refused": 2, p + "errors_total key": 1,
			p + "messages_total": 7, p + "vectors_total": 5, p + "cut_total": 1, p + "queue_depth": 0,
			p + "skipped_total empty": 1, p + "skipped_total refused": 1, p + "skipped_total not_utf8": 3,
			p + "queries_total embedded": 1, p + "queries_total cached": 2, p + "queries_total failed": 1,
			p + "tokens_total": 7 * embeddertest.TokensOfText, p + "cost_total": 7 * embeddertest.TokensOfText / 8.,
		}, gathered(t, registry))

		_, err = embedder.New(embedder.Config{Registerer: registry})
		require.Error(t, err, "two services in one registry would be added up")
	})
}

// Whoever creates topics writes names and endpoints; labels have to be UTF-8.
func TestNamesThatAreNoTextAreLabelsAllTheSame(t *testing.T) {
	s, err := embedder.New(embedder.Config{})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	for _, v := range []topicconfig.Vector{
		{Provider: "external", Endpoint: "http://models.test/%ff"},
		{Provider: "openai", Endpoint: "http://models.test/v1", Model: "a\xffmodel"},
	} {
		_, err := s.Open(v)
		require.NoError(t, err)
	}
}
