package compactor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/rendezvous"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/committed"
	"github.com/chronik-stream/chronik/objstore"
)

// groupBytesMax is how much the passes that share a manifest object take in
// together: the first of them waits for the last.
const groupBytesMax = 256 << 20

// task is a partition with its plan.
type task struct {
	snap     snapshot
	plan     plan
	cleaning *cleaning // of the plan, if it has one
	mends    bool      // what is damaged is left out
}

// round carries out what is due now. It reports whether anything was, and if
// not, when to look again.
func (c *Compactor) round(ctx context.Context) (worked bool, again time.Time) {
	snaps := c.snapshots(ctx)
	now := c.now()
	var due []task
	for _, s := range snaps {
		plan, later := c.policy.decide(s, now)
		cleaning := c.admit(s, &plan)
		if !plan.empty(s) {
			due = append(due, task{s, plan, cleaning, c.failures[s.view.Partition].damage >= mendAfter})
			continue
		}
		delete(c.failures, s.view.Partition) // what failed is not wanted any more
		if !later.IsZero() && (again.IsZero() || later.Before(again)) {
			again = later
		}
	}
	for _, f := range c.failures {
		if again.IsZero() || f.until.Before(again) {
			again = f.until
		}
	}
	if later := c.startShards(ctx, snaps, now); !later.IsZero() {
		again = earliest(again, later.UnixMilli())
	}
	c.measure(snaps, now)
	for _, group := range groups(due) {
		if ctx.Err() != nil {
			return true, again
		}
		worked = c.group(ctx, group) || worked
	}
	merged := c.mergeSegments(ctx)
	dropped := c.dropSegments(ctx)
	return worked || merged || dropped, again
}

// admit finds what is remembered of the cleaning that a plan goes on with. Only
// so many that take several passes are remembered, since their keys take memory;
// a further one has to wait, and goes out of the plan.
func (c *Compactor) admit(s snapshot, p *plan) *cleaning {
	id := s.view.Partition
	if !p.clean.due() {
		delete(c.cleanings, id)
		return nil
	}
	if known := c.cleanings[id]; known != nil {
		return known
	}
	fresh := &cleaning{}
	if p.clean.bytes > c.policy.PassBytesMax {
		if len(c.cleanings) >= c.config.Workers {
			p.clean = cleanPlan{}
			return nil
		}
		c.cleanings[id] = fresh
	}
	return fresh
}

// groups cuts tasks into those that share a manifest object.
func groups(tasks []task) [][]task {
	var out [][]task
	var bytes int64
	for _, t := range tasks {
		last := len(out) - 1
		if last < 0 || len(out[last]) == manifest.SectionsMax || bytes+t.plan.bytes > groupBytesMax {
			out = append(out, nil)
			last++
			bytes = 0
		}
		out[last] = append(out[last], t)
		bytes += t.plan.bytes
	}
	return out
}

// snapshots returns this compactor's share of the partitions, but for those
// that are left alone after a failure or whose manifest cannot be read.
func (c *Compactor) snapshots(ctx context.Context) []snapshot {
	var mine []snapshot
	now := c.now()
	present := make(map[topic.Partition]bool)
	c.derived = make(map[topic.ID]bool)
	damaged := c.stillDamaged(now)
	c.catalog.View(func(v *metastore.View) {
		members := make([]string, 0, 4)
		for _, m := range v.Compactors() {
			members = append(members, m.ID)
		}
		effective := c.effective(v)
		for _, t := range v.Topics() {
			config := effective(t)
			c.derived[t.ID] = config.Columnar.Enabled || config.Search.Enabled
			for i := range t.Partitions {
				p := topic.Partition{Topic: t.ID, Index: i}
				if rendezvous.Pick(p.String(), members) != c.config.ID {
					continue
				}
				present[p] = true
				if f, failed := c.failures[p]; failed && now.Before(f.until) {
					continue
				}
				s := snapshot{view: v.Partition(p), config: config, damaged: damaged, vectors: v.VectorIndex(t.ID), ended: c.jobs.of(p, embedLane, redoLane, mergeLane, largeLane, collectLane)}
				if config.Vector.Enabled {
					s.claimed = c.jobs.claimed(p)
				}
				s.shown, s.table = c.shown(v, &s)
				mine = append(mine, s)
			}
		}
	})
	c.forget(present)
	return c.withSections(ctx, mine)
}

