package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/embedder/local/localtest"
	"github.com/chronik-stream/chronik/internal/onnx/onnxtest"
)

// TestLocalModelsServeSearch goes the whole way with models on this machine's
// disk: an ONNX encoder, on ONNX Runtime where make tools fetched it and in Go,
// and a table of tokens. Their weights are drawn, so that only a text is sure to be
// nearest to itself.
func TestLocalModelsServeSearch(t *testing.T) {
	models := t.TempDir()
	encoder, table := filepath.Join(models, "encoder"), filepath.Join(models, "table")
	require.NoError(t, os.Mkdir(encoder, 0o755))
	require.NoError(t, os.Mkdir(table, 0o755))
	shape := onnxtest.Encoder{Layers: 2, Width: 64, Heads: 4, Inner: 128, Positions: 64, Types: 2, Opset: 14, Seed: 5}
	require.NoError(t, localtest.WriteEncoder(encoder, shape, 64))
	tokens := localtest.Vocabulary()
	vectors := make([]float32, 0, len(tokens)*32)
	for token := range tokens {
		for d := range 32 {
			vectors = append(vectors, float32((token*token*7+d*d*13+token*d*29)%31-15))
		}
	}
	require.NoError(t, localtest.WriteStatic(table, tokens, vectors, 32))

	libraries, err := filepath.Glob(filepath.Join("..", "..", ".tools", "onnxruntime", "libonnxruntime.*"))
	require.NoError(t, err)
	library := "go"
	if len(libraries) > 0 {
		library, err = filepath.Abs(libraries[0])
		require.NoError(t, err)
	} else {
		t.Log("ONNX Runtime is not in .tools/onnxruntime: its part runs in Go, too")
	}
	for _, runtime := range []string{"go", library} {
		c := startIn(t, t.TempDir(), []string{"CHRONIK_EMBEDDING_LOCAL_MODELS=" + models, "CHRONIK_EMBEDDING_LOCAL_RUNTIME=" + runtime})
		for _, model := range []string{"encoder", "table"} {
			searchLocally(t, c, model)
		}
		if runtime != "go" {
			require.Contains(t, c.log.tail(1<<20), "ONNX Runtime 1.")
		}
		c.stop()
	}
}

// searchLocally writes records to a topic of a model, and finds each by its text.
func searchLocally(t *testing.T, c *chronik, model string) {
	t.Helper()
	const records = 40
	_, stderr, code := c.cli("", "topic", "create", model, "--partitions", "2", "--config", "vector.enabled=true",
		"--config", "vector.embedding.provider=local", "--config", "vector.embedding.model="+model)
	require.Zero(t, code, stderr)
	client, err := kgo.NewClient(kgo.SeedBrokers(c.kafka), kgo.DefaultProduceTopic(model))
	require.NoError(t, err)
	defer client.Close()
	text := func(n int) string {
		return fmt.Sprintf("order number %d: the %s shoes, payment %d", n, []string{"red", "green", "blue"}[n%3], n*n)
	}
	for n := range records {
		require.NoError(t, client.ProduceSync(t.Context(), &kgo.Record{Value: []byte(text(n))}).FirstErr())
	}
	for n := 0; n < records; n += 13 {
		status, body := c.post("/_vector/"+model+"/search", map[string]any{"query": text(n), "k": 1, "freshness": "latest", "timeout_secs": 55})
		require.Equal(t, http.StatusOK, status, string(body))
		var answer struct {
			Total   int `json:"total_vectors"`
			Results []struct {
				Distance float64
				Preview  string `json:"text_preview"`
			}
		}
		require.NoError(t, json.Unmarshal(body, &answer))
		require.Equal(t, records, answer.Total)
		require.Len(t, answer.Results, 1)
		require.Equal(t, text(n), answer.Results[0].Preview)
		require.InDelta(t, 0, answer.Results[0].Distance, 1e-3)
	}
}
