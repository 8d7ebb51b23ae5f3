//go:build !nosql

package query

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/metastore"
)

func TestATopicThatCameJustNowByAnotherNodeIsKnown(t *testing.T) {
	var c *cluster
	late, asked := "", 0
	c = newCluster(t, 1, func(config *Config) {
		config.CatchUp = func(ctx context.Context) error {
			asked++
			if late != "" {
				if _, err := c.store.CreateTopic(ctx, metastore.Topic{Name: late, Partitions: 1}); err != nil {
					return err
				}
				late = ""
			}
			return c.store.CatchUp(ctx)
		}
	})
	for i, w := range []struct {
		topic, method, path, body string
		status                    int
	}{
		{"", "POST", "/_sql", `{"query":"SELECT * FROM nosuch_cold","freshness":"cold"}`, 404},
		{"a", "POST", "/_sql", `{"query":"SELECT count(*) FROM a_cold","freshness":"cold"}`, 400},
		{"b", "POST", "/_sql/explain", `{"query":"SELECT count(*) FROM b_cold","freshness":"cold"}`, 400},
		{"", "GET", "/_vector/nosuch/stats", "", 404},
		{"c", "GET", "/_vector/c/stats", "", 400},
		{"d", "POST", "/_query", `{"sources":[{"topic":"d","modes":["vector"]}],"q":{"semantic":"x"}}`, 400},
	} {
		late = w.topic
		status, body, _ := c.do(w.method, w.path, w.body)
		require.Equal(t, w.status, status, "%s: %s", w.path, body)
		require.Equal(t, i+1, asked, w.path)
	}
	status, body, _ := c.do("POST", "/_sql", `{"query":"SELECT count(*) FROM a_cold","freshness":"cold"}`)
	require.Equal(t, 400, status, string(body)) // it is no table
	require.Equal(t, 6, asked, "what is known is not asked for")
}
