package compactor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
)

// Cleaning is compaction by key, Kafka's log cleaner over our log files.
//
// The keys of records that were not cleaned yet, [from, through), are gathered
// with their latest offsets. Then the log files below through are rewritten from
// the first on, some with each pass, without the records that a later one in the
// map supersedes. What is left keeps its offset. How far it has come is in the
// manifest, swapped with the files, so that another compactor can go on.
//
// A tombstone may only go when nothing older of its key is left. It gets its
// horizon in the step that has held it, and with it everything below, against
// the map that it is in; steps go from low offsets to high ones. It goes when a
// later cleaning finds the horizon passed.
//
// A damaged log file stays as it is: what it holds supersedes nothing, and no
// tombstone behind it goes.

// cleaning is what a compactor remembers between the steps of a cleaning. It is
// a cache: the manifest knows the rest.
type cleaning struct {
	from  int64 // the map begins here
	next  int64 // and ends here so far
	limit int64 // it is to come no further
	done  bool  // next is where the map ends
	keys  *keyMap
}

// fits reports whether what is remembered serves the planned step.
func (k *cleaning) fits(plan cleanPlan, underway bool) bool {
	if k.keys == nil || k.from != plan.from {
		return false
	}
	if underway {
		return k.limit == plan.through || k.done && k.next == plan.through
	}
	return !k.done // else it was for a cleaning that came to its end, or that another compactor has overtaken
}

// mappedBytesMax is how much of a log one pass reads to gather keys, in
// multiples of what a pass takes in: reading costs little beside rewriting.
const mappedBytesMax = 4

// errEnough ends a pass over batches.
var errEnough = errors.New("enough for this pass")

// clean takes the planned step of a cleaning.
func (p *pass) clean(ctx context.Context) error {
	k, plan := p.cleaning, &p.plan.clean
	if underway := p.section.Clean.Through > 0; !k.fits(*plan, underway) {
		*k = cleaning{from: plan.from, next: plan.from, limit: plan.through, keys: newKeyMap(p.config.CleanBytesMax / int64(2*p.config.Workers))}
	}
	sp := whole(p.snap.section.Log, span{min(plan.at, plan.from), k.limit})
	extents, err := p.source.extents(ctx, p.snap.sound(), sp)
	if err != nil {
		return err
	}
	// A small partition is read once for both.
	r := p.source.reading(extents, sp, 2*p.policy.PassBytesMax, p.metrics)
	if !k.done {
		switch err := p.gatherKeys(ctx, k, r); {
		case errors.Is(err, errEnough):
			p.more = true
			return nil
		case err != nil:
			return err
		}
		k.done = true
	}
	plan.through = k.next
	// Log and masks come to life together or not at all.
	before, gone := p.section, len(p.gone)
	before.Log, before.Masks = slices.Clone(before.Log), slices.Clone(before.Masks)
	before.Columnar, before.Text, before.Vector = slices.Clone(before.Columnar), slices.Clone(before.Text), slices.Clone(before.Vector)
	if err := p.cleanStep(ctx, k, r); err != nil {
		p.section, p.gone = before, p.gone[:gone]
		return err
	}
	p.changed = true
	return nil
}

// sound is the snapshot without the log files that are damaged.
func (s snapshot) sound() snapshot {
	s.section.Log = slices.DeleteFunc(slices.Clone(s.section.Log), func(f manifest.File) bool { return s.damaged[f.Object] })
	return s
}

// whole widens a span to the files that it touches: what is rewritten has to be
// read to its last batch.
func whole(files []manifest.File, sp span) span {
	out := sp
	for _, f := range files {
		if f.First < sp.next && f.Next > sp.first {
			out.first, out.next = min(out.first, f.First), max(out.next, f.Next)
		}
	}
	return out
}

