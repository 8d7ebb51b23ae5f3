package elastic

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/chronik-stream/chronik/query/search"
)

// productHeader tells the official clients whom they talk to: without it they
// refuse to go on.
const productHeader = "X-Elastic-Product"

// call is one request.
type call struct {
	*gin.Context
	surface *Surface
	params
	sent   []byte // the body, once it was read
	media  media
	filter *pathFilter // nil: the answer is wanted whole
	pretty bool
}

// handler answers a call, or returns why it cannot.
type handler func(*call) error

// handle makes a gin handler. Parameters that all requests have are taken here.
func (s *Surface) handle(h handler) gin.HandlerFunc {
	return func(g *gin.Context) {
		c := &call{Context: g, surface: s, params: params{values: g.Request.URL.Query()}}
		g.Header(productHeader, "Elasticsearch")
		err := c.begin()
		if err == nil {
			err = h(c)
		}
		if err != nil && !errors.Is(err, errAnswered) {
			c.fail(s.errorOf(g.Request.Context(), err))
		}
	}
}

// errAnswered: another node has answered.
var errAnswered = errors.New("another node has answered")

// near returns errAnswered when another node has the first of the topics at hand,
// and has answered. What is about no topic is answered here.
func (c *call) near(topics []Topic) error {
	near := c.surface.o.Near
	if near != nil && len(topics) > 0 && near(c.Context, topics[0].Name, c.sent) {
		return errAnswered
	}
	return nil
}

// nearOnly is near of what describes one topic. Lists are answered here: no one node
// has all topics at hand.
func (c *call) nearOnly(topics []Topic) error {
	if len(topics) != 1 {
		return nil
	}
	return c.near(topics)
}

func (c *call) begin() (err error) {
	if c.media, err = negotiate(c.Request.Header.Values("Accept"), c.Request.Header.Get("Content-Type")); err != nil {
		return err
	}
	c.harmless("human", "error_trace")
	if c.pretty, err = c.flag("pretty", false); err != nil {
		return err
	}
	if text, given := c.take("filter_path"); given && text != "" {
		if steps := strings.Count(text, ".") + strings.Count(text, ","); steps > filterStepsMax {
			return badRequest("[filter_path] has %d steps, at most %d", steps, filterStepsMax)
		}
		c.filter = newPathFilter(text)
	}
	return nil
}

// Fail answers an error of whoever serves the surface, in its form.
func (s *Surface) Fail(g *gin.Context, err error) {
	c := &call{Context: g, surface: s}
	g.Header(productHeader, "Elasticsearch")
	c.media, _ = negotiate(g.Request.Header.Values("Accept"), "") // what it cannot read, gets JSON
	c.fail(s.errorOf(g.Request.Context(), err))
}

// fail answers an error, unless an answer is on its way.
func (c *call) fail(e *Error) {
	log := c.surface.o.Log.Debug
	if e.Status == http.StatusInternalServerError {
		log = c.surface.o.Log.Error
	}
	log("search request failed", "path", c.Request.URL.Path, "status", e.Status, "type", e.Type, "err", e.Reason)
	if c.Writer.Written() {
		c.Abort()
		return
	}
	switch e.Status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		c.Header("Retry-After", "1")
	case http.StatusUnauthorized:
		c.Header("WWW-Authenticate", `Basic realm="chronik"`)
	}
	w := &writer{}
	e.write(w)
	c.filter = nil // errors are shown whole
	c.send(e.Status, w)
	c.Abort()
}

// answer checks that every parameter was taken, and sends what body writes.
func (c *call) answer(status int, body func(*writer)) error {
	if err := c.rest(c.Request.URL.Path); err != nil {
		return err
	}
	w := &writer{}
	body(w)
	if len(w.out) > answerBytesMax {
		return answerTooLarge(len(w.out))
	}
	c.send(status, w)
	return nil
}

func answerTooLarge(bytes int) *Error {
	return &Error{Status: http.StatusRequestEntityTooLarge, Type: "illegal_argument_exception",
		Reason: fmt.Sprintf("the answer has %d bytes, and at most %d can be sent: ask for fewer documents, or less of each", bytes, answerBytesMax)}
}

func (c *call) send(status int, w *writer) {
	text := w.out
	if c.filter != nil {
		text = c.filter.apply(text)
	}
	if c.pretty {
		text = indent(text)
	}
	c.Header("Content-Type", c.media.contentType())
	c.Header("Content-Length", strconv.Itoa(len(text)))
	c.Status(status)
	if c.Request.Method != http.MethodHead {
		_, _ = c.Writer.Write(text) // who does not take it has hung up
	}
}

// options are those of a search.
func (c *call) options() search.Options {
	return search.Options{Freshness: "latest", Timeout: c.surface.o.Timeout, Principal: c.surface.o.Principal(c.Context)}
}

// body reads the request's body, which may be compressed. A body may also be in
// the parameter source, for clients that send none with GET.
func (c *call) body() ([]byte, error) {
	if text, given := c.take("source"); given {
		c.harmless("source_content_type")
		return []byte(text), nil
	}
	reader := io.Reader(http.MaxBytesReader(c.Writer, c.Request.Body, bodyBytesMax))
	switch encoding := strings.ToLower(c.GetHeader("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip":
		unzipped, err := gzip.NewReader(reader)
		if err != nil {
			return nil, badRequest("the body is not gzip, which its Content-Encoding says: %v", err)
		}
		reader = unzipped
		c.Request.Header.Del("Content-Encoding") // whoever it is handed on to gets it unpacked
	default:
		return nil, &Error{Status: http.StatusUnsupportedMediaType, Type: "illegal_argument_exception",
			Reason: fmt.Sprintf("Content-Encoding [%s] is not supported, only gzip is", encoding)}
	}
	text, err := io.ReadAll(io.LimitReader(reader, bodyBytesMax+1))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large), len(text) > bodyBytesMax:
		return nil, &Error{Status: http.StatusRequestEntityTooLarge, Type: "illegal_argument_exception",
			Reason: fmt.Sprintf("the body is larger than %d bytes", bodyBytesMax)}
	case err != nil:
		return nil, badRequest("the body could not be read: %v", err)
	}
	c.sent = text
	return text, nil
}
