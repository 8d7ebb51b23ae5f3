package segment

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/topic"
)

// The footer, u for unsigned and v for zig-zag varints:
//
//	id length u, id · broker v · session v · sequence v · created at v
//	topics u, then their ids, 16 bytes each, rising
//	ranges u, then for each:
//	  topic u (index) · partition u · epoch v
//	  first u · next − first u · records u
//	  minimum timestamp v · maximum timestamp − minimum v
//	  blocks u, then for each:
//	    first − first of the block before u (of the range at the first one)
//	    length u · maximum timestamp − the range's minimum v · CRC (4 bytes)
//	  producers u, then for each:
//	    id v · epoch v · last used v
//	    batches u, for each: first sequence v · last sequence v · first v · timestamp v
//
// Positions are not stored: blocks lie one after the other from byte 16 on, and
// fill the space up to the footer.

func appendFooter(dst []byte, f *Footer) []byte {
	start := len(dst)
	dst = binary.AppendUvarint(dst, uint64(len(f.ID)))
	dst = append(dst, f.ID...)
	dst = binary.AppendVarint(dst, int64(f.Broker))
	dst = binary.AppendVarint(dst, f.Session)
	dst = binary.AppendVarint(dst, f.Sequence)
	dst = binary.AppendVarint(dst, f.CreatedAt)
	topics := topicsOf(f.Ranges)
	dst = binary.AppendUvarint(dst, uint64(len(topics)))
	for _, id := range topics {
		dst = append(dst, id[:]...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(f.Ranges)))
	index := 0
	for i := range f.Ranges {
		r := &f.Ranges[i]
		for topics[index] != r.Partition.Topic {
			index++
		}
		dst = appendRange(dst, r, index)
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(dst)-start))
	dst = append(dst, Version, byte(f.Kind), 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], format.Castagnoli))
	return append(dst, magic...)
}

// topicsOf lists the topics of ranges that are sorted.
func topicsOf(ranges []Range) []topic.ID {
	var topics []topic.ID
	for i := range ranges {
		if id := ranges[i].Partition.Topic; len(topics) == 0 || topics[len(topics)-1] != id {
			topics = append(topics, id)
		}
	}
	return topics
}

func appendRange(dst []byte, r *Range, topicIndex int) []byte {
	dst = binary.AppendUvarint(dst, uint64(topicIndex))
	dst = binary.AppendUvarint(dst, uint64(r.Partition.Index))
	dst = binary.AppendVarint(dst, int64(r.Epoch))
	dst = binary.AppendUvarint(dst, uint64(r.First))
	dst = binary.AppendUvarint(dst, uint64(r.Next-r.First))
	dst = binary.AppendUvarint(dst, uint64(r.Records))
	dst = binary.AppendVarint(dst, r.MinTimestamp)
	dst = binary.AppendVarint(dst, r.MaxTimestamp-r.MinTimestamp)
	dst = binary.AppendUvarint(dst, uint64(len(r.Blocks)))
	first := r.First
	for _, b := range r.Blocks {
		dst = binary.AppendUvarint(dst, uint64(b.First-first))
		dst = binary.AppendUvarint(dst, uint64(b.Length))
		dst = binary.AppendVarint(dst, b.MaxTimestamp-r.MinTimestamp)
		dst = binary.LittleEndian.AppendUint32(dst, b.CRC)
		first = b.First
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Producers)))
	for i := range r.Producers {
		dst = appendProducer(dst, &r.Producers[i])
	}
	return dst
}

