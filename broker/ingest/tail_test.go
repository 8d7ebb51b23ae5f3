package ingest

import (
	"reflect"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/broker/wal"
)

func TestTheTailIsBoundedByTheMemoryOfSmallBatchesToo(t *testing.T) {
	require.LessOrEqual(t, int(reflect.TypeFor[entry]().Size()), entryBytes*3/4, "the rest is the frame and the lists")
	const limit, small = 1 << 20, 70
	var kept tail
	kept.init(limit, NewMetrics(prometheus.NewRegistry()))
	part := new(Partition)
	committed := make(chan struct{})
	close(committed)
	for i := range int64(10 * limit / small) {
		e := &entry{Frame: wal.Frame{First: i, Length: small}, next: i + 1, part: part, seal: &seal{done: committed}}
		part.entries = append(part.entries, e)
		kept.hold([]*entry{e})
	}
	require.LessOrEqual(t, len(kept.queue)*(entryBytes+small), limit)
	require.Greater(t, len(kept.queue)*(entryBytes+small), limit*9/10)
	require.Equal(t, len(kept.queue), len(part.entries))
}

// What is in log files leaves the tail of a compacted topic; what is not committed
// never does.
func TestDropBelowTakesWhatIsCommitted(t *testing.T) {
	part := new(Partition)
	for i := range int64(10) {
		part.entries = append(part.entries, &entry{Frame: wal.Frame{First: 10 * i}, next: 10*i + 10, part: part})
	}
	part.committed = 60
	part.DropBelow(35)
	require.Equal(t, int64(30), part.entries[0].First)
	part.DropBelow(90)
	require.Equal(t, int64(60), part.entries[0].First)
	part.DropBelow(20)
	require.Len(t, part.entries, 4)
}
