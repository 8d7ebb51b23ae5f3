package wire_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/broker/wire"
)

// Every limit acts, and its metric tells that it did.

// metric is the value of a metric, of the series with that label value if one is named.
func (h *harness) metric(name, label string) float64 {
	h.t.Helper()
	families, err := h.reg.Gather()
	require.NoError(h.t, err)
	for _, f := range families {
		if f.GetName() != "chronik_kafka_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			if label == "" || m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	h.t.Fatalf("no metric %s{%s}", name, label)
	return 0
}

// counts waits for a metric to have a value.
func (h *harness) counts(want float64, name, label string) {
	h.t.Helper()
	require.Eventually(h.t, func() bool { return h.metric(name, label) == want }, time.Minute, time.Millisecond,
		"%s{%s} is %v", name, label, h.metric(name, label))
}

// answered sends a request and gets its answer.
func (c *client) answered() {
	c.t.Helper()
	c.send(frame(keyEcho, 1, nil))
	c.receive()
}

func TestConnectionsBeyondTheBoundAreRefused(t *testing.T) {
	h := serve(t, wire.Config{ConnectionsMax: 2}, &echo{})
	first := h.dial()
	first.answered()
	h.dial().answered()
	h.dial().closed()
	h.counts(1, "connections_refused_total", "connections")
	h.counts(2, "connections", "")
	require.NoError(t, first.Close())
	h.counts(1, "connections", "")
	h.dial().answered()
}

func TestConnectionsOfOneAddressBeyondItsBoundAreRefused(t *testing.T) {
	h := serve(t, wire.Config{ConnectionsPerIPMax: 2}, &echo{})
	first := h.dial()
	first.answered()
	h.dial().answered()
	h.dial().closed()
	h.counts(1, "connections_refused_total", "connections_per_ip")

	elsewhere := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	other, err := elsewhere.Dial("tcp", h.addr)
	require.NoError(t, err)
	defer other.Close()
	(&client{other, t, bufio.NewReader(other)}).answered()

	require.NoError(t, first.Close())
	h.counts(2, "connections", "")
	h.dial().answered()
}

func TestConnectionsAreAcceptedNoFasterThanTheRate(t *testing.T) {
	h := serve(t, wire.Config{ConnectionRateMax: 4}, &echo{})
	begun := time.Now()
	for range 7 { // four at once, and three a quarter of a second apart
		h.dial().answered()
	}
	require.GreaterOrEqual(t, time.Since(begun), 700*time.Millisecond)
	require.Positive(t, h.metric("limit_waits_total", "connection_rate"))
}

func TestAnAddressOverItsQuotaIsHeldAndThenClosed(t *testing.T) {
	var asked atomic.Value
	h := serve(t, wire.Config{Quota: func(a netip.Addr) time.Duration {
		if asked.Swap(a) == nil {
			return 0
		}
		return 200 * time.Millisecond
	}}, &echo{})
	h.dial().answered()
	begun := time.Now()
	second := h.dial()
	second.send(frame(keyEcho, 1, nil))
	second.closed()
	require.GreaterOrEqual(t, time.Since(begun), 200*time.Millisecond)
	require.Equal(t, netip.MustParseAddr("127.0.0.1"), asked.Load())
	h.counts(1, "connections_refused_total", "connection_quota")
}

func TestTheFirstRequestOfAConnectionNeedsNoPermit(t *testing.T) {
	e := &echo{gate: make(chan struct{}), started: make(chan int32, 100)}
	h := serve(t, wire.Config{RequestsMax: 2}, e)
	busy := h.dial()
	for i := range int32(5) {
		busy.send(frame(keyGated, i, nil))
	}
	for range 3 { // the first, and two with a permit
		<-e.started
	}
	h.counts(1, "limit_waits_total", "requests")
	select {
	case i := <-e.started:
		t.Fatalf("request %d was started beyond the bound", i)
	case <-time.After(50 * time.Millisecond):
	}
	h.counts(3, "requests_underway", "")
	other := h.dial()
	other.answered()
	<-e.started
	close(e.gate)
	for i := range int32(5) {
		correlation, _ := busy.receive()
		require.Equal(t, i, correlation)
	}
	h.counts(0, "requests_underway", "")
	for range 10 { // all permits came back
		busy.answered()
	}
}

func TestAConnectionThatWaitsForAPermitGoesOnWhenItsOwnRequestsAreDone(t *testing.T) {
	e := &echo{gate: make(chan struct{}), started: make(chan int32, 100)}
	h := serve(t, wire.Config{RequestsMax: 1}, e)
	hog := h.dial()
	hog.send(frame(keyGated, 1, nil))
	hog.send(frame(keyGated, 2, nil)) // has the only permit
	<-e.started
	<-e.started
	c := h.dial()
	for i := range int32(20) {
		c.send(frame(keyEcho, i, nil))
	}
	for i := range int32(20) {
		correlation, _ := c.receive()
		require.Equal(t, i, correlation)
	}
	close(e.gate)
	hog.receive()
	hog.receive()
}

func TestTheBytesOfAConnectionAreBounded(t *testing.T) {
	e := &echo{gate: make(chan struct{}), started: make(chan int32, 10)}
	h := serve(t, wire.Config{ConnectionBytesMax: 100 << 10}, e)
	c := h.dial()
	big := make([]byte, 200<<10) // alone it may
	c.send(frame(keyGated, 1, big))
	<-e.started
	go func() { _, _ = c.Write(frame(keyEcho, 2, nil)) }()
	h.counts(1, "limit_waits_total", "connection_bytes")
	require.GreaterOrEqual(t, h.metric("frame_bytes", ""), float64(len(big)))
	select {
	case <-e.started:
		t.Fatal("started beyond the bound")
	case <-time.After(50 * time.Millisecond):
	}
	h.dial().answered() // others have theirs
	<-e.started
	close(e.gate)
	c.receive()
	correlation, _ := c.receive()
	require.Equal(t, int32(2), correlation)
	h.counts(0, "frame_bytes", "")
}

func TestAClientThatTakesNoAnswerIsCutOff(t *testing.T) {
	h := serve(t, wire.Config{WriteTimeout: 100 * time.Millisecond}, &echo{})
	c := h.dial()
	c.send(frame(keyLarge, 1, make([]byte, 30<<20)))
	h.counts(1, "connection_timeouts_total", "write")
	h.counts(0, "connections", "")
	h.counts(0, "frame_bytes", "")
}

func TestASlowClientGetsItsWholeAnswer(t *testing.T) {
	const size = 30 << 20
	h := serve(t, wire.Config{WriteTimeout: time.Second}, &echo{})
	c := h.dial()
	go func() { _, _ = c.Write(frame(keyLarge, 1, make([]byte, size))) }()
	// More than the timeout as a whole, much less for each MiB.
	begun, got := time.Now(), 0
	piece := make([]byte, 512<<10)
	slow := time.NewTicker(50 * time.Millisecond)
	defer slow.Stop()
	for got < size+8+3 {
		n, err := c.Read(piece)
		require.NoError(t, err, "after %d bytes", got)
		got += n
		if time.Since(begun) < 1200*time.Millisecond {
			<-slow.C
		}
	}
	require.Equal(t, size+8+3, got)
	require.Greater(t, time.Since(begun), time.Second)
}

func TestTimesThatAreOverAreCounted(t *testing.T) {
	h := serve(t, wire.Config{IdleTimeout: 50 * time.Millisecond, FrameTimeout: 50 * time.Millisecond}, &echo{})
	h.dial().closed()
	h.counts(1, "connection_timeouts_total", "idle")
	half := h.dial()
	half.send(frame(keyEcho, 1, make([]byte, 100))[:50])
	half.closed()
	h.counts(1, "connection_timeouts_total", "frame")
	length := h.dial()
	length.send([]byte{0, 0})
	length.closed()
	h.counts(2, "connection_timeouts_total", "frame")
	require.Zero(t, h.metric("connections_aborted_total", ""))
}

func TestFramesThatWaitForMemoryForEachOtherAreGivenUp(t *testing.T) {
	e := &echo{gate: make(chan struct{}), started: make(chan int32, 10)}
	h := serve(t, wire.Config{BytesMax: 1280 << 10, FrameTimeout: 300 * time.Millisecond}, e)
	holder := h.dial()
	holder.send(frame(keyGated, 1, make([]byte, 700<<10))) // lies in 1 MiB
	<-e.started
	waiting := h.dial()
	go func() { _, _ = waiting.Write(frame(keyEcho, 2, make([]byte, 400<<10))) }()
	waiting.closed()
	h.counts(1, "limit_waits_total", "frame_bytes")
	h.counts(1, "connection_timeouts_total", "memory")
	close(e.gate)
	holder.receive()
	h.dial().answered()
}

func TestARequestThatCanNeverBeReadIsRefusedAtOnceByTheNameOfItsLimit(t *testing.T) {
	for name, c := range map[string]struct {
		size         int
		limit, named string
	}{
		"more than any request may have":         {100<<20 + 1, "request_bytes", "kafka.request_bytes_max"},
		"more than all of them have":             {9 << 20, "frame_bytes", "kafka.frame_bytes_max"},
		"more than they have while it gets more": {7 << 20, "frame_bytes", "kafka.frame_bytes_max"},
	} {
		t.Run(name, func(t *testing.T) {
			h := serve(t, wire.Config{BytesMax: 8 << 20, FrameTimeout: time.Hour, StallTimeout: time.Hour}, &echo{})
			large := h.dial()
			large.send(binary.BigEndian.AppendUint32(nil, uint32(c.size)))
			large.send(frame(keyEcho, 1, make([]byte, 100))[4:]) // as if the rest were to come
			large.closed()
			h.counts(1, "requests_refused_total", c.limit)
			h.counts(0, "connections", "")
			require.Zero(t, h.metric("limit_waits_total", "frame_bytes"), "it waited for what cannot come")
			require.Zero(t, h.metric("frame_bytes", ""))
			require.Eventually(t, func() bool { return strings.Contains(h.log.String(), c.named) }, time.Minute, time.Millisecond)
			require.Contains(t, h.log.String(), fmt.Sprint(c.size))
			next := h.dial()
			go func() { _, _ = next.Write(frame(keyEcho, 2, make([]byte, 5<<20))) }() // which there is memory for
			_, body := next.receive()
			require.Len(t, body, 5<<20)
		})
	}
}

func TestAFullPipelineIsCounted(t *testing.T) {
	e := &echo{gate: make(chan struct{}), started: make(chan int32, 10)}
	h := serve(t, wire.Config{PipelineMax: 1}, e)
	c := h.dial()
	for i := range int32(3) {
		c.send(frame(keyGated, i, nil))
	}
	h.counts(1, "limit_waits_total", "pipeline")
	close(e.gate)
	for range 3 {
		c.receive()
	}
}

// muter answers at once and mutes its connection then.
type muter struct {
	echo
	pause time.Duration
}

func (m *muter) Start(ctx context.Context, r *wire.Request) (wire.Work, error) {
	work, err := m.echo.Start(ctx, r)
	if r.Key == keyEcho {
		r.Conn.Mute(m.pause)
	}
	return work, err
}

func TestAMutedConnectionIsAnsweredAndThenNotRead(t *testing.T) {
	m := &muter{pause: 300 * time.Millisecond}
	h := serve(t, wire.Config{IdleTimeout: 100 * time.Millisecond}, m)
	c := h.dial()
	begun := time.Now()
	c.send(frame(keyEcho, 1, nil))
	c.send(frame(keyLarge, 2, nil))
	correlation, _ := c.receive()
	require.Equal(t, int32(1), correlation)
	require.Less(t, time.Since(begun), m.pause, "the answer itself does not wait")
	correlation, _ = c.receive()
	require.Equal(t, int32(2), correlation)
	require.GreaterOrEqual(t, time.Since(begun), m.pause)
}

func TestAMutedConnectionDoesNotHoldTheShutdownUp(t *testing.T) {
	h := serve(t, wire.Config{}, &muter{pause: time.Hour})
	c := h.dial()
	c.send(frame(keyEcho, 1, nil))
	c.send(frame(keyEcho, 2, nil))
	c.receive()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	require.NoError(t, h.Shutdown(ctx))
	c.closed()
}

// Ten thousand clients that say half a word each: bounded memory, and others are
// served. As many as this process may have files for, two each.
func TestManyConnectionsCostLittle(t *testing.T) {
	if testing.Short() {
		t.Skip("opens thousands of connections")
	}
	var files syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	n := min(10_000, (int(files.Cur)-200)/2)
	h := serve(t, wire.Config{ConnectionsMax: n}, &echo{})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	conns := make([]net.Conn, 0, n)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for i := range n - 1 {
		// Different addresses, since one has but so many ports.
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i%250+1))}}
		c, err := d.Dial("tcp", h.addr)
		require.NoError(t, err)
		conns = append(conns, c)
		// 100 MiB are announced.
		_, err = c.Write([]byte{0x06, 0x40, 0x00, 0x00, 0, 0, 0, 0, 0, 0, 0, 0})
		require.NoError(t, err)
	}
	h.counts(float64(n-1), "connections", "")
	last := h.dial()
	last.answered()
	h.dial().closed()
	runtime.GC()
	runtime.ReadMemStats(&after)
	used := int64(after.HeapAlloc+after.StackInuse) - int64(before.HeapAlloc+before.StackInuse)
	t.Logf("%d connections, %d bytes each", n, used/int64(n))
	require.Less(t, used/int64(n), int64(64<<10), fmt.Sprintf("%d connections have %d MiB", n, used>>20))
}

