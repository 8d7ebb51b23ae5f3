// The driver of sarama.
package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/chronik-stream/chronik/tests/compat/goclients/driver"
)

func main() {
	driver.Main("sarama", "github.com/IBM/sarama", []driver.Capability{
		{Name: "acks-0", Run: acks(sarama.NoResponse)},
		{Name: "acks-1", Run: acks(sarama.WaitForLocal)},
		{Name: "acks-all", Run: driver.All(acks(sarama.WaitForAll), oldVersions)},
		{Name: "gzip", Run: codec(sarama.CompressionGZIP)},
		{Name: "snappy", Run: codec(sarama.CompressionSnappy)},
		{Name: "lz4", Run: codec(sarama.CompressionLZ4)},
		{Name: "zstd", Run: codec(sarama.CompressionZSTD)},
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
		{Name: "offsets-by-time", Run: offsets},
		{Name: "group-resume", Run: groupResume},
		{Name: "no-offset", Run: noOffset},
		{Name: "group-rebalance", Run: groupRebalance},
		{Name: "group-rejoin", Run: groupRejoin},
		{Name: "static-member", Run: staticMember},
		{Name: "cooperative", Run: cooperative},
		{Name: "list-groups", Run: listGroups},
		{Name: "describe-groups", Run: describeGroups},
		{Name: "delete-groups", Run: deleteGroups},
		{Name: "reset-offsets", Run: resetOffsets},
		{Name: "delete-offsets", Run: deleteOffsets},
		{Name: "remove-members", Run: removeMembers},
		{Name: "create-topic", Run: createTopic},
		{Name: "describe-topic", Run: describeTopic},
		{Name: "delete-topic", Run: deleteTopic},
		{Name: "add-partitions", Run: addPartitions},
		{Name: "describe-configs", Run: describeConfigs},
		{Name: "alter-configs", Run: alterConfigs},
		{Name: "replace-configs", Run: replaceConfigs},
		{Name: "unknown-config", Run: unknownConfig},
		{Name: "broker-configs", Run: brokerConfigs},
		{Name: "delete-records", Run: deleteRecords},
		{Name: "describe-cluster", Run: describeCluster},
		{Name: "log-dirs", Run: logDirs},
		{Name: "quotas", Run: quotas},
		{Name: "elect-leaders", Run: electLeaders},
		{Name: "reassign", Run: reassign},
		{Name: "acls-disabled", Run: acls},
	})
}

type run = func(context.Context, driver.Env) (string, error)

// config speaks the newest versions that sarama knows, and waits little.
func config(change ...func(*sarama.Config)) *sarama.Config {
	c := sarama.NewConfig()
	c.ClientID = "compat-sarama"
	c.Version = sarama.MaxVersion
	c.Producer.Return.Successes = true
	c.Consumer.Return.Errors = true
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	for _, f := range change {
		f(c)
	}
	return c
}

type t struct {
	context.Context
	driver.Env
	cl  sarama.Client
	adm sarama.ClusterAdmin
}

func open(ctx context.Context, e driver.Env, change ...func(*sarama.Config)) (*t, error) {
	cl, err := sarama.NewClient([]string{e.Bootstrap}, config(change...))
	if err != nil {
		return nil, err
	}
	adm, err := sarama.NewClusterAdminFromClient(cl)
	if err != nil {
		return nil, err
	}
	return &t{ctx, e, cl, adm}, nil
}

func (x *t) close() { x.adm.Close() }

// with opens a client for one check.
func with(check func(x *t) (string, error)) run {
	return func(ctx context.Context, e driver.Env) (string, error) {
		x, err := open(ctx, e)
		if err != nil {
			return "", err
		}
		defer x.close()
		return check(x)
	}
}

func (x *t) topic(partitions int32, configs ...string) (string, error) {
	set := map[string]*string{}
	for i := 0; i < len(configs); i += 2 {
		set[configs[i]] = &configs[i+1]
	}
	topic := x.Unique()
	return topic, x.adm.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: set}, false)
}

func toSarama(topic string, r driver.Record) *sarama.ProducerMessage {
	m := &sarama.ProducerMessage{Topic: topic, Partition: r.Partition, Timestamp: r.Time}
	if r.Key != nil {
		m.Key = sarama.ByteEncoder(r.Key)
	}
	if r.Value != nil {
		m.Value = sarama.ByteEncoder(r.Value)
	}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
	return m
}

func fromSarama(m *sarama.ConsumerMessage) driver.Record {
	r := driver.Record{Partition: m.Partition, Offset: m.Offset, Key: m.Key, Value: m.Value, Time: m.Timestamp}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, driver.Header{Key: string(h.Key), Value: h.Value})
	}
	return r
}

func (x *t) produce(topic string, records []driver.Record) error {
	p, err := sarama.NewSyncProducerFromClient(x.cl)
	if err != nil {
		return err
	}
	defer p.Close()
	var messages []*sarama.ProducerMessage
	for _, r := range records {
		messages = append(messages, toSarama(topic, r))
	}
	err = p.SendMessages(messages)
	var each sarama.ProducerErrors
	if errors.As(err, &each) {
		return each[0].Err
	}
	return err
}

// read reads n records of a partition.
func (x *t) read(topic string, partition int32, from int64, n int) ([]driver.Record, error) {
	c, err := sarama.NewConsumerFromClient(x.cl)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	p, err := c.ConsumePartition(topic, partition, from)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	var read []driver.Record
	for len(read) < n {
		select {
		case m := <-p.Messages():
			read = append(read, fromSarama(m))
		case err := <-p.Errors():
			return read, err
		case <-x.Done():
			return read, fmt.Errorf("%d of %d records: %w", len(read), n, x.Err())
		}
	}
	return read, nil
}

func roundTrip(ctx context.Context, e driver.Env, sent []driver.Record, change ...func(*sarama.Config)) ([]driver.Record, error) {
	x, err := open(ctx, e, change...)
	if err != nil {
		return nil, err
	}
	defer x.close()
	topic, err := x.topic(1)
	if err != nil {
		return nil, err
	}
	if err := x.produce(topic, sent); err != nil {
		return nil, fmt.Errorf("produce: %w", err)
	}
	read, err := x.read(topic, 0, sarama.OffsetOldest, len(sent))
	if err != nil {
		return nil, err
	}
	return read, driver.Same(sent, read)
}

