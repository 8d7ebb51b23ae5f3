package wire_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/broker/wire"
	"github.com/chronik-stream/chronik/internal/proxyprotocol"
)

// whose answers with the address of the client.
type whose struct{}

func (whose) FrameBytesMax(int16) int { return 1 << 20 }

func (whose) Start(_ context.Context, r *wire.Request) (wire.Work, error) { return whoseWork{r}, nil }

type whoseWork struct{ r *wire.Request }

func (w whoseWork) Finish(_ context.Context, out *wire.Response) error {
	out.Begin(false)
	out.Buf = append(out.Buf, w.r.Conn.RemoteAddr().String()...)
	return nil
}

func (c *client) asks() string {
	c.t.Helper()
	c.send(frame(keyEcho, 1, nil))
	_, body := c.receive()
	return string(body)
}

func header(source string) []byte {
	return proxyprotocol.Append(nil, proxyprotocol.Header{Source: netip.MustParseAddrPort(source), Destination: netip.MustParseAddrPort("192.0.2.1:9092")})
}

func everybody(netip.Addr) bool { return true }

func TestAProxySaysWhoseConnectionItIs(t *testing.T) {
	h := serve(t, wire.Config{ProxyTrusted: everybody}, whose{})
	for name, c := range map[string]struct {
		begins string
		want   string // "": the proxy's own
	}{
		"version 2":           {string(header("198.51.100.7:1234")), "198.51.100.7:1234"},
		"version 1":           {"PROXY TCP6 2001:db8::9 2001:db8::1 77 9092\r\n", "[2001:db8::9]:77"},
		"for itself":          {string(proxyprotocol.Append(nil, proxyprotocol.Header{})), ""},
		"no header, a client": {"", ""},
	} {
		conn := h.dial()
		want := c.want
		if want == "" {
			want = conn.LocalAddr().String()
		}
		for i := range len(c.begins) { // however slowly it comes
			conn.send([]byte{c.begins[i]})
		}
		require.Equal(t, want, conn.asks(), name)
		require.Equal(t, want, conn.asks(), name)
	}
}

func TestAHeaderIsReadTogetherWithTheRequestBehindIt(t *testing.T) {
	c := serve(t, wire.Config{ProxyTrusted: everybody}, whose{}).dial()
	c.send(append(header("198.51.100.7:1234"), frame(keyEcho, 9, nil)...))
	correlation, body := c.receive()
	require.Equal(t, int32(9), correlation)
	require.Equal(t, "198.51.100.7:1234", string(body))
}

func TestAHeaderFromSomebodyElseEndsTheConnection(t *testing.T) {
	for name, cfg := range map[string]wire.Config{
		"off": {}, "not trusted": {ProxyTrusted: func(a netip.Addr) bool { return !a.IsLoopback() }},
	} {
		h := serve(t, cfg, whose{})
		c := h.dial()
		c.send(header("198.51.100.7:1234"))
		c.closed()
		direct := h.dial()
		require.Equal(t, direct.LocalAddr().String(), direct.asks(), name)
	}
}

func TestABrokenHeaderEndsTheConnection(t *testing.T) {
	c := serve(t, wire.Config{ProxyTrusted: everybody}, whose{}).dial()
	c.send([]byte("PROXY TCP4 nobody nowhere 1 2\r\n"))
	c.closed()
}

func TestTheLimitOfAnAddressIsTheClientsAndNotTheProxys(t *testing.T) {
	h := serve(t, wire.Config{ProxyTrusted: everybody, ConnectionsPerIPMax: 1}, whose{})
	first, other := h.dial(), h.dial()
	first.send(header("198.51.100.7:1"))
	require.Equal(t, "198.51.100.7:1", first.asks())
	other.send(header("198.51.100.8:1"))
	require.Equal(t, "198.51.100.8:1", other.asks())
	second := h.dial()
	second.send(header("198.51.100.7:2"))
	second.closed()
	require.NoError(t, first.Close())
	require.Eventually(t, func() bool {
		again := h.dial()
		again.send(append(header("198.51.100.7:3"), frame(keyEcho, 1, nil)...))
		_, err := again.r.Peek(1)
		return err == nil
	}, 10*time.Second, 10*time.Millisecond, "who leaves makes room")
}

func TestTheQuotaOfNewConnectionsIsTheClientsAndNotTheProxys(t *testing.T) {
	h := serve(t, wire.Config{ProxyTrusted: everybody, Quota: func(a netip.Addr) time.Duration {
		if a == netip.MustParseAddr("198.51.100.7") {
			return time.Millisecond
		}
		return 0
	}}, whose{})
	over, within := h.dial(), h.dial()
	over.send(header("198.51.100.7:1"))
	over.closed()
	within.send(header("198.51.100.8:1"))
	require.Equal(t, "198.51.100.8:1", within.asks())
}

func TestInternalConnectionsHaveALimitOfTheirOwn(t *testing.T) {
	cfg := wire.Config{ConnectionsMax: 1, ConnectionsPerIPMax: 1, ConnectionRateMax: 1, InternalConnectionsMax: 3,
		Quota: func(netip.Addr) time.Duration { return time.Hour }}
	h := serveAs(t, cfg, whose{}, wire.Listener{Name: "INTERNAL", Internal: true})
	for i := range 3 {
		c := h.dial()
		if i > 0 {
			c.send(header("198.51.100.7:1234"))
			require.Equal(t, "198.51.100.7:1234", c.asks())
		} else {
			require.Equal(t, c.LocalAddr().String(), c.asks())
		}
	}
	h.dial().closed()
	require.Equal(t, 3.0, h.metric("internal_connections", ""))
}
