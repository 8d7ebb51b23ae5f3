package api_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/api"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// fetchSession is a client's half of a session.
type fetchSession struct {
	t       *testing.T
	c       *raw
	version int16
	name    string
	id      [16]byte
	session int32
	epoch   int32
	wait    time.Duration
	max     int32
}

func (s *server) session(t *testing.T, version int16, topic metastore.Topic) *fetchSession {
	return &fetchSession{t: t, c: s.raw(t), version: version, name: topic.Name, id: topic.ID, max: 1 << 20}
}

// request is the session's next request, about partition → offset.
func (f *fetchSession) request(offsets map[int32]int64, forget ...int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = f.version, int32(f.wait.Milliseconds()), 1, f.max
	req.SessionID, req.SessionEpoch = f.session, f.epoch
	at := kmsg.FetchRequestTopic{Topic: f.name, TopicID: f.id}
	for i := range int32(100) {
		if offset, ok := offsets[i]; ok {
			part := kmsg.NewFetchRequestTopicPartition()
			part.Partition, part.FetchOffset, part.PartitionMaxBytes = i, offset, f.max
			at.Partitions = append(at.Partitions, part)
		}
	}
	if len(at.Partitions) > 0 {
		req.Topics = []kmsg.FetchRequestTopic{at}
	}
	if len(forget) > 0 {
		req.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: f.name, TopicID: f.id, Partitions: forget}}
	}
	return req
}

// next sends it and returns the partitions of the answer.
func (f *fetchSession) next(offsets map[int32]int64, forget ...int32) map[int32]kmsg.FetchResponseTopicPartition {
	f.t.Helper()
	return f.took(f.c.ask(f.request(offsets, forget...)).(*kmsg.FetchResponse))
}

func (f *fetchSession) took(resp *kmsg.FetchResponse) map[int32]kmsg.FetchResponseTopicPartition {
	f.t.Helper()
	require.Zero(f.t, resp.ErrorCode)
	if f.epoch > 0 {
		require.Equal(f.t, f.session, resp.SessionID)
	}
	f.session = resp.SessionID
	f.epoch++
	got := map[int32]kmsg.FetchResponseTopicPartition{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			require.NotContains(f.t, got, p.Partition, "a partition is answered twice")
			got[p.Partition] = p
		}
	}
	return got
}

func TestASessionAnswersOnlyPartitionsWithNews(t *testing.T) {
	for _, version := range []int16{7, 12, 18} {
		s := serve(t, api.Config{})
		f := s.session(t, version, s.topic(t, "t", 4, nil))
		producer := s.raw(t)
		require.Len(t, f.next(map[int32]int64{0: 0, 1: 0, 2: 0}), 3, "the first answer has all")
		require.Positive(t, f.session)
		require.Empty(t, f.next(nil))
		require.Zero(t, produced(t, producer.ask(produce(9, 1, "t", oneBatch("v"), oneBatch("v")))).ErrorCode)
		got := f.next(nil)
		require.Len(t, got, 2)
		require.NotEmpty(t, got[0].RecordBatches)
		require.Equal(t, got, f.next(nil), "what is not taken is offered again")
		require.Empty(t, f.next(map[int32]int64{0: 1, 1: 1}))

		// A move of the log start is news without records.
		require.NoError(t, kerr.ErrorForCode(producer.ask(deleteRecords("t", 1)).(*kmsg.DeleteRecordsResponse).Topics[0].Partitions[0].ErrorCode))
		got = f.next(nil)
		require.Len(t, got, 1)
		require.Equal(t, int64(1), got[0].LogStartOffset)

		// One forgotten, one added.
		require.Len(t, f.next(map[int32]int64{3: 0}, 0), 1)
		require.Zero(t, produced(t, producer.ask(produce(9, 1, "t", oneBatch("v")))).ErrorCode)
		require.Empty(t, f.next(nil))
	}
}

func TestASessionWaitsAndWakes(t *testing.T) {
	s := serve(t, api.Config{})
	f := s.session(t, 12, s.topic(t, "t", 2, nil))
	f.next(map[int32]int64{0: 0, 1: 0})
	f.wait = 10 * time.Second
	req := f.request(nil)
	correlation := f.c.send(req)
	require.Zero(t, produced(t, s.raw(t).ask(produce(9, 1, "t", oneBatch("v")))).ErrorCode)
	begun := time.Now()
	require.Len(t, f.took(f.c.receive(req, correlation).(*kmsg.FetchResponse)), 1)
	require.Less(t, time.Since(begun), 5*time.Second)
}

