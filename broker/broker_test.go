package broker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/broker"
	"github.com/chronik-stream/chronik/broker/api"
	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/committed"
	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/faults"
	memorybucket "github.com/chronik-stream/chronik/objstore/memory"
)

func TestMain(m *testing.M) {
	// franz-go closes its idle connections a moment after Close.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kgo.(*Client).reapConnectionsLoop"))
}

// rig is a broker with everything under it in memory, and a client.
type rig struct {
	t      testing.TB
	kv     *memory.Store
	bucket *faults.Bucket
	disk   disk.FS
	config broker.Config

	store   *metastore.Store
	broker  *broker.Broker
	address string
	stop    context.CancelFunc
	done    chan error
	client  *kgo.Client

	mu        sync.Mutex
	producers map[string]*kgo.Client
}

func newRig(t testing.TB, fs disk.FS, ingestConfig ingest.Config, change ...func(*broker.Config)) *rig {
	r := &rig{
		t: t, producers: map[string]*kgo.Client{}, kv: memory.New(), bucket: faults.New(memorybucket.New(), faults.Plan{}), disk: fs,
		config: broker.Config{
			ID: 1, ClusterID: "test", Version: "test", DataDir: "data", WALFileBytes: 1 << 20, StopTimeout: 10 * time.Second,
			Ingest: ingestConfig,
			API:    api.Config{TopicDefaults: topicconfig.Defaults{"durability": "wal"}, AutoCreateTopics: true},
		},
	}
	for _, f := range change {
		f(&r.config)
	}
	r.start()
	t.Cleanup(r.end)
	return r
}

func (r *rig) start() {
	r.t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	if r.address == "" {
		r.address = "127.0.0.1:0"
	}
	socket, err := net.Listen("tcp", r.address) // the same again after a restart
	if err != nil {
		r.t.Fatal(err)
	}
	r.address = socket.Addr().String()
	if r.store, err = metastore.Open(r.t.Context(), r.kv, metastore.Options{Cluster: "test"}); err != nil {
		r.t.Fatal(err)
	}
	r.broker = broker.New(r.config, broker.Deps{
		Store: r.store, Bucket: r.bucket, FS: r.disk, Log: quiet,
		Committed: committed.NewReader(r.store.Catalog(), r.bucket, committed.Options{}),
		Listeners: []broker.Listener{{
			Advertised: metastore.Listener{Name: "PLAINTEXT", Host: "127.0.0.1", Port: int32(socket.Addr().(*net.TCPAddr).Port)},
			Sockets:    []net.Listener{socket},
		}},
	})
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	r.done = make(chan error, 1)
	go func() { r.done <- r.broker.Run(ctx) }()
	r.client, err = kgo.NewClient(kgo.SeedBrokers(r.address), kgo.AllowAutoTopicCreation(), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(10*time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 5 * time.Millisecond }))
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) end() {
	r.client.Close()
	r.mu.Lock()
	for address, c := range r.producers { // their connections end with the broker
		c.Close()
		delete(r.producers, address)
	}
	r.mu.Unlock()
	r.stop()
	if err := <-r.done; err != nil {
		r.t.Errorf("broker ended: %v", err)
	}
	r.store.Close()
}

func (r *rig) restart() {
	r.end()
	r.start()
}

func (r *rig) create(topic string, partitions int32, config map[string]*string) {
	r.t.Helper()
	answer, err := kadm.NewClient(r.client).CreateTopic(r.t.Context(), partitions, 1, config, topic)
	if err = errors.Join(err, answer.Err); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) produce(topic string, partition int32, values ...string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	for _, v := range values {
		if err := r.client.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: partition, Value: []byte(v)}).FirstErr(); err != nil {
			r.t.Fatalf("produce %s: %v", v, err)
		}
	}
}

// refused produces one record and expects that it is not acknowledged in time.
// An idempotent client would not give up: its record may have been written.
func (r *rig) refused(topic, value string, patience time.Duration) bool {
	r.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(r.address), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableIdempotentWrite(), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.RetryBackoffFn(func(int) time.Duration { return 5 * time.Millisecond }))
	if err != nil {
		r.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	return client.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr() != nil
}

// read returns the n first records of a partition.
func (r *rig) read(topic string, partition int32, n int) []string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(r.address), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().AtStart()}}))
	if err != nil {
		r.t.Fatal(err)
	}
	defer client.Close()
	var got []string
	for len(got) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			r.t.Fatalf("after %d of %d records: %v", len(got), n, err)
		}
		fetches.EachRecord(func(rec *kgo.Record) { got = append(got, string(rec.Value)) })
	}
	return got
}