// forget drops what is remembered of partitions that are another's or gone.
func (c *Compactor) forget(present map[topic.Partition]bool) {
	for p := range c.sections {
		if !present[p] {
			delete(c.sections, p)
		}
	}
	for p := range c.failures {
		if !present[p] {
			delete(c.failures, p)
		}
	}
	for p := range c.cleanings {
		if !present[p] {
			delete(c.cleanings, p)
		}
	}
	c.jobs.forget(present)
	c.metrics.failing.Set(float64(len(c.failures)))
}

// withSections reads the manifests that are not known yet.
func (c *Compactor) withSections(ctx context.Context, snaps []snapshot) []snapshot {
	reads := make([]error, len(snaps))
	var g errgroup.Group
	g.SetLimit(c.config.manifestsInFlight)
	for i := range snaps {
		s := &snaps[i]
		ref := s.view.Manifest
		k := c.sections[s.view.Partition]
		if ref.Object == "" || k.object == ref.Object && k.version == ref.Version {
			s.section = k.section
			continue
		}
		g.Go(func() error {
			s.section, reads[i] = readSection(ctx, c.bucket, s.view.Partition, ref)
			return nil
		})
	}
	_ = g.Wait() // the errors are in reads
	kept := snaps[:0]
	for i, s := range snaps {
		if reads[i] != nil {
			c.failed(ctx, s.view.Partition, fmt.Errorf("read the manifest of %s: %w", partitionOf(s), reads[i]))
			continue
		}
		if ref := s.view.Manifest; ref.Object != "" {
			k := c.sections[s.view.Partition]
			if k.object != "" && k.object != ref.Object {
				k.newcomers = append(k.newcomers, newcomers(&k.section, &s.section, c.now())...)
			}
			k.settle(ref.ModRevision, s.shown, c.now())
			s.newcomers = k.newcomers
			c.sections[s.view.Partition] = known{ref.Version, ref.Object, s.section, k.newcomers}
		}
		kept = append(kept, s)
	}
	return kept
}

// readSection reads what a manifest reference names.
func readSection(ctx context.Context, bucket objstore.Bucket, p topic.Partition, ref metastore.ManifestRef) (manifest.Section, error) {
	data, err := bucket.Get(ctx, ref.Object, ref.Position, ref.Length)
	if err != nil {
		return manifest.Section{}, fmt.Errorf("%s: %w", ref.Object, err)
	}
	section, err := manifest.DecodePaged(data, func(page manifest.Page) ([]manifest.File, error) {
		data, err := bucket.Get(ctx, page.Object, 0, page.Size)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", page.Object, err)
		}
		return manifest.DecodePage(page, data)
	})
	if err != nil {
		return manifest.Section{}, format.At(ref.Object, ref.Position, err)
	}
	if err := committed.CheckManifest(section, ref, p); err != nil {
		return manifest.Section{}, format.At(ref.Object, ref.Position, err)
	}
	return section, nil
}

// failed leaves a partition alone for a while, longer each time.
func (c *Compactor) failed(ctx context.Context, p topic.Partition, err error) {
	if ctx.Err() != nil {
		return // it is the end and not the partition
	}
	f := c.failures[p]
	f.again(c.now(), c.config)
	c.noteDamage(&f, err)
	c.failures[p] = f
	c.log.Error("compaction failed and is tried again", "partition", p.String(), "pause", f.pause, "err", err)
}