func acks(acks sarama.RequiredAcks) run {
	return func(ctx context.Context, e driver.Env) (string, error) {
		read, err := roundTrip(ctx, e, driver.Numbered(100), func(c *sarama.Config) { c.Producer.RequiredAcks = acks })
		return fmt.Sprintf("%d records", len(read)), err
	}
}

// oldVersions sets Version as people have it in their configuration, where it
// says which Kafka they had when they wrote it.
func oldVersions(ctx context.Context, e driver.Env) (string, error) {
	versions := []sarama.KafkaVersion{sarama.V1_0_0_0, sarama.V2_1_0_0, sarama.DefaultVersion}
	for _, v := range versions {
		if _, err := roundTrip(ctx, e, driver.Numbered(10), func(c *sarama.Config) { c.Version = v }); err != nil {
			return "", fmt.Errorf("with Version %s: %w", v, err)
		}
	}
	return fmt.Sprintf("with Version %v", versions), nil
}

func codec(codec sarama.CompressionCodec) run {
	return func(ctx context.Context, e driver.Env) (string, error) {
		read, err := roundTrip(ctx, e, driver.Numbered(1000), func(c *sarama.Config) {
			c.Producer.Compression = codec
			c.Producer.Flush.Messages = 500
			c.Producer.Flush.Frequency = 50 * time.Millisecond
		})
		return fmt.Sprintf("%d records", len(read)), err
	}
}

func idempotence(ctx context.Context, e driver.Env) (string, error) {
	read, err := roundTrip(ctx, e, driver.Numbered(500), func(c *sarama.Config) {
		c.Producer.Idempotent = true
		c.Producer.RequiredAcks = sarama.WaitForAll
		c.Net.MaxOpenRequests = 1
		c.Producer.Flush.MaxMessages = 7
	})
	return fmt.Sprintf("%d records", len(read)), err
}

var tooLarge = with(func(x *t) (string, error) {
	topic, err := x.topic(1, "max.message.bytes", "2000")
	if err != nil {
		return "", err
	}
	if err := x.produce(topic, []driver.Record{{Value: make([]byte, 5000)}}); !errors.Is(err, sarama.ErrMessageSizeTooLarge) {
		return "", fmt.Errorf("5000 bytes: %v, want MESSAGE_TOO_LARGE", err)
	}
	sent := driver.Numbered(1)
	if err := x.produce(topic, sent); err != nil {
		return "", fmt.Errorf("a small one after it: %w", err)
	}
	read, err := x.read(topic, 0, sarama.OffsetOldest, 1)
	if err != nil {
		return "", err
	}
	return "MESSAGE_TOO_LARGE, and it goes on", driver.Same(sent, read)
})

func transactional(ctx context.Context, e driver.Env) (string, error) {
	_, err := sarama.NewAsyncProducer([]string{e.Bootstrap}, config(func(c *sarama.Config) {
		c.Producer.Idempotent = true
		c.Producer.RequiredAcks = sarama.WaitForAll
		c.Net.MaxOpenRequests = 1
		c.Producer.Transaction.ID = e.Unique()
		c.Producer.Transaction.Retry.Max = 3
	}))
	if err == nil {
		return "", fmt.Errorf("a transactional producer was taken")
	}
	return err.Error(), nil
}

func verbatim(ctx context.Context, e driver.Env) (string, error) {
	read, err := roundTrip(ctx, e, []driver.Record{
		{Key: nil, Value: []byte("null key")},
		{Key: []byte{}, Value: []byte("empty key")},
		{Key: []byte("null value"), Value: nil},
		{Key: []byte("empty value"), Value: []byte{}},
		{Key: []byte("headers"), Value: []byte{0, 255, 13, 10}, Headers: []driver.Header{
			{Key: "twice", Value: []byte("1")}, {Key: "null", Value: nil}, {Key: "twice", Value: []byte("2")}}},
		{Key: []byte("ключ"), Value: []byte("日本")},
	})
	return fmt.Sprintf("%d records: null and empty kept apart, headers in order", len(read)), err
}

func timestamps(ctx context.Context, e driver.Env) (string, error) {
	sent := driver.Numbered(3)
	for i, after := range []time.Duration{0, -time.Minute, 1234 * time.Millisecond} {
		sent[i].Time = time.Now().Add(-time.Hour).Truncate(time.Millisecond).Add(after)
	}
	read, err := roundTrip(ctx, e, sent)
	if err != nil {
		return "", err
	}
	for i := range sent {
		if !read[i].Time.Equal(sent[i].Time) {
			return "", fmt.Errorf("record %d came back as %v, want %v", i, read[i].Time, sent[i].Time)
		}
	}
	return "kept to the millisecond", nil
}

// filled makes a topic with n numbered records, a second of time apart, spread
// round robin over its partitions.
func (x *t) filled(partitions int32, n int) (string, []driver.Record, error) {
	topic, err := x.topic(partitions)
	if err != nil {
		return "", nil, err
	}
	p, err := open(x, x.Env, func(c *sarama.Config) { c.Producer.Partitioner = sarama.NewManualPartitioner })
	if err != nil {
		return "", nil, err
	}
	defer p.close()
	sent := driver.Numbered(n)
	start := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	for i := range sent {
		sent[i].Time = start.Add(time.Duration(i) * time.Second)
		sent[i].Partition = int32(i) % partitions
	}
	return topic, sent, p.produce(topic, sent)
}

