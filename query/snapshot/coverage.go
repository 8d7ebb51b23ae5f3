package snapshot

import "github.com/chronik-stream/chronik/query/tail"

// Coverage is what an answer covers of a topic, as the contract has it.
type Coverage struct {
	Partitions map[int32]PartitionCoverage `json:"partitions"`
	LagRecords int64                       `json:"lag_records"`
}

// PartitionCoverage is the range of offsets that an answer was computed over,
// against the log's end at that moment.
type PartitionCoverage struct {
	From          int64 `json:"from"`
	To            int64 `json:"to"`
	HighWatermark int64 `json:"high_watermark"`
}

// Cover says what is covered: in files up to the marks, and in a tail up to next;
// without files only what is in the tail.
func Cover(partitions []Partition, next map[int32]int64, ends map[int32]tail.End, files bool) Coverage {
	c := Coverage{Partitions: make(map[int32]PartitionCoverage, len(partitions))}
	for _, p := range partitions {
		one := PartitionCoverage{From: p.Start, To: max(p.Mark, next[p.Index])}
		if !files {
			one.From = p.Mark
		}
		one.HighWatermark = max(one.To, ends[p.Index].Offset, p.View.Next())
		c.Partitions[p.Index] = one
		c.LagRecords += one.HighWatermark - one.To
	}
	return c
}

// Both is what two answers about one topic cover.
func Both(a, b Coverage) Coverage {
	both := Coverage{Partitions: make(map[int32]PartitionCoverage, len(a.Partitions))}
	for i, one := range a.Partitions {
		other := b.Partitions[i] // none: nothing is covered
		one.From = max(one.From, other.From)
		one.To = max(one.From, min(one.To, other.To))
		one.HighWatermark = max(one.HighWatermark, other.HighWatermark)
		both.Partitions[i] = one
		both.LagRecords += one.HighWatermark - one.To
	}
	return both
}
