package api_test

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/api"
	"github.com/chronik-stream/chronik/broker/wire"
)

func TestWhatIsAskedForTwiceIsDescribedOnce(t *testing.T) { // else a request of 4 MiB has an answer of many GiB
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	c := s.raw(t)
	c.joinAlone("g", "", 5, "t")
	require.Zero(t, c.ask(commit(8, "g2", commitTopic("t", [16]byte{}, 1, 0))).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
	const times = 100

	configs := kmsg.NewPtrDescribeConfigsRequest()
	groups := kmsg.NewPtrDescribeGroupsRequest()
	consumers := kmsg.NewPtrConsumerGroupDescribeRequest()
	offsets := fetchOffsets(8, "g2", nil)
	producers := kmsg.NewPtrDescribeProducersRequest()
	for range times {
		configs.Resources = append(configs.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: ofTopic, ResourceName: "t"})
		groups.Groups = append(groups.Groups, "g")
		consumers.Groups = append(consumers.Groups, "g")
		offsets.Groups = append(offsets.Groups, offsets.Groups[0])
		producers.Topics = append(producers.Topics, kmsg.DescribeProducersRequestTopic{Topic: "t", Partitions: []int32{0, 0}})
	}
	// What is asked for differently is another question.
	configs.Resources = append(configs.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: ofTopic, ResourceName: "t", ConfigNames: []string{"retention.ms"}})
	other := offsets.Groups[0]
	other.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{0}}}
	offsets.Groups = append(offsets.Groups, other)
	configs.Version, groups.Version = 4, 5

	require.Len(t, c.ask(configs).(*kmsg.DescribeConfigsResponse).Resources, 2)
	require.Len(t, c.ask(groups).(*kmsg.DescribeGroupsResponse).Groups, 1)
	require.Len(t, c.ask(consumers).(*kmsg.ConsumerGroupDescribeResponse).Groups, 1)
	require.Len(t, c.ask(offsets).(*kmsg.OffsetFetchResponse).Groups, 2)
	described := 0
	for _, topic := range c.ask(producers).(*kmsg.DescribeProducersResponse).Topics {
		described += len(topic.Partitions)
	}
	require.Equal(t, 1, described)
}

func TestLargeAnswersThatNobodyTakesDoNotGather(t *testing.T) {
	const room, unread = 8 << 20, 20
	s := serveWire(t, api.Config{}, wire.Config{AnswerBytesMax: room, StallTimeout: 500 * time.Millisecond}, slog.New(slog.DiscardHandler))
	configs := kmsg.NewPtrDescribeConfigsRequest()
	configs.Version, configs.IncludeSynonyms, configs.IncludeDocumentation = 4, true, true
	for i := range 1000 {
		name := fmt.Sprintf("t%d", i)
		s.topic(t, name, 1, nil)
		configs.Resources = append(configs.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: ofTopic, ResourceName: name})
	}
	answer := func() int {
		c := s.raw(t)
		c.send(configs)
		return len(c.frame())
	}
	size := answer()
	for range unread {
		s.raw(t).send(configs)
	}
	// Those who take theirs get them all the same.
	var takers sync.WaitGroup
	for range 3 {
		takers.Go(func() { require.Equal(t, size, answer()) })
	}
	done := make(chan struct{})
	go func() { defer close(done); takers.Wait() }()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for most := 0.0; ; <-look.C {
		most = max(most, s.gauge(t, "chronik_kafka_answer_bytes"))
		require.LessOrEqual(t, most, float64(room+(runtime.GOMAXPROCS(0)/2+2)*size), "of %d answers of %d bytes", unread, size)
		select {
		case <-done:
			require.Positive(t, most)
			return
		default:
		}
	}
}

// gauge is the value of a metric without labels.
func (s *server) gauge(t testing.TB, name string) float64 {
	t.Helper()
	families, err := s.reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