func values(from, to int) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprintf("record %d", i))
	}
	return all
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("read %d records %.80q, want %d %.80q", len(got), got, len(want), want)
	}
}

// plan sets what the object store does wrong from now on.
func (r *rig) plan(text string) {
	r.t.Helper()
	plan, err := faults.ParsePlan(text)
	if err != nil {
		r.t.Fatal(err)
	}
	r.bucket.Use(plan)
}

// until waits for a condition that the catalog's changes make true.
func (r *rig) until(what string, holds func(c *metastore.Catalog) bool) {
	r.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		changed := r.store.Catalog().Changed()
		if holds(r.store.Catalog()) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			r.t.Fatalf("%s did not come true", what)
		}
	}
}

var eager = ingest.Config{SegmentAge: 20 * time.Millisecond}

func TestRecordsAreReadBackFromTailAndFromSegments(t *testing.T) {
	r := newRig(t, disk.NewMemory(), ingest.Config{SegmentAge: 20 * time.Millisecond, TailBytesMax: 1})
	r.create("t", 2, nil)
	r.produce("t", 1, values(0, 50)...)
	same(t, r.read("t", 1, 50), values(0, 50))
	r.restart()
	r.produce("t", 1, values(50, 60)...)
	same(t, r.read("t", 1, 60), values(0, 60))
}

// The broker's key is deleted under it: a lease lost and regained by the same
// process. Nothing acknowledged is lost, nothing is given twice.
func TestALostSessionIsFollowedByAnother(t *testing.T) {
	r := newRig(t, disk.NewMemory(), ingest.Config{SegmentAge: time.Hour})
	r.create("t", 1, nil)
	var written int
	for life := range 3 {
		r.produce("t", 0, values(written, written+20)...)
		written += 20
		b, _ := r.store.Catalog().Broker(1)
		if _, err := r.kv.Txn(t.Context(), kv.Txn{Then: []kv.Op{kv.Delete("/chronik/test/brokers/1")}}); err != nil {
			t.Fatal(err)
		}
		r.until("a new session", func(c *metastore.Catalog) bool {
			now, ok := c.Broker(1)
			return ok && now.Session != b.Session
		})
		same(t, r.read("t", 0, written), values(0, written))
		if t.Failed() {
			t.Fatalf("in life %d", life)
		}
	}
}

func TestAFailedDiskRefusesAndHealsByRecovery(t *testing.T) {
	var broken atomic.Bool
	fs := disk.Faults(disk.NewMemory(), func(site disk.Site, _ string, _ int) *disk.Fault {
		if broken.Load() && site == disk.SiteDatasync {
			return &disk.Fault{Err: errors.New("I/O error")}
		}
		return nil
	})
	r := newRig(t, fs, ingest.Config{SegmentAge: time.Hour})
	r.create("t", 1, nil)
	r.produce("t", 0, values(0, 10)...)
	broken.Store(true)
	if !r.refused("t", "refused", 300*time.Millisecond) {
		t.Fatal("a record was acknowledged that the disk refused")
	}
	broken.Store(false)
	r.produce("t", 0, values(10, 20)...)
	var got []string
	for _, v := range r.read("t", 0, 20) {
		if v != "refused" { // never acknowledged: it may be there or not
			got = append(got, v)
		}
	}
	same(t, got[:min(len(got), 19)], values(0, 20)[:min(len(got), 19)])
}

// The object store is away: produce and tail reads go on until the WAL's budget
// is full, then produce is refused with a retriable error; nothing is lost.
func TestProduceGoesOnWithoutTheObjectStoreUntilTheBudgetIsFull(t *testing.T) {
	r := newRig(t, disk.NewMemory(), ingest.Config{SegmentAge: 10 * time.Millisecond, WALBytesMax: 20_000, BudgetWait: 20 * time.Millisecond, TailBytesMax: 5_000})
	r.create("t", 1, nil)
	r.plan("put * fail-before p=1")
	big := strings.Repeat("x", 1000)
	acked := 0
	for ; acked < 1000; acked++ {
		if r.refused("t", big, 250*time.Millisecond) {
			break
		}
	}
	if acked < 5 || acked > 20 {
		t.Errorf("%d records of 1 kB were taken by a budget of 20 kB", acked)
	}
	if got := r.read("t", 0, acked); len(got) < acked {
		t.Errorf("%d of %d records are read from the tail", len(got), acked)
	}
	r.plan("")
	r.produce("t", 0, "after")
	r.until("a commit of everything", func(c *metastore.Catalog) bool {
		topic, _ := c.Topic("t")
		return c.Partition(partitionOf(topic, 0)).Next() >= int64(acked+1)
	})
	got := r.read("t", 0, acked+1)
	if got[len(got)-1] != "after" {
		t.Errorf("the last record is %.20q", got[len(got)-1])
	}
}

