package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/tests/compat/goclients/driver"
)

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
		read, err := x.read(topic, driver.InterchangeCount(o.Offset))
		if err != nil {
			return "", err
		}
		if clients, err = driver.CheckInterchange(records(read)); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	return "of " + strings.Join(clients, ", "), nil
}
