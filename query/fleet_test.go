//go:build !nosql

package query

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	arrowflight "github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/chronik-stream/chronik/metastore"
)

// member is a further query node of a cluster.
type member struct {
	*cluster
	kill func()
}

// join starts a query node that the others know.
func (c *cluster) join(id string, change func(*Config)) *member {
	c.t.Helper()
	config := Config{
		Catalog: c.store.Catalog(), Bucket: c.bucket, DataDir: c.t.TempDir(), Self: id,
		Seeds: func() []string { return []string{c.broker.Address()} }, Registerer: prometheus.NewRegistry(),
	}
	if change != nil {
		change(&config)
	}
	node, err := Open(c.t.Context(), config)
	require.NoError(c.t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(c.t, err)
	front, closeFront := serveWhole(node)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := node.Run(ctx, listener); err != nil {
			c.t.Errorf("%s: %v", id, err)
		}
	}()
	registered, err := c.store.RegisterQuery(c.t.Context(), metastore.Member{ID: id, Address: front}, 10*time.Second)
	require.NoError(c.t, err)
	kill := func() {
		closeFront()
		cancel()
		<-done
	}
	c.t.Cleanup(func() {
		kill()
		require.NoError(c.t, registered.Close(context.Background()))
	})
	other := *c
	other.node, other.url = node, "http://"+listener.Addr().String()
	return &member{&other, kill}
}

// serveWhole serves a node's HTTP and its Flight on one port.
func serveWhole(node *Node) (address string, kill func()) {
	rpc := grpc.NewServer()
	arrowflight.RegisterFlightServiceServer(rpc, node.Flight())
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 {
			rpc.ServeHTTP(w, r)
			return
		}
		node.Handler().ServeHTTP(w, r)
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	return s.Listener.Addr().String(), func() {
		rpc.Stop()
		s.CloseClientConnections()
		s.Close()
	}
}

// pair are two nodes, the first of which is preferred for topic orders.
func (c *cluster) pair(change func(*Config)) (preferred, other *member) {
	c.t.Helper()
	a, b := c.join("a", change), c.join("b", change)
	c.await(func() bool { return len(c.store.Catalog().Queries()) == 2 })
	if _, elsewhere := a.node.peers.Preferred("orders"); elsewhere {
		return b, a
	}
	return a, b
}

func TestAQueryIsAnsweredByTheNodeThatHasItsTopicAtHand(t *testing.T) {
	c := newCluster(t, 1)
	preferred, other := c.pair(nil)
	c.broker.Produce(t, 0, 0, `{"a":1}`)
	c.compact(0, 1)
	c.broker.Produce(t, 0, 0, `{"a":2}`)
	for range 3 {
		for _, m := range []*member{preferred, other} {
			require.Equal(t, []map[string]any{{"s": 3.0}}, m.ask("SELECT sum(a) AS s FROM orders").Rows)
		}
	}
	require.EqualValues(t, 3, other.node.peers.Forwarded())
	require.Zero(t, preferred.node.peers.Forwarded())
	require.Positive(t, preferred.node.tails.Bytes())
	require.Zero(t, other.node.tails.Bytes(), "one node follows the topic")
	require.Positive(t, preferred.node.cache.Counts().Files)
	require.Zero(t, other.node.cache.Counts().Files)

	// Refusals come through as they are, and what is about no topic stays.
	status, body, _ := other.do("POST", "/_sql", `{"query":"SELECT nothing FROM orders"}`)
	require.Equal(t, 400, status, string(body))
	require.Contains(t, string(body), "INVALID_QUERY")
	other.ask("SELECT 1 AS one")
	require.EqualValues(t, 4, other.node.peers.Forwarded())

	for _, m := range []*member{other, preferred} {
		status, body, _ = m.do("POST", "/_sql/explain", `{"query":"SELECT a FROM orders"}`)
		require.Equal(t, 200, status, string(body))
		require.Contains(t, string(body), `"considered":1`)
		status, body, _ = m.do("GET", "/_sql/describe/orders", "")
		require.Equal(t, 200, status, string(body))
		require.Contains(t, string(body), `"_offset"`)
	}
	require.EqualValues(t, 6, other.node.peers.Forwarded())
	require.Zero(t, other.node.tails.Bytes())

	preferred.kill() // it is still on the list
	require.Equal(t, []map[string]any{{"s": 3.0}}, other.ask("SELECT sum(a) AS s FROM orders").Rows)
	require.EqualValues(t, 1, other.node.peers.Declined())
}

