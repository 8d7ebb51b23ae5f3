package compactor

import (
	"cmp"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
)

// Policy says when what is rewritten. It is all that plan knows besides a
// snapshot and the time.
type Policy struct {
	FirstBytes   int64         // new records are rewritten once there are so many bytes of them
	FirstAge     time.Duration // or once the oldest has this age
	PlainAge     time.Duration // the same for partitions that nothing is derived from: nobody waits for their log files
	RangesMax    int           // or once it lies in so many pieces, which merges of segments do not make fewer
	PassBytesMax int64         // what one pass takes in
	FileBytesMax int64         // merges make no larger files
	MergeFiles   int           // neighbours that make a merge

	// Of splits alone, which are searched as a whole:
	IndexBytesMax int64 // keys and values that are indexed into one without a merge
	DocumentsMax  int64 // records of one
	FieldsMax     int   // fields of a merged one: see mergeSplits

	// Of shards alone:
	EmbedBytes    int64         // new records are embedded once there are so many bytes of them
	EmbedAge      time.Duration // or once the oldest has this age
	ShardBytesMax int64         // merges make no larger ones
	VectorsMax    int64         // nor any with more vectors
	MergeMemory   int64         // that a merge of shards may take, about
}

func (p Policy) withDefaults() Policy {
	p.FirstBytes = cmp.Or(p.FirstBytes, 8<<20)
	p.FirstAge = cmp.Or(p.FirstAge, time.Minute)
	p.PlainAge = cmp.Or(p.PlainAge, 6*time.Hour)
	p.RangesMax = cmp.Or(p.RangesMax, 100)
	p.PassBytesMax = cmp.Or(p.PassBytesMax, 64<<20)
	p.FileBytesMax = cmp.Or(p.FileBytesMax, 128<<20)
	p.MergeFiles = cmp.Or(p.MergeFiles, 8)
	p.IndexBytesMax = cmp.Or(p.IndexBytesMax, 128<<20)
	p.DocumentsMax = cmp.Or(p.DocumentsMax, 4<<20)
	p.FieldsMax = cmp.Or(p.FieldsMax, 20_000)
	p.EmbedBytes = cmp.Or(p.EmbedBytes, 1<<20)
	p.EmbedAge = cmp.Or(p.EmbedAge, time.Second)
	p.ShardBytesMax = cmp.Or(p.ShardBytesMax, 512<<20)
	p.VectorsMax = cmp.Or(p.VectorsMax, 4<<20)
	p.MergeMemory = cmp.Or(p.MergeMemory, 2*p.ShardBytesMax)
	return p
}

// snapshot is a partition as the policy sees it.
type snapshot struct {
	view    metastore.PartitionView
	config  topicconfig.Effective
	section manifest.Section // what view.Manifest names; the zero Section when it names nothing
	damaged map[string]bool  // files that are not merged
	vectors metastore.VectorIndex
	ended   []ended         // jobs whose work waits to be adopted
	claimed map[string]bool // files that jobs are about to replace
	lost    map[string]bool // collections that are not in the Milvus any more

	table     bool       // the topic has an Iceberg table
	shown     int64      // the revision that it shows
	newcomers []newcomer // columnar files that it may not have yet
}

// plan is what one pass makes of one partition. The zero plan makes nothing.
type plan struct {
	logStart int64 // the new log start; never below the old one

	// Advance: the offsets that go from segments into a log file, and those that
	// go into columnar files and splits. An empty span: none.
	log      span
	columnar span
	text     span

	// Merge: the neighbours that become one file.
	mergeLog      []manifest.File
	mergeColumnar []manifest.File
	mergeText     []manifest.File

	reindex []manifest.File // splits with other settings than the topic's, to be made again

	dropColumnar, dropText, dropVector bool // the feature is off: its files go
	dropCollections                    bool // they are no longer the backend

	rebuild *rebuild // of what is damaged; nil: nothing is

	clean cleanPlan

	bytes int64 // to be read, about
}

// span is a range of offsets, half open.
type span struct{ first, next int64 }

func (s span) empty() bool { return s.next <= s.first }

