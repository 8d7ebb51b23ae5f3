// Package tailtest is a Kafka broker small enough for the tests of the query
// node: it serves the logs of one topic, and keeps them in memory.
package tailtest

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/batch"
)

// Broker answers ApiVersions, Metadata, ListOffsets and Fetch.
type Broker struct {
	address *net.TCPAddr
	topic   string

	mu    sync.Mutex
	logs  []partitionLog
	stop  chan struct{} // closed at the end of the test
	more  chan struct{} // closed and replaced when records were appended
	mute  bool          // ListOffsets answers LEADER_NOT_AVAILABLE
	lists int           // ListOffsets that were answered
}

type partitionLog struct {
	start, next int64
	batches     []storedBatch
}

type storedBatch struct {
	first, next int64
	raw         []byte
}

// New starts a broker that ends with the test.
func New(t testing.TB, topic string, partitions int) *Broker {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	b := &Broker{address: listener.Addr().(*net.TCPAddr), topic: topic, logs: make([]partitionLog, partitions), more: make(chan struct{}), stop: make(chan struct{})}
	var conns sync.WaitGroup
	stop := b.stop
	t.Cleanup(func() {
		close(stop)
		require.NoError(t, listener.Close())
		conns.Wait()
	})
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			ended := make(chan struct{})
			conns.Go(func() {
				select {
				case <-stop:
				case <-ended:
				}
				_ = conn.Close()
			})
			conns.Go(func() {
				defer close(ended)
				for b.serve(conn) == nil {
				}
			})
		}
	})
	return b
}

// Address is where the broker listens.
func (b *Broker) Address() string { return b.address.String() }

// Mute makes ListOffsets answer that no leader is there.
func (b *Broker) Mute(mute bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mute = mute
}

// Lists is how many ListOffsets were answered.
func (b *Broker) Lists() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lists
}

// StartAt empties a partition and lets its log begin at an offset.
func (b *Broker) StartAt(partition int, offset int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.logs[partition] = partitionLog{start: offset, next: offset}
}

// Batches returns the batches of a partition that begin in [first, next).
func (b *Broker) Batches(partition int, first, next int64) (raw []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, stored := range b.logs[partition].batches {
		if stored.first >= first && stored.first < next {
			raw = append(raw, stored.raw...)
		}
	}
	return raw
}

// Produce appends one batch of these values; record n of a partition has key kn
// and a header h.
func (b *Broker) Produce(t testing.TB, partition int, flags batch.Attributes, values ...string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	records := make([]Record, len(values))
	for i, v := range values {
		n := b.logs[partition].next + int64(i)
		records[i] = Record{1_700_000_000_000 + n, "k" + strconv.FormatInt(n, 10), v}
	}
	b.produce(t, partition, flags, records)
}

// Record is a record with the header h: null.
type Record struct {
	Timestamp  int64 // ms
	Key, Value string
}

// ProduceRecords appends records as one batch.
func (b *Broker) ProduceRecords(t testing.TB, partition int, records ...Record) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.produce(t, partition, 0, records)
}

// produce appends a batch. The caller holds mu.
func (b *Broker) produce(t testing.TB, partition int, flags batch.Attributes, records []Record) {
	log := &b.logs[partition]
	var builder batch.Builder
	builder.Reset(batch.Options{Flags: flags})
	for _, r := range records {
		builder.Append(r.Timestamp, []byte(r.Key), []byte(r.Value), batch.RecordHeader{Key: []byte("h"), Value: nil})
	}
	raw, err := builder.Build(nil)
	require.NoError(t, err)
	batch.PatchOffset(raw, log.next, 0)
	log.next += int64(len(records))
	log.batches = append(log.batches, storedBatch{log.next - int64(len(records)), log.next, raw})
	close(b.more)
	b.more = make(chan struct{})
}

func (b *Broker) serve(conn net.Conn) error {
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(conn, frame); err != nil {
		return err
	}
	key, version := int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
	reply := bytes.Clone(frame[4:8])
	body := frame[10+max(0, int(int16(binary.BigEndian.Uint16(frame[8:])))):]
	response, version, err := b.answer(key, version, body)
	if err != nil {
		return err
	}
	response.SetVersion(version)
	reply = response.AppendTo(reply)
	_, err = conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(reply))), reply...))
	return err
}

