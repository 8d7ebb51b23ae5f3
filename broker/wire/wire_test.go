package wire_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/broker/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers every request with its own body, in the way its key asks for.
type echo struct {
	started chan int32    // correlations, in the order of Start
	gate    chan struct{} // what keyGated waits for
}

const (
	keyEcho    = 0
	keyGated   = 1 // waits for the gate
	keySilent  = 2 // has no answer
	keyBad     = 3 // fails in Start
	keyWorse   = 4 // fails in Finish
	keyPatient = 5 // waits until patience ends
	keyLarge   = 6 // attaches its body
	keyRoom    = 7 // waits for room for its answer
	keyTake    = 8 // takes room, and waits for the gate
)

func (e *echo) FrameBytesMax(key int16) int {
	if key > keyTake {
		return 0
	}
	return 100 << 20
}

func (e *echo) Start(_ context.Context, r *wire.Request) (wire.Work, error) {
	if r.Key == keyBad {
		return nil, errors.New("refused")
	}
	if e.started != nil {
		e.started <- r.Correlation
	}
	return &echoWork{e, r}, nil
}

type echoWork struct {
	e *echo
	r *wire.Request
}

func (w *echoWork) Finish(ctx context.Context, out *wire.Response) error {
	switch w.r.Key {
	case keyGated:
		select {
		case <-w.e.gate:
		case <-ctx.Done():
		}
	case keySilent:
		out.Silent()
		return nil
	case keyWorse:
		return errors.New("failed")
	case keyTake:
		room := w.r.Conn.AnswerRoom().Take(15 << 20)
		<-w.e.gate
		out.Begin(false)
		out.Buf = binary.BigEndian.AppendUint32(out.Buf, uint32(room))
		return nil
	case keyRoom:
		if err := w.r.Conn.AwaitAnswerRoom(ctx); err != nil {
			return err
		}
	case keyPatient:
		<-w.r.Conn.Patience().Done()
	}
	out.Begin(false)
	if w.r.Key == keyLarge {
		half := len(w.r.Body) / 2
		out.Attach(w.r.Body[:half])
		out.Attach(w.r.Body[half:])
		out.Buf = append(out.Buf, "end"...)
		return nil
	}
	out.Buf = append(out.Buf, w.r.Body...)
	return nil
}

type harness struct {
	*wire.Server
	addr string
	t    testing.TB
	reg  *prometheus.Registry
	log  *logged
}

// logged is what was logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func serve(t testing.TB, cfg wire.Config, h wire.Handler) *harness {
	t.Helper()
	return serveAs(t, cfg, h, wire.Listener{Name: "test"})
}

func serveAs(t testing.TB, cfg wire.Config, h wire.Handler, of wire.Listener) *harness {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	reg := prometheus.NewRegistry()
	log := new(logged)
	s := wire.New(cfg, h, slog.New(slog.NewTextHandler(log, nil)), reg)
	served := make(chan error, 1)
	go func() { served <- s.Serve(socket, of) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = s.Shutdown(ctx)
		require.NoError(t, <-served)
	})
	return &harness{s, socket.Addr().String(), t, reg, log}
}

type client struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func (h *harness) dial() *client {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.addr)
	require.NoError(h.t, err)
	h.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(h.t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	return &client{conn, h.t, bufio.NewReader(conn)}
}

func frame(key int16, correlation int32, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(10+len(body)))
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(correlation))
	b = append(b, 0xff, 0xff)
	return append(b, body...)
}

func (c *client) send(b []byte) {
	c.t.Helper()
	_, err := c.Write(b)
	require.NoError(c.t, err)
}

func (c *client) receive() (correlation int32, body []byte) {
	c.t.Helper()
	var head [8]byte
	_, err := io.ReadFull(c.r, head[:])
	require.NoError(c.t, err)
	body = make([]byte, binary.BigEndian.Uint32(head[:])-4)
	_, err = io.ReadFull(c.r, body)
	require.NoError(c.t, err)
	return int32(binary.BigEndian.Uint32(head[4:])), body
}

