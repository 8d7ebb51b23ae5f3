package broker_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

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

func TestABrokerSaysThatItsWriteAheadLogIsGone(t *testing.T) {
	for name, lost := range map[string]bool{"it died": true, "it was stopped": false} {
		t.Run(name, func(t *testing.T) {
			c := newBrokers(t, 1, func(b *broker.Config) { b.Identity, b.SessionTTL = "old", time.Second })
			first := c.nodes[0]
			client := c.dial(first.client.Addr())
			if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 2, 1, nil, "t"); err != nil {
				t.Fatal(err)
			}
			if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte("v")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if lost {
				c.kill(first)
			} else {
				c.end(first)
			}
			var log bytes.Buffer
			second := &clusterNode{id: 1, config: first.config, disk: disk.NewMemory(), log: slog.New(slog.NewTextHandler(&log, nil))}
			second.config.Identity = "new"
			c.start(second)
			c.until("it owns the topic", second, func(m *metastore.Catalog) bool {
				topic, ok := m.Topic("t")
				return ok && m.Partition(partitionOf(topic, 0)).OwnerAlive && m.Partition(partitionOf(topic, 1)).OwnerAlive
			})
			c.end(second)
			told := strings.Contains(log.String(), `level=ERROR msg="the data folder is another than before`) && strings.Contains(log.String(), "partitions=2 folder=new before=old")
			if told != lost || !lost && !strings.Contains(log.String(), "nothing is missing") {
				t.Errorf("it says\n%s", log.String())
			}
		})
	}
}
