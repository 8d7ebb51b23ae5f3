package search

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textsearch"
)

// fields are those of a topic's documents, each once.
func (b *bound) fields(topic string) []textindex.Field {
	var all []textindex.Field
	for _, p := range b.parts {
		if p.Topic != topic {
			continue
		}
		for _, f := range p.Split.Fields() {
			all = append(all, f.Field)
		}
	}
	slices.SortFunc(all, func(x, y textindex.Field) int {
		return strings.Compare(fmt.Sprintf("%s\x00%c", x.Name, x.Kind), fmt.Sprintf("%s\x00%c", y.Name, y.Kind))
	})
	return slices.Compact(all)
}

// counts are the size of a topic's index.
func (b *bound) counts(topic string) Counts {
	c := Counts{Bytes: b.bytes[topic]}
	for _, p := range b.parts {
		if p.Topic != topic {
			continue
		}
		c.Documents += int64(p.Split.Bounds().Documents)
		if p.Hidden != nil {
			c.Deleted += int64(p.Hidden.GetCardinality())
		}
	}
	c.Documents -= c.Deleted
	return c
}

// record finds one record, in the only part that can have it.
func (b *bound) record(ctx context.Context, partition int32, offset int64) (*textsearch.Hit, error) {
	for i, p := range b.parts {
		if p.Partition != partition {
			continue
		}
		offsets, err := p.Split.Column(ctx, textindex.FieldOffset)
		if err != nil {
			return nil, &textsearch.PartError{Part: i, Err: err}
		}
		found := offsets.Match(offset, offset)
		if p.Hidden != nil {
			found.AndNot(p.Hidden)
		}
		if found.IsEmpty() {
			continue
		}
		docs := []uint32{found.Minimum()}
		sources, kept, err := p.Split.Source(ctx, docs)
		if err != nil {
			return nil, &textsearch.PartError{Part: i, Err: err}
		}
		timestamps, err := p.Split.Column(ctx, textindex.FieldTimestamp)
		if err != nil {
			return nil, &textsearch.PartError{Part: i, Err: err}
		}
		hit := &textsearch.Hit{Topic: p.Topic, Partition: partition, Offset: offset, Found: kept}
		hit.Timestamp, _ = timestamps.Value(docs[0])
		if kept {
			hit.Key, hit.Value = sources[0].Key, sources[0].Value
		}
		return hit, nil
	}
	return nil, nil
}
