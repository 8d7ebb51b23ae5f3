package compactor

import (
	"slices"

	"github.com/chronik-stream/chronik/internal/manifest"
)

// planSplits finds a merge among the splits of a partition, or if there is none
// those that were made with other settings than the topic's.
func (p Policy) planSplits(s snapshot, out *plan) {
	options, err := indexOptions(s.config.Search)
	if err != nil {
		return // the next advance fails with it, and says so
	}
	current := options.Settings()
	leave := func(f manifest.File) bool {
		return f.First < out.logStart || s.damaged[f.Object] || s.reported(f)
	}
	for _, neighbours := range runs(s.section.Text, func(f manifest.File) bool { return f.Settings == current && !leave(f) }) {
		if out.mergeText = p.mergeRun(neighbours, out.logStart, s.spanMaxMs(), p.DocumentsMax); out.mergeText != nil {
			for _, f := range out.mergeText {
				out.bytes += f.Size
			}
			return
		}
	}
	for _, neighbours := range runs(s.section.Text, func(f manifest.File) bool { return f.Settings != current && !leave(f) }) {
		if out.reindex = p.reindexable(s, neighbours); out.reindex != nil {
			out.bytes += span{out.reindex[0].First, out.reindex[len(out.reindex)-1].Next}.bytes(s)
			return
		}
	}
}

// reindexable takes as many splits as a pass takes in, from the first of
// neighbours on, of which the log is whole.
func (p Policy) reindexable(s snapshot, neighbours []manifest.File) []manifest.File {
	first := slices.IndexFunc(neighbours, func(f manifest.File) bool { return !s.anyDamaged([]manifest.File{f}) })
	if first < 0 {
		return nil
	}
	n := first + 1
	for n < len(neighbours) && !s.anyDamaged(neighbours[n:n+1]) && (span{neighbours[first].First, neighbours[n].Next}).bytes(s) <= p.PassBytesMax {
		n++
	}
	return neighbours[first:n]
}

// runs are the neighbours among files that all fit.
func runs(files []manifest.File, fits func(manifest.File) bool) [][]manifest.File {
	var out [][]manifest.File
	begun := -1
	for i, f := range files {
		switch {
		case !fits(f):
			begun = -1
		case begun < 0:
			begun = i
			out = append(out, files[i:i+1])
		default:
			out[len(out)-1] = files[begun : i+1]
		}
	}
	return out
}
