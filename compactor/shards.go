package compactor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
)

// Shards, the index of a topic's embeddings, are made by jobs (jobs.go): a provider
// may be slow, and a graph takes minutes. Three lanes share the work of a partition.
// One embeds what comes, within seconds of its commit and before it is in a log file.
// One merges shards, whose vectors are taken as they are, and indexes them as
// the topic asks for. And one makes vectors anew, of the log, where another model
// made them, or one of them is damaged: a part of the offsets at a time, while
// what is there is served. Nothing is embedded twice but for that.

// vectorName is the name of the kind in metrics, and formatShard what the manifest
// calls the format.
const (
	vectorName  = "vector"
	formatShard = "shard"
)

// The lanes of shards.
const (
	embedLane lane = "embedding"
	redoLane  lane = "embedding again"
	mergeLane lane = "merge of shards"
	largeLane lane = "merge of large shards" // takes minutes: small ones are merged meanwhile
)

// shards is the kind of files. They are made by jobs and not by passes.
var shards = &derived{
	name: vectorName, file: "shard",
	files: func(s *manifest.Section) *[]manifest.File { return &s.Vector },
	mark:  func(s *manifest.Section) *int64 { return &s.Marks.Vector },
}

// startShards starts the jobs that are due, and says when to look again.
func (c *Compactor) startShards(ctx context.Context, snaps []snapshot, now time.Time) (again time.Time) {
	var due []job
	of := make(map[topic.Partition]bool, len(snaps))
	for _, s := range snaps {
		of[s.view.Partition] = true
		if s.vectors.Dropped && !s.config.Vector.Enabled && s.view.Partition.Index == 0 {
			c.revive(ctx, s)
		}
		plan, later := c.policy.shards(s, now)
		if !later.IsZero() {
			again = earliest(again, later.UnixMilli())
		}
		add := func(l lane, claims []manifest.File, run func(ctx context.Context, mends bool) (product, time.Duration, error)) {
			due = append(due, job{jobKey: jobKey{s.view.Partition, l}, asked: s.asked(), claims: claims, hasty: l == embedLane, run: run})
		}
		if !plan.embed.empty() && c.embedders != nil {
			add(embedLane, nil, (&embedding{Compactor: c, snap: s, wanted: plan.wanted, span: plan.embed}).work)
		}
		if len(plan.redo) > 0 && c.embedders != nil {
			add(redoLane, nil, (&redoing{embedding{Compactor: c, snap: s, wanted: plan.wanted, run: plan.redo}, plan.damage}).work)
		}
		s.lost = c.watched.lost(s)
		if collect := s.collect(plan.wanted); collect.due() && c.milvus != nil {
			add(collectLane, nil, (&collecting{Compactor: c, snap: s, plan: collect}).work)
		}
		if len(plan.merge) > 0 {
			l := mergeLane
			if sizeOf(plan.merge) > smallMergeBytes {
				l = largeLane
			}
			add(l, plan.merge, (&merging{Compactor: c, snap: s, wanted: plan.wanted, run: plan.merge}).work)
		}
	}
	if later := c.jobs.start(of, due); !later.IsZero() {
		again = earliest(again, later.UnixMilli())
	}
	return again
}

// revive forgets that the index of a topic was dropped, since it is turned off now:
// turned on again, it is made.
func (c *Compactor) revive(ctx context.Context, s snapshot) {
	if err := c.store.ReviveVectors(ctx, s.view.Partition.Topic); err != nil && ctx.Err() == nil {
		c.log.Warn("that a vector index was dropped is not forgotten yet", "topic", s.view.Topic.Name, "err", err)
	}
}

// adopt brings what jobs have made into the section.
func (p *pass) adopt(ctx context.Context) error {
	for _, e := range p.snap.ended {
		before, gone := p.section, len(p.gone)
		fits, err := e.product.adopt(ctx, p)
		if errors.Is(err, format.ErrCorrupt) || errors.Is(err, objstore.ErrNotFound) {
			// What it is to be held against is damaged, and stays so. A job that
			// begins now need not be held against it.
			p.log.Error("what a job has made cannot be adopted, and is made again", "partition", e.key.partition.String(), "job", string(e.key.lane), "err", err)
			fits, err = false, nil
		}
		if err != nil {
			p.section, p.gone = before, p.gone[:gone]
			return err
		}
		if !fits {
			p.section, p.gone = before, p.gone[:gone]
			p.metrics.obsolete.Inc()
			p.jobs.settle([]ended{e})
			continue
		}
		p.adopted = append(p.adopted, e)
		p.changed = true
	}
	return nil
}

