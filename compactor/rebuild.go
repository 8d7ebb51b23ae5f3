package compactor

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
)

// Columnar files and splits are derived from the log, so one that is damaged or
// missing is made again. Who finds one, a query node, reports it in the metadata store. The
// compactor of the partition looks for itself, since the damage may be in that
// node's copy or have happened on the way; then it makes the same rows of the log
// once more, as a merge of that one file. The swap of the manifest takes the
// object's name away, and the report of an object without a name is deleted: so
// a crash anywhere in between is made up for by the next round.
//
// Where the log does not have these rows any more, because it is damaged itself,
// the file stays in the manifest and the report says so: a query that needs it
// fails and names it, for a table that is silently shorter would be wrong. Such
// a file is tried again every now and then, and is in no merge.

// rebuild is what a pass makes of one report of damage.
type rebuild struct {
	report metastore.Damage
	kind   *derived      // what is reported is one of; of a mask and of what the manifest has no more, tables
	named  manifest.File // what is reported; the zero File when the manifest has it no more
	files  []ofKind      // to be made again: named itself, or the files that need it, a mask
}

// ofKind is a derived file.
type ofKind struct {
	*derived
	manifest.File
}

// rebuild finds a report that something is to be done about now.
func (p Policy) rebuild(s snapshot, planned plan, now time.Time) *rebuild {
	for _, report := range s.view.Damaged {
		out := s.reportedFile(report)
		switch {
		case out.named.Object == "": // whatever became of it
		case out.named.Next <= planned.logStart, out.kind == tables && planned.dropColumnar, out.kind == splits && planned.dropText:
			continue // it goes by itself
		case out.kind == shards, len(out.files) == 0 && slices.ContainsFunc(s.section.Vector, func(f manifest.File) bool { return masks(out.named, f) }):
			continue // jobs see to it
		case report.Lost != "" && now.Sub(report.LostAt) < damagedFor:
			continue // it was tried
		}
		return out
	}
	return nil
}

// reportedFile finds what a report is about.
func (s snapshot) reportedFile(report metastore.Damage) *rebuild {
	out := &rebuild{report: report, kind: tables}
	same := func(f manifest.File) bool { return f.Object == report.Object }
	for _, kind := range []*derived{tables, splits, shards} {
		files := *kind.files(&s.section)
		if i := slices.IndexFunc(files, same); i >= 0 {
			out.kind, out.named, out.files = kind, files[i], []ofKind{{kind, files[i]}}
			return out
		}
	}
	if i := slices.IndexFunc(s.section.Masks, same); i >= 0 {
		out.named = s.section.Masks[i]
		for _, kind := range []*derived{tables, splits} {
			for _, f := range *kind.files(&s.section) {
				if masks(out.named, f) {
					out.files = append(out.files, ofKind{kind, f})
				}
			}
		}
	}
	return out
}

// bytes is about what it takes to read.
func (r *rebuild) bytes(s snapshot) (n int64) {
	for _, f := range r.files {
		n += f.Size + span{f.First, f.Next}.bytes(s)
	}
	return n
}

// reported tells whether a derived file is said to be damaged.
func (s snapshot) reported(f manifest.File) bool {
	return slices.ContainsFunc(s.view.Damaged, func(d metastore.Damage) bool { return d.Object == f.Object })
}

// lostError says why a file cannot be made again.
type lostError struct{ reason string }

// Error implements error.
func (e *lostError) Error() string { return e.reason }

// rebuild settles a report: it is not true, or the files are made again, or it
// says why they cannot be.
func (p *pass) rebuild(ctx context.Context) error {
	r := p.plan.rebuild
	log := p.log.With("partition", partitionOf(p.snap), "object", r.report.Object)
	settled := func() error {
		p.more = true // the next report
		return p.store.ClearDamage(ctx, r.report.Object)
	}
	if r.named.Object == "" {
		return settled()
	}
	damage, err := p.inspect(ctx, r.named)
	if err != nil {
		return err
	}
	if damage == nil {
		p.metrics.unfounded.Inc()
		log.Warn("a file that was reported as damaged is as it was written", "reported", r.report.Reason)
		return settled()
	}
	log.Error("a "+r.kind.file+" is damaged and is made again", "first", r.named.First, "next", r.named.Next, "err", damage)
	for _, f := range r.files {
		err := p.remake(ctx, f)
		var lost *lostError
		if errors.As(err, &lost) {
			log.Error("a damaged "+f.file+" cannot be made again: queries that need it fail", "first", f.First, "next", f.Next, "err", err)
			return p.store.LoseDamage(ctx, r.report, lost.reason, p.now)
		}
		if err != nil {
			return err
		}
		p.changed = true
		p.rebuilt++
	}
	return nil
}

// inspect reads an object until it is found to be what the manifest says, at most
// mendReads times, and returns what is wrong with it. err: it could not be read.
func (c *Compactor) inspect(ctx context.Context, f manifest.File) (damage, err error) {
	for range mendReads {
		if damage, err = c.compare(ctx, f); err != nil || damage == nil {
			return nil, err
		}
	}
	return damage, nil
}

// compare holds an object against its size and checksum in the manifest.
func (c *Compactor) compare(ctx context.Context, f manifest.File) (damage, err error) {
	attributes, err := c.bucket.Head(ctx, f.Object)
	switch {
	case errors.Is(err, objstore.ErrNotFound):
		return err, nil
	case err != nil:
		return nil, fmt.Errorf("look at %s: %w", f.Object, err)
	case attributes.Size != f.Size:
		return format.In(f.Object, format.Corrupt(min(attributes.Size, f.Size), "%d bytes, the manifest says %d", attributes.Size, f.Size)), nil
	case f.CRC == 0:
		return format.In(f.Object, format.Corrupt(0, "the manifest has no checksum of it")), nil
	}
	var crc uint32
	for at := int64(0); at < f.Size; at += chunkBytes {
		data, err := c.bucket.Get(ctx, f.Object, at, min(chunkBytes, f.Size-at))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", f.Object, err)
		}
		c.metrics.read(len(data))
		crc = crc32.Update(crc, format.Castagnoli, data)
	}
	if crc != f.CRC {
		return format.In(f.Object, format.Corrupt(0, "CRC-32C %08x, the manifest says %08x", crc, f.CRC)), nil
	}
	return nil, nil
}

// remake puts a new file in the place of one, made of the log. *lostError: the
// log has not all of it, now or the next mendReads-1 times that it is read.
func (p *pass) remake(ctx context.Context, f ofKind) error {
	var err error
	damaged := func() bool {
		return errors.Is(err, format.ErrCorrupt) || errors.Is(err, objstore.ErrNotFound) || errors.Is(err, objstore.ErrRange)
	}
	for range mendReads {
		if f.First < p.section.LogStart {
			err = p.remakeCut(ctx, f.derived, f.File)
		} else {
			err = p.remakeFiles(ctx, f.derived, []manifest.File{f.File})
		}
		if !damaged() {
			break
		}
	}
	if damaged() || errors.Is(err, errOtherRecords) {
		return &lostError{fmt.Sprintf("the log does not have its rows: %v", err)}
	}
	return err
}
