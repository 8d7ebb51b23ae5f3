package compactor

import (
	"slices"
	"time"

	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/metastore"
)

// shardPlan is what jobs may make of a partition's vectors now. The zero plan is
// nothing.
type shardPlan struct {
	wanted vectorindex.Settings // what the topic asks for

	// embed are offsets that no shard has, and that are embedded next.
	embed span
	// redo are neighbours whose vectors are made anew of the log: another model made
	// them, or of something else, or one of them is damaged.
	redo   []manifest.File
	damage *metastore.Damage // the report of that
	// merge are neighbours with the vectors that are wanted, to be made one shard,
	// indexed as the topic asks for.
	merge []manifest.File
}

// indexed tells whether the topic has a vector index, or is to get one.
func (s snapshot) indexed() bool { return s.config.Vector.Enabled && !s.vectors.Dropped }

// wanted are the settings of shards that the topic asks for. Where it leaves the
// dimensions to the provider, they are those of its newest shard by that model.
func (s snapshot) wanted() vectorindex.Settings {
	wanted := vectorindex.TopicSettings(s.config.Vector, s.vectors.Of(s.view.Partition.Index))
	for _, f := range slices.Backward(s.section.Vector) {
		if wanted.Dimensions != 0 {
			break
		}
		if f.Records == 0 {
			continue
		}
		if made, err := vectorindex.ParseSettings(f.Settings); err == nil && made.Embedded().Meets(wanted.Embedded()) {
			wanted.Dimensions = made.Dimensions
		}
	}
	return wanted
}

// shards plans jobs, and says when to look again if nothing changes until then.
func (p Policy) shards(s snapshot, now time.Time) (out shardPlan, again time.Time) {
	if s.view.Topic == nil || !s.indexed() {
		return shardPlan{}, time.Time{}
	}
	out.wanted = s.wanted()
	out.embed, again = p.embed(s, now)
	p.replaceShards(s, &out, now)
	return out, again
}

// embed returns the offsets that are embedded next, or when it is time for that. It
// does not wait for log files: what is committed is read where it lies.
func (p Policy) embed(s snapshot, now time.Time) (span, time.Time) {
	from := max(s.view.Manifest.Marks.Vector, s.logStart())
	logged := s.view.Manifest.Marks.Log
	if from < logged {
		return p.derive(s, plan{logStart: s.logStart()}, from), time.Time{}
	}
	out := span{from, from}
	var pending int64
	var oldest time.Time
	for _, r := range s.view.Ranges {
		if r.Next <= from {
			continue
		}
		if committed := segmentTime(r.Segment, now); oldest.IsZero() || committed.Before(oldest) {
			oldest = committed
		}
		if pending < p.PassBytesMax {
			pending += r.Length
			out.next = r.Next
		}
	}
	if out.empty() {
		return span{}, time.Time{}
	}
	if due := oldest.Add(p.EmbedAge); pending < p.EmbedBytes && now.Before(due) {
		return span{}, due
	}
	return out, time.Time{}
}

// replaceShards plans what takes the place of shards: those that are damaged come
// first.
func (p Policy) replaceShards(s snapshot, out *shardPlan, now time.Time) {
	for i, d := range s.view.Damaged {
		if d.Lost != "" && now.Sub(d.LostAt) < damagedFor {
			continue // it was tried
		}
		at := slices.IndexFunc(s.section.Vector, func(f manifest.File) bool { return f.Object == d.Object })
		if at >= 0 && out.redo == nil && s.section.Vector[at].Next > s.logStart() {
			out.redo, out.damage = s.section.Vector[at:at+1], &s.view.Damaged[i]
		}
	}
	settings := make(map[string]vectorindex.Settings)
	of := func(f manifest.File) vectorindex.Settings {
		known, ok := settings[f.Settings]
		if !ok {
			known, _ = vectorindex.ParseSettings(f.Settings) // the zero settings are nobody's: it is made anew
			settings[f.Settings] = known
		}
		if f.Records == 0 {
			known.Dimensions = out.wanted.Dimensions // vectors that there are none of have none
		}
		return known
	}
	usable := func(f manifest.File) bool {
		return !s.damaged[f.Object] && !s.reported(f) && !s.claimed[f.Object] && f.Next > s.logStart()
	}
	embedded := func(f manifest.File) bool { return of(f).Embedded() == out.wanted.Embedded() }
	if others := runs(s.section.Vector, func(f manifest.File) bool { return usable(f) && !embedded(f) }); out.redo == nil && len(others) > 0 {
		out.redo = p.remakeable(s, others[0])
	}
	// A damaged mask: shards that may need it are written without what it hides.
	for _, m := range s.section.Masks {
		if !s.reported(m) {
			continue
		}
		if at := slices.IndexFunc(s.section.Vector, func(f manifest.File) bool { return usable(f) && embedded(f) && masks(m, f) }); at >= 0 {
			out.merge = s.section.Vector[at : at+1]
			return
		}
	}
	for _, bytes := range []int64{min(smallMergeBytes, p.ShardBytesMax), p.ShardBytesMax} {
		up := p
		up.FileBytesMax = bytes
		for _, neighbours := range runs(s.section.Vector, func(f manifest.File) bool { return usable(f) && of(f) == out.wanted && f.First >= s.logStart() }) {
			if out.merge = up.mergeRun(neighbours, s.logStart(), s.spanMaxMs(), p.vectorsMax(out.wanted)); out.merge != nil {
				return
			}
		}
	}
	if at := slices.IndexFunc(s.section.Vector, func(f manifest.File) bool { return usable(f) && embedded(f) && of(f) != out.wanted }); at >= 0 {
		out.merge = s.section.Vector[at : at+1]
	}
}

// vectorsMax is how many vectors a merge may have: no more than there is memory for.
func (p Policy) vectorsMax(wanted vectorindex.Settings) int64 {
	o, err := wanted.Options()
	if err != nil {
		return p.VectorsMax // their length is not known: there are none
	}
	return min(p.VectorsMax, p.MergeMemory/o.MergeBytes())
}

// smallMergeBytes is what a merge that takes seconds makes at most.
const smallMergeBytes = 32 << 20

func sizeOf(files []manifest.File) (bytes int64) {
	for _, f := range files {
		bytes += f.Size
	}
	return bytes
}

// remakeable takes as many of neighbours as a pass takes in of the log.
func (p Policy) remakeable(s snapshot, neighbours []manifest.File) []manifest.File {
	n := 1
	for n < len(neighbours) && (span{neighbours[0].First, neighbours[n].Next}).bytes(s) <= p.PassBytesMax {
		n++
	}
	return neighbours[:n]
}
