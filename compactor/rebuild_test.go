package compactor

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/parquetfile"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/faults"
)

// damages are what can happen to an object in the bucket.
var damages = map[string]func(w *world, object string){
	"flipped":   func(w *world, object string) { w.spoil(object, flip(100)) },
	"truncated": func(w *world, object string) { w.spoil(object, func(b []byte) []byte { return b[:len(b)/2] }) },
	"longer":    func(w *world, object string) { w.spoil(object, func(b []byte) []byte { return append(b, 0) }) },
	"missing": func(w *world, object string) {
		require.NoError(w.t, w.bucket.Delete(w.t.Context(), object))
	},
}

// report says that an object is damaged, as a query node does.
func (w *world) report(object string) {
	w.t.Helper()
	require.NoError(w.t, w.store.ReportDamage(w.t.Context(), object, "said the test"))
}

// reports are those that are not settled.
func (w *world) reports() (all []metastore.Damage) {
	w.t.Helper()
	w.sync()
	w.store.Catalog().View(func(v *metastore.View) { all = v.Damaged() })
	return all
}

func TestADamagedColumnarFileIsMadeAgain(t *testing.T) {
	for what, damage := range damages {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			p := part(w.topic("t", 1, asTableForEver).ID, 0)
			c := w.start(w.quick(), w.store, w.bucket)
			for range 3 { // of three days, each in a file for each pass
				w.commit(rows{p: p, n: 30, ms: 1_795_435_200_000, step: 6_000_000})
				w.settle(c)
			}
			before, _ := w.section(p)
			require.Len(t, before.Columnar, 9)
			hit := before.Columnar[4]
			damage(w, hit.Object)
			w.report(hit.Object)
			w.report(hit.Object)
			w.settle(c)
			w.check()
			require.Empty(t, w.reports())
			require.InDelta(t, 1, testutil.ToFloat64(c.metrics.rebuilt), 0)
			after, _ := w.section(p)
			require.Len(t, after.Columnar, 9)
			for i, f := range after.Columnar {
				if before.Columnar[i].Object != hit.Object {
					require.Equal(t, before.Columnar[i], f, "the others stay as they are")
					continue
				}
				require.NotEqual(t, hit.Object, f.Object, "under a name of its own")
				f.Object, f.Size, f.CRC, f.CreatedAt = hit.Object, hit.Size, hit.CRC, hit.CreatedAt
				require.Equal(t, hit, f)
			}
			w.report(hit.Object)
			w.settle(c)
			require.Empty(t, w.reports(), "a late report is about nothing")
			require.Equal(t, after.Version, func() int64 { s, _ := w.section(p); return s.Version }())
			w.sweep(c)
			w.check()
		})
	}
}

func TestAReportThatIsNotTrueChangesNothing(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, asTableForEver).ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	w.commit(rows{p: p, n: 30})
	w.settle(c)
	before, _ := w.section(p)
	w.report(before.Columnar[0].Object)
	w.report(before.Log[0].Object)
	w.settle(c)
	require.Empty(t, w.reports())
	after, _ := w.section(p)
	require.Equal(t, before, after)
	require.InDelta(t, 1, testutil.ToFloat64(c.metrics.unfounded), 0)
	require.Zero(t, testutil.ToFloat64(c.metrics.rebuilt))

	// Neither does damage on the way.
	rule := "; get " + before.Columnar[0].Object + " flip nth=1"
	plan, err := faults.ParsePlan("seed 1" + rule + rule)
	require.NoError(t, err)
	bucket := faults.New(w.bucket, plan)
	c.bucket, c.source = bucket, newSource(bucket)
	w.report(before.Columnar[0].Object)
	w.settle(c)
	require.Empty(t, w.reports())
	require.Equal(t, []int64{1, 1}, bucket.Struck())
	after, _ = w.section(p)
	require.Equal(t, before, after)
}