// closed checks that the server hangs up without saying anything.
func (c *client) closed() {
	c.t.Helper()
	n, err := io.Copy(io.Discard, c.r)
	require.Zero(c.t, n)
	var timeout net.Error
	if errors.As(err, &timeout) {
		require.False(c.t, timeout.Timeout(), "the server does not hang up")
	}
}

func TestAnswersComeInTheOrderOfTheRequests(t *testing.T) {
	e := &echo{gate: make(chan struct{}), started: make(chan int32, 100)}
	c := serve(t, wire.Config{}, e).dial()
	c.send(frame(keyGated, 0, []byte("slow")))
	for i := int32(1); i < 50; i++ {
		key := int16(keyEcho)
		if i%7 == 0 {
			key = keySilent
		}
		c.send(frame(key, i, []byte{byte(i)}))
	}
	for i := range int32(50) {
		require.Equal(t, i, <-e.started, "all are started while the first waits")
	}
	close(e.gate)
	for i := range int32(50) {
		if i%7 == 0 && i > 0 {
			continue
		}
		correlation, _ := c.receive()
		require.Equal(t, i, correlation)
	}
}

func TestAFullPipelineStopsTheReading(t *testing.T) {
	e := &echo{gate: make(chan struct{}), started: make(chan int32, 100)}
	c := serve(t, wire.Config{PipelineMax: 4}, e).dial()
	for i := range int32(20) {
		c.send(frame(keyGated, i, nil))
	}
	// One in the writer's hand, four in the pipeline, one that waits to get in.
	for range 6 {
		<-e.started
	}
	select {
	case i := <-e.started:
		t.Fatalf("request %d was started beyond the bound", i)
	case <-time.After(50 * time.Millisecond):
	}
	close(e.gate)
	for i := range int32(20) {
		correlation, _ := c.receive()
		require.Equal(t, i, correlation)
	}
}

func TestFramesOfEverySizeArriveWhole(t *testing.T) {
	c := serve(t, wire.Config{}, &echo{}).dial()
	random := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, 4095, 8 << 10, 8<<10 + 1, 128 << 10, 128<<10 + 1, 1 << 20, 5 << 20, 40 << 20} {
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(random.Uint32())
		}
		go func() { _, _ = c.Write(frame(keyLarge, int32(size), body)) }()
		correlation, got := c.receive()
		require.Equal(t, int32(size), correlation)
		require.Equal(t, size+3, len(got))
		require.True(t, string(got) == string(body)+"end", "%d bytes came back changed", size)
	}
}

func TestBytesThatAreNoFrameCloseTheConnection(t *testing.T) {
	h := serve(t, wire.Config{}, &echo{})
	for name, b := range map[string][]byte{
		"http":               []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"tls":                {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0},
		"negative length":    {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0},
		"no length":          {0, 0, 0, 0, 0, 0, 0, 0},
		"too short":          {0, 0, 0, 4, 0, 0, 0, 0},
		"two gigabytes":      {0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0},
		"over the limit":     {0x06, 0x40, 0x00, 0x01, 0, 0, 0, 0},
		"unknown key":        frame(99, 1, nil),
		"client id too long": {0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 1, 0, 50, 'x', 'y'},
		"refused in Start":   frame(keyBad, 1, nil),
		"failed in Finish":   frame(keyWorse, 1, nil),
	} {
		c := h.dial()
		_, _ = c.Write(b)
		t.Log(name)
		c.closed()
	}
	c := h.dial()
	c.send(frame(keyEcho, 5, []byte("still here")))
	_, body := c.receive()
	require.Equal(t, "still here", string(body))
}

func TestAnnouncedBytesCostNothingUntilTheyCome(t *testing.T) {
	h := serve(t, wire.Config{}, &echo{})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 200 { // 200 frames of 100 MiB are announced
		c := h.dial()
		c.send([]byte{0x06, 0x40, 0x00, 0x00, 0, 0, 0, 0, 0, 0, 0, 0})
	}
	c := h.dial() // when this is answered, some of those have been read
	c.send(frame(keyEcho, 1, nil))
	c.receive()
	runtime.ReadMemStats(&after)
	require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(32<<20))
}

