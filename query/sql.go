package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/query/answer"
	"github.com/chronik-stream/chronik/query/engine"
	"github.com/chronik-stream/chronik/query/peers"
)

// sqlRequest is the body of POST /_sql.
type sqlRequest struct {
	Query        string            `json:"query"`
	Parameters   []json.RawMessage `json:"parameters"`
	Limit        *int64            `json:"limit"`
	Timeout      *float64          `json:"timeout_secs"`
	Freshness    freshness         `json:"freshness"`
	RowFormat    *string           `json:"row_format"`
	BinaryFormat *string           `json:"binary_format"`
}

// check fills in defaults.
func (r *sqlRequest) check(timeout time.Duration) (limit int64, within time.Duration, err error) {
	limit, within = limitDefault, timeout
	if strings.TrimSpace(r.Query) == "" {
		return 0, 0, badRequest("query is required")
	}
	if r.Limit != nil {
		limit = *r.Limit
	}
	if limit < 0 || limit > limitMax {
		return 0, 0, badRequest(fmt.Sprintf("limit is %d, it must lie in 0..%d", limit, limitMax))
	}
	if r.Timeout != nil {
		if !(*r.Timeout > 0 && *r.Timeout <= timeoutMax.Seconds()) {
			return 0, 0, badRequest(fmt.Sprintf("timeout_secs is %g, it must be above 0 and at most %g", *r.Timeout, timeoutMax.Seconds()))
		}
		within = time.Duration(math.Ceil(*r.Timeout * float64(time.Second)))
	}
	switch r.Freshness {
	case "":
		r.Freshness = latest
	case latest, available, cold:
	default:
		return 0, 0, badRequest(fmt.Sprintf("freshness is %q, it must be latest, available or cold", r.Freshness))
	}
	return limit, within, nil
}

// asked is a request that was checked.
type asked struct {
	statement statement
	options   answer.Options
	within    time.Duration
}

// asked checks the request for an answer in a format. A stream has no limit but
// the one that is asked for, of any size.
func (r *sqlRequest) asked(format answer.Format, timeout time.Duration) (a asked, err error) {
	limit := r.Limit
	streams := format != answer.FormatJSON
	if streams && limit != nil && *limit > limitMax {
		r.Limit = nil
	}
	if a.statement.Limit, a.within, err = r.check(timeout); err != nil {
		return a, err
	}
	switch {
	case streams && limit == nil:
		a.statement.Limit = unlimited
	case streams:
		a.statement.Limit = *limit
	}
	a.statement.SQL, a.statement.Freshness = r.Query, r.Freshness
	if a.statement.Parameters, err = parametersOf(r.Parameters); err != nil {
		return a, err
	}
	a.options, err = r.options(format)
	return a, err
}

func (n *Node) postSQL(c *gin.Context) {
	format, err := formatOf(c)
	if err != nil {
		n.fail(c, err)
		return
	}
	n.answer(c, format)
}

// answer reads a sqlRequest and answers it in the format.
func (n *Node) answer(c *gin.Context, format answer.Format) {
	began := time.Now()
	body, err := readBody(c)
	var request sqlRequest
	if err == nil {
		err = envelope.Decode(body, &request)
	}
	var a asked
	if err == nil {
		a, err = request.asked(format, n.config.Timeout)
	}
	if err != nil {
		n.fail(c, err)
		return
	}
	if format != answer.FormatJSON {
		defer boundSending(c, a.within)()
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), a.within)
	defer cancel()
	cursor, answered, err := handOn(n, c, body, func(at peers.Place) (*cursor, error) {
		s := a.statement
		s.Place, s.Principal = at, principalOf(c)
		return n.open(ctx, s)
	})
	if err != nil {
		n.fail(c, timeoutNamed(err, a.within))
		return
	}
	if answered {
		return
	}
	defer cursor.Close()
	if format != answer.FormatJSON {
		if err := n.stream(c, cursor, format, a.options); err != nil {
			n.breakOff(c, format, timeoutNamed(err, a.within))
		}
		return
	}
	text, rows, err := collect(cursor, a.options, began)
	if err != nil {
		n.fail(c, timeoutNamed(err, a.within))
		return
	}
	n.metrics.addRows(int(rows))
	// What is sent is at hand: who reads it slowly holds up nobody.
	if err := cursor.Close(); err != nil {
		n.fail(c, err)
		return
	}
	c.Header("Content-Type", "application/json; charset=utf-8")
	c.Header("Content-Length", strconv.Itoa(length(text)))
	c.Status(http.StatusOK)
	for _, piece := range text {
		// It may go out slowly, but not be held for a client that takes none of it.
		done := boundSending(c, a.within)
		_, err := c.Writer.Write(piece)
		done()
		if err != nil {
			return // the client is gone
		}
	}
}

func length(pieces [][]byte) (n int) {
	for _, piece := range pieces {
		n += len(piece)
	}
	return n
}

// timeoutNamed says how long the request had.
func timeoutNamed(err error, within time.Duration) error {
	f := failureOf(err)
	if f.Code == "TIMEOUT" && len(f.Details) == 0 {
		f.Message = fmt.Sprintf("not done within %s", within)
	}
	return f
}

// answerBytesMax bounds the JSON of an answer, which is put together before the
// first byte goes out. The streamed forms have no bound.
const answerBytesMax = 256 << 20

// collect reads a cursor to its end and writes the body of a 200, in pieces: one
// that grew would be copied again and again.
func collect(c *cursor, o answer.Options, began time.Time) (body [][]byte, rows int64, err error) {
	schema := c.Schema()
	names := answer.Names(schema)
	e := &encoder{}
	e.field(`{"columns":`, names)
	e.field(`,"column_types":`, answer.Types(schema))
	e.buffer = append(e.buffer, `,"rows":[`...)
	writer := answer.NewJSON(schema, o)
	for {
		batch, err := c.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		if rows > 0 {
			e.buffer = append(e.buffer, ',')
		}
		e.buffer = writer.Append(e.buffer, batch, ',')
		rows += batch.NumRows()
		batch.Release()
		e.cut()
		if e.bytes > answerBytesMax {
			return nil, 0, fmt.Errorf("%w: the answer is larger than %d bytes of JSON; ask for it as %s, which have no bound",
				engine.ErrTooLarge, answerBytesMax, strings.Join(answer.Streamed, ", "))
		}
	}
	e.field(`],"row_count":`, rows)
	e.field(`,"execution_time_ms":`, float64(time.Since(began).Microseconds())/1000)
	e.field(`,"truncated":`, c.Truncated())
	e.field(`,"coverage":`, c.Coverage())
	e.field(`,"stats":`, c.Stats())
	e.buffer = append(e.buffer, '}')
	e.cut()
	return e.pieces, rows, e.err
}

// encoder writes JSON and keeps the first error.
type encoder struct {
	pieces [][]byte
	bytes  int
	buffer []byte // of the next piece
	err    error
}

// cut makes a piece of what was written.
func (e *encoder) cut() {
	e.pieces = append(e.pieces, bytes.Clone(e.buffer))
	e.bytes += len(e.buffer)
	e.buffer = e.buffer[:0]
}

func (e *encoder) field(name string, value any) {
	text, err := json.Marshal(value)
	if err != nil && e.err == nil {
		e.err = fmt.Errorf("write the answer: %w", err)
	}
	e.buffer = append(append(e.buffer, name...), text...)
}
