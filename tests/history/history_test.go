package history_test

import (
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/tests/history"
)

var p0 = history.Partition{Topic: "t", Index: 0}

// world is a history in the making, with a log that keeps every promise unless
// the test breaks one.
type world struct {
	*history.History
	w     *history.Writer
	log   []history.ID
	ended bool
}

// Final is for a test that reads back by itself.
func (w *world) Final(p history.Partition, start int64) *history.Final {
	w.ended = true
	return w.History.Final(p, start)
}

func newWorld(t history.Topic) *world {
	h := history.New()
	h.Topic("t", t)
	return &world{History: h, w: h.Writer("w", history.WriterOptions{Idempotent: true})}
}

// write acknowledges n records in the order in which they are sent.
func (w *world) write(n int) {
	for range n {
		s := w.w.Send(p0)
		s.Acked(int64(len(w.log)))
		w.log = append(w.log, s.ID)
	}
}

// keyed acknowledges a record of each key.
func (w *world) keyed(keys ...string) {
	for _, key := range keys {
		s := w.w.SendKey(p0, key)
		s.Acked(int64(len(w.log)))
		w.log = append(w.log, s.ID)
	}
}

func item(offset int64, id history.ID) history.Item {
	return history.Item{Offset: offset, Value: history.Value(id, 100)}
}

// items is what lies from first on.
func (w *world) items(first int) (all []history.Item) {
	for i := first; i < len(w.log); i++ {
		all = append(all, item(int64(i), w.log[i]))
	}
	return all
}

// end reads everything back and checks.
func (w *world) end() history.Result {
	f := w.Final(p0, 0)
	f.Add(w.items(0)...)
	f.End(int64(len(w.log)))
	return w.Check()
}

func TestAHistoryThatKeepsEveryPromiseIsFoundGood(t *testing.T) {
	w := newWorld(history.Topic{Object: true})
	w.Committed(7, 1, "a", history.Range{Partition: p0, First: 0, Next: 10})
	w.write(10)
	l := w.Latest(p0)
	l.Got(10)
	w.Read("r", p0, 0, w.items(0)...)
	w.Read("r", p0, 10)
	w.w.Send(p0).Unknown()
	there := w.w.Send(p0)
	there.Unknown()
	w.log = append(w.log, there.ID)
	w.w.Send(p0).Refused()
	w.Committed(9, 1, "b", history.Range{Partition: p0, First: 10, Next: 13})
	w.write(2)
	c := w.GroupCommit("g", p0, 3)
	c.Acked()
	w.GroupFetch("g", p0).Got(3)
	r := w.end()
	if !r.OK() {
		t.Fatalf("found breaches:\n%s", r)
	}
	for row, n := range map[string]int64{"acked": 12, "of unknown outcome": 2, "  of these in the log": 1, "refused": 1, "read": 10, "segments committed": 2, "lost": 0} {
		if r.Count(row) != n {
			t.Errorf("%s: %d, want %d", row, r.Count(row), n)
		}
	}
	if table := r.String(); !strings.Contains(table, "acked") || !strings.Contains(table, "lost") || strings.Contains(table, "must be 0") {
		t.Errorf("the table is\n%s", table)
	}
}