func TestAnUnavailableBucketLeavesTheReport(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, asTableForEver).ID, 0)
	plan, err := faults.ParsePlan("head * fail-before p=1")
	require.NoError(t, err)
	bucket := faults.New(w.bucket, faults.Plan{})
	c := w.start(w.quick(), w.store, bucket)
	w.commit(rows{p: p, n: 30})
	w.settle(c)
	before, _ := w.section(p)
	w.spoil(before.Columnar[0].Object, flip(9))
	w.report(before.Columnar[0].Object)
	bucket.Use(plan)
	c.round(t.Context())
	require.Len(t, c.failures, 1)
	require.Len(t, w.reports(), 1)
	require.Empty(t, w.reports()[0].Lost)
	bucket.Use(faults.Plan{})
	w.settle(c)
	require.Empty(t, w.reports())
	w.check()
}

// Where the log is damaged too, the file stays and the report says why, merges
// leave it out, and what is above it goes on. Once the log has its rows again it
// is made again.
func TestAFileThatTheLogDoesNotHaveIsNamedAndLeftAlone(t *testing.T) {
	for what, damage := range damages {
		if what == "longer" {
			continue // no harm to a log file, of which parts are read
		}
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			p := part(w.topic("t", 1, asTableForEver).ID, 0)
			config := w.quick()
			config.Policy.MergeFiles = 3
			c := w.start(config, w.store, w.bucket)
			for range 2 {
				w.commit(rows{p: p, n: 20, ms: 1_795_435_200_000})
				w.settle(c)
			}
			before, _ := w.section(p)
			hit, log := before.Columnar[1], before.Log[1]
			sound, err := w.bucket.Get(t.Context(), log.Object, 0, -1)
			require.NoError(t, err)
			damage(w, hit.Object)
			damage(w, log.Object)
			c.source = newSource(w.bucket) // it remembers no footer
			w.report(hit.Object)
			w.settle(c)
			reports := w.reports()
			require.Len(t, reports, 1)
			require.Contains(t, reports[0].Lost, log.Object)
			c.measure(c.snapshots(t.Context()), w.now())
			require.InDelta(t, 1, testutil.ToFloat64(c.metrics.lostFiles), 0)
			section, _ := w.section(p)
			require.Equal(t, before, section)

			c.damaged[log.Object] = w.now().Add(damagedFor) // as after mendAfter failures
			for range 6 {
				w.commit(rows{p: p, n: 20, ms: 1_795_435_200_000})
				w.settle(c)
			}
			section, _ = w.section(p)
			require.Equal(t, w.next[p], section.Marks.Columnar, "the partition goes on")
			require.Equal(t, before.Columnar[:2], section.Columnar[:2], "no merge has it")
			require.Less(t, len(section.Columnar), 6, "the others are merged")

			_, err = w.bucket.Put(t.Context(), log.Object, objstore.Bytes(sound), objstore.Condition{})
			require.NoError(t, err)
			w.settle(c)
			require.Len(t, w.reports(), 1, "it is not tried all the time")
			w.clock.Add(damagedFor.Milliseconds() + 1)
			w.settle(c)
			require.Empty(t, w.reports())
			w.check()
			w.sweep(c)
			w.check()
		})
	}
}

func TestALostFileThatIsNoLongerNeededIsForgotten(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, asTableForEver).ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	w.commit(rows{p: p, n: 20})
	w.settle(c)
	section, _ := w.section(p)
	damages["missing"](w, section.Columnar[0].Object)
	damages["flipped"](w, section.Log[0].Object)
	c.source = newSource(w.bucket) // it remembers no footer
	w.report(section.Columnar[0].Object)
	w.settle(c)
	require.Len(t, w.reports(), 1)
	require.NotEmpty(t, w.reports()[0].Lost)

	_, err := w.store.SetLogStart(t.Context(), p, 20)
	require.NoError(t, err)
	w.settle(c)
	require.Empty(t, w.reports(), "and not hours later")
	c.measure(c.snapshots(t.Context()), w.now())
	require.Zero(t, testutil.ToFloat64(c.metrics.lostFiles))
}

func TestOffsetsThatTheLogLostSinceAreNotLeftOutInSilence(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, asTableForEver).ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	w.commit(rows{p: p, n: 20})
	w.settle(c)
	snap := c.snapshots(t.Context())[0]
	pass := &pass{Compactor: c, snap: snap, section: snap.section, now: w.now(), decoder: batch.NewDecoder(1 << 20)}
	file := snap.section.Columnar[0]
	file.Records++ // the one that is not in the log any more
	var lost *lostError
	require.ErrorAs(t, pass.remake(t.Context(), ofKind{tables, file}), &lost)
	require.Contains(t, lost.reason, "20 records")
}

