package compactor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/objstore"
)

// embedding is a job: it reads a span of the log, has the texts of its records
// embedded, and makes a shard of the vectors. It need not come to the end of the
// span. What a provider has answered is kept also when it fails then, and a slow
// one's vectors come into a shard every embedFor.
type embedding struct {
	*Compactor
	snap   snapshot
	wanted vectorindex.Settings
	span   span
	run    []manifest.File // shards that the new one takes the place of; nil: the mark advances

	embedder *embedder.Embedder
	begun    time.Time
	window   []text
	bytes    int // of the texts in the window
	builder  *vectorindex.Builder
	made     vectorindex.Settings // wanted, with the dimensions that the provider's vectors have
	offsets  []int64              // of the records with vectors
	next     int64                // everything below it is answered for
}

// text is what is to be embedded of a record.
type text struct {
	offset, timestamp int64
	text              string
}

const (
	embedFor        = 5 * time.Second // after which a job makes a shard of what it has: it is found then, and no crash takes it
	windowBytesMax  = 8 << 20         // of texts that are embedded together
	vectorsBytesMax = 32 << 20        // memory of the shard that one job builds
)

// errEnoughVectors ends the walk of a job that has gone far enough.
var errEnoughVectors = errors.New("enough vectors for one shard")

// asked is what a job is about, as far as its failure depends on it.
type asked struct {
	config     topicconfig.Vector
	generation int64
}

func (s snapshot) asked() asked {
	return asked{s.config.Vector, s.vectors.Of(s.view.Partition.Index)}
}

// work does the job.
func (e *embedding) work(ctx context.Context, mends bool) (made product, retryAfter time.Duration, err error) {
	e.begun, e.next = e.now(), e.span.first
	if e.embedder, err = e.embedders.Open(e.snap.config.Vector); err == nil {
		err = e.walk(ctx, mends)
	}
	if err != nil {
		retryAfter, _ = embedder.Temporary(err)
		e.metrics.failures.WithLabelValues(vectorName).Inc()
	}
	if e.next == e.span.first {
		return nil, retryAfter, err
	}
	shard, failed := e.shard(ctx)
	if failed != nil {
		return nil, retryAfter, errors.Join(err, failed)
	}
	return shard, retryAfter, err
}

// walk embeds the records of the span, as far as it comes.
func (e *embedding) walk(ctx context.Context, mends bool) error {
	find := e.source.extents
	if mends {
		find = func(ctx context.Context, snap snapshot, sp span) ([]extent, error) {
			return (&pass{Compactor: e.Compactor, snap: snap}).mendedExtents(ctx, sp)
		}
	}
	extents, err := find(ctx, e.snap, e.span)
	if err != nil {
		return err
	}
	r := e.source.reading(extents, e.span, 0, e.metrics)
	decoder, ok := e.decoder.Get().(*batch.Decoder)
	if !ok {
		decoder = batch.NewDecoder(e.config.BatchBytesMax)
	}
	defer e.decoder.Put(decoder)
	lost, err := columnar.Walk(ctx, r.batches(ctx), decoder, e.span.first, e.span.next, func(record *batch.Record) error { return e.add(ctx, record) })
	if errors.Is(err, errEnoughVectors) {
		return nil
	}
	if err == nil {
		err = e.embed(ctx, e.span.next)
	}
	for _, u := range lost {
		e.metrics.unreadable.Inc()
		e.log.Error("a batch cannot be decoded: its records are in the log but in no shard",
			"partition", partitionOf(e.snap), "first", u.First, "next", u.Next, "err", u.Err)
	}
	return err
}

// add takes in a record, and has the window embedded when it is full.
func (e *embedding) add(ctx context.Context, r *batch.Record) error {
	c := e.snap.config.Vector
	if len(e.window) >= c.BatchSize*c.Concurrency || e.bytes >= windowBytesMax {
		if err := e.embed(ctx, r.Offset); err != nil {
			return err
		}
		if e.builder != nil && e.builder.Bytes() >= vectorsBytesMax || e.now().Sub(e.begun) >= embedFor {
			return errEnoughVectors
		}
	}
	t, skip := embedder.Text(c.Field, r.Key, r.Value)
	if skip != "" {
		e.embedder.Skipped(skip, 1)
		return nil
	}
	e.window = append(e.window, text{r.Offset, r.Timestamp, t})
	e.bytes += len(t)
	return nil
}

// embed has the texts in the window embedded. All records below next are in it or
// in the builder, or have no text.
func (e *embedding) embed(ctx context.Context, next int64) error {
	if len(e.window) == 0 {
		e.next = next
		return nil
	}
	texts := make([]string, len(e.window))
	for i := range e.window {
		texts[i] = e.window[i].text
	}
	vectors, err := e.embedder.Embed(ctx, texts)
	for i := range vectors.Len() {
		t := &e.window[i]
		if v := vectors.At(i); v != nil {
			if err := e.append(vectors.Model, t, v); err != nil {
				return err
			}
		}
		e.next = t.offset + 1
	}
	if err != nil {
		return err
	}
	e.next = next
	clear(e.window)
	e.window, e.bytes = e.window[:0], 0
	return nil
}