var autoCreate = with(func(x *t) (string, error) {
	topic, sent := x.Unique(), driver.Numbered(1)
	if err := x.produce(topic, sent); err != nil {
		return "", err
	}
	partitions, err := x.cl.Partitions(topic)
	if err != nil {
		return "", err
	}
	for _, p := range partitions {
		end, err := x.cl.GetOffset(topic, p, sarama.OffsetNewest)
		if err != nil {
			return "", err
		}
		if end == 1 {
			read, err := x.read(topic, p, sarama.OffsetOldest, 1)
			if err != nil {
				return "", err
			}
			return "by the first produce", driver.Same(sent, read)
		}
	}
	return "", fmt.Errorf("the record is in none of %d partitions", len(partitions))
})

var fromStart = with(func(x *t) (string, error) {
	topic, sent, err := x.filled(3, 300)
	if err != nil {
		return "", err
	}
	var read []driver.Record
	for p := range int32(3) {
		of, err := x.read(topic, p, sarama.OffsetOldest, 100)
		if err != nil {
			return "", err
		}
		for i, r := range of {
			if r.Offset != int64(i) {
				return "", fmt.Errorf("partition %d: offset %d, want %d", p, r.Offset, i)
			}
		}
		read = append(read, of...)
	}
	return "300 records of 3 partitions, offsets dense", driver.SameSet(sent, read)
})

var fromTime = with(func(x *t) (string, error) {
	topic, sent, err := x.filled(1, 100)
	if err != nil {
		return "", err
	}
	from, err := x.cl.GetOffset(topic, 0, sent[60].Time.Add(-time.Millisecond).UnixMilli())
	if err != nil {
		return "", err
	}
	read, err := x.read(topic, 0, from, 40)
	if err != nil {
		return "", err
	}
	return "record 60 of 100 by its time", driver.Same(sent[60:], read)
})

var offsets = with(func(x *t) (string, error) {
	topic, sent, err := x.filled(1, 100)
	if err != nil {
		return "", err
	}
	for _, q := range []struct {
		what                string
		at, want, timestamp int64
	}{
		{"earliest", sarama.OffsetOldest, 0, -1},
		{"latest", sarama.OffsetNewest, 100, -1},
		{"just before record 50", sent[50].Time.UnixMilli() - 1, 50, sent[50].Time.UnixMilli()},
		{"at record 50", sent[50].Time.UnixMilli(), 50, sent[50].Time.UnixMilli()},
		{"after all", sent[99].Time.UnixMilli() + 1, -1, -1},
	} {
		got, err := x.adm.ListOffsets(map[string]map[int32]int64{topic: {0: q.at}}, nil)
		if err != nil {
			return "", fmt.Errorf("%s: %w", q.what, err)
		}
		o := got[topic][0]
		if o == nil || o.Err != nil && !errors.Is(o.Err, sarama.ErrNoError) || o.Offset != q.want || o.Timestamp != q.timestamp {
			return "", fmt.Errorf("%s: %+v, want offset %d at %d", q.what, o, q.want, q.timestamp)
		}
	}
	return "earliest, latest, exact by time, none after the last", nil
})

// member is a consumer in a group.
type member struct {
	group   sarama.ConsumerGroup
	mu      sync.Mutex
	owned   map[int32]bool
	revoked int
	read    []driver.Record
	errs    []error
	id      string
	gen     int32
	stop    context.CancelFunc
	done    chan struct{}
}

func (m *member) Setup(s sarama.ConsumerGroupSession) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.id, m.gen = s.MemberID(), s.GenerationID()
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *member) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	m.mu.Lock()
	m.owned[c.Partition()] = true
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.owned, c.Partition())
		m.revoked++
		m.mu.Unlock()
	}()
	for {
		select {
		case message, ok := <-c.Messages():
			if !ok {
				return nil
			}
			m.mu.Lock()
			m.read = append(m.read, fromSarama(message))
			m.mu.Unlock()
			s.MarkMessage(message, "")
		case <-s.Context().Done():
			return nil
		}
	}
}

func (m *member) failed(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.errs = append(m.errs, err)
}

func (x *t) join(group, topic string, change ...func(*sarama.Config)) (*member, error) {
	g, err := sarama.NewConsumerGroup([]string{x.Bootstrap}, group, config(change...))
	if err != nil {
		return nil, err
	}
	m := &member{group: g, owned: map[int32]bool{}, done: make(chan struct{})}
	ctx, stop := context.WithCancel(x)
	m.stop = stop
	go func() {
		for err := range g.Errors() {
			m.failed(err)
		}
	}()
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			if err := g.Consume(ctx, []string{topic}, m); err != nil && ctx.Err() == nil {
				m.failed(err)
			}
		}
	}()
	return m, nil
}

// leave stops, commits what was marked, and leaves the group.
func (m *member) leave() error {
	m.stop()
	<-m.done
	return m.group.Close()
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

func (m *member) wait(ctx context.Context, n int) error {
	return driver.Wait(ctx, func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.read) < n {
			return fmt.Errorf("%d of %d records (errors %v)", len(m.read), n, m.errs)
		}
		return nil
	})
}

