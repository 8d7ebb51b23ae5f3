// The driver of sarama.
package main

import (
	"context"
	"errors"
	"fmt"
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
