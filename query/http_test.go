//go:build !nosql

package query

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestErrorsHaveTheFormOfTheSurfaceThatAPathBelongsTo(t *testing.T) {
	c := newCluster(t, 1)
	for _, asked := range []struct {
		method, path string
		status       int
		kind         string // error_code, or Elasticsearch's type
	}{
		{"GET", "/_vector/t", 404, "INVALID_REQUEST"},
		{"GET", "/_vector/t/search", 405, "INVALID_REQUEST"},
		{"POST", "/_vector/t/search", 400, "INVALID_REQUEST"}, // it has no body
		{"GET", "/_vector/gone/stats", 404, "TOPIC_NOT_FOUND"},
		{"GET", "/_vector/orders/stats", 400, "FEATURE_DISABLED"},
		{"POST", "/_vector/orders/backfill", 503, "UNAVAILABLE"}, // nobody was named who could
		{"POST", "/_query", 400, "INVALID_REQUEST"},
		{"GET", "/_query/nothing", 404, "INVALID_REQUEST"},
		{"GET", "/subjects", 400, "FEATURE_DISABLED"},
		{"PUT", "/config/x", 400, "FEATURE_DISABLED"},
		{"GET", "/_nothing", 400, "illegal_argument_exception"},
		{"GET", "/_sql/nothing", 404, "INVALID_REQUEST"},
		{"GET", "/_sql", 405, "INVALID_REQUEST"},
		{"POST", "/orders/_search", 400, "illegal_argument_exception"}, // it is not searchable
		{"GET", "/gone/_search", 404, "index_not_found_exception"},
		{"GET", "/orders/_nothing", 400, "illegal_argument_exception"},
		{"PATCH", "/orders/_search", 405, "illegal_argument_exception"},
		{"GET", "/_nodes/http", 400, "illegal_argument_exception"},
		{"GET", "/_bulk", 405, "illegal_argument_exception"},
	} {
		request, err := http.NewRequestWithContext(t.Context(), asked.method, c.url+asked.path, nil)
		require.NoError(t, err)
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, asked.status, response.StatusCode, "%s %s: %s", asked.method, asked.path, text)
		var ours struct {
			Code string `json:"error_code"`
		}
		var elastics struct {
			Error struct{ Type string }
		}
		kind := ""
		if json.Unmarshal(text, &ours) == nil && ours.Code != "" {
			kind = ours.Code
		} else {
			require.NoError(t, json.Unmarshal(text, &elastics), string(text))
			kind = elastics.Error.Type
			require.Equal(t, "Elasticsearch", response.Header.Get("X-Elastic-Product"))
		}
		require.Equal(t, asked.kind, kind, "%s %s: %s", asked.method, asked.path, text)
	}
}