func TestAnswersThatAreNotTakenAreCounted(t *testing.T) {
	h := serve(t, wire.Config{}, &echo{})
	c := h.dial()
	c.send(frame(keyLarge, 1, make([]byte, 30<<20)))
	h.counts(30<<20+3+4, "answer_bytes", "")
	c.receive()
	h.counts(0, "answer_bytes", "")
}

func TestAMutedClientThatLeavesIsNoticed(t *testing.T) {
	h := serve(t, wire.Config{}, &muter{pause: time.Hour})
	c := h.dial()
	c.answered()
	require.NoError(t, c.Close())
	h.counts(0, "connections", "")
}

func TestWhatAMutedClientSentBeforeItLeftIsServed(t *testing.T) { // acks=0 and goodbye
	m := &muter{echo: echo{started: make(chan int32, 3)}, pause: 200 * time.Millisecond}
	c := serve(t, wire.Config{}, m).dial()
	c.send(append(frame(keyEcho, 1, nil), frame(keySilent, 2, nil)...))
	require.NoError(t, c.Close())
	require.Equal(t, int32(1), <-m.started)
	select {
	case i := <-m.started:
		require.Equal(t, int32(2), i)
	case <-time.After(time.Minute):
		t.Fatal("the second request is lost")
	}
}

func TestClientsThatStandStillWithMemoryMakeRoomForOthers(t *testing.T) { // each of few announces much and sends a part
	h := serve(t, wire.Config{BytesMax: 4<<20 + 256<<10, StallTimeout: 400 * time.Millisecond}, &echo{})
	for range 2 {
		h.dial().send(frame(keyEcho, 1, make([]byte, 2<<20-100))[:200<<10]) // lies in 2 MiB
	}
	h.counts(4<<20, "frame_bytes", "")
	<-time.After(500 * time.Millisecond) // longer than the time after which they could be closed
	h.counts(2, "connections", "")       // nobody waits: they may go on
	begun := time.Now()
	c := h.dial()
	c.send(frame(keyEcho, 1, make([]byte, 300<<10)))
	c.receive()
	require.Less(t, time.Since(begun), 10*time.Second, "the frame timeout is a minute")
	h.counts(2, "connections", "")
	h.counts(1, "connection_timeouts_total", "stall") // one made room enough
	h.counts(1, "limit_waits_total", "frame_bytes")
}

