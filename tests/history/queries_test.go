package history_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/tests/history"
)

// odd are the second, the fourth, … of a writer.
func odd(r history.Record) bool { return r.ID.Number%2 == 1 }

func TestAnswersAreHeldAgainstWhatTheyCover(t *testing.T) {
	covered := func(from, to, end int64) map[int32]history.Covered {
		return map[int32]history.Covered{0: {From: from, To: to, End: end}}
	}
	for _, c := range []struct {
		name    string
		kind    history.Kind // "": no breach
		topic   history.Topic
		history func(w *world)
		witness string
	}{
		{"all that was acknowledged", "", history.Topic{}, func(w *world) {
			w.write(3)
			q := w.Query("q", "t", true)
			rows := w.items(0)
			slices.Reverse(rows)
			w.write(2)
			q.Answered(covered(0, 3, 5), map[int32][]history.Item{0: rows})
		}, ""},
		{"less, which is said", "", history.Topic{}, func(w *world) {
			w.write(3)
			w.Query("q", "t", false).Answered(covered(0, 1, 3), map[int32][]history.Item{0: w.items(0)[:1]})
		}, ""},
		{"less, when the latest was asked for", history.Stale, history.Topic{}, func(w *world) {
			w.write(3)
			w.Query("q", "t", true).Answered(covered(0, 1, 3), map[int32][]history.Item{0: w.items(0)[:1]})
		}, "was to see offset 2"},
		{"not all that it covers", history.Unseen, history.Topic{Expires: true}, func(w *world) {
			w.write(4)
			q := w.Query("q", "t", false)
			q.Answered(covered(1, 4, 4), map[int32][]history.Item{0: {w.items(0)[1], w.items(0)[3]}})
		}, "no row of offset 2, where w/2"},
		{"nothing at its end", history.Skipped, history.Topic{}, func(w *world) {
			late := w.w.Send(p0)
			w.Query("q", "t", false).Answered(covered(0, 1, 1), nil)
			late.Acked(0)
			w.log = append(w.log, late.ID)
		}, "given 1 after -1"},
		{"a row twice", history.Duplicated, history.Topic{}, func(w *world) {
			w.write(2)
			w.Query("q", "t", true).Answered(covered(0, 2, 2), map[int32][]history.Item{0: append(w.items(0), w.items(0)[1])})
		}, "two rows of offset 1"},
		{"a row beyond what it covers", history.Uncovered, history.Topic{}, func(w *world) {
			w.write(2)
			w.Query("q", "t", false).Answered(covered(0, 1, 2), map[int32][]history.Item{0: w.items(0)})
		}, "has a row of offset 1"},
		{"an end below what it covers", history.Uncovered, history.Topic{}, func(w *world) {
			w.write(2)
			w.Query("q", "t", false).Answered(covered(0, 2, 1), map[int32][]history.Item{0: w.items(0)})
		}, "an end below"},
		{"a partition is left out", history.Uncovered, history.Topic{}, func(w *world) {
			w.write(1)
			w.Query("q", "t", false).Answered(nil, nil)
		}, "without partition 0"},
		{"rows of a partition that it does not cover", history.Uncovered, history.Topic{}, func(w *world) {
			w.write(1)
			w.Query("q", "t", false).Answered(covered(0, 1, 1), map[int32][]history.Item{0: w.items(0), 4: w.items(0)})
		}, "which its coverage does not name"},
		{"what was deleted before", history.Undeleted, history.Topic{Trimmed: true}, func(w *world) {
			w.write(3)
			w.Trim(p0, 2).Acked(2)
			w.Query("q", "t", true).Answered(covered(0, 3, 3), map[int32][]history.Item{0: w.items(0)})
			w.Final(p0, 2).Add(w.items(2)...)
		}, "begins below 2"},
		{"a start that nobody asked for", history.Lost, history.Topic{}, func(w *world) {
			w.write(3)
			w.Query("q", "t", true).Answered(covered(1, 3, 3), map[int32][]history.Item{0: w.items(1)})
		}, "begins above 0"},
		{"a row that changes", history.Dirty, history.Topic{}, func(w *world) {
			w.write(1)
			other := w.Writer("x", history.WriterOptions{}).Send(p0)
			w.Query("q", "t", false).Answered(covered(0, 2, 2), map[int32][]history.Item{0: append(w.items(0), item(1, other.ID))})
			w.write(1)
		}, "q read x/0 at t-0 offset 1, where w/1 is now"},
		{"a key that a later record has", "", history.Topic{Holes: true}, func(w *world) {
			w.keyed("a", "b", "a")
			w.Query("q", "t", true).Answered(covered(0, 3, 3), map[int32][]history.Item{0: w.items(1)})
			w.Final(p0, 0).Add(w.items(1)...)
		}, ""},
		{"a key that no later record has", history.Unseen, history.Topic{Holes: true}, func(w *world) {
			w.keyed("a", "b", "a")
			w.Query("q", "t", true).Answered(covered(0, 3, 3), map[int32][]history.Item{0: w.items(2)})
		}, "no row of offset 1"},
		{"a key that compaction had taken away", history.Undeleted, history.Topic{Holes: true}, func(w *world) {
			w.keyed("a", "b", "a")
			w.Final(p0, 0).Add(w.items(1)...)
			w.Query("q", "t", true).Answered(covered(0, 3, 3), map[int32][]history.Item{0: w.items(0)})
			w.ended = true
		}, "a row of offset 0, which the log has no longer"},
		{"a key that a later record has, which was not asked for", "", history.Topic{Holes: true}, func(w *world) {
			w.keyed("a", "b", "c", "a")
			w.Query("q", "t", true).Only(odd).Answered(covered(0, 4, 4), map[int32][]history.Item{0: {w.items(0)[1], w.items(0)[3]}})
			w.Final(p0, 0).Add(w.items(1)...)
			w.Query("q", "t", true).Only(func(r history.Record) bool { return !odd(r) }).Answered(covered(0, 4, 4), map[int32][]history.Item{0: w.items(2)[:1]})
			w.ended = true
		}, ""},
		{"a key that no later record has, of those that were asked for", history.Unseen, history.Topic{Holes: true}, func(w *world) {
			w.keyed("a", "b", "a")
			w.Final(p0, 0).Add(w.items(1)...)
			w.Query("q", "t", true).Only(odd).Answered(covered(0, 3, 3), nil)
			w.ended = true
		}, "no row of offset 1"},
		{"those that were asked for", "", history.Topic{}, func(w *world) {
			w.write(4)
			q := w.Query("q", "t", true).Only(odd).Of(0)
			q.Answered(covered(0, 4, 4), map[int32][]history.Item{0: {w.items(0)[1], w.items(0)[3]}})
		}, ""},
		{"one that was not asked for", history.Unasked, history.Topic{}, func(w *world) {
			w.write(4)
			w.Query("q", "t", true).Only(odd).Answered(covered(0, 4, 4), map[int32][]history.Item{0: w.items(1)})
		}, "a row of w/2 at offset 2"},
		{"not all of those that were asked for", history.Unseen, history.Topic{}, func(w *world) {
			w.write(4)
			w.Query("q", "t", true).Only(odd).Answered(covered(0, 4, 4), map[int32][]history.Item{0: w.items(3)})
		}, "no row of offset 1"},
		{"one that was asked for and whose writer does not know that it is there", history.Skipped, history.Topic{}, func(w *world) {
			w.write(1)
			late := w.w.Send(p0)
			w.Query("q", "t", false).Only(odd).Answered(covered(0, 2, 2), nil)
			late.Acked(1)
			w.log = append(w.log, late.ID)
		}, "given 2 after -1, and not offset 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(c.topic)
			c.history(w)
			var r history.Result
			if w.ended {
				r = w.Check()
			} else {
				r = w.end()
			}
			if c.kind == "" {
				if !r.OK() {
					t.Errorf("found breaches:\n%s", r)
				}
				return
			}
			if r.Count(string(c.kind)) == 0 || !strings.Contains(r.String(), c.witness) {
				t.Errorf("%q is not found, or without its witness %q:\n%s", c.kind, c.witness, r)
			}
		})
	}
}
