package broker_test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker"
	"github.com/chronik-stream/chronik/broker/api"
	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/committed"
	kvfaults "github.com/chronik-stream/chronik/metastore/kv/faults"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
	"github.com/chronik-stream/chronik/objstore"
	memorybucket "github.com/chronik-stream/chronik/objstore/memory"
)

// brokers are several brokers over one store and one bucket, each with a listener
// for clients and one for the others.
type brokers struct {
	t      testing.TB
	kv     *memory.Store
	bucket objstore.Bucket
	nodes  []*clusterNode

	// advertised is what all brokers tell clients; nil: their own addresses.
	advertised net.Addr
}

type clusterNode struct {
	id              metastore.BrokerID
	config          broker.Config
	disk            disk.FS
	link            *kvfaults.Store // between the node and the metadata
	network         func(ctx context.Context, address string) (net.Conn, error)
	store           *metastore.Store
	broker          *broker.Broker
	client, between net.Listener
	registry        *prometheus.Registry
	log             *slog.Logger // nil: nowhere
	stop            context.CancelFunc
	done            chan error // nil once it is stopped
}

// newBrokers starts n brokers, from 1 on.
func newBrokers(t testing.TB, n int, change ...func(*broker.Config)) *brokers {
	c := &brokers{t: t, kv: memory.New(), bucket: memorybucket.New()}
	c.startAll(n, change...)
	return c
}

func (c *brokers) startAll(n int, change ...func(*broker.Config)) {
	for i := range n {
		config := broker.Config{
			ID: metastore.BrokerID(i + 1), ClusterID: "test", Version: "test", DataDir: "data", WALFileBytes: 1 << 20, StopTimeout: 10 * time.Second,
			API: api.Config{TopicDefaults: topicconfig.Defaults{"durability": "wal"}, AutoCreateTopics: true},
		}
		for _, f := range change {
			f(&config)
		}
		c.nodes = append(c.nodes, &clusterNode{id: config.ID, config: config, disk: disk.NewMemory()})
		c.start(c.nodes[i])
	}
	for _, node := range c.nodes {
		c.until("all brokers live", node, func(m *metastore.Catalog) bool { return len(m.Brokers()) == n })
	}
}

func (c *brokers) start(n *clusterNode) {
	c.t.Helper()
	var err error
	listen := func(last net.Listener) net.Listener {
		address := "127.0.0.1:0"
		if last != nil {
			address = last.Addr().String() // the same again after a restart
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			c.t.Fatal(err)
		}
		return l
	}
	n.client, n.between = listen(n.client), listen(n.between)
	if n.link == nil {
		n.link = kvfaults.New(c.kv, kvfaults.Plan{})
	}
	if n.store, err = metastore.Open(c.t.Context(), n.link, metastore.Options{Cluster: "test"}); err != nil {
		c.t.Fatal(err)
	}
	n.registry = prometheus.NewRegistry()
	listener := func(name string, l net.Listener) broker.Listener {
		return broker.Listener{
			Advertised: metastore.Listener{Name: name, Host: "127.0.0.1", Port: int32(l.Addr().(*net.TCPAddr).Port)},
			Sockets:    []net.Listener{l},
		}
	}
	clients := listener("PLAINTEXT", n.client)
	if c.advertised != nil {
		clients.Advertised.Port = int32(c.advertised.(*net.TCPAddr).Port)
	}
	log := n.log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	n.broker = broker.New(n.config, broker.Deps{
		Store: n.store, Bucket: c.bucket, FS: n.disk, Log: log, Registerer: n.registry,
		Committed: committed.NewReader(n.store.Catalog(), c.bucket, committed.Options{}),
		Listeners: []broker.Listener{clients, listener(metastore.InternalListener, n.between)},
		Dial:      n.network,
	})
	var ctx context.Context
	ctx, n.stop = context.WithCancel(context.Background())
	n.done = make(chan error, 1)
	run := n.broker
	done := n.done
	go func() { done <- run.Run(ctx) }()
	c.t.Cleanup(func() { c.end(n) })
}

// end stops a broker as SIGTERM does.
func (c *brokers) end(n *clusterNode) {
	if n.done == nil {
		return
	}
	n.stop()
	if err := <-n.done; err != nil {
		c.t.Errorf("broker %d ended: %v", n.id, err)
	}
	n.done = nil
	n.store.Close()
}

// kill ends a broker without a word to anybody: its session stays until it lapses.
func (c *brokers) kill(n *clusterNode) {
	c.t.Helper()
	cut, err := kvfaults.ParsePlan("* * fail-before p=1")
	if err != nil {
		c.t.Fatal(err)
	}
	n.link.Use(cut)
	_, _ = n.client.Close(), n.between.Close() // nobody gets in any more
	n.stop()
	<-n.done // with an error, or without
	n.done = nil
	n.store.Close()
}

// until waits for a broker's catalog.
func (c *brokers) until(what string, n *clusterNode, holds func(*metastore.Catalog) bool) {
	c.t.Helper()
	deadline := time.After(time.Minute)
	for {
		changed := n.store.Catalog().Changed()
		if holds(n.store.Catalog()) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			c.t.Fatalf("not in time: %s", what)
		}
	}
}

// dial makes a client of the given broker.
func (c *brokers) dial(address net.Addr, options ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(address.String()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(10 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 5 * time.Millisecond }),
	}, options...)...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(client.Close)
	return client
}

func TestWhoAsksOnTheInternalListenerIsShownThose(t *testing.T) {
	c := newBrokers(t, 2)
	for _, from := range c.nodes {
		resp, err := kmsg.NewPtrMetadataRequest().RequestWith(t.Context(), c.dial(from.between.Addr()))
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.Brokers) != 2 {
			t.Fatalf("%+v", resp.Brokers)
		}
		for i, b := range resp.Brokers {
			if want := int32(c.nodes[i].between.Addr().(*net.TCPAddr).Port); b.Port != want {
				t.Errorf("broker %d is shown at port %d, want %d", b.NodeID, b.Port, want)
			}
		}
	}
}

func TestNoQuotaHoldsOnTheInternalListener(t *testing.T) {
	c := newBrokers(t, 1)
	n := c.nodes[0]
	everybody := metastore.QuotaEntity{User: metastore.QuotaNamed("")}
	if err := n.store.UpdateQuota(t.Context(), everybody, func(map[string]float64) (map[string]float64, error) {
		return map[string]float64{"request_percentage": 0.000001, "producer_byte_rate": 1, "consumer_byte_rate": 1}, nil
	}); err != nil {
		t.Fatal(err)
	}
	for address, throttled := range map[net.Addr]bool{n.client.Addr(): true, n.between.Addr(): false} {
		resp, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(t.Context(), c.dial(address))
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.ThrottleMillis > 0; got != throttled {
			t.Errorf("throttled %v on the listener at %v, want %v", got, address, throttled)
		}
	}
}