func TestFlightIsAnsweredByTheNodeThatHasItsTopicAtHand(t *testing.T) {
	c := newCluster(t, 1)
	preferred, other := c.pair(nil)
	c.broker.Produce(t, 0, 0, `{"a":1}`)
	c.compact(0, 1)
	c.broker.Produce(t, 0, 0, `{"a":2}`)
	client := other.flight()
	sum := func() {
		t.Helper()
		info, err := client.Execute(t.Context(), "SELECT sum(a) AS s FROM orders")
		require.Equal(t, []string{"3"}, other.rowsOf(client, info, err))
	}
	sum()
	prepared, err := client.Prepare(t.Context(), "SELECT a FROM orders WHERE a < ?")
	require.NoError(t, err)
	require.Equal(t, 1, prepared.ParameterSchema().NumFields())
	require.EqualValues(t, 3, other.node.peers.Forwarded())
	require.Zero(t, other.node.tails.Bytes(), "one node follows the topic")
	require.Zero(t, other.node.cache.Counts().Files)
	require.Positive(t, preferred.node.cache.Counts().Files)

	_, err = client.Execute(t.Context(), "SELECT nothing FROM orders")
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	require.Zero(t, other.node.peers.Declined())

	preferred.kill() // it is still on the list
	sum()
	require.EqualValues(t, 1, other.node.peers.Declined())
}

// endless is a query that would take hours.
const endless = `SELECT count(*) AS n FROM orders, range(1000000000) a(i), range(1000000) b(j) WHERE hash(i, j) = 1`

// begin asks for what takes too long, and returns when it runs on that node, or waits there.
func (m *member) begin(on *member, query string) (cancel context.CancelFunc, ended chan error) {
	m.t.Helper()
	before := on.node.places.Running() + on.node.places.Waiting()
	ctx, cancel := context.WithCancel(m.t.Context())
	body, err := json.Marshal(map[string]any{"query": query, "timeout_secs": 60})
	require.NoError(m.t, err)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url+"/_sql", bytes.NewReader(body))
	require.NoError(m.t, err)
	ended = make(chan error, 1)
	go func() {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Do(request)
		if err == nil {
			err = fmt.Errorf("status %d", response.StatusCode)
			_ = response.Body.Close()
		}
		ended <- err
	}()
	m.await(func() bool { return on.node.places.Running()+on.node.places.Waiting() > before })
	return cancel, ended
}

func TestWhoHangsUpEndsTheQueryAlsoOnTheNodeThatItWasHandedOnTo(t *testing.T) {
	c := newCluster(t, 1)
	preferred, other := c.pair(nil)
	c.broker.Produce(t, 0, 0, `{"a":1}`)
	for _, asked := range []*member{preferred, other} {
		cancel, ended := asked.begin(preferred, endless)
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		c.await(func() bool { return preferred.node.places.Running() == 0 })
	}
	require.Zero(t, other.node.places.Running())
	require.Zero(t, other.node.peers.Declined())
}

func TestANodeWithEnoughToDoIsNotWaitedFor(t *testing.T) {
	c := newCluster(t, 1)
	preferred, other := c.pair(func(config *Config) { config.ConcurrentMax = 1 })
	c.broker.Produce(t, 0, 0, `{"a":1}`)
	cancel, ended := preferred.begin(preferred, endless)
	require.Equal(t, []map[string]any{{"a": 1.0}}, other.ask("SELECT a FROM orders").Rows)
	require.EqualValues(t, 1, other.node.peers.Declined())
	cancel()
	<-ended
	c.await(func() bool { return preferred.node.places.Running() == 0 })
	require.Equal(t, []map[string]any{{"a": 1.0}}, other.ask("SELECT a FROM orders").Rows)
	require.EqualValues(t, 1, other.node.peers.Forwarded(), "it is not avoided for that")
}

