package wire

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOneFirstBatchGoesPastTheRoom(t *testing.T) {
	s := New(Config{AnswerBytesMax: 10}, nil, slog.New(slog.DiscardHandler), nil)
	a, b, c := AnswerRoom{server: s}, AnswerRoom{server: s}, AnswerRoom{server: s}
	require.Equal(t, 4, a.Take(4))
	require.True(t, a.First(7))
	require.True(t, b.First(7), "some room is left, so this one goes past it")
	require.False(t, c.First(1), "and no other does")
	require.Zero(t, c.Take(5))
	require.EqualValues(t, 14, s.answers.Load())
	b.Keep(2)
	require.True(t, c.First(100), "whatever its size")
	require.EqualValues(t, 109, s.answers.Load())
	require.Equal(t, 7, a.Take(50), "what it has it keeps")
	c.Keep(0)
	require.Equal(t, 8, a.Take(50))
	require.True(t, a.First(9), "its own is not in its way")
	a.Keep(0)
	b.Keep(0)
	require.Zero(t, s.answers.Load())
}

func TestWhoFoundNoRoomHearsOfIt(t *testing.T) {
	s := New(Config{AnswerBytesMax: 10}, nil, slog.New(slog.DiscardHandler), nil)
	full := AnswerRoom{server: s}
	require.True(t, full.First(12))
	var waiting [3]AnswerRoom
	var freed [3]<-chan struct{}
	for i := range waiting {
		w := &waiting[i]
		w.server = s
		require.False(t, w.First(8))
		var done func()
		freed[i], done = w.Wait()
		defer done()
	}
	require.Empty(t, freed[0])
	full.Keep(0)
	// Each that takes what it needs, or nothing, tells the next if there is more.
	<-freed[0]
	waiting[0].Keep(0)
	<-freed[1]
	require.True(t, waiting[1].First(8))
	waiting[1].Keep(8)
	<-freed[2]
	require.True(t, waiting[2].First(8))
	waiting[2].Keep(8)
	require.Empty(t, freed[2], "there is none any more")
}
