package query

import (
	"encoding/json"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/iceberg"
)

// icebergNamespace is the one namespace, of all topics.
const icebergNamespace = "chronik"

// icebergRoutes are Iceberg's REST catalog, for reading.
func (n *Node) icebergRoutes(r *gin.Engine) {
	g := r.Group("/iceberg/v1")
	g.GET("/config", func(c *gin.Context) {
		c.JSON(http.StatusOK, gin.H{"defaults": gin.H{}, "overrides": gin.H{}, "endpoints": []string{
			"GET /v1/{prefix}/namespaces", "GET /v1/{prefix}/namespaces/{namespace}", "HEAD /v1/{prefix}/namespaces/{namespace}",
			"GET /v1/{prefix}/namespaces/{namespace}/tables", "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}",
			"HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}", "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics",
		}})
	})
	g.GET("/namespaces", func(c *gin.Context) {
		names := [][]string{{icebergNamespace}}
		if c.Query("parent") != "" {
			names = [][]string{}
		}
		c.JSON(http.StatusOK, gin.H{"namespaces": names})
	})
	ns := g.Group("/namespaces/:namespace", func(c *gin.Context) {
		if c.Param("namespace") != icebergNamespace {
			icebergFail(c, http.StatusNotFound, "NoSuchNamespaceException", "there is no namespace "+c.Param("namespace")+"; topics are in "+icebergNamespace)
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

	refuse := func(c *gin.Context) {
		icebergFail(c, http.StatusMethodNotAllowed, "UnsupportedOperationException", "this catalog is for reading: tables are written by producing to their topics")
	}
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

// icebergTable finds the table of a topic of that very name.
func (n *Node) icebergTable(name string) (table metastore.IcebergTable, ok bool) {
	n.config.Catalog.View(func(v *metastore.View) {
		if t, exists := v.Topic(name); exists && iceberg.Wanted(topicconfig.Resolve(t.Config, n.config.TopicDefaults).Columnar) {
			table, ok = v.Iceberg(t.ID)
		}
	})
	return table, ok
}

func (n *Node) icebergTables(c *gin.Context) {
	identifiers := []gin.H{}
	for _, t := range n.config.Catalog.Topics() {
		if _, ok := n.icebergTable(t.Name); ok {
			identifiers = append(identifiers, gin.H{"namespace": []string{icebergNamespace}, "name": t.Name})
		}
	}
	c.JSON(http.StatusOK, gin.H{"identifiers": identifiers})
}

func (n *Node) icebergLoad(c *gin.Context) {
	name := c.Param("table")
	t, ok := n.icebergTable(name)
	if !ok {
		icebergFail(c, http.StatusNotFound, "NoSuchTableException", "there is no table "+icebergNamespace+"."+name)
		return
	}
	data, location, err := iceberg.Metadata(c.Request.Context(), n.config.Bucket, t.Object)
	if err != nil {
		n.config.Log.Error("an Iceberg table cannot be read", "topic", name, "err", err)
		icebergFail(c, http.StatusServiceUnavailable, "ServiceUnavailableException", "the table's metadata cannot be read now")
		return
	}
	c.JSON(http.StatusOK, gin.H{"metadata-location": location, "metadata": json.RawMessage(data), "config": gin.H{}})
}