func appendProducer(dst []byte, s *producer.State) []byte {
	dst = binary.AppendVarint(dst, s.ID)
	dst = binary.AppendVarint(dst, int64(s.Epoch))
	dst = binary.AppendVarint(dst, s.LastUsed)
	dst = binary.AppendUvarint(dst, uint64(len(s.Batches)))
	for _, b := range s.Batches {
		dst = binary.AppendVarint(dst, int64(b.FirstSequence))
		dst = binary.AppendVarint(dst, int64(b.LastSequence))
		dst = binary.AppendVarint(dst, b.First)
		dst = binary.AppendVarint(dst, b.Timestamp)
	}
	dst = binary.AppendUvarint(dst, uint64(s.Run))
	dst = binary.AppendUvarint(dst, uint64(len(s.Past)))
	for _, r := range s.Past {
		dst = binary.AppendVarint(dst, int64(r.Epoch))
		dst = binary.AppendVarint(dst, int64(r.Last))
		dst = binary.AppendUvarint(dst, uint64(r.N))
	}
	return dst
}

// ReadFooter reads the footer out of tail, the last bytes of an object of size
// bytes. When tail is too short it returns no footer, no error, and need, the
// number of last bytes to come again with; a guess of 64 KiB nearly always does.
func ReadFooter(tail []byte, size int64) (f *Footer, need int64, err error) {
	if size < HeaderSize+TrailerSize {
		return nil, 0, format.Corrupt(0, "%d bytes are too few for a segment or log file", size)
	}
	if int64(len(tail)) > size {
		return nil, 0, fmt.Errorf("reading a footer: %d last bytes of an object of %d", len(tail), size)
	}
	if len(tail) < TrailerSize {
		return nil, min(size, 64<<10), nil
	}
	trailerAt := size - TrailerSize
	trailer := tail[len(tail)-TrailerSize:]
	if !bytes.Equal(trailer[12:], magic) {
		return nil, 0, format.Corrupt(trailerAt+12, "it does not end with %q: cut off, or no segment or log file", magic)
	}
	length := int64(binary.LittleEndian.Uint32(trailer))
	if length > trailerAt-HeaderSize || length > footerBytesMax {
		return nil, 0, format.Corrupt(trailerAt, "a footer of %d bytes in an object of %d", length, size)
	}
	if int64(len(tail)) < length+TrailerSize {
		return nil, length + TrailerSize, nil
	}
	body := tail[int64(len(tail))-TrailerSize-length:]
	if got, want := crc32.Checksum(body[:length+8], format.Castagnoli), binary.LittleEndian.Uint32(trailer[8:]); got != want {
		return nil, 0, format.Corrupt(trailerAt-length, "footer CRC is %08x, its %d bytes give %08x", want, length, got)
	}
	kind, err := checkTag(trailerAt+4, trailer[4:8])
	if err != nil {
		return nil, 0, err
	}
	d := decoder{b: body[:length], base: trailerAt - length, version: trailer[4]}
	f = d.footer()
	f.Kind = kind
	if d.err == nil && d.at != len(d.b) {
		d.fail("%d bytes after the last range", len(d.b)-d.at)
	}
	if d.err == nil && d.position != trailerAt-length {
		d.fail("the blocks end at byte %d", d.position)
	}
	if d.err != nil {
		return nil, 0, d.err
	}
	return f, 0, nil
}

// footerGuessBytes are read from the end of an object in the hope that they hold
// the whole footer.
const footerGuessBytes = 64 << 10

// FetchFooter reads the footer of an object of size bytes through last, which
// returns the object's last n bytes. One call of it nearly always does. Its
// errors are returned as they are.
func FetchFooter(size int64, last func(n int64) ([]byte, error)) (*Footer, error) {
	n := min(size, footerGuessBytes)
	for {
		tail, err := last(n)
		if err != nil {
			return nil, err
		}
		if int64(len(tail)) != n {
			return nil, format.Corrupt(size-n, "cut off: %d bytes of the last %d", len(tail), n)
		}
		f, need, err := ReadFooter(tail, size)
		if err != nil || f != nil {
			return f, err
		}
		n = need // more than there was
	}
}

