package compactor

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/rendezvous"
	"github.com/chronik-stream/chronik/internal/segment"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/objstore"
)

// Quiet partitions, which write little and of which nothing is derived, wait
// long for log files of their own: a file a minute for each of ten thousand
// would cost more than all their data. Meanwhile what they have in segments is
// merged into larger segments, so that neither the keys of segments nor the
// ranges in them pile up, and an object of which little is still needed goes.

const (
	// mergeSegmentsMax is how many segments one transaction can take the place
	// of: for each it compares a key, deletes it and marks the object.
	mergeSegmentsMax = 40
	// mergeRangesMax is how many ranges may come out, so that they fit the same
	// transaction with the 30 bytes that a range takes when numbers are large.
	mergeRangesMax = 2 * metastore.SegmentRangesMax
	// wholeBytesMax is the size up to which an object is read in one go.
	wholeBytesMax = 1 << 20
	// gapBytesMax is what is read and thrown away rather than asking again.
	gapBytesMax = 64 << 10
)

// candidate is a segment with what of it is still needed.
type candidate struct {
	segment *metastore.Segment
	left    []metastore.SegmentRange
	bytes   int64 // of left
}

// mergeSegments merges segments, at most once for each broker whose segments are
// this compactor's share. It reports whether it changed anything.
func (c *Compactor) mergeSegments(ctx context.Context) bool {
	runs := c.segmentRuns(c.now())
	merged := make([]bool, len(runs))
	errs := make([]error, len(runs))
	c.workers.each(len(runs), func(i int) {
		working, cancel := context.WithTimeout(ctx, c.config.PassTimeout)
		defer cancel()
		merged[i], errs[i] = c.mergeRun(working, runs[i])
	})
	for i, err := range errs {
		if err != nil && ctx.Err() == nil {
			c.leaveSegments(runs[i], err)
		}
	}
	return slices.Contains(merged, true)
}

// leaveSegments leaves segments alone for a while after their merge failed: the
// one that is to blame, if it is one.
func (c *Compactor) leaveSegments(run []candidate, err error) {
	var damage *format.Error
	for _, s := range run {
		if errors.As(err, &damage) && damage.Name != s.segment.Object {
			continue
		}
		f := c.segmentFailures[s.segment.ID]
		f.again(c.now(), c.config)
		c.segmentFailures[s.segment.ID] = f
	}
	c.log.Error("segments could not be merged, it is tried again", "segments", len(run), "first", run[0].segment.ID, "err", err)
}

// segmentRuns finds what is to be merged now.
func (c *Compactor) segmentRuns(now time.Time) [][]candidate {
	byBroker := make(map[metastore.BrokerID][]candidate)
	present := make(map[string]bool)
	c.catalog.View(func(v *metastore.View) {
		members := make([]string, 0, 4)
		for _, m := range v.Compactors() {
			members = append(members, m.ID)
		}
		for _, s := range v.Segments() {
			present[s.ID] = true
			if f, failed := c.segmentFailures[s.ID]; failed && now.Before(f.until) ||
				rendezvous.Pick("segments of broker "+s.Broker.String(), members) != c.config.ID {
				continue
			}
			if one, ripe := c.candidate(v, s, now); ripe {
				byBroker[s.Broker] = append(byBroker[s.Broker], one)
			}
		}
	})
	for id := range c.segmentFailures {
		if !present[id] {
			delete(c.segmentFailures, id)
		}
	}
	var runs [][]candidate
	for _, broker := range slices.Sorted(maps.Keys(byBroker)) {
		if run := c.policy.mergeSegments(byBroker[broker]); run != nil {
			runs = append(runs, run)
		}
	}
	return runs
}

// candidate says what of a segment is still needed, and whether that should be
// merged: it is not new, and does not wait for tables to be made of it, after
// which less is needed. It does not wait for ever, since a table may be stuck.
func (c *Compactor) candidate(v *metastore.View, s *metastore.Segment, now time.Time) (one candidate, ripe bool) {
	one.segment = s
	age := now.Sub(segmentTime(s, now))
	if age < c.policy.FirstAge {
		return one, false
	}
	for _, r := range s.Ranges {
		if v.Rewritten(r) {
			continue
		}
		if c.derived[r.Partition.Topic] && age < ripeAges*c.policy.FirstAge {
			return one, false
		}
		one.left = append(one.left, r)
		one.bytes += r.Length
	}
	return one, len(one.left) > 0
}

