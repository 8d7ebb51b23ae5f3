package query

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/iceberg"
)

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
	require.Equal(t, []any{[]any{"chronik"}}, get("/iceberg/v1/namespaces", 200)["namespaces"])
	require.Empty(t, get("/iceberg/v1/namespaces?parent=chronik", 200)["namespaces"])
	require.Equal(t, []any{"chronik"}, get("/iceberg/v1/namespaces/chronik", 200)["namespace"])
	require.Equal(t, 204, status("HEAD", "/iceberg/v1/namespaces/chronik"))
	require.Empty(t, get(tables, 200)["identifiers"], "a topic is a table when it was committed")
	require.Equal(t, 404, status("HEAD", tables+"/orders"))

	publisher := iceberg.Publisher{
		Bucket: c.bucket, Store: c.store, Location: "s3://warehouse/here", Retention: time.Hour, Grace: time.Hour,
		Now: time.Now, NewID: ulid.Make,
	}
	var source iceberg.Source
	c.store.Catalog().View(func(v *metastore.View) {
		topic, _ := v.Topic("orders")
		source = iceberg.Source{Topic: topic, Revision: v.Revision(), Partitioning: "none"}
	})
	result, err := publisher.Publish(t.Context(), source)
	require.NoError(t, err)

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
		{"GET", tables + "/none"}:                     {404, "NoSuchTableException"},
		{"GET", "/iceberg/v1/namespaces/none"}:        {404, "NoSuchNamespaceException"},
		{"GET", "/iceberg/v1/namespaces/none/tables"}: {404, "NoSuchNamespaceException"},
		{"POST", tables}:                              {405, "UnsupportedOperationException"},
		{"POST", tables + "/orders"}:                  {405, "UnsupportedOperationException"},
		{"DELETE", tables + "/orders"}:                {405, "UnsupportedOperationException"},
		{"POST", "/iceberg/v1/namespaces"}:            {405, "UnsupportedOperationException"},
		{"DELETE", "/iceberg/v1/namespaces/chronik"}:  {405, "UnsupportedOperationException"},
		{"POST", "/iceberg/v1/tables/rename"}:         {405, "UnsupportedOperationException"},
		{"POST", "/iceberg/v1/transactions/commit"}:   {405, "UnsupportedOperationException"},
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
