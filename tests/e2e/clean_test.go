package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// keyedReader follows a compacted topic and keeps the latest value of each key.
type keyedReader struct {
	client *kgo.Client
	next   map[int32]int64
	latest map[string]string
	seen   int
}

func (c *chronik) keyedReader(topic string, opts ...kgo.Opt) *keyedReader {
	c.t.Helper()
	opts = append([]kgo.Opt{
		kgo.SeedBrokers(c.kafka), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NoResetOffset().AtStart()), kgo.FetchMaxWait(100 * time.Millisecond),
	}, opts...)
	client, err := kgo.NewClient(opts...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(client.Close)
	return &keyedReader{client: client, next: map[int32]int64{}, latest: map[string]string{}}
}

// poll takes what there is. Offsets only rise, and every error but those of a
// broker that is away is one too many.
func (r *keyedReader) poll(ctx context.Context) error {
	fetches := r.client.PollFetches(ctx)
	var failed error
	fetches.EachError(func(topic string, p int32, err error) {
		if ctx.Err() == nil && (errors.Is(err, kerr.OffsetOutOfRange) || errors.Is(err, kerr.CorruptMessage) || !kerr.IsRetriable(err) && isKafka(err)) {
			failed = errors.Join(failed, fmt.Errorf("%s-%d: %w", topic, p, err))
		}
	})
	fetches.EachRecord(func(record *kgo.Record) {
		if record.Offset < r.next[record.Partition] {
			failed = errors.Join(failed, fmt.Errorf("offset %d of partition %d after %d", record.Offset, record.Partition, r.next[record.Partition]))
		}
		r.next[record.Partition] = record.Offset + 1
		r.seen++
		if record.Value == nil {
			delete(r.latest, string(record.Key))
		} else {
			r.latest[string(record.Key)] = string(record.Value)
		}
	})
	return failed
}

func isKafka(err error) bool {
	var k *kerr.Error
	return errors.As(err, &k)
}

// drain reads up to the ends.
func (r *keyedReader) drain(ctx context.Context, ends kadm.ListedOffsets) error {
	behind := func() (left bool) {
		ends.Each(func(o kadm.ListedOffset) { left = left || o.Offset > r.next[o.Partition] })
		return left
	}
	for behind() {
		if err := r.poll(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("it is at %v of %v: %w", r.next, ends, ctx.Err())
		}
	}
	return nil
}

// Keys are compacted while a producer writes, readers are open, the process is
// killed, and objects go soon after they are replaced. Readers see no error, whoever
// reads from the start ends up with the producer's map, SQL counts what a
// consumer counts, and the log ends where it ended.
func TestACompactedTopicIsReadWhileItIsCleaned(t *testing.T) {
	const partitions = 2
	c := start(t, "--set", "compactor.first_age=200ms", "--set", "compactor.look_every=50ms", "--set", "segment.age=100ms", "--set", "compactor.deletion_grace=2s")
	c.createTable("t", partitions, "cleanup.policy=compact", "min.cleanable.dirty.ratio=0.05", "columnar.partitioning=hourly")
	producer, err := kgo.NewClient(kgo.SeedBrokers(c.kafka), kgo.DefaultProduceTopic("t"), kgo.RecordRetries(1000))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	admin := kadm.NewClient(producer)

	want := map[string]string{}
	var written int
	random := rand.New(rand.NewPCG(1, 2))
	write := func(n int) {
		t.Helper()
		records := make([]*kgo.Record, n)
		for i := range records {
			key := fmt.Sprint("key-", random.IntN(300))
			records[i] = &kgo.Record{Key: []byte(key)}
			if random.IntN(10) == 0 {
				delete(want, key)
			} else {
				want[key] = fmt.Sprintf(`{"n":%d,"pad":"%s"}`, written+i, strings.Repeat("x", random.IntN(200)))
				records[i].Value = []byte(want[key])
			}
		}
		if err := producer.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		written += n
	}

	following, stop := context.WithCancel(t.Context())
	readers := []*keyedReader{c.keyedReader("t"), c.keyedReader("t", kgo.FetchMaxBytes(2000), kgo.FetchMaxPartitionBytes(1000), kgo.MaxConcurrentFetches(1))}
	var reading sync.WaitGroup
	for _, r := range readers {
		reading.Go(func() {
			for following.Err() == nil {
				if err := r.poll(following); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for turn := range 30 {
		write(200)
		if turn == 15 {
			c.kill()
			c.restart()
		}
		if turn%10 == 9 {
			c.count("SELECT count(*) FROM t")
		}
	}
	ends, err := admin.ListEndOffsets(t.Context(), "t")
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
	if total != int64(written) {
		t.Errorf("the log has %d offsets, %d records were written", total, written)
	}

	within, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	fresh := func() *keyedReader {
		t.Helper()
		r := c.keyedReader("t")
		if err := r.drain(within, ends); err != nil {
			t.Fatal(err)
		}
		r.client.Close()
		return r
	}
	compare := func(r *keyedReader, who string) {
		t.Helper()
		if fmt.Sprint(r.latest) != fmt.Sprint(want) {
			t.Errorf("%s has %d keys, the producer %d: %v, want %v", who, len(r.latest), len(want), r.latest, want)
		}
	}
	eventually(t, time.Minute, func() error {
		before := fresh()
		rows := c.count("SELECT count(*) FROM t")
		values := c.count("SELECT count(value) FROM t")
		after := fresh()
		compare(before, "a new reader")
		switch {
		case before.seen != after.seen:
			return fmt.Errorf("a cleaning came between")
		case rows != int64(after.seen):
			return fmt.Errorf("SQL counts %d rows, a consumer %d", rows, after.seen)
		case after.seen > 3*300*partitions:
			return fmt.Errorf("%d records of 300 keys are left", after.seen)
		case values < int64(len(want)):
			return fmt.Errorf("SQL counts %d values of %d keys", values, len(want))
		}
		return nil
	})
	stop()
	reading.Wait()
	for i, r := range readers {
		if err := r.drain(within, ends); err != nil {
			t.Fatal(err)
		}
		compare(r, fmt.Sprint("reader ", i))
	}
	if latest := c.count("SELECT count(*) FROM (SELECT key FROM t GROUP BY key HAVING max_by(value, offset) IS NOT NULL)"); latest != int64(len(want)) {
		t.Errorf("SQL sees %d keys with a value, the producer has %d", latest, len(want))
	}
	if _, metrics := c.get("/metrics"); !strings.Contains(metrics, "chronik_compactor_cleaned_records_total{reason=\"superseded\"}") || strings.Contains(metrics, "\nchronik_compactor_cleanings_total 0\n") {
		t.Error("the metrics know of no cleaning")
	}
	beginning, err := admin.ListStartOffsets(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	beginning.Each(func(o kadm.ListedOffset) {
		if o.Offset != 0 {
			t.Errorf("partition %d begins at %d", o.Partition, o.Offset)
		}
	})
}
