package embedder_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/internal/topicconfig"
)

func TestAModelIsWhatItsVectorsAreComparedBy(t *testing.T) {
	of := func(provider, name, endpoint string, dimensions int) embedder.Model {
		return embedder.ModelOf(topicconfig.Vector{Provider: provider, Model: name, Endpoint: endpoint, Dimensions: dimensions})
	}
	for _, test := range []struct {
		a, b embedder.Model
		same bool
	}{
		{of("openai", "m", "", 2), of("openai", "m", "", 2), true},
		{of("openai", "m", "http://here/v1", 2), of("openai", "m", "http://there/v1", 2), true}, // a service that moves
		{of("external", "", "http://here", 2), of("external", "", "http://there", 2), false},
		{of("external", "", "http://me:hush@here", 2), of("external", "", "http://here", 2), true},
		{of("openai", "m", "", 2), of("openai", "m", "", 3), false},
		{of("openai", "m", "", 2), of("openai", "m", "", 0), true}, // not known yet
		{of("openai", "m", "", 2), of("openai", "n", "", 2), false},
		{of("openai", "m", "", 2), of("local", "m", "", 2), false},
	} {
		require.Equal(t, test.same, test.a.Matches(test.b), "%v and %v", test.a, test.b)
		require.Equal(t, test.same, test.b.Matches(test.a), "%v and %v", test.b, test.a)
		if test.same {
			require.Equal(t, test.a.With(2).String(), test.b.With(2).String())
		} else {
			require.NotEqual(t, test.a.String(), test.b.String())
		}
	}
	require.Equal(t, "openai text-embedding-3-small 1536", of("openai", "text-embedding-3-small", "x", 1536).String())
	require.Equal(t, "external http://here/embed", of("external", "", "http://me:hush@here/embed", 0).String())
}
