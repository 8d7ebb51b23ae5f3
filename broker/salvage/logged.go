package salvage

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/producer"
)

// logged is what the log has, from where the first of the orphans was cut off to
// its end, that tells which of them are not to be appended again.
type logged struct {
	next   int64             // it was read up to here
	wanted map[identity]bool // the orphans
	names  map[int64]int16   // their names of their own, with the epochs of their producers
	epochs map[int64][]int16 // those of their producers, by their ids and by their kin

	found map[identity]bool   // of the orphans, which batches are there
	again map[record][]copies // records that are there of their producers
	keys  map[sum]*newest     // what there is of the orphans' keys; nil: the topic is not compacted by key
}

// identity is what one batch of an idempotent producer is known by.
type identity struct {
	id       int64
	epoch    int16
	sequence int32
}

func identityOf(h batch.Header) identity {
	return identity{h.ProducerID, h.ProducerEpoch, h.BaseSequence}
}

// epoch is all that a producer has sent under one epoch.
type epoch struct {
	id    int64
	epoch int16
}

func epochOf(h batch.Header) epoch { return epoch{h.ProducerID, h.ProducerEpoch} }

type sum [sha256.Size]byte

// record is what one record of a producer is known by, in whichever batch it is.
type record struct {
	of  int64 // its producer, or the kin of one that a batch's name does not tell
	sum sum   // of its time, key, value and headers
}

// newest is the newest that the log has of a key.
type newest struct {
	timestamp int64               // the latest that a producer gave
	by        map[int64]*position // the last of each producer
}

// position is where a record stands among all that a producer has written.
type position struct {
	epoch    int16
	sequence int32
}

func positionOf(h batch.Header, r *batch.Record) position {
	return position{h.ProducerEpoch, int32((int64(h.BaseSequence) + r.Offset - h.BaseOffset) & math.MaxInt32)}
}

func (p position) before(q position) bool {
	return p.epoch < q.epoch || p.epoch == q.epoch && producer.Before(p.sequence, q.sequence)
}

// sought returns a logged that has read nothing.
func (j *job) sought() *logged {
	l := &logged{
		next: math.MaxInt64, wanted: map[identity]bool{}, names: map[int64]int16{}, epochs: map[int64][]int16{},
		found: map[identity]bool{}, again: map[record][]copies{},
	}
	if j.compacted {
		l.keys = map[sum]*newest{}
	}
	for i := range j.orphans {
		o := &j.orphans[i]
		if !o.Header.Idempotent() {
			continue
		}
		l.wanted[identityOf(o.Header)], l.names[j.name(o).ID] = true, o.Header.ProducerEpoch
		l.next = min(l.next, o.Cut)
		for _, of := range []int64{o.Header.ProducerID, producer.Kin(o.Header.ProducerID)} {
			if !slices.Contains(l.epochs[of], o.Header.ProducerEpoch) {
				l.epochs[of] = append(l.epochs[of], o.Header.ProducerEpoch)
			}
		}
		if j.compacted {
			j.keysOf(o, l)
		}
	}
	return l
}

// scan reads the log from where it was taken over, or read up to, to its end, for
// those of the orphans that their producers have sent again. What was refused before
// the scan cannot be appended during it.
func (j *job) scan(ctx context.Context) (err error) {
	if j.logged == nil {
		j.logged = j.sought()
	}
	l := j.logged
	l.next, err = j.peer.read(ctx, j.partition, l.next, func(h batch.Header, raw []byte) { j.note(l, h, raw) })
	j.seen = max(j.seen, l.next)
	return err
}

// note takes notice of a batch in the log.
func (j *job) note(l *logged, h batch.Header, raw []byte) {
	if id := identityOf(h); l.wanted[id] {
		l.found[id] = true
	}
	if _, own := l.names[h.ProducerID]; own {
		j.last[h.ProducerID] = h.LastSequence() // the owner may have forgotten it
	}
	again := l.mayBeAgain(h)
	if !again && l.keys == nil {
		return
	}
	raw = slices.Clone(raw)
	batch.PatchCreateTime(raw)
	err := j.each(raw, func(r *batch.Record) {
		if again {
			l.another(record{sender(h), sumOf(r)}, l.sentUnder(h))
		}
		if n := l.keys[sha256.Sum256(r.Key)]; n != nil && r.Key != nil {
			n.note(h, r)
		}
	})
	if err != nil {
		j.Slog.Error("batch in the log is damaged: overtaken records may be appended though they are in it", "partition", j.partition, "first", h.BaseOffset, "error", err)
	}
}

// mayBeAgain tells whether a batch in the log may have records of an orphan, sent
// under another epoch of its producer.
func (l *logged) mayBeAgain(h batch.Header) bool {
	return h.Idempotent() && slices.ContainsFunc(l.epochs[sender(h)], func(e int16) bool { return e != l.sentUnder(h) })
}

// sender is whose a batch in the log is, as near as it tells. Others may have the
// same kin, and records that look alike.
func sender(h batch.Header) int64 {
	if producer.IsSalvage(h.ProducerID) {
		return producer.Kin(h.ProducerID)
	}
	return h.ProducerID
}

// sentUnder is the epoch under which a batch's producer sent it; −1: it has a name of
// its own that is none of the orphans', and does not tell.
func (l *logged) sentUnder(h batch.Header) int16 {
	if !producer.IsSalvage(h.ProducerID) {
		return h.ProducerEpoch
	}
	if epoch, own := l.names[h.ProducerID]; own {
		return epoch
	}
	return -1
}

