package local

import (
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/embedder/local/localtest"
	"github.com/chronik-stream/chronik/internal/onnx/onnxtest"
)

var speed = flag.Duration("local.speed", 0, "measure the sentences per second of each backend for so long")

// TestSentencesPerSecond measures what docs/benchmarks says of local models: an
// encoder of the shape of all-MiniLM-L6-v2, a table of its vocabulary with 256
// dimensions, sentences of 32 tokens.
func TestSentencesPerSecond(t *testing.T) {
	if *speed == 0 {
		t.Skip("by hand: -local.speed=20s")
	}
	dir := t.TempDir()
	encoder, table := filepath.Join(dir, "encoder"), filepath.Join(dir, "table")
	require.NoError(t, os.Mkdir(encoder, 0o755))
	require.NoError(t, os.Mkdir(table, 0o755))
	require.NoError(t, localtest.WriteEncoder(encoder, onnxtest.MiniLM(30522), 256))
	tokens := localtest.Vocabulary()
	require.NoError(t, localtest.WriteStatic(table, tokens, make([]float32, len(tokens)*256), 256))
	words := tokens[len(tokens)-36:]
	sentences := make([]string, 64)
	for i := range sentences {
		parts := make([]string, 30) // with those around it, 32
		for j := range parts {
			parts[j] = words[rand.IntN(len(words))]
		}
		sentences[i] = strings.Join(parts, " ")
	}
	for _, c := range []struct{ runtime, model string }{{library(t), "encoder"}, {GoRuntime, "encoder"}, {GoRuntime, "table"}} {
		m := New(Config{Dir: dir, Runtime: c.runtime, Threads: 1})
		model, err := m.Open(c.model)
		require.NoError(t, err)
		began, used, n := time.Now(), processorTime(t), 0
		for time.Since(began) < *speed {
			_, err := model.Embed(t.Context(), sentences)
			require.NoError(t, err)
			n += len(sentences)
		}
		t.Logf("%-22s %9.0f sentences per core-second, %9.0f per second of one thread", model.Backend(),
			float64(n)/(processorTime(t)-used).Seconds(), float64(n)/time.Since(began).Seconds())
		require.NoError(t, m.Close())
	}
}

// processorTime is what the process has used, which a busy machine does not alter
// as much as it does the time that passes.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