// empty reports that there is nothing to do.
func (p plan) empty(s snapshot) bool {
	merges := len(p.mergeLog) + len(p.mergeColumnar) + len(p.mergeText) + len(p.reindex)
	gone := len(expired(s.section.Log, p.logStart)) + len(expired(s.section.Columnar, p.logStart)) + len(expired(s.section.Text, p.logStart)) + len(expired(s.section.Vector, p.logStart))
	return p.log.empty() && p.columnar.empty() && p.text.empty() && merges == 0 && !p.dropColumnar && !p.dropText && !p.dropVector && !p.dropCollections && len(s.ended) == 0 &&
		p.rebuild == nil && !p.clean.due() && p.logStart == s.view.Manifest.LogStart && gone == 0
}

// expired returns the files that lie below the log start.
func expired(files []manifest.File, logStart int64) []manifest.File {
	var gone []manifest.File
	for _, f := range files {
		if f.Next <= logStart {
			gone = append(gone, f)
		}
	}
	return gone
}

// decide plans the next pass over a partition, and says when to look again if
// nothing changes until then; the zero time means not before something does.
//
// Advancing and cleaning come first, then merging: files are merged in the passes
// between.
func (p Policy) decide(s snapshot, now time.Time) (plan, time.Time) {
	if s.view.Topic == nil {
		return plan{logStart: s.view.Manifest.LogStart}, time.Time{}
	}
	out := plan{logStart: p.retained(s, now)}
	var again time.Time
	out.log, again = p.advance(s, out.logStart, now)
	out.bytes = out.log.bytes(s)
	if s.config.Columnar.Enabled {
		out.columnar = p.derive(s, out, s.view.Manifest.Marks.Columnar)
	} else {
		out.dropColumnar = len(s.section.Columnar) > 0
	}
	if s.config.Search.Enabled {
		out.text = p.derive(s, out, s.view.Manifest.Marks.Text)
	} else {
		out.dropText = len(s.section.Text) > 0
	}
	out.dropVector = !s.indexed() && (len(s.section.Vector) > 0 || s.view.Manifest.Marks.Vector > out.logStart)
	out.dropCollections = !s.collected() && len(s.section.Collections) > 0
	out.bytes += out.derivedBytes(s)
	if out.rebuild = p.rebuild(s, out, now); out.rebuild != nil {
		out.bytes += out.rebuild.bytes(s)
	}
	var cleanAgain time.Time
	if out.clean, cleanAgain = p.clean(s, now); !cleanAgain.IsZero() {
		again = earliest(again, cleanAgain.UnixMilli())
	}
	out.bytes += min(out.clean.bytes, p.PassBytesMax)
	if out.log.empty() && out.columnar.empty() && out.text.empty() && !out.clean.due() {
		p.mergeAll(s, &out)
	}
	return out, again
}

// derivedBytes is about what reading for derived files costs, beyond what is read
// for the log file.
func (p plan) derivedBytes(s snapshot) (n int64) {
	if p.columnar.first != p.log.first {
		n += p.columnar.bytes(s)
	}
	if p.text.first != p.log.first && p.text != p.columnar {
		n += p.text.bytes(s)
	}
	return n
}

// mergeAll plans the merges of all kinds. What is reported as damaged is made again
// first.
func (p Policy) mergeAll(s snapshot, out *plan) {
	out.mergeLog = p.mergeClean(s, out.logStart)
	for _, f := range out.mergeLog {
		out.bytes += f.Size
	}
	if out.rebuild != nil {
		return
	}
	if !out.dropColumnar {
		run := p.mergeParts(s.withVectors(s.section.Columnar), func(f manifest.File) bool { return s.reported(f) || s.awaited(f) }, out.logStart, s.spanMaxMs())
		out.mergeColumnar = asListed(run, s.section.Columnar)
		if s.anyDamaged(out.mergeColumnar) {
			out.mergeColumnar = nil // it would be made of the log
		}
		if n := len(out.mergeColumnar); n > 0 {
			out.bytes += span{out.mergeColumnar[0].First, out.mergeColumnar[n-1].Next}.bytes(s)
		}
	}
	if !out.dropText {
		p.planSplits(s, out)
	}
}

