package salvage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"log/slog"
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/chronik-stream/chronik/broker/wal"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

var (
	one = topic.Partition{Topic: topic.ID{1}, Index: 3}
	two = topic.Partition{Topic: topic.ID{2}}
)

// orphan is a batch of ten records.
func orphan(epoch int32, first int64) *Orphan {
	return &Orphan{Recovered: wal.Recovered{
		Header: batch.Header{BaseOffset: first, LastOffsetDelta: 9, Records: 10}, Frame: wal.Frame{Epoch: epoch, First: first},
	}}
}

func inLog(all map[topic.Partition]metastore.Epoch) func(func(topic.Partition, metastore.Epoch) bool) {
	return maps.All(all)
}

func openSettled(t *testing.T, fs disk.FS, of map[topic.Partition]metastore.Epoch) *Settled {
	t.Helper()
	s, err := OpenSettled(fs, "data/salvaged", inLog(of))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhatIsSettledIsRememberedThroughAPowerLoss(t *testing.T) {
	fs := disk.NewMemory()
	if err := fs.MkdirAll("data"); err != nil {
		t.Fatal(err)
	}
	both := map[topic.Partition]metastore.Epoch{one: 4, two: 9}
	s := openSettled(t, fs, both)
	if s.has(one, orphan(4, 0)) {
		t.Error("something is settled before anything was noted")
	}
	if err := s.note(map[topic.Partition][]*Orphan{one: {orphan(4, 100), orphan(4, 110)}, two: {orphan(9, 7)}}); err != nil {
		t.Fatal(err)
	}
	if err := s.note(map[topic.Partition][]*Orphan{one: {orphan(4, 90)}}); err != nil { // does not go back
		t.Fatal(err)
	}
	fs = fs.Crash(1)
	s = openSettled(t, fs, both)
	for _, c := range []struct {
		p    topic.Partition
		o    *Orphan
		want bool
	}{
		{one, orphan(4, 100), true}, {one, orphan(4, 110), true}, {one, orphan(4, 120), false},
		{one, orphan(5, 100), false}, {two, orphan(9, 7), true}, {two, orphan(9, 17), false},
	} {
		if got := s.has(c.p, c.o); got != c.want {
			t.Errorf("batch at %d of epoch %d of %s: settled is %t, want %t", c.o.Frame.First, c.o.Frame.Epoch, c.p, got, c.want)
		}
	}
	// What the write-ahead log no longer has is forgotten with the next note.
	s = openSettled(t, fs, map[topic.Partition]metastore.Epoch{one: 4})
	if err := s.note(map[topic.Partition][]*Orphan{one: {orphan(4, 120)}}); err != nil {
		t.Fatal(err)
	}
	s = openSettled(t, fs, both)
	if s.has(two, orphan(9, 7)) || !s.has(one, orphan(4, 120)) {
		t.Error("a partition that the log no longer has is not forgotten, or another is")
	}
}

func TestADamagedRecordOfWhatIsSettledSettlesNothing(t *testing.T) {
	fs := disk.NewMemory()
	if err := fs.MkdirAll("data"); err != nil {
		t.Fatal(err)
	}
	of := map[topic.Partition]metastore.Epoch{one: 4}
	if err := openSettled(t, fs, of).note(map[topic.Partition][]*Orphan{one: {orphan(4, 100)}}); err != nil {
		t.Fatal(err)
	}
	f, err := fs.Open("data/salvaged")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xff}, 12); err != nil {
		t.Fatal(err)
	}
	s, err := OpenSettled(fs, "data/salvaged", inLog(of))
	if !errors.Is(err, format.ErrCorrupt) {
		t.Errorf("a flipped byte: %v, want %v", err, format.ErrCorrupt)
	}
	if s.has(one, orphan(4, 100)) {
		t.Error("what was damaged is believed")
	}
	if err := s.note(map[topic.Partition][]*Orphan{one: {orphan(4, 100)}}); err != nil {
		t.Fatal(err)
	}
	if s := openSettled(t, fs, of); !s.has(one, orphan(4, 100)) {
		t.Error("after damage nothing is remembered again")
	}
}

func TestARecordOfALaterVersionIsNotCalledDamaged(t *testing.T) {
	fs := disk.NewMemory()
	if err := fs.MkdirAll("data"); err != nil {
		t.Fatal(err)
	}
	later := binary.AppendUvarint([]byte{settledVersion + 1}, 0)
	if err := new(Settled{fs: fs}).write("data/salvaged", binary.LittleEndian.AppendUint32(later, crc32.Checksum(later, castagnoli))); err != nil {
		t.Fatal(err)
	}
	_, err := OpenSettled(fs, "data/salvaged", inLog(nil))
	if !errors.Is(err, format.ErrVersion) || errors.Is(err, format.ErrCorrupt) {
		t.Errorf("a later version: %v, want %v", err, format.ErrVersion)
	}
}

func TestWhatComesAfterASessionsEndIsNotPendingForEver(t *testing.T) {
	s := New(Options{Slog: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Run(ctx)
	s.Add(two, []Orphan{*orphan(9, 7)})
	if got := testutil.ToFloat64(s.Metrics.pending); got != 0 {
		t.Errorf("after the end %v batches are pending, want 0", got)
	}
}

// FuzzSettled: what is decoded is what was encoded, and nothing else is.
func FuzzSettled(f *testing.F) {
	f.Add(encodeSettled(nil))
	f.Add(encodeSettled(map[overtaken]int64{{one, 4}: 110, {two, 1 << 30}: 1 << 62}))
	f.Fuzz(func(t *testing.T, data []byte) {
		next, err := decodeSettled(data)
		if err != nil {
			return
		}
		again, err := decodeSettled(encodeSettled(next))
		if err != nil || !maps.Equal(next, again) {
			t.Errorf("%v comes back as %v, %v", next, again, err)
		}
	})
}

func TestTheRecordOfWhatIsSettledKeepsItsForm(t *testing.T) {
	got := encodeSettled(map[overtaken]int64{{one, 4}: 300, {two, 9}: 17})
	want := []byte("\x01\x02" + "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x04\xac\x02" + "\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09\x11")
	if len(got) < 4 || !bytes.Equal(got[:len(got)-4], want) {
		t.Errorf("encoded as\n%x, want a checksum behind\n%x", got, want)
	}
}

// A session can end before it serves: the next one finds again what it was handed.
func TestWhatASalvagerThatNeverRanWasHandedIsNotPending(t *testing.T) {
	metrics := NewMetrics(nil)
	s := New(Options{Slog: slog.New(slog.DiscardHandler), Metrics: metrics})
	s.Add(one, []Orphan{*orphan(1, 10), *orphan(1, 20)})
	if n := testutil.ToFloat64(metrics.pending); n != 2 {
		t.Fatalf("%v batches are pending, want 2", n)
	}
	s.Close()
	s.Close()
	s.Add(two, []Orphan{*orphan(1, 10)})
	if n := testutil.ToFloat64(metrics.pending); n != 0 {
		t.Errorf("%v batches are pending, want none", n)
	}
}
