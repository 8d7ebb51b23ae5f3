package ownership_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/broker/ownership"
	"github.com/chronik-stream/chronik/broker/wal"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/segment"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/committed"
	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/faults"
	memorybucket "github.com/chronik-stream/chronik/objstore/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is what outlives a broker: its disk, the metadata store, the bucket.
type world struct {
	t      *testing.T
	disk   *disk.Memory
	kv     kv.Store
	bucket objstore.Bucket
	topic  metastore.Topic

	mu    sync.Mutex
	acked map[topic.Partition]map[int64][]byte // by offset
}

func newWorld(t *testing.T, bucket objstore.Bucket, partitions int32) *world {
	w := &world{t: t, disk: disk.NewMemory(), kv: memory.New(), bucket: bucket, acked: map[topic.Partition]map[int64][]byte{}}
	s := w.open()
	defer s.Close()
	var err error
	if w.topic, err = s.CreateTopic(t.Context(), metastore.Topic{Name: "t", Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.kv.Close() })
	return w
}

func (w *world) open() *metastore.Store {
	s, err := metastore.Open(w.t.Context(), w.kv, metastore.Options{Cluster: "test", Seed: 1})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// life is one life of a broker.
type life struct {
	*world
	store   *metastore.Store
	session *metastore.BrokerSession
	log     *ingest.Log
	manager *ownership.Manager
	stop    context.CancelFunc
	done    chan error
	dead    bool // what is acked now was acked by nobody
}

func (w *world) begin(object bool) *life {
	w.t.Helper()
	l := &life{world: w, store: w.open(), done: make(chan error, 1)}
	var err error
	l.session, err = l.store.Register(w.t.Context(), metastore.Broker{ID: 1}, 10*time.Second)
	if err != nil {
		w.t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	var rec *wal.Recovery
	l.log, rec, err = ingest.Open(ingest.Options{
		Config:  ingest.Config{SegmentBytes: 20_000, SegmentAge: 20 * time.Millisecond, SegmentAgeUrgent: time.Millisecond, TailBytesMax: 30_000},
		WAL:     wal.Options{Dir: "wal", FS: w.disk, FileBytes: 64 << 10, Log: quiet},
		Session: l.session, Store: l.store, Bucket: w.bucket, Log: quiet,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if len(rec.Damage) != 0 {
		w.t.Fatalf("damage: %v", rec.Damage)
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	go func() { l.done <- l.log.Run(ctx) }()
	l.manager = ownership.New(ownership.Options{
		Store: l.store, Session: l.session, Log: l.log, Recovery: rec, Slog: quiet, Salvage: noOrphans(w.t),
		Object:    func(*metastore.Topic) bool { return object },
		Producers: committed.NewReader(l.store.Catalog(), w.bucket, committed.Options{}).Producers,
	})
	// The object store may fail while producer state is read; Run would repeat.
	for again := true; again; {
		if again, err = l.manager.Reconcile(w.t.Context()); err != nil && !errors.Is(err, objstore.ErrUnavailable) {
			w.t.Fatal(err)
		}
		again = again || err != nil
	}
	return l
}

// crash ends the life without any goodbye, and cuts the power of the disk. At
// times the network goes first: what is written then is committed and its
// acknowledgement lost, so that only the segments know of it.
func (l *life) crash(seed uint64) {
	if seed%2 == 0 {
		l.mu.Lock()
		l.dead = true
		l.mu.Unlock()
		if err := l.log.Flush(l.t.Context()); err != nil {
			l.t.Fatal(err)
		}
	}
	l.mu.Lock()
	after := l.disk.Crash(seed)
	l.dead = true
	l.mu.Unlock()
	l.stop()
	<-l.done
	l.log.Close()
	l.store.Close()
	l.disk = after
}

// client is an idempotent producer of one partition. What it could not get
// acknowledged it sends again, in the next life too, under the same sequence.
type client struct {
	id        int64
	partition topic.Partition
	sequence  int32
	unacked   []byte

	acked   []byte // the batch that was acknowledged last
	ackedAt int64
}

func (c *client) batch(size int) ([]byte, error) {
	if c.unacked == nil {
		c.unacked = make([]byte, 12+size)
		binary.BigEndian.PutUint64(c.unacked, uint64(c.id))
		binary.BigEndian.PutUint32(c.unacked[8:], uint32(c.sequence))
	}
	var b batch.Builder
	b.Reset(batch.Options{Producer: &batch.Producer{ID: c.id, Epoch: 0, Sequence: c.sequence}})
	b.Append(1000, nil, c.unacked)
	return b.Build(nil)
}

// produce sends one batch, at times twice, and remembers its acknowledgement.
func (l *life) produce(c *client, size int, object, twice bool) error {
	raw, err := c.batch(size)
	if err != nil {
		return err
	}
	o := core.AppendOptions{Acks: 1, Object: object, MessageBytesMax: 1 << 20, TimestampBeforeMaxMs: math.MaxInt64, TimestampAfterMaxMs: math.MaxInt64}
	if object {
		o.Acks = -1
	}
	pending, err := l.log.Append(l.t.Context(), c.partition, bytes.Clone(raw), o)
	if err != nil {
		return err
	}
	if twice {
		if pending, err = l.log.Append(l.t.Context(), c.partition, bytes.Clone(raw), o); err != nil {
			return err
		}
	}
	a, err := pending.Wait(l.t.Context())
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return core.ErrClosed
	}
	if l.acked[c.partition] == nil {
		l.acked[c.partition] = map[int64][]byte{}
	}
	if old, ok := l.acked[c.partition][a.First]; ok {
		return fmt.Errorf("%s: offset %d was given to %x and to %x", c.partition, a.First, old, c.unacked)
	}
	l.acked[c.partition][a.First] = c.unacked
	c.unacked = nil
	c.sequence++
	return nil
}

// check reads every committed segment: offsets are dense, each is there once,
// and what was acked lies at its offset.
func (w *world) check() {
	w.t.Helper()
	s := w.open()
	defer s.Close()
	for i := range w.topic.Partitions {
		p := topic.Partition{Topic: w.topic.ID, Index: i}
		view := s.Catalog().Partition(p)
		got := map[int64][]byte{}
		next := int64(0)
		for _, r := range view.Ranges {
			if r.First != next {
				w.t.Fatalf("%s: range begins at %d, want %d", p, r.First, next)
			}
			next = r.Next
			w.readRange(r, got)
		}
		if int64(len(got)) != next {
			w.t.Fatalf("%s: %d records below offset %d", p, len(got), next)
		}
		seen := map[string]int64{}
		for offset, value := range got {
			if other, ok := seen[string(value[:12])]; ok {
				w.t.Fatalf("%s: record %x is there twice, at %d and at %d", p, value[:12], other, offset)
			}
			seen[string(value[:12])] = offset
		}
		for offset, value := range w.acked[p] {
			if !bytes.Equal(got[offset], value) {
				w.t.Fatalf("%s: offset %d was acked as %.8x (%d bytes), is %.8x (%d bytes)", p, offset, value, len(value), got[offset], len(got[offset]))
			}
		}
	}
}

func (w *world) readRange(r metastore.RangeRef, got map[int64][]byte) {
	w.t.Helper()
	// Faults are over when the log is checked, but for those of a plan without end.
	var object []byte
	for object == nil {
		b, err := w.bucket.Get(w.t.Context(), r.Segment.Object, 0, -1)
		if err != nil && !errors.Is(err, objstore.ErrUnavailable) {
			w.t.Fatal(err)
		}
		object = b
	}
	footer, err := segment.Load(bytes.NewReader(object), int64(len(object)))
	if err != nil {
		w.t.Fatal(err)
	}
	fr, ok := footer.Find(r.Partition, r.First)
	if !ok || fr.Position != r.Position || fr.Next != r.Next {
		w.t.Fatalf("footer of %s does not agree with its key", r.Segment.Object)
	}
	d := batch.NewDecoder(1 << 20)
	err = batch.Each(object[r.Position:r.Position+r.Length], func(h batch.Header, raw []byte) error {
		it, err := d.Open(h, raw)
		if err != nil {
			return err
		}
		for it.Next() {
			got[it.Record().Offset] = bytes.Clone(it.Record().Value)
		}
		return it.Err()
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// Power is cut again and again while several clients produce, over an object
// store that fails a tenth of its calls, half of those after the effect.
func TestAckedRecordsSurvivePowerLossOnce(t *testing.T) {
	for _, object := range []bool{false, true} {
		for seed := range uint64(8) {
			t.Run(fmt.Sprintf("object=%v/%d", object, seed), func(t *testing.T) {
				plan, err := faults.ParsePlan(fmt.Sprintf("seed %d; * * fail-before p=0.05; * * fail-after p=0.05", seed))
				if err != nil {
					t.Fatal(err)
				}
				w := newWorld(t, faults.New(memorybucket.New(), plan), 3)
				rng := rand.New(rand.NewPCG(seed, 1))
				var clients []*client
				for i := range 6 {
					clients = append(clients, &client{id: int64(i), partition: topic.Partition{Topic: w.topic.ID, Index: int32(i % 3)}})
				}
				for n := range 4 {
					l := w.begin(object)
					var running sync.WaitGroup
					ctx, cancel := context.WithCancel(t.Context())
					for _, c := range clients {
						size := rng.IntN(800)
						running.Go(func() {
							for i := 0; ctx.Err() == nil; i++ {
								if err := l.produce(c, size, object, i%5 == 0); err != nil {
									return
								}
							}
						})
					}
					<-time.After(time.Duration(10+rng.IntN(60)) * time.Millisecond)
					l.crash(seed*10 + uint64(n))
					cancel()
					running.Wait()
				}
				l := w.begin(object)
				for _, c := range clients {
					if c.unacked == nil {
						continue
					}
					if err := l.produce(c, len(c.unacked)-12, object, false); err != nil {
						t.Fatalf("repeat of what the crash left open: %v", err)
					}
				}
				l.log.Refuse()
				if err := l.log.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := l.manager.Release(t.Context()); err != nil {
					t.Fatal(err)
				}
				l.crash(1)
				w.check()
				total := 0
				for _, m := range w.acked {
					total += len(m)
				}
				if total == 0 {
					t.Error("nothing was acked: the test shows nothing")
				}
			})
		}
	}
}
