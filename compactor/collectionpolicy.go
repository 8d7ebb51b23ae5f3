package compactor

import (
	"slices"

	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/milvus"
)

// collected tells whether the topic's vectors are, or are to be, in a Milvus.
func (s snapshot) collected() bool { return s.indexed() && s.config.Vector.Backend == "milvus" }

// collectionPlan is what has to be done so that a collection has the vectors that
// the partition's shards have. The zero plan is nothing.
type collectionPlan struct {
	settings vectorindex.Settings // of the collection
	has      manifest.Collection  // what the manifest says of it; zero: nothing yet

	fill    []manifest.File // shards with offsets that it does not have
	masks   []manifest.File // that name records which it may have
	damaged []manifest.File // those of them that cannot be read
	below   int64           // the log start, if it may have what is below; else 0
	lost    bool            // it does not seem to be what it was
}

func (p collectionPlan) due() bool {
	return len(p.fill)+len(p.masks)+len(p.damaged) > 0 || p.below > 0 || p.lost
}

// collect plans a job for the partition's collection.
func (s snapshot) collect(wanted vectorindex.Settings) (out collectionPlan) {
	if s.view.Topic == nil || !s.collected() || wanted.Dimensions == 0 {
		return out
	}
	out.settings = milvus.Settings(wanted, s.config.Vector)
	if at := collectionOf(s.section.Collections, out.settings); at >= 0 {
		out.has = s.section.Collections[at]
		out.lost = s.lost[out.has.Name]
	}
	for _, m := range s.section.Masks {
		switch {
		case !out.has.Needs(m):
		case s.reported(m):
			out.damaged = append(out.damaged, m)
		default:
			out.masks = append(out.masks, m)
		}
	}
	if start := s.logStart(); len(out.has.Ranges) > 0 && out.has.Ranges[0].First < start {
		out.below = start
	}
	for _, f := range s.section.Vector {
		if s.fills(f, wanted) && len(s.offsetsFrom(f).Without(out.has.Ranges)) > 0 {
			out.fill = append(out.fill, f)
		}
	}
	return out
}

// fills tells whether a shard's vectors go into the collection. What a mask hides
// that cannot be read cannot be told from the rest: such a shard is made anew first.
func (s snapshot) fills(f manifest.File, wanted vectorindex.Settings) bool {
	if s.damaged[f.Object] || s.reported(f) || f.Next <= s.logStart() {
		return false
	}
	if slices.ContainsFunc(s.section.Masks, func(m manifest.File) bool { return masks(m, f) && s.reported(m) }) {
		return false
	}
	made, err := vectorindex.ParseSettings(f.Settings)
	if f.Records == 0 {
		made.Dimensions = wanted.Dimensions
	}
	return err == nil && made.Embedded() == wanted.Embedded()
}

// offsetsFrom are those of a shard, from the log start on.
func (s snapshot) offsetsFrom(f manifest.File) manifest.Range {
	return manifest.Range{First: max(f.First, s.logStart()), Next: f.Next}
}

// collectionOf finds the one with these settings; -1: there is none.
func collectionOf(all []manifest.Collection, settings vectorindex.Settings) int {
	text := settings.String()
	return slices.IndexFunc(all, func(c manifest.Collection) bool { return c.Settings == text })
}