func TestASessionIsRefusedForTheRightReason(t *testing.T) {
	s := serve(t, api.Config{})
	made := s.topic(t, "t", 1, nil)
	f := s.session(t, 12, made)
	f.next(map[int32]int64{0: 0})
	refusal := func(change func(*kmsg.FetchRequest)) int16 {
		req := f.request(nil)
		change(req)
		resp := f.c.ask(req).(*kmsg.FetchResponse)
		require.Zero(t, resp.SessionID)
		require.Empty(t, resp.Topics)
		return resp.ErrorCode
	}
	require.Equal(t, kerr.InvalidFetchSessionEpoch.Code, refusal(func(r *kmsg.FetchRequest) { r.SessionEpoch = 2 }))
	require.Equal(t, kerr.InvalidFetchSessionEpoch.Code, refusal(func(r *kmsg.FetchRequest) { r.SessionEpoch = 77 }))
	require.Equal(t, kerr.FetchSessionIDNotFound.Code, refusal(func(r *kmsg.FetchRequest) { r.SessionID++ }))
	require.Equal(t, kerr.FetchSessionTopicIDError.Code, refusal(func(r *kmsg.FetchRequest) { r.Version = 13 }))
	require.Empty(t, f.next(nil), "none of that harmed it")

	// A final request ends it, and a new one in its place does too.
	last := f.request(map[int32]int64{0: 0})
	last.SessionEpoch = -1
	require.Zero(t, f.c.ask(last).(*kmsg.FetchResponse).SessionID)
	require.Equal(t, kerr.FetchSessionIDNotFound.Code, refusal(func(*kmsg.FetchRequest) {}))
	f.session, f.epoch = 0, 0
	f.next(map[int32]int64{0: 0})
	old := f.session
	f.epoch = 0
	f.next(map[int32]int64{0: 0})
	require.NotEqual(t, old, f.session)
	require.Equal(t, kerr.FetchSessionIDNotFound.Code, refusal(func(r *kmsg.FetchRequest) { r.SessionID = old }))
}

func TestASessionRepeatsAnErrorUntilItIsGone(t *testing.T) {
	s := serve(t, api.Config{})
	made := s.topic(t, "t", 2, nil)
	f := s.session(t, 12, made)
	f.next(map[int32]int64{0: 0, 1: 0})
	lose := func(lost bool) {
		s.mu.Lock()
		s.lost[topic.Partition{Topic: made.ID, Index: 1}] = lost
		s.mu.Unlock()
	}
	lose(true)
	for range 3 {
		got := f.next(nil)
		require.Len(t, got, 1)
		require.Equal(t, kerr.NotLeaderForPartition.Code, got[1].ErrorCode)
	}
	lose(false)
	got := f.next(nil)
	require.Len(t, got, 1, "that the error is gone is news")
	require.Zero(t, got[1].ErrorCode)
	require.Empty(t, f.next(nil))
}

func TestASessionServesItsPartitionsInTurn(t *testing.T) {
	s := serve(t, api.Config{})
	f := s.session(t, 12, s.topic(t, "t", 5, nil))
	batches := make([][]byte, 5)
	offsets := map[int32]int64{}
	for i := range batches {
		batches[i] = oneBatch(fmt.Sprintf("%0200d", i))
		offsets[int32(i)] = 0
	}
	producer := s.raw(t)
	for range 3 {
		producer.ask(produce(9, 1, "t", batches...))
	}
	f.max = int32(len(batches[0])) // one batch fits
	var order []int32
	for got := f.next(offsets); len(order) < 10; got = f.next(nil) {
		for i, p := range got {
			if len(p.RecordBatches) > 0 {
				order = append(order, i)
			}
		}
	}
	require.Equal(t, []int32{0, 1, 2, 3, 4, 0, 1, 2, 3, 4}, order)
}

func TestASessionByTopicIDNoticesARecreatedTopic(t *testing.T) {
	s := serve(t, api.Config{})
	made := s.topic(t, "t", 1, nil)
	f := s.session(t, 13, made)
	f.next(map[int32]int64{0: 0})
	require.NoError(t, s.DeleteTopic(t.Context(), made.ID))
	again := s.topic(t, "t", 1, nil)
	require.Equal(t, kerr.UnknownTopicID.Code, f.next(nil)[0].ErrorCode)
	old := f.id
	f.id = again.ID
	req := f.request(map[int32]int64{0: 0})
	req.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{TopicID: old, Partitions: []int32{0}}}
	got := f.took(f.c.ask(req).(*kmsg.FetchResponse))
	require.Len(t, got, 1)
	require.Zero(t, got[0].ErrorCode)
}

func TestPipelinedRequestsOfASessionAreAnsweredInOrder(t *testing.T) {
	s := serve(t, api.Config{})
	f := s.session(t, 12, s.topic(t, "t", 2, nil))
	f.next(map[int32]int64{0: 0, 1: 0})
	first := f.request(nil)
	second := f.request(nil)
	second.SessionEpoch++
	a, b := f.c.send(first), f.c.send(second)
	require.Empty(t, f.took(f.c.receive(first, a).(*kmsg.FetchResponse)))
	require.Empty(t, f.took(f.c.receive(second, b).(*kmsg.FetchResponse)))
}