// copies are how often a record is there under one epoch of its producer.
type copies struct {
	epoch int16
	n     int
}

// another adds a copy of a record.
func (l *logged) another(r record, epoch int16) {
	all := l.again[r]
	if i := slices.IndexFunc(all, func(c copies) bool { return c.epoch == epoch }); i >= 0 {
		all[i].n++
		return
	}
	l.again[r] = append(all, copies{epoch, 1})
}

// sentAgain tells whether a record of an orphan is there under another epoch, once
// for each copy.
func (l *logged) sentAgain(h batch.Header, r *batch.Record) bool {
	sum := sumOf(r)
	for _, of := range []int64{h.ProducerID, producer.Kin(h.ProducerID)} {
		all := l.again[record{of, sum}]
		if i := slices.IndexFunc(all, func(c copies) bool { return c.epoch != h.ProducerEpoch && c.n > 0 }); i >= 0 {
			all[i].n--
			return true
		}
	}
	return false
}

// keysOf adds the keys of an orphan.
func (j *job) keysOf(o *Orphan, l *logged) {
	raw, err := j.Read(&o.Recovered)
	if err != nil {
		return
	}
	// What cannot be read of an orphan is told of when its turn comes.
	_ = j.each(raw, func(r *batch.Record) {
		if key := sha256.Sum256(r.Key); r.Key != nil && l.keys[key] == nil {
			l.keys[key] = &newest{timestamp: math.MinInt64, by: map[int64]*position{}}
		}
	})
}

// note takes notice of a record of the key.
func (n *newest) note(h batch.Header, r *batch.Record) {
	n.timestamp = max(n.timestamp, r.Timestamp)
	if h.ProducerID < 0 {
		return
	}
	at := positionOf(h, r)
	if last := n.by[h.ProducerID]; last == nil || last.before(at) {
		n.by[h.ProducerID] = &at
	}
}

// superseded tells whether the log has a later record of an orphan's key: a later
// one of the same producer, or one with a later time. Compaction may have taken
// away what the producer has sent again, and nothing else tells that it has;
// appended once more, an old value would be the latest of its key.
func (l *logged) superseded(h batch.Header, r *batch.Record) bool {
	if r.Key == nil {
		return false
	}
	n := l.keys[sha256.Sum256(r.Key)]
	if n == nil {
		return false
	}
	last := n.by[h.ProducerID]
	return last != nil && positionOf(h, r).before(*last) || n.timestamp > r.Timestamp
}

// recordBytesMax bounds the records of a batch, decompressed. The owner of the
// batch has held it to less.
const recordBytesMax = 1 << 30

// each visits the records of a batch.
func (j *job) each(raw []byte, visit func(*batch.Record)) error {
	h, err := batch.ParseHeader(raw)
	if err != nil {
		return err
	}
	if j.codec == nil {
		j.codec = batch.NewDecoder(recordBytesMax)
	}
	records, err := j.codec.Open(h, raw)
	if err != nil {
		return err
	}
	for records.Next() {
		visit(records.Record())
	}
	return records.Err()
}

func sumOf(r *batch.Record) (s sum) {
	hash := sha256.New()
	field := func(b []byte) {
		var length [8]byte
		n := uint64(len(b)) + 1
		if b == nil {
			n = 0
		}
		binary.BigEndian.PutUint64(length[:], n)
		hash.Write(length[:])
		hash.Write(b)
	}
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], uint64(r.Timestamp))
	field(at[:])
	field(r.Key)
	field(r.Value)
	r.Headers.Each(func(key, value []byte) {
		field(key)
		field(value)
	})
	hash.Sum(s[:0])
	return s
}

// left is what is to be appended again of an orphan.
type left struct {
	raw        []byte // as a batch of the producer that was asked for; nil: nothing
	again      int    // records that its producer has sent under another epoch
	superseded int    // records that later ones of their keys supersede
	expired    int    // records that are older than what is retained
}

// rest is an orphan without those of its records that its producer has sent
// under another epoch, and without those that are superseded or have expired, as a
// batch of p.
// Records that look alike are as often in the log then as they were sent.
func (j *job) rest(raw []byte, p batch.Producer) (left, error) {
	h, err := batch.ParseHeader(raw)
	if err != nil {
		return left{}, err
	}
	var out left
	var b batch.Builder
	b.Reset(batch.Options{Codec: h.Attributes.Codec(), Producer: &p})
	err = j.each(raw, func(r *batch.Record) {
		if j.logged.sentAgain(h, r) {
			out.again++
			return
		}
		switch {
		case r.Timestamp < j.expired:
			out.expired++
			return
		case j.logged.superseded(h, r):
			out.superseded++
			return
		}
		var headers []batch.RecordHeader
		r.Headers.Each(func(key, value []byte) { headers = append(headers, batch.RecordHeader{Key: key, Value: value}) })
		b.Append(r.Timestamp, r.Key, r.Value, headers...)
	})
	switch gone := int32(out.again + out.superseded + out.expired); {
	case err != nil:
		return left{}, fmt.Errorf("read its records: %w", err)
	case gone == h.Records:
		return out, nil
	case gone == 0:
		out.raw = slices.Clone(raw)
		batch.PatchProducer(out.raw, p.ID, p.Epoch, p.Sequence)
		return out, nil
	}
	out.raw, err = b.Build(nil)
	return out, err
}