// gatherKeys fills the map. It ends where the map is full, and with errEnough
// when it has read as much as a pass may.
func (p *pass) gatherKeys(ctx context.Context, k *cleaning, r *reading) error {
	var read int64
	var digests []keyAt
	for i := range r.extents {
		if r.extents[i].Next <= k.next {
			continue
		}
		err := r.each(ctx, i, func(h batch.Header, raw []byte) error {
			if h.Next() <= k.next {
				return nil
			}
			if h.Next() > k.limit {
				return errFullMap
			}
			if h.Attributes.Transactional() || h.Attributes.Control() {
				if h.BaseOffset > k.from {
					return errFullMap
				}
				return fmt.Errorf("the batch at offset %d belongs to a transaction: this version does not compact those by key", h.BaseOffset)
			}
			var err error
			if digests, err = p.digests(digests[:0], h, raw); err != nil {
				p.metrics.unreadable.Inc()
				p.log.Error("a batch cannot be decoded: it stays as it is and supersedes nothing",
					"partition", partitionOf(p.snap), "first", h.BaseOffset, "next", h.Next(), "err", err)
			}
			if !k.keys.room(len(digests)) {
				if h.BaseOffset > k.from {
					return errFullMap
				}
				k.keys.force(len(digests)) // one batch goes in whatever it holds
			}
			for _, d := range digests {
				k.keys.put(d.key, d.offset)
			}
			k.next = h.Next()
			if read += int64(len(raw)); read > mappedBytesMax*p.policy.PassBytesMax {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errFullMap) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	// Offsets at the end that no batch has are clean too.
	k.next = max(k.next, k.limit)
	return nil
}

// errFullMap says that the keys of a batch are not gathered any more.
var errFullMap = errors.New("no more keys are gathered")

type keyAt struct {
	key    digest
	offset int64
}

// digests appends the keys of a batch, or, when it cannot be decoded, nothing.
func (p *pass) digests(to []keyAt, h batch.Header, raw []byte) ([]keyAt, error) {
	records, err := p.decoder.Open(h, raw)
	if err != nil {
		return to, err
	}
	n := len(to)
	for records.Next() {
		if r := records.Record(); r.Key != nil {
			to = append(to, keyAt{digestOf(r.Key), r.Offset})
		}
	}
	if err := records.Err(); err != nil {
		return to[:n], err
	}
	return to, nil
}

// cleanStep rewrites the next files.
func (p *pass) cleanStep(ctx context.Context, k *cleaning, r *reading) error {
	c := &p.section.Clean
	if c.Through == 0 {
		c.Horizon = 0 // from here on that of what is met
	}
	f := &filtering{pass: p, keys: k.keys, through: k.next, filter: batch.NewFilter(p.decoder), last: p.lastBatches()}
	c.Through, c.At = k.next, max(c.At, p.plan.clean.at)
	run := p.policy.cleanRun(p.snap.section.Log, p.plan.clean, p.snap.spanMaxMs(), p.snap.damaged)
	if len(run) > 0 {
		files, err := f.files(ctx, run, r)
		if err != nil {
			return err
		}
		if err := p.replaceCleaned(ctx, files); err != nil {
			return err
		}
		if err := p.mask(ctx, f.removed); err != nil {
			return err
		}
		c.At = min(run[len(run)-1].Next, p.section.Marks.Log)
		c.Horizon = max(c.Horizon, f.horizon)
	}
	p.filtered = f.counts
	for _, file := range p.section.Log {
		if n := len(run); n > 0 && file.First >= run[0].First && file.Next <= run[n-1].Next {
			p.filtered.bytesOut += file.Size
		}
	}
	if left := p.policy.cleanRun(p.section.Log, cleanPlan{through: c.Through, at: c.At}, 0, p.snap.damaged); len(left) == 0 {
		*c = manifest.Clean{Next: max(c.Next, c.Through), Horizon: c.Horizon}
		p.cleaned = true
	}
	return nil
}

// lastBatches are, by producer, the batches that hold its last sequence.
func (p *pass) lastBatches() map[int64]lastBatch {
	last := make(map[int64]lastBatch, len(p.section.Producers))
	for _, s := range p.section.Producers {
		if n := len(s.Batches); n > 0 {
			last[s.ID] = lastBatch{s.Epoch, s.Batches[n-1].First}
		}
	}
	return last
}

type lastBatch struct {
	epoch int16
	first int64
}

// filtering goes through log files and leaves out what is superseded.
type filtering struct {
	*pass
	keys    *keyMap
	through int64
	filter  *batch.Filter
	last    map[int64]lastBatch
	horizon int64 // the latest of the tombstones that are left and wait for one
	removed []removedRecord
	counts  filterCounts
}

// filterCounts are for the metrics.
type filterCounts struct {
	superseded, tombstones, keyless int64
	bytesIn, bytesOut               int64
}

// count adds to the metrics what the pass has made true.
func (p *pass) count() {
	n := p.filtered
	p.metrics.cleanedBytes.WithLabelValues("in").Add(float64(n.bytesIn))
	p.metrics.cleanedBytes.WithLabelValues("out").Add(float64(n.bytesOut))
	p.metrics.removed.WithLabelValues("superseded").Add(float64(n.superseded))
	p.metrics.removed.WithLabelValues("tombstone").Add(float64(n.tombstones))
	p.metrics.removed.WithLabelValues("keyless").Add(float64(n.keyless))
	p.metrics.rebuilt.Add(float64(p.rebuilt))
	if p.cleaned {
		p.metrics.cleanings.Inc()
		p.metrics.lastCleaned.Set(float64(p.now.UnixMilli()) / 1000)
		p.log.Debug("cleaned", "partition", partitionOf(p.snap), "next", p.section.Clean.Next)
	}
}

// removedRecord is one that is in the log no more.
type removedRecord struct{ offset, timestamp int64 }

// cleanedFile is a log file with what is left of it.
type cleanedFile struct {
	manifest.File
	parts   []cleanedPart
	changed bool
}

// cleanedPart is what is left of an extent.
type cleanedPart struct {
	extent  *extent
	batches []batchLeft
}

type batchLeft struct {
	header batch.Header
	raw    []byte
}

// files filters a run of files. They stay in memory: a step takes in no more
// than a pass may.
func (f *filtering) files(ctx context.Context, run []manifest.File, r *reading) ([]cleanedFile, error) {
	out := make([]cleanedFile, len(run))
	for i, file := range run {
		out[i].File = file
		f.counts.bytesIn += file.Size
		var gone batchLeft // the last batch that went
		var records int64
		seen, left := 0, 0
		for e := range r.extents {
			extent := &r.extents[e]
			if extent.object != file.Object {
				continue
			}
			part := cleanedPart{extent: extent}
			err := r.each(ctx, e, func(h batch.Header, raw []byte) error {
				seen++
				records += int64(h.Records)
				kept, err := f.batch(h, raw)
				if err != nil {
					return err
				}
				if kept.raw == nil {
					gone, out[i].changed = batchLeft{h, raw}, true
					return nil
				}
				out[i].changed = out[i].changed || len(kept.raw) != len(raw) || &kept.raw[0] != &raw[0]
				part.batches = append(part.batches, kept)
				left++
				return nil
			})
			if err != nil {
				return nil, err
			}
			out[i].parts = append(out[i].parts, part)
		}
		if records != file.Records {
			return nil, format.In(file.Object, format.Corrupt(0, "it has %d records, the manifest says %d", records, file.Records))
		}
		if left == 0 { // an empty batch holds the place of the file
			if seen == 1 && gone.header.Records == 0 {
				out[i].changed = false
			} else {
				gone.header, gone.raw = batch.Empty(gone.header)
			}
			parts := out[i].parts
			parts[len(parts)-1].batches = []batchLeft{gone}
		}
	}
	return out, nil
}

// batch returns what is left of a batch; without bytes, nothing.
func (f *filtering) batch(h batch.Header, raw []byte) (batchLeft, error) {
	if h.Next() <= f.section.LogStart {
		return batchLeft{}, nil
	}
	if h.Next() > f.through || h.Attributes.Control() || h.Attributes.Transactional() {
		return batchLeft{h, raw}, nil
	}
	now := f.now.UnixMilli()
	expired := h.Attributes.DeleteHorizon() && h.BaseTimestamp <= now && !f.snap.damagedBelow(h.BaseOffset)
	removed, counts := len(f.removed), f.counts
	left, err := f.filter.Apply(h, raw, now+min(f.snap.config.DeleteRetentionMs, maxHorizonMs), f.level(h), func(r *batch.Record) bool {
		switch {
		case r.Offset == f.snap.view.Next()-1:
			return true // the log's last record stays, as in Kafka's active segment: its end can be read
		case r.Key == nil:
			f.counts.keyless++
		case f.keys.latest(r.Key) > r.Offset:
			f.counts.superseded++
		case r.Value == nil && expired:
			f.counts.tombstones++
		default:
			return true
		}
		f.removed = append(f.removed, removedRecord{r.Offset, r.Timestamp})
		return false
	})
	switch {
	case errors.Is(err, format.ErrCorrupt) || errors.Is(err, batch.ErrTooLarge):
		// Said when its keys were gathered, which this time or another they were.
		f.removed, f.counts = f.removed[:removed], counts
		return batchLeft{h, raw}, nil
	case err != nil:
		return batchLeft{}, err
	}
	if left.Raw != nil {
		if left.Tombstones > 0 && left.Header.BaseTimestamp >= now {
			f.horizon = max(f.horizon, left.Header.BaseTimestamp)
		}
		return batchLeft{left.Header, left.Raw}, nil
	}
	if l, ok := f.last[h.ProducerID]; ok && h.Idempotent() && l == (lastBatch{h.ProducerEpoch, h.BaseOffset}) {
		if h.Records == 0 {
			return batchLeft{h, raw}, nil
		}
		h, raw = batch.Empty(h)
		return batchLeft{h, raw}, nil
	}
	return batchLeft{}, nil
}

// damagedBelow reports that older records may be left of keys that were deleted:
// a damaged log file is not cleaned, and part of it can be read.
func (s snapshot) damagedBelow(offset int64) bool {
	return slices.ContainsFunc(s.section.Log, func(f manifest.File) bool { return f.First < offset && s.damaged[f.Object] })
}

// maxHorizonMs keeps a horizon within the time that headers can hold.
const maxHorizonMs = 1 << 60

// level is that of the topic for the codec that a batch has.
func (f *filtering) level(h batch.Header) int {
	return f.snap.config.CodecLevel(h.Attributes.Codec().String())
}

// replaceCleaned puts one log file into the place of those from the first that
// changed to the last.
func (p *pass) replaceCleaned(ctx context.Context, files []cleanedFile) error {
	changed := func(f cleanedFile) bool { return f.changed }
	first := slices.IndexFunc(files, changed)
	if first < 0 {
		return nil
	}
	for !changed(files[len(files)-1]) {
		files = files[:len(files)-1]
	}
	files = files[first:]
	w := p.newLogWriter()
	for _, f := range files {
		for _, part := range f.parts {
			w.begin(part.extent, true)
			for _, b := range part.batches {
				if err := w.Append(b.header, b.raw); err != nil {
					return err
				}
			}
		}
	}
	file, err := w.finish(ctx)
	if err != nil {
		return err
	}
	run := make([]manifest.File, len(files))
	for i, f := range files {
		run[i] = f.File
	}
	file.First, file.Next = run[0].First, run[len(run)-1].Next
	p.section.Log = p.replaced(p.section.Log, run, []manifest.File{*file})
	return nil
}
