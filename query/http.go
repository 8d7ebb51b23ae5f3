package query

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/oklog/ulid/v2"

	"github.com/chronik-stream/chronik/query/elastic"
)

// later are the first path segments of surfaces that are not built yet.
var later = map[string]string{
	"subjects": "the schema registry", "schemas": "the schema registry",
	"compatibility": "the schema registry", "config": "the schema registry", "mode": "the schema registry",
}

// routes are the whole surface.
func (n *Node) routes() http.Handler {
	gin.SetMode(gin.ReleaseMode) // else gin prints the routes
	r := gin.New()
	r.HandleMethodNotAllowed = true
	r.RedirectTrailingSlash = false
	r.UseRawPath = true // a topic's name in a path may be escaped
	r.UnescapePathValues = true
	r.Use(n.observe, n.recoverPanics, boundAnswer, boundBody, n.authenticate)
	r.NoRoute(n.notFound)
	r.NoMethod(n.notAllowed)

	r.POST("/_sql", n.postSQL)
	r.POST("/_sql/explain", n.postExplain)
	r.POST("/_arrow/query", n.postArrow)
	r.GET("/_sql/tables", n.getTables)
	n.icebergRoutes(r)
	r.GET("/_sql/describe/:table", n.getDescribe)
	n.semantic.Routes(r)
	n.federated.Routes(r)
	served := map[string]bool{}
	n.elastic.Routes(r, func(c *gin.Context) { // a path that only looks like an index
		if served[c.Request.URL.Path] {
			n.notAllowed(c)
			return
		}
		n.notFound(c)
	})
	for _, route := range r.Routes() {
		served[route.Path] = true
	}
	return r
}

// notFound answers a path that nothing is served at, in the form of the surface
// that it belongs to.
func (n *Node) notFound(c *gin.Context) {
	path := c.Request.URL.Path
	first, _, _ := strings.Cut(strings.Trim(path, "/"), "/")
	switch {
	case later[first] != "":
		n.fail(c, disabled(later[first]+" is not available yet"))
	case ofIceberg(path):
		icebergFail(c, http.StatusNotFound, "NotFoundException", "this catalog has nothing at "+path)
	case elastic.Owns(path):
		n.elastic.NotFound(c)
	default:
		n.fail(c, newFailure(http.StatusNotFound, "INVALID_REQUEST", "InvalidRequest", "nothing is served at "+path))
	}
}

// notAllowed answers a path that has other methods.
func (n *Node) notAllowed(c *gin.Context) {
	path := c.Request.URL.Path
	first, _, _ := strings.Cut(strings.Trim(path, "/"), "/")
	switch {
	case later[first] != "":
		n.notFound(c)
	case ofIceberg(path):
		icebergReadOnly(c)
	case elastic.Owns(path):
		n.elastic.NotAllowed(c)
	default:
		n.fail(c, newFailure(http.StatusMethodNotAllowed, "INVALID_REQUEST", "InvalidRequest", c.Request.Method+" is not allowed here"))
	}
}

const (
	requestIDHeader   = "X-Request-Id"
	requestIDBytesMax = 128
)

// observe gives the request an id, and logs and counts it.
func (n *Node) observe(c *gin.Context) {
	id := c.GetHeader(requestIDHeader)
	if id == "" || len(id) > requestIDBytesMax || strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' }) {
		id = ulid.MustNew(ulid.Now(), rand.Reader).String()
	}
	c.Request.Header.Set(requestIDHeader, id) // it goes along where the request is handed on
	c.Header(requestIDHeader, id)
	c.Set(requestIDHeader, id)
	began := time.Now()
	defer func() { // an answer that breaks off counts too
		took, status := time.Since(began), c.Writer.Status()
		route := c.FullPath()
		if route != "/" {
			route = strings.TrimSuffix(route, "/")
		}
		n.metrics.answered(route, status, took)
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

// fail answers with the contract's envelope, or in the form of a surface that has
// its own.
func (n *Node) fail(c *gin.Context, err error) {
	if elastic.Owns(c.Request.URL.Path) {
		n.elastic.Fail(c, err)
		return
	}
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
	switch {
	case f.RetryAfter > 0:
		c.Header("Retry-After", strconv.Itoa(int(math.Ceil(f.RetryAfter.Seconds()))))
	case f.Status == http.StatusServiceUnavailable:
		c.Header("Retry-After", "1")
	case f.Status == http.StatusUnauthorized && n.config.Auth != nil:
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
