package ownership_test

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/ingest"
	"github.com/chronik-stream/chronik/broker/ownership"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/objstore/faults"
)

// inCluster runs a test over a cluster in virtual time, all of whose brokers run
// and have their share.
func inCluster(t *testing.T, brokers int, partitions int32, object bool, config ownership.Config, test func(t *testing.T, c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, brokers, partitions, object, config)
		defer c.close()
		for _, n := range c.nodes {
			n.start()
		}
		c.until("partitions are spread evenly", time.Minute, c.balanced(brokers))
		test(t, c)
	})
}

// owners are the owners of all partitions, NoBroker where none is alive.
func (c *cluster) owners() []metastore.Owner {
	all := make([]metastore.Owner, c.topic.Partitions)
	for i := range all {
		v := c.admin.Catalog().Partition(topic.Partition{Topic: c.topic.ID, Index: int32(i)})
		if all[i] = v.Owner; !v.OwnerAlive {
			all[i].Broker = metastore.NoBroker
		}
	}
	return all
}

func (c *cluster) ownedBy(id metastore.BrokerID) (n int) {
	for _, o := range c.owners() {
		if o.Broker == id {
			n++
		}
	}
	return n
}

// after lets time pass and everything come to rest.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestUnderObjectADeadOwnerIsReplacedAsItsLeaseEnds(t *testing.T) {
	inCluster(t, 3, 12, true, ownership.Config{TakeoverGrace: time.Hour, RebalanceDelay: 5 * time.Second}, func(t *testing.T, c *cluster) {
		c.nodes[0].kill(1)
		after(clusterTTL*2/3 - 500*time.Millisecond) // it was renewed a third of its time ago at most
		if n := c.ownedBy(0); n != 4 {
			t.Fatalf("while its lease lives it owns %d partitions", n)
		}
		after(clusterTTL/3 + time.Second)
		if a, b := c.ownedBy(1), c.ownedBy(2); a+b != 12 {
			t.Errorf("the others own %d and %d", a, b)
		}
		after(6 * time.Second)
		if a, b := c.ownedBy(1), c.ownedBy(2); a != 6 || b != 6 {
			t.Errorf("when all is quiet they own %d and %d", a, b)
		}
	})
}

func TestUnderWALADeadOwnerIsReplacedAfterTheGrace(t *testing.T) {
	const grace = time.Minute
	inCluster(t, 3, 12, false, ownership.Config{TakeoverGrace: grace, RebalanceDelay: 5 * time.Second}, func(t *testing.T, c *cluster) {
		c.nodes[0].kill(1)
		after(clusterTTL*2/3 + grace - 2*time.Second)
		if n := c.ownedBy(1) + c.ownedBy(2); n != 8 {
			t.Fatalf("within the grace the others own %d partitions, want their 8", n)
		}
		after(clusterTTL/3 + 3*time.Second)
		if n := c.ownedBy(1) + c.ownedBy(2); n != 12 {
			t.Errorf("after the grace the others own %d partitions", n)
		}
	})
}

func TestWithoutGraceADeadOwnerIsReplacedAtOnce(t *testing.T) {
	inCluster(t, 3, 12, false, ownership.Config{}, func(t *testing.T, c *cluster) {
		c.nodes[0].kill(1)
		after(clusterTTL + 500*time.Millisecond)
		if n := c.ownedBy(1) + c.ownedBy(2); n != 12 {
			t.Errorf("the others own %d partitions", n)
		}
	})
}

// Its partitions were meant for others all the time that it was away. (The others
// may even out among themselves what they have.)
func TestTheNamedOwnerTakesBackWithinTheGrace(t *testing.T) {
	inCluster(t, 3, 12, false, ownership.Config{TakeoverGrace: time.Minute, RebalanceDelay: 5 * time.Second}, func(t *testing.T, c *cluster) {
		before := c.owners()
		c.nodes[0].kill(1)
		after(50 * time.Second)
		c.nodes[0].start()
		after(2 * time.Second)
		for i, o := range c.owners() {
			if before[i].Broker == 0 && (o.Broker != 0 || o.Epoch != before[i].Epoch+1) {
				t.Errorf("partition %d: broker %d in epoch %d, before it was broker %d in %d", i, o.Broker, o.Epoch, before[i].Broker, before[i].Epoch)
			}
		}
	})
}

func TestABrokerThatRestartsAtOnceMovesNothing(t *testing.T) {
	for _, object := range []bool{true, false} {
		inCluster(t, 3, 12, object, ownership.Config{TakeoverGrace: time.Minute, RebalanceDelay: 5 * time.Second}, func(t *testing.T, c *cluster) {
			before := c.owners()
			c.nodes[0].kill(1)
			after(3 * time.Second)
			c.nodes[0].start()
			after(time.Minute)
			for i, o := range c.owners() {
				if o.Broker != before[i].Broker || before[i].Broker != 0 && o.Epoch != before[i].Epoch {
					t.Errorf("object=%v: partition %d moved from broker %d to %d, epoch %d", object, i, before[i].Broker, o.Broker, o.Epoch)
				}
			}
		})
	}
}

