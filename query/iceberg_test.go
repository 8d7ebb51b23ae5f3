package query

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/iceberg"
)

// publish makes a topic a table as a compactor does, without records.
func (c *cluster) publish(topic string) iceberg.Result {
	c.t.Helper()
	publisher := iceberg.Publisher{
		Bucket: c.bucket, Store: c.store, Location: "s3://warehouse/here", Retention: time.Hour, Grace: time.Hour,
		Now: time.Now, NewID: ulid.Make,
	}
	var source iceberg.Source
	c.store.Catalog().View(func(v *metastore.View) {
		t, ok := v.Topic(topic)
		require.True(c.t, ok)
		source = iceberg.Source{Topic: t, Revision: v.Revision(), Partitioning: "none"}
	})
	result, err := publisher.Publish(c.t.Context(), source)
	require.NoError(c.t, err)
	return result
}

// Topics may have dots, dashes and underscores in their names; a table has its
// topic's own name, and others that differ from it in those alone are others.
func TestTablesAreListedPageByPageUnderTheNamesOfTheirTopics(t *testing.T) {
	c := newCluster(t, 1)
	const tables = "/iceberg/v1/namespaces/chronik/tables"
	names := []string{"a", "a-b", "a.b", "a_b", "orders"}
	for _, name := range names {
		if name != "orders" {
			_, err := c.store.CreateTopic(t.Context(), metastore.Topic{Name: name, Partitions: 1, Config: map[string]string{"columnar.enabled": "true"}})
			require.NoError(t, err)
		}
		c.await(func() bool { _, ok := c.store.Catalog().Topic(name); return ok })
	}
	locations := make(map[string]string)
	for _, name := range names {
		locations[name] = "s3://warehouse/here/" + c.publish(name).Object
	}
	list := func(query string) (listed []string, next any) {
		t.Helper()
		status, body, _ := c.do("GET", tables+query, "")
		require.Equal(t, 200, status, string(body))
		var answer struct {
			Identifiers []struct {
				Namespace []string
				Name      string
			}
			Next any `json:"next-page-token"`
		}
		require.NoError(t, json.Unmarshal(body, &answer))
		for _, i := range answer.Identifiers {
			require.Equal(t, []string{"chronik"}, i.Namespace)
			listed = append(listed, i.Name)
		}
		return listed, answer.Next
	}
	all, next := list("?pageSize=2")
	require.Equal(t, names, all, "without a token the client does not know of pages")
	require.Nil(t, next)
	all, next = list("?pageToken=")
	require.Equal(t, names, all)
	require.Nil(t, next)
	for size := 1; size <= len(names)+1; size++ {
		var got []string
		for token := any(""); token != nil; {
			page, further := list(fmt.Sprintf("?pageSize=%d&pageToken=%s", size, token))
			require.LessOrEqual(t, len(page), size)
			got, token = append(got, page...), further
		}
		require.Equal(t, names, got)
	}
	_, next = list("?pageToken=&pageSize=3")
	require.NoError(t, c.store.DeleteTopic(t.Context(), "a.b"))
	c.await(func() bool { _, ok := c.store.Catalog().Topic("a.b"); return !ok })
	rest, _ := list(fmt.Sprintf("?pageSize=3&pageToken=%s", next))
	require.Equal(t, []string{"a_b", "orders"}, rest, "the table that the page before ended with is gone")

	for name, location := range locations {
		status, body, _ := c.do("GET", tables+"/"+name, "")
		if name == "a.b" {
			require.Equal(t, 404, status)
			continue
		}
		require.Equal(t, 200, status)
		require.Contains(t, string(body), location, name)
	}
}

