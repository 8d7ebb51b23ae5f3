package query

import (
	"context"
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/query/gate"
	"github.com/chronik-stream/chronik/query/peers"
	"github.com/chronik-stream/chronik/query/relation"
	"github.com/chronik-stream/chronik/query/tail"
)

// tableInfo is one entry of GET /_sql/tables.
type tableInfo struct {
	Name     string `json:"name"` // to be written bare, or in quotes when it collides
	Topic    string `json:"topic"`
	Type     string `json:"table_type"`
	Rows     int64  `json:"rows"`    // in Parquet, and offsets committed behind these
	Files    int    `json:"files"`   // Parquet
	Bytes    int64  `json:"bytes"`   // of these
	Columns  int    `json:"columns"` // of these files, with the system columns
	Collides bool   `json:"collides"`
}

// getTables lists the topics that are tables, from metadata alone: it is about all
// topics, and any node has it as much at hand as another.
func (n *Node) getTables(c *gin.Context) {
	names := n.names()
	tables := []tableInfo{}
	for _, t := range n.config.Catalog.Topics() {
		if !topicconfig.Resolve(t.Config, n.config.TopicDefaults).Columnar.Enabled {
			continue
		}
		info, err := n.tableInfo(c.Request.Context(), t, names)
		if err != nil {
			n.fail(c, err)
			return
		}
		tables = append(tables, info)
	}
	c.JSON(http.StatusOK, gin.H{"tables": tables})
}

// tableName is the name by which a topic is listed: one that needs no quotes,
// unless it collides.
func tableName(names *gate.Names, topic string) string {
	if names.Collides(topic) {
		return topic
	}
	return gate.BareName(topic)
}

func (n *Node) tableInfo(ctx context.Context, t *metastore.Topic, names *gate.Names) (tableInfo, error) {
	info := tableInfo{Name: tableName(names, t.Name), Topic: t.Name, Type: "TOPIC", Collides: names.Collides(t.Name)}
	states, err := n.states(ctx, t, nil)
	if err != nil {
		return info, err
	}
	var files []relation.File
	for _, s := range states {
		for _, f := range s.Section.Columnar {
			if f.Next <= s.Start {
				continue
			}
			info.Files++
			info.Bytes += f.Size
			info.Rows += f.Records - f.Masked
			files = append(files, relation.File{Columns: columnsOf(f.Columns)})
		}
		info.Rows += max(0, s.View.Next()-s.Mark)
	}
	info.Columns = len(relation.Describe(relation.Columns(files), n.columnOfVectors(t, states)))
	return info, nil
}

// getDescribe lists a table's columns, as fresh as a short wait allows.
func (n *Node) getDescribe(c *gin.Context) {
	name := c.Param("table")
	topicName, kind, err := n.names().Lookup(name)
	if err != nil {
		n.fail(c, err)
		return
	}
	b, answered, err := handOn(n, c, nil, func(at peers.Place) (*bound, error) {
		if err := n.elsewhereFor(topicName, at); err != nil {
			return nil, err
		}
		return n.describe(c.Request.Context(), topicName, kind)
	})
	if err != nil {
		n.fail(c, err)
		return
	}
	if answered {
		return
	}
	defer b.Release()
	columns, schema := []gin.H{}, []gin.H{}
	for _, d := range relation.Describe(b.columns, b.vectors) {
		columns = append(columns, gin.H{"name": d.Name, "data_type": d.Type.String(), "nullable": d.Nullable})
		schema = append(schema, gin.H{"name": d.Name, "type": d.Type.String(), "nullable": d.Nullable})
	}
	c.JSON(http.StatusOK, gin.H{"table": name, "columns": columns, "schema": schema})
}

// describe binds the topic with its tail when the brokers are quick, and
// without it when they are not.
func (n *Node) describe(ctx context.Context, topicName string, kind gate.Kind) (*bound, error) {
	if kind != gate.Cold {
		short, cancel := context.WithTimeout(ctx, describeWait)
		defer cancel()
		b, err := n.bind(short, topicName, parts{hot: true}, latest, nil)
		var lagging *tail.LaggingError
		if !errors.As(err, &lagging) {
			return b, err
		}
	}
	return n.bind(ctx, topicName, parts{}, cold, nil)
}
