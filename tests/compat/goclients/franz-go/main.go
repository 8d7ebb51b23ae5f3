// The driver of franz-go: kgo for records and groups, kadm for administration.
package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

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

func acks(acks kgo.Acks) run {
	return func(ctx context.Context, e driver.Env) (string, error) {
		read, err := roundTrip(ctx, e, driver.Numbered(100), kgo.RequiredAcks(acks), kgo.DisableIdempotentWrite())
		return fmt.Sprintf("%d records", len(read)), err
	}
}

func codec(name string, codec kgo.CompressionCodec, attribute uint8) run {
	return func(ctx context.Context, e driver.Env) (string, error) {
		read, err := roundTrip(ctx, e, driver.Numbered(1000), kgo.ProducerBatchCompression(codec))
		if err != nil {
			return "", err
		}
		for _, r := range read {
			if r.Attrs.CompressionType() != attribute {
				return "", fmt.Errorf("offset %d came back with codec %d, want %s", r.Offset, r.Attrs.CompressionType(), name)
			}
		}
		return fmt.Sprintf("%d records, stored as %s", len(read), name), nil
	}
}

func idempotence(ctx context.Context, e driver.Env) (string, error) {
	read, err := roundTrip(ctx, e, driver.Numbered(500), kgo.MaxBufferedRecords(7), kgo.ProducerLinger(0))
	if err != nil {
		return "", err
	}
	for _, r := range read {
		if r.ProducerID < 0 {
			return "", fmt.Errorf("offset %d has no producer id", r.Offset)
		}
	}
	return fmt.Sprintf("%d records of producer %d", len(read), read[0].ProducerID), nil
}

func verbatim(ctx context.Context, e driver.Env) (string, error) {
	read, err := roundTrip(ctx, e, []driver.Record{
		{Key: nil, Value: []byte("null key")},
		{Key: []byte{}, Value: []byte("empty key")},
		{Key: []byte("null value"), Value: nil},
		{Key: []byte("empty value"), Value: []byte{}},
		{Key: nil, Value: nil},
		{Key: []byte("headers"), Value: []byte{0, 255, 13, 10}, Headers: []driver.Header{
			{Key: "twice", Value: []byte("1")}, {Key: "null", Value: nil}, {Key: "twice", Value: []byte("2")}, {Key: "", Value: []byte{}}}},
		{Key: []byte("ключ"), Value: []byte("日本")},
	})
	return fmt.Sprintf("%d records: null and empty kept apart, headers in order", len(read)), err
}

func timestamps(ctx context.Context, e driver.Env) (string, error) {
	at := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	sent := driver.Numbered(3)
	for i, after := range []time.Duration{0, -time.Minute, 1234 * time.Millisecond} { // out of order, too
		sent[i].Time = at.Add(after)
	}
	read, err := roundTrip(ctx, e, sent)
	if err != nil {
		return "", err
	}
	for i := range sent {
		if !read[i].Timestamp.Equal(sent[i].Time) || read[i].Attrs.TimestampType() != 0 {
			return "", fmt.Errorf("record %d came back as %v type %d, want %v", i, read[i].Timestamp, read[i].Attrs.TimestampType(), sent[i].Time)
		}
	}
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(1, "message.timestamp.type", "LogAppendTime")
	if err != nil {
		return "", err
	}
	before := time.Now().Add(-time.Second)
	if err := produce(ctx, x.cl, topic, sent); err != nil {
		return "", err
	}
	if read, err = x.read(topic, 3); err != nil {
		return "", err
	}
	for i, r := range read {
		if r.Attrs.TimestampType() != 1 || r.Timestamp.Before(before) {
			return "", fmt.Errorf("LogAppendTime: record %d came back as %v type %d", i, r.Timestamp, r.Attrs.TimestampType())
		}
	}
	return "kept to the millisecond; LogAppendTime is the broker's", nil
}

// filled makes a topic with n numbered records, a second of time apart, spread
// round robin over its partitions. The records are returned with their time.
func (x *t) filled(partitions int32, n int) (string, []driver.Record, error) {
	topic, err := x.topic(partitions)
	if err != nil {
		return "", nil, err
	}
	p, err := open(x, x.Env, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return "", nil, err
	}
	defer p.cl.Close()
	sent := driver.Numbered(n)
	start := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	for i := range sent {
		sent[i].Time = start.Add(time.Duration(i) * time.Second)
		sent[i].Partition = int32(i) % partitions
	}
	return topic, sent, produce(x, p.cl, topic, sent)
}

func fromStart(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, sent, err := x.filled(3, 300)
	if err != nil {
		return "", err
	}
	read, err := x.read(topic, 300)
	if err != nil {
		return "", err
	}
	next := map[int32]int64{}
	for _, r := range read {
		if r.Offset != next[r.Partition] {
			return "", fmt.Errorf("partition %d: offset %d, want %d", r.Partition, r.Offset, next[r.Partition])
		}
		next[r.Partition]++
	}
	return "300 records of 3 partitions, offsets dense", driver.SameSet(sent, records(read))
}

func fromTime(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, sent, err := x.filled(1, 100)
	if err != nil {
		return "", err
	}
	at := sent[60].Time.Add(-time.Millisecond).UnixMilli()
	read, err := x.read(topic, 40, kgo.ConsumeResetOffset(kgo.NewOffset().AfterMilli(at)))
	if err != nil {
		return "", err
	}
	return "record 60 of 100 by its time", driver.Same(sent[60:], records(read))
}

func offsetsByTime(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, sent, err := x.filled(1, 100)
	if err != nil {
		return "", err
	}
	check := func(what string, listed kadm.ListedOffsets, err error, offset, timestamp int64) error {
		if err != nil {
			return err
		}
		o, ok := listed.Lookup(topic, 0)
		if !ok || o.Err != nil || o.Offset != offset || o.Timestamp != timestamp {
			return fmt.Errorf("%s: offset %d at %d, want %d at %d (error %v)", what, o.Offset, o.Timestamp, offset, timestamp, o.Err)
		}
		return nil
	}
	earliest, err := x.adm.ListStartOffsets(ctx, topic)
	if err := check("earliest", earliest, err, 0, -1); err != nil {
		return "", err
	}
	latest, err := x.adm.ListEndOffsets(ctx, topic)
	if err := check("latest", latest, err, 100, -1); err != nil {
		return "", err
	}
	for _, i := range []int{0, 1, 50, 99} {
		at := sent[i].Time.UnixMilli()
		listed, err := x.adm.ListOffsetsAfterMilli(ctx, at-1, topic)
		if err := check(fmt.Sprintf("just before record %d", i), listed, err, int64(i), at); err != nil {
			return "", err
		}
		listed, err = x.adm.ListOffsetsAfterMilli(ctx, at, topic)
		if err := check(fmt.Sprintf("at record %d", i), listed, err, int64(i), at); err != nil {
			return "", err
		}
	}
	// kadm asks for the end where there is nothing at or after a time.
	after, err := x.adm.ListOffsetsAfterMilli(ctx, sent[99].Time.UnixMilli()+1, topic)
	if err := check("after all", after, err, 100, -1); err != nil {
		return "", err
	}
	highest, err := x.adm.ListMaxTimestampOffsets(ctx, topic)
	if err := check("max timestamp", highest, err, 99, sent[99].Time.UnixMilli()); err != nil {
		return "", err
	}
	return "earliest, latest, max timestamp, exact by time", nil
}

