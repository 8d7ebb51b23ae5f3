package broker_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/disk"
)

// What Kafka clones get wrong about the log itself, on a whole broker: with its
// WAL, its seals and its restarts.

// rec is a record of a batch that is built here.
type rec struct {
	ms    int64
	value string
}

func built(codec batch.Codec, producer *batch.Producer, records ...rec) []byte {
	var b batch.Builder
	b.Reset(batch.Options{Codec: codec, Producer: producer})
	for _, r := range records {
		b.Append(r.ms, []byte("k"), []byte(r.value))
	}
	raw, err := b.Build(nil)
	if err != nil {
		panic(err)
	}
	return raw
}

// producer is a client whose requests have these acks: it puts its own into
// those that it is given.
func (r *rig) producer(acks int16) *kgo.Client {
	r.t.Helper()
	key := fmt.Sprint(r.address, acks)
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.producers[key]; c != nil {
		return c
	}
	required := map[int16]kgo.Acks{-1: kgo.AllISRAcks(), 1: kgo.LeaderAck()}[acks]
	c, err := kgo.NewClient(kgo.SeedBrokers(r.address), kgo.RequiredAcks(required), kgo.DisableIdempotentWrite())
	if err != nil {
		r.t.Fatal(err)
	}
	r.producers[key] = c
	return c
}

// send sends one batch as it is, and returns the answer.
func (r *rig) send(topic string, partition int32, acks int16, raw []byte) kmsg.ProduceResponseTopicPartition {
	r.t.Helper()
	found, _ := r.store.Catalog().Topic(topic)
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = acks, 15_000
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, TopicID: found.ID, Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: partition, Records: raw}}}}
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	for {
		resp, err := r.producer(acks).SeedBrokers()[0].Request(ctx, req)
		if err != nil {
			r.t.Fatal(err)
		}
		part := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if part.ErrorCode != kerr.NotLeaderForPartition.Code { // as it starts
			return part
		}
	}
}

// sent sends one batch that has to be taken, and returns its offset.
func (r *rig) sent(topic string, partition int32, raw []byte) int64 {
	r.t.Helper()
	part := r.send(topic, partition, 1, raw)
	if part.ErrorCode != 0 {
		r.t.Fatal(kerr.ErrorForCode(part.ErrorCode))
	}
	return part.BaseOffset
}

// position asks a fetch for one partition.
type position struct {
	partition      int32
	offset         int64
	bytesMax       int32
	current, epoch int32 // leader epochs
}

func (r *rig) fetch(topic string, wait time.Duration, bytesMin, bytesMax int32, positions ...position) []kmsg.FetchResponseTopicPartition {
	r.t.Helper()
	found, _ := r.store.Catalog().Topic(topic)
	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.MaxBytes, req.MaxWaitMillis = bytesMin, bytesMax, int32(wait.Milliseconds())
	asked := kmsg.FetchRequestTopic{Topic: topic, TopicID: found.ID}
	for _, p := range positions {
		part := kmsg.NewFetchRequestTopicPartition()
		part.Partition, part.FetchOffset, part.PartitionMaxBytes = p.partition, p.offset, p.bytesMax
		part.CurrentLeaderEpoch, part.LastFetchedEpoch = p.current, p.epoch
		asked.Partitions = append(asked.Partitions, part)
	}
	req.Topics = []kmsg.FetchRequestTopic{asked}
	resp, err := r.client.SeedBrokers()[0].Request(r.t.Context(), req)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.(*kmsg.FetchResponse).Topics[0].Partitions
}