// group carries out the passes of some partitions and brings their results to
// life together. It reports whether it changed anything.
func (c *Compactor) group(ctx context.Context, tasks []task) bool {
	working, cancel := context.WithTimeout(ctx, c.config.PassTimeout)
	defer cancel()
	passes := make([]*pass, len(tasks))
	errs := make([]error, len(tasks))
	c.workers.each(len(tasks), func(i int) {
		passes[i], errs[i] = c.pass(working, tasks[i])
	})
	var done []*pass
	more := false
	for i, p := range passes {
		more = more || p.more
		if errs[i] != nil {
			c.failed(ctx, p.snap.view.Partition, errs[i])
		} else {
			delete(c.failures, p.snap.view.Partition)
		}
		for _, object := range p.stuck {
			c.damaged[object] = c.now().Add(damagedFor)
		}
		c.metrics.passes.WithLabelValues(outcome(p.changed, errs[i])).Inc()
		if p.changed {
			done = append(done, p)
		}
	}
	if len(done) == 0 || working.Err() != nil {
		return more && working.Err() == nil
	}
	if err := c.commit(working, done); err != nil {
		for _, p := range done {
			c.failed(ctx, p.snap.view.Partition, err)
		}
		return false
	}
	return true
}

func outcome(changed bool, err error) string {
	switch {
	case err == nil:
		return "done"
	case changed:
		return "partly"
	}
	return "failed"
}

// pass runs one task. It returns the pass even when parts of it failed.
func (c *Compactor) pass(ctx context.Context, t task) (*pass, error) {
	decoder, ok := c.decoder.Get().(*batch.Decoder)
	if !ok {
		decoder = batch.NewDecoder(c.config.BatchBytesMax)
	}
	defer c.decoder.Put(decoder)
	begun := time.Now()
	p := &pass{Compactor: c, snap: t.snap, plan: t.plan, cleaning: t.cleaning, mends: t.mends, now: c.now(), decoder: decoder}
	err := p.run(ctx)
	p.decoder = nil
	c.metrics.passSeconds.Observe(time.Since(begun).Seconds())
	return p, err
}

// commit writes the manifest object of some passes and swaps their manifests. A
// partition that somebody else has changed meanwhile is left out: what its pass
// has written becomes orphans, and the next round looks again.
func (c *Compactor) commit(ctx context.Context, passes []*pass) error {
	passes = slices.DeleteFunc(passes, func(p *pass) bool {
		if err := errors.Join(manifest.Check(p.snap.section, p.section), p.cutPages(ctx), p.keepLost(ctx)); err != nil {
			c.failed(ctx, p.snap.view.Partition, err)
			return true
		}
		return false
	})
	if len(passes) == 0 {
		return nil
	}
	name := objstore.ManifestName(c.newID())
	sections := make([]manifest.Section, len(passes))
	for i, p := range passes {
		sections[i] = p.section
	}
	body, places, err := manifest.Encode(sections)
	if err != nil {
		return err
	}
	if _, err := c.bucket.Put(ctx, name, objstore.Bytes(body), objstore.Condition{IfAbsent: true}); err != nil {
		return fmt.Errorf("store %s: %w", name, err)
	}
	c.metrics.wrote("manifest", int64(len(body)))
	refs := make(map[topic.Partition]metastore.ManifestRef, len(passes))
	for i, p := range passes {
		refs[p.section.Partition] = metastore.ManifestRef{
			Object:   name,
			Position: places[i].Position,
			Length:   places[i].Length,
			Version:  p.section.Version,
			LogStart: p.section.LogStart,
			Marks:    metastore.Marks(p.section.Marks),
		}
	}
	return c.swap(ctx, passes, refs)
}