// member is a consumer in a group, and what became of its assignment.
type member struct {
	*t
	mu      sync.Mutex
	owned   map[int32]bool
	revoked []int32
	lost    []int32
	stop    context.CancelFunc
	read    []driver.Record
	failed  error
	done    chan struct{}
}

// join starts a member that reads and keeps on reading until it is stopped.
func (x *t) join(group, topic string, options ...kgo.Opt) (*member, error) {
	m := &member{owned: map[int32]bool{}, done: make(chan struct{})}
	note := func(list *[]int32, own bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, p := range partitions[topic] {
				if own {
					m.owned[p] = true
				} else {
					delete(m.owned, p)
				}
			}
			if list != nil {
				*list = append(*list, partitions[topic]...)
			}
		}
	}
	options = append([]kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(note(nil, true)),
		kgo.OnPartitionsRevoked(func(ctx context.Context, cl *kgo.Client, partitions map[string][]int32) {
			_ = cl.CommitUncommittedOffsets(ctx) // kgo's own would, and this one replaces it
			note(&m.revoked, false)(ctx, cl, partitions)
		}),
		kgo.OnPartitionsLost(note(&m.lost, false)),
		kgo.HeartbeatInterval(500 * time.Millisecond), kgo.SessionTimeout(10 * time.Second),
	}, options...)
	var err error
	if m.t, err = open(x, x.Env, options...); err != nil {
		return nil, err
	}
	polling, stop := context.WithCancel(x)
	m.stop = stop
	go func() {
		defer close(m.done)
		for polling.Err() == nil {
			fetches := m.cl.PollFetches(polling)
			m.mu.Lock()
			m.read = append(m.read, records(fetches.Records())...)
			for _, err := range fetches.Errors() {
				if polling.Err() == nil && m.failed == nil && !errors.Is(err.Err, context.Canceled) {
					m.failed = err.Err
				}
			}
			m.mu.Unlock()
		}
	}()
	return m, nil
}

func (m *member) partitions() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var owned []int32
	for p := range m.owned {
		owned = append(owned, p)
	}
	slices.Sort(owned)
	return owned
}

func (m *member) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.read)
}

// leave commits, leaves the group (static members do not) and closes.
func (m *member) leave() error {
	m.stop()
	<-m.done
	err := m.cl.CommitUncommittedOffsets(m.Context)
	m.cl.Close()
	if m.failed != nil {
		return m.failed
	}
	return err
}

// shared waits until the members own all the partitions, n each, none twice.
func shared(ctx context.Context, n int, members ...*member) error {
	return driver.Wait(ctx, func() error {
		seen := map[int32]bool{}
		for i, m := range members {
			owned := m.partitions()
			if len(owned) != n {
				return fmt.Errorf("member %d owns partitions %v, want %d of them", i, owned, n)
			}
			for _, p := range owned {
				if seen[p] {
					return fmt.Errorf("partition %d is owned twice", p)
				}
				seen[p] = true
			}
		}
		return nil
	})
}

func groupResume(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, sent, err := x.filled(1, 30)
	if err != nil {
		return "", err
	}
	var read []driver.Record
	for from := 0; from < 30; from += 10 { // three lives of one member
		c, err := open(ctx, e, kgo.ConsumerGroup(topic), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			return "", err
		}
		for len(read) < from+10 {
			fetches := c.cl.PollRecords(ctx, from+10-len(read))
			if err := fetches.Err(); err != nil {
				return "", err
			}
			read = append(read, records(fetches.Records())...)
			if err := c.cl.CommitRecords(ctx, fetches.Records()...); err != nil {
				return "", fmt.Errorf("commit: %w", err)
			}
		}
		c.cl.Close()
	}
	if err := driver.Same(sent, read); err != nil {
		return "", err
	}
	committed, err := x.adm.FetchOffsets(ctx, topic)
	if err != nil {
		return "", err
	}
	if o, _ := committed.Lookup(topic, 0); o.At != 30 {
		return "", fmt.Errorf("committed is %d, want 30", o.At)
	}
	return "three lives, 10 records each, none twice", nil
}

func groupRebalance(consumerProtocol bool) run {
	return func(ctx context.Context, e driver.Env) (string, error) {
		var options []kgo.Opt
		if consumerProtocol {
			options = append(options, kgo.ServerSideBalancer())
		}
		x, err := open(ctx, e)
		if err != nil {
			return "", err
		}
		defer x.cl.Close()
		topic, sent, err := x.filled(4, 100)
		if err != nil {
			return "", err
		}
		first, err := x.join(topic, topic, options...)
		if err != nil {
			return "", err
		}
		if err := shared(ctx, 4, first); err != nil {
			return "", fmt.Errorf("alone: %w", err)
		}
		if err := driver.Wait(ctx, func() error {
			if n := first.count(); n < 100 {
				return fmt.Errorf("%d of 100 records", n)
			}
			return nil
		}); err != nil {
			return "", err
		}
		if err := first.cl.CommitUncommittedOffsets(ctx); err != nil {
			return "", fmt.Errorf("commit: %w", err)
		}
		second, err := x.join(topic, topic, options...)
		if err != nil {
			return "", err
		}
		if err := shared(ctx, 2, first, second); err != nil {
			return "", fmt.Errorf("two: %w", err)
		}
		if consumerProtocol {
			if err := x.isConsumerGroup(topic, 2); err != nil {
				return "", err
			}
		}
		if err := first.leave(); err != nil {
			return "", fmt.Errorf("leave: %w", err)
		}
		if err := shared(ctx, 4, second); err != nil {
			return "", fmt.Errorf("after the other left: %w", err)
		}
		more := driver.Numbered(120)[100:]
		if err := produce(ctx, x.cl, topic, more); err != nil {
			return "", err
		}
		if err := driver.Wait(ctx, func() error {
			if n := second.count(); n < 20 {
				return fmt.Errorf("%d of 20 new records", n)
			}
			return nil
		}); err != nil {
			return "", err
		}
		if err := second.leave(); err != nil {
			return "", err
		}
		return "4 partitions: alone 4, two 2+2, after the leave 4; every record once", driver.SameSet(slices.Concat(sent, more), slices.Concat(first.read, second.read))
	}
}

func (x *t) isConsumerGroup(group string, members int) error {
	listed, err := x.adm.ListGroupsByType(x, []string{"consumer"})
	if err != nil {
		return err
	}
	if _, ok := listed[group]; !ok {
		return fmt.Errorf("the group is not listed with type consumer: franz-go fell back to the classic protocol")
	}
	described, err := x.adm.DescribeConsumerGroups(x, group)
	if err != nil {
		return err
	}
	if d := described[group]; d.Err != nil || len(d.Members) != members {
		return fmt.Errorf("described with %d members, want %d (error %v)", len(d.Members), members, d.Err)
	}
	return nil
}