func (r *rig) headers(raw []byte) (headers []batch.Header) {
	r.t.Helper()
	err := batch.Each(raw, func(h batch.Header, raw []byte) error {
		_, err := batch.Verify(raw)
		headers = append(headers, h)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return headers
}

func text(v string) *string { return &v }

func TestTheLastFiveBatchesOfAProducerAreRecognised(t *testing.T) {
	r := newRig(t, disk.NewMemory(), eager)
	r.config.StopTimeout = 300 * time.Millisecond
	r.create("t", 1, map[string]*string{"message.timestamp.type": text("LogAppendTime")})
	numbered := func(epoch int16, sequence int32, n int) []byte {
		return built(batch.None, &batch.Producer{ID: 4711, Epoch: epoch, Sequence: sequence}, make([]rec, n)...)
	}
	var first []kmsg.ProduceResponseTopicPartition
	for i := range int32(7) {
		part := r.send("t", 0, -1, numbered(3, 10*i, 10))
		if part.ErrorCode != 0 || part.BaseOffset != int64(10*i) || part.LogAppendTime < 0 {
			t.Fatalf("batch %d: %+v", i, part)
		}
		first = append(first, part)
	}
	check := func(when string) {
		t.Helper()
		for i := int32(2); i < 7; i++ {
			if again := r.send("t", 0, -1, numbered(3, 10*i, 10)); again.ErrorCode != 0 || again.BaseOffset != first[i].BaseOffset || again.LogAppendTime != first[i].LogAppendTime {
				t.Errorf("%s, a repeat of batch %d: error %d, offset %d, time %d, at first %d %d",
					when, i, again.ErrorCode, again.BaseOffset, again.LogAppendTime, first[i].BaseOffset, first[i].LogAppendTime)
			}
		}
		for name, c := range map[string]struct {
			raw  []byte
			want *kerr.Error
		}{
			"a repeat that is forgotten":  {numbered(3, 10, 10), kerr.DuplicateSequenceNumber},
			"a gap":                       {numbered(3, 80, 1), kerr.OutOfOrderSequenceNumber},
			"an older epoch":              {numbered(2, 70, 1), kerr.InvalidProducerEpoch},
			"a new epoch not from zero":   {numbered(4, 70, 1), kerr.OutOfOrderSequenceNumber},
			"half of a batch once more":   {numbered(3, 65, 5), kerr.DuplicateSequenceNumber},
			"a producer without sequence": {numbered(3, -1, 1), kerr.InvalidRecord},
		} {
			if got := r.send("t", 0, -1, c.raw); got.ErrorCode != c.want.Code {
				t.Errorf("%s, %s: error %d, want %v", when, name, got.ErrorCode, c.want)
			}
		}
	}
	check("at once")
	r.restart()
	check("after a restart")

	// And when it was in the WAL only.
	r.plan("put * fail-before p=1")
	part := r.send("t", 0, 1, numbered(3, 70, 10))
	if part.ErrorCode != 0 || part.BaseOffset != 70 {
		t.Fatalf("%+v", part)
	}
	r.restart()
	if again := r.send("t", 0, 1, numbered(3, 70, 10)); again.ErrorCode != 0 || again.BaseOffset != 70 || again.LogAppendTime != part.LogAppendTime {
		t.Errorf("after a restart without a flush: %+v, want %+v", again, part)
	}
	if got := r.sent("t", 0, numbered(4, 0, 10)); got != 80 {
		t.Errorf("the new epoch begins at %d, want 80: what was repeated must not be there twice", got)
	}
	r.plan("")
}

func TestSequencesGoOnAtZeroBehindTheLargest(t *testing.T) {
	r := newRig(t, disk.NewMemory(), eager)
	r.create("t", 1, nil)
	at := func(sequence int32) []byte {
		return built(batch.None, &batch.Producer{ID: 1, Epoch: 0, Sequence: sequence}, make([]rec, 3)...)
	}
	r.sent("t", 0, at(math.MaxInt32-4)) // KIP-360: one that is not known may begin anywhere
	r.sent("t", 0, at(math.MaxInt32-1)) // wraps within
	if got := r.sent("t", 0, at(1)); got != 6 {
		t.Errorf("offset %d, want 6", got)
	}
	if got := r.sent("t", 0, at(math.MaxInt32-1)); got != 3 {
		t.Errorf("a repeat across the wrap has offset %d, want 3", got)
	}
}

func TestARepeatOfABatchThatIsUnderWayGetsItsOffset(t *testing.T) {
	r := newRig(t, disk.NewMemory(), eager)
	r.create("t", 1, map[string]*string{"durability": text("object")})
	r.plan("put * fail-before p=1")
	raw := built(batch.None, &batch.Producer{ID: 9, Epoch: 0, Sequence: 0}, rec{1, "v"})
	answers := make(chan kmsg.ProduceResponseTopicPartition, 3)
	for range cap(answers) {
		go func() { answers <- r.send("t", 0, -1, raw) }()
	}
	select {
	case a := <-answers:
		t.Fatalf("answered before it was stored: %+v", a)
	case <-time.After(200 * time.Millisecond):
	}
	r.plan("")
	for range cap(answers) {
		if a := <-answers; a.ErrorCode != 0 || a.BaseOffset != 0 {
			t.Errorf("%+v", a)
		}
	}
	if got := r.sent("t", 0, built(batch.None, nil, rec{1, "v"})); got != 1 {
		t.Errorf("the next offset is %d, want 1", got)
	}
}

func TestAnAcknowledgedOffsetAboveTheHighWatermarkIsWaitedFor(t *testing.T) {
	r := newRig(t, disk.NewMemory(), eager)
	r.create("t", 1, map[string]*string{"durability": text("object")})
	r.plan("put * fail-before p=1")
	offset := r.sent("t", 0, built(batch.None, nil, rec{1, "a"}, rec{2, "b"})) + 1 // acks=1: in the WAL
	part := r.fetch("t", 0, 1, 1<<20, position{0, offset, 1 << 20, -1, -1})[0]
	if part.ErrorCode != 0 || len(part.RecordBatches) > 0 || part.HighWatermark != 0 {
		t.Errorf("%+v", part)
	}
	if part := r.fetch("t", 0, 1, 1<<20, position{0, offset + 2, 1 << 20, -1, -1})[0]; part.ErrorCode != kerr.OffsetOutOfRange.Code {
		t.Errorf("an offset that was never given: error %d", part.ErrorCode)
	}
	time.AfterFunc(100*time.Millisecond, func() { r.plan("") })
	part = r.fetch("t", 15*time.Second, 1, 1<<20, position{0, offset, 1 << 20, -1, -1})[0]
	if part.ErrorCode != 0 || len(part.RecordBatches) == 0 || part.HighWatermark != 2 {
		t.Errorf("%+v", part)
	}
}

func TestOnlyTheFirstPartitionWithDataMayExceedTheLimits(t *testing.T) {
	for name, config := range map[string]ingest.Config{"tail": {SegmentAge: time.Hour}, "bucket": {SegmentAge: 20 * time.Millisecond, TailBytesMax: 1}} {
		r := newRig(t, disk.NewMemory(), config)
		r.create("t", 4, nil)
		large := built(batch.None, nil, rec{1, string(make([]byte, 5000))})
		for p := range int32(3) {
			r.sent("t", p+1, large)
			r.sent("t", p+1, large)
		}
		if name == "bucket" {
			made, _ := r.store.Catalog().Topic("t")
			for p := range int32(3) {
				r.committedTo(partitionOf(made, p+1), 2)
			}
		}
		all := func(bytesMax int32) []position {
			return []position{{0, 0, bytesMax, -1, -1}, {1, 1, bytesMax, -1, -1}, {2, 0, bytesMax, -1, -1}, {3, 0, bytesMax, -1, -1}}
		}
		counts := func(requestMax, partitionMax int32) (n []int) {
			for _, part := range r.fetch("t", 0, 1, requestMax, all(partitionMax)...) {
				if part.ErrorCode != 0 {
					t.Errorf("%s: error %d", name, part.ErrorCode)
				}
				n = append(n, len(r.headers(part.RecordBatches)))
			}
			return n
		}
		size := int32(len(large))
		for _, c := range []struct {
			requestMax, partitionMax int32
			want                     string
		}{
			{1, 1, "[0 1 0 0]"}, {1, 1 << 20, "[0 1 0 0]"}, {1 << 20, 1, "[0 1 0 0]"}, {0, 0, "[0 1 0 0]"},
			{1 << 20, size, "[0 1 1 1]"}, {1 << 20, 2 * size, "[0 1 2 2]"}, {2*size + 1, 1 << 20, "[0 1 1 0]"}, {1 << 20, 1 << 20, "[0 1 2 2]"},
		} {
			if got := fmt.Sprint(counts(c.requestMax, c.partitionMax)); got != c.want {
				t.Errorf("%s: max_bytes %d, partition_max_bytes %d: %s batches, want %s", name, c.requestMax, c.partitionMax, got, c.want)
			}
		}
	}
}

func TestAnOffsetInsideABatchGetsTheWholeBatch(t *testing.T) {
	for name, config := range map[string]ingest.Config{"tail": {SegmentAge: time.Hour}, "bucket": {SegmentAge: 20 * time.Millisecond, TailBytesMax: 1}} {
		r := newRig(t, disk.NewMemory(), config)
		r.create("t", 1, nil)
		for range 3 {
			r.sent("t", 0, built(batch.Zstd, nil, make([]rec, 10)...))
		}
		if name == "bucket" {
			made, _ := r.store.Catalog().Topic("t")
			r.committedTo(partitionOf(made, 0), 30)
		}
		headers := r.headers(r.fetch("t", 0, 1, 1<<20, position{0, 17, 1 << 20, -1, -1})[0].RecordBatches)
		if len(headers) != 2 || headers[0].BaseOffset != 10 || headers[0].Records != 10 || headers[1].BaseOffset != 20 {
			t.Errorf("%s: %+v", name, headers)
		}
	}
}

func TestFetchWaitsForMinBytesOverAllPartitionsButNotWithAnError(t *testing.T) {
	r := newRig(t, disk.NewMemory(), eager)
	r.create("t", 3, nil)
	raw := built(batch.None, nil, rec{1, "v"})
	two := []position{{0, 0, 1 << 20, -1, -1}, {1, 0, 1 << 20, -1, -1}}
	r.sent("t", 0, raw)
	begun := time.Now()
	parts := r.fetch("t", 300*time.Millisecond, int32(len(raw))+1, 1<<20, two...)
	if took := time.Since(begun); took < 300*time.Millisecond || len(parts[0].RecordBatches) == 0 {
		t.Errorf("after %v %d bytes: less than min_bytes come when max_wait is over", took, len(parts[0].RecordBatches))
	}
	done := make(chan struct{})
	time.AfterFunc(50*time.Millisecond, func() {
		defer close(done)
		r.sent("t", 1, raw)
	})
	begun = time.Now()
	parts = r.fetch("t", 15*time.Second, int32(2*len(raw)), 1<<20, two...)
	<-done
	if took := time.Since(begun); took > 10*time.Second || len(parts[0].RecordBatches) == 0 || len(parts[1].RecordBatches) == 0 {
		t.Errorf("after %v: %d and %d bytes", took, len(parts[0].RecordBatches), len(parts[1].RecordBatches))
	}
	begun = time.Now()
	parts = r.fetch("t", 15*time.Second, 1<<20, 10, two...)
	if took := time.Since(begun); took > 10*time.Second || len(parts[0].RecordBatches) == 0 {
		t.Errorf("after %v %d bytes: more than max_bytes is not waited for", took, len(parts[0].RecordBatches))
	}
	begun = time.Now()
	parts = r.fetch("t", 15*time.Second, 1<<20, 1<<20, position{2, 0, 1 << 20, -1, -1}, position{0, 55, 1 << 20, -1, -1})
	if took := time.Since(begun); took > 10*time.Second || parts[1].ErrorCode != kerr.OffsetOutOfRange.Code || parts[1].HighWatermark != 1 {
		t.Errorf("an error was answered after %v: %+v", took, parts[1])
	}
}

// Each restart is another ownership with another leader epoch.
func TestLeaderEpochsTellWhereTheyEnded(t *testing.T) {
	r := newRig(t, disk.NewMemory(), eager)
	r.create("t", 1, nil)
	r.produce("t", 0, values(0, 3)...)
	r.restart()
	r.offsetOf("t", -1) // an epoch without records
	r.restart()
	r.produce("t", 0, values(3, 5)...)
	r.restart()
	r.produce("t", 0, values(5, 6)...)
	epochs := make([]int32, 6)
	for next := int64(0); next < 6; {
		for _, h := range r.headers(r.fetch("t", 5*time.Second, 1, 1<<20, position{0, next, 1 << 20, -1, -1})[0].RecordBatches) {
			epochs[h.BaseOffset], next = h.LeaderEpoch, h.Next()
		}
	}
	first, second, third := epochs[0], epochs[3], epochs[5]
	if first >= second || second >= third || epochs[2] != first || epochs[4] != second {
		t.Fatalf("epochs of the records are %v", epochs)
	}
	end := func(current, epoch int32) (int32, int64, int16) {
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		req.ReplicaID = -1
		part := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		part.CurrentLeaderEpoch, part.LeaderEpoch = current, epoch
		req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{part}}}
		resp, err := r.client.SeedBrokers()[0].Request(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		p := resp.(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0]
		return p.LeaderEpoch, p.EndOffset, p.ErrorCode
	}
	for _, c := range []struct {
		current, epoch int32
		found          int32
		end            int64
		code           int16
	}{
		{-1, first, first, 3, 0}, {third, first, first, 3, 0}, {-1, second, second, 5, 0}, {-1, third, third, 6, 0},
		{-1, second - 1, first, 3, 0}, // the one without records
		{-1, third + 1, -1, -1, 0}, {-1, -1, -1, -1, 0},
		{second, first, -1, -1, kerr.FencedLeaderEpoch.Code}, {third + 1, first, -1, -1, kerr.UnknownLeaderEpoch.Code},
	} {
		if found, end, code := end(c.current, c.epoch); found != c.found || end != c.end || code != c.code {
			t.Errorf("epoch %d, with the current one %d: epoch %d ends at %d, error %d; want %d %d %d", c.epoch, c.current, found, end, code, c.found, c.end, c.code)
		}
	}
	for _, c := range []struct {
		at        position
		diverging int32
		end       int64
		code      int16
		records   bool
	}{
		{position{0, 3, 1 << 20, third, first}, -1, -1, 0, true},
		{position{0, 4, 1 << 20, third, first}, first, 3, 0, false}, // it has a record 3 of the first epoch: not ours
		{position{0, 4, 1 << 20, third, second}, -1, -1, 0, true},
		{position{0, 6, 1 << 20, third, second}, second, 5, 0, false},
		{position{0, 5, 1 << 20, third, third + 1}, -1, -1, kerr.OffsetOutOfRange.Code, false},
		{position{0, 5, 1 << 20, second, second}, -1, -1, kerr.FencedLeaderEpoch.Code, false},
	} {
		part := r.fetch("t", 0, 1, 1<<20, c.at)[0]
		if d := part.DivergingEpoch; d.Epoch != c.diverging || d.EndOffset != c.end || part.ErrorCode != c.code || (len(part.RecordBatches) > 0) != c.records {
			t.Errorf("fetch %+v: diverging %d %d, error %d, %d bytes", c.at, d.Epoch, d.EndOffset, part.ErrorCode, len(part.RecordBatches))
		}
	}
	for _, c := range []struct {
		start int64
		want  int32
	}{{0, first}, {2, first}, {4, second}, {6, third}} {
		r.deleteBefore("t", c.start)
		if offset, epoch := r.offsetOf("t", -2); offset != c.start || epoch != c.want {
			t.Errorf("the earliest offset is %d with epoch %d, want %d with %d", offset, epoch, c.start, c.want)
		}
	}
}

// offsetOf asks ListOffsets for a time.
func (r *rig) offsetOf(topic string, ms int64) (offset int64, epoch int32) {
	var part kmsg.ListOffsetsResponseTopicPartition
	r.eventually("the partition is led", func() bool {
		part = r.listOffset(topic, 10, ms)
		return part.ErrorCode != kerr.NotLeaderForPartition.Code
	})
	if part.ErrorCode != 0 {
		r.t.Fatal(kerr.ErrorForCode(part.ErrorCode))
	}
	return part.Offset, part.LeaderEpoch
}

func (r *rig) listOffset(topic string, version int16, ms int64) kmsg.ListOffsetsResponseTopicPartition {
	r.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Timestamp, part.CurrentLeaderEpoch = ms, -1
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{part}}}
	resp, err := r.atVersion(2, version).SeedBrokers()[0].Request(r.t.Context(), req)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
}

