package metastore_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv"
)

// written counts the transactions that write, and their bytes.
type written struct {
	kv.Store
	txns, bytes atomic.Int64
}

func (w *written) Txn(ctx context.Context, txn kv.Txn) (kv.TxnResult, error) {
	if len(txn.Then) > 0 {
		w.txns.Add(1)
		w.bytes.Add(int64(txn.Bytes()))
	}
	return w.Store.Txn(ctx, txn)
}

// BenchmarkThousandGroupsCommitEachSecond has 1,000 groups of three brokers commit
// six partitions each, once a second (an iteration), into one etcd: each at its
// own moment, or all in the same one.
func BenchmarkThousandGroupsCommitEachSecond(b *testing.B) {
	const groups, partitions, brokers = 1000, 6, 3
	for name, moment := range map[string]func(i int) time.Duration{
		"spread":  func(i int) time.Duration { return time.Duration(i) * time.Second / groups },
		"at once": func(int) time.Duration { return 0 },
	} {
		b.Run(name, func(b *testing.B) {
			k, stop := startEtcd(b, b.TempDir())
			defer stop()
			counts := &written{Store: k}
			stores := make([]*metastore.Store, brokers)
			held := make([]*metastore.HeldSlot, metastore.Slots)
			for i := range stores {
				s, err := metastore.Open(b.Context(), counts, metastore.Options{Cluster: "bench"})
				require.NoError(b, err)
				defer s.Close()
				stores[i] = s
				session, err := s.Register(b.Context(), metastore.Broker{ID: metastore.BrokerID(i)}, longTTL)
				require.NoError(b, err)
				mine := make(map[int]metastore.Slot)
				for n := i; n < metastore.Slots; n += brokers {
					mine[n] = metastore.Slot{}
				}
				taken, err := s.TakeSlots(b.Context(), session, mine)
				require.NoError(b, err)
				for n, h := range taken {
					held[n] = h
				}
			}
			id := topic.NewID()
			var mu sync.Mutex
			var took []time.Duration
			second := func(round int64) {
				begun := time.Now()
				var all sync.WaitGroup
				for i := range groups {
					all.Go(func() {
						<-time.After(time.Until(begun.Add(moment(i))))
						name := fmt.Sprintf("consumer-group-%d", i)
						slot := metastore.SlotOf(name)
						commits := make(offsets, partitions)
						now := time.Now()
						for p := range int32(partitions) {
							commits[topic.Partition{Topic: id, Index: p}] = metastore.OffsetCommit{Offset: 1_000_000 + 1000*round, LeaderEpoch: 3, CommittedAt: now.UnixMilli()}
						}
						if err := stores[slot%brokers].CommitOffsets(b.Context(), held[slot], name, commits); err != nil {
							b.Error(err)
						}
						mu.Lock()
						defer mu.Unlock()
						took = append(took, time.Since(now))
					})
				}
				all.Wait()
				<-time.After(time.Until(begun.Add(time.Second)))
			}
			second(0) // the first commit of each group reads it
			took = nil
			counts.txns.Store(0)
			counts.bytes.Store(0)
			round := int64(0)
			for b.Loop() {
				round++
				second(round)
			}
			slices.Sort(took)
			b.ReportMetric(float64(counts.txns.Load())/float64(round), "txns/s")
			b.ReportMetric(float64(counts.bytes.Load())/float64(round), "B/s")
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}
