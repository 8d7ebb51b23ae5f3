package api_test

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/broker/api"
)

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func TestFranzGoReadsBackWhatItProducedWithEveryCodec(t *testing.T) {
	for name, codec := range codecs {
		t.Run(name, func(t *testing.T) {
			s := serve(t, api.Config{})
			s.topic(t, "events", 3, nil)
			ctx := deadline(t)
			producer := s.client(t, kgo.ProducerBatchCompression(codec), kgo.DefaultProduceTopic("events"))
			want := make(map[string]bool)
			for i := range 1000 {
				value := fmt.Sprintf("value %d %s", i, strings.Repeat("x", 50))
				want[value] = true
				producer.Produce(ctx, &kgo.Record{Key: []byte(fmt.Sprint(i % 10)), Value: []byte(value)}, func(_ *kgo.Record, err error) {
					require.NoError(t, err)
				})
			}
			require.NoError(t, producer.Flush(ctx))

			consumer := s.client(t, kgo.ConsumeTopics("events"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			for len(want) > 0 {
				fetches := consumer.PollFetches(ctx)
				require.NoError(t, fetches.Err())
				fetches.EachRecord(func(r *kgo.Record) {
					require.True(t, want[string(r.Value)], "unknown or twice: %s", r.Value)
					delete(want, string(r.Value))
				})
			}
		})
	}
}

func TestFranzGoKeepsNullAndEmptyApart(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	ctx := deadline(t)
	sent := []*kgo.Record{
		{Topic: "t", Key: nil, Value: nil},
		{Topic: "t", Key: []byte{}, Value: []byte{}},
		{Topic: "t", Value: []byte("v"), Headers: []kgo.RecordHeader{{Key: "a", Value: nil}, {Key: "a", Value: []byte{}}, {Key: "a", Value: []byte("1")}}},
	}
	c := s.client(t, kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, c.ProduceSync(ctx, sent...).FirstErr())
	var got []*kgo.Record
	for len(got) < len(sent) {
		got = append(got, c.PollFetches(ctx).Records()...)
	}
	for i, r := range got {
		require.Equal(t, sent[i].Key, r.Key)
		require.Equal(t, sent[i].Value, r.Value)
		require.Equal(t, sent[i].Headers, r.Headers)
	}
}

func TestFranzGoGroupSharesPartitionsAndResumesFromItsCommit(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 4, nil)
	ctx := deadline(t)
	produce := func(n int) {
		c := s.client(t, kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
		for range n {
			require.NoError(t, c.ProduceSync(ctx, &kgo.Record{Value: []byte("v")}).FirstErr())
		}
	}
	member := func() *kgo.Client {
		return s.client(t, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.DisableAutoCommit(), kgo.HeartbeatInterval(50*time.Millisecond), kgo.SessionTimeout(5*time.Second))
	}
	produce(20)
	first := member()
	for read := 0; read < 20; {
		fetches := first.PollFetches(ctx)
		require.NoError(t, fetches.Err())
		read += fetches.NumRecords()
	}
	require.NoError(t, first.CommitUncommittedOffsets(ctx))

	second := member()
	adm := kadm.NewClient(first)
	go second.PollFetches(ctx) // joins, and waits
	require.Eventually(t, func() bool {
		described, err := adm.DescribeGroups(ctx, "g")
		if err != nil || described["g"].State != "Stable" || len(described["g"].Members) != 2 {
			return false
		}
		for _, m := range described["g"].Members {
			assigned, ok := m.Assigned.AsConsumer()
			if !ok || len(assigned.Topics) != 1 || len(assigned.Topics[0].Partitions) != 2 {
				return false
			}
		}
		return true
	}, 20*time.Second, 20*time.Millisecond)

	first.LeaveGroup()
	second.LeaveGroup()
	require.Eventually(t, func() bool {
		listed, err := kadm.NewClient(s.client(t)).ListGroups(ctx)
		return err == nil && listed["g"].State == "Empty"
	}, 10*time.Second, 20*time.Millisecond)

	produce(4)
	third := member()
	fetches := third.PollFetches(ctx)
	require.NoError(t, fetches.Err())
	fetches.EachRecord(func(r *kgo.Record) { require.GreaterOrEqual(t, r.Offset, int64(5), "read again what was committed") })
}

func TestKadmAdministersTopicsAndGroups(t *testing.T) {
	s := serve(t, api.Config{})
	ctx := deadline(t)
	c := s.client(t)
	adm := kadm.NewClient(c)

	created, err := adm.CreateTopic(ctx, 2, 3, map[string]*string{"retention.ms": kadm.StringPtr("1000"), "columnar.enabled": kadm.StringPtr("true")}, "orders")
	require.NoError(t, err)
	require.Equal(t, int32(2), created.NumPartitions)
	require.Equal(t, int16(3), created.ReplicationFactor, "any factor is accepted on one broker")
	_, err = adm.CreateTopic(ctx, 1, 1, nil, "orders")
	require.ErrorIs(t, err, kerr.TopicAlreadyExists)
	_, err = adm.CreateTopic(ctx, 1, 1, map[string]*string{"columnar.enabld": kadm.StringPtr("true")}, "bad")
	require.ErrorIs(t, err, kerr.InvalidConfig)
	_, err = adm.CreateTopic(ctx, -5, 1, nil, "bad")
	require.ErrorIs(t, err, kerr.InvalidPartitions)
	_, err = adm.CreateTopic(ctx, 1, 0, nil, "bad")
	require.ErrorIs(t, err, kerr.InvalidReplicationFactor)
	validated, err := adm.ValidateCreateTopics(ctx, 1, 1, nil, "only-validated")
	require.NoError(t, err)
	require.NoError(t, validated["only-validated"].Err)
	_, ok := s.Topic("only-validated")
	require.False(t, ok, "validate_only created the topic")

	topics, err := adm.ListTopics(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"orders"}, topics.Names())

	configs, err := adm.DescribeTopicConfigs(ctx, "orders")
	require.NoError(t, err)
	values := make(map[string]*kadm.Config)
	for _, c := range configs[0].Configs {
		values[c.Key] = &c
	}
	require.Equal(t, "1000", values["retention.ms"].MaybeValue())
	require.Equal(t, "DYNAMIC_TOPIC_CONFIG", values["retention.ms"].Source.String())
	require.Equal(t, "DEFAULT_CONFIG", values["segment.bytes"].Source.String())

	altered, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{
		{Op: kadm.DeleteConfig, Name: "retention.ms"}, {Op: kadm.AppendConfig, Name: "cleanup.policy", Value: kadm.StringPtr("compact")},
	}, "orders")
	require.NoError(t, err)
	require.NoError(t, altered[0].Err)
	orders, _ := s.Topic("orders")
	require.Equal(t, map[string]string{"columnar.enabled": "true", "cleanup.policy": "compact,delete"}, sortedPolicy(orders.Config))
	altered, err = adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.AppendConfig, Name: "retention.ms", Value: kadm.StringPtr("1")}}, "orders")
	require.NoError(t, err)
	require.ErrorIs(t, altered[0].Err, kerr.InvalidConfig, "only lists can be appended to")

	grown, err := adm.UpdatePartitions(ctx, 4, "orders")
	require.NoError(t, err)
	require.NoError(t, grown["orders"].Err)
	grown, err = adm.UpdatePartitions(ctx, 4, "orders")
	require.NoError(t, err)
	require.ErrorIs(t, grown["orders"].Err, kerr.InvalidPartitions)

	meta, err := adm.BrokerMetadata(ctx)
	require.NoError(t, err)
	require.Equal(t, "memory", meta.Cluster)
	require.Contains(t, meta.Brokers.NodeIDs(), meta.Controller, "the controller must be a listed broker")

	require.NoError(t, adm.CommitAllOffsets(ctx, "g", kadm.OffsetsFromRecords(kgo.Record{Topic: "orders", Partition: 1, Offset: 41})))
	fetched, err := adm.FetchOffsets(ctx, "g")
	require.NoError(t, err)
	at, ok := fetched.Lookup("orders", 1)
	require.True(t, ok)
	require.Equal(t, int64(42), at.At)
	unknown, err := adm.FetchOffsets(ctx, "never-seen")
	require.NoError(t, err, "a group that nobody knows has no offsets and no error")
	require.Empty(t, unknown)
	deleted, err := adm.DeleteGroups(ctx, "g", "never-seen")
	require.NoError(t, err)
	require.NoError(t, deleted["g"].Err)
	require.ErrorIs(t, deleted["never-seen"].Err, kerr.GroupIDNotFound)

	_, err = adm.DeleteTopic(ctx, "orders")
	require.NoError(t, err)
	_, err = adm.DeleteTopic(ctx, "orders")
	require.ErrorIs(t, err, kerr.UnknownTopicOrPartition)
}

