// The driver of franz-go: kgo for records and groups, kadm for administration.
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/tests/compat/goclients/driver"
)

func main() {
	driver.Main("franz-go", "github.com/twmb/franz-go", []driver.Capability{
		{Name: "acks-0", Run: acks(kgo.NoAck())},
		{Name: "acks-1", Run: acks(kgo.LeaderAck())},
		{Name: "acks-all", Run: acks(kgo.AllISRAcks())},
		{Name: "gzip", Run: codec("gzip", kgo.GzipCompression(), 1)},
		{Name: "snappy", Run: codec("snappy", kgo.SnappyCompression(), 2)},
		{Name: "lz4", Run: codec("lz4", kgo.Lz4Compression(), 3)},
		{Name: "zstd", Run: codec("zstd", kgo.ZstdCompression(), 4)},
		{Name: "idempotence", Run: idempotence},
		{Name: "records", Run: verbatim},
		{Name: "timestamps", Run: timestamps},
		{Name: "too-large", Run: tooLarge},
		{Name: "auto-create", Run: autoCreate},
		{Name: "transactional-refused", Run: transactional},
		{Name: "interchange-write", Run: interchangeWrite},
		{Name: "interchange-read", Run: interchangeRead},
		{Name: "from-start", Run: fromStart},
		{Name: "from-time", Run: fromTime},
		{Name: "offsets-by-time", Run: offsetsByTime},
		{Name: "group-resume", Run: groupResume},
		{Name: "no-offset", Run: noOffset},
		{Name: "group-rebalance", Run: groupRebalance(false)},
		{Name: "group-rejoin", Run: groupRejoin},
		{Name: "static-member", Run: staticMember},
		{Name: "cooperative", Run: cooperative},
		{Name: "consumer-protocol", Run: driver.All(groupRebalance(true), regex(true))},
		{Name: "regex-subscription", Run: regex(false)},
		{Name: "list-groups", Run: listGroups},
		{Name: "describe-groups", Run: describeGroups},
		{Name: "delete-groups", Run: deleteGroups},
		{Name: "reset-offsets", Run: resetOffsets},
		{Name: "delete-offsets", Run: deleteOffsets},
		{Name: "remove-members", Run: removeMembers},
		{Name: "create-topic", Run: driver.All(createTopic, topicsRefused)},
		{Name: "describe-topic", Run: describeTopic},
		{Name: "delete-topic", Run: deleteTopic},
		{Name: "add-partitions", Run: addPartitions},
		{Name: "describe-configs", Run: describeConfigs},
		{Name: "alter-configs", Run: alterConfigs},
		{Name: "replace-configs", Run: alterConfigsLegacy},
		{Name: "unknown-config", Run: unknownConfig},
		{Name: "broker-configs", Run: brokerConfigs},
		{Name: "delete-records", Run: deleteRecords},
		{Name: "describe-cluster", Run: describeCluster},
		{Name: "log-dirs", Run: logDirs},
		{Name: "producers", Run: producers},
		{Name: "quotas", Run: quotas},
		{Name: "elect-leaders", Run: electLeaders},
		{Name: "reassign", Run: reassign},
		{Name: "features", Run: features},
		{Name: "acls-disabled", Run: acls},
	})
}

// t is one capability's client and topics.
type t struct {
	context.Context
	driver.Env
	cl  *kgo.Client
	adm *kadm.Client
}

func open(ctx context.Context, e driver.Env, options ...kgo.Opt) (*t, error) {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(e.Bootstrap), kgo.ClientID("compat-franz-go")}, options...)...)
	if err != nil {
		return nil, err
	}
	adm := kadm.NewClient(cl)
	adm.SetTimeoutMillis(10_000)
	return &t{ctx, e, cl, adm}, nil
}

func (x *t) topic(partitions int32, configs ...string) (string, error) {
	set := map[string]*string{}
	for i := 0; i < len(configs); i += 2 {
		set[configs[i]] = &configs[i+1]
	}
	topic := x.Unique()
	answer, err := x.adm.CreateTopic(x, partitions, -1, set, topic)
	if err != nil {
		return "", fmt.Errorf("create topic: %w", err)
	}
	return topic, answer.Err
}

func toKgo(topic string, r driver.Record) *kgo.Record {
	k := &kgo.Record{Topic: topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Timestamp: r.Time}
	for _, h := range r.Headers {
		k.Headers = append(k.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return k
}

func fromKgo(k *kgo.Record) driver.Record {
	r := driver.Record{Partition: k.Partition, Offset: k.Offset, Key: k.Key, Value: k.Value, Time: k.Timestamp}
	for _, h := range k.Headers {
		r.Headers = append(r.Headers, driver.Header{Key: h.Key, Value: h.Value})
	}
	return r
}

func produce(ctx context.Context, cl *kgo.Client, topic string, records []driver.Record) error {
	var sent []*kgo.Record
	for _, r := range records {
		sent = append(sent, toKgo(topic, r))
	}
	return cl.ProduceSync(ctx, sent...).FirstErr()
}

// poll reads until there are n records, and a moment longer to see one too many.
func poll(ctx context.Context, cl *kgo.Client, n int) ([]*kgo.Record, error) {
	var got []*kgo.Record
	for len(got) < n {
		fetches := cl.PollFetches(ctx)
		for _, err := range fetches.Errors() {
			return got, fmt.Errorf("after %d of %d records: %s/%d: %w", len(got), n, err.Topic, err.Partition, err.Err)
		}
		got = append(got, fetches.Records()...)
	}
	soon, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	got = append(got, cl.PollFetches(soon).Records()...)
	return got, nil
}

// read reads n records of a topic from its start with a client of its own.
func (x *t) read(topic string, n int, options ...kgo.Opt) ([]*kgo.Record, error) {
	options = append([]kgo.Opt{kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}, options...)
	c, err := open(x, x.Env, options...)
	if err != nil {
		return nil, err
	}
	defer c.cl.Close()
	return poll(x, c.cl, n)
}

func records(read []*kgo.Record) []driver.Record {
	var out []driver.Record
	for _, k := range read {
		out = append(out, fromKgo(k))
	}
	return out
}

// roundTrip makes a topic of one partition, sends records into it, reads them
// and compares.
func roundTrip(ctx context.Context, e driver.Env, sent []driver.Record, options ...kgo.Opt) ([]*kgo.Record, error) {
	x, err := open(ctx, e, options...)
	if err != nil {
		return nil, err
	}
	defer x.cl.Close()
	topic, err := x.topic(1)
	if err != nil {
		return nil, err
	}
	if err := produce(ctx, x.cl, topic, sent); err != nil {
		return nil, fmt.Errorf("produce: %w", err)
	}
	read, err := x.read(topic, len(sent))
	if err != nil {
		return nil, err
	}
	return read, driver.Same(sent, records(read))
}

type run = func(context.Context, driver.Env) (string, error)