// Each breach is found, as itself and nothing else, and its witness names it.
func TestEachBreachIsFound(t *testing.T) {
	for _, c := range []struct {
		kind    history.Kind
		name    string
		topic   history.Topic
		history func(w *world)
		witness string
	}{
		{history.Lost, "the end is gone", history.Topic{}, func(w *world) {
			w.write(3)
			w.log = w.log[:2]
		}, "w/2 was acknowledged at t-0 offset 2, where nothing is now"},
		{history.Lost, "another is in its place", history.Topic{}, func(w *world) {
			w.write(2)
			other := w.Writer("x", history.WriterOptions{}).Send(p0)
			other.Unknown()
			w.log[1] = other.ID
		}, "w/1 was acknowledged at t-0 offset 1, where x/0 is now"},
		{history.Lost, "the log begins above it though nothing expires", history.Topic{}, func(w *world) {
			w.write(2)
			w.Final(p0, 1).Add(w.items(1)...)
		}, "w/0"},
		{history.Duplicated, "a retry is there twice", history.Topic{}, func(w *world) {
			w.write(2)
			w.log = append(w.log, w.log[1])
		}, "w/1 is at t-0 offsets [1 2]"},
		{history.Reordered, "an unacknowledged one comes late", history.Topic{}, func(w *world) {
			early := w.w.Send(p0)
			early.Unknown()
			w.write(1)
			w.log = append(w.log, early.ID)
		}, "w/0 at t-0 offset 1 comes after w/1"},
		{history.Moved, "another offset than was told", history.Topic{}, func(w *world) {
			s := w.w.Send(p0)
			s.Acked(1)
			w.log = append(w.log, s.ID)
		}, "acknowledged at t-0 offset 1 and is at [0]"},
		{history.Dirty, "what was read is gone", history.Topic{Object: true}, func(w *world) {
			w.write(1)
			s := w.w.Send(p0)
			s.Unknown()
			w.Read("r", p0, 0, append(w.items(0), item(1, s.ID))...)
		}, "r read w/1 at t-0 offset 1, where nothing is now"},
		{history.Dirty, "what was read has changed", history.Topic{Object: true}, func(w *world) {
			s := w.w.Send(p0)
			s.Unknown()
			w.Read("r", p0, 0, item(0, s.ID))
			w.write(1)
		}, "r read w/0 at t-0 offset 0, where w/1 is now"},
		{history.Dirty, "two readers disagree", history.Topic{}, func(w *world) {
			s := w.w.Send(p0)
			s.Unknown()
			w.write(1)
			w.Read("r", p0, 0, w.items(0)...)
			w.Read("s", p0, 0, item(0, s.ID))
		}, "s read w/0"},
		{history.Dirty, "two readers disagree about what expired", history.Topic{Expires: true}, func(w *world) {
			s, u := w.w.Send(p0), w.w.Send(p0)
			w.Read("r", p0, 0, item(0, s.ID))
			w.Read("s", p0, 0, item(0, u.ID))
			w.Final(p0, 1)
		}, "s read w/1 at t-0 offset 0, where r had read w/0"},
		{history.Lost, "DeleteRecords takes more than was asked for", history.Topic{Trimmed: true}, func(w *world) {
			w.write(5)
			w.Trim(p0, 2).Acked(2)
			w.Final(p0, 3).Add(w.items(3)...)
		}, "t-0 starts at 3, and DeleteRecords was never asked for more than all below 2"},
		{history.Undeleted, "what was deleted is back", history.Topic{Trimmed: true}, func(w *world) {
			w.write(5)
			w.Trim(p0, 4).Acked(4)
			w.Trim(p0, 2)
			w.Final(p0, 2).Add(w.items(2)...)
		}, "t-0 starts at 2, and DeleteRecords was answered with 4"},
		{history.Lost, "the last of a key", history.Topic{Holes: true}, func(w *world) {
			w.keyed("a", "b", "a")
			w.Final(p0, 0).Add(w.items(0)[0], w.items(0)[1]) // the older one of a
		}, "w/2 was acknowledged at t-0 offset 2, where nothing is now"},
		{history.Lost, "a key", history.Topic{Holes: true}, func(w *world) {
			w.keyed("a", "b", "a")
			w.Final(p0, 0).Add(w.items(0)[2])
		}, "w/1 was acknowledged at t-0 offset 1, where nothing is now"},
		{history.Skipped, "a reader jumps", history.Topic{}, func(w *world) {
			w.write(5)
			w.Read("r", p0, 0, w.items(0)[0], w.items(0)[3])
		}, "r of t-0 was given 3 after 0, and not offset 1, which is w/1"},
		{history.Skipped, "a reader begins too late", history.Topic{}, func(w *world) {
			w.write(5)
			w.Read("r", p0, 1, w.items(2)...)
		}, "not offset 1"},
		{history.Disorder, "a reader is sent back", history.Topic{}, func(w *world) {
			w.write(5)
			w.Read("r", p0, 3, w.items(2)...)
		}, "was given offset 2 when 3 was the next"},
		{history.Garbled, "a bit flipped", history.Topic{}, func(w *world) {
			w.write(1)
			i := item(0, w.log[0])
			i.Value[60] ^= 1
			w.Read("r", p0, 0, i)
		}, "r read offset 0 of t-0"},
		{history.Phantom, "of another partition", history.Topic{}, func(w *world) {
			s := w.w.Send(history.Partition{Topic: "u"})
			s.Unknown()
			w.log = append(w.log, s.ID)
		}, "never sent there"},
		{history.Phantom, "of nobody", history.Topic{}, func(w *world) {
			w.log = append(w.log, history.ID{Writer: "nobody"})
		}, "nobody/0"},
		{history.Phantom, "read of nobody, and expired", history.Topic{Expires: true}, func(w *world) {
			w.Read("r", p0, 0, item(0, history.ID{Writer: "nobody"}))
			w.Final(p0, 1)
		}, "nobody/0"},
		{history.Phantom, "refused", history.Topic{}, func(w *world) {
			s := w.w.Send(p0)
			s.Refused()
			w.log = append(w.log, s.ID)
		}, "was refused and is at t-0 offset 0"},
		{history.Hole, "an offset is missing", history.Topic{}, func(w *world) {
			s := w.w.Send(p0)
			s.Acked(1)
			w.Final(p0, 0).Add(item(1, s.ID))
		}, "nothing from 0 to 0"},
		{history.Hole, "the log ends above its last record", history.Topic{}, func(w *world) {
			w.write(1)
			f := w.Final(p0, 0)
			f.Add(w.items(0)...)
			f.End(3)
		}, "nothing from 1 to its end 3"},
		{history.Stale, "the end is told too low", history.Topic{}, func(w *world) {
			w.write(3)
			w.Latest(p0).Got(2)
		}, "told as 2, when offset 2 had been acknowledged"},
		{history.Stale, "the end goes back", history.Topic{}, func(w *world) {
			s := w.w.Send(p0)
			w.Latest(p0).Got(1)
			w.Latest(p0).Got(0)
			s.Acked(0)
			w.log = append(w.log, s.ID)
		}, "told as 0"},
		{history.EarlyAck, "before the commit", history.Topic{Object: true}, func(w *world) {
			w.Committed(1, 1, "a", history.Range{Partition: p0, First: 0, Next: 1})
			w.write(2)
		}, "w/1 at t-0 offset 1, where 1 is the committed next"},
		{history.CommitTwice, "two sessions", history.Topic{}, func(w *world) {
			w.Committed(1, 1, "a", history.Range{Partition: p0, First: 0, Next: 2})
			w.Committed(2, 1, "b", history.Range{Partition: p0, First: 1, Next: 2})
		}, "segment b of session 2 commits [1, 2) of t-0, where all below 2"},
		{history.CommitGap, "a segment is left out", history.Topic{}, func(w *world) {
			w.Committed(1, 1, "a", history.Range{Partition: p0, First: 1, Next: 2})
		}, "where 0 is the committed next"},
		{history.CommitOrder, "a number is left out", history.Topic{}, func(w *world) {
			w.Committed(1, 2, "a")
		}, "number 2 of session 1, after number 0"},
		{history.GroupBack, "an acknowledged commit is forgotten", history.Topic{}, func(w *world) {
			w.GroupCommit("g", p0, 5).Acked()
			w.GroupFetch("g", p0).Got(history.None)
		}, "group g in t-0 is at nothing, when 5"},
		{history.GroupBack, "a late write", history.Topic{}, func(w *world) {
			w.GroupCommit("g", p0, 4).Unknown()
			w.GroupCommit("g", p0, 5).Acked()
			w.GroupFetch("g", p0).Got(4)
		}, "is at 4, when 5"},
		{history.GroupBack, "seen, and gone", history.Topic{}, func(w *world) {
			w.GroupCommit("g", p0, 4).Acked()
			w.GroupCommit("g", p0, 5).Unknown()
			w.GroupFetch("g", p0).Got(5)
			w.GroupFetch("g", p0).Got(4)
		}, "is at 4, when 5"},
		{history.GroupBack, "what a member committed is overtaken by what another was still at", history.Topic{}, func(w *world) {
			slow := w.MemberCommit("g", p0, 3, "a", 1)
			w.Given("g", "b", 2, p0)
			w.MemberCommit("g", p0, 7, "b", 2).Acked()
			w.GroupFetch("g", p0).Got(3)
			slow.Unknown()
		}, "is at 3, when a member had been acknowledged 7"},
		{history.Shared, "a partition of two members", history.Topic{}, func(w *world) {
			w.Given("g", "a", 4, p0)
			w.Given("g", "b", 4, p0)
		}, "gives t-0 at epoch 4 to a and to b"},
		{history.Shared, "a commit of who is no member any more", history.Topic{}, func(w *world) {
			w.Given("g", "a", 4, p0)
			w.Given("g", "b", 5, p0)
			w.MemberCommit("g", p0, 3, "a", 4).Acked()
		}, "a of group g commits 3 of t-0 at epoch 4, when b had been given it at epoch 5"},
		{history.GroupPhantom, "an offset that nobody committed", history.Topic{}, func(w *world) {
			w.GroupCommit("g", p0, 5).Acked()
			w.GroupFetch("g", p0).Got(6)
		}, "is at 6, which nobody committed"},
		{history.GroupPhantom, "a refused commit is there", history.Topic{}, func(w *world) {
			w.GroupCommit("g", p0, 5).Acked()
			w.GroupCommit("g", p0, 6).Refused()
			w.GroupFetch("g", p0).Got(6)
		}, "is at 6"},
		{history.Unread, "nobody looked", history.Topic{}, func(w *world) {
			q := history.Partition{Topic: "t", Index: 1}
			w.w.Send(q).Acked(0)
		}, "t-1, which holds w/0"},
		{history.Twice, "a workload that contradicts itself", history.Topic{}, func(w *world) {
			w.write(1)
			s := w.w.Send(p0)
			s.Refused()
			s.Unknown()
		}, "w/1 was refused and then of unknown outcome"},
		{history.Missing, "told by the workload", history.Topic{}, func(w *world) {
			w.Report(history.Missing, "object %s", "x")
		}, "object x"},
	} {
		t.Run(string(c.kind)+": "+c.name, func(t *testing.T) {
			w := newWorld(c.topic)
			c.history(w)
			final := w.Check()
			if !w.ended {
				final = w.end()
			}
			if again := w.Check(); again.String() != final.String() {
				t.Errorf("checked again:\n%s", again)
			}
			for _, row := range final.Rows {
				switch {
				case row.Name == string(c.kind):
					if row.Count != 1 || len(row.Witnesses) != 1 || !strings.Contains(row.Witnesses[0], c.witness) {
						t.Errorf("%d, witnesses %q, want one with %q", row.Count, row.Witnesses, c.witness)
					}
				case row.Breach && row.Count > 0:
					t.Errorf("found %d %s too: %q", row.Count, row.Name, row.Witnesses)
				}
			}
			if final.OK() || !strings.Contains(final.String(), "must be 0") {
				t.Errorf("the table is\n%s", final)
			}
		})
	}
}