func groupRejoin(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, sent, err := x.filled(2, 40)
	if err != nil {
		return "", err
	}
	stays, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	var read []driver.Record
	for round := range 3 {
		other, err := x.join(topic, topic)
		if err != nil {
			return "", err
		}
		if err := shared(ctx, 1, stays, other); err != nil {
			return "", fmt.Errorf("round %d: %w", round, err)
		}
		if err := other.leave(); err != nil {
			return "", fmt.Errorf("round %d: %w", round, err)
		}
		read = append(read, other.read...)
		if err := shared(ctx, 2, stays); err != nil {
			return "", fmt.Errorf("round %d, after the leave: %w", round, err)
		}
	}
	if err := driver.Wait(ctx, func() error {
		if n := stays.count() + len(read); n < len(sent) {
			return fmt.Errorf("%d of %d records", n, len(sent))
		}
		return nil
	}); err != nil {
		return "", err
	}
	if err := stays.leave(); err != nil {
		return "", err
	}
	return "left and joined again three times; every record once", driver.SameSet(sent, append(read, stays.read...))
}

func staticMember(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, _, err := x.filled(4, 4)
	if err != nil {
		return "", err
	}
	one, err := x.join(topic, topic, kgo.InstanceID("one"))
	if err != nil {
		return "", err
	}
	two, err := x.join(topic, topic, kgo.InstanceID("two"))
	if err != nil {
		return "", err
	}
	if err := shared(ctx, 2, one, two); err != nil {
		return "", err
	}
	had := two.partitions()
	before, _ := two.cl.GroupMetadata()
	_, generation := one.cl.GroupMetadata()
	if err := two.leave(); err != nil {
		return "", err
	}
	again, err := x.join(topic, topic, kgo.InstanceID("two"))
	if err != nil {
		return "", err
	}
	if err := shared(ctx, 2, one, again); err != nil {
		return "", fmt.Errorf("after the restart: %w", err)
	}
	if now := again.partitions(); !slices.Equal(now, had) {
		return "", fmt.Errorf("after the restart it has %v, had %v", now, had)
	}
	after, same := again.cl.GroupMetadata()
	if same != generation {
		return "", fmt.Errorf("generation went from %d to %d: a rebalance", generation, same)
	}
	if after == before {
		return "", fmt.Errorf("member id %s is the old one", after)
	}
	if err := again.leave(); err != nil {
		return "", err
	}
	return "restart without rebalance, same partitions", one.leave()
}

func removeMembers(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, _, err := x.filled(2, 2)
	if err != nil {
		return "", err
	}
	stays, err := x.join(topic, topic, kgo.InstanceID("stays"))
	if err != nil {
		return "", err
	}
	gone, err := x.join(topic, topic, kgo.InstanceID("gone"), kgo.SessionTimeout(45*time.Second))
	if err != nil {
		return "", err
	}
	if err := shared(ctx, 1, stays, gone); err != nil {
		return "", err
	}
	if err := gone.leave(); err != nil { // a static member does not tell the broker
		return "", err
	}
	answer, err := x.adm.LeaveGroup(ctx, kadm.LeaveGroup(topic).InstanceIDs("gone", "unknown"))
	if err != nil {
		return "", err
	}
	if err := answer["gone"].Err; err != nil {
		return "", err
	}
	if err := answer["unknown"].Err; !errors.Is(err, kerr.UnknownMemberID) {
		return "", fmt.Errorf("unknown member: %v, want UNKNOWN_MEMBER_ID", err)
	}
	if err := shared(ctx, 2, stays); err != nil {
		return "", fmt.Errorf("after the removal: %w", err)
	}
	return "by instance id, long before its session ends", stays.leave()
}

func cooperative(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, _, err := x.filled(6, 6)
	if err != nil {
		return "", err
	}
	balancer := kgo.Balancers(kgo.CooperativeStickyBalancer())
	first, err := x.join(topic, topic, balancer)
	if err != nil {
		return "", err
	}
	if err := shared(ctx, 6, first); err != nil {
		return "", err
	}
	second, err := x.join(topic, topic, balancer)
	if err != nil {
		return "", err
	}
	if err := shared(ctx, 3, first, second); err != nil {
		return "", err
	}
	first.mu.Lock()
	revoked, lost := len(first.revoked), len(first.lost)
	first.mu.Unlock()
	if revoked != 3 || lost != 0 {
		return "", fmt.Errorf("the first member had %d partitions revoked and %d lost, want 3 and none", revoked, lost)
	}
	if err := second.leave(); err != nil {
		return "", err
	}
	if err := shared(ctx, 6, first); err != nil {
		return "", err
	}
	return "only the 3 partitions that moved were revoked", first.leave()
}

