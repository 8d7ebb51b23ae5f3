package query

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/iceberg"
)

const (
	// icebergPath is where the catalog is.
	icebergPath = "/iceberg"
	// icebergNamespace is the one namespace, of all topics, and the name of the
	// one warehouse.
	icebergNamespace = "chronik"
	// icebergPage is how many tables a page has for a client that asks for pages
	// and not for their size.
	icebergPage = 1000
)

// icebergRoutes are Iceberg's REST catalog, for reading.
func (n *Node) icebergRoutes(r *gin.Engine) {
	g := r.Group(icebergPath + "/v1")
	g.GET("/config", func(c *gin.Context) {
		if warehouse := c.Query("warehouse"); warehouse != "" && warehouse != icebergNamespace {
			icebergFail(c, http.StatusNotFound, "NoSuchWarehouseException", "there is no warehouse "+warehouse+"; the one there is need not be named, its name is "+icebergNamespace)
			return
		}
		c.JSON(http.StatusOK, gin.H{"defaults": gin.H{}, "overrides": gin.H{}, "endpoints": []string{
			"GET /v1/{prefix}/namespaces", "GET /v1/{prefix}/namespaces/{namespace}", "HEAD /v1/{prefix}/namespaces/{namespace}",
			"GET /v1/{prefix}/namespaces/{namespace}/tables", "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}",
			"HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}", "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics",
		}})
	})
	g.GET("/namespaces", func(c *gin.Context) {
		names := [][]string{{icebergNamespace}}
		switch parent := c.Query("parent"); parent {
		case "":
		case icebergNamespace:
			names = [][]string{}
		default:
			icebergNoNamespace(c, parent)
			return
		}
		c.JSON(http.StatusOK, gin.H{"namespaces": names})
	})
	ns := g.Group("/namespaces/:namespace", func(c *gin.Context) {
		if c.Param("namespace") != icebergNamespace {
			icebergNoNamespace(c, c.Param("namespace"))
		}
	})
	ns.GET("", func(c *gin.Context) {
		c.JSON(http.StatusOK, gin.H{"namespace": []string{icebergNamespace}, "properties": gin.H{}})
	})
	ns.HEAD("", func(c *gin.Context) { c.Status(http.StatusNoContent) })
	ns.GET("/tables", n.icebergTables)
	ns.GET("/tables/:table", n.icebergLoad)
	ns.HEAD("/tables/:table", func(c *gin.Context) {
		if _, ok := n.icebergTable(c.Param("table")); !ok {
			c.AbortWithStatus(http.StatusNotFound)
			return
		}
		c.Status(http.StatusNoContent)
	})
	ns.POST("/tables/:table/metrics", func(c *gin.Context) { c.Status(http.StatusNoContent) })

	refuse := func(c *gin.Context) { icebergReadOnly(c) }
	g.POST("/namespaces", refuse)
	g.POST("/tables/rename", refuse)
	g.POST("/transactions/commit", refuse)
	ns.DELETE("", refuse)
	ns.POST("/properties", refuse)
	ns.POST("/register", refuse)
	ns.POST("/tables", refuse)
	ns.POST("/tables/:table", refuse)
	ns.DELETE("/tables/:table", refuse)
}

// icebergFail answers in the form of Iceberg's catalogs.
func icebergFail(c *gin.Context, status int, kind, message string) {
	c.AbortWithStatusJSON(status, gin.H{"error": gin.H{"message": message, "type": kind, "code": status}})
}

func icebergNoNamespace(c *gin.Context, name string) {
	icebergFail(c, http.StatusNotFound, "NoSuchNamespaceException", "there is no namespace "+name+"; topics are in "+icebergNamespace)
}

func icebergReadOnly(c *gin.Context) {
	icebergFail(c, http.StatusMethodNotAllowed, "UnsupportedOperationException", "this catalog is for reading: tables are written by producing to their topics")
}

// ofIceberg tells whether a path is the catalog's, whose clients want its errors.
func ofIceberg(path string) bool {
	return path == icebergPath || strings.HasPrefix(path, icebergPath+"/")
}

// icebergTable finds the table of a topic of that very name.
func (n *Node) icebergTable(name string) (table metastore.IcebergTable, ok bool) {
	n.config.Catalog.View(func(v *metastore.View) {
		if t, exists := v.Topic(name); exists && iceberg.Wanted(topicconfig.Resolve(t.Config, n.config.TopicDefaults).Columnar) {
			table, ok = v.Iceberg(t.ID)
		}
	})
	return table, ok
}

// icebergTables lists the tables, page by page for clients that ask for that by
// a page token, which is empty for the first page.
func (n *Node) icebergTables(c *gin.Context) {
	var names []string
	for _, t := range n.config.Catalog.Topics() {
		if _, ok := n.icebergTable(t.Name); ok {
			names = append(names, t.Name)
		}
	}
	var next any // null: no more
	if token, paged := c.GetQuery("pageToken"); paged {
		size, err := strconv.Atoi(cmp.Or(c.Query("pageSize"), strconv.Itoa(icebergPage)))
		if err != nil || size < 1 {
			icebergFail(c, http.StatusBadRequest, "BadRequestException", fmt.Sprintf("pageSize is %q, and has to be a number of at least 1", c.Query("pageSize")))
			return
		}
		last, err := base64.RawURLEncoding.DecodeString(token) // of the page before
		if err != nil {
			icebergFail(c, http.StatusBadRequest, "BadRequestException", fmt.Sprintf("pageToken is %q, which is no token of this catalog", token))
			return
		}
		at, found := slices.BinarySearch(names, string(last))
		if found {
			at++
		}
		if names = names[at:]; len(names) > size {
			names = names[:size]
			next = base64.RawURLEncoding.EncodeToString([]byte(names[size-1]))
		}
	}
	identifiers := make([]gin.H, len(names))
	for i, name := range names {
		identifiers[i] = gin.H{"namespace": []string{icebergNamespace}, "name": name}
	}
	c.JSON(http.StatusOK, gin.H{"identifiers": identifiers, "next-page-token": next})
}

func (n *Node) icebergLoad(c *gin.Context) {
	name := c.Param("table")
	snapshots := c.DefaultQuery("snapshots", "all")
	if snapshots != "all" && snapshots != "refs" {
		icebergFail(c, http.StatusBadRequest, "BadRequestException", fmt.Sprintf("snapshots is %q, and has to be all or refs", snapshots))
		return
	}
	t, ok := n.icebergTable(name)
	if !ok {
		icebergFail(c, http.StatusNotFound, "NoSuchTableException", "there is no table "+icebergNamespace+"."+name)
		return
	}
	data, location, err := iceberg.Metadata(c.Request.Context(), n.config.Bucket, t.Object)
	if err == nil && snapshots == "refs" {
		data, err = iceberg.OnlyReferenced(data)
	}
	if err != nil {
		n.config.Log.Error("an Iceberg table cannot be read", "topic", name, "err", err)
		icebergFail(c, http.StatusServiceUnavailable, "ServiceUnavailableException", "the table's metadata cannot be read now")
		return
	}
	// What a client asks for by X-Iceberg-Access-Delegation it does not get: readers
	// bring their own access to the bucket.
	c.JSON(http.StatusOK, gin.H{"metadata-location": location, "metadata": json.RawMessage(data), "config": gin.H{}})
}