// replacing is a shard that is to take the place of others.
type replacing struct {
	snap snapshot        // what the job saw
	run  []manifest.File // neighbours
	span span            // of offsets that it is about; the run may go on behind it
	file manifest.File
}

// adopt replaces the others.
func (r *replacing) adopt(ctx context.Context, p *pass) (fits bool, err error) {
	if !r.fits(p) {
		return false, nil
	}
	file := r.file
	if file.Masked, err = r.maskedSince(ctx, p, file); err != nil {
		return true, err
	}
	r.replace(p, file)
	return true, nil
}

// fits tells whether the others are as the job saw them.
func (r *replacing) fits(p *pass) bool {
	return !slices.ContainsFunc(r.run, func(f manifest.File) bool {
		return !slices.ContainsFunc(p.section.Vector, func(o manifest.File) bool { return o.Object == f.Object && o.First == f.First && o.Next == f.Next })
	})
}

// replace puts the file into the place of the others. What they have behind the
// span stays theirs.
func (r *replacing) replace(p *pass, file manifest.File) {
	come := []manifest.File{file}
	var gone []manifest.File
	p.section.Vector = slices.DeleteFunc(slices.Clone(p.section.Vector), func(f manifest.File) bool {
		at := slices.IndexFunc(r.run, func(o manifest.File) bool { return o.Object == f.Object })
		switch {
		case at < 0:
			return false
		case f.Next <= r.span.next:
			gone = append(gone, f)
		default:
			come = append(come, behind(f, r.span.next))
		}
		return true
	})
	p.gone = append(p.gone, gone...)
	p.section.Vector = p.replaced(p.section.Vector, nil, come)
}

// behind is a shard without its offsets below next, which another one has now.
func behind(f manifest.File, next int64) manifest.File {
	f.First = max(f.First, next)
	f.Records = min(f.Records, f.Next-f.First)
	f.Masked = min(f.Masked, f.Records)
	return f
}

// maskedSince counts the records of the file that masks may take out which the job
// had not seen.
func (r *replacing) maskedSince(ctx context.Context, p *pass, f manifest.File) (n int64, err error) {
	for _, m := range p.section.Masks {
		seen := slices.ContainsFunc(r.snap.section.Masks, func(o manifest.File) bool { return o.Object == m.Object })
		if seen || m.Next <= f.First || m.First >= f.Next {
			continue
		}
		offsets, err := p.readMask(ctx, m)
		if err != nil {
			return 0, err
		}
		for _, offset := range offsets {
			if offset >= f.First && offset < f.Next {
				n++
			}
		}
	}
	return min(n, f.Records), nil
}

// redoing is the job that embeds again what shards have.
type redoing struct {
	embedding
	damage *metastore.Damage // the report for which it does; nil: another model is wanted
}

// work does the job.
func (r *redoing) work(ctx context.Context, mends bool) (made product, retryAfter time.Duration, err error) {
	if r.damage != nil {
		sound, err := r.sound(ctx)
		if err != nil || sound {
			return nil, 0, err
		}
	}
	r.span = span{max(r.run[0].First, r.snap.logStart()), r.run[len(r.run)-1].Next}
	return r.embedding.work(ctx, mends)
}

// sound looks at a shard that is said to be damaged, and settles the report if it
// is not.
func (r *redoing) sound(ctx context.Context) (bool, error) {
	f := r.run[0]
	log := r.log.With("partition", partitionOf(r.snap), "object", f.Object)
	damage, err := r.inspect(ctx, f)
	switch {
	case err != nil:
		return false, err
	case damage == nil:
		r.metrics.unfounded.Inc()
		log.Warn("a shard that was reported as damaged is as it was written", "reported", r.damage.Reason)
		return true, r.store.ClearDamage(ctx, f.Object)
	}
	log.Error("a shard is damaged and is embedded again", "first", f.First, "next", f.Next, "err", damage)
	r.metrics.rebuilt.Inc()
	return false, nil
}

// merging is the job that makes one shard of neighbours, without the records that
// masks name, and indexed as the topic asks for.
type merging struct {
	*Compactor
	snap   snapshot
	wanted vectorindex.Settings
	run    []manifest.File
}

