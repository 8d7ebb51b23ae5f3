// Package produce writes to the log on behalf of a surface of the query node, and
// creates and deletes topics, as any other client of Kafka would.
//
// Records are written idempotently, and an outcome is told when all replicas have
// them (acks=all). Of a record whose outcome is none of elastic's errors it is not
// known whether it was written.
package produce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/query/elastic"
)

// Options are what a Producer works with. Seeds is required.
type Options struct {
	// Seeds returns addresses of live brokers.
	Seeds func() []string
	// Client holds what else a Kafka client needs: TLS, SASL.
	Client []kgo.Opt
	// BytesMax bounds the records that wait to be acknowledged; default 128 MiB.
	BytesMax int64
	Log      *slog.Logger
}

// Producer writes records. All methods may be called at once.
type Producer struct {
	o Options

	mu     sync.Mutex
	client *kgo.Client // nil until somebody writes
	seeds  []string    // that it knows
	closed bool
}

// New returns a producer. It connects when it is first used.
func New(o Options) *Producer {
	if o.BytesMax <= 0 {
		o.BytesMax = 128 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Producer{o: o}
}

const (
	// deliverWithin is after how long a record that nobody waits for any more is
	// given up.
	deliverWithin = 2 * time.Minute
	recordsMax    = 1 << 20
)

var errClosed = fmt.Errorf("%w: the query node is stopping", elastic.ErrUnavailable)

// open returns the client, which knows the brokers that live now.
func (p *Producer) open() (*kgo.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	seeds := p.o.Seeds()
	switch {
	case len(seeds) == 0:
		return nil, fmt.Errorf("%w: no broker lives", elastic.ErrUnavailable)
	case p.client == nil:
		client, err := kgo.NewClient(append([]kgo.Opt{
			kgo.SeedBrokers(seeds...), kgo.ClientID("chronik-query"),
			kgo.MetadataMinAge(100 * time.Millisecond),
			kgo.ProducerLinger(0), // a document is not held back for others
			kgo.RecordDeliveryTimeout(deliverWithin),
			kgo.MaxBufferedRecords(recordsMax), kgo.MaxBufferedBytes(int(p.o.BytesMax)),
		}, p.o.Client...)...)
		if err != nil {
			return nil, fmt.Errorf("make a Kafka client: %w", err)
		}
		p.client, p.seeds = client, seeds
	case !slices.Equal(p.seeds, seeds): // those that it began with may be gone for good
		if err := p.client.UpdateSeedBrokers(seeds...); err != nil {
			p.o.Log.Warn("a broker's address cannot be used", "addresses", seeds, "err", err)
		}
		p.seeds = seeds
	}
	return p.client, nil
}

// Close gives up what is under way.
func (p *Producer) Close() {
	p.mu.Lock()
	client := p.client
	p.client, p.closed = nil, true
	p.mu.Unlock()
	if client != nil {
		client.Close()
	}
}

// delivery gathers what becomes of the records of one call.
type delivery struct {
	mu       sync.Mutex
	outcomes []elastic.Outcome
	left     int
	done     chan struct{}
}

func (d *delivery) note(i int, o elastic.Outcome) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.outcomes[i] = o
	if d.left--; d.left == 0 {
		close(d.done)
	}
}

// Produce implements elastic.Producer.
func (p *Producer) Produce(ctx context.Context, records []elastic.Record) []elastic.Outcome {
	d := &delivery{outcomes: make([]elastic.Outcome, len(records)), left: len(records), done: make(chan struct{})}
	client, err := p.open()
	if err != nil {
		for i := range d.outcomes {
			d.outcomes[i].Err = err
		}
		return d.outcomes
	}
	for i := range d.outcomes {
		d.outcomes[i].Err = errUnknown
	}
	for i, r := range records {
		client.Produce(ctx, &kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value}, func(r *kgo.Record, err error) {
			d.note(i, elastic.Outcome{Partition: r.Partition, Offset: r.Offset, Err: meaning(err, "")})
		})
	}
	select {
	case <-d.done:
	case <-ctx.Done(): // what was sent may still be written
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.outcomes)
}

// errUnknown is the outcome of a record that nothing was heard of.
var errUnknown = errors.New("its brokers did not answer in time")

// meanings are what errors of Kafka mean. An error that is not here does not tell
// whether anything was written.
var meanings = []struct {
	code  error
	means error
}{
	{kerr.UnknownTopicOrPartition, elastic.ErrUnknownTopic},
	{kerr.UnknownTopicID, elastic.ErrUnknownTopic},
	{kerr.TopicAlreadyExists, elastic.ErrTopicExists},
	{kerr.MessageTooLarge, elastic.ErrTooLarge},
	{kerr.RecordListTooLarge, elastic.ErrTooLarge},
	{kerr.InvalidRecord, elastic.ErrRefused},
	{kerr.InvalidTimestamp, elastic.ErrRefused},
	{kerr.PolicyViolation, elastic.ErrRefused},
	{kerr.InvalidTopicException, elastic.ErrRefused},
	{kerr.InvalidConfig, elastic.ErrRefused},
	{kerr.InvalidPartitions, elastic.ErrRefused},
	{kerr.InvalidReplicationFactor, elastic.ErrRefused},
	{kerr.TopicDeletionDisabled, elastic.ErrRefused},
	{kerr.TopicAuthorizationFailed, elastic.ErrForbidden},
	{kerr.ClusterAuthorizationFailed, elastic.ErrForbidden},
	{kerr.ThrottlingQuotaExceeded, elastic.ErrThrottled},
	{kerr.NotEnoughReplicas, elastic.ErrUnavailable},
	{kgo.ErrClientClosed, elastic.ErrUnavailable},
}

// meaning is an error as the surfaces know it, with the broker's words if it had
// any.
func meaning(err error, words string) error {
	if err == nil {
		return nil
	}
	for _, m := range meanings {
		if !errors.Is(err, m.code) {
			continue
		}
		if words == "" {
			words = err.Error()
		}
		return fmt.Errorf("%w: %s", m.means, words)
	}
	return err
}

// CreateTopic implements elastic.Admin.
func (p *Producer) CreateTopic(ctx context.Context, name string, partitions int32, config map[string]string) error {
	client, err := p.open()
	if err != nil {
		return err
	}
	if partitions == 0 {
		partitions = -1 // the cluster's default
	}
	values := make(map[string]*string, len(config))
	for key, value := range config {
		values[key] = &value
	}
	answer, err := kadm.NewClient(client).CreateTopic(ctx, partitions, -1, values, name)
	return meaning(err, answer.ErrMessage)
}

// DeleteTopic implements elastic.Admin.
func (p *Producer) DeleteTopic(ctx context.Context, name string) error {
	client, err := p.open()
	if err != nil {
		return err
	}
	answer, err := kadm.NewClient(client).DeleteTopic(ctx, name)
	return meaning(err, answer.ErrMessage)
}
