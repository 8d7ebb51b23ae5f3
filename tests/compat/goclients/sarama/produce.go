package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/chronik-stream/chronik/tests/compat/goclients/driver"
)

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
		read, err := x.read(topic, 0, sarama.OffsetOldest, driver.InterchangeCount(end))
		if err != nil {
			return "", err
		}
		if clients, err = driver.CheckInterchange(read); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	return "of " + strings.Join(clients, ", "), nil
})