func regex(consumerProtocol bool) run {
	return func(ctx context.Context, e driver.Env) (string, error) {
		x, err := open(ctx, e)
		if err != nil {
			return "", err
		}
		defer x.cl.Close()
		prefix := e.Unique()
		for _, suffix := range []string{"-a", "-b", "-other"} {
			answer, err := x.adm.CreateTopic(ctx, 1, -1, nil, prefix+suffix)
			if err != nil || answer.Err != nil {
				return "", errors.Join(err, answer.Err)
			}
			if err := produce(ctx, x.cl, prefix+suffix, []driver.Record{{Value: []byte(suffix)}}); err != nil {
				return "", err
			}
		}
		options := []kgo.Opt{kgo.ConsumerGroup(prefix), kgo.ConsumeRegex(), kgo.ConsumeTopics("^" + prefix + "-[ab]$"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}
		if consumerProtocol {
			options = append(options, kgo.ServerSideBalancer())
		}
		c, err := open(ctx, e, options...)
		if err != nil {
			return "", err
		}
		defer c.cl.Close()
		read, err := poll(ctx, c.cl, 2)
		if err != nil {
			return "", err
		}
		var values []string
		for _, r := range read {
			values = append(values, string(r.Value))
		}
		sort.Strings(values)
		if !slices.Equal(values, []string{"-a", "-b"}) {
			return "", fmt.Errorf("read %q, want those of -a and -b", values)
		}
		if consumerProtocol {
			if err := x.isConsumerGroup(prefix, 1); err != nil {
				return "", err
			}
		}
		return "two of three topics match", nil
	}
}

func noOffset(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, _, err := x.filled(1, 5)
	if err != nil {
		return "", err
	}
	committed, err := x.adm.FetchOffsets(ctx, e.Unique())
	if err != nil {
		return "", fmt.Errorf("all topics: %w", err)
	}
	if len(committed) != 0 {
		return "", fmt.Errorf("an unknown group has offsets: %v", committed)
	}
	// kadm hides what was never committed: ask as a consumer does.
	req := kmsg.NewPtrOffsetFetchRequest()
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = e.Unique()
	gt := kmsg.NewOffsetFetchRequestGroupTopic()
	gt.Topic, gt.Partitions = topic, []int32{0}
	g.Topics = append(g.Topics, gt)
	req.Groups = append(req.Groups, g)
	req.Group, req.Topics = g.Group, []kmsg.OffsetFetchRequestTopic{{Topic: topic, Partitions: []int32{0}}}
	answer, err := req.RequestWith(ctx, x.cl)
	if err != nil {
		return "", err
	}
	if len(answer.Groups) != 1 || len(answer.Groups[0].Topics) != 1 || len(answer.Groups[0].Topics[0].Partitions) != 1 {
		return "", fmt.Errorf("answer of another shape: %+v", answer)
	}
	p := answer.Groups[0].Topics[0].Partitions[0]
	if answer.Groups[0].ErrorCode != 0 || p.ErrorCode != 0 || p.Offset != -1 || p.Metadata == nil || *p.Metadata != "" {
		return "", fmt.Errorf("offset %d, error %d, metadata %v; want -1, none, empty", p.Offset, p.ErrorCode, p.Metadata)
	}
	return "-1, no error", nil
}

func listGroups(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, _, err := x.filled(1, 1)
	if err != nil {
		return "", err
	}
	m, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	defer m.leave()
	if err := shared(ctx, 1, m); err != nil {
		return "", err
	}
	empty := topic + "-empty"
	if err := x.commit(empty, topic, 1); err != nil {
		return "", err
	}
	stable, err := x.adm.ListGroups(ctx, "Stable")
	if err != nil {
		return "", err
	}
	if g, ok := stable[topic]; !ok || g.State != "Stable" || g.ProtocolType != "consumer" {
		return "", fmt.Errorf("Stable groups: %+v", stable)
	}
	if _, ok := stable[empty]; ok {
		return "", fmt.Errorf("an empty group is listed as stable")
	}
	all, err := x.adm.ListGroups(ctx)
	if err != nil {
		return "", err
	}
	if g, ok := all[empty]; !ok || g.State != "Empty" {
		return "", fmt.Errorf("the group with commits only: %+v, want Empty", g)
	}
	classic, err := x.adm.ListGroupsByType(ctx, []string{"classic"})
	if err != nil {
		return "", err
	}
	if g, ok := classic[topic]; !ok {
		return "", fmt.Errorf("classic groups: %+v", g)
	}
	return "by state and type", nil
}

// commit commits for a group without members.
func (x *t) commit(group, topic string, offset int64) error {
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: offset, LeaderEpoch: -1, Metadata: "by hand"})
	return x.adm.CommitAllOffsets(x, group, offsets)
}

func describeGroups(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, _, err := x.filled(2, 2)
	if err != nil {
		return "", err
	}
	m, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	defer m.leave()
	if err := shared(ctx, 2, m); err != nil {
		return "", err
	}
	var g kadm.DescribedGroup
	if err := driver.Wait(ctx, func() error {
		described, err := x.adm.DescribeGroups(ctx, topic)
		if err != nil {
			return err
		}
		if g = described[topic]; g.State != "Stable" {
			return fmt.Errorf("state is %s", g.State)
		}
		return g.Err
	}); err != nil {
		return "", err
	}
	if len(g.Members) != 1 || g.Protocol != "cooperative-sticky" || g.ProtocolType != "consumer" {
		return "", fmt.Errorf("%d members, protocol %s/%s", len(g.Members), g.ProtocolType, g.Protocol)
	}
	one := g.Members[0]
	id, _ := m.cl.GroupMetadata()
	assigned, ok := one.Assigned.AsConsumer()
	if one.MemberID != id || one.ClientID != "compat-franz-go" || one.ClientHost == "" || !ok || len(assigned.Topics) != 1 || len(assigned.Topics[0].Partitions) != 2 {
		return "", fmt.Errorf("member %s client %s host %q assigned %+v", one.MemberID, one.ClientID, one.ClientHost, assigned)
	}
	unknown, err := x.adm.DescribeGroups(ctx, e.Unique())
	if err != nil {
		return "", err
	}
	for _, u := range unknown {
		if !errors.Is(u.Err, kerr.GroupIDNotFound) {
			return "", fmt.Errorf("unknown group: state %s, error %v, want GROUP_ID_NOT_FOUND", u.State, u.Err)
		}
	}
	return "members, client, assignment; unknown group not found", nil
}

func deleteGroups(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, _, err := x.filled(1, 5)
	if err != nil {
		return "", err
	}
	m, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := shared(ctx, 1, m); err != nil {
		return "", err
	}
	if answer, err := x.adm.DeleteGroup(ctx, topic); !errors.Is(errors.Join(err, answer.Err), kerr.NonEmptyGroup) {
		return "", fmt.Errorf("with a member: %v %v, want NON_EMPTY_GROUP", err, answer.Err)
	}
	if err := m.leave(); err != nil {
		return "", err
	}
	if answer, err := x.adm.DeleteGroup(ctx, topic); err != nil || answer.Err != nil {
		return "", fmt.Errorf("empty: %v %v", err, answer.Err)
	}
	if answer, err := x.adm.DeleteGroup(ctx, topic); !errors.Is(errors.Join(err, answer.Err), kerr.GroupIDNotFound) {
		return "", fmt.Errorf("deleted already: %v %v, want GROUP_ID_NOT_FOUND", err, answer.Err)
	}
	committed, err := x.adm.FetchOffsets(ctx, topic)
	if err != nil || len(committed) != 0 {
		return "", fmt.Errorf("offsets are left: %v %v", committed, err)
	}
	return "refused with members, then gone with its offsets", nil
}

func deleteOffsets(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, _, err := x.filled(1, 5)
	if err != nil {
		return "", err
	}
	keeps, err := x.topic(1)
	if err != nil {
		return "", err
	}
	group := topic
	for _, name := range []string{topic, keeps} {
		if err := x.commit(group, name, 3); err != nil {
			return "", err
		}
	}
	set := kadm.TopicsSet{}
	set.Add(topic, 0)
	deleted, err := x.adm.DeleteOffsets(ctx, group, set)
	if err != nil {
		return "", err
	}
	if err := deleted.Error(); err != nil {
		return "", err
	}
	left, err := x.adm.FetchOffsets(ctx, group)
	if err != nil {
		return "", err
	}
	if _, ok := left.Lookup(topic, 0); ok {
		return "", fmt.Errorf("the offset is still there")
	}
	if o, ok := left.Lookup(keeps, 0); !ok || o.At != 3 || o.Metadata != "by hand" {
		return "", fmt.Errorf("the other topic's offset is %+v", o)
	}
	subscribed := topic + "-subscribed"
	m, err := x.join(subscribed, topic)
	if err != nil {
		return "", err
	}
	defer m.leave()
	if err := shared(ctx, 1, m); err != nil {
		return "", err
	}
	deleted, err = x.adm.DeleteOffsets(ctx, subscribed, set)
	if err == nil {
		err = deleted.Error()
	}
	if !errors.Is(err, kerr.GroupSubscribedToTopic) {
		return "", fmt.Errorf("of a subscribed topic: %v, want GROUP_SUBSCRIBED_TO_TOPIC", err)
	}
	return "one topic's, refused while it is subscribed", nil
}

