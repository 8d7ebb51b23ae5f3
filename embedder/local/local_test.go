package local

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/embedder/local/localtest"
	"github.com/chronik-stream/chronik/internal/onnx/onnxtest"
)

// small is an encoder that is quickly run.
func small(opset int) onnxtest.Encoder {
	return onnxtest.Encoder{Layers: 2, Width: 32, Heads: 4, Inner: 64, Positions: 64, Types: 2, Opset: opset, Seed: 7}
}

// models are those of a directory with two encoders and a table.
func models(t testing.TB, runtime string) *Models {
	t.Helper()
	dir := t.TempDir()
	for name, opset := range map[string]int{"encoder14": 14, "encoder20": 20} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		require.NoError(t, localtest.WriteEncoder(filepath.Join(dir, name), small(opset), 48))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "table"), 0o755))
	tokens := localtest.Vocabulary()
	random := rand.New(rand.NewPCG(1, 2))
	table := make([]float32, len(tokens)*16)
	for i := range table {
		table[i] = float32(random.NormFloat64())
	}
	require.NoError(t, localtest.WriteStatic(filepath.Join(dir, "table"), tokens, table, 16))
	m := New(Config{Dir: dir, Runtime: runtime, Threads: 2})
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// library is the file of ONNX Runtime for tests; make tools fetches it.
func library(t testing.TB) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("..", "..", ".tools", "onnxruntime", "libonnxruntime.*"))
	require.NoError(t, err)
	if len(found) == 0 {
		t.Skip("ONNX Runtime is not in .tools/onnxruntime: make tools fetches it")
	}
	file, err := filepath.Abs(found[0])
	require.NoError(t, err)
	return file
}

var texts = []string{
	"what is the recall of a search", "red shoes", "payment failed: connection refused by broker 17", "É", "", "   ", "水 and fire",
	strings.Repeat("many words in a row ", 40), "x", "the the the the",
}

func TestBothRuntimesGiveTheSameVectors(t *testing.T) {
	c := models(t, library(t))
	g := models(t, GoRuntime)
	for _, name := range []string{"encoder14", "encoder20"} {
		t.Run(name, func(t *testing.T) {
			a, err := c.Open(name)
			require.NoError(t, err)
			require.Contains(t, a.Backend(), "ONNX Runtime")
			b, err := g.Open(name)
			require.NoError(t, err)
			require.Contains(t, b.Backend(), "Go")
			want, err := a.Embed(t.Context(), texts)
			require.NoError(t, err)
			got, err := b.Embed(t.Context(), texts)
			require.NoError(t, err)
			require.Equal(t, want.Tokens, got.Tokens)
			require.Equal(t, []bool{false, false, false, false, false, false, false, true, false, false}, got.Cut)
			require.Equal(t, want.Cut, got.Cut)
			require.Len(t, got.Vectors, len(texts)*32)
			require.InDeltaSlice(t, want.Vectors, got.Vectors, 1e-4)
		})
	}
}

func TestVectorsAreThoseOfTheirTexts(t *testing.T) {
	m := models(t, GoRuntime)
	for _, name := range []string{"encoder14", "encoder20", "table"} {
		t.Run(name, func(t *testing.T) {
			model, err := m.Open(name)
			require.NoError(t, err)
			many := make([]string, 0, 300)
			for i := range 30 {
				for _, text := range texts {
					many = append(many, fmt.Sprint(text, " ", i))
				}
			}
			all, err := model.Embed(t.Context(), many)
			require.NoError(t, err)
			d := model.Dimensions()
			require.Len(t, all.Vectors, len(many)*d)
			for i := 0; i < len(many); i += 7 {
				alone, err := model.Embed(t.Context(), many[i:i+1])
				require.NoError(t, err)
				v := all.Vectors[i*d:][:d]
				require.InDeltaSlice(t, alone.Vectors, v, 1e-4, many[i])
				square := float64(0)
				for _, x := range v {
					square += float64(x) * float64(x)
				}
				require.InDelta(t, 1, square, 1e-4)
			}
			require.Greater(t, distance(all.Vectors[:d], all.Vectors[d:][:d]), 0.01, "two texts have one vector")
		})
	}
}

func distance(a, b []float32) float64 {
	sum := float64(0)
	for i := range a {
		sum += math.Abs(float64(a[i] - b[i]))
	}
	return sum
}