func (b *Broker) answer(key, version int16, body []byte) (kmsg.Response, int16, error) {
	request := kmsg.RequestForKey(key)
	if key != 18 {
		request.SetVersion(version)
		if err := request.ReadFrom(body); err != nil {
			return nil, 0, err
		}
	}
	switch request := request.(type) {
	case *kmsg.ApiVersionsRequest:
		r := kmsg.NewPtrApiVersionsResponse()
		if version > 2 {
			r.ErrorCode, version = 35, 0
		}
		for _, k := range []struct{ key, first, last int16 }{{1, 4, 11}, {2, 1, 5}, {3, 0, 8}, {18, 0, 2}} {
			r.ApiKeys = append(r.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: k.key, MinVersion: k.first, MaxVersion: k.last})
		}
		return r, version, nil
	case *kmsg.MetadataRequest:
		return b.metadata(), version, nil
	case *kmsg.ListOffsetsRequest:
		return b.listOffsets(request), version, nil
	case *kmsg.FetchRequest:
		return b.fetch(request), version, nil
	}
	return nil, 0, io.ErrUnexpectedEOF
}

func (b *Broker) metadata() kmsg.Response {
	topic := kmsg.NewMetadataResponseTopic()
	topic.Topic = &b.topic
	for i := range b.logs {
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Partition, p.Replicas, p.ISR = int32(i), []int32{0}, []int32{0}
		topic.Partitions = append(topic.Partitions, p)
	}
	r := kmsg.NewPtrMetadataResponse()
	r.Brokers = []kmsg.MetadataResponseBroker{{Host: "127.0.0.1", Port: int32(b.address.Port)}}
	r.Topics = []kmsg.MetadataResponseTopic{topic}
	return r
}

func (b *Broker) listOffsets(request *kmsg.ListOffsetsRequest) kmsg.Response {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lists++
	r := kmsg.NewPtrListOffsetsResponse()
	for _, t := range request.Topics {
		topic := kmsg.ListOffsetsResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			answer := kmsg.NewListOffsetsResponseTopicPartition()
			answer.Partition, answer.Offset, answer.LeaderEpoch = p.Partition, b.logs[p.Partition].next, 0
			if p.Timestamp == -2 {
				answer.Offset = b.logs[p.Partition].start
			}
			if b.mute {
				answer.ErrorCode, answer.Offset = 5, -1
			}
			topic.Partitions = append(topic.Partitions, answer)
		}
		r.Topics = append(r.Topics, topic)
	}
	return r
}

// fetch waits for records as long as the request says.
func (b *Broker) fetch(request *kmsg.FetchRequest) kmsg.Response {
	deadline := time.After(time.Duration(request.MaxWaitMillis) * time.Millisecond)
	for {
		r, some, more := b.read(request)
		if some {
			return r
		}
		select {
		case <-more:
		case <-b.stop:
			return r
		case <-deadline:
			return r
		}
	}
}

func (b *Broker) read(request *kmsg.FetchRequest) (r *kmsg.FetchResponse, some bool, more <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r = kmsg.NewPtrFetchResponse()
	for _, t := range request.Topics {
		topic := kmsg.FetchResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			log := b.logs[p.Partition]
			answer := kmsg.NewFetchResponseTopicPartition()
			answer.Partition, answer.HighWatermark, answer.LastStableOffset, answer.LogStartOffset = p.Partition, log.next, log.next, log.start
			if p.FetchOffset < log.start || p.FetchOffset > log.next {
				answer.ErrorCode, some = 1, true
			}
			for _, batch := range log.batches {
				if answer.ErrorCode == 0 && batch.next > p.FetchOffset && len(answer.RecordBatches) < 64<<10 {
					answer.RecordBatches = append(answer.RecordBatches, batch.raw...)
					some = true
				}
			}
			topic.Partitions = append(topic.Partitions, answer)
		}
		r.Topics = append(r.Topics, topic)
	}
	return r, some, b.more
}