func resetOffsets(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, sent, err := x.filled(1, 20)
	if err != nil {
		return "", err
	}
	m, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := driver.Wait(ctx, func() error {
		if m.count() < 20 {
			return fmt.Errorf("%d of 20 records", m.count())
		}
		return nil
	}); err != nil {
		return "", err
	}
	if err := x.commit(topic, topic, 5); !errors.Is(err, kerr.UnknownMemberID) {
		return "", fmt.Errorf("while a member is there: %v, want UNKNOWN_MEMBER_ID", err)
	}
	if err := m.leave(); err != nil {
		return "", err
	}
	if err := x.commit(topic, topic, 15); err != nil {
		return "", err
	}
	again, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := driver.Wait(ctx, func() error {
		if again.count() < 5 {
			return fmt.Errorf("%d of 5 records", again.count())
		}
		return nil
	}); err != nil {
		return "", err
	}
	if err := again.leave(); err != nil {
		return "", err
	}
	return "refused with members, then read again from 15", driver.Same(sent[15:], again.read)
}

func autoCreate(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e, kgo.AllowAutoTopicCreation())
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic := e.Unique()
	sent := driver.Numbered(3)
	if err := produce(ctx, x.cl, topic, sent); err != nil {
		return "", err
	}
	read, err := x.read(topic, 3)
	if err != nil {
		return "", err
	}
	if err := driver.SameSet(sent, records(read)); err != nil {
		return "", err
	}
	// Who does not allow it does not make topics.
	plain, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer plain.cl.Close()
	other := e.Unique()
	metadata, err := plain.adm.Metadata(ctx, other)
	if err != nil {
		return "", err
	}
	if got := metadata.Topics[other].Err; !errors.Is(got, kerr.UnknownTopicOrPartition) {
		return "", fmt.Errorf("metadata without leave to create: %v, want UNKNOWN_TOPIC_OR_PARTITION", got)
	}
	return "by the first produce; not where the client forbids it", nil
}

func createTopic(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	day, compact := "86400000", "compact"
	topic := e.Unique()
	configs := map[string]*string{"retention.ms": &day, "cleanup.policy": &compact}
	dry, err := x.adm.ValidateCreateTopics(ctx, 3, 1, configs, topic)
	if err != nil || dry[topic].Err != nil {
		return "", fmt.Errorf("validate: %v %v", err, dry[topic].Err)
	}
	answer, err := x.adm.CreateTopic(ctx, 3, 1, configs, topic)
	if err != nil {
		return "", fmt.Errorf("after validation only: %w", err)
	}
	if c := answer.Configs["retention.ms"]; answer.NumPartitions != 3 || answer.ReplicationFactor != 1 || c.MaybeValue() != day || c.Source != kmsg.ConfigSourceDynamicTopicConfig {
		return "", fmt.Errorf("answered with %d partitions, factor %d, retention.ms %q from %v", answer.NumPartitions, answer.ReplicationFactor, c.MaybeValue(), c.Source)
	}
	return "created with configs", nil
}

func topicsRefused(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(1)
	if err != nil {
		return "", err
	}
	dry := e.Unique()
	if answer, err := x.adm.ValidateCreateTopics(ctx, 3, 1, nil, dry); err != nil || answer[dry].Err != nil {
		return "", fmt.Errorf("validate: %v %v", err, answer[dry].Err)
	}
	listed, err := x.adm.ListTopics(ctx)
	if err != nil || listed.Has(dry) {
		return "", fmt.Errorf("validation made the topic (%v)", err)
	}
	for want, call := range map[*kerr.Error]func() (kadm.CreateTopicResponse, error){
		kerr.TopicAlreadyExists:       func() (kadm.CreateTopicResponse, error) { return x.adm.CreateTopic(ctx, 1, 1, nil, topic) },
		kerr.InvalidTopicException:    func() (kadm.CreateTopicResponse, error) { return x.adm.CreateTopic(ctx, 1, 1, nil, "no spaces") },
		kerr.InvalidPartitions:        func() (kadm.CreateTopicResponse, error) { return x.adm.CreateTopic(ctx, 0, 1, nil, e.Unique()) },
		kerr.InvalidReplicationFactor: func() (kadm.CreateTopicResponse, error) { return x.adm.CreateTopic(ctx, 1, 0, nil, e.Unique()) },
	} {
		if answer, err := call(); !errors.Is(errors.Join(err, answer.Err), want) {
			return "", fmt.Errorf("want %v, got %v %v", want, err, answer.Err)
		}
	}
	return "duplicates, bad names, counts and factors refused; validate only creates nothing", nil
}

func describeTopic(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(3)
	if err != nil {
		return "", err
	}
	listed, err := x.adm.ListTopics(ctx)
	if err != nil {
		return "", err
	}
	d, ok := listed[topic]
	if !ok || d.Err != nil || len(d.Partitions) != 3 || d.IsInternal || d.ID == (kadm.TopicID{}) {
		return "", fmt.Errorf("listed as %+v", d)
	}
	for _, p := range d.Partitions {
		if p.Leader < 0 || len(p.Replicas) == 0 || len(p.ISR) == 0 || p.LeaderEpoch < 0 || p.Err != nil {
			return "", fmt.Errorf("partition %+v", p)
		}
	}
	byID := kmsg.NewPtrMetadataRequest()
	mt := kmsg.NewMetadataRequestTopic()
	mt.TopicID = d.ID
	byID.Topics = append(byID.Topics, mt)
	answer, err := byID.RequestWith(ctx, x.cl)
	if err != nil {
		return "", err
	}
	if len(answer.Topics) != 1 || answer.Topics[0].ErrorCode != 0 || answer.Topics[0].Topic == nil || *answer.Topics[0].Topic != topic {
		return "", fmt.Errorf("by id: %+v", answer.Topics)
	}
	return "3 partitions with leaders; by name and by id", nil
}

func describeConfigs(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(1, "retention.ms", "3600000")
	if err != nil {
		return "", err
	}
	described, err := x.adm.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return "", err
	}
	rc, err := described.On(topic, nil)
	if err != nil || rc.Err != nil {
		return "", errors.Join(err, rc.Err)
	}
	seen := map[string]kadm.Config{}
	for _, c := range rc.Configs {
		seen[c.Key] = c
	}
	if c := seen["retention.ms"]; c.MaybeValue() != "3600000" || c.Source != kmsg.ConfigSourceDynamicTopicConfig || len(c.Synonyms) == 0 {
		return "", fmt.Errorf("retention.ms: %+v", c)
	}
	if c := seen["cleanup.policy"]; c.MaybeValue() != "delete" || c.Source != kmsg.ConfigSourceDefaultConfig {
		return "", fmt.Errorf("cleanup.policy: %+v", c)
	}
	unknown, err := x.adm.DescribeTopicConfigs(ctx, e.Unique())
	if err == nil && len(unknown) == 1 {
		err = unknown[0].Err
	}
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return "", fmt.Errorf("unknown topic: %v", err)
	}
	return fmt.Sprintf("%d with source and synonyms", len(rc.Configs)), nil
}