// sortedPolicy makes a list's order not matter.
func sortedPolicy(config map[string]string) map[string]string {
	if config["cleanup.policy"] == "delete,compact" {
		config["cleanup.policy"] = "compact,delete"
	}
	return config
}

func TestKadmFindsOffsetsByTime(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	ctx := deadline(t)
	c := s.client(t, kgo.DefaultProduceTopic("t"))
	base := time.UnixMilli(1_700_000_000_000)
	// Out of order, and in one batch: the record is what counts.
	var records []*kgo.Record
	for _, s := range []int{5, 1, 9, 3} {
		records = append(records, &kgo.Record{Value: []byte("v"), Timestamp: base.Add(time.Duration(s) * time.Second)})
	}
	require.NoError(t, c.ProduceSync(ctx, records...).FirstErr())
	adm := kadm.NewClient(c)
	at := func(ms int64) kadm.ListedOffset {
		listed, err := adm.ListOffsetsAfterMilli(ctx, ms, "t")
		require.NoError(t, err)
		o, _ := listed.Lookup("t", 0)
		return o
	}
	require.Equal(t, int64(0), at(base.Add(2*time.Second).UnixMilli()).Offset)
	found := at(base.Add(6 * time.Second).UnixMilli())
	require.Equal(t, int64(2), found.Offset)
	require.Equal(t, base.Add(9*time.Second).UnixMilli(), found.Timestamp)
	latest, err := adm.ListMaxTimestampOffsets(ctx, "t")
	require.NoError(t, err)
	o, _ := latest.Lookup("t", 0)
	require.Equal(t, int64(2), o.Offset)
	start, err := adm.ListStartOffsets(ctx, "t")
	require.NoError(t, err)
	o, _ = start.Lookup("t", 0)
	require.Equal(t, int64(0), o.Offset)
	end, err := adm.ListEndOffsets(ctx, "t")
	require.NoError(t, err)
	o, _ = end.Lookup("t", 0)
	require.Equal(t, int64(4), o.Offset)
}

