package local

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// slow computes until it may end, and says so when it is let go before.
type slow struct {
	began, end chan struct{}
	done       bool
}

func (s *slow) String() string { return "slow" }

func (s *slow) run(_ context.Context, b *batch) (hidden, error) {
	close(s.began)
	<-s.end
	s.done = true
	return hidden{values: make([]float32, len(b.texts)), width: 1}, nil
}

func (s *slow) close() error {
	if !s.done {
		return errors.New("a batch was computed with it")
	}
	return nil
}

// A caller that gives up does not wait for its batch, and so it may be under way when
// the process stops: a library would compute with memory that is gone.
func TestAModelIsLetGoAfterItsBatches(t *testing.T) {
	all := models(t, GoRuntime)
	model, err := all.Open("table")
	require.NoError(t, err)
	s := &slow{began: make(chan struct{}), end: make(chan struct{})}
	model.backend, model.dimensions = s, 1
	embedded, closed := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := model.Embed(context.Background(), []string{"a"})
		embedded <- err
	}()
	<-s.began
	go func() { closed <- all.Close() }()
	for model.use.TryRLock() { // until it is to be let go
		model.use.RUnlock()
		runtime.Gosched()
	}
	close(s.end)
	require.NoError(t, <-closed)
	require.NoError(t, <-embedded)
	_, err = model.Embed(t.Context(), []string{"a"})
	require.ErrorIs(t, err, errClosed)
}
