package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDefaultBudgetsFitIntoTheContainersMemory(t *testing.T) {
	fitted := func(memory int64, environment ...string) *Config {
		c, err := Load(Inputs{Environment: environment, Memory: memory})
		require.NoError(t, err)
		return c
	}
	all := func(c *Config) int64 {
		copies := 2 * (c.Kafka.FrameBytes + c.Kafka.AnswerBytes)
		return int64(copies + c.Kafka.FrameBytes + c.Kafka.AnswerBytes + c.Kafka.ColdBytes + c.WAL.WaitingBytes + c.Tail.Bytes +
			c.Cache.MemoryBytes + Bytes(c.Segment.Uploads)*c.Segment.Bytes)
	}
	for _, memory := range []int64{256 << 20, 512 << 20, 1 << 30, 3 << 30, 4 << 30, 64 << 30} {
		c := fitted(memory)
		require.LessOrEqual(t, all(c), memory/2, "%d", memory)
		require.LessOrEqual(t, int64(c.Query.MemoryBytes)*int64(c.Query.Concurrent), max(memory/2, 4*64<<20), "%d", memory)
	}
	require.Equal(t, values(Default()), values(fitted(0)), "no limit")
	require.Equal(t, values(Default()), values(fitted(8<<30)), "ample")
	require.EqualValues(t, 128<<20, fitted(1<<30).Query.MemoryBytes)
	require.EqualValues(t, 512<<20, fitted(1<<30, "CHRONIK_QUERY_CONCURRENT_MAX=1").Query.MemoryBytes)

	given := fitted(1<<30, "CHRONIK_QUERY_MEMORY_BYTES_MAX=900MiB", "CHRONIK_TAIL_BYTES_MAX=300MiB")
	require.EqualValues(t, 900<<20, given.Query.MemoryBytes, "as configured")
	require.EqualValues(t, 300<<20, given.Tail.Bytes, "as configured")
}

func values(c *Config) []string {
	var all []string
	for _, s := range c.Settings() {
		all = append(all, s.Key+"="+s.Value.String())
	}
	return all
}