func TestClientsThatTakeNoAnswersMakeRoomForThoseOfOthers(t *testing.T) {
	h := serve(t, wire.Config{AnswerBytesMax: 20 << 20, StallTimeout: 50 * time.Millisecond}, &echo{})
	idle := h.dial()
	go func() { _, _ = idle.Write(frame(keyLarge, 1, make([]byte, 30<<20))) }()
	require.Eventually(t, func() bool { return h.metric("answer_bytes", "") > 20<<20 }, time.Minute, time.Millisecond)
	h.dial().answered() // small answers do not ask for room
	c := h.dial()
	c.send(frame(keyRoom, 1, nil))
	c.receive()
	h.counts(1, "limit_waits_total", "answer_bytes")
	h.counts(1, "connection_timeouts_total", "stall")
	h.counts(0, "answer_bytes", "")
}

func TestWhoWaitsForRoomMayLeave(t *testing.T) {
	h := serve(t, wire.Config{AnswerBytesMax: 20 << 20, StallTimeout: time.Hour}, &echo{})
	idle := h.dial()
	go func() { _, _ = idle.Write(frame(keyLarge, 1, make([]byte, 30<<20))) }()
	require.Eventually(t, func() bool { return h.metric("answer_bytes", "") > 20<<20 }, time.Minute, time.Millisecond)
	c := h.dial()
	c.send(frame(keyRoom, 1, nil))
	h.counts(1, "limit_waits_total", "answer_bytes")
	require.NoError(t, c.Close())
	h.counts(1, "connections", "")
	require.NoError(t, idle.Close())
	h.counts(0, "connections", "")
}

func TestRoomForAnAnswerIsSetAsideBeforeItIsMade(t *testing.T) { // many are made at once, and none of them taken yet
	e := &echo{gate: make(chan struct{}, 3)}
	h := serve(t, wire.Config{AnswerBytesMax: 20 << 20}, e)
	var clients []*client
	taken := func(c *client) int {
		_, body := c.receive()
		return int(binary.BigEndian.Uint32(body))
	}
	for i, shortened := range []float64{0, 1} {
		c := h.dial()
		c.send(frame(keyTake, int32(i), nil))
		clients = append(clients, c)
		if shortened > 0 {
			h.counts(shortened, "answers_shortened_total", "")
		} else {
			<-time.After(50 * time.Millisecond) // has taken its part
		}
	}
	e.gate <- struct{}{}
	e.gate <- struct{}{}
	sum := 0
	for _, c := range clients {
		sum += taken(c)
	}
	require.Equal(t, 20<<20, sum)
	c := h.dial()
	c.send(frame(keyTake, 3, nil))
	e.gate <- struct{}{}
	require.Equal(t, 15<<20, taken(c), "what was set aside is given back")
}
