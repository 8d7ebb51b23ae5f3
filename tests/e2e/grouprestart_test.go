package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A group whose coordinator is killed goes on where it was: nobody is told to give
// anything up, the generation stays, and each record is consumed once.
func TestKillingTheCoordinatorRebalancesNothing(t *testing.T) {
	c := start(t)
	c.must("", "topic", "create", "t", "--partitions", "6")
	var mu sync.Mutex
	heard := make(map[string]int)
	changes := 0
	var members []*kgo.Client
	for i := range 3 {
		changed := func(context.Context, *kgo.Client, map[string][]int32) {
			mu.Lock()
			defer mu.Unlock()
			changes++
		}
		member, err := kgo.NewClient(kgo.SeedBrokers(c.kafka), kgo.Dialer(dialPatiently), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.ClientID(fmt.Sprint("member", i)),
			kgo.HeartbeatInterval(200*time.Millisecond), kgo.SessionTimeout(30*time.Second), kgo.AutoCommitInterval(200*time.Millisecond),
			kgo.OnPartitionsAssigned(changed), kgo.OnPartitionsRevoked(changed), kgo.OnPartitionsLost(changed))
		if err != nil {
			t.Fatal(err)
		}
		var polling sync.WaitGroup
		polling.Go(func() {
			for {
				fetches := member.PollFetches(context.Background())
				if fetches.IsClientClosed() {
					return
				}
				mu.Lock()
				fetches.EachRecord(func(r *kgo.Record) { heard[string(r.Value)]++ })
				mu.Unlock()
			}
		})
		t.Cleanup(func() {
			member.CloseAllowingRebalance()
			polling.Wait()
		})
		members = append(members, member)
	}
	admin, err := kgo.NewClient(kgo.SeedBrokers(c.kafka), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	stable := func() (g kadm.DescribedGroup) {
		t.Helper()
		eventually(t, 30*time.Second, func() error {
			described, err := kadm.NewClient(admin).DescribeGroups(t.Context(), "g")
			g = described["g"]
			if err == nil && (g.State != "Stable" || len(g.Members) != 3 || len(g.AssignedPartitions()["t"]) != 6) {
				err = fmt.Errorf("%s, %d members, %v", g.State, len(g.Members), g.AssignedPartitions())
			}
			return err
		})
		return g
	}
	produced := 0
	consumed := func() {
		t.Helper()
		for range 60 {
			record := kgo.StringRecord(fmt.Sprint(produced))
			record.Topic = "t"
			if err := admin.ProduceSync(t.Context(), record).FirstErr(); err != nil {
				t.Fatal(err)
			}
			produced++
		}
		eventually(t, 30*time.Second, func() error {
			mu.Lock()
			defer mu.Unlock()
			for i := range produced {
				if n := heard[fmt.Sprint(i)]; n != 1 {
					return fmt.Errorf("record %d was consumed %d times", i, n)
				}
			}
			return nil
		})
	}
	before := stable()
	consumed()
	before = stable()
	_, generation := members[0].GroupMetadata()
	mu.Lock()
	was := changes
	mu.Unlock()
	for range 2 {
		c.kill()
		c.restart()
		consumed()
		if after := stable(); !reflect.DeepEqual(after.Members, before.Members) {
			t.Errorf("before %+v\nafter %+v", before.Members, after.Members)
		}
	}
	for i, member := range members {
		if _, now := member.GroupMetadata(); now != generation {
			t.Errorf("member %d is in generation %d, was in %d", i, now, generation)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if changes != was {
		t.Errorf("%d assignments changed hands", changes-was)
	}
}

// dialPatiently waits for a port that is closed for a moment. franz-go takes three
// refused connections, a quarter of a second, for a reason to join its group
// again, and a busy machine takes longer to start a process.
func dialPatiently(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, shortly)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return conn, err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}