// What a topic does not promise is no breach.
func TestWhatWasNotPromisedIsNotHeldAgainstTheLog(t *testing.T) {
	t.Run("expired", func(t *testing.T) {
		w := newWorld(history.Topic{Expires: true})
		w.write(5)
		w.Read("r", p0, 0, w.items(2)...) // the first two had expired
		w.Final(p0, 3).Add(w.items(3)...)
		if r := w.Check(); !r.OK() || r.Count("expired") != 3 {
			t.Errorf("\n%s", r)
		}
	})
	t.Run("expired, and sent twice", func(t *testing.T) {
		h := history.New()
		h.Topic("t", history.Topic{Expires: true})
		s := h.Writer("w", history.WriterOptions{}).Send(p0)
		s.Acked(0)
		h.Final(p0, 1).Add(item(1, s.ID))
		if r := h.Check(); !r.OK() || r.Count("expired") != 1 {
			t.Errorf("\n%s", r)
		}
	})
	t.Run("compacted", func(t *testing.T) {
		w := newWorld(history.Topic{Holes: true})
		w.write(5)
		w.Read("r", p0, 0, w.items(0)...)
		w.Final(p0, 0).Add(w.items(0)[1], w.items(0)[4])
		if r := w.Check(); !r.OK() || r.Count("acked") != 5 {
			t.Errorf("\n%s", r)
		}
	})
	t.Run("compacted by key", func(t *testing.T) {
		w := newWorld(history.Topic{Holes: true})
		w.keyed("a", "b", "a", "b")
		w.w.SendKey(p0, "a").Acked(history.None)
		w.Final(p0, 0).Add(w.items(0)[1], w.items(0)[2], w.items(0)[3])
		if r := w.Check(); !r.OK() || r.Count("superseded by key") != 2 {
			t.Errorf("\n%s", r)
		}
	})
	t.Run("compacted by key, and sent twice", func(t *testing.T) {
		h := history.New()
		h.Topic("t", history.Topic{Holes: true})
		s := h.Writer("w", history.WriterOptions{}).SendKey(p0, "a")
		s.Acked(0)
		h.Final(p0, 0).Add(item(1, s.ID))
		if r := h.Check(); !r.OK() || r.Count("superseded by key") != 1 {
			t.Errorf("\n%s", r)
		}
	})
	t.Run("deleted by request", func(t *testing.T) {
		w := newWorld(history.Topic{Trimmed: true})
		w.write(5)
		w.Trim(p0, 2).Acked(2)
		w.Trim(p0, 4) // and no answer
		w.Final(p0, 4).Add(w.items(4)...)
		if r := w.Check(); !r.OK() || r.Count("expired") != 4 {
			t.Errorf("\n%s", r)
		}
	})
	t.Run("deleted with its topic", func(t *testing.T) {
		w := newWorld(history.Topic{})
		w.write(5)
		w.Read("r", p0, 0, w.items(0)...)
		w.Deleted("t")
		if r := w.Check(); !r.OK() || r.Count("with a topic deleted") != 5 {
			t.Errorf("\n%s", r)
		}
	})
	t.Run("salvaged", func(t *testing.T) {
		w := newWorld(history.Topic{Salvaged: true})
		w.write(3)
		w.Read("r", p0, 0, w.items(0)...)
		w.log = append(w.log[:1:1], w.log[2], w.log[1]) // came back in another order
		if r := w.end(); !r.OK() || r.Count("salvaged") != 2 || r.Count(string(history.Cut)) != 2 {
			t.Errorf("\n%s", r)
		}
		w.log = append(w.log, w.log[1])
		if r := w.end(); r.Count(string(history.Duplicated)) != 1 {
			t.Errorf("salvaged twice:\n%s", r)
		}
		w.log = w.log[:2]
		if r := w.end(); r.Count(string(history.Lost)) != 1 {
			t.Errorf("salvaged never:\n%s", r)
		}
	})
	t.Run("a writer that is not idempotent", func(t *testing.T) {
		w := newWorld(history.Topic{})
		s := w.Writer("x", history.WriterOptions{}).Send(p0)
		s.Acked(1)
		w.log = append(w.log, s.ID, s.ID)
		if r := w.end(); !r.OK() {
			t.Errorf("\n%s", r)
		}
	})
	t.Run("a writer that waits for nothing", func(t *testing.T) {
		w := newWorld(history.Topic{})
		w.Writer("x", history.WriterOptions{Acks: history.AcksNone}).Send(p0).Acked(0)
		if r := w.end(); !r.OK() || r.Count("sent without acks") != 1 {
			t.Errorf("\n%s", r)
		}
	})
	t.Run("acks=1 under object", func(t *testing.T) {
		w := newWorld(history.Topic{Object: true})
		w.Committed(1, 1, "a", history.Range{Partition: p0, First: 0, Next: 1})
		x := w.Writer("x", history.WriterOptions{Acks: history.AcksLeader})
		for i := range 2 {
			s := x.Send(p0)
			s.Acked(int64(i))
			w.log = append(w.log, s.ID)
		}
		w.Latest(p0).Got(1)
		if r := w.end(); !r.OK() {
			t.Errorf("\n%s", r)
		}
	})
	t.Run("acks=1 under object, overtaken and salvaged", func(t *testing.T) {
		w := newWorld(history.Topic{Object: true})
		x := w.Writer("x", history.WriterOptions{Idempotent: true, Acks: history.AcksLeader})
		first, second := x.Send(p0), x.Send(p0)
		first.Acked(0)
		second.Acked(0) // of the next owner
		w.log = append(w.log, second.ID, first.ID)
		if r := w.end(); !r.OK() || r.Count("salvaged") != 1 {
			t.Errorf("\n%s", r)
		}
		w.log = append(w.log, first.ID)
		if r := w.end(); r.Count(string(history.Duplicated)) != 1 {
			t.Errorf("salvaged twice:\n%s", r)
		}
	})
	t.Run("of unknown outcome under object, overtaken and salvaged", func(t *testing.T) {
		w := newWorld(history.Topic{Object: true})
		early := w.w.Send(p0)
		early.Unknown()
		w.write(1)
		w.log = append(w.log, early.ID)
		if r := w.end(); !r.OK() {
			t.Errorf("\n%s", r)
		}
	})
	t.Run("group commits that overlap", func(t *testing.T) {
		w := newWorld(history.Topic{})
		first, second := w.GroupCommit("g", p0, 5), w.GroupCommit("g", p0, 3)
		first.Acked()
		second.Acked()
		w.GroupFetch("g", p0).Got(5)
		w.GroupCommit("g", p0, 1).Acked() // a reset
		w.GroupFetch("g", p0).Got(1)
		pending := w.GroupCommit("g", p0, 7)
		w.GroupFetch("g", p0).Got(1)
		w.GroupFetch("g", p0).Got(7)
		pending.Unknown()
		w.GroupFetch("g", p0).Got(7)
		if r := w.end(); !r.OK() {
			t.Errorf("\n%s", r)
		}
	})
}