func TestTheIcebergCatalogIsThereForReading(t *testing.T) {
	c := newCluster(t, 1)
	const tables = "/iceberg/v1/namespaces/chronik/tables"
	get := func(path string, want int) (answer map[string]any) {
		t.Helper()
		status, body, _ := c.do("GET", path, "")
		require.Equal(t, want, status, string(body))
		require.NoError(t, json.Unmarshal(body, &answer))
		return answer
	}
	status := func(method, path string) int {
		status, _, _ := c.do(method, path, "")
		return status
	}
	require.Contains(t, get("/iceberg/v1/config", 200), "overrides")
	require.Contains(t, get("/iceberg/v1/config?warehouse=chronik", 200), "overrides")
	require.Equal(t, []any{[]any{"chronik"}}, get("/iceberg/v1/namespaces", 200)["namespaces"])
	require.Empty(t, get("/iceberg/v1/namespaces?parent=chronik", 200)["namespaces"])
	require.Equal(t, []any{"chronik"}, get("/iceberg/v1/namespaces/chronik", 200)["namespace"])
	require.Equal(t, 204, status("HEAD", "/iceberg/v1/namespaces/chronik"))
	require.Empty(t, get(tables, 200)["identifiers"], "a topic is a table when it was committed")
	require.Equal(t, 404, status("HEAD", tables+"/orders"))

	result := c.publish("orders")

	require.Equal(t, []any{map[string]any{"namespace": []any{"chronik"}, "name": "orders"}}, get(tables, 200)["identifiers"])
	require.Equal(t, 204, status("HEAD", tables+"/orders"))
	loaded := get(tables+"/orders", 200)
	require.Equal(t, "s3://warehouse/here/"+result.Object, loaded["metadata-location"])
	require.Equal(t, 2.0, loaded["metadata"].(map[string]any)["format-version"])
	require.Empty(t, loaded["config"], "no endpoint and no secret is handed out")
	require.Equal(t, 204, status("POST", tables+"/orders/metrics"))

	for request, want := range map[[2]string]struct {
		status int
		kind   string
	}{
		{"GET", tables + "/none"}:                       {404, "NoSuchTableException"},
		{"GET", "/iceberg/v1/namespaces/none"}:          {404, "NoSuchNamespaceException"},
		{"GET", "/iceberg/v1/namespaces/none/tables"}:   {404, "NoSuchNamespaceException"},
		{"POST", tables}:                                {405, "UnsupportedOperationException"},
		{"POST", tables + "/orders"}:                    {405, "UnsupportedOperationException"},
		{"DELETE", tables + "/orders"}:                  {405, "UnsupportedOperationException"},
		{"POST", "/iceberg/v1/namespaces"}:              {405, "UnsupportedOperationException"},
		{"DELETE", "/iceberg/v1/namespaces/chronik"}:    {405, "UnsupportedOperationException"},
		{"POST", "/iceberg/v1/tables/rename"}:           {405, "UnsupportedOperationException"},
		{"POST", "/iceberg/v1/transactions/commit"}:     {405, "UnsupportedOperationException"},
		{"PUT", tables + "/orders"}:                     {405, "UnsupportedOperationException"},
		{"GET", "/iceberg"}:                             {404, "NotFoundException"},
		{"GET", "/iceberg/v2/config"}:                   {404, "NotFoundException"},
		{"GET", "/iceberg/v1/namespaces/chronik/views"}: {404, "NotFoundException"},
		{"POST", "/iceberg/v1/oauth/tokens"}:            {404, "NotFoundException"},
		{"GET", "/iceberg/v1/namespaces?parent=none"}:   {404, "NoSuchNamespaceException"},
		{"GET", "/iceberg/v1/config?warehouse=none"}:    {404, "NoSuchWarehouseException"},
		{"GET", tables + "/orders?snapshots=some"}:      {400, "BadRequestException"},
		{"GET", tables + "?pageToken=&pageSize=0"}:      {400, "BadRequestException"},
		{"GET", tables + "?pageToken=%21"}:              {400, "BadRequestException"},
	} {
		got, body, _ := c.do(request[0], request[1], "{}")
		require.Equal(t, want.status, got, request)
		var failure struct {
			Error struct {
				Message, Type string
				Code          int
			}
		}
		require.NoError(t, json.Unmarshal(body, &failure))
		require.Equal(t, want.kind, failure.Error.Type, request)
		require.Equal(t, want.status, failure.Error.Code)
		require.NotEmpty(t, failure.Error.Message)
	}

	require.NoError(t, c.store.DeleteTopic(t.Context(), "orders"))
	c.await(func() bool { _, ok := c.store.Catalog().Topic("orders"); return !ok })
	get(tables+"/orders", 404)
	require.Empty(t, get(tables, 200)["identifiers"])
}