// ripeAges is the age, in ages of first files, from which a segment does not
// wait for tables any more.
const ripeAges = 10

// mergeSegments finds segments to be made one, nil when there are none: those
// that merge would take if they were files, but no more than a transaction and
// a pass take in.
func (p Policy) mergeSegments(candidates []candidate) []candidate {
	bytesMax := min(p.PassBytesMax, p.FileBytesMax)
	small := slices.DeleteFunc(slices.Clone(candidates), func(c candidate) bool { return c.bytes > bytesMax/int64(p.MergeFiles) })
	var best []candidate
	bestLargest := bytesMax
	for i := range small {
		var bytes, largest int64
		for n, c := range small[i:min(len(small), i+mergeSegmentsMax)] {
			largest = max(largest, c.bytes)
			bytes += c.bytes
			if largest > bestLargest || bytes > bytesMax {
				break
			}
			if n+1 >= p.MergeFiles && bytes >= largest*int64(p.MergeFiles)/2 && (largest < bestLargest || n+1 > len(best)) {
				best, bestLargest = small[i:i+n+1], largest
			}
		}
	}
	return withinTransaction(best)
}

// withinTransaction cuts a run down to what fits one transaction. It is nil when
// that is not worth it: when nearly as many ranges would come out as go in.
func withinTransaction(run []candidate) []candidate {
	const worthwhile = 3 // of 4 ranges that go in, at most so many come out
	in, keys := 0, 0
	out := make(map[topic.Partition]bool)
	for n, c := range run {
		in += len(c.left)
		keys += len(c.segment.Ranges)/metastore.SegmentPartRangesMax + 1
		for _, r := range c.left {
			out[r.Partition] = true
		}
		if len(out) > mergeRangesMax || keys > mergeSegmentsMax {
			run = run[:n]
			break
		}
	}
	if len(run) < 2 || len(out) > mergeRangesMax*worthwhile/4 && len(out)*4 > in*worthwhile {
		return nil
	}
	return run
}

// fragment is a range with its bytes, checked, and what its segment says of it.
type fragment struct {
	*segment.Range
	chunks [][]byte // whole batches
}

// mergeRun makes one segment of a run, or a few when it has very many ranges,
// and puts them in its place.
func (c *Compactor) mergeRun(ctx context.Context, run []candidate) (bool, error) {
	var fragments []fragment
	for _, one := range run {
		some, err := c.source.fragments(ctx, one, c.metrics)
		if err != nil {
			return false, err
		}
		fragments = append(fragments, some...)
	}
	slices.SortFunc(fragments, func(a, b fragment) int {
		return cmp.Or(a.Partition.Compare(b.Partition), cmp.Compare(a.First, b.First))
	})
	var merged []metastore.Segment
	for len(fragments) > 0 {
		n := takeFragments(fragments, metastore.SegmentRangesMax)
		s, err := c.putMerged(ctx, run, fragments[:n])
		if err != nil {
			return false, err
		}
		merged = append(merged, s)
		fragments = fragments[n:]
	}
	ids := make([]string, len(run))
	for i, one := range run {
		ids[i] = one.segment.ID
	}
	done, err := c.store.MergeSegments(ctx, ids, merged, c.now().Add(c.config.DeletionGrace))
	if errors.Is(err, kv.ErrTooLarge) && len(run) > 2 {
		return c.mergeRun(ctx, run[:len(run)/2])
	}
	if err != nil {
		return false, err
	}
	if done {
		c.metrics.merges.WithLabelValues("segment").Inc()
	}
	return done, nil
}

// follows reports that a fragment goes on where another ends.
func (f fragment) follows(before fragment) bool {
	return f.Partition == before.Partition && f.Epoch == before.Epoch && f.First == before.Next
}

// takeFragments returns how many fragments make so many ranges at most.
func takeFragments(fragments []fragment, rangesMax int) int {
	ranges := 0
	for i, f := range fragments {
		if i == 0 || !f.follows(fragments[i-1]) {
			ranges++
		}
		if ranges > rangesMax {
			return i
		}
	}
	return len(fragments)
}