// A broker that comes and goes is given its partitions back later each time.
func TestABrokerThatFlapsIsWaitedForLongerEachTime(t *testing.T) {
	inCluster(t, 3, 12, true, ownership.Config{TakeoverGrace: time.Minute, RebalanceDelay: 5 * time.Second}, func(t *testing.T, c *cluster) {
		returns := func(hold time.Duration) {
			t.Helper()
			c.nodes[0].kill(1)
			after(clusterTTL + 8*time.Second) // the others have evened out among themselves
			if n := c.ownedBy(0); n != 0 {
				t.Fatalf("when it is gone it owns %d partitions", n)
			}
			c.nodes[0].start()
			after(hold - time.Second)
			if n := c.ownedBy(0); n != 0 {
				t.Fatalf("%s after it came back it owns %d partitions", hold-time.Second, n)
			}
			after(4 * time.Second)
			if n := c.ownedBy(0); n != 4 {
				t.Fatalf("%s after it came back it owns %d partitions, want 4", hold+3*time.Second, n)
			}
		}
		for _, hold := range []time.Duration{5, 10, 20, 40, 60, 60} {
			returns(hold * time.Second)
		}
		after(11 * time.Minute)
		returns(5 * time.Second)
	})
}

// What a topic's settings say is costly to work out, and the catalog changes with
// every flush.
func TestATopicsSettingsAreWorkedOutOncePerChange(t *testing.T) {
	inCluster(t, 1, 12, true, ownership.Config{}, func(t *testing.T, c *cluster) {
		after(5 * time.Second) // all is taken
		before := c.nodes[0].asked.Load()
		for i := range 20 {
			if err := c.admin.SetDraining(t.Context(), 99, i%2 == 0); err != nil {
				t.Fatal(err)
			}
			after(time.Second)
		}
		if n := c.nodes[0].asked.Load() - before; n != 0 {
			t.Errorf("asked %d times though nothing of the topic changed", n)
		}
	})
}

// A partition is served as its topic asks for from the first record on: one with
// vectors does not wait for its broker to look again, though the record is there
// before that.
func TestTheFirstRecordToBeEmbeddedIsCommittedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 1, false, ownership.Config{})
		defer c.close()
		n := c.nodes[0]
		served := make(chan struct{})
		n.embedded = true
		n.served = func(log *ingest.Log, p topic.Partition) {
			defer close(served)
			raw, err := (&client{id: 1, partition: p}).batch(1)
			if err != nil {
				t.Error(err)
				return
			}
			pending, err := log.Append(t.Context(), p, raw, core.AppendOptions{Acks: 1, MessageBytesMax: 1 << 20, TimestampBeforeMaxMs: math.MaxInt64, TimestampAfterMaxMs: math.MaxInt64})
			if err == nil {
				_, err = pending.Wait(t.Context())
			}
			if err != nil {
				t.Error(err)
			}
		}
		n.start()
		<-served
		after(1500 * time.Millisecond) // 2 s is the age of other segments here
		if next := c.admin.Catalog().Partition(topic.Partition{Topic: c.topic.ID, Index: 0}).Next(); next != 1 {
			t.Errorf("committed up to %d", next)
		}
	})
}

// The topic says nothing: durability is what each broker was configured with, and
// those of a cluster are configured one after the other.
func TestGraceHoldsForAnOwnerWhoseOwnDefaultWasWAL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 2, true, ownership.Config{TakeoverGrace: time.Minute})
		defer c.close()
		c.nodes[0].wal = true
		for _, n := range c.nodes {
			n.start()
		}
		c.until("partitions are spread evenly", time.Minute, c.balanced(2))
		c.nodes[0].kill(1)
		after(clusterTTL*2/3 + 50*time.Second)
		if n := c.ownedBy(1); n != 1 {
			t.Fatalf("within the grace the other owns %d partitions", n)
		}
		after(clusterTTL/3 + 12*time.Second)
		if n := c.ownedBy(1); n != 2 {
			t.Errorf("after it, %d", n)
		}
	})
}

func TestUnderObjectGraceHoldsForWhatWasAcknowledgedUnderWAL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 2, true, ownership.Config{TakeoverGrace: time.Minute})
		defer c.close()
		for _, n := range c.nodes {
			n.start()
		}
		c.until("partitions are spread evenly", time.Minute, c.balanced(2))
		// The brokers of this test take every topic for durability=object. What the
		// setting was while the partition was owned is in the metadata.
		if _, err := c.admin.UpdateTopic(t.Context(), "t", func(t *metastore.Topic) error {
			t.Config["durability"] = "object"
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		c.nodes[0].kill(1)
		after(clusterTTL*2/3 + 50*time.Second)
		if n := c.ownedBy(1); n != 1 {
			t.Fatalf("within the grace the other owns %d partitions", n)
		}
		after(clusterTTL/3 + 12*time.Second)
		if n := c.ownedBy(1); n != 2 {
			t.Fatalf("after the grace the other owns %d partitions", n)
		}
	})
}