// swap swaps manifests, again without those in conflict.
func (c *Compactor) swap(ctx context.Context, passes []*pass, refs map[topic.Partition]metastore.ManifestRef) error {
	for len(passes) > 0 {
		swaps := make([]metastore.ManifestSwap, len(passes))
		var gone []metastore.Deletion
		for i, p := range passes {
			swaps[i] = metastore.ManifestSwap{Partition: p.section.Partition, Seen: p.snap.view.Manifest, New: refs[p.section.Partition]}
			for _, f := range p.gone {
				gone = append(gone, c.deletion(f.Object))
			}
		}
		err := c.store.SwapManifests(ctx, swaps, gone)
		var conflict *metastore.ConflictError
		switch {
		case err == nil:
			c.metrics.swaps.WithLabelValues("done").Add(float64(len(passes)))
			for _, p := range passes {
				ref := refs[p.section.Partition]
				p.count()
				p.countLost()
				c.jobs.settle(p.adopted)
				k := c.sections[p.section.Partition]
				came := newcomers(&p.snap.section, &p.section, c.now())
				c.sections[p.section.Partition] = known{ref.Version, ref.Object, p.section, append(k.newcomers, came...)}
			}
			return c.dropManifests(ctx, passes)
		case errors.As(err, &conflict) && len(conflict.Partitions) > 0:
			c.metrics.swaps.WithLabelValues("conflict").Add(float64(len(conflict.Partitions)))
			c.log.Info("another compactor was first", "partitions", len(conflict.Partitions))
			left := slices.DeleteFunc(passes, func(p *pass) bool { return slices.Contains(conflict.Partitions, p.section.Partition) })
			if len(left) == len(passes) {
				return err
			}
			passes = left
		default:
			c.metrics.swaps.WithLabelValues("failed").Add(float64(len(passes)))
			return err
		}
	}
	return nil
}

func (c *Compactor) deletion(object string) metastore.Deletion {
	return metastore.Deletion{Object: object, NotBefore: c.now().Add(c.config.DeletionGrace)}
}

// dropManifests marks the manifest objects that no partition names any more.
// The catalog shows our own swap by now: of those who swap the last names away,
// the one whose swap came last sees that. What a crash leaves here is an orphan.
func (c *Compactor) dropManifests(ctx context.Context, passes []*pass) error {
	old := make(map[string]bool)
	for _, p := range passes {
		if name := p.snap.view.Manifest.Object; name != "" {
			old[name] = true
		}
	}
	if len(old) == 0 {
		return nil
	}
	c.catalog.View(func(v *metastore.View) {
		for _, t := range v.Topics() {
			for i := range t.Partitions {
				delete(old, v.Partition(topic.Partition{Topic: t.ID, Index: i}).Manifest.Object)
			}
		}
	})
	var gone []metastore.Deletion
	for name := range old {
		gone = append(gone, c.deletion(name))
	}
	return c.store.SwapManifests(ctx, nil, gone)
}

// measure sets the gauges of what is still to be done.
func (c *Compactor) measure(snaps []snapshot, now time.Time) {
	var bytes, log, columnar, text, vector, lost int64
	var age time.Duration
	var ratio float64
	for _, s := range snaps {
		if s.config.CleanupCompact {
			ratio = max(ratio, dirtOf(s, now).ratio())
		}
		marks := s.view.Manifest.Marks
		log += max(0, s.view.Next()-max(marks.Log, s.view.Manifest.LogStart))
		for _, d := range s.view.Damaged {
			if d.Lost != "" {
				lost++
			}
		}
		if s.config.Columnar.Enabled {
			columnar += max(0, s.view.Next()-max(marks.Columnar, s.view.Manifest.LogStart))
		}
		if s.config.Search.Enabled {
			text += max(0, s.view.Next()-max(marks.Text, s.view.Manifest.LogStart))
		}
		if s.indexed() {
			vector += max(0, s.view.Next()-max(marks.Vector, s.view.Manifest.LogStart))
		}
		for _, r := range s.view.Ranges {
			if r.Next > marks.Log {
				bytes += r.Length
				age = max(age, now.Sub(segmentTime(r.Segment, now)))
			}
		}
	}
	c.metrics.dirtyRatio.Set(ratio)
	c.metrics.lagBytes.Set(float64(bytes))
	c.metrics.lagRecords.WithLabelValues("log").Set(float64(log))
	c.metrics.lagRecords.WithLabelValues(tables.name).Set(float64(columnar))
	c.metrics.lagRecords.WithLabelValues(splits.name).Set(float64(text))
	c.metrics.lagRecords.WithLabelValues(shards.name).Set(float64(vector))
	c.metrics.jobsFailing.Set(float64(c.jobs.failing()))
	c.metrics.lostFiles.Set(float64(lost))
	c.metrics.lagSeconds.Set(age.Seconds())
}