// advance returns the span of whole ranges that go from segments into a log
// file now, or when it is time for that. A pass ends with a range of a segment,
// since only there the state of the producers is known. Ranges below the log start
// are taken at once: nothing of them is written, but then they count as rewritten.
func (p Policy) advance(s snapshot, logStart int64, now time.Time) (span, time.Time) {
	mark := s.view.Manifest.Marks.Log
	out := span{mark, mark}
	expired := out
	var pending, taken int64
	var oldest time.Time
	old := 0 // ranges that merges of segments have had their time for
	for _, r := range s.view.Ranges {
		if r.Next <= mark {
			continue
		}
		if r.Next <= logStart {
			expired.next, out.next = r.Next, r.Next
			continue
		}
		committed := segmentTime(r.Segment, now)
		if oldest.IsZero() || committed.Before(oldest) {
			oldest = committed
		}
		if now.Sub(committed) >= ripeAges*p.FirstAge {
			old++
		}
		pending += r.Length
		if taken < p.PassBytesMax {
			taken += r.Length
			out.next = r.Next
		}
	}
	if expired.empty() {
		expired = span{}
	}
	if pending == 0 {
		return expired, time.Time{}
	}
	age := p.PlainAge
	if s.config.Columnar.Enabled || s.config.Search.Enabled {
		age = p.FirstAge
	}
	if s.config.CleanupCompact && s.config.CompactionLagMaxMs < age.Milliseconds() {
		age = time.Duration(s.config.CompactionLagMaxMs) * time.Millisecond // what is in segments is not cleaned
	}
	if due := oldest.Add(age); pending < p.FirstBytes && old < p.RangesMax && now.Before(due) {
		return expired, due
	}
	return out, time.Time{}
}

// segmentTime is when a segment was made, by the clock of its broker; one in
// the future counts as now.
func segmentTime(s *metastore.Segment, now time.Time) time.Time {
	id, err := ulid.ParseStrict(s.ID)
	if err != nil {
		return now
	}
	if made := ulid.Time(id.Time()); made.Before(now) {
		return made
	}
	return now
}

// derive returns the span that files of a kind with such a mark are made of. Where
// they have kept up with the log it is the same, so that one read feeds both; else
// it is the next of what log files hold.
func (p Policy) derive(s snapshot, planned plan, mark int64) span {
	from := max(mark, planned.logStart)
	logged := s.view.Manifest.Marks.Log
	if from >= logged {
		if planned.log.empty() {
			return span{}
		}
		return span{from, planned.log.next}
	}
	out := span{from, from}
	var taken int64
	for _, f := range s.section.Log {
		if f.Next <= from {
			continue
		}
		if taken >= p.PassBytesMax {
			return out
		}
		taken += f.Size
		out.next = f.Next
	}
	out.next = logged // also past offsets that no log file has
	if taken < p.PassBytesMax && !planned.log.empty() {
		out.next = planned.log.next
	}
	return out
}

// bytes is about what reading a span costs.
func (sp span) bytes(s snapshot) int64 {
	var n int64
	for _, f := range s.section.Log {
		if f.First < sp.next && f.Next > sp.first {
			n += f.Size
		}
	}
	for _, r := range s.view.Ranges {
		if r.Next > s.view.Manifest.Marks.Log && r.First < sp.next && r.Next > sp.first {
			n += r.Length
		}
	}
	return n
}

// retained is the log start after retention: whole log files, and whole ranges of
// segments, go from the oldest on, once all their records are older than
// retention.ms, or while the rest is still retention.bytes. What was written only
// just stays for FirstAge: Kafka too looks every few minutes, and who brings in
// old records should have a chance to read them.
func (p Policy) retained(s snapshot, now time.Time) int64 {
	start := s.logStart()
	if !s.config.CleanupDelete {
		return start
	}
	var total int64
	for piece := range s.pieces(start, now) {
		total += piece.bytes
	}
	for piece := range s.pieces(start, now) {
		tooOld := s.config.RetentionMs >= 0 && piece.latest < now.UnixMilli()-s.config.RetentionMs
		tooMany := s.config.RetentionBytes >= 0 && total-piece.bytes >= s.config.RetentionBytes
		if !tooOld && !tooMany || now.Sub(piece.written) < p.FirstAge {
			break
		}
		total -= piece.bytes
		start = piece.next
	}
	return start
}

// piece is what retention takes or leaves.
type piece struct {
	next, bytes int64
	latest      int64 // ms: the greatest timestamp, or when it was written if none of its records has one
	written     time.Time
}

