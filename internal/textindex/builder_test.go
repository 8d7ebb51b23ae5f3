package textindex_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/textindex"
)

func TestABuilderWritesTheSameWhateverItsMemory(t *testing.T) {
	records := randomRecords(11, 3000)
	want := written(t, index(t, records))
	for _, bounds := range []textindex.BuilderBounds{{MemoryBytesMax: 1 << 30, Workers: 1}, {MemoryBytesMax: 1, Workers: 1}, {MemoryBytesMax: 1 << 20}, {MemoryBytesMax: 2 << 20, Workers: 3}} {
		b := textindex.NewBuilder(textindex.Options{Analyzer: standard(t), Source: true}, bounds)
		for _, r := range records {
			require.NoError(t, b.Append(r))
		}
		var out bytes.Buffer
		result, err := b.Write(context.Background(), &out)
		require.NoError(t, err)
		require.EqualValues(t, len(records), result.Documents)
		require.True(t, bytes.Equal(want, out.Bytes()), "%+v", bounds)
	}
	_, err := textindex.NewBuilder(textindex.Options{Analyzer: standard(t)}, textindex.BuilderBounds{}).Write(context.Background(), &bytes.Buffer{})
	require.ErrorIs(t, err, textindex.ErrMerge)
}
