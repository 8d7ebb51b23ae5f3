package query

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/chronik-stream/chronik/query/answer"
)

// Headers of streamed answers. What an answer covers is known before its first
// row; whether the limit cut rows off is known behind the last, in a trailer.
const (
	coverageHeader  = "X-Chronik-Coverage"
	statsHeader     = "X-Chronik-Stats"
	truncatedHeader = "X-Chronik-Truncated"
)

// coverageBytesMax bounds the coverage in a header, since clients and proxies
// bound what they take. Beyond, it is without the partitions.
const coverageBytesMax = 4 << 10

// sendGrace is how much longer than its query an answer may take to be sent: an
// error that ends it has to go out as well.
const sendGrace = 2 * time.Second

// formatOf reads the format that a request asks for.
func formatOf(c *gin.Context) (answer.Format, error) {
	format, ok := answer.Negotiate(c.Request.Header.Values("Accept"))
	if !ok {
		return 0, newFailure(http.StatusNotAcceptable, "INVALID_REQUEST", "InvalidRequest",
			fmt.Sprintf("Accept is %q; answers are %s, %s", c.GetHeader("Accept"), answer.FormatJSON.MediaType(), strings.Join(answer.Streamed, ", ")))
	}
	if format != answer.FormatJSON && !c.Request.ProtoAtLeast(1, 1) {
		// Its answers end with the connection: a broken one would look whole.
		return 0, badRequest("answers as " + format.MediaType() + " need HTTP/1.1 (behind nginx: proxy_http_version 1.1)")
	}
	return format, nil
}

// options checks the forms of values, which not every format has.
func (r *sqlRequest) options(format answer.Format) (o answer.Options, err error) {
	if r.RowFormat != nil {
		switch {
		case format == answer.FormatCSV || format == answer.FormatArrow:
			return o, badRequest("row_format is of JSON, " + format.MediaType() + " has none")
		case *r.RowFormat == "array":
			o.Arrays = true
		case *r.RowFormat != "object":
			return o, badRequest(fmt.Sprintf("row_format is %q, it must be object or array", *r.RowFormat))
		}
	}
	if r.BinaryFormat != nil {
		switch {
		case format == answer.FormatArrow:
			return o, badRequest("binary_format is of text, Arrow has binary values")
		case *r.BinaryFormat == "base64":
			o.Binary = answer.Base64
		case *r.BinaryFormat != "text":
			return o, badRequest(fmt.Sprintf("binary_format is %q, it must be text or base64", *r.BinaryFormat))
		}
	}
	return o, nil
}

// boundSending ends an answer that the client does not read: what another node
// answers, too. The function that it returns makes the connection good for the
// next request.
func boundSending(c *gin.Context, within time.Duration) (done func()) {
	connection := http.NewResponseController(c.Writer)
	if connection.SetWriteDeadline(time.Now().Add(within+sendGrace)) != nil {
		return func() {} // no connection of the network
	}
	return func() {
		_ = connection.SetWriteDeadline(time.Time{}) // one that is gone has no next request
	}
}

// stream sends a cursor's rows as they come, and takes as little memory however
// many there are.
func (n *Node) stream(c *gin.Context, cursor *cursor, format answer.Format, o answer.Options) error {
	schema, err := withCoverage(cursor.Schema(), cursor.Coverage())
	if err != nil {
		return err
	}
	if err := describeStream(c.Writer.Header(), cursor); err != nil {
		return err
	}
	contentType := format.MediaType()
	if format != answer.FormatArrow {
		contentType += "; charset=utf-8"
	}
	c.Header("Content-Type", contentType)
	c.Header("Trailer", truncatedHeader)
	c.Status(http.StatusOK)
	out := answer.NewStream(format, c.Writer, schema, o)
	for {
		batch, err := cursor.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		n.metrics.addRows(int(batch.NumRows()))
		err = out.Write(batch)
		batch.Release()
		if err != nil {
			return fmt.Errorf("send a batch: %w", err)
		}
		c.Writer.Flush()
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("send the end: %w", err)
	}
	c.Header(truncatedHeader, fmt.Sprint(cursor.Truncated()))
	return nil
}

// breakOff ends an answer that has begun, so that nobody takes it for whole: the
// connection is cut. NDJSON says why in its last line.
func (n *Node) breakOff(c *gin.Context, format answer.Format, err error) {
	if !c.Writer.Written() {
		n.fail(c, err)
		return
	}
	f := failureOf(endedBy(c.Request.Context(), err))
	n.config.Log.Info("an answer broke off", "id", c.GetString(requestIDHeader), "code", f.Code, "err", err)
	if line, err := json.Marshal(f); err == nil && format == answer.FormatNDJSON {
		// A client that is gone does not get it.
		if _, err := c.Writer.Write(append(line, '\n')); err == nil {
			c.Writer.Flush()
		}
	}
	panic(http.ErrAbortHandler) // no mistake: it is how a handler cuts the connection
}

// describeStream writes headers of what the answer is computed from.
func describeStream(h http.Header, cursor *cursor) error {
	stats, err := json.Marshal(cursor.Stats())
	if err != nil {
		return fmt.Errorf("write the stats: %w", err)
	}
	coverage := cursor.Coverage()
	text, err := json.Marshal(coverage)
	if err == nil && len(text) > coverageBytesMax {
		for topic, c := range coverage {
			c.Partitions = nil
			coverage[topic] = c
		}
		text, err = json.Marshal(coverage)
	}
	if err != nil {
		return fmt.Errorf("write the coverage: %w", err)
	}
	h.Set(statsHeader, string(stats))
	h.Set(coverageHeader, string(text))
	return nil
}
