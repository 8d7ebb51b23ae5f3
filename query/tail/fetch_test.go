package tail

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/query/tail/tailtest"
)

func fetch(t *testing.T, tails *Tails, edit func(*FetchRequest)) []Fetched {
	t.Helper()
	request := FetchRequest{Topic: "orders", ID: id, Count: 2, Partitions: []int32{0, 1}, RecordsMax: 100, BytesMax: 1 << 20}
	edit(&request)
	fetched, err := tails.Fetch(within(t, time.Minute), request)
	require.NoError(t, err)
	return fetched
}

func valuesOf(records []Record) (all []string) {
	for _, r := range records {
		all = append(all, string(r.Value))
	}
	return all
}

func TestFetchReadsTheLogFromAnOffsetUpToItsEnd(t *testing.T) {
	b := tailtest.New(t, "orders", 2)
	b.Produce(t, 0, 0, "a0", "a1", "a2")
	b.Produce(t, 0, 0, "a3")
	b.Produce(t, 1, 0, "b0", "b1")
	tails := open(t, b, 0)

	fetched := fetch(t, tails, func(r *FetchRequest) { r.First = 1 })
	require.Equal(t, []string{"a1", "b1", "a2", "a3"}, valuesOf(Records(fetched)))
	require.Equal(t, Record{Partition: 0, Offset: 1, Timestamp: 1_700_000_000_001, Key: []byte("k1"), Value: []byte("a1")}, fetched[0].Records[0])
	require.Equal(t, []int64{1, 4, 4, 1, 2, 2}, []int64{fetched[0].First, fetched[0].Next, fetched[0].End, fetched[1].First, fetched[1].Next, fetched[1].End})

	fetched = fetch(t, tails, func(r *FetchRequest) { r.First, r.Partitions = 2, []int32{1} })
	require.Empty(t, Records(fetched))
	require.Equal(t, []Fetched{{Partition: 1, First: 2, Next: 2, End: 2}}, fetched)

	b.StartAt(0, 10)
	b.Produce(t, 0, 0, "a10")
	require.Equal(t, []string{"a10"}, valuesOf(Records(fetch(t, tails, func(r *FetchRequest) { r.Partitions = []int32{0} }))))
}

func TestFetchStopsAtItsBounds(t *testing.T) {
	b := tailtest.New(t, "orders", 2)
	b.Produce(t, 0, 0, "a0", "a1", "a2")
	b.Produce(t, 1, 0, strings.Repeat("b", 5000), "b1")
	tails := open(t, b, 0)
	fetched := fetch(t, tails, func(r *FetchRequest) { r.RecordsMax = 2 })
	require.Equal(t, []string{"a0", "a1"}, valuesOf(fetched[0].Records))
	require.EqualValues(t, 2, fetched[0].Next)
	fetched = fetch(t, tails, func(r *FetchRequest) { r.BytesMax = 8 })
	require.Equal(t, []string{"a0", "a1"}, valuesOf(fetched[0].Records), "a key and a value are 4 bytes")
	require.Len(t, fetched[1].Records, 1, "the first record comes whatever its size")
	require.Len(t, fetched[1].Records[0].Value, 5000)

	fetched = fetch(t, tails, func(r *FetchRequest) { r.BytesTotal, r.RecordsMax = 1, 1 })
	require.Len(t, Records(fetched), 1, "either partition's")
	require.EqualValues(t, 1, fetched[0].Next+fetched[1].Next, "what is not read is not covered")
}

func TestFetchEndsWithItsContext(t *testing.T) {
	b := tailtest.New(t, "orders", 2)
	b.Mute(true)
	tails := open(t, b, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := tails.Fetch(ctx, FetchRequest{Topic: "orders", ID: id, Count: 2, Partitions: []int32{0}, RecordsMax: 1, BytesMax: 1})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}