func TestAcksAllWaitsForTheCommitUnderObject(t *testing.T) {
	r := newRig(t, disk.NewMemory(), ingest.Config{SegmentAge: time.Hour, SegmentAgeUrgent: 10 * time.Millisecond})
	object := "object"
	r.create("t", 1, map[string]*string{"durability": &object})
	r.plan("put * fail-before p=1")
	if !r.refused("t", "first", 300*time.Millisecond) {
		t.Fatal("acks=all was answered before anything was in the bucket")
	}
	r.plan("")
	r.produce("t", 0, "second")
	topic, _ := r.store.Catalog().Topic("t")
	if next := r.store.Catalog().Partition(partitionOf(topic, 0)).Next(); next < 1 {
		t.Errorf("acknowledged, but %d is the committed next", next)
	}
}

// Every call to the object store can fail, before or after its effect.
func TestAFailingObjectStoreIsNotNoticed(t *testing.T) {
	r := newRig(t, disk.NewMemory(), eager)
	r.create("t", 3, nil)
	r.plan("seed 3; * * fail-before p=0.2; * * fail-after p=0.2")
	for i := range 30 {
		for p := range int32(3) {
			r.produce("t", p, values(i*5, i*5+5)...)
		}
	}
	r.plan("")
	r.restart()
	for p := range int32(3) {
		same(t, r.read("t", p, 150), values(0, 150))
	}
}

// A segment whose footer is damaged costs the records in it, and nothing else.
func TestADamagedFooterCostsItsRecordsOnly(t *testing.T) {
	r := newRig(t, disk.NewMemory(), eager)
	r.create("t", 1, nil)
	r.produce("t", 0, values(0, 5)...)
	topic, _ := r.store.Catalog().Topic("t")
	r.until("a commit", func(c *metastore.Catalog) bool { return c.Partition(partitionOf(topic, 0)).Next() == 5 })
	r.end()
	for _, segment := range r.store.Catalog().Segments() {
		object, err := r.bucket.Get(t.Context(), segment.Object, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		object[len(object)-30] ^= 1
		if _, err := r.bucket.Put(t.Context(), segment.Object, objstore.Bytes(object), objstore.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	r.start()
	r.produce("t", 0, "after")
	consume := func(first int64, patience time.Duration) (string, error) {
		client, err := kgo.NewClient(kgo.SeedBrokers(r.address), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().At(first)}}))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return "", err
		}
		return string(fetches.Records()[0].Value), nil
	}
	if got, err := consume(0, 3*time.Second); err == nil {
		t.Errorf("read %q out of a damaged segment", got)
	}
	if got, err := consume(5, time.Minute); got != "after" || err != nil {
		t.Errorf("read %q behind a damaged segment, %v", got, err)
	}
}

func TestADeletedTopicLeavesNothingBehindInTheBroker(t *testing.T) {
	r := newRig(t, disk.NewMemory(), ingest.Config{SegmentAge: time.Hour})
	r.create("t", 1, nil)
	r.produce("t", 0, values(0, 10)...)
	if _, err := kadm.NewClient(r.client).DeleteTopic(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	r.create("t", 1, nil)
	r.client.PurgeTopicsFromClient("t")
	r.produce("t", 0, "new")
	same(t, r.read("t", 0, 1), []string{"new"})
	r.restart()
	same(t, r.read("t", 0, 1), []string{"new"})
}

func partitionOf(t *metastore.Topic, index int32) topic.Partition {
	return topic.Partition{Topic: t.ID, Index: index}
}

// alter sets one setting of a topic.
func (r *rig) alter(topic, key, value string) {
	r.t.Helper()
	answers, err := kadm.NewClient(r.client).AlterTopicConfigs(r.t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}, topic)
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// versions makes a client ask for Fetch in that version.
func versions(fetch int16) *kversion.Versions {
	v := kversion.Stable()
	v.SetMaxKeyVersion(1, fetch)
	return v
}

// atVersion is a client that sends an API in that version.
func (r *rig) atVersion(key, version int16) *kgo.Client {
	r.t.Helper()
	v := kversion.Stable()
	v.SetMaxKeyVersion(key, version)
	client, err := kgo.NewClient(kgo.SeedBrokers(r.address), kgo.MaxVersions(v))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(client.Close)
	return client
}