func TestTheMeanLeavesThePaddingOut(t *testing.T) {
	h := hidden{values: []float32{1, 0, 3, 0, 9, 9, 0, 2, 0, 4, 0, 6}, width: 2, perToken: true}
	require.Equal(t, []float32{1, 0, 0, 1}, byMean.pool(nil, h, []int{2, 3}, 3))
	h.values[3] = 4
	require.InDeltaSlice(t, []float32{1, 0, 0, 1}, byFirst.pool(nil, h, []int{2, 3}, 3), 1e-6)
	require.InDeltaSlice(t, []float32{4 / float32(math.Sqrt(32)), 4 / float32(math.Sqrt(32)), 0, 1}, byMean.pool(nil, h, []int{2, 3}, 3), 1e-6)
}

func TestATableAddsUpRows(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m")
	require.NoError(t, os.Mkdir(path, 0o755))
	tokens := append(append([]string(nil), localtest.Specials...), "red", "shoes")
	table := make([]float32, len(tokens)*2)
	copy(table[1*2:], []float32{-1, 0}) // [UNK]
	copy(table[5*2:], []float32{3, 0, 0, 4})
	require.NoError(t, localtest.WriteStatic(path, tokens, table, 2))
	m := New(Config{Dir: dir})
	defer m.Close()
	model, err := m.Open("m")
	require.NoError(t, err)
	got, err := model.Embed(t.Context(), []string{"red", "Red shoes", "red hats", "hats", "shoes shoes"})
	require.NoError(t, err)
	require.InDeltaSlice(t, []float32{1, 0, 0.6, 0.8, 1, 0, -1, 0, 0, 1}, got.Vectors, 1e-6)
	require.Equal(t, "static", model.Backend())
}

func TestWhatCannotBeUsedIsRefusedWithItsReason(t *testing.T) {
	m := models(t, GoRuntime)
	dir := m.config.Dir
	write := func(model, name, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, model, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, model, name), []byte(text), 0o644))
	}
	for _, name := range []string{"pools", "does more", "odd graph", "odd table"} {
		require.NoError(t, os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(dir, "encoder14"))))
	}
	write("pools", "1_Pooling/config.json", `{"pooling_mode_max_tokens":true}`)
	write("does more", "modules.json", `[{"type":"sentence_transformers.models.Transformer"},{"type":"sentence_transformers.models.Dense"}]`)
	write("odd graph", "model.onnx", "\x00")
	require.NoError(t, os.Remove(filepath.Join(dir, "odd table", "model.onnx")))
	write("odd table", "model.safetensors", "12345678")
	write("no weights", "tokenizer.json", `{"model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}}`)
	for name, want := range map[string]string{
		"nothing": "tokenizer.json", "../table": "name", "/etc": "name", ".": "name", "": "name", "pools": "max_tokens", "does more": "Dense",
		"odd graph": "damaged", "odd table": "damaged", "no weights": "neither",
	} {
		_, err := m.Open(name)
		require.ErrorIs(t, err, ErrModel, name)
		require.ErrorContains(t, err, want, name)
	}
	_, err := New(Config{}).Open("table")
	require.ErrorContains(t, err, "no directory")
	_, err = New(Config{Dir: dir, Runtime: "/nowhere/libonnxruntime.so"}).Open("encoder14")
	require.ErrorIs(t, err, ErrModel)
}

func TestAnEndedContextEndsTheCall(t *testing.T) {
	m := models(t, GoRuntime)
	for _, name := range []string{"encoder14", "table"} {
		model, err := m.Open(name)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = model.Embed(ctx, texts)
		require.True(t, errors.Is(err, context.Canceled), err)
	}
}

func TestLengthsComeFromTheModelsFiles(t *testing.T) {
	m := models(t, GoRuntime)
	model, err := m.Open("encoder14")
	require.NoError(t, err)
	require.Equal(t, 48, model.MaxTokens())
	path := filepath.Join(m.config.Dir, "encoder20")
	require.NoError(t, os.WriteFile(filepath.Join(path, "config.json"), []byte(`{"max_position_embeddings":34,"model_type":"roberta"}`), 0o644))
	model, err = m.Open("encoder20")
	require.NoError(t, err)
	require.Equal(t, 32, model.MaxTokens())
	path = filepath.Join(m.config.Dir, "table")
	require.NoError(t, os.WriteFile(filepath.Join(path, "tokenizer_config.json"), []byte(`{"model_max_length":8192}`), 0o644))
	model, err = m.Open("table")
	require.NoError(t, err)
	require.Equal(t, tokensMost, model.MaxTokens())
}