// pieces are a log's files, and behind them ranges of segments, from start on. Of
// a range that begins within the log files, since segments were merged while a
// part of them was written anew, no bytes are counted: nobody knows how many lie
// behind the files, and more than there are would delete what is to stay.
func (s snapshot) pieces(start int64, now time.Time) iter.Seq[piece] {
	mark := s.view.Manifest.Marks.Log
	return func(yield func(piece) bool) {
		for _, f := range s.section.Log {
			p := piece{next: f.Next, bytes: f.Size, latest: f.MaxTimestamp}
			if p.latest < 0 {
				p.latest = f.CreatedAt
			}
			if f.Next > start && !yield(p) {
				return
			}
		}
		for _, r := range s.view.Ranges {
			p := piece{r.Next, r.Length, r.MaxTimestamp, segmentTime(r.Segment, now)}
			if p.latest < 0 {
				p.latest = p.written.UnixMilli()
			}
			if r.First < mark {
				p.bytes = 0
			}
			if r.Next > max(start, mark) && !yield(p) {
				return
			}
		}
	}
}

// spanMaxMs bounds the time that one file may span where records are deleted by
// age: files go as a whole, and a record should not stay an eighth of the
// retention longer than asked because of younger neighbours. 0: no bound.
func (s snapshot) spanMaxMs() int64 {
	if !s.config.CleanupDelete || s.config.RetentionMs < 0 {
		return 0
	}
	return max(1, s.config.RetentionMs/8)
}

// stretch is the time that some files span.
type stretch struct{ least, greatest int64 }

// with widens it by a file; one without timestamps does not count.
func (t stretch) with(f manifest.File) stretch {
	switch {
	case f.MaxTimestamp < 0:
		return t
	case t == stretch{}:
		return stretch{f.MinTimestamp, f.MaxTimestamp}
	}
	return stretch{min(t.least, f.MinTimestamp), max(t.greatest, f.MaxTimestamp)}
}

// within tells whether it spans no more than that; 0 is no bound.
func (t stretch) within(ms int64) bool { return ms == 0 || t.greatest-t.least <= ms }

// mergeClean finds a merge among the log files, of those that were cleaned and
// those that were not apart: the dirty ratio goes by whole files.
func (p Policy) mergeClean(s snapshot, logStart int64) []manifest.File {
	clean := s.cleaned().Next
	n := slices.IndexFunc(s.section.Log, func(f manifest.File) bool { return f.Next > clean })
	if n < 0 {
		n = len(s.section.Log)
	}
	for _, files := range slices.Concat(s.mergeable(s.section.Log[n:]), s.mergeable(s.section.Log[:n])) {
		if run := p.merge(files, logStart, s.spanMaxMs(), math.MaxInt64); run != nil {
			return run
		}
	}
	return nil
}

// mergeable parts log files where offsets are missing between them, since a
// merge would make a hole look as if keys had been compacted away, and leaves out
// those that are damaged.
func (s snapshot) mergeable(files []manifest.File) [][]manifest.File {
	var out [][]manifest.File
	begun := 0
	for i := range files {
		if s.damaged[files[i].Object] {
			out = append(out, files[begun:i])
			begun = i + 1
		} else if i > begun && files[i].First != files[i-1].Next {
			out = append(out, files[begun:i])
			begun = i
		}
	}
	return append(out, files[begun:])
}

// anyDamaged reports that a log file in the span of derived files is damaged.
func (s snapshot) anyDamaged(run []manifest.File) bool {
	return len(run) > 0 && slices.ContainsFunc(s.section.Log, func(f manifest.File) bool {
		return s.damaged[f.Object] && f.First < run[len(run)-1].Next && f.Next > run[0].First
	})
}

// mergeParts finds a merge among the columnar files of one time partition. The
// merged file is made of the log again: so what it replaces must be all that
// there is of its time partition in its span, which a change of
// columnar.partitioning, or a log start within a file, would belie. Files that
// are to be left out stay as they are, and so does what lies on both sides.
func (p Policy) mergeParts(files []manifest.File, out func(manifest.File) bool, logStart, spanMaxMs int64) []manifest.File {
	for _, neighbours := range partsOf(files, out, logStart) {
		part := neighbours[0].TimePartition
		run := p.mergeRun(neighbours, logStart, spanMaxMs, math.MaxInt64)
		if run == nil {
			continue
		}
		first, next := run[0].First, run[len(run)-1].Next
		mixed := slices.ContainsFunc(files, func(f manifest.File) bool {
			return len(f.TimePartition) != len(part) && f.First < next && f.Next > first
		})
		if !mixed {
			return run
		}
	}
	return nil
}

