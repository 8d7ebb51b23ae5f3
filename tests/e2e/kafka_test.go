package e2e

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// client makes a franz-go client, closed with the test.
func (c *chronik) client(options ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.kafka), kgo.ClientID("e2e"), kgo.MetadataMinAge(50 * time.Millisecond),
	}, options...)...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(client.Close)
	return client
}

// produceAll sends values, each under the key that key gives it, and waits for
// all acknowledgements.
func (c *chronik) produceAll(topic string, values [][]byte, key func(i int) []byte, options ...kgo.Opt) {
	c.t.Helper()
	client := c.client(append([]kgo.Opt{kgo.DefaultProduceTopic(topic), kgo.MaxBufferedRecords(20_000)}, options...)...)
	ctx, cancel := context.WithTimeout(context.Background(), shortly)
	defer cancel()
	var failed firstError
	for i, value := range values {
		record := &kgo.Record{Value: value}
		if key != nil {
			record.Key = key(i)
		}
		client.Produce(ctx, record, func(_ *kgo.Record, err error) { failed.set(err) })
	}
	if err := client.Flush(ctx); err != nil {
		c.t.Fatalf("flush: %v", err)
	}
	if err := failed.get(); err != nil {
		c.t.Fatalf("produce to %s: %v", topic, err)
	}
	client.Close()
}

// readAll reads a topic from its start to the end that it has now, partition by
// partition in the order in which the records came.
func (c *chronik) readAll(topic string) map[int32][]*kgo.Record {
	c.t.Helper()
	client := c.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), shortly)
	defer cancel()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		c.t.Fatalf("end offsets of %s: %v", topic, err)
	}
	starts, err := kadm.NewClient(client).ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		c.t.Fatalf("start offsets of %s: %v", topic, err)
	}
	left := make(map[int32]int64)
	ends.Each(func(o kadm.ListedOffset) {
		if start, _ := starts.Lookup(topic, o.Partition); start.Offset < o.Offset {
			left[o.Partition] = o.Offset
		}
	})
	records := make(map[int32][]*kgo.Record)
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			c.t.Fatalf("read %s: partitions and the offsets they should reach, after %s: %v", topic, shortly, left)
		}
		if err := fetches.Err(); err != nil {
			c.t.Fatalf("read %s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			records[r.Partition] = append(records[r.Partition], r)
			if next, ok := left[r.Partition]; ok && r.Offset+1 >= next {
				delete(left, r.Partition)
			}
		})
	}
	return records
}

// dense checks that a partition's records have offsets 0, 1, 2, ….
func dense(t *testing.T, records map[int32][]*kgo.Record) {
	t.Helper()
	for partition, list := range records {
		for i, r := range list {
			if r.Offset != int64(i) {
				t.Fatalf("partition %d: record %d has offset %d", partition, i, r.Offset)
			}
		}
	}
}

// kcat runs kcat with standard input and returns its standard output; the test
// is skipped where there is none.
func (c *chronik) kcat(in []byte, args ...string) []byte {
	c.t.Helper()
	if _, err := exec.LookPath("kcat"); err != nil {
		c.t.Skip("kcat is not installed (apt-get install kcat)")
	}
	ctx, cancel := context.WithTimeout(context.Background(), shortly)
	defer cancel()
	cmd := exec.CommandContext(ctx, "kcat", append([]string{"-b", c.kafka}, args...)...)
	cmd.Stdin = bytes.NewReader(in)
	var out, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors
	if err := cmd.Run(); err != nil {
		c.t.Fatalf("kcat %s: %v\n%s", strings.Join(args, " "), err, errors.String())
	}
	return out.Bytes()
}

// firstError keeps the first error of many goroutines.
type firstError struct {
	lock sync.Mutex
	err  error
}

func (f *firstError) set(err error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if f.err == nil {
		f.err = err
	}
}

func (f *firstError) get() error {
	f.lock.Lock()
	defer f.lock.Unlock()
	return f.err
}

// total counts from many goroutines.
type total struct{ n atomic.Int64 }

func (n *total) add(d int64) { n.n.Add(d) }
func (n *total) get() int64  { return n.n.Load() }