// putMerged stores a merged segment under a name of its own. [own-names]
//
// Its id has the age of the oldest segment in it, since from that the age of
// what is in it is counted; the object's name has its own.
func (c *Compactor) putMerged(ctx context.Context, run []candidate, fragments []fragment) (metastore.Segment, error) {
	oldest := c.now()
	for _, one := range run {
		if made := segmentTime(one.segment, c.now()); made.Before(oldest) {
			oldest = made
		}
	}
	out := metastore.Segment{
		ID:     ulid.MustNew(ulid.Timestamp(oldest), rand.Reader).String(),
		Object: objstore.MergedSegmentName(c.newID()),
		Broker: run[0].segment.Broker,
	}
	w := segment.NewWriter(segment.Meta{Kind: segment.KindSegment, ID: out.ID, Broker: int32(out.Broker), CreatedAt: c.now().UnixMilli()})
	var states []producer.State
	for i, f := range fragments {
		if i == 0 || !f.follows(fragments[i-1]) {
			if i > 0 {
				w.End(states)
			}
			w.Begin(f.Partition, f.Epoch)
			states = nil
		}
		for _, chunk := range f.chunks {
			if err := batch.Each(chunk, w.Append); err != nil {
				return out, err
			}
		}
		states = producer.Merge(states, f.Producers)
	}
	w.End(states)
	parts, footer, err := w.Finish()
	if err != nil {
		return out, err
	}
	body := objstore.Buffers(parts)
	if _, err := c.bucket.Put(ctx, out.Object, body, objstore.Condition{IfAbsent: true}); err != nil {
		return out, fmt.Errorf("store %s: %w", out.Object, err)
	}
	c.metrics.wrote("segment", body.Size)
	out.Size = body.Size
	out.Ranges = make([]metastore.SegmentRange, len(footer.Ranges))
	for i, r := range footer.Ranges {
		out.Ranges[i] = metastore.SegmentRange{
			Partition: r.Partition, Epoch: metastore.Epoch(r.Epoch), First: r.First, Next: r.Next,
			Position: r.Position, Length: r.Length, MaxTimestamp: r.MaxTimestamp,
		}
	}
	return out, nil
}

// fragments reads what is left of a segment, each block checked.
func (s *source) fragments(ctx context.Context, one candidate, m *metrics) ([]fragment, error) {
	object, size := one.segment.Object, one.segment.Size
	get := func(position, length int64) ([]byte, error) {
		data, err := s.get(ctx, object, position, length)
		if err != nil {
			return nil, err
		}
		m.read(len(data))
		return data, nil
	}
	var footer *segment.Footer
	if size <= wholeBytesMax {
		whole, err := get(0, size)
		if err != nil {
			return nil, err
		}
		get = func(position, length int64) ([]byte, error) { return whole[position : position+length], nil }
		footer, err = segment.FetchFooter(size, func(n int64) ([]byte, error) { return whole[size-n:], nil })
		if err != nil {
			return nil, format.In(object, err)
		}
	} else {
		var err error
		if footer, err = s.footer(ctx, object, size); err != nil {
			return nil, err
		}
	}
	left := make([]fragment, len(one.left))
	for i, r := range one.left {
		found, ok := footer.Find(r.Partition, r.First)
		if !ok || found.First != r.First || found.Next != r.Next {
			return nil, format.In(object, format.Corrupt(0, "it has not [%d,%d) of %v, but the metadata says so", r.First, r.Next, r.Partition))
		}
		left[i].Range = found
	}
	slices.SortFunc(left, func(a, b fragment) int { return cmp.Compare(a.Position, b.Position) })
	for i := 0; i < len(left); {
		n, end := i, left[i].Position
		for n < len(left) && left[n].Position-end <= gapBytesMax && (n == i || left[n].Position+left[n].Length-left[i].Position <= chunkBytes) {
			end = left[n].Position + left[n].Length
			n++
		}
		data, err := get(left[i].Position, end-left[i].Position)
		if err != nil {
			return nil, err
		}
		for base := left[i].Position; i < n; i++ {
			for _, b := range left[i].Blocks {
				block := data[b.Position-base : b.Position-base+b.Length]
				if err := b.Verify(block); err != nil {
					return nil, format.In(object, err)
				}
				left[i].chunks = append(left[i].chunks, block)
			}
		}
	}
	return left, nil
}
