package query

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"
)

// pipes is a listener without a network.
type pipes struct {
	net.Listener
	conns chan net.Conn
}

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }

// slowly serves a handler behind boundAnswer and boundBody, in virtual time, to a client's connection.
func slowly(t *testing.T, handle gin.HandlerFunc, client func(net.Conn, *bufio.Reader)) {
	gin.SetMode(gin.ReleaseMode)
	synctest.Test(t, func(t *testing.T) {
		r := gin.New()
		r.Use(boundAnswer, boundBody)
		r.POST("/", handle)
		l := pipes{conns: make(chan net.Conn, 1)}
		server := &http.Server{Handler: r}
		done := make(chan error)
		go func() { done <- server.Serve(l) }()
		ours, theirs := net.Pipe()
		l.conns <- theirs
		client(ours, bufio.NewReader(ours))
		require.NoError(t, ours.Close())
		close(l.conns)
		require.ErrorIs(t, <-done, net.ErrClosed)
		synctest.Wait()
	})
}

// whole answers with the length of the body, or with why there is none.
func whole(c *gin.Context) {
	body, err := io.ReadAll(c.Request.Body)
	if err != nil {
		c.String(http.StatusBadRequest, err.Error())
		return
	}
	c.String(http.StatusOK, "%d", len(body))
}

// answered reads an answer.
func answered(t *testing.T, from *bufio.Reader) (status int, text string, last bool) {
	t.Helper()
	response, err := http.ReadResponse(from, nil)
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return response.StatusCode, string(body), response.Close
}

func begin(t *testing.T, to net.Conn, bytes int) {
	t.Helper()
	_, err := fmt.Fprintf(to, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", bytes)
	require.NoError(t, err)
}

func TestABodyThatStopsComingEndsItsRequest(t *testing.T) {
	slowly(t, whole, func(to net.Conn, from *bufio.Reader) {
		began := time.Now()
		begin(t, to, 10)
		_, err := io.WriteString(to, "only")
		require.NoError(t, err)
		status, text, last := answered(t, from)
		require.Equal(t, http.StatusBadRequest, status)
		require.Contains(t, text, "too slowly")
		require.True(t, last, "what comes later is no request")
		require.Less(t, time.Since(began), bodyWithin+time.Second)
		_, err = from.ReadByte()
		require.ErrorIs(t, err, io.EOF)
	})
}

func TestABodyThatComesByDripsEndsItsRequest(t *testing.T) {
	slowly(t, whole, func(to net.Conn, from *bufio.Reader) {
		began := time.Now()
		begin(t, to, 1<<20)
		var drips sync.WaitGroup
		drips.Go(func() {
			for {
				if _, err := to.Write([]byte("x")); err != nil {
					return
				}
				<-time.After(time.Second)
			}
		})
		status, _, _ := answered(t, from)
		require.Equal(t, http.StatusBadRequest, status)
		require.Less(t, time.Since(began), bodyWithin+2*time.Second)
		require.NoError(t, to.Close())
		drips.Wait()
	})
}

func TestABodyThatIsLargeHasTheTimeThatItNeeds(t *testing.T) {
	const pieces = 150
	slowly(t, whole, func(to net.Conn, from *bufio.Reader) {
		began := time.Now()
		for range 2 { // of one connection
			begin(t, to, pieces*bodyRate)
			for range pieces {
				_, err := io.WriteString(to, strings.Repeat("x", bodyRate))
				require.NoError(t, err)
				<-time.After(time.Second)
			}
			status, text, last := answered(t, from)
			require.Equal(t, http.StatusOK, status)
			require.Equal(t, fmt.Sprint(pieces*bodyRate), text)
			require.False(t, last)
		}
		require.Greater(t, time.Since(began), 2*bodyWithin)
	})
}

func TestWhatABodyAsksForMayTakeLonger(t *testing.T) {
	slowly(t, func(c *gin.Context) {
		_, err := io.ReadAll(c.Request.Body)
		if err != nil {
			return
		}
		select {
		case <-c.Request.Context().Done():
			c.String(http.StatusServiceUnavailable, "ended")
		case <-time.After(10 * bodyWithin):
			c.String(http.StatusOK, "done")
		}
	}, func(to net.Conn, from *bufio.Reader) {
		begin(t, to, 2)
		_, err := io.WriteString(to, "{}")
		require.NoError(t, err)
		status, text, _ := answered(t, from)
		require.Equal(t, http.StatusOK, status, text)
	})
}

func TestABodyThatNobodyReadsHoldsNothing(t *testing.T) {
	slowly(t, func(c *gin.Context) { c.String(http.StatusOK, "unread") }, func(to net.Conn, from *bufio.Reader) {
		began := time.Now()
		begin(t, to, 10)
		status, _, last := answered(t, from)
		require.Equal(t, http.StatusOK, status)
		require.True(t, last)
		require.Less(t, time.Since(began), bodyWithin+time.Second)
	})
}