func TestTheSameQueryAskedByManyAtOnceRunsOnce(t *testing.T) {
	c := newCluster(t, 1)
	m := c.join("a", func(config *Config) {
		config.ResultBytesMax, config.ResultAnswerBytesMax, config.ResultAge, config.ConcurrentMax = 1<<20, 16<<10, time.Hour, 5
	})
	c.broker.Produce(t, 0, 0, `{"a":1}`)
	c.broker.Produce(t, 0, 0, `{"a":2}`)
	const slow = "SELECT sum(a) AS s, count(DISTINCT i % 3) AS n FROM orders, range(30000000) r(i)"
	cancel, ended := m.begin(m, slow)
	m.await(func() bool { return m.node.results.Counts().Misses == 1 }) // it runs, and the others do not
	answers := make(chan reply, 3)
	for range 3 {
		go func() { answers <- m.ask(slow) }()
	}
	m.await(func() bool { return m.node.results.Counts().Joined == 3 })
	cancel() // the one whose run it is
	require.ErrorIs(t, <-ended, context.Canceled)
	for range 3 {
		a := <-answers
		require.Equal(t, []map[string]any{{"s": 9e7, "n": 3.0}}, a.Rows)
		require.EqualValues(t, 1, a.Stats.CachedResults)
		require.EqualValues(t, 2, a.Coverage["orders"].Partitions["0"].To)
	}
	require.EqualValues(t, 1, m.node.results.Counts().Misses-m.node.results.Counts().Joined, "one of them looked for an answer and ran")
	require.Zero(t, m.node.places.Running())
}

func TestAnAnswerIsKeptForAsLongAsItIsRight(t *testing.T) {
	c := newCluster(t, 2)
	m := c.join("a", func(config *Config) {
		config.ResultBytesMax, config.ResultAnswerBytesMax, config.ResultAge = 1<<20, 16<<10, time.Hour
	})
	const sum = "SELECT sum(a) AS s FROM orders"
	expect := func(query string, want float64, cached bool, more ...string) {
		t.Helper()
		a := m.ask(query, more...)
		require.Equal(t, []map[string]any{{"s": want}}, a.Rows, query)
		require.Equal(t, cached, a.Stats.CachedResults == 1, query)
		if cached {
			require.Zero(t, a.Stats.RowsScanned)
		}
	}
	c.broker.Produce(t, 0, 0, `{"a":1}`)
	expect(sum, 1, false)
	expect(sum, 1, true)
	expect("select  SUM(a) as s\nfrom orders -- the same", 1, true)
	expect("SELECT sum(a) AS s FROM orders WHERE a > 0", 1, false)
	expect(sum, 1, false, `,"limit":5`)

	// A record more, in the tail; then in a file; then in another partition.
	c.broker.Produce(t, 0, 0, `{"a":2}`)
	expect(sum, 3, false)
	expect(sum, 3, true)
	c.compact(0, 2)
	expect(sum, 3, false)
	expect(sum, 3, true)
	a := m.ask(sum)
	require.Equal(t, partitionCoverage{From: 0, To: 2, HighWatermark: 2}, a.Coverage["orders"].Partitions["0"])
	c.broker.Produce(t, 1, 0, `{"a":4}`)
	expect(sum, 7, false)
	expect("SELECT sum(a) AS s FROM orders_cold", 3, false)
	expect("SELECT sum(a) AS s FROM orders_cold", 3, true)
	expect("SELECT sum(a) AS s FROM orders_hot", 4, false)
	expect(sum, 3, true, `,"freshness":"cold"`) // which is what it was before that record came
	expect(sum, 7, true)

	// What time or chance decides, what failed, and what is large.
	for range 2 {
		require.Zero(t, m.ask("SELECT now() AS n, a FROM orders").Stats.CachedResults)
		require.Zero(t, m.ask("SELECT a FROM orders ORDER BY random()").Stats.CachedResults)
		status, _, _ := m.do("POST", "/_sql", `{"query":"SELECT error('x') FROM orders"}`)
		require.Equal(t, 400, status)
		require.Zero(t, m.ask("SELECT a, list_aggregate(range(10000), 'string_agg', ',') AS l FROM orders").Stats.CachedResults)
		require.True(t, m.ask("SELECT a FROM orders LIMIT 10", `,"limit":2`).Truncated, "also when it is kept")
	}
	require.NotZero(t, m.ask("SELECT a FROM orders LIMIT 10", `,"limit":2`).Stats.CachedResults)
	require.LessOrEqual(t, m.node.results.Counts().Bytes, int64(1<<20))
}