// kcat runs kcat (librdkafka), or skips.
func kcat(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("kcat")
	if err != nil {
		t.Skip("kcat is not installed: librdkafka is not tested here")
	}
	cmd := exec.CommandContext(deadline(t), path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	require.NoError(t, cmd.Run(), "kcat %v: %s", args, complaints.String())
	for _, line := range strings.Split(complaints.String(), "\n") {
		require.NotContains(t, line, "does not support", "librdkafka finds something missing")
		require.NotContains(t, line, "NOT supported", "librdkafka finds something missing")
	}
	return out.String()
}

func TestKcatProducesAndConsumesWithEveryCodec(t *testing.T) {
	s := serve(t, api.Config{AutoCreateTopics: true})
	var lines strings.Builder
	for i := range 500 {
		fmt.Fprintf(&lines, "key%d:value %d\n", i%7, i)
	}
	for codec := range codecs {
		t.Run(codec, func(t *testing.T) {
			kcat(t, lines.String(), "-b", s.addr, "-P", "-t", codec, "-K", ":", "-z", codec, "-X", "enable.idempotence=true")
			got := kcat(t, "", "-b", s.addr, "-C", "-t", codec, "-e", "-q", "-K", ":", "-o", "beginning")
			require.Equal(t, lines.String(), got)
			if codec == "none" {
				return
			}
			made, _ := s.Topic(codec)
			s.mu.Lock()
			defer s.mu.Unlock()
			for p, l := range s.logs {
				if p.Topic == made.ID {
					require.Equal(t, codec, l.batches[0].header.Attributes.Codec().String(), "librdkafka did not compress")
				}
			}
		})
	}
}

func TestKcatConsumesInAGroup(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 3, nil)
	kcat(t, "a\nb\nc\n", "-b", s.addr, "-P", "-t", "t")
	got := kcat(t, "", "-b", s.addr, "-G", "g", "-e", "-q", "-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=6000", "t")
	lines := strings.Fields(got)
	require.ElementsMatch(t, []string{"a", "b", "c"}, lines)
	again := kcat(t, "", "-b", s.addr, "-G", "g", "-e", "-q", "-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=6000", "t")
	require.Empty(t, again, "the group read again what it had committed")
}

func TestKcatShowsMetadataAndOffsets(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	kcat(t, "a\nb\n", "-b", s.addr, "-P", "-t", "t")
	require.Contains(t, kcat(t, "", "-b", s.addr, "-L"), `topic "t" with 1 partitions`)
	require.Contains(t, kcat(t, "", "-b", s.addr, "-Q", "-t", "t:0:-1"), "t [0] offset 2")
	require.Contains(t, kcat(t, "", "-b", s.addr, "-Q", "-t", "t:0:-2"), "t [0] offset 0")
}
