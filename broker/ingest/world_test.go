package ingest_test

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/broker/wal"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv"
	kvfaults "github.com/chronik-stream/chronik/metastore/kv/faults"
	kvmemory "github.com/chronik-stream/chronik/metastore/kv/memory"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/faults"
	"github.com/chronik-stream/chronik/objstore/memory"
	"github.com/chronik-stream/chronik/objstore/retry"
)

// lease is the ttl of the sessions of these tests.
const lease = 10 * time.Second

// world is a Log in one session, over a disk, a bucket and a metadata store that
// can be made to fail. It owns the partitions of one topic.
type world struct {
	t       testing.TB
	log     *ingest.Log
	session *metastore.BrokerSession
	store   *metastore.Store
	kv      *kvfaults.Store
	bucket  *faults.Bucket
	metrics *prometheus.Registry
	topic   topic.ID
	ended   chan error // what Run returned
	stop    context.CancelFunc

	mu     sync.Mutex
	decide disk.Decide
}

// fails sets what the disk does wrong from now on.
func (w *world) fails(d disk.Decide) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.decide = d
}

func newWorld(t *testing.T, c ingest.Config, object bool) *world {
	t.Helper()
	return openWorld(t, c, object, nil)
}

// newWorldWith is newWorld with objstore/retry before the bucket, as in a process.
func newWorldWith(t *testing.T, c ingest.Config, object bool, o retry.Options) *world {
	t.Helper()
	return openWorld(t, c, object, func(b objstore.Bucket) objstore.Bucket {
		retried, err := retry.New(b, o)
		require.NoError(t, err)
		return retried
	})
}

func openWorld(t *testing.T, c ingest.Config, object bool, wrap func(objstore.Bucket) objstore.Bucket) *world {
	t.Helper()
	w := &world{
		t: t, bucket: faults.New(memory.New(), faults.Plan{}), kv: kvfaults.New(kvmemory.New(), kvfaults.Plan{}),
		metrics: prometheus.NewRegistry(), ended: make(chan error, 1),
	}
	fs := disk.Faults(disk.NewMemory(), func(site disk.Site, name string, n int) *disk.Fault {
		w.mu.Lock()
		d := w.decide
		w.mu.Unlock()
		if d == nil {
			return nil
		}
		return d(site, name, n)
	})
	var bucket objstore.Bucket = w.bucket
	var err error
	if wrap != nil {
		bucket = wrap(bucket)
	}
	w.store, err = metastore.Open(t.Context(), w.kv, metastore.Options{Cluster: "test", Seed: 1})
	require.NoError(t, err)
	created, err := w.store.CreateTopic(t.Context(), metastore.Topic{Name: "t", Partitions: 3})
	require.NoError(t, err)
	w.topic = created.ID
	w.session, err = w.store.Register(t.Context(), metastore.Broker{ID: 1}, lease)
	require.NoError(t, err)
	quiet := slog.New(slog.DiscardHandler)
	w.log, _, err = ingest.Open(ingest.Options{
		Config: c, WAL: wal.Options{Dir: "wal", FS: fs, FileBytes: 1 << 20, Log: quiet},
		Session: w.session, Store: w.store, Bucket: bucket, Log: quiet, Metrics: ingest.NewMetrics(w.metrics),
	})
	require.NoError(t, err)
	for i := range int32(3) {
		require.NoError(t, w.log.Adopt(ingest.Adoption{
			Partition: topic.Partition{Topic: w.topic, Index: i}, Owner: metastore.Owner{Broker: 1, Epoch: 1}, Object: object,
		}))
	}
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	go func() { w.ended <- w.log.Run(ctx) }()
	return w
}

// close ends everything; what the test made fail has to have ended.
func (w *world) close() {
	w.stop()
	<-w.ended
	require.NoError(w.t, w.log.Close())
	w.store.Close()
	require.NoError(w.t, w.kv.Close())
}

func (w *world) partition(i int32) *ingest.Partition {
	return w.log.Partition(topic.Partition{Topic: w.topic, Index: i})
}

func (w *world) bounds(i int32) core.Bounds {
	w.t.Helper()
	b, err := w.partition(i).Bounds()
	require.NoError(w.t, err)
	return b
}

// produce is an append of one record; acks −1 of object waits for the commit.
func (w *world) produce(partition int32, value []byte, acks int16, object bool) (core.Pending, error) {
	return w.produceOf(partition, value, acks, object, time.Time{})
}

// produceOf is produce as part of a request that came at begun.
func (w *world) produceOf(partition int32, value []byte, acks int16, object bool, begun time.Time) (core.Pending, error) {
	var b batch.Builder
	b.Reset(batch.Options{})
	b.Append(1000, nil, value)
	raw, err := b.Build(nil)
	require.NoError(w.t, err)
	return w.log.Append(w.t.Context(), topic.Partition{Topic: w.topic, Index: partition}, raw, core.AppendOptions{
		Acks: acks, Object: object, MessageBytesMax: 1 << 20, TimestampBeforeMaxMs: math.MaxInt64, TimestampAfterMaxMs: math.MaxInt64,
		Begun: begun,
	})
}

// must appends and waits.
func (w *world) must(partition int32, value string, acks int16, object bool) core.Appended {
	w.t.Helper()
	p, err := w.produce(partition, []byte(value), acks, object)
	require.NoError(w.t, err)
	a, err := p.Wait(w.t.Context())
	require.NoError(w.t, err)
	require.NoError(w.t, p.Confirm())
	return a
}

// waiting is the outcome of a Wait that goes on.
func waiting(ctx context.Context, p core.Pending) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := p.Wait(ctx)
		done <- err
	}()
	return done
}

func (w *world) plan(text string) {
	w.t.Helper()
	p, err := faults.ParsePlan(text)
	require.NoError(w.t, err)
	w.bucket.Use(p)
}

func (w *world) kvPlan(text string) {
	w.t.Helper()
	p, err := kvfaults.ParsePlan(text)
	require.NoError(w.t, err)
	w.kv.Use(p)
}

// metric is the sum of a metric over its labels.
func (w *world) metric(name string) float64 {
	w.t.Helper()
	families, err := w.metrics.Gather()
	require.NoError(w.t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		sum := 0.0
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
		return sum
	}
	_, err = testutil.GatherAndCount(w.metrics, name)
	require.NoError(w.t, err)
	w.t.Fatalf("there is no metric %s", name)
	return 0
}

// committed are the ranges of a partition in the catalog.
func (w *world) committed(i int32) []metastore.RangeRef {
	return w.store.Catalog().Partition(topic.Partition{Topic: w.topic, Index: i}).Ranges
}

var _ kv.Store = (*kvfaults.Store)(nil)