// shared waits until the members own n partitions each, none of them twice.
func shared(ctx context.Context, n int, members ...*member) error {
	return driver.Wait(ctx, func() error {
		seen := map[int32]bool{}
		for i, m := range members {
			owned := m.partitions()
			if len(owned) != n {
				m.mu.Lock()
				defer m.mu.Unlock()
				return fmt.Errorf("member %d owns partitions %v, want %d of them (errors %v)", i, owned, n, m.errs)
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

var groupResume = with(func(x *t) (string, error) {
	topic, sent, err := x.filled(1, 10)
	if err != nil {
		return "", err
	}
	var read []driver.Record
	for life := range 3 {
		m, err := x.join(topic, topic)
		if err != nil {
			return "", err
		}
		if life > 0 {
			more := driver.Numbered(10 * (life + 1))[10*life:]
			if err := x.produce(topic, more); err != nil {
				return "", err
			}
			sent = append(sent, more...)
		}
		if err := m.wait(x, 10); err != nil {
			return "", fmt.Errorf("life %d: %w", life, err)
		}
		if err := m.leave(); err != nil {
			return "", err
		}
		read = append(read, m.read...)
	}
	if err := driver.Same(sent, read); err != nil {
		return "", err
	}
	committed, err := x.adm.ListConsumerGroupOffsets(topic, map[string][]int32{topic: {0}})
	if err != nil {
		return "", err
	}
	if b := committed.GetBlock(topic, 0); b == nil || b.Offset != 30 {
		return "", fmt.Errorf("committed is %+v, want 30", b)
	}
	return "three lives, 10 records each, none twice", nil
})

var noOffset = with(func(x *t) (string, error) {
	topic, _, err := x.filled(1, 3)
	if err != nil {
		return "", err
	}
	committed, err := x.adm.ListConsumerGroupOffsets(x.Unique(), map[string][]int32{topic: {0}})
	if err != nil {
		return "", err
	}
	if b := committed.GetBlock(topic, 0); b == nil || b.Offset != -1 || b.Err != sarama.ErrNoError || committed.Err != sarama.ErrNoError {
		return "", fmt.Errorf("%+v %v, want -1 and no error", b, committed.Err)
	}
	om, err := sarama.NewOffsetManagerFromClient(x.Unique(), x.cl)
	if err != nil {
		return "", err
	}
	defer om.Close()
	p, err := om.ManagePartition(topic, 0)
	if err != nil {
		return "", err
	}
	defer p.Close()
	if next, _ := p.NextOffset(); next != sarama.OffsetOldest {
		return "", fmt.Errorf("the offset manager starts at %d, want the initial offset, oldest", next)
	}
	return "-1, no error", nil
})

var groupRebalance = with(func(x *t) (string, error) {
	topic, sent, err := x.filled(4, 100)
	if err != nil {
		return "", err
	}
	first, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := shared(x, 4, first); err != nil {
		return "", err
	}
	if err := first.wait(x, 100); err != nil {
		return "", err
	}
	second, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := shared(x, 2, first, second); err != nil {
		return "", err
	}
	if err := first.leave(); err != nil {
		return "", err
	}
	if err := shared(x, 4, second); err != nil {
		return "", fmt.Errorf("after the other left: %w", err)
	}
	more := driver.Numbered(120)[100:]
	if err := x.produce(topic, more); err != nil {
		return "", err
	}
	if err := second.wait(x, 20); err != nil {
		return "", err
	}
	if err := second.leave(); err != nil {
		return "", err
	}
	return "4 partitions: alone 4, two 2+2, after the leave 4; every record once", driver.SameSet(slices.Concat(sent, more), slices.Concat(first.read, second.read))
})

var groupRejoin = with(func(x *t) (string, error) {
	topic, sent, err := x.filled(2, 40)
	if err != nil {
		return "", err
	}
	stays, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := stays.wait(x, 40); err != nil {
		return "", err
	}
	for round := range 3 {
		other, err := x.join(topic, topic)
		if err != nil {
			return "", err
		}
		if err := shared(x, 1, stays, other); err != nil {
			return "", fmt.Errorf("round %d: %w", round, err)
		}
		if err := other.leave(); err != nil {
			return "", err
		}
		if err := shared(x, 2, stays); err != nil {
			return "", fmt.Errorf("round %d, after the leave: %w", round, err)
		}
		if len(other.read) != 0 {
			return "", fmt.Errorf("round %d: %d records that were committed came again", round, len(other.read))
		}
	}
	if err := stays.leave(); err != nil {
		return "", err
	}
	return "left and joined again three times", driver.SameSet(sent, stays.read)
})

func instance(id string) func(*sarama.Config) {
	return func(c *sarama.Config) {
		c.Consumer.Group.InstanceId = id
		c.Consumer.Group.Session.Timeout = 45 * time.Second
	}
}

var staticMember = with(func(x *t) (string, error) {
	topic, _, err := x.filled(4, 4)
	if err != nil {
		return "", err
	}
	one, err := x.join(topic, topic, instance("one"))
	if err != nil {
		return "", err
	}
	two, err := x.join(topic, topic, instance("two"))
	if err != nil {
		return "", err
	}
	if err := shared(x, 2, one, two); err != nil {
		return "", err
	}
	had, generation := two.partitions(), one.gen
	if err := two.leave(); err != nil {
		return "", err
	}
	again, err := x.join(topic, topic, instance("two"))
	if err != nil {
		return "", err
	}
	if err := shared(x, 2, one, again); err != nil {
		return "", fmt.Errorf("after the restart: %w", err)
	}
	if now := again.partitions(); !slices.Equal(now, had) {
		return "", fmt.Errorf("after the restart it has %v, had %v", now, had)
	}
	if again.gen != generation || again.id == two.id {
		return "", fmt.Errorf("generation %d became %d, member %s became %s", generation, again.gen, two.id, again.id)
	}
	return "restart without rebalance, same partitions", errors.Join(one.leave(), again.leave())
})

var removeMembers = with(func(x *t) (string, error) {
	topic, _, err := x.filled(2, 2)
	if err != nil {
		return "", err
	}
	stays, err := x.join(topic, topic, instance("stays"))
	if err != nil {
		return "", err
	}
	gone, err := x.join(topic, topic, instance("gone"))
	if err != nil {
		return "", err
	}
	if err := shared(x, 1, stays, gone); err != nil {
		return "", err
	}
	if err := gone.leave(); err != nil {
		return "", err
	}
	answer, err := x.adm.RemoveMemberFromConsumerGroup(topic, []string{"gone"})
	if err != nil {
		return "", err
	}
	if answer.Err != sarama.ErrNoError || len(answer.Members) != 1 || answer.Members[0].Err != sarama.ErrNoError {
		return "", fmt.Errorf("%+v", answer)
	}
	if err := shared(x, 2, stays); err != nil {
		return "", err
	}
	return "by instance id, long before its session ends", stays.leave()
})

var cooperative = with(func(x *t) (string, error) {
	topic, _, err := x.filled(6, 6)
	if err != nil {
		return "", err
	}
	sticky := func(c *sarama.Config) {
		c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky()}
	}
	first, err := x.join(topic, topic, sticky)
	if err != nil {
		return "", err
	}
	if err := shared(x, 6, first); err != nil {
		return "", err
	}
	second, err := x.join(topic, topic, sticky)
	if err != nil {
		return "", err
	}
	if err := shared(x, 3, first, second); err != nil {
		return "", err
	}
	first.mu.Lock()
	revoked := first.revoked
	first.mu.Unlock()
	if revoked != 3 {
		return "", fmt.Errorf("the first member had %d partitions revoked, want 3", revoked)
	}
	if err := second.leave(); err != nil {
		return "", err
	}
	if err := shared(x, 6, first); err != nil {
		return "", err
	}
	return "only the 3 partitions that moved were revoked", first.leave()
})

var createTopic = with(func(x *t) (string, error) {
	topic, err := x.topic(3, "retention.ms", "86400000", "cleanup.policy", "compact")
	if err != nil {
		return "", err
	}
	dry := x.Unique()
	if err := x.adm.CreateTopic(dry, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, true); err != nil {
		return "", fmt.Errorf("validate only: %w", err)
	}
	for _, c := range []struct {
		name       string
		partitions int32
		factor     int16
		want       sarama.KError
	}{
		{topic, 1, 1, sarama.ErrTopicAlreadyExists},
		{"no spaces", 1, 1, sarama.ErrInvalidTopic},
		{x.Unique(), 0, 1, sarama.ErrInvalidPartitions},
		{x.Unique(), 1, 0, sarama.ErrInvalidReplicationFactor},
	} {
		if err := x.adm.CreateTopic(c.name, &sarama.TopicDetail{NumPartitions: c.partitions, ReplicationFactor: c.factor}, false); !errors.Is(err, c.want) {
			return "", fmt.Errorf("%+v: %v, want %v", c, err, c.want)
		}
	}
	listed, err := x.adm.ListTopics()
	if err != nil {
		return "", err
	}
	if _, ok := listed[dry]; ok {
		return "", fmt.Errorf("validation made the topic")
	}
	d, ok := listed[topic]
	if !ok || d.NumPartitions != 3 || d.ReplicationFactor != 1 || d.ConfigEntries["retention.ms"] == nil || *d.ConfigEntries["retention.ms"] != "86400000" {
		return "", fmt.Errorf("listed as %+v", d)
	}
	return "with configs; duplicates, bad names, counts and factors refused; validate only creates nothing", nil
})

var describeTopic = with(func(x *t) (string, error) {
	topic, err := x.topic(3)
	if err != nil {
		return "", err
	}
	described, err := x.adm.DescribeTopics([]string{topic, x.Unique()})
	if err != nil || len(described) != 2 {
		return "", fmt.Errorf("%+v %v", described, err)
	}
	if described[0].Name != topic {
		slices.Reverse(described)
	}
	if d := described[0]; d.Err != sarama.ErrNoError || len(d.Partitions) != 3 || d.Uuid == (sarama.Uuid{}) || d.Partitions[0].Leader < 0 || len(d.Partitions[0].Isr) == 0 {
		return "", fmt.Errorf("%+v", d)
	}
	if d := described[1]; d.Err != sarama.ErrUnknownTopicOrPartition {
		return "", fmt.Errorf("unknown topic: %v", d.Err)
	}
	return "3 partitions with leaders; an unknown one is told, not made", nil
})

var deleteTopic = with(func(x *t) (string, error) {
	topic, _, err := x.filled(1, 5)
	if err != nil {
		return "", err
	}
	if err := x.adm.DeleteTopic(topic); err != nil {
		return "", err
	}
	if err := x.adm.DeleteTopic(topic); !errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
		return "", fmt.Errorf("again: %v, want UNKNOWN_TOPIC_OR_PARTITION", err)
	}
	listed, err := x.adm.ListTopics()
	if err != nil {
		return "", err
	}
	if _, ok := listed[topic]; ok {
		return "", fmt.Errorf("still listed")
	}
	return "gone", nil
})

var addPartitions = with(func(x *t) (string, error) {
	topic, err := x.topic(2)
	if err != nil {
		return "", err
	}
	if err := x.adm.CreatePartitions(topic, 5, nil, true); err != nil {
		return "", fmt.Errorf("validate only: %w", err)
	}
	if err := x.adm.CreatePartitions(topic, 5, nil, false); err != nil {
		return "", err
	}
	if err := x.adm.CreatePartitions(topic, 3, nil, false); !errors.Is(err, sarama.ErrInvalidPartitions) {
		return "", fmt.Errorf("fewer: %v, want INVALID_PARTITIONS", err)
	}
	if err := x.cl.RefreshMetadata(topic); err != nil {
		return "", err
	}
	now, err := x.cl.Partitions(topic)
	if err != nil || len(now) != 5 {
		return "", fmt.Errorf("partitions %v, want 5 (%v)", now, err)
	}
	return "2 to 5; fewer refused", nil
})

func (x *t) describe(kind sarama.ConfigResourceType, name string) (map[string]sarama.ConfigEntry, error) {
	results, err := x.adm.DescribeConfigs([]*sarama.ConfigResource{{Type: kind, Name: name}}, sarama.DescribeConfigsOptions{IncludeSynonyms: true})
	if err != nil {
		return nil, err
	}
	if len(results) != 1 || results[0].ErrorCode != sarama.ErrNoError {
		return nil, fmt.Errorf("%+v", results)
	}
	entries := map[string]sarama.ConfigEntry{}
	for _, c := range results[0].Configs {
		entries[c.Name] = c
	}
	return entries, nil
}

func (x *t) alter(kind sarama.ConfigResourceType, resource, name string, op sarama.IncrementalAlterConfigsOperation, value string) error {
	v := &value
	if op == sarama.IncrementalAlterConfigsOperationDelete {
		v = nil
	}
	return x.adm.IncrementalAlterConfig(kind, resource, map[string]sarama.IncrementalAlterConfigsEntry{name: {Operation: op, Value: v}}, false)
}

var describeConfigs = with(func(x *t) (string, error) {
	topic, err := x.topic(1, "retention.ms", "3600000")
	if err != nil {
		return "", err
	}
	entries, err := x.describe(sarama.TopicResource, topic)
	if err != nil {
		return "", err
	}
	if c := entries["retention.ms"]; c.Value != "3600000" || c.Source != sarama.SourceTopic || len(c.Synonyms) == 0 {
		return "", fmt.Errorf("retention.ms: %+v", c)
	}
	if c := entries["cleanup.policy"]; c.Value != "delete" || c.Source != sarama.SourceDefault {
		return "", fmt.Errorf("cleanup.policy: %+v", c)
	}
	return fmt.Sprintf("%d with source and synonyms", len(entries)), nil
})

var alterConfigs = with(func(x *t) (string, error) {
	topic, err := x.topic(1, "retention.ms", "3600000")
	if err != nil {
		return "", err
	}
	for _, step := range []struct {
		name        string
		op          sarama.IncrementalAlterConfigsOperation
		value, want string
	}{
		{"max.message.bytes", sarama.IncrementalAlterConfigsOperationSet, "2000000", "2000000"},
		{"cleanup.policy", sarama.IncrementalAlterConfigsOperationAppend, "compact", "delete,compact"},
		{"cleanup.policy", sarama.IncrementalAlterConfigsOperationSubtract, "delete", "compact"},
		{"retention.ms", sarama.IncrementalAlterConfigsOperationDelete, "", "604800000"},
	} {
		if err := x.alter(sarama.TopicResource, topic, step.name, step.op, step.value); err != nil {
			return "", fmt.Errorf("%s: %w", step.name, err)
		}
		entries, err := x.describe(sarama.TopicResource, topic)
		if err != nil {
			return "", err
		}
		if c := entries[step.name]; c.Value != step.want {
			return "", fmt.Errorf("%s is %q, want %q", step.name, c.Value, step.want)
		}
	}
	return "set, append, subtract, delete", nil
})

var unknownConfig = with(func(x *t) (string, error) {
	topic, err := x.topic(1)
	if err != nil {
		return "", err
	}
	yes := "yes"
	if err := x.adm.CreateTopic(x.Unique(), &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: map[string]*string{"no.such.config": &yes}}, false); !errors.Is(err, sarama.ErrInvalidConfig) {
		return "", fmt.Errorf("create: %v, want INVALID_CONFIG", err)
	}
	for name, bad := range map[string]string{"no.such.config": "1", "retention.ms": "soon"} {
		if err := x.alter(sarama.TopicResource, topic, name, sarama.IncrementalAlterConfigsOperationSet, bad); err == nil || !strings.Contains(err.Error(), name) {
			return "", fmt.Errorf("%s=%s: %v, want it refused by name", name, bad, err)
		}
	}
	return "refused by name", nil
})

var replaceConfigs = with(func(x *t) (string, error) {
	topic, err := x.topic(1, "retention.ms", "3600000", "max.message.bytes", "5000")
	if err != nil {
		return "", err
	}
	value, bad := "7200000", "1"
	if err := x.adm.AlterConfig(sarama.TopicResource, topic, map[string]*string{"retention.ms": &value}, false); err != nil {
		return "", err
	}
	if err := x.adm.AlterConfig(sarama.TopicResource, topic, map[string]*string{"no.such.config": &bad}, false); err == nil {
		return "", fmt.Errorf("an unknown config was taken")
	}
	entries, err := x.describe(sarama.TopicResource, topic)
	if err != nil {
		return "", err
	}
	for name, want := range map[string]string{"retention.ms": value, "max.message.bytes": "1048588"} {
		if c := entries[name]; c.Value != want {
			return "", fmt.Errorf("%s is %q, want %q", name, c.Value, want)
		}
	}
	return "what is not named goes back to its default", nil
})

var brokerConfigs = with(func(x *t) (string, error) {
	brokers, _, err := x.adm.DescribeCluster()
	if err != nil {
		return "", err
	}
	id := fmt.Sprint(brokers[0].ID())
	const key = "log.message.timestamp.after.max.ms" // one that disturbs nobody
	before, err := x.describe(sarama.BrokerResource, id)
	if err != nil {
		return "", err
	}
	for _, name := range []string{"log.retention.ms", "message.max.bytes", "compression.type", key} {
		if c, ok := before[name]; !ok || c.Value == "" {
			return "", fmt.Errorf("%s: %+v, among %d", name, c, len(before))
		}
	}
	is := func(want string) error {
		return driver.Wait(x, func() error {
			entries, err := x.describe(sarama.BrokerResource, id)
			if c := entries[key]; err != nil || c.Value != want {
				return fmt.Errorf("%s is %q, want %q (%v)", key, c.Value, want, err)
			}
			return nil
		})
	}
	if err := x.alter(sarama.BrokerResource, id, key, sarama.IncrementalAlterConfigsOperationSet, "31536000000"); err != nil {
		return "", err
	}
	if err := is("31536000000"); err != nil {
		return "", err
	}
	if err := x.alter(sarama.BrokerResource, id, key, sarama.IncrementalAlterConfigsOperationDelete, ""); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d described; set and deleted", len(before)), is(before[key].Value)
})

var describeCluster = with(func(x *t) (string, error) {
	brokers, controller, err := x.adm.DescribeCluster()
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(brokers, func(b *sarama.Broker) bool { return b.ID() == controller && b.Addr() == x.Bootstrap }) {
		return "", fmt.Errorf("controller %d at %s is not one of %d brokers", controller, x.Bootstrap, len(brokers))
	}
	return fmt.Sprintf("%d broker, the controller is one of them", len(brokers)), nil
})

var listGroups = with(func(x *t) (string, error) {
	topic, _, err := x.filled(1, 1)
	if err != nil {
		return "", err
	}
	m, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := shared(x, 1, m); err != nil {
		return "", err
	}
	listed, err := x.adm.ListConsumerGroups()
	if err != nil || listed[topic] != "consumer" {
		return "", fmt.Errorf("listed as %q (%v)", listed[topic], err)
	}
	return "with its protocol type", m.leave()
})

var describeGroups = with(func(x *t) (string, error) {
	topic, _, err := x.filled(2, 4)
	if err != nil {
		return "", err
	}
	m, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := shared(x, 2, m); err != nil {
		return "", err
	}
	described, err := x.adm.DescribeConsumerGroups([]string{topic})
	if err != nil || len(described) != 1 {
		return "", fmt.Errorf("%+v %v", described, err)
	}
	g := described[0]
	if g.Err != sarama.ErrNoError || g.State != "Stable" || g.ProtocolType != "consumer" || g.Protocol != "range" || len(g.Members) != 1 {
		return "", fmt.Errorf("%+v", g)
	}
	one := g.Members[m.id]
	if one == nil || one.ClientId != "compat-sarama" || one.ClientHost == "" {
		return "", fmt.Errorf("member %s: %+v", m.id, one)
	}
	assigned, err := one.GetMemberAssignment()
	if err != nil || len(assigned.Topics[topic]) != 2 {
		return "", fmt.Errorf("assigned %+v %v", assigned, err)
	}
	return "state, member, client, assignment", m.leave()
})

var deleteGroups = with(func(x *t) (string, error) {
	topic, _, err := x.filled(1, 4)
	if err != nil {
		return "", err
	}
	m, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := m.wait(x, 4); err != nil {
		return "", err
	}
	if err := x.adm.DeleteConsumerGroup(topic); !errors.Is(err, sarama.ErrNonEmptyGroup) {
		return "", fmt.Errorf("with a member: %v, want NON_EMPTY_GROUP", err)
	}
	if err := m.leave(); err != nil {
		return "", err
	}
	if err := x.adm.DeleteConsumerGroup(topic); err != nil {
		return "", err
	}
	if err := x.adm.DeleteConsumerGroup(topic); !errors.Is(err, sarama.ErrGroupIDNotFound) {
		return "", fmt.Errorf("again: %v, want GROUP_ID_NOT_FOUND", err)
	}
	return "refused with members, then gone", nil
})

// set sets a group's offset in two topics.
func (x *t) set(group string, offsets map[string]int64) error {
	request := map[string]map[int32]sarama.OffsetAndMetadata{}
	for topic, offset := range offsets {
		request[topic] = map[int32]sarama.OffsetAndMetadata{0: {Offset: offset, Metadata: "by hand", LeaderEpoch: -1}}
	}
	answer, err := x.adm.AlterConsumerGroupOffsets(group, request, nil)
	if err != nil {
		return err
	}
	for topic, partitions := range answer.Errors {
		for p, err := range partitions {
			if err != sarama.ErrNoError {
				return fmt.Errorf("%s/%d: %w", topic, p, err)
			}
		}
	}
	return nil
}

var resetOffsets = with(func(x *t) (string, error) {
	topic, sent, err := x.filled(1, 20)
	if err != nil {
		return "", err
	}
	if err := x.set(topic, map[string]int64{topic: 15}); err != nil {
		return "", err
	}
	all, err := x.adm.ListConsumerGroupOffsets(topic, nil)
	if err != nil {
		return "", err
	}
	if b := all.GetBlock(topic, 0); b == nil || b.Offset != 15 || b.Metadata != "by hand" {
		return "", fmt.Errorf("%+v, want 15 by hand", b)
	}
	m, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := m.wait(x, 5); err != nil {
		return "", err
	}
	if err := x.set(topic, map[string]int64{topic: 3}); !errors.Is(err, sarama.ErrUnknownMemberId) {
		return "", fmt.Errorf("with a member: %v, want UNKNOWN_MEMBER_ID", err)
	}
	if err := m.leave(); err != nil {
		return "", err
	}
	return "set and read, consumed from there; refused with members", driver.Same(sent[15:], m.read)
})

var deleteOffsets = with(func(x *t) (string, error) {
	topic, _, err := x.filled(1, 20)
	if err != nil {
		return "", err
	}
	other, err := x.topic(1)
	if err != nil {
		return "", err
	}
	if err := x.set(topic, map[string]int64{topic: 20, other: 7}); err != nil {
		return "", err
	}
	m, err := x.join(topic, topic)
	if err != nil {
		return "", err
	}
	if err := shared(x, 1, m); err != nil {
		return "", err
	}
	if err := x.adm.DeleteConsumerGroupOffset(topic, topic, 0); !errors.Is(err, sarama.ErrGroupSubscribedToTopic) {
		return "", fmt.Errorf("while subscribed: %v, want GROUP_SUBSCRIBED_TO_TOPIC", err)
	}
	if err := x.adm.DeleteConsumerGroupOffset(topic, other, 0); err != nil {
		return "", fmt.Errorf("of a topic that is not subscribed: %w", err)
	}
	if err := m.leave(); err != nil {
		return "", err
	}
	all, err := x.adm.ListConsumerGroupOffsets(topic, nil)
	if err != nil || all.GetBlock(topic, 0) == nil || all.GetBlock(other, 0) != nil {
		return "", fmt.Errorf("after the deletion: %+v %v", all, err)
	}
	return "one topic's; refused while subscribed", nil
})

var deleteRecords = with(func(x *t) (string, error) {
	topic, sent, err := x.filled(1, 50)
	if err != nil {
		return "", err
	}
	if err := x.adm.DeleteRecords(topic, map[int32]int64{0: 20}); err != nil {
		return "", err
	}
	if start, err := x.cl.GetOffset(topic, 0, sarama.OffsetOldest); err != nil || start != 20 {
		return "", fmt.Errorf("earliest is %d, want 20 (%v)", start, err)
	}
	read, err := x.read(topic, 0, sarama.OffsetOldest, 30)
	if err != nil {
		return "", err
	}
	if err := driver.Same(sent[20:], read); err != nil {
		return "", err
	}
	if _, err := x.read(topic, 0, 3, 1); !errors.Is(err, sarama.ErrOffsetOutOfRange) {
		return "", fmt.Errorf("from a deleted offset: %v, want OFFSET_OUT_OF_RANGE", err)
	}
	if err := x.adm.DeleteRecords(topic, map[int32]int64{0: 51}); err == nil {
		return "", fmt.Errorf("deleting past the end was taken")
	}
	return "to an offset; past the end refused", nil
})

var logDirs = with(func(x *t) (string, error) {
	topic, _, err := x.filled(1, 100)
	if err != nil {
		return "", err
	}
	brokers, _, err := x.adm.DescribeCluster()
	if err != nil {
		return "", err
	}
	dirs, err := x.adm.DescribeLogDirs([]int32{brokers[0].ID()})
	if err != nil {
		return "", err
	}
	for _, d := range dirs[brokers[0].ID()] {
		for _, of := range d.Topics {
			if of.Topic == topic && len(of.Partitions) == 1 && of.Partitions[0].Size > 10_000 && d.TotalBytes > 0 && d.UsableBytes > 0 {
				return fmt.Sprintf("%d bytes", of.Partitions[0].Size), nil
			}
		}
	}
	return "", fmt.Errorf("%+v", dirs)
})

var quotas = with(func(x *t) (string, error) {
	client := x.Unique()
	entity := []sarama.QuotaEntityComponent{{EntityType: sarama.QuotaEntityClientID, MatchType: sarama.QuotaMatchExact, Name: client}}
	filter := []sarama.QuotaFilterComponent{{EntityType: sarama.QuotaEntityClientID, MatchType: sarama.QuotaMatchExact, Match: client}}
	if err := x.adm.AlterClientQuotas(entity, sarama.ClientQuotasOp{Key: "producer_byte_rate", Value: 20_000}, false); err != nil {
		return "", err
	}
	described, err := x.adm.DescribeClientQuotas(filter, true)
	if err != nil || len(described) != 1 || described[0].Values["producer_byte_rate"] != 20_000 {
		return "", fmt.Errorf("%+v %v", described, err)
	}
	if err := x.adm.AlterClientQuotas(entity, sarama.ClientQuotasOp{Key: "no_such_quota", Value: 1}, false); err == nil {
		return "", fmt.Errorf("an unknown quota was taken")
	}
	topic, err := x.topic(1)
	if err != nil {
		return "", err
	}
	p, err := open(x, x.Env, func(c *sarama.Config) { c.ClientID = client })
	if err != nil {
		return "", err
	}
	defer p.close()
	began := time.Now()
	for range 40 {
		if err := p.produce(topic, []driver.Record{{Value: make([]byte, 10_000)}}); err != nil {
			return "", err
		}
		if time.Since(began) > 3*time.Second {
			break
		}
	}
	if took := time.Since(began); took < 2*time.Second {
		return "", fmt.Errorf("400 kB at 20 kB/s took %v", took)
	}
	if err := x.adm.AlterClientQuotas(entity, sarama.ClientQuotasOp{Key: "producer_byte_rate", Remove: true}, false); err != nil {
		return "", err
	}
	if described, err = x.adm.DescribeClientQuotas(filter, true); err != nil || len(described) != 0 {
		return "", fmt.Errorf("after the removal: %+v %v", described, err)
	}
	return "set, described, throttled, removed; unknown ones refused", nil
})

var electLeaders = with(func(x *t) (string, error) {
	topic, err := x.topic(1)
	if err != nil {
		return "", err
	}
	elected, err := x.adm.ElectLeaders(sarama.PreferredElection, map[string][]int32{topic: {0}})
	if err != nil {
		return "", err
	}
	if r := elected[topic][0]; r == nil || r.ErrorCode != sarama.ErrElectionNotNeeded {
		return "", fmt.Errorf("%+v, want ELECTION_NOT_NEEDED", r)
	}
	return "not needed", nil
})

var reassign = with(func(x *t) (string, error) {
	topic, err := x.topic(1)
	if err != nil {
		return "", err
	}
	under, err := x.adm.ListPartitionReassignments(topic, []int32{0})
	if err != nil || len(under[topic]) != 0 {
		return "", fmt.Errorf("%+v %v", under, err)
	}
	brokers, _, err := x.adm.DescribeCluster()
	if err != nil {
		return "", err
	}
	if err := x.adm.AlterPartitionReassignments(topic, [][]int32{{brokers[0].ID()}}); err != nil {
		return "", fmt.Errorf("to where it is: %w", err)
	}
	if err := x.adm.AlterPartitionReassignments(topic, [][]int32{{brokers[0].ID() + 1000}}); err == nil {
		return "", fmt.Errorf("to a broker that is not there: no error")
	}
	return "none under way; to where it is taken, to nowhere refused", nil
})

var acls = with(func(x *t) (string, error) {
	answer, err := x.adm.ListAcls(sarama.AclFilter{Version: 1, ResourceType: sarama.AclResourceAny, ResourcePatternTypeFilter: sarama.AclPatternAny, Operation: sarama.AclOperationAny, PermissionType: sarama.AclPermissionAny})
	if err == nil {
		return "", fmt.Errorf("%+v without an error, want SECURITY_DISABLED", answer)
	}
	return err.Error(), nil
})

func interchangeWrite(ctx context.Context, e driver.Env) (string, error) {
	codecs := map[string]sarama.CompressionCodec{"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP,
		"snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD}
	for _, name := range driver.Codecs {
		x, err := open(ctx, e, func(c *sarama.Config) {
			c.Producer.Compression = codecs[name]
			c.Producer.Flush.Messages = 100
			c.Producer.Flush.Frequency = 50 * time.Millisecond
		})
		if err != nil {
			return "", err
		}
		err = x.produce(driver.InterchangeTopic(name), driver.InterchangeRecords(e.Client))
		x.close()
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	return strings.Join(driver.Codecs, ", "), nil
}

var interchangeRead = with(func(x *t) (string, error) {
	var clients []string
	for _, name := range driver.Codecs {
		topic := driver.InterchangeTopic(name)
		end, err := x.cl.GetOffset(topic, 0, sarama.OffsetNewest)
		if err != nil {
			return "", err
		}
		read, err := x.read(topic, 0, sarama.OffsetOldest, int(end))
		if err != nil {
			return "", err
		}
		if clients, err = driver.CheckInterchange(read); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	return "of " + strings.Join(clients, ", "), nil
})