func brokerConfigs(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	brokers, err := x.adm.ListBrokers(ctx)
	if err != nil {
		return "", err
	}
	node := brokers[0].NodeID
	const key = "log.message.timestamp.before.max.ms" // one that disturbs nobody
	find := func(broker ...int32) (kadm.Config, int, error) {
		described, err := x.adm.DescribeBrokerConfigs(ctx, broker...)
		if err != nil || len(described) != 1 || described[0].Err != nil {
			return kadm.Config{}, 0, fmt.Errorf("describe broker %v: %+v %v", broker, described, err)
		}
		for _, c := range described[0].Configs {
			if c.Key == key {
				return c, len(described[0].Configs), nil
			}
		}
		return kadm.Config{}, len(described[0].Configs), nil
	}
	before, n, err := find(node)
	if err != nil || n == 0 || before.Key == "" {
		return "", fmt.Errorf("%s is not among %d configs of the broker (%v)", key, n, err)
	}
	year := "31536000000"
	alter := func(op kadm.IncrementalOp, value *string) error {
		answer, err := x.adm.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Op: op, Name: key, Value: value}}, node)
		if err == nil && (len(answer) != 1 || answer[0].Err != nil) {
			err = fmt.Errorf("%+v", answer)
		}
		return err
	}
	if err := alter(kadm.SetConfig, &year); err != nil {
		return "", fmt.Errorf("set: %w", err)
	}
	defer alter(kadm.DeleteConfig, nil)
	if err := driver.Wait(ctx, func() error {
		if c, _, err := find(node); err != nil || c.MaybeValue() != year || c.Source != kmsg.ConfigSourceDynamicBrokerConfig {
			return fmt.Errorf("after set: %q from %v (%v)", c.MaybeValue(), c.Source, err)
		}
		return nil
	}); err != nil {
		return "", err
	}
	if err := alter(kadm.DeleteConfig, nil); err != nil {
		return "", fmt.Errorf("delete: %w", err)
	}
	if err := driver.Wait(ctx, func() error {
		if c, _, err := find(node); err != nil || c.MaybeValue() != before.MaybeValue() || c.Source != before.Source {
			return fmt.Errorf("after delete: %q from %v, was %q from %v (%v)", c.MaybeValue(), c.Source, before.MaybeValue(), before.Source, err)
		}
		return nil
	}); err != nil {
		return "", err
	}
	if answer, err := x.adm.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "no.such.config", Value: &year}}, node); err != nil || len(answer) != 1 || answer[0].Err == nil {
		return "", fmt.Errorf("an unknown config was taken: %+v %v", answer, err)
	}
	return fmt.Sprintf("%d described; set and deleted; unknown ones refused", n), nil
}

func (x *t) config(topic, key string) (string, error) {
	described, err := x.adm.DescribeTopicConfigs(x, topic)
	if err != nil {
		return "", err
	}
	rc, err := described.On(topic, nil)
	if err != nil || rc.Err != nil {
		return "", errors.Join(err, rc.Err)
	}
	for _, c := range rc.Configs {
		if c.Key == key {
			return c.MaybeValue(), nil
		}
	}
	return "", fmt.Errorf("there is no %s", key)
}

func alterConfigs(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(1, "retention.ms", "3600000")
	if err != nil {
		return "", err
	}
	value := func(v string) *string { return &v }
	expect := func(key, want string) error {
		got, err := x.config(topic, key)
		if err == nil && got != want {
			err = fmt.Errorf("%s is %q, want %q", key, got, want)
		}
		return err
	}
	for _, step := range []struct {
		alter     kadm.AlterConfig
		key, want string
	}{
		{kadm.AlterConfig{Op: kadm.SetConfig, Name: "max.message.bytes", Value: value("2000000")}, "max.message.bytes", "2000000"},
		{kadm.AlterConfig{Op: kadm.AppendConfig, Name: "cleanup.policy", Value: value("compact")}, "cleanup.policy", "delete,compact"},
		{kadm.AlterConfig{Op: kadm.SubtractConfig, Name: "cleanup.policy", Value: value("delete")}, "cleanup.policy", "compact"},
		{kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "retention.ms"}, "retention.ms", "604800000"},
	} {
		answer, err := x.adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{step.alter}, topic)
		if err != nil {
			return "", err
		}
		if len(answer) != 1 || answer[0].Err != nil {
			return "", fmt.Errorf("%+v: %+v", step.alter, answer)
		}
		if err := expect(step.key, step.want); err != nil {
			return "", fmt.Errorf("after %v %s: %w", step.alter.Op, step.alter.Name, err)
		}
	}
	return "set, append, subtract, delete", nil
}

func alterConfigsLegacy(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(1, "retention.ms", "3600000", "max.message.bytes", "5000")
	if err != nil {
		return "", err
	}
	value := "7200000"
	answer, err := x.adm.AlterTopicConfigsState(ctx, []kadm.AlterConfig{{Name: "retention.ms", Value: &value}}, topic)
	if err != nil || len(answer) != 1 || answer[0].Err != nil {
		return "", fmt.Errorf("%+v %v", answer, err)
	}
	for key, want := range map[string]string{"retention.ms": value, "max.message.bytes": "1048588"} {
		if got, err := x.config(topic, key); err != nil || got != want {
			return "", fmt.Errorf("%s is %q, want %q (%v)", key, got, want, err)
		}
	}
	return "what is not named goes back to its default", nil
}

func unknownConfig(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(1)
	if err != nil {
		return "", err
	}
	yes, bad := "yes", "soon"
	if answer, err := x.adm.CreateTopic(ctx, 1, 1, map[string]*string{"no.such.config": &yes}, e.Unique()); !errors.Is(errors.Join(err, answer.Err), kerr.InvalidConfig) {
		return "", fmt.Errorf("create: %v %v, want INVALID_CONFIG", err, answer.Err)
	}
	for _, alter := range []kadm.AlterConfig{
		{Op: kadm.SetConfig, Name: "no.such.config", Value: &yes},
		{Op: kadm.SetConfig, Name: "retention.ms", Value: &bad},
	} {
		answer, err := x.adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{alter}, topic)
		if err != nil || len(answer) != 1 || !errors.Is(answer[0].Err, kerr.InvalidConfig) {
			return "", fmt.Errorf("alter %s: %+v %v, want INVALID_CONFIG", alter.Name, answer, err)
		}
		if answer[0].ErrMessage == "" {
			return "", fmt.Errorf("alter %s: no message", alter.Name)
		}
	}
	return "INVALID_CONFIG with a message", nil
}