func TestADrainingBrokerGivesUpEverythingAndGetsNothing(t *testing.T) {
	inCluster(t, 3, 12, false, ownership.Config{TakeoverGrace: time.Minute, RebalanceDelay: 5 * time.Second}, func(t *testing.T, c *cluster) {
		ctx, cancel := context.WithCancel(t.Context())
		var producing sync.WaitGroup
		for i := range int32(12) {
			producing.Go(func() {
				c.follow(ctx, &client{id: int64(i), partition: topic.Partition{Topic: c.topic.ID, Index: i}}, rand.New(rand.NewPCG(uint64(i), 1)))
			})
		}
		after(3 * time.Second)
		if err := c.admin.SetDraining(ctx, 0, true); err != nil {
			t.Fatal(err)
		}
		after(2 * time.Second)
		if n := c.ownedBy(0); n != 0 {
			t.Errorf("two seconds after the drain it owns %d partitions", n)
		}
		c.nodes[0].kill(3)
		after(time.Second)
		c.nodes[0].start()
		after(time.Minute)
		if n := c.ownedBy(0); n != 0 || c.ownedBy(1)+c.ownedBy(2) != 12 {
			t.Errorf("a restart gave it %d partitions, the others have %d and %d", n, c.ownedBy(1), c.ownedBy(2))
		}
		if err := c.admin.SetDraining(ctx, 0, false); err != nil {
			t.Fatal(err)
		}
		c.until("it has its share again", 10*time.Second, c.balanced(3))
		after(3 * time.Second)
		cancel()
		producing.Wait()
		c.finish()
		if n := c.check(false); n.acked < 100 {
			t.Errorf("only %d records were acknowledged", n.acked)
		}
	})
}

// What cannot be flushed cannot be given away, and is served on.
func TestPartitionsAreServedOnWhileTheBucketIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 6, false, ownership.Config{TakeoverGrace: time.Minute, RebalanceDelay: 5 * time.Second})
		defer c.close()
		c.nodes[0].start()
		c.until("one owns all", time.Minute, c.balanced(1))
		ctx, cancel := context.WithCancel(t.Context())
		var producing sync.WaitGroup
		var clients []*client
		for i := range int32(6) {
			p := &client{id: int64(i), partition: topic.Partition{Topic: c.topic.ID, Index: i}}
			clients = append(clients, p)
			producing.Go(func() { c.follow(ctx, p, rand.New(rand.NewPCG(uint64(i), 1))) })
		}
		plan, err := faults.ParsePlan("put * fail-before p=1")
		if err != nil {
			t.Fatal(err)
		}
		c.bucket.Use(plan)
		c.nodes[1].start()
		var before [6]int32
		for range 5 {
			after(30 * time.Second)
			c.mu.Lock()
			for i, p := range clients {
				if p.sequence < before[i]+10 {
					t.Errorf("partition %d: %d batches in 30 s", i, p.sequence-before[i])
				}
				before[i] = p.sequence
			}
			c.mu.Unlock()
		}
		if n := c.ownedBy(0); n != 6 {
			t.Errorf("it owns %d partitions", n)
		}
		c.bucket.Use(faults.Plan{})
		c.until("partitions are spread evenly once it is back", time.Minute, c.balanced(2))
		cancel()
		producing.Wait()
		c.finish()
		c.check(false)
	})
}

// counted counts what is written to the keys of owners.
type counted struct {
	kv.Store
	txns, largest atomic.Int64
}

func (c *counted) Txn(ctx context.Context, txn kv.Txn) (kv.TxnResult, error) {
	if len(txn.Then) > 0 && strings.Contains(txn.Then[0].Key, "/owners/") {
		c.txns.Add(1)
		c.largest.Store(max(c.largest.Load(), int64(txn.Operations())))
	}
	return c.Store.Txn(ctx, txn)
}

func TestAThousandPartitionsMoveInFewTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1000, false, ownership.Config{TakeoverGrace: time.Minute})
		defer c.close()
		var links []*counted
		for _, n := range c.nodes {
			l := &counted{Store: n.kv}
			n.through, links = l, append(links, l)
		}
		c.nodes[0].start()
		c.until("one owns all", time.Minute, c.balanced(1))
		taken := links[0].txns.Load()
		begun := time.Now()
		c.nodes[1].start()
		c.until("each has its half", time.Minute, c.balanced(2))
		t.Logf("500 of 1,000 partitions: %v, %d transactions for all of the first, %d to release, %d to take",
			time.Since(begun), taken, links[0].txns.Load()-taken, links[1].txns.Load())
		if n := links[0].txns.Load() - taken; n > 6 {
			t.Errorf("500 were released in %d transactions", n)
		}
		if n := links[1].txns.Load(); n > 12 {
			t.Errorf("500 were taken in %d transactions", n)
		}
		if n := links[0].largest.Load(); n > kv.TxnOperationsMax {
			t.Errorf("a transaction of %d operations", n)
		}
	})
}