// mergeRun finds a merge of any sort among neighbours, into a file of so many
// records at most.
func (p Policy) mergeRun(neighbours []manifest.File, logStart, spanMaxMs, recordsMax int64) []manifest.File {
	if run := p.mergeMasked(neighbours, recordsMax); run != nil {
		return run
	}
	if run := p.merge(neighbours, logStart, spanMaxMs, recordsMax); run != nil {
		return run
	}
	return p.mergeLarge(neighbours, spanMaxMs, recordsMax)
}

// partsOf parts files by their time partitions, in the order in which these
// begin, and a time partition where a file is to be left out.
func partsOf(files []manifest.File, out func(manifest.File) bool, logStart int64) [][]manifest.File {
	var parts [][]manifest.File
	last := map[string]int{} // time partition → its last one in parts
	for _, f := range files {
		i, known := last[f.TimePartition]
		switch {
		case f.First < logStart:
		case out(f):
			delete(last, f.TimePartition)
		case known:
			parts[i] = append(parts[i], f)
		default:
			last[f.TimePartition] = len(parts)
			parts = append(parts, []manifest.File{f})
		}
	}
	return parts
}

// maskedShare is the part of a derived file's records that may be masked: past a
// half the file is made anew.
const maskedShare = 2

// mergeMasked finds neighbours, or a single file, of which much is masked.
func (p Policy) mergeMasked(files []manifest.File, recordsMax int64) []manifest.File {
	var run []manifest.File
	var bytes, records int64
	for _, f := range files {
		bytes, records = bytes+f.Size, records+f.Records
		if f.Masked*maskedShare < f.Records || f.Masked == 0 || len(run) > 0 && (bytes > p.FileBytesMax || records > recordsMax) {
			if len(run) > 0 {
				return run
			}
			bytes, records = 0, 0
			continue
		}
		run = append(run, f)
	}
	return run
}

// merge finds neighbours to be made one file, nil when there are none.
//
// At least MergeFiles neighbours are merged, and only into a file at least
// MergeFiles/2 times as large as the largest of them: so a byte is rewritten no
// more often than its file can grow by that factor. Files above
// FileBytesMax/MergeFiles are left as they are. The smallest neighbours go first.
// No merge spans more time than spanMaxMs, if that is not 0.
func (p Policy) merge(files []manifest.File, logStart, spanMaxMs, recordsMax int64) []manifest.File {
	kept := slices.DeleteFunc(slices.Clone(files), func(f manifest.File) bool { return f.Next <= logStart })
	var best []manifest.File
	bestLargest := p.FileBytesMax / int64(p.MergeFiles)
	for i := range kept {
		var bytes, largest, records int64
		var time stretch
		for n, f := range kept[i:] {
			largest = max(largest, f.Size)
			bytes, records = bytes+f.Size, records+f.Records
			time = time.with(f)
			if largest > bestLargest || bytes > p.FileBytesMax || records > recordsMax || !time.within(spanMaxMs) {
				break
			}
			if n+1 >= p.MergeFiles && bytes >= largest*int64(p.MergeFiles)/2 && (largest < bestLargest || n+1 > len(best)) {
				best, bestLargest = kept[i:i+n+1], largest
			}
		}
	}
	return best
}

// mergeLarge finds neighbours that merge leaves as they are and that make a file
// of at least half of FileBytesMax. Such a file is in no further merge, so this
// rewrites a byte once at most.
func (p Policy) mergeLarge(files []manifest.File, spanMaxMs, recordsMax int64) []manifest.File {
	for i := range files {
		var bytes, records int64
		var time stretch
		n := 0
		for _, f := range files[i:] {
			time = time.with(f)
			if f.Size <= p.FileBytesMax/int64(p.MergeFiles) || f.Size >= p.FileBytesMax/2 || bytes+f.Size > p.FileBytesMax || records+f.Records > recordsMax || !time.within(spanMaxMs) {
				break
			}
			bytes, records = bytes+f.Size, records+f.Records
			n++
		}
		if n > 1 && bytes >= p.FileBytesMax/2 {
			return files[i : i+n]
		}
	}
	return nil
}