// Load reads header and footer of an object through r.
func Load(r io.ReaderAt, size int64) (*Footer, error) {
	header := make([]byte, HeaderSize)
	if _, err := r.ReadAt(header, 0); err != nil && err != io.EOF {
		return nil, fmt.Errorf("reading the header: %w", err)
	}
	kind, err := CheckHeader(header)
	if err != nil {
		return nil, err
	}
	f, err := FetchFooter(size, func(n int64) ([]byte, error) {
		tail := make([]byte, n)
		if _, err := r.ReadAt(tail, size-n); err != nil && err != io.EOF {
			return nil, fmt.Errorf("reading the footer: %w", err)
		}
		return tail, nil
	})
	if err != nil {
		return nil, err
	}
	if f.Kind != kind {
		return nil, format.Corrupt(size-TrailerSize, "a %v by its header, a %v by its trailer", kind, f.Kind)
	}
	return f, nil
}

// decoder reads a footer whose CRC was right. It still trusts nothing: the
// first mistake sticks, and reads after it give zeros.
type decoder struct {
	b        []byte
	at       int
	base     int64 // position of b in the object
	position int64 // of the next block
	version  byte
	err      error
}

func (d *decoder) fail(reason string, args ...any) {
	if d.err == nil {
		d.err = format.Corrupt(d.base+int64(d.at), "footer: "+reason, args...)
	}
}

func (d *decoder) footer() *Footer {
	d.position = HeaderSize
	f := &Footer{}
	idLength := d.count(1, "bytes of id")
	if idLength > idBytesMax {
		d.fail("an id of %d bytes", idLength)
	}
	f.ID = string(d.bytes(idLength))
	f.Broker = d.int32("broker")
	f.Session = d.varint()
	f.Sequence = d.varint()
	f.CreatedAt = d.varint()
	topics := make([]topic.ID, d.count(len(topic.ID{}), "topics"))
	for i := range topics {
		copy(topics[i][:], d.bytes(len(topic.ID{})))
	}
	n := d.count(rangeBytesMin, "ranges")
	if n == 0 {
		d.fail("no ranges")
	}
	f.Ranges = make([]Range, n)
	for i := range f.Ranges {
		d.readRange(&f.Ranges[i], topics)
		if i > 0 && d.err == nil && !ordered(&f.Ranges[i-1], &f.Ranges[i]) {
			d.fail("range of %v at offset %d is out of order", f.Ranges[i].Partition, f.Ranges[i].First)
		}
		if d.err != nil {
			return f
		}
	}
	return f
}

// The least bytes that an entry takes: they bound what a count can announce.
const (
	rangeBytesMin    = 17 // with one block
	blockBytesMin    = 7
	producerBytesMin = 4
	batchBytesMin    = 4
	runBytesMin      = 3
)

func ordered(a, b *Range) bool {
	if c := a.Partition.Compare(b.Partition); c != 0 {
		return c < 0
	}
	return a.Next <= b.First
}

func (d *decoder) readRange(r *Range, topics []topic.ID) {
	index := d.uvarint()
	if index >= int64(len(topics)) {
		d.fail("topic %d of %d", index, len(topics))
		return
	}
	r.Partition.Topic = topics[index]
	partition := d.uvarint()
	if partition > math.MaxInt32 {
		d.fail("partition %d", partition)
	}
	r.Partition.Index = int32(partition)
	r.Epoch = d.int32("epoch")
	r.First = d.uvarint()
	span := d.uvarint()
	r.Records = d.uvarint()
	if span == 0 || span > math.MaxInt64-r.First || r.Records > span {
		d.fail("%d records in %d offsets from %d", r.Records, span, r.First)
	}
	r.Next = r.First + span
	r.MinTimestamp = d.varint()
	r.MaxTimestamp = r.MinTimestamp + d.varint()
	r.Position = d.position
	r.Blocks = make([]Block, d.count(blockBytesMin, "blocks"))
	if len(r.Blocks) == 0 {
		d.fail("a range without blocks")
	}
	first := r.First
	for i := range r.Blocks {
		b := &r.Blocks[i]
		step := d.uvarint()
		if i == 0 && step != 0 || i > 0 && step == 0 || step >= r.Next-first {
			d.fail("block %d of the offsets [%d,%d) steps by %d", i, r.First, r.Next, step)
		}
		first += step
		b.First = first
		b.Position = d.position
		b.Length = d.uvarint()
		if b.Length == 0 || b.Length > d.base-d.position {
			d.fail("a block of %d bytes at %d", b.Length, d.position)
			return
		}
		d.position += b.Length
		b.MaxTimestamp = r.MinTimestamp + d.varint()
		if crc := d.bytes(4); crc != nil {
			b.CRC = binary.LittleEndian.Uint32(crc)
		}
	}
	r.Length = d.position - r.Position
	d.producers(r)
}

