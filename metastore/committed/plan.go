package committed

import (
	"context"
	"errors"
	"sort"
	"time"

	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
)

// source is a piece of the committed log: the part of one object that holds
// the offsets [first, next) of the partition. Within it, an offset without a
// record was compacted away; between sources it is a hole.
type source struct {
	object       string
	size         int64 // of the object
	first, next  int64
	maxTimestamp int64
}

// layout is where a partition's committed log lies, at one revision.
type layout struct {
	partition topic.Partition
	start     int64 // log start
	mark      int64 // log files below, segments above
	next      int64 // committed next
	log       []manifest.File
	ranges    []metastore.RangeRef
}

func newLayout(v metastore.PartitionView, s manifest.Section) layout {
	return layout{
		partition: v.Partition, start: v.Manifest.LogStart, mark: v.Manifest.Marks.Log, next: v.Next(),
		log: s.Log, ranges: v.Ranges,
	}
}

// find returns the source that holds offset, or the *HoleError that tells why
// there is none and where the next one begins.
func (l *layout) find(offset int64) (source, error) {
	switch {
	case offset < l.start:
		return source{}, ErrBelowStart
	case offset >= l.next:
		return source{}, ErrNotCommitted
	}
	s, ok := l.after(offset)
	if !ok || s.first > offset {
		hole := &HoleError{Partition: l.partition, First: offset, Next: l.next}
		if ok {
			hole.Next = s.first
		}
		return source{}, hole
	}
	return s, nil
}

// after returns the first source that ends above offset. Above the mark log
// files hold nothing, and below it segments do not count.
func (l *layout) after(offset int64) (source, bool) {
	if offset < l.mark {
		i := sort.Search(len(l.log), func(i int) bool { return l.log[i].Next > offset })
		if i < len(l.log) {
			f := &l.log[i]
			return source{object: f.Object, size: f.Size, first: f.First, next: f.Next, maxTimestamp: f.MaxTimestamp}, true
		}
	}
	offset = max(offset, l.mark)
	i := sort.Search(len(l.ranges), func(i int) bool { return l.ranges[i].Next > offset })
	if i == len(l.ranges) {
		return source{}, false
	}
	r := &l.ranges[i]
	return source{
		object: r.Segment.Object, size: r.Segment.Size,
		first: max(r.First, l.mark), next: r.Next, maxTimestamp: r.MaxTimestamp,
	}, true
}

// planned calls f with what is known of the partition, and again with newer
// knowledge when an object was gone.
func (r *Reader) planned(ctx context.Context, p topic.Partition, f func(metastore.PartitionView) error) error {
	var patience <-chan time.Time
	for {
		changed := r.catalog.Changed()
		view := r.catalog.Partition(p)
		if view.Topic == nil {
			return metastore.ErrTopicUnknown
		}
		err := f(view)
		if err == nil || !errors.Is(err, objstore.ErrNotFound) {
			return err
		}
		r.options.Metrics.replans.Inc()
		if patience == nil {
			timer := time.NewTimer(r.options.MissingWait)
			defer timer.Stop()
			patience = timer.C
		}
		for !moved(view, r.catalog.Partition(p)) {
			select {
			case <-changed:
				changed = r.catalog.Changed()
			case <-patience:
				return err
			case <-ctx.Done():
				return errors.Join(err, ctx.Err())
			}
		}
	}
}

// moved reports whether the partition lies elsewhere than it did. Objects that
// are deleted were named by the manifest or by a segment that is gone too.
func moved(old, now metastore.PartitionView) bool {
	if old.Manifest.ModRevision != now.Manifest.ModRevision || now.Topic == nil {
		return true
	}
	left := now.Ranges
	for _, r := range old.Ranges { // both by offset; what is left of now are its later ranges
		for len(left) > 0 && left[0].First < r.First {
			left = left[1:]
		}
		if len(left) == 0 || left[0].Segment != r.Segment {
			return true
		}
	}
	return false
}