func addPartitions(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(2)
	if err != nil {
		return "", err
	}
	m, err := x.join(topic, topic, kgo.MetadataMinAge(100*time.Millisecond), kgo.MetadataMaxAge(time.Second))
	if err != nil {
		return "", err
	}
	if err := shared(ctx, 2, m); err != nil {
		return "", err
	}
	answer, err := x.adm.UpdatePartitions(ctx, 5, topic)
	if err == nil {
		err = answer.Error()
	}
	if err != nil {
		return "", err
	}
	fewer, err := x.adm.UpdatePartitions(ctx, 3, topic)
	if err != nil || !errors.Is(fewer[topic].Err, kerr.InvalidPartitions) {
		return "", fmt.Errorf("fewer: %v %v, want INVALID_PARTITIONS", err, fewer[topic].Err)
	}
	if err := shared(ctx, 5, m); err != nil {
		return "", fmt.Errorf("the group after the change: %w", err)
	}
	p, err := open(ctx, e, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return "", err
	}
	defer p.cl.Close()
	sent := driver.Numbered(5)
	for i := range sent {
		sent[i].Partition = int32(i)
	}
	if err := produce(ctx, p.cl, topic, sent); err != nil {
		return "", err
	}
	if err := driver.Wait(ctx, func() error {
		if m.count() < 5 {
			return fmt.Errorf("%d of 5 records", m.count())
		}
		return nil
	}); err != nil {
		return "", err
	}
	if err := m.leave(); err != nil {
		return "", err
	}
	return "2 to 5 under a running group; fewer refused", driver.SameSet(sent, m.read)
}

func deleteTopic(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, _, err := x.filled(2, 10)
	if err != nil {
		return "", err
	}
	if _, err := x.adm.DeleteTopic(ctx, topic); err != nil {
		return "", err
	}
	listed, err := x.adm.ListTopics(ctx)
	if err != nil || listed.Has(topic) {
		return "", fmt.Errorf("still listed (%v)", err)
	}
	if _, err := x.adm.DeleteTopic(ctx, topic); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return "", fmt.Errorf("again: %v, want UNKNOWN_TOPIC_OR_PARTITION", err)
	}
	// Under the same name it is another topic, and empty.
	if answer, err := x.adm.CreateTopic(ctx, 1, 1, nil, topic); err != nil || answer.Err != nil {
		return "", fmt.Errorf("create again: %v %v", err, answer.Err)
	}
	end, err := x.adm.ListEndOffsets(ctx, topic)
	if o, _ := end.Lookup(topic, 0); err != nil || o.Offset != 0 {
		return "", fmt.Errorf("the new topic ends at %d (%v)", o.Offset, err)
	}
	sent := driver.Numbered(3)
	fresh, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer fresh.cl.Close()
	if err := produce(ctx, fresh.cl, topic, sent); err != nil {
		return "", err
	}
	read, err := x.read(topic, 3)
	if err != nil {
		return "", err
	}
	return "gone; made again under its name it is empty", driver.Same(sent, records(read))
}

func deleteRecords(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, sent, err := x.filled(1, 50)
	if err != nil {
		return "", err
	}
	purge := func(to int64) (kadm.DeleteRecordsResponse, error) {
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: to})
		answers, err := x.adm.DeleteRecords(ctx, offsets)
		if err != nil {
			return kadm.DeleteRecordsResponse{}, err
		}
		answer, _ := answers.Lookup(topic, 0)
		return answer, answer.Err
	}
	if answer, err := purge(20); err != nil || answer.LowWatermark != 20 {
		return "", fmt.Errorf("low watermark %d, want 20 (%v)", answer.LowWatermark, err)
	}
	start, err := x.adm.ListStartOffsets(ctx, topic)
	if o, _ := start.Lookup(topic, 0); err != nil || o.Offset != 20 {
		return "", fmt.Errorf("earliest is %d, want 20 (%v)", o.Offset, err)
	}
	read, err := x.read(topic, 30)
	if err != nil {
		return "", err
	}
	if err := driver.Same(sent[20:], records(read)); err != nil {
		return "", err
	}
	// Who asks for what is gone starts again where there is something.
	c, err := open(ctx, e, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(3)}}),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return "", err
	}
	defer c.cl.Close()
	if read, err = poll(ctx, c.cl, 30); err != nil {
		return "", err
	}
	if err := driver.Same(sent[20:], records(read)); err != nil {
		return "", fmt.Errorf("from a deleted offset: %w", err)
	}
	if _, err := purge(51); !errors.Is(err, kerr.OffsetOutOfRange) {
		return "", fmt.Errorf("past the end: %v, want OFFSET_OUT_OF_RANGE", err)
	}
	if answer, err := purge(-1); err != nil || answer.LowWatermark != 50 {
		return "", fmt.Errorf("all: low watermark %d, want 50 (%v)", answer.LowWatermark, err)
	}
	return "to an offset, all, past the end refused", nil
}

func describeCluster(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	answer, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(ctx, x.cl)
	if err != nil {
		return "", err
	}
	if answer.ErrorCode != 0 || answer.ClusterID == "" || len(answer.Brokers) == 0 {
		return "", fmt.Errorf("%+v", answer)
	}
	if !slices.ContainsFunc(answer.Brokers, func(b kmsg.DescribeClusterResponseBroker) bool { return b.NodeID == answer.ControllerID }) {
		return "", fmt.Errorf("controller %d is not one of the brokers", answer.ControllerID)
	}
	versions, err := x.adm.ApiVersions(ctx)
	if err != nil {
		return "", err
	}
	for _, v := range versions {
		if v.Err != nil {
			return "", v.Err
		}
	}
	return fmt.Sprintf("%d broker, the controller is one of them", len(answer.Brokers)), nil
}

func logDirs(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(1)
	if err != nil {
		return "", err
	}
	var sent []driver.Record
	for range 100 {
		sent = append(sent, driver.Record{Value: []byte(strings.Repeat("incompressible?", 10))})
	}
	plain, err := open(ctx, e, kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return "", err
	}
	defer plain.cl.Close()
	if err := produce(ctx, plain.cl, topic, sent); err != nil {
		return "", err
	}
	set := kadm.TopicsSet{}
	set.Add(topic, 0)
	dirs, err := x.adm.DescribeAllLogDirs(ctx, set)
	if err != nil {
		return "", err
	}
	var size int64
	for _, ofBroker := range dirs {
		if err := ofBroker.Error(); err != nil {
			return "", err
		}
		if p, ok := ofBroker.LookupPartition(topic, 0); ok {
			size += p.Size
		}
	}
	if size < 15_000 || size > 60_000 {
		return "", fmt.Errorf("%d bytes, want some more than 15000", size)
	}
	return fmt.Sprintf("15000 bytes of values take %d", size), nil
}

