package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/chronik-stream/chronik/query/answer"
	"github.com/chronik-stream/chronik/query/engine"
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

func (n *Node) postSQL(c *gin.Context) {
	began := time.Now()
	var request sqlRequest
	text, err := readBody(c)
	if err == nil {
		err = decodeJSON(text, &request)
	}
	var format answer.Format
	if err == nil {
		format, err = formatOf(c)
	}
	if err != nil {
		n.fail(c, err)
		return
	}
	if format != answer.FormatJSON {
		n.postStream(c, format, &request, text)
		return
	}
	limit, within, err := request.check(n.config.Timeout)
	if err != nil {
		n.fail(c, err)
		return
	}
	options, err := request.options(format)
	if err != nil {
		n.fail(c, err)
		return
	}
	parameters, err := parametersOf(request.Parameters)
	if err != nil {
		n.fail(c, err)
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), within)
	defer cancel()
	cursor, err := n.openFor(c, func(at place) (*cursor, error) {
		return n.open(ctx, statement{SQL: request.Query, Parameters: parameters, Limit: limit, Freshness: request.Freshness, Place: at})
	}, text)
	if err != nil {
		n.fail(c, timeoutNamed(err, within))
		return
	}
	if cursor == nil {
		return
	}
	defer cursor.Close()
	body, rows, err := collect(cursor, options, began)
	if err != nil {
		n.fail(c, timeoutNamed(err, within))
		return
	}
	n.metrics.addRows(int(rows))
	c.Data(http.StatusOK, "application/json; charset=utf-8", body)
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

// collect reads a cursor to its end and writes the body of a 200.
func collect(c *cursor, o answer.Options, began time.Time) (body []byte, rows int64, err error) {
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
		if len(e.buffer) > answerBytesMax {
			return nil, 0, fmt.Errorf("%w: the answer is larger than %d bytes of JSON; ask for it as %s, which have no bound",
				engine.ErrTooLarge, answerBytesMax, strings.Join(answer.Streamed, ", "))
		}
	}
	e.field(`],"row_count":`, rows)
	e.field(`,"execution_time_ms":`, float64(time.Since(began).Microseconds())/1000)
	e.field(`,"truncated":`, c.Truncated())
	e.field(`,"coverage":`, c.Coverage())
	e.field(`,"stats":`, c.Stats())
	return append(e.buffer, '}'), rows, e.err
}

// encoder writes JSON and keeps the first error.
type encoder struct {
	buffer []byte
	err    error
}

func (e *encoder) field(name string, value any) {
	text, err := json.Marshal(value)
	if err != nil && e.err == nil {
		e.err = fmt.Errorf("write the answer: %w", err)
	}
	e.buffer = append(append(e.buffer, name...), text...)
}
