package api

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// FuzzProduceRequest reads Produce requests with our decoder and with kmsg's.
// The invariant: what ours takes, kmsg takes too, and both read the same; what
// kmsg writes, ours takes.
func FuzzProduceRequest(f *testing.F) {
	var layouts []*layout
	for version := int16(0); version <= 13; version++ {
		layouts = append(layouts, layoutOf(produceKey, version))
		req := kmsg.NewPtrProduceRequest()
		req.Version, req.Acks, req.TimeoutMillis = version, -1, 30_000
		if id := "tx"; version%2 == 0 {
			req.TransactionID = &id
		}
		req.Topics = []kmsg.ProduceRequestTopic{
			{Topic: "a", TopicID: [16]byte{1}, Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: 7, Records: []byte("batch")}, {Partition: -1}}},
			{Topic: "", Partitions: []kmsg.ProduceRequestTopicPartition{}},
		}
		f.Add(version, req.AppendTo(nil))
		req.UnknownTags.Set(9, []byte("future"))
		req.Topics[0].UnknownTags.Set(9, nil)
		f.Add(version, req.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		if version < 0 || version > 13 {
			return
		}
		var ours produceWork
		ours.version = version
		err := ours.parse(body)
		if !layouts[version].holds(body) { // kmsg might count to four billion
			if err == nil {
				t.Fatalf("version %d: taken, and it is not whole", version)
			}
			return
		}
		theirs := kmsg.NewPtrProduceRequest()
		theirs.Version = version
		refused := theirs.ReadFrom(body)
		if err != nil {
			if !errors.Is(err, wire.ErrMalformed) {
				t.Fatalf("%v is not said to be malformed", err)
			}
			if refused == nil && bytes.Equal(theirs.AppendTo(nil), body) {
				t.Fatalf("version %d: a request that kmsg writes is refused: %v", version, err)
			}
			return
		}
		if refused != nil {
			t.Fatalf("version %d: taken, and kmsg says %v", version, refused)
		}
		if ours.acks != theirs.Acks || ours.timeout != max(time.Duration(theirs.TimeoutMillis)*time.Millisecond, produceWaitMin) || len(ours.topics) != len(theirs.Topics) {
			t.Fatalf("version %d: acks %d, timeout %s, %d topics; kmsg %+v", version, ours.acks, ours.timeout, len(ours.topics), theirs)
		}
		parts := ours.parts
		for i, topic := range theirs.Topics {
			if got := ours.topics[i]; got.parts != len(topic.Partitions) || version < 13 && got.name != topic.Topic || version >= 13 && got.id != topic.TopicID {
				t.Fatalf("version %d: topic %+v, kmsg %+v", version, got, topic)
			}
			for _, p := range topic.Partitions {
				if parts[0].partition.Index != p.Partition || !bytes.Equal(parts[0].records, p.Records) {
					t.Fatalf("version %d: partition %+v, kmsg %+v", version, parts[0], p)
				}
				parts = parts[1:]
			}
		}
		if len(parts) > 0 {
			t.Fatalf("version %d: %d partitions of no topic", version, len(parts))
		}
	})
}

// FuzzTaggedField writes two tagged fields of any content. The invariant: they
// are skipped as what they are, and what follows is what followed.
func FuzzTaggedField(f *testing.F) {
	for _, size := range []int{0, 1, 127, 128, 16383, 16384} {
		f.Add(uint16(size), make([]byte, size))
	}
	f.Fuzz(func(t *testing.T, number uint16, content []byte) {
		e := encoder{flexible: true}
		e.uvarint(2)
		e.tag(int(number), func() { e.raw(content) })
		e.tag(int(number)+1, func() { e.raw([]byte("x")) })
		e.raw([]byte("rest"))
		rest, err := wire.SkipTags(e.b)
		if err != nil || string(rest) != "rest" {
			t.Fatalf("%q is left, %v", rest, err)
		}
		b := e.b[1:]
		got, n := binary.Uvarint(b)
		size, m := binary.Uvarint(b[n:])
		if got != uint64(number) || size != uint64(len(content)) || !bytes.Equal(b[n+m:n+m+len(content)], content) {
			t.Fatalf("tag %d of %d bytes was written as %d of %d", number, len(content), got, size)
		}
	})
}

// A frame may be 100 MiB and a topic in it three bytes, of which 60 of ours are made.
func TestAProduceRequestMayNotHaveAnyNumberOfEmptyTopics(t *testing.T) {
	for _, n := range []int{producePartsMax, producePartsMax + 1} {
		e := encoder{flexible: true}
		e.uvarint(0) // no transactional id
		e.int16(1)
		e.int32(0)
		e.length(n)
		for range n {
			e.string("")
			e.length(0)
			e.noTags()
		}
		e.noTags()
		w := produceWork{version: 9}
		if err := w.parse(e.b); (err == nil) != (n == producePartsMax) {
			t.Errorf("%d topics: %v", n, err)
		}
	}
}