func TestAFileThatTheLogStartCutsIsMadeAgainFromThere(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, asTableForEver).ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	w.commit(rows{p: p, n: 100})
	w.settle(c)
	_, err := w.store.SetLogStart(t.Context(), p, 33)
	require.NoError(t, err)
	w.settle(c)
	before, _ := w.section(p)
	require.Zero(t, before.Columnar[0].First)
	damages["missing"](w, before.Columnar[0].Object)
	w.report(before.Columnar[0].Object)
	w.settle(c)
	require.Empty(t, w.reports())
	after, _ := w.section(p)
	require.Equal(t, []int64{33, 100, 67}, []int64{after.Columnar[0].First, after.Columnar[0].Next, after.Columnar[0].Records})
	w.check()
	w.sweep(c)
	w.check()
}

func TestADamagedMaskGoesWithTheRowsThatItTakesAway(t *testing.T) {
	w := newWorld(t)
	k := newKeyed(w, 3, dirty)
	c := w.start(w.quickClean(), w.store, w.bucket)
	var section manifest.Section
	for range 50 {
		k.write(5, 40)
		w.settle(c)
		if section, _ = w.section(k.p); len(section.Masks) > 1 {
			break
		}
	}
	require.Greater(t, len(section.Masks), 1)
	hit := section.Masks[0]
	w.spoil(hit.Object, flip(hit.Size/2))
	w.report(hit.Object)
	w.settle(c)
	require.Empty(t, w.reports())
	section, _ = w.section(k.p)
	require.False(t, slices.ContainsFunc(section.Masks, func(m manifest.File) bool { return m.Object == hit.Object }))
	k.sameInTable()

	// A columnar file of a cleaned log comes back without its masked rows.
	i := slices.IndexFunc(section.Columnar, func(f manifest.File) bool { return f.Masked > 0 })
	if i < 0 {
		i = 0
	}
	damages["truncated"](w, section.Columnar[i].Object)
	w.report(section.Columnar[i].Object)
	w.settle(c)
	require.Empty(t, w.reports())
	k.sameInTable()
	w.sweep(c)
	k.sameInTable()
}

