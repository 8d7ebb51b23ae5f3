package fetch

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/metastore/committed"
)

func TestWhatRetentionHasJustDeletedIsOutOfRange(t *testing.T) {
	r := NewReader(nil, nil, nil, nil)
	c := &coldRead{position: &core.Position{}, out: &core.Fetched{}, err: fmt.Errorf("reading: %w", committed.ErrBelowStart)}
	require.True(t, r.admit(c, &room{left: 1}), "the client hears of it at once")
	require.ErrorIs(t, c.out.Err, core.ErrOffsetOutOfRange)
}