func (d *decoder) producers(r *Range) {
	n := d.count(producerBytesMin, "producers")
	if n == 0 {
		return
	}
	r.Producers = make([]producer.State, n)
	for i := range r.Producers {
		s := &r.Producers[i]
		s.ID = d.varint()
		s.Epoch = d.epoch()
		s.LastUsed = d.varint()
		batches := d.count(batchBytesMin, "batches of a producer")
		if batches > producer.BatchesMax {
			d.fail("%d batches of a producer", batches)
			return
		}
		if batches > 0 {
			s.Batches = make([]producer.Batch, batches)
		}
		for j := range s.Batches {
			s.Batches[j] = producer.Batch{
				FirstSequence: d.int32("sequence"),
				LastSequence:  d.int32("sequence"),
				First:         d.varint(),
				Timestamp:     d.varint(),
			}
		}
		if d.version == 1 {
			continue
		}
		s.Run = d.run(0)
		past := d.count(runBytesMin, "runs of a producer")
		if past > producer.RunsMax {
			d.fail("%d runs of a producer", past)
			return
		}
		for range past {
			s.Past = append(s.Past, producer.Run{Epoch: d.epoch(), Last: d.int32("sequence"), N: d.run(1)})
		}
		if err := s.ValidateRuns(); err != nil {
			d.fail("producer %d has %v", s.ID, err)
		}
	}
}

// epoch is a producer's.
func (d *decoder) epoch() int16 {
	epoch := d.varint()
	if epoch < math.MinInt16 || epoch > math.MaxInt16 {
		d.fail("producer epoch %d", epoch)
	}
	return int16(epoch)
}

// run is how long a run of a producer is.
func (d *decoder) run(least int64) int32 {
	n := d.uvarint()
	if n < least || n > producer.RunMax {
		d.fail("a run of %d sequences", n)
	}
	return int32(n)
}

// uvarint is not negative.
func (d *decoder) uvarint() int64 {
	v, n := binary.Uvarint(d.b[d.at:])
	if n <= 0 || v > math.MaxInt64 {
		d.fail("no unsigned varint")
	}
	if d.err != nil {
		return 0
	}
	d.at += n
	return int64(v)
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b[d.at:])
	if n <= 0 {
		d.fail("no varint")
	}
	if d.err != nil {
		return 0
	}
	d.at += n
	return v
}

func (d *decoder) int32(what string) int32 {
	v := d.varint()
	if v < math.MinInt32 || v > math.MaxInt32 {
		d.fail("%s %d", what, v)
	}
	return int32(v)
}

func (d *decoder) bytes(n int) []byte {
	if n > len(d.b)-d.at {
		d.fail("%d bytes are left of %d", len(d.b)-d.at, n)
	}
	if d.err != nil {
		return nil
	}
	d.at += n
	return d.b[d.at-n : d.at]
}

// count reads a number of entries that take bytesMin each at least.
func (d *decoder) count(bytesMin int, what string) int {
	n := d.uvarint()
	if n > int64((len(d.b)-d.at)/bytesMin) {
		d.fail("%d %s in %d bytes", n, what, len(d.b)-d.at)
		return 0
	}
	return int(n)
}
