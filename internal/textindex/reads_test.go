package textindex_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textindex/indextest"
)

// object counts reads, and gives new bytes at each as a bucket does.
type object struct {
	data  []byte
	reads int
	bytes int64
	err   error
}

func (o *object) Size() int64 { return int64(len(o.data)) }

func (o *object) Read(_ context.Context, offset, length int64) ([]byte, error) {
	if o.err != nil {
		return nil, o.err
	}
	if offset < 0 || length <= 0 || offset+length > o.Size() {
		return nil, fmt.Errorf("read [%d,%d) of %d", offset, offset+length, o.Size())
	}
	o.reads++
	o.bytes += length
	return append([]byte(nil), o.data[offset:offset+length]...), nil
}

// took returns the reads since it was last called.
func (o *object) took() int {
	n := o.reads
	o.reads = 0
	return n
}

func TestATermCostsAtMostThreeReads(t *testing.T) {
	ctx := context.Background()
	records := indextest.Logs(30_000)
	m := index(t, records)
	var out countingBuffer
	result, err := m.Write(&out)
	require.NoError(t, err)
	o := &object{data: out.data}
	f, err := textindex.Open(ctx, o, result.Footer)
	require.NoError(t, err)
	require.Equal(t, 1, o.took(), "a footer whose length is known")
	_, err = textindex.Open(ctx, o, 100)
	require.NoError(t, err)
	require.Equal(t, 2, o.took(), "a footer that is longer than was thought")

	found, err := f.Lookup(ctx, text("message"), []byte("payment"))
	require.NoError(t, err)
	require.Equal(t, 1, o.took(), "the dictionary")
	require.Greater(t, found[0].Documents, uint32(1000))
	_, err = f.Postings(ctx, found[0], textindex.Frequencies)
	require.NoError(t, err)
	require.Equal(t, 1, o.took(), "postings")
	_, err = f.Postings(ctx, found[0], textindex.Positions)
	require.NoError(t, err)
	require.Equal(t, 2, o.took(), "postings and positions")

	found, err = f.Lookup(ctx, text("message"), []byte("payment"), []byte("paymenu"), []byte("paymenz"))
	require.NoError(t, err)
	require.Equal(t, 1, o.took(), "terms that lie near one another")
	require.Zero(t, found[1].Documents)
	_, err = f.Lookup(ctx, text("nowhere"), []byte("x"))
	require.NoError(t, err)
	require.Zero(t, o.took(), "a field that is not there")

	all := collect(t, f, text("path"), nil)
	require.Greater(t, len(all), 10_000)
	require.LessOrEqual(t, o.took(), 2, "all terms of a field")
	_ = collect(t, f, text("path"), prefixAutomaton("77"))
	require.LessOrEqual(t, o.took(), 2, "terms with a prefix")

	_, err = f.Column(ctx, long("status"))
	require.NoError(t, err)
	require.Equal(t, 1, o.took(), "a column")
	_, _, err = f.Source(ctx, []uint32{5, 6})
	require.NoError(t, err)
	require.Equal(t, 2, o.took(), "records and their index")

	o.err = errors.New("away")
	_, err = f.Postings(ctx, all[0], textindex.Documents)
	if all[0].Documents > 1 {
		require.ErrorIs(t, err, o.err)
	}
	_, err = f.Lookup(ctx, text("message"), []byte("payment"))
	require.ErrorIs(t, err, o.err)
}

type countingBuffer struct{ data []byte }

func (b *countingBuffer) Write(p []byte) (int, error) {
	b.data = append(b.data, p...)
	return len(p), nil
}

func TestASnapshotStaysAsItIs(t *testing.T) {
	records := randomRecords(9, 400)
	const before = 120
	m := textindex.NewMemory(textindex.Options{Analyzer: standard(t), Source: true})
	for _, r := range records[:before] {
		require.NoError(t, m.Append(r))
	}
	snapshot := m.Snapshot()
	var appending sync.WaitGroup
	appending.Go(func() {
		for _, r := range records[before:] {
			assert.NoError(t, m.Append(r))
		}
	})
	want := index(t, records[:before]).Snapshot()
	requireEqual(t, want, snapshot)
	appending.Wait()
	requireEqual(t, want, snapshot)
	require.EqualValues(t, len(records), m.Snapshot().Bounds().Documents)
}