func TestATableThatIsTurnedOffForgetsItsReports(t *testing.T) {
	w := newWorld(t)
	p := part(w.topic("t", 1, asTableForEver).ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	w.commit(rows{p: p, n: 10})
	w.settle(c)
	section, _ := w.section(p)
	damages["missing"](w, section.Columnar[0].Object)
	w.report(section.Columnar[0].Object)
	require.NoError(t, w.update("t", "columnar.enabled", "false"))
	w.settle(c)
	require.Empty(t, w.reports())
	require.NoError(t, w.update("t", "columnar.enabled", "true"))
	w.settle(c)
	w.check()
	w.finished()
}

func TestTablesOfIcebergFollowARebuild(t *testing.T) {
	w := newWorld(t)
	orders := w.topic("orders", 1, asTableForEver)
	p := part(orders.ID, 0)
	c := w.start(w.quick(), w.store, w.bucket)
	c.config.IcebergLocation = "s3://b"
	for range 2 {
		w.commit(rows{p: p, n: 25})
		w.settle(c)
	}
	var known published
	w.publish(c, orders.ID, &known)
	section, _ := w.section(p)
	damages["missing"](w, section.Columnar[0].Object)
	w.report(section.Columnar[0].Object)
	w.settle(c)
	w.publish(c, orders.ID, &known)
	m, _ := w.published(orders.ID)
	last := m.Snapshots[len(m.Snapshots)-1].Summary
	require.Equal(t, "50", last["total-records"])
	require.Equal(t, "2", last["total-data-files"])
	require.Equal(t, "1", last["deleted-data-files"])
	require.Equal(t, "1", last["added-data-files"])
}

func TestWhatATableCannotReadIsMadeAgain(t *testing.T) {
	all := maps.Clone(damages)
	delete(all, "longer") // of what is behind the size nothing is read
	for part := range 8 {
		all[fmt.Sprintf("flipped at %d/8", part)] = func(w *world, object string) {
			w.spoil(object, func(b []byte) []byte { b[len(b)*part/8] ^= 1; return b })
		}
	}
	unreadable := func(t *testing.T, damage func(*world, string), of func(manifest.Section) string) {
		w := newWorld(t)
		k := newKeyed(w, 3, dirty)
		c := w.start(w.quickClean(), w.store, w.bucket)
		var section manifest.Section
		for range 50 {
			k.write(5, 40)
			w.settle(c)
			if section, _ = w.section(k.p); len(section.Masks) > 1 {
				break
			}
		}
		require.Greater(t, len(section.Masks), 1)
		hit := of(section)
		damage(w, hit)
		require.NoError(t, w.update("keyed-3", "columnar.iceberg", "true"))
		c.config.IcebergLocation = "s3://b"
		var known published
		for range 2 { // the first makes it
			c.iceberg(t.Context(), k.p.Topic, &known)
		}
		reports := w.reports()
		require.Len(t, reports, 1)
		require.Equal(t, hit, reports[0].Object)
		w.settle(c)
		require.Empty(t, w.reports())
		w.publish(c, k.p.Topic, &known)
		k.sameInTable()
	}
	mask := func(s manifest.Section) string { return s.Masks[0].Object }
	for what, damage := range all {
		t.Run("mask "+what, func(t *testing.T) { unreadable(t, damage, mask) })
	}
	file := func(s manifest.Section) string {
		i := slices.IndexFunc(s.Columnar, func(f manifest.File) bool { return f.Masked > 0 })
		return s.Columnar[i].Object
	}
	for what, damage := range damages {
		if what == "flipped" {
			damage = func(w *world, object string) { w.spoil(object, flip(offsetsOf(w, object))) }
		}
		if what != "longer" {
			t.Run("file "+what, func(t *testing.T) { unreadable(t, damage, file) })
		}
	}
}

// offsetsOf is a place in the values of the column _offset.
func offsetsOf(w *world, object string) int64 {
	data, err := w.bucket.Get(w.t.Context(), object, 0, -1)
	require.NoError(w.t, err)
	footer, ok, err := parquetfile.Parse(data, int64(len(data)))
	require.NoError(w.t, err)
	require.True(w.t, ok)
	r := footer.Chunk(0, slices.IndexFunc(footer.Leaves, func(l parquetfile.Leaf) bool { return l.Path == "_offset" }))
	return r.End() - 2
}

// TestKilledAtAnyStepOfARebuild kills the compactor at each call to the bucket
// and the metadata while files of all sorts are made again.
func TestKilledAtAnyStepOfARebuild(t *testing.T) {
	for _, after := range []bool{false, true} {
		survived := false
		for at := 1; !survived; at++ {
			t.Run(fmt.Sprintf("step %d after %v", at, after), func(t *testing.T) {
				w := newWorld(t)
				p := part(w.topic("t", 1, asTableForEver).ID, 0)
				zeroth := w.start(w.quick(), w.store, w.bucket)
				for range 3 {
					w.commit(rows{p: p, n: 20, ms: 1_795_435_200_000, step: 6_000_000})
					w.settle(zeroth)
				}
				section, _ := w.section(p)
				for i, damage := range []string{"flipped", "missing", "truncated"} {
					damages[damage](w, section.Columnar[2*i].Object)
					w.report(section.Columnar[2*i].Object)
				}
				ctx, kill := context.WithCancel(t.Context())
				defer kill()
				x := &executioner{kill: kill, after: after}
				first := w.start(w.quick(), w.open(mortalKV{w.kv, x}), mortalBucket{w.bucket, x})
				x.mu.Lock()
				x.steps, x.at = 0, at
				x.mu.Unlock()
				for worked := true; worked && ctx.Err() == nil; {
					if first.catalogCaughtUp(w) != nil {
						break
					}
					worked, _ = first.round(ctx)
				}
				survived = ctx.Err() == nil
				x.mu.Lock()
				x.at, x.dead = 0, true
				x.mu.Unlock()
				second := w.start(w.quick(), w.store, w.bucket)
				w.settle(second)
				require.Empty(t, w.reports())
				w.check()
				w.finished()
				w.sweep(second)
				w.check()
				x.mu.Lock()
				x.dead = false // its membership is closed by the test
				x.mu.Unlock()
			})
			if t.Failed() {
				return
			}
			require.Less(t, at, 200)
		}
	}
}

// Whatever is damaged among the files of a busy table, it comes back, and merges,
// retention and new records go on meanwhile.
func TestRandomDamageOfABusyTableHeals(t *testing.T) {
	for seed := range uint64(15) {
		r := rand.New(rand.NewPCG(seed, 5))
		w := newWorld(t)
		p := part(w.topic("t", 1, asTableForEver).ID, 0)
		if seed%3 == 0 {
			require.NoError(t, w.update("t", "columnar.format", "arrow"))
		}
		c := w.start(w.quick(), w.store, w.bucket)
		for range 20 {
			w.commit(rows{p: p, n: 1 + r.IntN(30), ms: 1_795_435_200_000, step: r.Int64N(9_000_000)})
			if r.IntN(6) == 0 {
				_, err := w.store.SetLogStart(t.Context(), p, r.Int64N(w.next[p]))
				require.NoError(t, err)
			}
			for range r.IntN(4) {
				c.round(t.Context())
			}
			section, _ := w.section(p)
			for _, f := range section.Columnar {
				if r.IntN(5) == 0 && f.Next > section.LogStart {
					w.ruin(r, f.Object)
					w.report(f.Object)
				}
			}
			if r.IntN(8) == 0 {
				require.NoError(t, w.update("t", "columnar.partitioning", []string{"none", "daily", "hourly"}[r.IntN(3)]))
			}
		}
		w.settle(c)
		require.Empty(t, w.reports(), "seed %d", seed)
		w.check()
		w.finished()
		w.sweep(c)
		w.check()
	}
}

// ruin damages an object that may be so already.
func (w *world) ruin(r *rand.Rand, object string) {
	attributes, err := w.bucket.Head(w.t.Context(), object)
	if err != nil || attributes.Size < 2 {
		return
	}
	switch r.IntN(3) {
	case 0:
		damages["missing"](w, object)
	case 1:
		damages["truncated"](w, object)
	default:
		w.spoil(object, flip(r.Int64N(attributes.Size)))
	}
}

func TestMergesPartWhereAFileIsLeftOut(t *testing.T) {
	file := func(first int64, part string) manifest.File {
		return manifest.File{Object: fmt.Sprint(first, part), Size: 1, First: first, Next: first + 10, TimePartition: part}
	}
	var files []manifest.File
	for first := int64(0); first < 70; first += 10 {
		files = append(files, file(first, "2026-11-23"), file(first, "2026-11-24"))
	}
	policy := Policy{MergeFiles: 4}.withDefaults()
	left := func(f manifest.File) bool { return f.Object == file(30, "2026-11-23").Object }
	run := policy.mergeParts(files, left, 0, 0)
	require.Len(t, run, 7)
	require.Equal(t, "2026-11-24", run[0].TimePartition)
	files = slices.DeleteFunc(files, func(f manifest.File) bool { return f.TimePartition == "2026-11-24" })
	require.Nil(t, policy.mergeParts(files, left, 0, 0), "three on each side")

	s := snapshot{view: metastore.PartitionView{Partition: topic.Partition{}, Damaged: []metastore.Damage{
		{Object: files[0].Object}, {Object: files[3].Object, Lost: "why", LostAt: time.UnixMilli(0)}, {Object: "unnamed"},
	}}, section: manifest.Section{Columnar: files}}
	now := time.UnixMilli(1)
	require.Equal(t, files[0].Object, policy.rebuild(s, plan{}, now).named.Object)
	require.Equal(t, "unnamed", policy.rebuild(s, plan{logStart: 10}, now).report.Object, "what the log start takes goes by itself")
	s.view.Damaged = s.view.Damaged[1:2]
	require.Nil(t, policy.rebuild(s, plan{}, now))
	require.NotNil(t, policy.rebuild(s, plan{}, now.Add(damagedFor)))
}
