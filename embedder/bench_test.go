package embedder_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/embedder/embeddertest"
	"github.com/chronik-stream/chronik/internal/topicconfig"
)

// canned answers every request with the same bytes, at once.
type canned []byte

func (c canned) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(c)))}, nil
}

// What Chronik itself does for 256 vectors of 1536 dimensions.
func BenchmarkEmbed(b *testing.B) {
	for _, protocol := range []embeddertest.Op{embeddertest.OpenAI, embeddertest.External} {
		b.Run(string(protocol), func(b *testing.B) {
			s := embeddertest.New(embeddertest.Options{Dimensions: 1536})
			texts := words(256)
			path, body := s.OpenAI()+"/embeddings", `{"encoding_format":"base64","input":["`
			if protocol == embeddertest.External {
				path, body = s.External(), `{"texts":["`
			}
			response, err := (&http.Client{Transport: s.Transport()}).Post(path, "application/json", strings.NewReader(body+strings.Join(texts, `","`)+`"]}`))
			require.NoError(b, err)
			answer, err := io.ReadAll(response.Body)
			require.NoError(b, err)
			service, err := embedder.New(embedder.Config{Transport: canned(answer), APIKey: "k"})
			require.NoError(b, err)
			e, err := service.Open(topicconfig.Vector{Provider: string(protocol), Model: "m", Endpoint: "http://x/", BatchSize: 256, Concurrency: 1})
			require.NoError(b, err)
			b.SetBytes(int64(len(answer)))
			for b.Loop() {
				v, err := e.Embed(b.Context(), texts)
				if err != nil || v.Len() != 256 {
					b.Fatal(v.Len(), err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/256, "µs/vector")
		})
	}
}
