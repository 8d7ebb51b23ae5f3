package embedder_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/embedder/embeddertest"
	"github.com/chronik-stream/chronik/embedder/local"
	"github.com/chronik-stream/chronik/embedder/local/localtest"
	"github.com/chronik-stream/chronik/internal/onnx/onnxtest"
	"github.com/chronik-stream/chronik/internal/topicconfig"
)

// localModels is a directory with an encoder and a table.
func localModels(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"encoder", "table"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	shape := onnxtest.Encoder{Layers: 1, Width: 16, Heads: 2, Inner: 32, Positions: 64, Types: 2, Opset: 14, Seed: 3}
	require.NoError(t, localtest.WriteEncoder(filepath.Join(dir, "encoder"), shape, 64))
	tokens := localtest.Vocabulary()
	table := make([]float32, 0, len(tokens)*8)
	for token := range tokens {
		for d := range 8 {
			table = append(table, float32((token*31+d*17)%23-11))
		}
	}
	require.NoError(t, localtest.WriteStatic(filepath.Join(dir, "table"), tokens, table, 8))
	return dir
}

func TestLocalModelsKeepTheContract(t *testing.T) {
	for _, name := range []string{"encoder", "table"} {
		t.Run(name, func(t *testing.T) {
			embeddertest.Contract(t, func(t *testing.T) *embedder.Embedder {
				v := topicconfig.Vector{Provider: "local", Model: name, BatchSize: 256, Concurrency: 4, RetriesMax: 3}
				return opened(t, embedder.Config{Local: embedder.Local{ModelsDir: localModels(t), Runtime: local.GoRuntime}}, v)
			})
		})
	}
}

func TestLocalModelsThatCannotBeUsedAreMisconfigured(t *testing.T) {
	s, err := embedder.New(embedder.Config{Local: embedder.Local{ModelsDir: localModels(t), Runtime: local.GoRuntime}})
	require.NoError(t, err)
	defer s.Close()
	for _, v := range []topicconfig.Vector{{Provider: "local", Model: "missing"}, {Provider: "local", Model: "table", Dimensions: 384}} {
		_, err := s.Open(v)
		var failed *embedder.Error
		require.ErrorAs(t, err, &failed)
		require.Equal(t, embedder.Misconfigured, failed.Kind)
		require.False(t, failed.Temporary())
		require.ErrorContains(t, err, v.Model)
	}
	_, err = s.Open(topicconfig.Vector{Provider: "local", Model: "table", Dimensions: 8})
	require.NoError(t, err)
}
