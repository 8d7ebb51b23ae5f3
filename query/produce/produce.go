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

	mu      sync.Mutex
	client  *client   // nil until somebody writes
	retired []*client // are closed after their last users
	closed  bool
	ending  sync.WaitGroup // clients that are being closed
}

// client is a Kafka client, and who uses it.
type client struct {
	*kgo.Client
	seeds []string // that it knows
	users int
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

// open returns the client, which knows the brokers that live now. The caller
// leaves it.
func (p *Producer) open() (*client, error) {
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
		made, err := kgo.NewClient(append([]kgo.Opt{
			kgo.SeedBrokers(seeds...), kgo.ClientID("chronik-query"),
			kgo.MetadataMinAge(100 * time.Millisecond),
			kgo.ProducerLinger(0), // a document is not held back for others
			kgo.RecordDeliveryTimeout(deliverWithin),
			kgo.MaxBufferedRecords(recordsMax), kgo.MaxBufferedBytes(int(p.o.BytesMax)),
		}, p.o.Client...)...)
		if err != nil {
			return nil, fmt.Errorf("make a Kafka client: %w", err)
		}
		p.client = &client{Client: made, seeds: seeds}
	case !slices.Equal(p.client.seeds, seeds): // those that it began with may be gone for good
		if err := p.client.UpdateSeedBrokers(seeds...); err != nil {
			p.o.Log.Warn("a broker's address cannot be used", "addresses", seeds, "err", err)
		}
		p.client.seeds = seeds
	}
	p.client.users++
	return p.client, nil
}

// leave ends one use of a client.
func (p *Producer) leave(c *client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.users--; c.users == 0 && slices.Contains(p.retired, c) {
		p.retired = slices.DeleteFunc(p.retired, func(r *client) bool { return r == c })
		p.ending.Go(c.Close)
	}
}

// retire lets whoever comes next have another client, with another producer id:
// a client does without a topic for good that was deleted and created again, and
// one that forgot the topic would count its records from 0 again, which brokers
// take for repeated ones if it is the same topic after all.
func (p *Producer) retire(c *client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client != c {
		return
	}
	p.client = nil
	if c.users == 0 { // those who wrote have stopped waiting
		p.ending.Go(c.Close)
		return
	}
	p.retired = append(p.retired, c)
}

// Close gives up what is under way.
func (p *Producer) Close() {
	p.mu.Lock()
	all := p.retired
	if p.client != nil {
		all = append(all, p.client)
	}
	p.client, p.retired, p.closed = nil, nil, true
	p.mu.Unlock()
	for _, c := range all {
		c.Close()
	}
	p.ending.Wait()
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

// Produce implements elastic.Producer. Records of a topic that was deleted and
// created again since it was written last are for the new one.
func (p *Producer) Produce(ctx context.Context, records []elastic.Record) []elastic.Outcome {
	outcomes := p.produce(ctx, records)
	var again []elastic.Record
	var places []int
	for i, o := range outcomes {
		if errors.Is(o.Err, errRecreated) {
			again, places = append(again, records[i]), append(places, i)
		}
	}
	if len(again) == 0 || ctx.Err() != nil {
		return outcomes
	}
	for i, o := range p.produce(ctx, again) {
		outcomes[places[i]] = o
	}
	return outcomes
}

// errRecreated is the outcome of a record whose topic has another id than the
// client has known: it is not in the topic.
var errRecreated = fmt.Errorf("%w: it was created again", elastic.ErrUnknownTopic)

func (p *Producer) produce(ctx context.Context, records []elastic.Record) []elastic.Outcome {
	d := &delivery{outcomes: make([]elastic.Outcome, len(records)), left: len(records), done: make(chan struct{})}
	client, err := p.open()
	if err != nil {
		for i := range d.outcomes {
			d.outcomes[i].Err = err
		}
		return d.outcomes
	}
	defer p.leave(client)
	for i := range d.outcomes {
		d.outcomes[i].Err = errUnknown
	}
	for i, r := range records {
		client.Produce(ctx, &kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value}, func(r *kgo.Record, err error) {
			outcome := elastic.Outcome{Partition: r.Partition, Offset: r.Offset, Err: meaning(err, "")}
			if errors.Is(err, kerr.UnknownTopicID) {
				p.retire(client)
				outcome.Err = errRecreated
			}
			d.note(i, outcome)
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
	defer p.leave(client)
	if partitions == 0 {
		partitions = -1 // the cluster's default
	}
	values := make(map[string]*string, len(config))
	for key, value := range config {
		values[key] = &value
	}
	answer, err := kadm.NewClient(client.Client).CreateTopic(ctx, partitions, -1, values, name)
	return meaning(err, answer.ErrMessage)
}

// DeleteTopic implements elastic.Admin.
func (p *Producer) DeleteTopic(ctx context.Context, name string) error {
	client, err := p.open()
	if err != nil {
		return err
	}
	defer p.leave(client)
	answer, err := kadm.NewClient(client.Client).DeleteTopic(ctx, name)
	return meaning(err, answer.ErrMessage)
}