func TestMembersTakePartitionsOver(t *testing.T) {
	w := newWorld(history.Topic{})
	w.Given("g", "a", 4, p0)
	w.Given("other", "b", 4, p0)
	pending := w.MemberCommit("g", p0, 3, "a", 4)
	w.Given("g", "b", 5, p0)
	pending.Acked() // it was sent before
	w.MemberCommit("g", p0, 9, "a", 4).Refused()
	w.GroupFetch("g", p0).Got(3)
	w.MemberCommit("g", p0, 8, "b", 5).Acked()
	w.GroupFetch("g", p0).Got(8)
	w.Given("g", "a", 6, p0)
	w.MemberCommit("g", p0, 12, "a", 6).Acked()
	w.GroupFetch("g", p0).Got(12)
	if r := w.end(); !r.OK() {
		t.Errorf("found breaches:\n%s", r)
	}
}

func TestValuesNameTheirRecordAndShowEveryDamage(t *testing.T) {
	for _, size := range []int{0, history.ValueSizeMin, 1000, 70_001} {
		id := history.ID{Writer: "writer-3", Number: 1 << 40}
		value := history.Value(id, size)
		if want := max(size, history.ValueSizeMin); len(value) != want {
			t.Errorf("%d bytes, want %d", len(value), want)
		}
		if got, err := history.Parse(value); got != id || err != nil {
			t.Errorf("read as %v, %v", got, err)
		}
		for at := 0; at < len(value); at += max(1, len(value)/97) {
			value[at] ^= 4
			if got, err := history.Parse(value); err == nil {
				t.Errorf("damage at %d of %d is read as %v", at, size, got)
			}
			value[at] ^= 4
		}
		if _, err := history.Parse(value[:len(value)-1]); err == nil {
			t.Error("a cut value is read")
		}
	}
}
