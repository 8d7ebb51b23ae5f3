package embedder

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Models of this machine share its processor, and not their troubles.
func TestALocalModelThatFailsDoesNotStopOthers(t *testing.T) {
	s, err := New(Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	sick, well := s.gate("local a", Model{Provider: providerLocal, Name: "a"}), s.gate("local b", Model{Provider: providerLocal, Name: "b"})
	for range failuresMax {
		require.NoError(t, sick.enter(t.Context(), 1, false))
		sick.leave(&Error{Kind: Timeout, Err: errors.New("as the test says")}, 0, false)
	}
	require.Error(t, sick.closed(time.Now()))
	for range localRequests {
		require.NoError(t, well.enter(t.Context(), 1, false))
	}
	require.Len(t, sick.slots, localRequests, "the processor is one")
}