func TestASearchByTimeEndsWithTheClientsPatience(t *testing.T) {
	r := newRig(t, disk.NewMemory(), ingest.Config{SegmentAge: 20 * time.Millisecond, TailBytesMax: 1})
	r.create("t", 1, nil)
	r.sent("t", 0, built(batch.None, nil, rec{5, "v"}))
	made, _ := r.store.Catalog().Topic("t")
	r.committedTo(partitionOf(made, 0), 1)
	r.plan("get * delay=20s p=1")
	req := kmsg.NewPtrListOffsetsRequest()
	req.TimeoutMillis = 100
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Timestamp = 3
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{part}}}
	begun := time.Now()
	resp, err := r.atVersion(2, 10).SeedBrokers()[0].Request(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if code := resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].ErrorCode; code != kerr.RequestTimedOut.Code || time.Since(begun) > 10*time.Second {
		t.Errorf("error %d after %v", code, time.Since(begun))
	}
	r.plan("")
	if offset, _ := r.offsetOf("t", 3); offset != 0 {
		t.Errorf("offset %d", offset)
	}
}

func TestSpecialTimesNeedTheirVersions(t *testing.T) {
	r := newRig(t, disk.NewMemory(), eager)
	r.create("t", 1, nil)
	r.produce("t", 0, "v")
	for ms, since := range map[int64]int16{-1: 1, -2: 1, -3: 7, -4: 8, -5: 9, -6: 99} {
		for _, version := range []int16{1, 6, 7, 8, 9, 10} {
			want := int16(0)
			if version < since {
				want = kerr.UnsupportedVersion.Code
			}
			if got := r.listOffset("t", version, ms).ErrorCode; got != want {
				t.Errorf("time %d in version %d: error %d, want %d", ms, version, got, want)
			}
		}
	}
}

