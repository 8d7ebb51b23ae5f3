package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/oklog/ulid/v2"
)

// later are the first path segments of surfaces that are not built yet.
var later = map[string]string{
	"_vector": "vector search", "_query": "the orchestrated query",
	"_search": "text search", "_msearch": "text search", "_count": "text search", "_bulk": "writing by HTTP", "_cat": "text search",
	"_cluster": "text search", "_mapping": "text search", "_doc": "text search",
	"admin": "the admin API", "topics": "the admin API", "subjects": "the schema registry", "schemas": "the schema registry",
	"compatibility": "the schema registry", "config": "the schema registry", "mode": "the schema registry",
}

// laterSurface names the surface that a path belongs to when that is not built
// yet, "" otherwise. A search names its index before or after.
func laterSurface(path string) string {
	first, rest, _ := strings.Cut(strings.Trim(path, "/"), "/")
	if what := later[first]; what != "" {
		return what
	}
	second, _, _ := strings.Cut(rest, "/")
	if strings.HasPrefix(second, "_") {
		return later[second]
	}
	return ""
}

// routes are the whole surface.
func (n *Node) routes() http.Handler {
	gin.SetMode(gin.ReleaseMode) // else gin prints the routes
	r := gin.New()
	r.HandleMethodNotAllowed = true
	r.RedirectTrailingSlash = false
	r.UseRawPath = true // a topic's name in a path may be escaped
	r.UnescapePathValues = true
	r.Use(n.observe, n.recoverPanics, n.authenticate)
	r.NoRoute(func(c *gin.Context) {
		if what := laterSurface(c.Request.URL.Path); what != "" {
			n.fail(c, disabled(what+" is not available yet"))
			return
		}
		if ofIceberg(c.Request.URL.Path) {
			icebergFail(c, http.StatusNotFound, "NotFoundException", "this catalog has nothing at "+c.Request.URL.Path)
			return
		}
		n.fail(c, newFailure(http.StatusNotFound, "INVALID_REQUEST", "InvalidRequest", "nothing is served at "+c.Request.URL.Path))
	})
	r.NoMethod(func(c *gin.Context) {
		if ofIceberg(c.Request.URL.Path) {
			icebergReadOnly(c)
			return
		}
		n.fail(c, newFailure(http.StatusMethodNotAllowed, "INVALID_REQUEST", "InvalidRequest", c.Request.Method+" is not allowed here"))
	})

	r.POST("/_sql", n.postSQL)
	r.POST("/_sql/explain", n.postExplain)
	r.POST("/_arrow/query", n.postArrow)
	r.GET("/_sql/tables", n.getTables)
	n.icebergRoutes(r)
	r.GET("/_sql/describe/:table", n.getDescribe)
	return r
}

const (
	requestIDHeader   = "X-Request-Id"
	requestIDBytesMax = 128
)

// observe gives the request an id, and logs and counts it.
func (n *Node) observe(c *gin.Context) {
	id := c.GetHeader(requestIDHeader)
	if id == "" || len(id) > requestIDBytesMax || strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' }) {
		id = ulid.Make().String()
	}
	c.Header(requestIDHeader, id)
	c.Set(requestIDHeader, id)
	began := time.Now()
	defer func() { // an answer that breaks off counts too
		took, status := time.Since(began), c.Writer.Status()
		n.metrics.answered(c.FullPath(), status, took)
		n.config.Log.Debug("http request", "id", id, "method", c.Request.Method, "path", c.Request.URL.Path, "status", status, "took", took)
	}()
	c.Next()
}

// recoverPanics answers 500 where a handler has a bug, and keeps the node up. An
// answer that is cut off in the middle does not end as if it were whole.
func (n *Node) recoverPanics(c *gin.Context) {
	defer func() {
		cause := recover()
		if cause == http.ErrAbortHandler {
			panic(cause) // no bug: the client's connection is to be cut
		}
		if cause != nil {
			n.config.Log.Error("a request handler panicked", "id", c.GetString(requestIDHeader), "path", c.Request.URL.Path, "cause", cause)
			if c.Writer.Written() {
				panic(http.ErrAbortHandler) // the bug is logged; this cuts the connection
			}
			if ofIceberg(c.Request.URL.Path) {
				icebergFail(c, http.StatusInternalServerError, "InternalServerError", "internal error")
				return
			}
			n.fail(c, newFailure(http.StatusInternalServerError, "INTERNAL_ERROR", "InternalError", "internal error"))
		}
	}()
	c.Next()
}

// fail answers with the contract's envelope.
func (n *Node) fail(c *gin.Context, err error) {
	f := failureOf(endedBy(c.Request.Context(), err))
	level := n.config.Log.Debug
	if f.Status == http.StatusInternalServerError {
		level = n.config.Log.Error
	}
	level("http request failed", "id", c.GetString(requestIDHeader), "path", c.Request.URL.Path, "status", f.Status, "err", err)
	if c.Writer.Written() {
		c.Abort()
		return
	}
	switch f.Status {
	case http.StatusServiceUnavailable:
		c.Header("Retry-After", "1")
	case http.StatusUnauthorized:
		c.Header("WWW-Authenticate", `Basic realm="chronik"`)
	}
	c.AbortWithStatusJSON(f.Status, f)
}

// readBody reads a body whole.
func readBody(c *gin.Context) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, bodyBytesMax))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, newFailure(http.StatusRequestEntityTooLarge, "TOO_LARGE", "InvalidRequest",
			fmt.Sprintf("the body is larger than %d bytes", bodyBytesMax))
	case err != nil:
		return nil, badRequest("the body could not be read: " + err.Error())
	}
	return body, nil
}

func decodeJSON(body []byte, v any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return badRequest("the body is not the JSON that is expected: " + strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return badRequest("the body has more than one JSON value")
	}
	return nil
}
