package query

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/gin-gonic/gin"
)

// A body has to be there within bodyWithin and a second for each bodyRate bytes of
// it that have come: what waits for it holds memory, of writes a share of a budget
// that others need.
const (
	bodyWithin = time.Minute
	bodyRate   = 64 << 10
)

// boundBody ends a request whose body comes too slowly: it cannot be read to its end.
func boundBody(c *gin.Context) {
	if c.Request.Body == nil || c.Request.Body == http.NoBody {
		return
	}
	b := &boundedBody{ReadCloser: c.Request.Body, connection: http.NewResponseController(c.Writer), until: time.Now().Add(bodyWithin)}
	// Also what no handler reads is read, by the server, before the next request.
	if b.connection.SetReadDeadline(b.until) == nil { // else it is no connection of the network
		c.Request.Body = b
	}
}

// boundedBody is a body with a deadline.
type boundedBody struct {
	io.ReadCloser
	connection *http.ResponseController
	until      time.Time
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		// The connection is read on, to see whether the client hangs up.
		_ = b.connection.SetReadDeadline(time.Time{}) // one that is gone has no deadline
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, fmt.Errorf("it came too slowly: a body has %s, and a second for each %d KiB", bodyWithin, bodyRate>>10)
	case err == nil:
		b.until = b.until.Add(time.Duration(n) * time.Second / bodyRate)
		err = b.connection.SetReadDeadline(b.until)
	}
	return n, err
}