// By time, with batches of all codecs, times out of order, some of it committed,
// some in the tail, some deleted: always the first record at or after the time.
func TestOffsetsByTimeAreExactInTailAndBucket(t *testing.T) {
	r := newRig(t, disk.NewMemory(), ingest.Config{SegmentAge: 15 * time.Millisecond, TailBytesMax: 2000})
	r.create("t", 1, nil)
	made, _ := r.store.Catalog().Topic("t")
	random := rand.New(rand.NewPCG(7, 8))
	var times []int64
	start := int64(0)
	base := time.Now().UnixMilli() - 100_000
	for round := range 25 {
		records := make([]rec, 1+random.IntN(6))
		for i := range records {
			records[i] = rec{base + int64(50*round) + random.Int64N(300), fmt.Sprint(round, i)}
			times = append(times, records[i].ms)
		}
		r.sent("t", 0, built(batch.Codec(random.IntN(5)), nil, records...))
		switch random.IntN(5) {
		case 0:
			r.committedTo(partitionOf(made, 0), int64(len(times)))
		case 1:
			start = max(start, random.Int64N(int64(len(times))+1))
			r.deleteBefore("t", start)
		}
		for range 8 {
			ms := base + random.Int64N(int64(50*round)+400)
			want := int64(-1)
			for i := start; i < int64(len(times)) && want < 0; i++ {
				if times[i] >= ms {
					want = i
				}
			}
			if got := r.listOffset("t", 10, ms); got.ErrorCode != 0 || got.Offset != want || want >= 0 && got.Timestamp != times[want] || want < 0 && got.Timestamp != -1 {
				t.Fatalf("round %d, time %d, log start %d: %+v, want offset %d", round, ms-base, start, got, want)
			}
		}
		want, largest := int64(-1), int64(-1)
		for i := start; i < int64(len(times)); i++ {
			if times[i] > largest {
				want, largest = i, times[i]
			}
		}
		if got := r.listOffset("t", 10, -3); got.ErrorCode != 0 || got.Offset != want || got.Timestamp != largest {
			t.Fatalf("round %d, largest time, log start %d: %+v, want %d", round, start, got, want)
		}
	}
}

