package compactor

import (
	"time"

	"github.com/chronik-stream/chronik/internal/manifest"
)

// cleanPlan is one step of a cleaning, compaction by key: the keys of
// [from, through) are what records below through are held against, and the files
// below at have been. A zero through: no cleaning.
type cleanPlan struct {
	from, through, at int64
	bytes             int64 // of the log files that are still to be read for it, for their keys or to be rewritten
}

func (c cleanPlan) due() bool { return c.through > 0 }

// dirt is what cleaning would find in a partition.
type dirt struct {
	limit  int64 // offset up to which it may go now
	clean  int64 // bytes of files that it has been through
	dirty  int64 // bytes of files that it may go through and has not
	oldest int64 // ms: the least timestamp among these
	later  int64 // ms: when more may be cleaned; 0: not by waiting
}

// ratio is Kafka's: the share of bytes that were not cleaned yet.
func (d dirt) ratio() float64 {
	if d.dirty == 0 {
		return 0
	}
	return float64(d.dirty) / float64(d.clean+d.dirty)
}

// dirtOf looks at the log files. What is still in segments is not looked at, as
// Kafka leaves its active segment alone, nor what is not in the table yet: so
// rows that come from the log are never masked.
func dirtOf(s snapshot, now time.Time) dirt {
	clean := s.cleaned().Next
	d := dirt{limit: clean}
	end := s.view.Manifest.Marks.Log
	if s.config.Columnar.Enabled {
		end = min(end, max(s.view.Manifest.Marks.Columnar, s.view.Manifest.LogStart))
	}
	if s.config.Search.Enabled {
		end = min(end, max(s.view.Manifest.Marks.Text, s.view.Manifest.LogStart))
	}
	for _, f := range s.section.Log {
		if f.Next <= s.view.Manifest.LogStart || s.damaged[f.Object] {
			continue
		}
		if f.Next <= clean {
			d.clean += f.Size
			continue
		}
		if lag := s.config.CompactionLagMinMs; lag > 0 && f.MaxTimestamp > now.UnixMilli()-lag {
			d.later = f.MaxTimestamp + lag
			break
		}
		if f.Next > end {
			break
		}
		if d.dirty == 0 || f.MinTimestamp < d.oldest {
			d.oldest = max(0, f.MinTimestamp)
		}
		d.dirty += f.Size
		d.limit = f.Next
	}
	return d
}

// clean plans the next step of a cleaning: of the one under way, or the first of
// a new one when the dirty ratio is above the topic's, a record has become as
// old as it may, or tombstones have outlived their horizon. It says when to look
// again otherwise.
func (p Policy) clean(s snapshot, now time.Time) (cleanPlan, time.Time) {
	if !s.config.CleanupCompact {
		return cleanPlan{}, time.Time{}
	}
	c, start := s.cleaned(), s.logStart()
	out := cleanPlan{from: max(c.Next, start), through: c.Through, at: max(c.At, start)}
	if c.Through == 0 {
		d := dirtOf(s, now)
		var again time.Time
		switch at := now.UnixMilli(); {
		case d.dirty > 0 && (d.ratio() > s.config.DirtyRatioMin || at-d.oldest >= s.config.CompactionLagMaxMs):
			out.through = d.limit
		case c.Horizon > 0 && at >= c.Horizon && c.Next > start:
			out.through = c.Next
		default:
			again = earliest(again, d.later)
			if d.dirty > 0 && s.config.CompactionLagMaxMs < at {
				again = earliest(again, d.oldest+s.config.CompactionLagMaxMs)
			}
			if c.Next > start {
				again = earliest(again, c.Horizon)
			}
			return cleanPlan{}, again
		}
	}
	for _, f := range s.section.Log {
		if f.Next > min(out.at, out.from) && f.First < out.through {
			out.bytes += f.Size // at most: between at and from nothing is read
		}
	}
	return out, time.Time{}
}

// cleaned is how far cleaning has come. One under way is over once everything
// that it is about has been deleted.
func (s snapshot) cleaned() manifest.Clean {
	c := s.section.Clean
	if c.Through > 0 && c.Through <= s.logStart() {
		return manifest.Clean{Next: max(c.Next, c.Through)}
	}
	return c
}

// logStart is where the log began, in etcd or in the manifest.
func (s snapshot) logStart() int64 { return max(s.view.Manifest.LogStart, s.section.LogStart) }

// earliest is the earlier of a time and one in ms; neither counts when zero.
func earliest(t time.Time, ms int64) time.Time {
	if ms > 0 && (t.IsZero() || time.UnixMilli(ms).Before(t)) {
		return time.UnixMilli(ms)
	}
	return t
}

// cleanRun are the files of the next step: from at on, as many as a pass takes
// in, without a hole between them, which a file of theirs would hide, and without
// those that are damaged, which stay as they are.
func (p Policy) cleanRun(files []manifest.File, plan cleanPlan, spanMaxMs int64, damaged map[string]bool) []manifest.File {
	var run []manifest.File
	var bytes int64
	var time stretch
	for _, f := range files {
		if f.Next <= plan.at || f.First >= plan.through || damaged[f.Object] {
			continue
		}
		bytes += f.Size
		time = time.with(f)
		if n := len(run); n > 0 && (bytes > p.PassBytesMax || f.First != run[n-1].Next || !time.within(spanMaxMs)) {
			break
		}
		run = append(run, f)
	}
	return run
}
