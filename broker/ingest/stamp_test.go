package ingest

import (
	"errors"
	"math"
	"testing"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/internal/batch"
)

func TestTimestampLimitsAreMeantAsTheyStand(t *testing.T) {
	const now = 1_000_000
	for _, c := range []struct {
		name          string
		min, max      int64
		before, after int64
		refused       bool
	}{
		{"no future at all", now, now + 1, math.MaxInt64, 0, true},
		{"now is no future", now, now, math.MaxInt64, 0, false},
		{"as far ahead as allowed", now, now + 5, math.MaxInt64, 5, false},
		{"further ahead", now, now + 6, math.MaxInt64, 5, true},
		{"no past at all", now - 1, now, 0, 0, true},
		{"as far back as allowed", now - 5, now, 5, 0, false},
		{"further back", now - 6, now, 5, 0, true},
		{"no timestamp is not the past", -1, -1, 0, 0, false},
		{"no limits", 0, math.MaxInt64, math.MaxInt64, math.MaxInt64, false},
	} {
		_, err := stamp(batch.Header{MaxTimestamp: c.max}, nil, batch.Facts{MinTimestamp: c.min, MaxTimestamp: c.max},
			core.AppendOptions{TimestampBeforeMaxMs: c.before, TimestampAfterMaxMs: c.after}, now)
		if refused := errors.Is(err, core.ErrInvalidTimestamp); refused != c.refused || err != nil && !refused {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
