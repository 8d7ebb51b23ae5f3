package forward_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/broker/forward"
	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/metastore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Keys of requests to the owner of these tests.
const (
	keyWhose  = 1 // answered with the client's address and what was sent
	keyGated  = 2 // the same, once the gate is open
	keyHangUp = 3 // the connection ends
)

// owner is a broker that others ask.
type owner struct {
	metastore.Broker
	socket net.Listener
	server *wire.Server
	gate   chan struct{}
	opened atomic.Int64
	seen   chan string // what was started, in order
}

func (o *owner) FrameBytesMax(int16) int { return 100 << 20 }

func (o *owner) Start(_ context.Context, r *wire.Request) (wire.Work, error) {
	if r.Key == keyHangUp {
		return nil, errors.New("asked to hang up")
	}
	select {
	case o.seen <- string(r.Body):
	default:
	}
	return &work{o, r}, nil
}

type work struct {
	o *owner
	r *wire.Request
}

func (w *work) Finish(ctx context.Context, out *wire.Response) error {
	if w.r.Key == keyGated {
		select {
		case <-w.o.gate:
		case <-ctx.Done():
		}
	}
	out.Begin(false)
	out.Buf = fmt.Appendf(out.Buf, "%v %s: %s", w.r.Conn.RemoteAddr(), w.r.ClientID, w.r.Body)
	return nil
}

// Accept counts connections.
func (o *owner) Accept() (net.Conn, error) {
	conn, err := o.socket.Accept()
	if err == nil {
		o.opened.Add(1)
	}
	return conn, err
}
func (o *owner) Close() error   { return o.socket.Close() }
func (o *owner) Addr() net.Addr { return o.socket.Addr() }

var sessions atomic.Int64

func newOwner(t *testing.T) *owner {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &owner{socket: socket, gate: make(chan struct{}), seen: make(chan string, 1000), Broker: metastore.Broker{
		ID: 2, Session: metastore.Session(sessions.Add(1)),
		Listeners: []metastore.Listener{{Name: metastore.InternalListener, Host: "127.0.0.1", Port: int32(socket.Addr().(*net.TCPAddr).Port)}},
	}}
	o.server = wire.New(wire.Config{}, o, slog.New(slog.DiscardHandler), nil)
	served := make(chan error, 1)
	go func() { served <- o.server.Serve(o, wire.Listener{Name: metastore.InternalListener, Internal: true}) }()
	t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = o.server.Shutdown(ended)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return o
}

// newForwarder is one whose connections end with the test.
func newForwarder(t *testing.T, cfg forward.Config) (*forward.Forwarder, *prometheus.Registry) {
	reg := prometheus.NewRegistry()
	f := forward.New(cfg, reg)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return f, reg
}

func client(t *testing.T, f *forward.Forwarder, port int, lost func(error)) *forward.Client {
	c := f.Client(&net.TCPAddr{IP: net.IPv4(198, 51, 100, 7), Port: port}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9092}, lost)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func request(key int16, body string) forward.Request {
	return forward.Request{Key: key, ClientID: "me", Body: net.Buffers{[]byte(body)}}
}

func send(t *testing.T, c *forward.Client, to *owner, key int16, body string) *forward.Call {
	t.Helper()
	call, err := c.Send(t.Context(), to.Broker, request(key, body))
	if err != nil {
		t.Fatal(err)
	}
	return call
}

