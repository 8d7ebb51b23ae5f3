package metrics_test

import (
	"io"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/memory"
	"github.com/chronik-stream/chronik/objstore/metrics"
	"github.com/chronik-stream/chronik/objstore/objtest"
)

func TestMetricsKeepTheContract(t *testing.T) {
	objtest.Run(t, func(t *testing.T) objstore.Bucket {
		b, err := metrics.New(memory.New(), nil)
		require.NoError(t, err)
		return b
	})
}

func TestTwoBucketsShareARegistry(t *testing.T) {
	registry := prometheus.NewRegistry()
	for range 2 {
		b, err := metrics.New(memory.New(), registry)
		require.NoError(t, err)
		objtest.Put(t, b, "o", []byte("12345"))
		_, err = b.Put(t.Context(), "o", objstore.Bytes(nil), objstore.Condition{IfAbsent: true})
		require.ErrorIs(t, err, objstore.ErrExists)
		_, err = b.Get(t.Context(), "o", 1, 2)
		require.NoError(t, err)
		_, err = b.Head(t.Context(), "absent")
		require.ErrorIs(t, err, objstore.ErrNotFound)
		r, err := b.Open(t.Context(), "o")
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		_ = r.Close() // counts once
		for range b.List(t.Context(), "") {
			break
		}
	}
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP chronik_objstore_bytes_total Bytes of objects put (op put) and read (ops get and open).
# TYPE chronik_objstore_bytes_total counter
chronik_objstore_bytes_total{op="get"} 4
chronik_objstore_bytes_total{op="open"} 10
chronik_objstore_bytes_total{op="put"} 10
# HELP chronik_objstore_in_flight Object store calls under way.
# TYPE chronik_objstore_in_flight gauge
chronik_objstore_in_flight{op="get"} 0
chronik_objstore_in_flight{op="head"} 0
chronik_objstore_in_flight{op="list"} 0
chronik_objstore_in_flight{op="open"} 0
chronik_objstore_in_flight{op="put"} 0
# HELP chronik_objstore_operations_total Object store calls, by operation and outcome; retries count.
# TYPE chronik_objstore_operations_total counter
chronik_objstore_operations_total{op="get",outcome="ok"} 2
chronik_objstore_operations_total{op="head",outcome="not_found"} 2
chronik_objstore_operations_total{op="list",outcome="ok"} 2
chronik_objstore_operations_total{op="open",outcome="ok"} 2
chronik_objstore_operations_total{op="put",outcome="exists"} 2
chronik_objstore_operations_total{op="put",outcome="ok"} 2
`), "chronik_objstore_bytes_total", "chronik_objstore_in_flight", "chronik_objstore_operations_total"))
}
