package embedder_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/internal/topicconfig"
)

func TestTextsGetTheirVectors(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked struct{ Texts []string }
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		vectors := make([][]float32, len(asked.Texts))
		for i, text := range asked.Texts {
			vectors[i] = []float32{float32(len(text)), 1}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"embeddings": vectors})
	}))
	defer server.Close()
	s, err := embedder.New(embedder.Config{})
	require.NoError(t, err)
	defer s.Close()
	e, err := s.Open(topicconfig.Vector{Provider: "external", Endpoint: server.URL, BatchSize: 2, Concurrency: 2})
	require.NoError(t, err)
	v, err := e.Embed(t.Context(), []string{"a", "", "ccc", "dd", "eeeee"})
	require.NoError(t, err)
	require.Equal(t, 5, v.Len())
	for i, want := range []float32{1, 0, 3, 2, 5} {
		if want == 0 {
			require.Nil(t, v.At(i))
		} else {
			require.Equal(t, []float32{want, 1}, v.At(i))
		}
	}
	require.Equal(t, 2, e.Model().Dimensions)
}
