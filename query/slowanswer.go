package query

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// Each answerPiece of an answer has to be taken within answerWithin: what is sent
// is held in memory until then, and answers may be large.
const (
	answerWithin = time.Minute
	answerPiece  = 1 << 20
)

// boundAnswer ends the connection of a client that does not take its answer.
func boundAnswer(c *gin.Context) {
	b := &boundedAnswer{ResponseWriter: c.Writer, connection: http.NewResponseController(c.Writer)}
	c.Writer = b
	defer b.end()
	c.Next()
}

// boundedAnswer gives each piece of an answer a deadline, unless a handler has set
// one of its own.
type boundedAnswer struct {
	gin.ResponseWriter
	connection *http.ResponseController
	set, own   bool // a deadline, the handler's
}

// Write implements io.Writer.
func (b *boundedAnswer) Write(p []byte) (written int, err error) {
	for {
		piece := p[written:min(len(p), written+answerPiece)]
		b.begin()
		n, err := b.ResponseWriter.Write(piece)
		if written += n; err != nil || written == len(p) {
			return written, err
		}
	}
}

// WriteString implements io.StringWriter.
func (b *boundedAnswer) WriteString(s string) (int, error) { return b.Write([]byte(s)) }

// Flush implements http.Flusher.
func (b *boundedAnswer) Flush() {
	b.begin()
	b.ResponseWriter.Flush()
}

func (b *boundedAnswer) begin() {
	if !b.own {
		b.set = b.connection.SetWriteDeadline(time.Now().Add(answerWithin)) == nil // else it is no connection of the network
	}
}

// SetWriteDeadline is what http.ResponseController looks for.
func (b *boundedAnswer) SetWriteDeadline(t time.Time) error {
	b.own = !t.IsZero()
	return b.connection.SetWriteDeadline(t)
}

// Unwrap is what http.ResponseController looks for.
func (b *boundedAnswer) Unwrap() http.ResponseWriter { return b.ResponseWriter }

// end makes the connection good for the next request.
func (b *boundedAnswer) end() {
	if b.set {
		_ = b.connection.SetWriteDeadline(time.Time{}) // one that is gone has no next request
	}
}
