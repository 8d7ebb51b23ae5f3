package sniff_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/cmd/chronik/sniff"
)

// split listens, and returns the address and what each side accepts.
func split(t *testing.T, within time.Duration) (address string, grpc, other net.Listener) {
	t.Helper()
	// First, so that it runs last: what is started below ends before.
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	grpc, other = sniff.Split(l, within)
	t.Cleanup(func() {
		require.NoError(t, grpc.Close())
		require.NoError(t, other.Close())
		require.NoError(t, other.Close(), "closing twice")
	})
	return l.Addr().String(), grpc, other
}

func dial(t *testing.T, address string, first string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(conn, first)
	require.NoError(t, err)
	return conn
}

func TestAConnectionGoesWhereItsFirstBytesSayWithAllOfThem(t *testing.T) {
	address, grpc, other := split(t, time.Minute)
	for _, c := range []struct {
		first string
		to    net.Listener
	}{
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", grpc},
		{"PRI ", grpc},
		{"GET /health HTTP/1.1\r\n\r\n", other},
		{"POST /_sql HTTP/1.1\r\n\r\n", other},
		{"PRINT / HTTP/1.1\r\n\r\n", other},
		{"PR!", other},
		{"\x16\x03\x01", other},
		{"G", other}, // clear from the first byte
	} {
		client := dial(t, address, c.first)
		server, err := c.to.Accept()
		require.NoError(t, err, "%q", c.first)
		got := make([]byte, len(c.first)+1)
		_, err = io.WriteString(client, "+")
		require.NoError(t, err)
		_, err = io.ReadFull(server, got)
		require.NoError(t, err)
		require.Equal(t, c.first+"+", string(got))
		require.NoError(t, server.Close())
	}
}

func TestAPrefaceMayComeByteByByte(t *testing.T) {
	address, grpc, _ := split(t, time.Minute)
	client := dial(t, address, "P")
	for _, b := range []string{"R", "I", " "} {
		_, err := io.WriteString(client, b)
		require.NoError(t, err)
	}
	server, err := grpc.Accept()
	require.NoError(t, err)
	require.NoError(t, server.Close())
}

func TestASilentConnectionIsClosedAndHoldsUpNoOther(t *testing.T) {
	address, _, other := split(t, 300*time.Millisecond)
	silent, half := dial(t, address, ""), dial(t, address, "PR")
	dial(t, address, "GET ")
	server, err := other.Accept()
	require.NoError(t, err, "while two others say nothing")
	require.NoError(t, server.Close())
	for _, conn := range []net.Conn{silent, half} {
		_, err := conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	}
}

func TestAClosedSideTakesOnlyItsOwnConnectionsAway(t *testing.T) {
	address, grpc, other := split(t, time.Minute)
	require.NoError(t, grpc.Close())
	_, err := grpc.Accept()
	require.ErrorIs(t, err, net.ErrClosed)

	client := dial(t, address, "PRI * HTTP/2.0\r\n")
	_, err = client.Read(make([]byte, 1))
	require.Error(t, err, "nobody serves gRPC any more")

	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(other) }()
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + address + "/")
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.NoError(t, server.Close())
	require.ErrorIs(t, <-ended, http.ErrServerClosed)
}

func TestClosingEndsConnectionsThatSaidNothingYet(t *testing.T) {
	address, grpc, other := split(t, time.Minute)
	silent := dial(t, address, "")
	// One that came later is decided: so the silent one is known.
	dial(t, address, "GET ")
	server, err := other.Accept()
	require.NoError(t, err)
	require.NoError(t, server.Close())
	require.NoError(t, grpc.Close())
	require.NoError(t, other.Close())
	_, err = silent.Read(make([]byte, 1))
	require.Error(t, err)
	var timeout net.Error
	require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "closed, not waited for")
}