func answer(t *testing.T, call *forward.Call) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	body, err := call.Answer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func metric(t *testing.T, reg *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "chronik_forward_"+name {
			for _, m := range family.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
			return sum
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// eventually waits for something that other goroutines do.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.After(20 * time.Second); !holds(); {
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestRequestsArriveInOrderAndSayWhoseTheyAre(t *testing.T) {
	f, reg := newForwarder(t, forward.Config{})
	o := newOwner(t)
	one, two := client(t, f, 1111, nil), client(t, f, 2222, nil)
	var calls []*forward.Call
	for i := range 50 {
		calls = append(calls, send(t, one, o, keyWhose, fmt.Sprint(i)))
	}
	for i, call := range calls {
		if got, want := answer(t, call), fmt.Sprintf("198.51.100.7:1111 me: %d", i); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
		if started := <-o.seen; started != fmt.Sprint(i) {
			t.Fatalf("started %s as number %d", started, i)
		}
	}
	if got := answer(t, send(t, two, o, keyWhose, "x")); got != "198.51.100.7:2222 me: x" {
		t.Error(got)
	}
	if n := o.opened.Load(); n != 2 || metric(t, reg, "connections") != 2 {
		t.Errorf("%d connections, the metric says %v", n, metric(t, reg, "connections"))
	}
}

func TestWhatWaitsHoldsUpOnlyItsOwnClient(t *testing.T) {
	f, _ := newForwarder(t, forward.Config{})
	o := newOwner(t)
	one, two := client(t, f, 1, nil), client(t, f, 2, nil)
	held := send(t, one, o, keyGated, "held")
	behind := send(t, one, o, keyWhose, "behind")
	answer(t, send(t, two, o, keyWhose, "free"))
	select {
	case <-behind.Done():
		t.Error("it was answered before the one that was sent first")
	default:
	}
	close(o.gate)
	answer(t, held)
	answer(t, behind)
}

func TestIdleConnectionsAreClosedAndOpenedAgain(t *testing.T) {
	f, reg := newForwarder(t, forward.Config{IdleTimeout: 20 * time.Millisecond})
	o := newOwner(t)
	c := client(t, f, 1, nil)
	answer(t, send(t, c, o, keyWhose, "x"))
	eventually(t, "it is closed", func() bool { return metric(t, reg, "connections") == 0 })
	held := send(t, c, o, keyGated, "held")
	for range 5 { // several times the timeout
		<-time.After(20 * time.Millisecond)
		if metric(t, reg, "connections") != 1 {
			t.Fatal("a connection on which somebody waits is not idle")
		}
	}
	close(o.gate)
	answer(t, held)
	if n := o.opened.Load(); n != 2 {
		t.Errorf("%d connections were opened", n)
	}
}

func TestTheNumberOfConnectionsIsBounded(t *testing.T) {
	f, reg := newForwarder(t, forward.Config{ConnectionsMax: 2})
	o := newOwner(t)
	defer close(o.gate)
	for port := range 5 { // each takes the place of an idle one
		answer(t, send(t, client(t, f, port+1, nil), o, keyWhose, "x"))
	}
	if n := metric(t, reg, "connections"); n > 2 {
		t.Errorf("%v connections", n)
	}
	send(t, client(t, f, 11, nil), o, keyGated, "held")
	send(t, client(t, f, 12, nil), o, keyGated, "held")
	if _, err := client(t, f, 13, nil).Send(t.Context(), o.Broker, request(keyWhose, "x")); !errors.Is(err, forward.ErrUnreachable) {
		t.Errorf("%v though all connections are in use", err)
	}
}

func TestWhoCannotBeReachedIsNotTriedByEverybody(t *testing.T) {
	var dials atomic.Int64
	gate := make(chan struct{})
	f, _ := newForwarder(t, forward.Config{DialPause: time.Hour, Dial: func(context.Context, string) (net.Conn, error) {
		dials.Add(1)
		<-gate
		return nil, errors.New("no route")
	}})
	close(gate)
	o := newOwner(t)
	for port := range 10 {
		if _, err := client(t, f, port+1, nil).Send(t.Context(), o.Broker, request(keyWhose, "x")); !errors.Is(err, forward.ErrUnreachable) {
			t.Errorf("%v", err)
		}
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d attempts", n)
	}
	again := o.Broker
	again.Session++ // it has come back
	if _, err := client(t, f, 20, nil).Send(t.Context(), again, request(keyWhose, "x")); !errors.Is(err, forward.ErrUnreachable) || dials.Load() != 2 {
		t.Errorf("%v after %d attempts", err, dials.Load())
	}
}

func TestALostConnectionLosesWhatWasAskedAndIsReplaced(t *testing.T) {
	f, _ := newForwarder(t, forward.Config{})
	o := newOwner(t)
	c := client(t, f, 1, func(error) { t.Error("nobody sent anything without an answer") })
	calls := []*forward.Call{send(t, c, o, keyGated, "held"), send(t, c, o, keyWhose, "behind"), send(t, c, o, keyHangUp, "")}
	for _, call := range calls {
		if _, err := call.Answer(t.Context()); !errors.Is(err, forward.ErrLost) {
			t.Errorf("%v", err)
		}
	}
	answer(t, send(t, c, o, keyWhose, "again"))
}

func TestWhenASessionIsOverItsAnswersAreLost(t *testing.T) {
	f, reg := newForwarder(t, forward.Config{})
	o, other := newOwner(t), newOwner(t)
	c := client(t, f, 1, nil)
	held := send(t, c, o, keyGated, "held")
	answer(t, send(t, c, other, keyWhose, "x"))
	f.Live([]metastore.Broker{o.Broker, other.Broker})
	select {
	case <-held.Done():
		t.Fatal("its broker lives")
	default:
	}
	f.Live([]metastore.Broker{other.Broker})
	if _, err := held.Answer(t.Context()); !errors.Is(err, forward.ErrLost) {
		t.Errorf("%v", err)
	}
	if n := metric(t, reg, "connections"); n != 1 {
		t.Errorf("%v connections", n)
	}
}

func TestWhoeverSentWithoutAnAnswerHearsOfALoss(t *testing.T) {
	f, _ := newForwarder(t, forward.Config{})
	o := newOwner(t)
	lost := make(chan error, 1)
	c := client(t, f, 1, func(err error) { lost <- err })
	r := request(keyHangUp, "x")
	r.Silent = true
	call, err := c.Send(t.Context(), o.Broker, r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := call.Answer(t.Context()); err != nil {
		t.Errorf("it has no answer to wait for: %v", err)
	}
	select {
	case err := <-lost:
		if !errors.Is(err, forward.ErrLost) {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("not told")
	}
}

func TestAPollIsNotReadBeforeItIsTaken(t *testing.T) {
	f, reg := newForwarder(t, forward.Config{})
	o := newOwner(t)
	c := client(t, f, 1, nil)
	poll := func(body string) *forward.Call {
		call, err := c.Poll(t.Context(), o.Broker, request(keyWhose, body))
		if err != nil {
			t.Fatal(err)
		}
		return call
	}
	long := strings.Repeat("x", 3<<20)
	first := poll(long)
	<-c.Wake()
	<-first.Done()
	size, err := first.Size()
	if err != nil || size < len(long) {
		t.Fatal(size, err)
	}
	second := poll("second") // it comes behind the first
	answer(t, send(t, c, o, keyWhose, "on the other connection"))
	select {
	case <-second.Done():
		t.Error("the first is still there")
	default:
	}
	body, err := first.Take()
	if err != nil || len(body) != size || !strings.HasSuffix(string(body), long) {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	<-second.Done()
	second.Drop() // when it is there
	third := poll("third")
	third.Drop() // before
	fourth := poll("fourth")
	<-fourth.Done()
	if body, err := fourth.Take(); err != nil || string(body) != "198.51.100.7:1 me: fourth" {
		t.Errorf("%q, %v", body, err)
	}
	if n := metric(t, reg, "connections"); n != 2 {
		t.Errorf("%v connections", n)
	}
}

func TestAClientThatGoesTakesItsConnectionsWithIt(t *testing.T) {
	f, reg := newForwarder(t, forward.Config{})
	o := newOwner(t)
	c := client(t, f, 1, nil)
	held := send(t, c, o, keyGated, "held")
	poll, err := c.Poll(t.Context(), o.Broker, request(keyWhose, "never taken"))
	if err != nil {
		t.Fatal(err)
	}
	<-poll.Done()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := held.Answer(t.Context()); !errors.Is(err, forward.ErrLost) {
		t.Errorf("%v", err)
	}
	if _, err := c.Send(t.Context(), o.Broker, request(keyWhose, "x")); !errors.Is(err, forward.ErrUnreachable) {
		t.Errorf("%v", err)
	}
	if n := metric(t, reg, "connections"); n != 0 {
		t.Errorf("%v connections", n)
	}
}

func TestABrokerThatAnswersSomethingElseIsLeft(t *testing.T) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	var wrong sync.WaitGroup
	defer wrong.Wait()
	for name, head := range map[string][2]int32{"another correlation": {4, 7}, "too large": {1 << 30, 1}, "too small": {3, 1}} {
		wrong.Go(func() {
			conn, err := socket.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			var request [64]byte
			if _, err := conn.Read(request[:]); err != nil {
				t.Error(err)
			}
			b := binary.BigEndian.AppendUint32(nil, uint32(head[0]))
			if _, err := conn.Write(binary.BigEndian.AppendUint32(b, uint32(head[1]))); err != nil {
				t.Error(err)
			}
			_, _ = conn.Read(request[:]) // until the other side leaves
		})
		f, _ := newForwarder(t, forward.Config{})
		to := metastore.Broker{ID: 2, Session: metastore.Session(sessions.Add(1)), Listeners: []metastore.Listener{
			{Name: metastore.InternalListener, Host: "127.0.0.1", Port: int32(socket.Addr().(*net.TCPAddr).Port)},
		}}
		call, err := client(t, f, 1, nil).Send(t.Context(), to, request(keyWhose, "x"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := call.Answer(t.Context()); !errors.Is(err, forward.ErrLost) {
			t.Errorf("%s: %v", name, err)
		}
		wrong.Wait()
	}
}

func TestSeveralRequestsThatCannotBeSentLeaveNoConnectionBehind(t *testing.T) {
	gate := make(chan struct{})
	asked := make(chan struct{}, 100)
	f, reg := newForwarder(t, forward.Config{DialPause: time.Nanosecond, Dial: func(context.Context, string) (net.Conn, error) {
		asked <- struct{}{}
		<-gate
		return nil, errors.New("no route")
	}})
	o := newOwner(t)
	c := client(t, f, 1, nil)
	var sending sync.WaitGroup
	for range 8 { // at once: the others wait for the first to open the connection
		sending.Go(func() {
			if _, err := c.Send(t.Context(), o.Broker, request(keyWhose, "x")); !errors.Is(err, forward.ErrUnreachable) {
				t.Errorf("%v", err)
			}
		})
	}
	<-asked
	close(gate)
	sending.Wait()
	if n := metric(t, reg, "connections"); n != 0 {
		t.Errorf("%v connections are counted, and none is open", n)
	}
}
