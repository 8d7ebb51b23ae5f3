package ownership_test

import (
	"testing"
	"time"

	"github.com/chronik-stream/chronik/broker/ownership"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
)

func TestTheNextOwnerIsNamedOnlyWhereItIsKnown(t *testing.T) {
	for name, c := range map[string]struct {
		durability string
		grace      time.Duration
		owned      bool // before
		released   bool
		back       bool // the owner, with a new session
		draining   bool // both
		want       metastore.BrokerID
		epoch      metastore.Epoch
	}{
		"new":                         {want: 2},
		"released":                    {owned: true, released: true, grace: time.Minute, want: 2, epoch: 1},
		"released to nobody":          {owned: true, released: true, draining: true, want: metastore.NoBroker, epoch: 1},
		"dead, all of it committed":   {owned: true, durability: "object", grace: time.Minute, want: 2, epoch: 1},
		"dead, and waited for":        {owned: true, durability: "wal", grace: time.Minute, want: metastore.NoBroker, epoch: 1},
		"dead, and not waited for":    {owned: true, durability: "wal", want: 2, epoch: 1},
		"dead, and back":              {owned: true, durability: "wal", grace: time.Minute, back: true, want: 1, epoch: 1},
		"dead, and back and draining": {owned: true, durability: "wal", back: true, draining: true, want: 1, epoch: 1},
	} {
		t.Run(name, func(t *testing.T) {
			k := memory.New()
			t.Cleanup(func() { _ = k.Close() })
			store, err := metastore.Open(t.Context(), k, metastore.Options{Cluster: "test", Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(store.Close)
			made, err := store.CreateTopic(t.Context(), metastore.Topic{Name: "t", Partitions: 1})
			if err != nil {
				t.Fatal(err)
			}
			p := topic.Partition{Topic: made.ID}
			register := func(id metastore.BrokerID) *metastore.BrokerSession {
				s, err := store.Register(t.Context(), metastore.Broker{ID: id}, time.Hour)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			object := func(*metastore.Topic) bool { return c.durability == "object" }
			if c.owned {
				first := register(1)
				if _, err := store.Take(t.Context(), first, []metastore.Take{{View: store.Catalog().Partition(p), Object: object(nil)}}); err != nil {
					t.Fatal(err)
				}
				if c.released {
					if err := store.Release(t.Context(), first, []topic.Partition{p}); err != nil {
						t.Fatal(err)
					}
				}
				if err := first.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if c.back {
				register(1)
			}
			register(2)
			for _, id := range []metastore.BrokerID{1, 2} {
				if err := store.SetDraining(t.Context(), id, c.draining || id == 1); err != nil {
					t.Fatal(err)
				}
			}
			next := ownership.NewNext(ownership.Config{TakeoverGrace: c.grace}, object)
			store.Catalog().View(func(v *metastore.View) {
				if got, epoch := next.Owner(v, p); got != c.want || epoch != c.epoch {
					t.Errorf("broker %d in epoch %d, want %d in %d", got, epoch, c.want, c.epoch)
				}
				if got, _ := next.Owner(v, topic.Partition{Topic: topic.NewID()}); got != metastore.NoBroker {
					t.Errorf("broker %d of a topic that does not exist", got)
				}
			})
		})
	}
}
