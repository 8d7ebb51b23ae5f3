package elastic

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
)

// reserved are first segments of paths that are other surfaces'. A topic of such a
// name is no index by itself; in a comma list it is.
var reserved = []string{
	"admin", "compatibility", "config", "health", "iceberg", "metrics", "mode", "schemas", "subjects", "topics",
}

// Reserved reports whether paths that begin with a name are no index's. A comma
// behind it makes it one.
func Reserved(name string) bool {
	return slices.Contains(reserved, name) || strings.HasPrefix(name, "_") && name != "_all" && !strings.Contains(name, ",")
}

// others are the first segments with an underscore that are not Elasticsearch's.
var others = []string{"_arrow", "_query", "_sql", "_vector"}

// Owns reports whether what is wrong with a path is said in this surface's form.
func Owns(path string) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return !slices.Contains(reserved, first) && !slices.Contains(others, first)
}

// Routes adds the surface's routes. elsewhere answers what only looks like one of
// them.
func (s *Surface) Routes(r *gin.Engine, elsewhere gin.HandlerFunc) {
	on := func(methods string, path string, h handler) {
		served := s.handle(h)
		route := served
		if strings.HasPrefix(path, "/:index") {
			route = func(c *gin.Context) {
				name := c.Param("index")
				if Reserved(name) {
					elsewhere(c)
					return
				}
				served(c)
			}
		}
		for _, method := range strings.Fields(methods) {
			r.Handle(method, path, route)
			if path != "/" {
				r.Handle(method, path+"/", route) // as Elasticsearch, which does not mind
			}
		}
	}
	on("GET HEAD", "/", (*call).root)
	for _, of := range []string{"", "/:index"} { // of all topics, or of some
		on("GET POST", of+"/_search", (*call).search)
		on("GET POST", of+"/_msearch", (*call).msearch)
		on("GET POST", of+"/_count", (*call).count)
		on("GET", of+"/_mapping", (*call).mapping)
		on("GET", of+"/_settings", (*call).settings)
		on("GET POST", of+"/_refresh", (*call).refresh)
		on("GET POST", of+"/_flush", (*call).refresh)
		on("POST PUT", of+"/_bulk", (*call).bulk)
		on("POST", of+"/_update_by_query", (*call).refuseChange)
		on("POST", of+"/_delete_by_query", (*call).refuseChange)
	}
	on("GET HEAD", "/:index/_doc/:id", (*call).get)
	on("GET HEAD", "/:index/_source/:id", (*call).getSource)
	on("POST", "/:index/_doc", (*call).index)
	on("POST PUT", "/:index/_doc/:id", (*call).refuseID)
	on("POST PUT", "/:index/_create/:id", (*call).refuseID)
	on("DELETE", "/:index/_doc/:id", (*call).refuseChange)
	on("POST", "/:index/_update/:id", (*call).refuseChange)
	on("HEAD", "/:index", (*call).exists)
	on("GET", "/:index", (*call).describe)
	on("PUT", "/:index", (*call).create)
	on("DELETE", "/:index", (*call).remove)
	on("GET", "/_cat", (*call).catHelp)
	on("GET", "/_cat/indices", (*call).catIndices)
	on("GET", "/_cat/indices/:index", (*call).catIndices)
	on("GET", "/_cat/health", (*call).catHealth)
	on("GET", "/_cluster/health", (*call).clusterHealth)
	on("GET", "/_cluster/health/:index", (*call).clusterHealth)
}

// NotFound answers a path of this surface that nothing is served at.
func (s *Surface) NotFound(c *gin.Context) {
	s.Fail(c, &Error{Status: http.StatusBadRequest, Type: "illegal_argument_exception",
		Reason: "no handler found for uri [" + c.Request.URL.Path + "] and method [" + c.Request.Method + "]: this part of Elasticsearch's API is not supported"})
}

// NotAllowed answers a path of this surface that has other methods.
func (s *Surface) NotAllowed(c *gin.Context) {
	s.Fail(c, notAllowed("Incorrect HTTP method for uri [%s] and method [%s]", c.Request.URL.Path, c.Request.Method))
}
