package ownership_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/chronik-stream/chronik/broker/ownership"
	"github.com/chronik-stream/chronik/metastore"
)

func candidates(n, racks int) []ownership.Candidate {
	var all []ownership.Candidate
	for i := range n {
		c := ownership.Candidate{ID: metastore.BrokerID(i)}
		if racks > 0 {
			c.Rack = fmt.Sprint("rack", i%racks)
		}
		all = append(all, c)
	}
	return all
}

func count[K comparable](keys []K) map[K]int {
	n := map[K]int{}
	for _, k := range keys {
		n[k]++
	}
	return n
}

// spread is the difference between the largest and the smallest share.
func spread(wished []metastore.BrokerID, of []ownership.Candidate) int {
	n := count(wished)
	least, most := n[of[0].ID], 0
	for _, c := range of {
		least, most = min(least, n[c.ID]), max(most, n[c.ID])
	}
	return most - least
}

func TestEveryTopicIsSpreadEvenlyOverBrokersAndRacks(t *testing.T) {
	for brokers := 1; brokers <= 9; brokers++ {
		for racks := range 4 {
			all := candidates(brokers, racks)
			for _, partitions := range []int32{1, 2, 3, 4, 5, 6, 7, 12, 50, 64, 333} {
				for topic := range 20 {
					kind := fmt.Sprint("topic", topic)
					wished := ownership.Wished(kind, partitions, all)
					if s := spread(wished, all); s > 1 {
						t.Fatalf("%d partitions on %d brokers in %d racks: shares differ by %d: %v", partitions, brokers, racks, s, count(wished))
					}
					if racks < 2 {
						continue
					}
					byRack, members := map[string]int{}, map[string]int{}
					for _, c := range all {
						members[c.Rack]++
						byRack[c.Rack] += count(wished)[c.ID]
					}
					for rack, n := range members {
						share := float64(partitions) * float64(n) / float64(brokers)
						if d := float64(byRack[rack]) - share; d >= 2 || d <= -2 {
							t.Fatalf("%d partitions on %d brokers: %s with %d of them has %d", partitions, brokers, rack, n, byRack[rack])
						}
					}
				}
			}
		}
	}
}

func TestTheWishDoesNotDependOnTheOrderOfTheCandidates(t *testing.T) {
	all := candidates(7, 3)
	want := ownership.Wished("t", 100, all)
	for seed := range uint64(20) {
		mixed := slices.Clone(all)
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		if !slices.Equal(ownership.Wished("t", 100, mixed), want) {
			t.Fatalf("another wish for the order %v", mixed)
		}
	}
}

func TestManySmallTopicsAreSpreadToo(t *testing.T) {
	all := candidates(3, 0)
	var wished []metastore.BrokerID
	for i := range 3000 {
		wished = append(wished, ownership.Wished(fmt.Sprint("topic", i), 1, all)...)
	}
	if s := spread(wished, all); s > 200 {
		t.Errorf("3000 topics of one partition: %v", count(wished))
	}
	if wished := ownership.Wished("t", 2, nil); !slices.Equal(wished, []metastore.BrokerID{metastore.NoBroker, metastore.NoBroker}) {
		t.Errorf("without candidates: %v", wished)
	}
}

// A broker that comes or goes has to move its share. What moves beside that is
// what the even load costs.
func TestABrokerThatComesOrGoesMovesLittleMoreThanItsShare(t *testing.T) {
	for _, c := range []struct {
		brokers, racks int
		partitions     int32
		most           float64 // of all, beside the share
	}{
		{3, 0, 6, 0.1}, {3, 0, 12, 0.1}, {3, 0, 64, 0.05}, {3, 0, 1000, 0.02},
		{3, 3, 64, 0.05}, {4, 2, 64, 0.06}, {9, 3, 1000, 0.04}, {10, 0, 1000, 0.04},
	} {
		all := candidates(c.brokers, c.racks)
		fewer := all[:len(all)-1]
		gone := all[len(all)-1].ID
		moved, share, total := 0, 0, 0
		const topics = 50
		for topic := range topics {
			kind := fmt.Sprint("topic", topic)
			with, without := ownership.Wished(kind, c.partitions, all), ownership.Wished(kind, c.partitions, fewer)
			for i := range with {
				total++
				switch {
				case with[i] == gone:
					share++
				case with[i] != without[i]:
					moved++
				}
			}
		}
		if beside := float64(moved) / float64(total); beside > c.most {
			t.Errorf("%d brokers, %d racks, %d partitions: %.1f %% move beside the share of %.1f %%, want at most %.0f %%",
				c.brokers, c.racks, c.partitions, 100*beside, 100*float64(share)/float64(total), 100*c.most)
		} else {
			t.Logf("%d brokers, %d racks, %d partitions: %.1f %% move beside the share of %.1f %%",
				c.brokers, c.racks, c.partitions, 100*beside, 100*float64(share)/float64(total))
		}
	}
}
