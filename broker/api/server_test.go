package api_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/broker/api"
	"github.com/chronik-stream/chronik/broker/group"
	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	memkv "github.com/chronik-stream/chronik/metastore/kv/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a broker surface on a real socket over a memory core.
type server struct {
	*memory
	addr   string
	groups *group.Coordinator
	wire   *wire.Server
	level  slog.LevelVar
	reg    *prometheus.Registry
}

func serve(t testing.TB, cfg api.Config) *server {
	t.Helper()
	return serveLogged(t, cfg, slog.New(slog.DiscardHandler))
}

func serveLogged(t testing.TB, cfg api.Config, log *slog.Logger) *server {
	t.Helper()
	return serveWire(t, cfg, wire.Config{}, log)
}

func serveWire(t testing.TB, cfg api.Config, connections wire.Config, log *slog.Logger) *server {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := socket.Addr().(*net.TCPAddr)
	m := newMemory(metastore.Broker{ID: 7, Listeners: []metastore.Listener{{Name: "PLAINTEXT", Host: "127.0.0.1", Port: int32(address.Port)}}})
	s := &server{memory: m, addr: socket.Addr().String()}
	delay := 20 * time.Millisecond
	reg := prometheus.NewRegistry()
	s.groups = group.New(group.Config{InitialRebalanceDelay: &delay, SessionTimeoutMin: 100 * time.Millisecond}, m.groupTopics, log, group.NewMetrics(reg))
	held, store := metadata(t)
	for n, slot := range held {
		s.groups.Begin(n, storedGroups{group.InMetastore(store, slot)})
	}
	handler := api.New(cfg, api.Deps{Log: m, Reader: m, Topics: m, Configs: storedConfigs{store}, Quotas: storedConfigs{store}, Cluster: m, ProducerIDs: m, Groups: s.groups, LogLevel: &s.level}, log, reg)
	s.reg = reg
	connections.Quota = handler.ConnectionThrottle
	s.wire = wire.New(connections, handler, log, reg)
	served := make(chan error, 1)
	go func() { served <- s.wire.Serve(socket, wire.Listener{Name: "PLAINTEXT"}) }()
	t.Cleanup(func() {
		s.groups.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, s.wire.Shutdown(ctx))
		require.NoError(t, <-served)
	})
	return s
}

// storedConfigs is api.Configs and api.Quotas over a metadata store.
type storedConfigs struct{ *metastore.Store }

func (s storedConfigs) Quotas() *metastore.Quotas { return s.Catalog().Quotas() }

func (s storedConfigs) Configs() *metastore.Configs { return s.Catalog().Configs() }

func (s storedConfigs) UpdateConfig(ctx context.Context, r metastore.ConfigResource, change func(map[string]string) (map[string]string, error)) (map[string]string, error) {
	if err := timed(ctx); err != nil {
		return nil, err
	}
	return s.Store.UpdateConfig(ctx, r, change)
}

func (s storedConfigs) UpdateQuota(ctx context.Context, e metastore.QuotaEntity, change func(map[string]float64) (map[string]float64, error)) error {
	if err := timed(ctx); err != nil {
		return err
	}
	return s.Store.UpdateQuota(ctx, e, change)
}

// storedGroups is a coordinator's storage that wants a deadline of who deletes.
type storedGroups struct{ group.Storage }

func (s storedGroups) ExpireOffsets(ctx context.Context, name string, expired map[topic.Partition]group.Offset) error {
	if err := timed(ctx); err != nil {
		return err
	}
	return s.Storage.ExpireOffsets(ctx, name, expired)
}

func (s storedGroups) DeleteGroupOffsets(ctx context.Context, name string) error {
	if err := timed(ctx); err != nil {
		return err
	}
	return s.Storage.DeleteGroupOffsets(ctx, name)
}

// timed refuses what would wait for ever for a metadata store that is away.
func timed(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		return errors.New("altered without a deadline")
	}
	return nil
}

// metadata is a metadata store in memory with a session for groups.
func metadata(t testing.TB) (map[int]*metastore.HeldSlot, *metastore.Store) {
	k := memkv.New()
	store, err := metastore.Open(t.Context(), k, metastore.Options{Cluster: "test"})
	require.NoError(t, err)
	session, err := store.Register(t.Context(), metastore.Broker{ID: 7}, time.Minute)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, session.Close(context.Background()))
		store.Close()
		require.NoError(t, k.Close())
	})
	all := make(map[int]metastore.Slot)
	for n := range metastore.Slots {
		all[n] = metastore.Slot{}
	}
	held, err := store.TakeSlots(t.Context(), session, all)
	require.NoError(t, err)
	return held, store
}

// topic makes a topic and returns it.
func (s *server) topic(t testing.TB, name string, partitions int32, config map[string]string) metastore.Topic {
	t.Helper()
	made, err := s.CreateTopic(context.Background(), metastore.Topic{
		Name: name, ID: topic.NewID(), Partitions: partitions, Replicas: 1, Config: config,
	})
	require.NoError(t, err)
	return made
}

// client is a franz-go client that is closed with the test.
func (s *server) client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(s.addr), kgo.DisableClientMetrics()}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// raw is a connection that speaks frames, for what no client does.
type raw struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	next int32 // correlation
}

func (s *server) raw(t testing.TB) *raw {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(2*time.Minute)))
	return &raw{t: t, conn: conn, r: bufio.NewReader(conn)}
}

// send writes a request and returns its correlation id.
func (c *raw) send(req kmsg.Request) int32 {
	c.t.Helper()
	c.next++
	_, err := c.conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("raw")).AppendRequest(nil, req, c.next))
	require.NoError(c.t, err)
	return c.next
}

// frame reads one response without its length.
func (c *raw) frame() []byte {
	c.t.Helper()
	var size [4]byte
	_, err := io.ReadFull(c.r, size[:])
	require.NoError(c.t, err)
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err = io.ReadFull(c.r, frame)
	require.NoError(c.t, err)
	return frame
}

// receive reads the response to req, which must have that correlation id.
func (c *raw) receive(req kmsg.Request, correlation int32) kmsg.Response {
	c.t.Helper()
	frame := c.frame()
	require.Equal(c.t, correlation, int32(binary.BigEndian.Uint32(frame)), "correlation id")
	body := frame[4:]
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if resp.IsFlexible() && resp.Key() != 18 {
		require.Zero(c.t, body[0], "tags of the response header")
		body = body[1:]
	}
	require.NoError(c.t, resp.ReadFrom(body), "%T version %d", resp, req.GetVersion())
	require.Equal(c.t, body, resp.AppendTo(nil), "%T version %d: what was read is not all that was sent", resp, req.GetVersion())
	return resp
}

func (c *raw) ask(req kmsg.Request) kmsg.Response {
	c.t.Helper()
	return c.receive(req, c.send(req))
}

// closed checks that the server ends the connection without another byte.
func (c *raw) closed() {
	c.t.Helper()
	n, err := io.Copy(io.Discard, c.r)
	require.Zero(c.t, n, "bytes after which the server should have closed")
	if err != nil {
		require.NotErrorIs(c.t, err, context.DeadlineExceeded)
		var timeout net.Error
		require.False(c.t, errorsAsTimeout(err, &timeout), "the server did not close the connection")
	}
}

func errorsAsTimeout(err error, target *net.Error) bool {
	e, ok := err.(net.Error)
	*target = e
	return ok && e.Timeout()
}
