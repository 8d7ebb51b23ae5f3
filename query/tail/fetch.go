package tail

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/internal/topic"
)

// FetchRequest asks for records of the log itself.
type FetchRequest struct {
	Topic      string
	ID         topic.ID
	Count      int32   // of the topic's partitions
	Partitions []int32 // of which records are wanted
	First      int64   // of each partition; where its log begins later, from there
	RecordsMax int     // of each partition
	BytesMax   int     // of keys and values, of each partition; the first record comes whatever its size
	// BytesTotal ends it for all partitions once they have so much together: of very
	// many the first records alone may be too much. 0: 64 MiB.
	BytesTotal int
}

// Record is a record of the log.
type Record struct {
	Partition  int32
	Offset     int64
	Timestamp  int64 // ms
	Key, Value []byte
}

// Fetched is what of a partition was read.
type Fetched struct {
	Partition   int32
	Records     []Record // of [First, Next), as far as there are
	First, Next int64
	End         int64 // of the log, when it was asked for
}

// Fetch reads committed records up to the end that the log has now. It keeps
// nothing: whoever asks again has them read again.
func (t *Tails) Fetch(ctx context.Context, request FetchRequest) ([]Fetched, error) {
	ends, err := t.Ends(ctx, request.Topic, request.ID, request.Count)
	if err != nil {
		return nil, err
	}
	starts, err := t.Starts(ctx, request.Topic, request.ID, request.Count)
	if err != nil {
		return nil, err
	}
	total := cmp.Or(request.BytesTotal, 64<<20)
	fetched, from := make([]Fetched, len(request.Partitions)), map[int32]kgo.Offset{}
	left := map[int32]*fetching{}
	for i, p := range request.Partitions {
		f := &fetched[i]
		f.Partition, f.End = p, ends[p].Offset
		f.First = max(request.First, starts[p])
		f.Next = f.First
		if f.First < f.End {
			from[p] = kgo.NewOffset().At(f.First)
			left[p] = &fetching{Fetched: f, records: request.RecordsMax, bytes: request.BytesMax}
		}
	}
	if len(left) == 0 {
		return fetched, nil
	}
	client, err := t.client(
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), // as the readers of tails
		kgo.FetchMaxWait(100*time.Millisecond),
		kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(int32(min(fetchBytes, max(request.BytesMax, 1<<10)))),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{request.Topic: from}),
	)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	for len(left) > 0 && total > 0 {
		polled := client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("fetch records of topic %s: %w", request.Topic, err)
		}
		if t.gone(request.Topic, request.ID) {
			return nil, ErrGone
		}
		polled.EachPartition(func(p kgo.FetchTopicPartition) {
			f := left[p.Partition]
			if f == nil || total <= 0 {
				return
			}
			if p.Err != nil {
				t.options.Log.Debug("a fetch failed", "topic", request.Topic, "partition", p.Partition, "err", p.Err)
				t.reseed(client)
			}
			if start := p.LogStartOffset; f.Next < start { // deleted meanwhile
				f.Next = start
			}
			had := f.bytes
			done := f.take(p.Records)
			if total -= had - f.bytes; done {
				delete(left, p.Partition)
				client.PauseFetchPartitions(map[string][]int32{request.Topic: {p.Partition}})
			}
		})
	}
	return fetched, nil
}

// fetching is a partition under way, and what it may still take.
type fetching struct {
	*Fetched
	records, bytes int
}

// take adds records, and tells whether that is all.
func (f *fetching) take(records []*kgo.Record) (done bool) {
	for _, r := range records {
		size := len(r.Key) + len(r.Value)
		switch {
		case r.Offset < f.Next:
			continue
		case r.Offset >= f.End:
			f.Next = f.End
			return true
		case r.Attrs.IsControl():
			f.Next = r.Offset + 1
			continue
		case f.records == 0, size > f.bytes && len(f.Records) > 0:
			return true
		}
		f.Records = append(f.Records, Record{f.Partition, r.Offset, r.Timestamp.UnixMilli(), r.Key, r.Value})
		f.records, f.bytes, f.Next = f.records-1, f.bytes-size, r.Offset+1
	}
	return f.Next >= f.End || f.records == 0 || f.bytes <= 0
}

// Records are those of all partitions, by offset and then by partition, which is
// about the order in which they were written where partitions are filled alike.
func Records(fetched []Fetched) (all []Record) {
	for _, f := range fetched {
		all = append(all, f.Records...)
	}
	slices.SortFunc(all, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Partition, b.Partition))
	})
	return all
}
