package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

type produceOptions struct {
	bootstrap
	topic        string
	format       string
	keySeparator string
}

func newProduce(e env) *cobra.Command {
	var o produceOptions
	c := &cobra.Command{
		Use:   "produce TOPIC",
		Short: "Write records from standard input to a topic",
		Long: `Write records from standard input to a topic, one a line, and wait until all
are acknowledged (acks=all, idempotent).`,
		Example: `  echo '{"city":"Oslo","amount":12.5}' | chronik produce orders

  # the key before a separator decides the partition
  printf 'oslo|12.5\nbergen|7\n' | chronik produce orders --key-separator '|'

  # JSON with key, value, headers, timestamp: what "consume -o json" writes
  echo '{"key":"oslo","value":{"amount":12.5},"headers":[{"key":"trace","value":"7"}]}' |
    chronik produce orders --format json

  # a copy of a topic
  chronik consume orders --exit -o json | chronik produce orders-copy --format json`,
		Args: exactly("TOPIC"), ValidArgsFunction: o.topics(false),
		RunE: func(c *cobra.Command, args []string) error {
			o.topic = args[0]
			return o.run(c.Context(), c.InOrStdin(), c.ErrOrStderr())
		},
	}
	o.add(c, e)
	c.Flags().StringVar(&o.format, "format", "lines", "what a line is: lines (a value) or json (a record)")
	c.Flags().StringVar(&o.keySeparator, "key-separator", "", "text between key and value of a line")
	c.PreRunE = func(*cobra.Command, []string) error {
		if o.format != "lines" && o.format != "json" {
			return usagef("--format %s: it is lines or json", o.format)
		}
		if o.format == "json" && o.keySeparator != "" {
			return usagef("--key-separator is for --format lines: JSON records have a key of their own")
		}
		return nil
	}
	return c
}

func (o *produceOptions) run(ctx context.Context, in io.Reader, report io.Writer) error {
	client, err := o.client(
		kgo.DefaultProduceTopic(o.topic),
		kgo.RecordPartitioner(givenOr(kgo.StickyKeyPartitioner(nil))),
		kgo.ProducerBatchMaxBytes(1<<20),
		kgo.MaxBufferedRecords(100_000),
		kgo.AllowAutoTopicCreation(),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := o.reachable(ctx, client); err != nil {
		return err
	}
	// The first record that fails stops the reading: what follows would be out of order.
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	started := time.Now()
	var acked counter
	lines, err := o.readRecords(ctx, in, func(record *kgo.Record) {
		client.Produce(ctx, record, func(record *kgo.Record, err error) {
			if err != nil {
				stop(refused(record, err))
				return
			}
			acked.add()
		})
	})
	if err == nil {
		err = client.Flush(ctx)
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	fmt.Fprintf(report, "%s acknowledged by topic %s in %s\n", plural(acked.value(), "record"), o.topic, time.Since(started).Round(time.Millisecond))
	if err != nil {
		return fmt.Errorf("produce to %s, after %s: %w", o.topic, plural(lines, "line"), o.explain(err))
	}
	return nil
}

// refused says what a broker's error does not: its answer names the reason per
// record, which the client leaves out.
func refused(record *kgo.Record, err error) error {
	if errors.Is(err, kerr.InvalidRecord) && record.Key == nil {
		return fmt.Errorf("%w (a record has no key, which a topic with cleanup.policy=compact asks for: --key-separator, or \"key\" in JSON, gives it one)", err)
	}
	return err
}

// readRecords hands over the records of all lines, and says how many lines it read.
func (o *produceOptions) readRecords(ctx context.Context, in io.Reader, emit func(*kgo.Record)) (int64, error) {
	reader := bufio.NewReaderSize(in, 1<<20)
	for n := int64(0); ; n++ {
		if ctx.Err() != nil {
			return n, ctx.Err()
		}
		line, err := reader.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return n, fmt.Errorf("read standard input: %w", err)
		}
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return n, nil
		}
		record, err := o.parse(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil {
			return n, fmt.Errorf("line %d: %w", n+1, err)
		}
		emit(record)
	}
}

func (o *produceOptions) parse(line []byte) (*kgo.Record, error) {
	if o.format == "json" {
		return parseRecord(line)
	}
	record := &kgo.Record{Value: line, Partition: -1}
	if o.keySeparator == "" {
		return record, nil
	}
	key, value, found := bytes.Cut(line, []byte(o.keySeparator))
	if !found {
		return nil, fmt.Errorf("there is no key separator %q", o.keySeparator)
	}
	record.Key, record.Value = key, value
	return record, nil
}

// counter counts from many goroutines.
type counter struct {
	lock sync.Mutex
	n    int64
}

func (c *counter) add() {
	c.lock.Lock()
	c.n++
	c.lock.Unlock()
}

func (c *counter) value() int64 {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.n
}

// givenOr keeps a partition that a record names and asks another partitioner
// for the rest.
func givenOr(other kgo.Partitioner) kgo.Partitioner { return givenPartitioner{other} }

type givenPartitioner struct{ other kgo.Partitioner }

func (p givenPartitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return &givenTopicPartitioner{TopicPartitioner: p.other.ForTopic(topic)}
}

// givenTopicPartitioner is asked first whether a record needs consistency, and
// then, once or twice, for its partition. The client writes its choice into the
// record in between: only the first question tells what the record came with.
type givenTopicPartitioner struct {
	kgo.TopicPartitioner
	given bool
}

func (p *givenTopicPartitioner) RequiresConsistency(r *kgo.Record) bool {
	p.given = r.Partition >= 0
	return p.given || p.TopicPartitioner.RequiresConsistency(r)
}

func (p *givenTopicPartitioner) Partition(r *kgo.Record, n int) int {
	if p.given {
		return int(r.Partition)
	}
	return p.TopicPartitioner.Partition(r, n)
}

// OnNewBatch passes on what sticky partitioners need to know.
func (p *givenTopicPartitioner) OnNewBatch() {
	if sticky, ok := p.TopicPartitioner.(kgo.TopicPartitionerOnNewBatch); ok {
		sticky.OnNewBatch()
	}
}
