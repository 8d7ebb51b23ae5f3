package broker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/chronik-stream/chronik/broker"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/metastore"
)

// TestABrokerWhoseIdIsTakenGivesUp: it waits for as long as the key of a dead
// former self could live, and then says what to do; the other one never notices.
func TestABrokerWhoseIdIsTakenGivesUp(t *testing.T) {
	c := newBrokers(t, 1, func(b *broker.Config) { b.Identity = "mine" })
	first := c.nodes[0]
	session, _ := first.store.Catalog().Broker(1)
	second := &clusterNode{id: 1, config: first.config, disk: disk.NewMemory()}
	second.config.Identity, second.config.SessionTTL = "another", time.Second
	began := time.Now()
	c.start(second)
	err := <-second.done
	second.done = nil
	second.store.Close()
	if !errors.Is(err, metastore.ErrBrokerTaken) {
		t.Errorf("ended with %v", err)
	}
	if waited := time.Since(began); waited < second.config.SessionTTL {
		t.Errorf("gave up after %v: a dead broker's lease is longer", waited)
	}
	if now, ok := first.store.Catalog().Broker(1); !ok || now.Session != session.Session {
		t.Errorf("the first broker's session %d became %d, %v", session.Session, now.Session, ok)
	}
	if err := first.broker.Ready(); err != nil {
		t.Errorf("the first broker: %v", err)
	}
}