func TestTimestampsOutsideTheBoundsAreRefused(t *testing.T) {
	r := newRig(t, disk.NewMemory(), eager)
	now := time.Now().UnixMilli()
	r.create("t", 1, map[string]*string{"message.timestamp.before.max.ms": text("10000"), "message.timestamp.after.max.ms": text("10000")})
	for ahead, want := range map[int64]int16{0: 0, -5000: 0, 60_000: kerr.InvalidTimestamp.Code, -60_000: kerr.InvalidTimestamp.Code} {
		part := r.send("t", 0, 1, built(batch.LZ4, nil, rec{now, "a"}, rec{now + ahead, "b"}))
		if part.ErrorCode != want || part.LogAppendTime != -1 {
			t.Errorf("%d ms from now: error %d, want %d, log append time %d", ahead, part.ErrorCode, want, part.LogAppendTime)
		}
	}
	// A live change of the type: times of the client do not matter any more.
	r.alter("t", "message.timestamp.type", "LogAppendTime")
	part := r.send("t", 0, 1, built(batch.LZ4, nil, rec{1, "a"}, rec{2, "b"}))
	if part.ErrorCode != 0 || part.LogAppendTime < now {
		t.Errorf("error %d, log append time %d", part.ErrorCode, part.LogAppendTime)
	}
	headers := r.headers(r.fetch("t", 0, 1, 1<<20, position{0, part.BaseOffset, 1 << 20, -1, -1})[0].RecordBatches)
	if h := headers[0]; !h.Attributes.LogAppendTime() || h.MaxTimestamp != part.LogAppendTime {
		t.Errorf("stored with %v, max timestamp %d, told %d", h.Attributes, h.MaxTimestamp, part.LogAppendTime)
	}
	if got := r.listOffset("t", 10, part.LogAppendTime); got.Offset != part.BaseOffset || got.Timestamp != part.LogAppendTime {
		t.Errorf("by that time: %+v, want offset %d", got, part.BaseOffset)
	}
}

