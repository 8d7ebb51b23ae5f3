package history_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chronik-stream/chronik/tests/history"
)

// What goes by its age, and not by what is done to it.
func TestWhatGoesTooEarlyIsFound(t *testing.T) {
	const day = 24 * time.Hour
	aged := history.Topic{Expires: true, Retention: day}
	keyed := history.Topic{Holes: true, TombstonesKept: day}
	tomb := func(w *world, key string) {
		s := w.w.SendTombstone(p0, key)
		s.Acked(int64(len(w.log)))
		w.log = append(w.log, s.ID)
	}
	without := func(w *world, offsets ...int64) {
		f := w.Final(p0, 0)
	items:
		for _, it := range w.items(0) {
			for _, o := range offsets {
				if it.Offset == o {
					continue items
				}
			}
			f.Add(it)
		}
	}
	for name, c := range map[string]struct {
		topic history.Topic
		do    func(w *world)
		want  history.Kind // none: all is well
	}{
		"old enough": {aged, func(w *world) {
			w.write(3)
			time.Sleep(day)
			w.Starts(p0, 2)
			w.Final(p0, 2).Add(w.items(2)...)
		}, ""},
		"too young": {aged, func(w *world) {
			w.write(3)
			time.Sleep(day - time.Second)
			w.Starts(p0, 2)
			w.Final(p0, 2).Add(w.items(2)...)
		}, history.Lost},
		"the younger of two went with the older": {aged, func(w *world) {
			w.write(1)
			time.Sleep(day)
			w.write(1)
			w.Starts(p0, 2)
			time.Sleep(day)
			w.Final(p0, 2)
		}, history.Lost},
		"had expired when who had it came back, and was not salvaged": {history.Topic{Expires: true, Retention: day, Salvaged: true}, func(w *world) {
			w.write(3)
			time.Sleep(day)
			without(w, 2)
		}, ""},
		"was not salvaged, and had not expired": {history.Topic{Expires: true, Retention: day, Salvaged: true}, func(w *world) {
			w.write(3)
			time.Sleep(day - time.Second)
			without(w, 2)
		}, history.Lost},
		"it begins again where it had begun before": {aged, func(w *world) {
			w.write(3)
			time.Sleep(day)
			w.Starts(p0, 2)
			w.Starts(p0, 1)
			w.Final(p0, 1).Add(w.items(1)...)
		}, history.Undeleted},
		"enough stays": {history.Topic{Expires: true, Retained: 2}, func(w *world) {
			w.write(3)
			w.Committed(1, 1, "a", history.Range{Partition: p0, Next: 3})
			w.Starts(p0, 1)
			w.Final(p0, 1).Add(w.items(1)...)
		}, ""},
		"less stays than is to": {history.Topic{Expires: true, Retained: 2}, func(w *world) {
			w.write(3)
			w.Committed(1, 1, "a", history.Range{Partition: p0, Next: 3})
			w.Starts(p0, 2)
			w.Final(p0, 2).Add(w.items(2)...)
		}, history.Lost},
		"it expired while it was read back": {aged, func(w *world) {
			w.write(3)
			f := w.Final(p0, 0)
			f.Add(w.items(0)[:1]...)
			time.Sleep(day)
			w.Starts(p0, 2)
			f.Add(w.items(2)...)
			f.Rise(w.Start(p0))
		}, ""},
		"a query is answered with what had expired before": {aged, func(w *world) {
			w.write(3)
			time.Sleep(day)
			w.Starts(p0, 2)
			time.Sleep(2 * time.Minute)
			w.Query("q", "t", true).Answered(map[int32]history.Covered{0: {From: 1, To: 3, End: 3}}, map[int32][]history.Item{0: w.items(1)})
			w.Final(p0, 2).Add(w.items(2)...)
		}, history.Undeleted},
		"a query is answered with what expires at this moment": {aged, func(w *world) {
			w.write(3)
			time.Sleep(day)
			w.Starts(p0, 2)
			w.Query("q", "t", true).Answered(map[int32]history.Covered{0: {From: 1, To: 3, End: 3}}, map[int32][]history.Item{0: w.items(1)})
			w.Final(p0, 2).Add(w.items(2)...)
		}, ""},
		"a tombstone and what it buried": {keyed, func(w *world) {
			w.keyed("a")
			tomb(w, "a")
			time.Sleep(day)
			without(w, 0, 1)
		}, ""},
		"a tombstone that went too early": {keyed, func(w *world) {
			w.keyed("a")
			tomb(w, "a")
			time.Sleep(day - time.Second)
			without(w, 0, 1)
		}, history.Lost},
		"what was written after the tombstone": {keyed, func(w *world) {
			tomb(w, "a")
			w.keyed("a")
			time.Sleep(day)
			without(w, 0, 1)
		}, history.Lost},
		"a tombstone of another key": {keyed, func(w *world) {
			w.keyed("a")
			tomb(w, "b")
			time.Sleep(day)
			without(w, 0, 1)
		}, history.Lost},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(c.topic)
				c.do(w)
				result := w.Check()
				if c.want == "" && !result.OK() || c.want != "" && (result.Count(string(c.want)) == 0 || strings.Count(result.String(), "<-- must be 0") != 1) {
					t.Errorf("want %q:\n%s", c.want, result)
				}
			})
		})
	}
}