// work does the job.
func (m *merging) work(ctx context.Context, _ bool) (product, time.Duration, error) {
	m.metrics.merges.WithLabelValues(vectorName).Inc()
	made, err := m.merge(ctx)
	if err == nil {
		return made, 0, nil
	}
	m.metrics.failures.WithLabelValues(vectorName).Inc()
	return nil, 0, m.suspect(ctx, err)
}

func (m *merging) merge(ctx context.Context) (product, error) {
	files, options, err := m.open(ctx)
	if err != nil {
		return nil, err
	}
	out := &replacing{snap: m.snap, run: m.run, span: span{m.run[0].First, m.run[len(m.run)-1].Next}}
	if len(files) == 0 {
		out.file, err = m.storeNone(ctx, m.snap, m.wanted, out.span)
		return out, err
	}
	keep, err := m.kept(ctx, out.span)
	if err != nil {
		return nil, err
	}
	o := &object{id: m.newID()}
	var unfit []int64
	options.Keep, options.Unfit = keep, func(offset int64) { unfit = append(unfit, offset) }
	result, err := vectorindex.Merge(ctx, o, files, options)
	if len(unfit) > 0 {
		m.metrics.unfit.Add(float64(len(unfit)))
		m.log.Warn("vectors cannot be kept with the topic's quantization: their records are in no shard until they are embedded again",
			"partition", partitionOf(m.snap), "quantization", m.wanted.Quantization, "vectors", len(unfit), "first", slices.Min(unfit))
	}
	switch {
	case errors.Is(err, vectorindex.ErrEmpty):
		out.file, err = m.storeNone(ctx, m.snap, m.wanted, out.span)
	case err == nil:
		out.file, err = m.storeShard(ctx, m.snap, o, result, m.wanted, out.span)
	}
	return out, err
}

// open opens the shards that have vectors.
func (m *merging) open(ctx context.Context) (files []*vectorindex.File, options vectorindex.MergeOptions, err error) {
	wanted, err := m.wanted.Options()
	if err != nil {
		if !slices.ContainsFunc(m.run, func(f manifest.File) bool { return f.Records > 0 }) {
			err = nil // nothing has vectors yet: their length is not known
		}
		return nil, options, err
	}
	options = vectorindex.MergeOptions{
		Metric: wanted.Metric, Encoding: wanted.Encoding, Kind: wanted.Kind, M: wanted.M, EfConstruction: wanted.EfConstruction, Workers: 1,
	}
	for _, f := range m.run {
		if f.Records == 0 {
			continue
		}
		file, err := vectorindex.Open(ctx, &blob{Compactor: m.Compactor, file: f}, f.Footer)
		if err != nil {
			return nil, options, format.In(f.Object, err)
		}
		files = append(files, file)
		options.Spans = append(options.Spans, vectorindex.Span{First: f.First, Next: f.Next})
	}
	return files, options, nil
}

// kept says which records a merge keeps: those from the log start on, but for those
// that masks name. Instead of a mask that is damaged, the log tells.
func (m *merging) kept(ctx context.Context, sp span) (func(offset int64) bool, error) {
	hidden, err := m.masked(ctx, m.snap.section.Masks, m.run)
	start := max(sp.first, m.snap.logStart())
	var left map[int64]bool
	if errors.Is(err, format.ErrCorrupt) || errors.Is(err, objstore.ErrNotFound) {
		left, err = m.offsets(ctx, m.snap, span{start, sp.next})
	}
	if err != nil {
		return nil, err
	}
	return func(offset int64) bool {
		return offset >= start && !hidden[offset] && (left == nil || left[offset])
	}, nil
}

// suspect reports what of the shards is damaged or missing, so that it is embedded
// again.
func (m *merging) suspect(ctx context.Context, failed error) error {
	if !errors.Is(failed, format.ErrCorrupt) && !errors.Is(failed, objstore.ErrNotFound) {
		return failed
	}
	for _, f := range m.run {
		damage, err := m.inspect(ctx, f)
		if err != nil {
			return errors.Join(failed, err)
		}
		if damage != nil {
			if err := m.store.ReportDamage(ctx, f.Object, damage.Error()); err != nil {
				return errors.Join(failed, err)
			}
		}
	}
	return fmt.Errorf("merge shards of %s: %w", partitionOf(m.snap), failed)
}
