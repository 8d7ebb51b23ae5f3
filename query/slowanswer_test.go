package query

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"
)

// sending answers with pieces after before was called.
func sending(pieces int, before func(*gin.Context)) gin.HandlerFunc {
	return func(c *gin.Context) {
		before(c)
		c.String(http.StatusOK, "%s", strings.Repeat("x", pieces*answerPiece))
	}
}

func TestAnAnswerThatNobodyTakesEndsItsConnection(t *testing.T) {
	for name, test := range map[string]struct {
		before func(*gin.Context)
		within time.Duration
	}{
		"of its own":                       {func(*gin.Context) {}, answerWithin},
		"bounded by its handler":           {func(c *gin.Context) { boundSending(c, time.Second) }, time.Second + sendGrace},
		"no longer bounded by its handler": {func(c *gin.Context) { boundSending(c, time.Second)() }, answerWithin},
	} {
		t.Run(name, func(t *testing.T) {
			var began, ended time.Time
			handle := func(c *gin.Context) {
				began = time.Now()
				sending(3, test.before)(c)
				ended = time.Now()
			}
			slowly(t, handle, func(to net.Conn, from *bufio.Reader) {
				begin(t, to, 0)
				_, err := io.CopyN(io.Discard, from, answerPiece/2)
				require.NoError(t, err)
				<-time.After(2 * answerWithin)
				rest, err := io.Copy(io.Discard, from)
				require.NoError(t, err, "the connection is closed")
				require.Less(t, rest, int64(answerPiece))
				require.Equal(t, test.within, ended.Sub(began))
			})
		})
	}
}

func TestAnAnswerThatIsLargeHasTheTimeThatItNeeds(t *testing.T) {
	const pieces = 4
	slowly(t, sending(pieces, func(*gin.Context) {}), func(to net.Conn, from *bufio.Reader) {
		for range 2 { // of one connection
			begin(t, to, 0)
			response, err := http.ReadResponse(from, nil)
			require.NoError(t, err)
			for range pieces {
				<-time.After(answerWithin - 5*time.Second)
				_, err := io.CopyN(io.Discard, response.Body, answerPiece)
				require.NoError(t, err)
			}
			rest, err := io.Copy(io.Discard, response.Body)
			require.NoError(t, err)
			require.Zero(t, rest)
		}
	})
}

func TestAnAnswerLeavesItsConnectionWithoutADeadline(t *testing.T) {
	empty := func(c *gin.Context) {
		if c.Request.ContentLength > 0 {
			c.String(http.StatusOK, "x")
		}
	}
	slowly(t, empty, func(to net.Conn, from *bufio.Reader) {
		begin(t, to, 1)
		_, err := io.WriteString(to, "x")
		require.NoError(t, err)
		_, text, _ := answered(t, from)
		require.Equal(t, "x", text)
		<-time.After(2 * answerWithin)
		begin(t, to, 0) // is answered by the server, which sets none
		status, _, _ := answered(t, from)
		require.Equal(t, http.StatusOK, status)
	})
}
