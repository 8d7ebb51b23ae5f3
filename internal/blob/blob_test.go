package blob_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/blob"
)

// reads counts how often a blob is read.
type reads struct {
	blob.Bytes
	n int
}

func (r *reads) Read(ctx context.Context, offset, length int64) ([]byte, error) {
	r.n++
	return r.Bytes.Read(ctx, offset, length)
}

func TestAFooterIsReadAtOnceIfTheGuessHasIt(t *testing.T) {
	for guess, times := range map[int64]int{1: 2, 3: 2, 4: 1, 9: 1} {
		file := &reads{Bytes: blob.Bytes("body.foot")}
		footer, err := blob.Footer(t.Context(), file, guess, func(end []byte) (int64, error) {
			require.Len(t, end, int(guess))
			return 4, nil
		})
		require.NoError(t, err)
		require.Equal(t, "foot", string(footer), guess)
		require.Equal(t, times, file.n, guess)
	}
	bad := errors.New("no footer")
	_, err := blob.Footer(t.Context(), blob.Bytes("body"), 2, func([]byte) (int64, error) { return 0, bad })
	require.ErrorIs(t, err, bad)
}
