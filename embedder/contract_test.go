package embedder_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/embedder/embeddertest"
	"github.com/chronik-stream/chronik/internal/topicconfig"
)

// started is a provider at an address of its own.
func started(t *testing.T, o embeddertest.Options) *embeddertest.Server {
	t.Helper()
	s, err := embeddertest.Start(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// opened is an embedder of a service of its own.
func opened(t *testing.T, c embedder.Config, v topicconfig.Vector) *embedder.Embedder {
	t.Helper()
	s, err := embedder.New(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	e, err := s.Open(v)
	require.NoError(t, err)
	return e
}

func TestProvidersKeepTheContract(t *testing.T) {
	settings := topicconfig.Vector{BatchSize: 256, Concurrency: 4, RetriesMax: 3}
	for name, test := range map[string]struct {
		server embeddertest.Options
		vector func(*embeddertest.Server, *topicconfig.Vector) embedder.Config
	}{
		"external": {embeddertest.Options{Key: "k"}, func(s *embeddertest.Server, v *topicconfig.Vector) embedder.Config {
			v.Provider, v.Endpoint = "external", s.External()
			return embedder.Config{APIKey: "k", TrustedEndpoints: []string{"*"}}
		}},
		"external with little room": {embeddertest.Options{TextBytesMax: 3000}, func(s *embeddertest.Server, v *topicconfig.Vector) embedder.Config {
			v.Provider, v.Endpoint, v.Dimensions = "external", s.External(), 64
			return embedder.Config{}
		}},
		"openai": {embeddertest.Options{Key: "k", Dimensions: 384, TextBytesMax: 8191 * 4}, func(s *embeddertest.Server, v *topicconfig.Vector) embedder.Config {
			v.Provider, v.Model, v.Dimensions = "openai", "all-MiniLM-L6-v2", 384
			return embedder.Config{APIKey: "k", OpenAIBaseURL: s.OpenAI()}
		}},
		"openai, shortened": {embeddertest.Options{Dimensions: 1536}, func(s *embeddertest.Server, v *topicconfig.Vector) embedder.Config {
			v.Provider, v.Model, v.Dimensions = "openai", "text-embedding-3-small", 256
			return embedder.Config{OpenAIBaseURL: s.OpenAI() + "/"}
		}},
		"a compatible service without base64": {embeddertest.Options{NoBase64: true}, func(s *embeddertest.Server, v *topicconfig.Vector) embedder.Config {
			v.Provider, v.Model, v.Endpoint = "openai", "nomic-embed", s.OpenAI()+"/embeddings?api-version=1"
			return embedder.Config{}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			embeddertest.Contract(t, func(t *testing.T) *embedder.Embedder {
				v := settings
				s := started(t, test.server)
				return opened(t, test.vector(s, &v), v)
			})
		})
	}
}
