package fetch

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore/committed"
)

// answers is the memory of all answers; part is what one has of it.
type answers struct {
	mu              sync.Mutex
	max, used, most int
}

type part struct {
	of    *answers
	bytes int
}

func (p *part) set(bytes int) {
	p.of.used += bytes - p.bytes
	p.bytes = bytes
	p.of.most = max(p.of.most, p.of.used)
}

func (p *part) Take(wanted int) int {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.set(min(wanted, p.bytes+max(0, p.of.max-p.of.used)))
	return p.bytes
}

func (p *part) First(bytes int) bool {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	if p.of.used-p.bytes >= p.of.max {
		return false
	}
	p.set(bytes)
	return true
}

func (p *part) Keep(used int) {
	p.of.mu.Lock()
	defer p.of.mu.Unlock()
	p.set(used)
}

func (p *part) Wait() (freed <-chan struct{}, done func()) { panic("not here") }

// coldBatch is a batch of at least so many bytes.
func coldBatch(t *testing.T, bytesMin int) []byte {
	var b batch.Builder
	b.Reset(batch.Options{Codec: batch.None})
	b.Append(1, nil, bytes.Repeat([]byte("v"), bytesMin))
	raw, err := b.Build(nil)
	require.NoError(t, err)
	return raw
}

// coldRequest asks for so many partitions of other brokers, of which all is visible.
func coldRequest(partitions, bytesMax int) (reads []*coldRead) {
	for i := range partitions {
		reads = append(reads, &coldRead{position: &core.Position{
			Partition: topic.Partition{Index: int32(i)}, BytesMax: bytesMax,
		}, out: &core.Fetched{}})
	}
	return reads
}

// largeRead reads one batch of each partition, raw, as committed.Reader does.
func largeRead(raw []byte, underway func(bytes int)) readFunc {
	return func(_ context.Context, _ topic.Partition, first int64, _, firstMax int) (committed.Chunk, error) {
		if len(raw) > firstMax {
			return committed.Chunk{}, &committed.LargeError{Bytes: len(raw)}
		}
		underway(len(raw))
		<-time.After(time.Millisecond)
		underway(-len(raw))
		return committed.Chunk{Batches: raw, First: first, Next: first + 1}, nil
	}
}

func TestLargeFirstBatchesKeepToTheMemoryOfAllAnswersAndAllGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const requests = 50
		raw := coldBatch(t, 1<<20)
		all := &answers{max: 5 << 19} // of two batches and a half
		var mu sync.Mutex
		reading, most := 0, 0
		r := NewReader(Config{ColdBytesMax: 3 << 20}, nil, nil, nil, nil)
		r.cold.read = largeRead(raw, func(bytes int) {
			mu.Lock()
			defer mu.Unlock()
			reading += bytes
			most = max(most, reading)
		})
		done := make(chan struct{})
		for range requests {
			go func() {
				mine := &part{of: all}
				for {
					room := newRoom(mine, 1000) // the client wants little, and gets one
					reads := coldRequest(3, 100)
					require.False(t, r.readCold(t.Context(), reads, room))
					room.keep()
					if room.used > 0 {
						require.Equal(t, len(raw), room.used)
						require.Len(t, reads[0].out.Records, 1, "the first partition's goes first")
						<-time.After(10 * time.Millisecond) // it is taken slowly
						mine.Keep(0)
						break
					}
					require.True(t, room.short)
					<-time.After(time.Millisecond)
				}
				done <- struct{}{}
			}()
		}
		for range requests {
			<-done
		}
		require.LessOrEqual(t, all.most, all.max+len(raw))
		require.Greater(t, all.most, all.max, "one goes past it")
		require.LessOrEqual(t, most, 3<<20)
		require.Zero(t, all.used)
		require.True(t, r.cold.bytes.TryAcquire(3<<20), "all memory was given back")
	})
}

func TestALargeBatchBehindOthersWaitsForAnotherAnswer(t *testing.T) {
	small, large := coldBatch(t, 100), coldBatch(t, 1<<20)
	r := NewReader(Config{}, nil, nil, nil, nil)
	r.cold.read = func(ctx context.Context, p topic.Partition, first int64, bytesMax, firstMax int) (committed.Chunk, error) {
		raw := small
		if p.Index == 1 {
			raw = large
		}
		return largeRead(raw, func(int) {})(ctx, p, first, bytesMax, firstMax)
	}
	reads := coldRequest(3, 1000)
	room := newRoom(nil, 1<<20)
	require.False(t, r.readCold(t.Context(), reads, room))
	require.Equal(t, 2*len(small), room.used)
	require.Empty(t, reads[1].out.Records)
	require.NoError(t, reads[1].out.Err)

	reads = append(coldRequest(3, 1000)[1:], coldRequest(1, 1000)...)
	room = newRoom(nil, 2<<20)
	require.False(t, r.readCold(t.Context(), reads, room))
	require.Equal(t, len(large)+2*len(small), room.used, "in front it goes, and others behind it")
}

// What a client is slow to take has the memory that its answer has room for: not
// the rest of a block, nor what was read for it and did not fit.
func TestAnAnswerKeepsNothingButItsRecords(t *testing.T) {
	raw := coldBatch(t, 1000)
	for name, c := range map[string]struct {
		read    func() []byte
		bytes   int // that the answer may have
		batches int // that it gets
	}{
		"the end of a block":      {func() []byte { return append(make([]byte, 0, 128<<10), raw...) }, 1 << 20, 1},
		"more than there is room": {func() []byte { return bytes.Repeat(raw, 100) }, 2*len(raw) + 10, 2},
		"a batch that is larger":  {func() []byte { return bytes.Repeat(raw, 100) }, 10, 1},
	} {
		r := NewReader(Config{}, nil, nil, nil, nil)
		r.cold.read = func(_ context.Context, _ topic.Partition, first int64, _, _ int) (committed.Chunk, error) {
			return committed.Chunk{Batches: c.read(), First: first, Next: first + 1}, nil
		}
		reads, room := coldRequest(1, 1<<20), newRoom(nil, c.bytes)
		require.False(t, r.readCold(t.Context(), reads, room), name)
		records := reads[0].out.Records
		require.Len(t, records, 1, name)
		require.Equal(t, bytes.Repeat(raw, c.batches), records[0], name)
		require.Equal(t, len(records[0]), room.used, name)
		require.LessOrEqual(t, cap(records[0]), room.used*3/2, name)
	}
}
