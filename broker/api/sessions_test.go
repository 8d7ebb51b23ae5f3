package api

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

func sessionOf(parts int) *fetchSession {
	s := newFetchSession(parts, false)
	for i := range parts {
		s.set(fetchTarget{topic: "t", index: int32(i)})
	}
	return s
}

func TestFullSessionCacheEvictsAsKafkaDoes(t *testing.T) {
	now := time.UnixMilli(1_760_000_000_000)
	c := newFetchSessions(3, 100, nil)
	small, middle, large := sessionOf(2), sessionOf(5), sessionOf(9)
	for _, s := range []*fetchSession{small, middle, large} {
		require.True(t, c.add(s, now))
		require.Positive(t, s.id)
	}
	require.False(t, c.add(sessionOf(50), now.Add(time.Minute)), "none of them is old enough to go")

	now = now.Add(sessionEvictable + time.Second)
	for _, s := range []*fetchSession{small, middle, large} {
		require.Same(t, s, c.find(s.id, now))
	}
	require.False(t, c.add(sessionOf(2), now), "only a larger one displaces the smallest")
	require.True(t, c.add(sessionOf(3), now))
	require.Nil(t, c.find(small.id, now))

	now = now.Add(sessionEvictable + time.Second)
	c.find(middle.id, now)
	require.True(t, c.add(sessionOf(1), now), "one that nobody uses goes whatever its size")
	require.NotNil(t, c.find(middle.id, now))
	require.Len(t, c.byID, 3)
	for metric, want := range map[prometheus.Collector]float64{
		c.metrics.sessions: 3, c.metrics.partitions: float64(c.parts), c.metrics.evictions: 2, c.metrics.refusals: 2,
	} {
		require.InDelta(t, want, testutil.ToFloat64(metric), 0)
	}
}

func TestSessionCacheIsBoundedInPartitions(t *testing.T) {
	now := time.UnixMilli(1_760_000_000_000)
	c := newFetchSessions(10, 20, nil)
	first, second := sessionOf(8), sessionOf(8)
	require.True(t, c.add(first, now))
	require.True(t, c.add(second, now))
	require.False(t, c.add(sessionOf(5), now))
	require.True(t, c.add(sessionOf(4), now))
	require.False(t, c.resize(second, 9, now), "a session that grows beyond the bound is forgotten")
	require.Nil(t, c.find(second.id, now))
	require.True(t, c.resize(first, 16, now))
	require.Equal(t, 20, c.parts)
	require.False(t, c.resize(first, 0, now), "a session without partitions is none")
	require.Equal(t, 4, c.parts)
	c.end(first.id)
	require.Equal(t, 4, c.parts)
	require.False(t, newFetchSessions(-1, 20, nil).add(sessionOf(1), now), "none are wanted")
	require.False(t, newFetchSessions(10, 20, nil).add(sessionOf(0), now))
	require.False(t, newFetchSessions(10, 20, nil).add(sessionOf(21), now))
}

func TestSessionEpochsWrapToOne(t *testing.T) {
	require.Equal(t, int32(8), follows(7))
	require.Equal(t, int32(1), follows(1<<31-1))
}