func TestOnlyOneConnectionGoesOnWithASession(t *testing.T) {
	s := serve(t, api.Config{})
	f := s.session(t, 12, s.topic(t, "t", 1, nil))
	f.next(map[int32]int64{0: 0})
	f.wait = 20 * time.Second
	waiting := f.request(nil)
	correlation := f.c.send(waiting)
	other := s.raw(t)
	request := f.request(nil)
	request.MaxWaitMillis, request.SessionEpoch = 0, waiting.SessionEpoch+1
	require.Eventually(t, func() bool { // once the first one has been read
		return other.ask(request).(*kmsg.FetchResponse).ErrorCode == 0
	}, 10*time.Second, time.Millisecond)
	require.Zero(t, produced(t, s.raw(t).ask(produce(9, 1, "t", oneBatch("v")))).ErrorCode)
	resp := f.c.receive(waiting, correlation).(*kmsg.FetchResponse)
	require.Equal(t, kerr.InvalidFetchSessionEpoch.Code, resp.ErrorCode, "records went to the other connection's epoch")
	require.Empty(t, resp.Topics)
}

func TestWithoutRoomForASessionFetchGoesOnWithout(t *testing.T) {
	s := serve(t, api.Config{FetchSessionsMax: 1})
	made := s.topic(t, "t", 1, nil)
	first, second := s.session(t, 12, made), s.session(t, 12, made)
	first.next(map[int32]int64{0: 0})
	require.Positive(t, first.session)
	for range 3 {
		second.epoch = 0
		require.Len(t, second.next(map[int32]int64{0: 0}), 1)
		require.Zero(t, second.session)
	}
	require.Empty(t, first.next(nil))
}

// Whatever happens, a client that keeps to the protocol knows of each of its
// partitions, after each answer, what a sessionless fetch would have told it.
func TestASessionTellsAllThatThereIsToKnow(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 11))
		s := serve(t, api.Config{})
		made := s.topic(t, "t", 8, nil)
		version := []int16{7, 12, 18}[seed%3]
		f, producer, plain := s.session(t, version, made), s.raw(t), s.session(t, version, made)
		plain.epoch = -1
		known := map[int32]kmsg.FetchResponseTopicPartition{} // what the client was told last
		offsets := map[int32]int64{0: 0, 1: 0, 2: 0}          // its position in each of its partitions
		asked := maps.Clone(offsets)                          // what its next request names
		for step := range 60 {
			index := int32(random.IntN(8))
			part := topic.Partition{Topic: made.ID, Index: index}
			var forget []int32
			switch random.IntN(6) {
			case 0, 1:
				batches := make([][]byte, 8)
				for i := range batches {
					batches[i] = oneBatch("v", "w")
				}
				producer.ask(produce(9, 1, "t", batches[:1+random.IntN(8)]...))
			case 2:
				s.mu.Lock()
				s.lost[part] = !s.lost[part]
				s.mu.Unlock()
			case 3:
				low, err := s.DeleteRecords(t.Context(), part, -1)
				if _, ours := offsets[index]; ours && err == nil {
					offsets[index], asked[index] = low, low
				}
			case 4:
				if _, ours := offsets[index]; ours && len(offsets) > 1 {
					forget = []int32{index}
					delete(offsets, index)
					delete(asked, index)
					delete(known, index)
				}
			case 5:
				offsets[index], asked[index] = 0, 0
			}
			f.max = int32(100 + random.IntN(400))
			for i, p := range f.next(asked, forget...) {
				require.Contains(t, offsets, i, "seed %d step %d: a partition that is not in the session", seed, step)
				known[i] = p
			}
			asked = map[int32]int64{}
			clear(asked)
			plain.max, plain.epoch, plain.session = 1<<20, -1, 0
			truth := map[int32]kmsg.FetchResponseTopicPartition{}
			for _, p := range plain.c.ask(plain.request(offsets)).(*kmsg.FetchResponse).Topics[0].Partitions {
				truth[p.Partition] = p
			}
			for i, want := range truth {
				got, told := known[i]
				require.True(t, told, "seed %d step %d: partition %d was never told", seed, step, i)
				require.Equal(t, []any{want.ErrorCode, want.HighWatermark, want.LogStartOffset}, []any{got.ErrorCode, got.HighWatermark, got.LogStartOffset},
					"seed %d step %d partition %d", seed, step, i)
			}
			for i, p := range known { // the client takes what it got, now or later
				if len(p.RecordBatches) > 0 && random.IntN(2) == 0 {
					offsets[i] = p.HighWatermark
					asked[i] = p.HighWatermark
					p.RecordBatches = nil
					known[i] = p
				}
			}
		}
	}
}