func TestIdleProducersAreForgotten(t *testing.T) {
	r := newRig(t, disk.NewMemory(), ingest.Config{SegmentAge: 20 * time.Millisecond, ProducerExpiry: 300 * time.Millisecond})
	r.create("t", 1, nil)
	r.sent("t", 0, built(batch.None, &batch.Producer{ID: 5, Epoch: 1, Sequence: 0}, rec{1, "v"}))
	producers := func() int {
		req := kmsg.NewPtrDescribeProducersRequest()
		req.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "t", Partitions: []int32{0}}}
		resp, err := r.client.SeedBrokers()[0].Request(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return len(resp.(*kmsg.DescribeProducersResponse).Topics[0].Partitions[0].ActiveProducers)
	}
	if n := producers(); n != 1 {
		t.Errorf("%d producers", n)
	}
	r.eventually("the producer is forgotten", func() bool { return producers() == 0 })
}

func TestATimedOutProduceIsRecognisedWhenItComesAgain(t *testing.T) {
	r := newRig(t, disk.NewMemory(), eager)
	r.create("t", 1, map[string]*string{"durability": text("object")})
	r.plan("put * fail-before p=1")
	raw := built(batch.None, &batch.Producer{ID: 9, Epoch: 0, Sequence: 0}, rec{1, "v"})
	req := kmsg.NewPtrProduceRequest()
	made, _ := r.store.Catalog().Topic("t")
	req.Acks, req.TimeoutMillis = -1, 100
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", TopicID: made.ID, Partitions: []kmsg.ProduceRequestTopicPartition{{Records: raw}}}}
	resp, err := r.producer(-1).SeedBrokers()[0].Request(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if code := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != kerr.RequestTimedOut.Code {
		t.Errorf("error %d, want REQUEST_TIMED_OUT: the client may try again", code)
	}
	r.plan("")
	if part := r.send("t", 0, -1, raw); part.ErrorCode != 0 || part.BaseOffset != 0 {
		t.Errorf("the repeat: %+v", part)
	}
	if got := r.sent("t", 0, built(batch.None, nil, rec{1, "v"})); got != 1 {
		t.Errorf("the next offset is %d, want 1", got)
	}
}

func TestWhatReadersWereToldNeverGoesBack(t *testing.T) {
	r := newRig(t, disk.NewMemory(), ingest.Config{SegmentAge: time.Hour})
	r.config.StopTimeout = 200 * time.Millisecond
	r.create("t", 1, nil)
	var high, start int64
	for round := range int64(6) {
		r.produce("t", 0, values(0, 5)...)
		if round%2 == 0 {
			r.deleteBefore("t", 3*round+1)
		}
		look := func() {
			t.Helper()
			end, _ := r.offsetOf("t", -1)
			part := r.fetch("t", 0, 0, 1<<20, position{0, end, 1 << 20, -1, -1})[0]
			if part.ErrorCode != 0 || part.HighWatermark < high || part.LastStableOffset != part.HighWatermark || part.LogStartOffset < start {
				t.Errorf("high watermark %d, last stable %d, log start %d, error %d; before %d and %d",
					part.HighWatermark, part.LastStableOffset, part.LogStartOffset, part.ErrorCode, high, start)
			}
			high, start = part.HighWatermark, part.LogStartOffset
		}
		look()
		if round%2 == 1 { // without a last flush: from the WAL
			r.plan("put * fail-before p=1")
		}
		r.restart()
		r.plan("")
		look()
	}
	if high != 30 || start != 13 {
		t.Errorf("high watermark %d, log start %d; want 30, 13", high, start)
	}
}

// A topic that was made again under its name is another topic.
func TestARecreatedTopicIsNotTheOldOne(t *testing.T) {
	r := newRig(t, disk.NewMemory(), eager)
	r.create("t", 1, nil)
	r.produce("t", 0, values(0, 4)...)
	old, _ := r.store.Catalog().Topic("t")
	if answers, err := kadm.NewClient(r.client).DeleteTopics(t.Context(), "t"); err != nil || answers["t"].Err != nil {
		t.Fatal(err, answers)
	}
	r.create("t", 1, nil)
	r.eventually("the new one is led", func() bool { return r.listOffset("t", 10, -1).ErrorCode != kerr.NotLeaderForPartition.Code })
	if offset, _ := r.offsetOf("t", -1); offset != 0 {
		t.Errorf("its end is %d", offset)
	}
	made, _ := r.store.Catalog().Topic("t")
	if made.ID == old.ID {
		t.Fatal("the same id")
	}
	fetch := kmsg.NewPtrFetchRequest()
	part := kmsg.NewFetchRequestTopicPartition()
	part.PartitionMaxBytes = 1 << 20
	fetch.Topics = []kmsg.FetchRequestTopic{{TopicID: old.ID, Partitions: []kmsg.FetchRequestTopicPartition{part}}}
	resp, err := r.client.SeedBrokers()[0].Request(t.Context(), fetch)
	if err != nil {
		t.Fatal(err)
	}
	if code := resp.(*kmsg.FetchResponse).Topics[0].Partitions[0].ErrorCode; code != kerr.UnknownTopicID.Code {
		t.Errorf("fetch by the old id: error %d", code)
	}
	produce := kmsg.NewPtrProduceRequest()
	produce.Acks, produce.TimeoutMillis = -1, 5000
	produce.Topics = []kmsg.ProduceRequestTopic{{TopicID: old.ID, Partitions: []kmsg.ProduceRequestTopicPartition{{Records: built(batch.None, nil, rec{1, "v"})}}}}
	resp, err = r.producer(-1).SeedBrokers()[0].Request(t.Context(), produce)
	if err != nil {
		t.Fatal(err)
	}
	if code := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != kerr.UnknownTopicID.Code {
		t.Errorf("produce by the old id: error %d", code)
	}
}

// What no producer may send is refused whole, by its own reason, and closes nothing.
func TestMalformedBatchesAreRefusedByTheirReason(t *testing.T) {
	r := newRig(t, disk.NewMemory(), eager)
	r.create("t", 1, map[string]*string{"max.message.bytes": text("1000")})
	r.create("compacted", 1, map[string]*string{"cleanup.policy": text("compact")})
	good := func() []byte { return built(batch.None, nil, rec{1, "a"}, rec{2, "b"}) }
	sealed := func(at int, value byte) []byte {
		raw := good()
		raw[at] = value
		batch.PatchMaxTimestamp(raw, 2) // and the CRC
		return raw
	}
	flipped := good()
	flipped[len(flipped)-1] ^= 1
	control := built(batch.None, nil, rec{1, "a"})
	control[22] |= 1 << 5
	batch.PatchMaxTimestamp(control, 1)
	transactional := built(batch.None, &batch.Producer{ID: 1}, rec{1, "a"})
	transactional[22] |= 1 << 4
	batch.PatchMaxTimestamp(transactional, 1)
	keyless := func() []byte {
		var b batch.Builder
		b.Reset(batch.Options{})
		b.Append(1, []byte("k"), nil)
		b.Append(1, nil, []byte("v"))
		raw, _ := b.Build(nil)
		return raw
	}()
	for name, c := range map[string]struct {
		topic string
		raw   []byte
		want  *kerr.Error
	}{
		"a flipped bit":                        {"t", flipped, kerr.CorruptMessage},
		"cut off":                              {"t", good()[:70], kerr.CorruptMessage},
		"nothing":                              {"t", nil, kerr.InvalidRecord},
		"two batches":                          {"t", append(good(), good()...), kerr.InvalidRecord},
		"message format 1":                     {"t", sealed(16, 1), kerr.InvalidRecord},
		"more records than there are":          {"t", sealed(60, 3), kerr.CorruptMessage},
		"a last offset that does not fit":      {"t", sealed(26, 5), kerr.InvalidRecord},
		"an unknown codec":                     {"t", sealed(22, 7), kerr.InvalidRecord},
		"a control batch":                      {"t", control, kerr.InvalidRecord},
		"a transaction that nobody began":      {"t", transactional, kerr.InvalidTxnState},
		"over max.message.bytes":               {"t", built(batch.None, nil, rec{1, string(make([]byte, 2000))}), kerr.MessageTooLarge},
		"no key where compaction goes by them": {"compacted", keyless, kerr.InvalidRecord},
	} {
		part := r.send(c.topic, 0, 1, c.raw)
		if part.ErrorCode != c.want.Code || part.BaseOffset != -1 || part.ErrorMessage == nil {
			t.Errorf("%s: error %d, want %v; offset %d", name, part.ErrorCode, c.want, part.BaseOffset)
		}
		if name == "no key where compaction goes by them" && (len(part.ErrorRecords) != 1 || part.ErrorRecords[0].RelativeOffset != 1) {
			t.Errorf("%s: %+v", name, part.ErrorRecords)
		}
	}
	// What compression makes small enough is taken: the limit is on the batch as sent.
	if part := r.send("t", 0, 1, built(batch.Gzip, nil, rec{1, string(make([]byte, 2000))})); part.ErrorCode != 0 {
		t.Errorf("error %d", part.ErrorCode)
	}
	if offset, _ := r.offsetOf("t", -1); offset != 1 {
		t.Errorf("the end is %d, want 1", offset)
	}
}