// append puts a vector into the builder.
func (e *embedding) append(model embedder.Model, t *text, v []float32) error {
	if e.builder == nil {
		e.made = e.wanted
		e.made.Dimensions = model.Dimensions
		options, err := e.made.Options()
		if err != nil {
			return err
		}
		// Lists and graphs are made by merges: this one is waited for.
		options.Kind, options.Workers = vectorindex.Flat, 1
		if e.builder, err = vectorindex.NewBuilder(options, math.MaxInt64); err != nil {
			return err
		}
	}
	err := e.builder.Append(t.offset, t.timestamp, v)
	if errors.Is(err, vectorindex.ErrVector) {
		// It would be the same if it were embedded again.
		e.embedder.Skipped(embedder.SkipUnfit, 1)
		e.log.Warn("a vector cannot be indexed: its record is in no shard", "partition", partitionOf(e.snap), "offset", t.offset, "err", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("the vector of offset %d: %w", t.offset, err)
	}
	e.offsets = append(e.offsets, t.offset)
	return nil
}

// shard stores what there is.
func (e *embedding) shard(ctx context.Context) (product, error) {
	out := &embedded{replacing: replacing{snap: e.snap, run: e.run, span: span{e.span.first, e.next}}, offsets: e.offsets}
	var err error
	if len(e.offsets) == 0 {
		out.file, err = e.storeNone(ctx, e.snap, e.wanted, out.span)
		return out, err
	}
	o := &object{id: e.newID()}
	result, err := e.builder.Write(o)
	if err != nil {
		return nil, err
	}
	out.file, err = e.storeShard(ctx, e.snap, o, result, e.made, out.span)
	return out, err
}

// storeShard stores a shard that covers a span.
func (c *Compactor) storeShard(ctx context.Context, snap snapshot, o *object, result vectorindex.Result, settings vectorindex.Settings, sp span) (manifest.File, error) {
	out := manifest.File{
		Object:       objstore.ShardName(snap.view.Partition, o.id),
		First:        sp.first,
		Next:         sp.next,
		Records:      result.Documents,
		MinTimestamp: result.TimestampMin,
		MaxTimestamp: result.TimestampMax,
		Format:       formatShard,
		CreatedAt:    c.now().UnixMilli(),
		Footer:       result.Footer,
		Settings:     settings.String(),
	}
	var err error
	out.Size, out.CRC, err = c.put(ctx, vectorName, out.Object, o.parts)
	c.metrics.records.WithLabelValues(vectorName).Add(float64(out.Records))
	return out, err
}

// storeNone stores what stands for a span in which nothing has a vector. Its
// object is a note, no shard.
func (c *Compactor) storeNone(ctx context.Context, snap snapshot, settings vectorindex.Settings, sp span) (manifest.File, error) {
	o := &object{id: c.newID()}
	if _, err := fmt.Fprintf(o, "no vectors in [%d,%d): %s\n", sp.first, sp.next, settings); err != nil {
		return manifest.File{}, err
	}
	return c.storeShard(ctx, snap, o, vectorindex.Result{TimestampMin: -1, TimestampMax: -1}, settings, sp)
}

// embedded is what an embedding has made.
type embedded struct {
	replacing
	offsets []int64 // of the records in it, rising
}

// adopt brings the shard into the section, and the mark forward if the shard is not
// in the place of others.
func (m *embedded) adopt(ctx context.Context, p *pass) (fits bool, err error) {
	switch {
	case len(m.run) > 0 && m.fits(p):
		m.replace(p, m.file)
	case len(m.run) == 0 && p.snap.indexed() && p.section.Marks.Vector == m.snap.view.Manifest.Marks.Vector:
		p.section.Marks.Vector = m.span.next
		p.section.Vector = append(slices.Clone(p.section.Vector), m.file)
	default:
		return false, nil
	}
	if m.snap.section.Clean == p.section.Clean {
		return true, nil
	}
	// The log has been cleaned since it was read for the shard. What went then need not
	// be in a mask: those that it was in the place of may have had nothing of it.
	removed, err := p.cleanedSince(ctx, m.offsets, m.span)
	if err != nil {
		return true, err
	}
	return true, p.maskShards(ctx, removed)
}

// cleanedSince returns those of the offsets, which rise, that the log has no longer.
func (p *pass) cleanedSince(ctx context.Context, offsets []int64, sp span) ([]removedRecord, error) {
	sp.first = max(sp.first, p.section.LogStart)
	if cleaned := max(p.section.Clean.Next, p.section.Clean.At, p.section.Clean.Through); sp.next > cleaned {
		sp.next = cleaned
	}
	if sp.empty() {
		return nil, nil
	}
	left, err := p.offsets(ctx, p.snap, sp)
	if err != nil {
		return nil, err
	}
	var removed []removedRecord
	for _, offset := range offsets {
		if offset >= sp.first && offset < sp.next && !left[offset] {
			removed = append(removed, removedRecord{offset: offset})
		}
	}
	return removed, nil
}

// offsets are those that the log has records of in a span. What cannot be decoded
// counts as there.
func (c *Compactor) offsets(ctx context.Context, snap snapshot, sp span) (map[int64]bool, error) {
	extents, err := c.source.extents(ctx, snap, sp)
	if err != nil {
		return nil, err
	}
	decoder, ok := c.decoder.Get().(*batch.Decoder)
	if !ok {
		decoder = batch.NewDecoder(c.config.BatchBytesMax)
	}
	defer c.decoder.Put(decoder)
	there := make(map[int64]bool)
	lost, err := columnar.Walk(ctx, c.source.reading(extents, sp, 0, c.metrics).batches(ctx), decoder, sp.first, sp.next, func(r *batch.Record) error {
		there[r.Offset] = true
		return nil
	})
	for _, u := range lost {
		for offset := u.First; offset < u.Next; offset++ {
			there[offset] = true
		}
	}
	return there, err
}