func TestFramesWaitForMemoryAndGoOn(t *testing.T) {
	e := &echo{gate: make(chan struct{}), started: make(chan int32, 10)}
	h := serve(t, wire.Config{BytesMax: 1280 << 10}, e) // 700 KiB lie in 1 MiB
	big := make([]byte, 700<<10)
	first, second := h.dial(), h.dial()
	first.send(frame(keyGated, 1, big))
	<-e.started
	go func() { _, _ = second.Write(frame(keyEcho, 2, big)) }()
	select {
	case <-e.started:
		t.Fatal("two frames of 1 MiB within 1.25")
	case <-time.After(50 * time.Millisecond):
	}
	close(e.gate)
	first.receive()
	correlation, _ := second.receive()
	require.Equal(t, int32(2), correlation)
}

func TestAFrameThatStopsHalfwayIsGivenUp(t *testing.T) {
	h := serve(t, wire.Config{FrameTimeout: 50 * time.Millisecond}, &echo{})
	c := h.dial()
	c.send(frame(keyEcho, 1, make([]byte, 100))[:50])
	c.closed()
}

func TestAnIdleConnectionIsClosedButNotOneThatWaitsForUs(t *testing.T) {
	e := &echo{gate: make(chan struct{}), started: make(chan int32, 1)}
	h := serve(t, wire.Config{IdleTimeout: 50 * time.Millisecond}, e)
	waiting, idle := h.dial(), h.dial()
	waiting.send(frame(keyGated, 1, nil))
	<-e.started
	idle.closed() // by then the other has been as idle
	close(e.gate)
	waiting.receive()
}

func TestAClientThatLeavesEndsItsWork(t *testing.T) {
	e := &echo{started: make(chan int32, 1)}
	h := serve(t, wire.Config{}, e)
	c := h.dial()
	c.send(frame(keyPatient, 1, nil))
	<-e.started
	require.NoError(t, c.Close())
	// The clean-up's Shutdown fails if the work goes on.
}

func TestShutdownAnswersWhatWasStartedAndCutsPatience(t *testing.T) {
	e := &echo{gate: make(chan struct{}), started: make(chan int32, 2)}
	h := serve(t, wire.Config{}, e)
	c, idle := h.dial(), h.dial()
	c.send(frame(keyGated, 1, []byte("durable soon")))
	c.send(frame(keyPatient, 2, []byte("long poll")))
	<-e.started
	<-e.started
	done := make(chan error, 1)
	go func() { done <- h.Shutdown(context.Background()) }()
	idle.closed()
	select {
	case err := <-done:
		t.Fatalf("shut down before the answer: %v", err)
	default:
	}
	close(e.gate)
	_, body := c.receive()
	require.Equal(t, "durable soon", string(body))
	_, body = c.receive()
	require.Equal(t, "long poll", string(body))
	c.closed()
	require.NoError(t, <-done)
}

func TestShutdownCutsWhatTakesTooLong(t *testing.T) {
	e := &echo{gate: make(chan struct{}), started: make(chan int32, 1)}
	h := serve(t, wire.Config{}, e)
	c := h.dial()
	c.send(frame(keyGated, 1, nil))
	<-e.started
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, h.Shutdown(ctx), context.DeadlineExceeded)
	c.closed()
}

// FuzzParseHeader: no bytes panic, and what is returned lies in the input.
func FuzzParseHeader(f *testing.F) {
	f.Add(frame(3, 7, []byte("body"))[4:])
	f.Add([]byte{0, 18, 0, 3, 0, 0, 0, 1, 0, 2, 'i', 'd', 1, 0, 2, 'x', 'y', 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, rest, err := wire.ParseHeader(b)
		if err != nil {
			require.ErrorIs(t, err, wire.ErrMalformed)
			return
		}
		require.Equal(t, len(b), 10+len(h.ClientID)+len(rest))
		after, err := wire.SkipTags(rest)
		if err == nil {
			require.LessOrEqual(t, len(after), len(rest))
		}
	})
}