func quotas(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(1)
	if err != nil {
		return "", err
	}
	client := e.Unique()
	entity := kadm.ClientQuotaEntity{{Type: "client-id", Name: &client}}
	altered, err := x.adm.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{{Entity: entity, Ops: []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Value: 20_000}}}})
	if err != nil || len(altered) != 1 || altered[0].Err != nil {
		return "", fmt.Errorf("alter: %+v %v", altered, err)
	}
	described, err := x.adm.DescribeClientQuotas(ctx, true, []kadm.DescribeClientQuotaComponent{{Type: "client-id", MatchType: kmsg.QuotasMatchTypeExact, MatchName: &client}})
	if err != nil || len(described) != 1 || len(described[0].Values) != 1 || described[0].Values[0].Value != 20_000 {
		return "", fmt.Errorf("described as %+v %v", described, err)
	}
	var throttled throttle
	p, err := open(ctx, e, kgo.ClientID(client), kgo.WithHooks(&throttled), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return "", err
	}
	defer p.cl.Close()
	// Kafka's quotas are over eleven windows of a second: a burst of more than
	// eleven seconds' worth is slowed down.
	var sent []driver.Record
	for range 30 {
		sent = append(sent, driver.Record{Value: []byte(strings.Repeat("q", 10_000))})
	}
	for i := range sent {
		if err := produce(ctx, p.cl, topic, sent[i:i+1]); err != nil {
			return "", err
		}
		if throttled.longest() > 0 {
			break
		}
	}
	if throttled.longest() == 0 {
		return "", fmt.Errorf("300 kB at 20 kB/s were not throttled")
	}
	removed, err := x.adm.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{{Entity: entity, Ops: []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Remove: true}}}})
	if err != nil || len(removed) != 1 || removed[0].Err != nil {
		return "", fmt.Errorf("remove: %+v %v", removed, err)
	}
	return "set, described, throttled, removed", nil
}

func transactional(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e, kgo.TransactionalID(e.Unique()))
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	soon, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, _, err = x.cl.ProducerID(soon)
	var refused *kerr.Error
	if !errors.As(err, &refused) || refused.Retriable {
		return "", fmt.Errorf("a transactional producer id: %v, want an error that is not retried", err)
	}
	return refused.Message, nil
}

func producers(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(1)
	if err != nil {
		return "", err
	}
	for range 3 {
		if err := produce(ctx, x.cl, topic, driver.Numbered(2)); err != nil {
			return "", err
		}
	}
	id, epoch, err := x.cl.ProducerID(ctx)
	if err != nil {
		return "", err
	}
	set := kadm.TopicsSet{}
	set.Add(topic, 0)
	described, err := x.adm.DescribeProducers(ctx, set)
	if err != nil {
		return "", err
	}
	p := described[topic].Partitions[0]
	if p.Err != nil || len(p.ActiveProducers) != 1 {
		return "", fmt.Errorf("%+v", p)
	}
	one := p.ActiveProducers[id]
	if one.ProducerID != id || one.ProducerEpoch != epoch || one.LastSequence != 5 || one.CurrentTxnStartOffset != -1 {
		return "", fmt.Errorf("%+v, want producer %d epoch %d sequence 5", one, id, epoch)
	}
	return "id, epoch, last sequence", nil
}

func electLeaders(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(2)
	if err != nil {
		return "", err
	}
	set := kadm.TopicsSet{}
	set.Add(topic, 0, 1)
	elected, err := x.adm.ElectLeaders(ctx, kadm.ElectPreferredReplica, set)
	if err != nil {
		return "", err
	}
	for p := range int32(2) {
		if r := elected[topic][p]; !errors.Is(r.Err, kerr.ElectionNotNeeded) {
			return "", fmt.Errorf("partition %d: %v, want ELECTION_NOT_NEEDED", p, r.Err)
		}
	}
	return "not needed", nil
}

func reassign(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(1)
	if err != nil {
		return "", err
	}
	set := kadm.TopicsSet{}
	set.Add(topic, 0)
	under, err := x.adm.ListPartitionReassignments(ctx, set)
	if err != nil || len(under) != 0 {
		return "", fmt.Errorf("%+v %v", under, err)
	}
	var cancel kadm.AlterPartitionAssignmentsReq
	cancel.CancelAssign(topic, 0)
	answer, err := x.adm.AlterPartitionAssignments(ctx, cancel)
	if err == nil {
		err = answer.Error()
	}
	if !errors.Is(err, kerr.NoReassignmentInProgress) {
		return "", fmt.Errorf("cancel: %v, want NO_REASSIGNMENT_IN_PROGRESS", err)
	}
	return "none under way", nil
}

func features(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "compat", "1"
	answer, err := req.RequestWith(ctx, x.cl)
	if err != nil {
		return "", err
	}
	finalized := map[string]int16{}
	for _, f := range answer.FinalizedFeatures {
		finalized[f.Name] = f.MaxVersionLevel
	}
	if finalized["group.version"] != 1 {
		return "", fmt.Errorf("finalized features %v, want group.version 1", finalized)
	}
	if _, ok := finalized["transaction.version"]; ok {
		return "", fmt.Errorf("finalized features %v, and there are no transactions", finalized)
	}
	return fmt.Sprint(finalized), nil
}

func acls(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	described, err := x.adm.DescribeACLs(ctx, kadm.NewACLs().AnyResource().Allow().AllowHosts().Deny().DenyHosts().Operations())
	for _, d := range described {
		err = errors.Join(err, d.Err)
	}
	if !errors.Is(err, kerr.SecurityDisabled) {
		return "", fmt.Errorf("describe: %v, want SECURITY_DISABLED", err)
	}
	return "SECURITY_DISABLED", nil
}

// throttle notes how long the broker told the client to wait.
type throttle struct {
	mu  sync.Mutex
	max time.Duration
}

func (h *throttle) OnBrokerThrottle(_ kgo.BrokerMetadata, interval time.Duration, _ bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.max = max(h.max, interval)
}

func (h *throttle) longest() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.max
}

func tooLarge(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e, kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	topic, err := x.topic(1, "max.message.bytes", "2000")
	if err != nil {
		return "", err
	}
	if err := produce(ctx, x.cl, topic, []driver.Record{{Value: make([]byte, 5000)}}); !errors.Is(err, kerr.MessageTooLarge) {
		return "", fmt.Errorf("5000 bytes: %v, want MESSAGE_TOO_LARGE", err)
	}
	sent := driver.Numbered(3)
	if err := produce(ctx, x.cl, topic, sent); err != nil {
		return "", fmt.Errorf("small ones after it: %w", err)
	}
	read, err := x.read(topic, 3)
	if err != nil {
		return "", err
	}
	return "MESSAGE_TOO_LARGE, and it goes on", driver.Same(sent, records(read))
}

func interchangeWrite(ctx context.Context, e driver.Env) (string, error) {
	codecs := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	for _, name := range driver.Codecs {
		x, err := open(ctx, e, kgo.ProducerBatchCompression(codecs[name]))
		if err != nil {
			return "", err
		}
		err = produce(ctx, x.cl, driver.InterchangeTopic(name), driver.InterchangeRecords(e.Client))
		x.cl.Close()
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	return strings.Join(driver.Codecs, ", "), nil
}

func interchangeRead(ctx context.Context, e driver.Env) (string, error) {
	x, err := open(ctx, e)
	if err != nil {
		return "", err
	}
	defer x.cl.Close()
	var clients []string
	for _, name := range driver.Codecs {
		topic := driver.InterchangeTopic(name)
		end, err := x.adm.ListEndOffsets(ctx, topic)
		if err != nil {
			return "", err
		}
		o, _ := end.Lookup(topic, 0)
		read, err := x.read(topic, int(o.Offset))
		if err != nil {
			return "", err
		}
		if clients, err = driver.CheckInterchange(records(read)); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	return "of " + strings.Join(clients, ", "), nil
}
