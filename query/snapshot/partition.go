package snapshot

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/query/tail"
)

// Partition is what one revision of the catalog says of a partition.
type Partition struct {
	Index   int32
	View    metastore.PartitionView
	Start   int64 // of the log
	Mark    int64 // below it, records are in files
	Section manifest.Section
}

// Partitions reads the manifests of all partitions, as of one revision. Logs that
// are known to start above where the catalog says do.
func (s *Sources) Partitions(ctx context.Context, t *metastore.Topic, kind Kind, starts map[int32]int64) ([]Partition, error) {
	all := make([]Partition, t.Partitions)
	s.Catalog.View(func(v *metastore.View) {
		for i := range all {
			p := &all[i]
			p.Index = int32(i)
			p.View = v.Partition(topic.Partition{Topic: t.ID, Index: p.Index})
			p.Start = max(p.View.Manifest.LogStart, starts[p.Index])
			p.Mark = max(kind.mark(p.View.Manifest.Marks), p.Start)
		}
	})
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i := range all {
		p := &all[i]
		if p.View.Manifest.Object == "" {
			continue
		}
		group.Go(func() (err error) {
			p.Section, err = s.Manifests.FetchManifest(ctx, p.View.Manifest, topic.Partition{Topic: t.ID, Index: p.Index})
			return OfFile(p.View.Manifest.Object, err)
		})
	}
	return all, group.Wait()
}

// SameEpochs reports whether the brokers that said where the logs end owned them
// as the catalog knows it. Else one of the two is behind, and records that a
// change of owners cut off could be taken for the log's.
func SameEpochs(partitions []Partition, ends map[int32]tail.End) bool {
	for _, p := range partitions {
		end, known := ends[p.Index]
		if owner := p.View.Owner; known && end.Epoch >= 0 && owner.ModRevision > 0 && owner.Epoch != metastore.Epoch(end.Epoch) {
			return false
		}
	}
	return true
}

// Wants asks for the records from the marks on. They are none unless behind: some
// records are in no file.
func Wants(partitions []Partition, want Freshness, ends map[int32]tail.End) (wants []tail.Want, behind bool) {
	wants = make([]tail.Want, len(partitions))
	for i, p := range partitions {
		w := tail.Want{Partition: p.Index, First: p.Mark, Start: p.Start}
		if want == Latest {
			w.Target = ends[p.Index].Offset
		}
		if owner := p.View.Owner; owner.ModRevision > 0 {
			w.EpochEnd = func(epoch int32) (int64, bool) { return owner.EpochEnd(metastore.Epoch(epoch)) }
		}
		end, known := ends[p.Index]
		behind = behind || !known || end.Offset > p.Mark
		wants[i] = w
	}
	return wants, behind
}

// Advance lets the partitions begin where a tail says that they do by now.
func Advance(partitions []Partition, starts map[int32]int64) {
	for i := range partitions {
		p := &partitions[i]
		p.Start = max(p.Start, starts[p.Index])
		p.Mark = max(p.Mark, p.Start)
	}
}

// Marks are a topic's marks of a kind, by partition; ok is false when the topic is
// no more.
func (s *Sources) Marks(id topic.ID, kind Kind) (marks map[int32]int64, ok bool) {
	s.Catalog.View(func(v *metastore.View) {
		t, found := v.TopicByID(id)
		if !found {
			return
		}
		ok, marks = true, make(map[int32]int64, t.Partitions)
		for i := range t.Partitions {
			m := v.Partition(topic.Partition{Topic: id, Index: i}).Manifest
			marks[i] = max(kind.mark(m.Marks), m.LogStart)
		}
	})
	return marks, ok
}
