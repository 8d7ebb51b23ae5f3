package milvus_test

import (
	"context"
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/tlsfiles"
	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/milvus"
	"github.com/chronik-stream/chronik/milvus/milvustest"
)

func start(t *testing.T) *milvustest.Server {
	server, err := milvustest.Start()
	require.NoError(t, err)
	t.Cleanup(server.Close)
	return server
}

func open(t *testing.T, c milvus.Config) *milvus.Client {
	if c.RequestTimeout == 0 {
		c.RequestTimeout = time.Minute
	}
	client, err := milvus.Open(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func ensure(t *testing.T, client *milvus.Client, c milvus.Collection) {
	_, err := client.Ensure(t.Context(), c)
	require.NoError(t, err)
}

func TestTheMilvusOfTestsPassesTheSuite(t *testing.T) { suite(t, start(t).Address) }

var small = milvus.Collection{Name: "small", Dimensions: 2, Metric: vectorindex.Euclidean, Kind: vectorindex.HNSW, Encoding: vectorindex.F32, M: 24, EfConstruction: 90}

func TestAnIndexHasTheParametersOfTheTopic(t *testing.T) {
	server := start(t)
	client := open(t, milvus.Config{Address: server.Address})
	ensure(t, client, small)
	index := server.Index("small")
	require.Equal(t, "HNSW", index["index_type"])
	require.Equal(t, "L2", index["metric_type"])
	require.JSONEq(t, `{"M":"24","efConstruction":"90"}`, index["params"])
	quantized := small
	quantized.Name, quantized.Kind, quantized.Encoding = "quantized", vectorindex.IVF, vectorindex.Int8
	ensure(t, client, quantized)
	require.Equal(t, "IVF_SQ8", server.Index("quantized")["index_type"])
	quantized.Kind = vectorindex.HNSW
	_, err := client.Ensure(t.Context(), quantized)
	require.ErrorContains(t, err, "no hnsw index of int8 vectors")
}

func TestWhatFailsAndIsDoneAgainIsDoneOnce(t *testing.T) {
	for _, fault := range []milvustest.Fault{milvustest.Away, milvustest.LostAnswer, milvustest.RateLimited, milvustest.Broken} {
		server := start(t)
		client := open(t, milvus.Config{Address: server.Address})
		rows := milvus.Rows{Partition: 3, Offsets: []int64{5, 6}, Timestamps: []int64{50, 60}, Vectors: []float32{1, 0, 0, 1}}
		steps := []func(context.Context) error{
			func(ctx context.Context) error {
				_, err := client.Ensure(ctx, small)
				return err
			},
			func(ctx context.Context) error { return client.Upsert(ctx, small, rows) },
			func(ctx context.Context) error { return client.Delete(ctx, small.Name, 3, []int64{5}) },
			func(ctx context.Context) error {
				hits, err := client.Search(ctx, small, milvus.Query{Vector: []float32{0, 3}, K: 5, Ranges: []milvus.Range{{Partition: 3, Next: 100}}})
				if err == nil {
					require.Equal(t, []milvus.Hit{{Partition: 3, Hit: vectorindex.Hit{Offset: 6, Timestamp: 60, Distance: 2}}}, hits)
				}
				return err
			},
			func(ctx context.Context) error { return client.Drop(ctx, small.Name) },
		}
		// Every method of every step fails once.
		seen := map[string]bool{}
		server.Plan(func(method string) milvustest.Fault {
			if seen[method] {
				return milvustest.None
			}
			seen[method] = true
			return fault
		})
		failed := 0
		for i, step := range steps {
			for attempt := 0; ; attempt++ {
				err := step(t.Context())
				if err == nil {
					break
				}
				failed++
				require.Less(t, attempt, 20, "step %d, fault %d: %v", i, fault, err)
				require.Equal(t, fault != milvustest.Broken, milvus.Temporary(err), "step %d, fault %d: %v", i, fault, err)
			}
		}
		require.GreaterOrEqual(t, failed, 6, "fault %d", fault)
		require.Empty(t, server.Names())
	}
}

func TestAMilvusThatIsSilentIsGivenUp(t *testing.T) {
	server := start(t)
	client := open(t, milvus.Config{Address: server.Address, RequestTimeout: 50 * time.Millisecond})
	server.Plan(func(string) milvustest.Fault { return milvustest.Silence })
	_, err := client.Has(t.Context(), "small")
	require.Error(t, err)
	require.True(t, milvus.Temporary(err), err)
}

func TestAMilvusThatIsAwayIsFoundAgain(t *testing.T) {
	server := start(t)
	client := open(t, milvus.Config{Address: server.Address})
	ensure(t, client, small)
	server.Close()
	_, err := client.Has(t.Context(), "small")
	require.True(t, milvus.Temporary(err), err)
	again, err := milvustest.StartAt(server.Address)
	require.NoError(t, err)
	t.Cleanup(again.Close)
	require.Eventually(t, func() bool {
		there, err := client.Has(t.Context(), "small")
		return err == nil && !there
	}, time.Minute, 20*time.Millisecond)
}

func TestWhoMilvusDoesNotKnowIsDenied(t *testing.T) {
	server := start(t)
	server.Require(base64.StdEncoding.EncodeToString([]byte("chronik:sesame")), "vectors")
	stranger := open(t, milvus.Config{Address: server.Address, Database: "vectors"})
	_, err := stranger.Has(t.Context(), "small")
	require.ErrorIs(t, err, milvus.ErrDenied)
	require.False(t, milvus.Temporary(err))
	for _, known := range []milvus.Config{{User: "chronik", Password: "sesame"}, {Token: "chronik:sesame"}} {
		known.Address, known.Database = server.Address, "vectors"
		_, err := open(t, known).Has(t.Context(), "small")
		require.NoError(t, err)
	}
	server.Plan(func(string) milvustest.Fault { return milvustest.Denied })
	_, err = open(t, milvus.Config{Address: server.Address, Database: "vectors", Token: "chronik:sesame"}).Has(t.Context(), "small")
	require.ErrorIs(t, err, milvus.ErrDenied)
}

func TestACollectionOfAnotherShapeIsLeftAlone(t *testing.T) {
	server := start(t)
	client := open(t, milvus.Config{Address: server.Address})
	ensure(t, client, small)
	other := small
	other.Dimensions = 3
	_, err := client.Ensure(t.Context(), other)
	require.ErrorContains(t, err, "vectors of 2 dimensions")
}

func TestLargeUpsertsAreSentInParts(t *testing.T) {
	server := start(t)
	client := open(t, milvus.Config{Address: server.Address})
	large := small
	large.Dimensions = 1024
	ensure(t, client, large)
	const n = 3000
	rows := milvus.Rows{Vectors: make([]float32, n*1024)}
	for i := range int64(n) {
		rows.Offsets, rows.Timestamps = append(rows.Offsets, i), append(rows.Timestamps, i)
	}
	require.NoError(t, client.Upsert(t.Context(), large, rows))
	require.Equal(t, 2, server.Calls("Upsert"))
	require.Len(t, server.Keys("small"), n)
	rows.Offsets = rows.Offsets[1:]
	require.Error(t, client.Upsert(t.Context(), large, rows))
}

func TestAnAddressIsHostAndPort(t *testing.T) {
	for _, address := range []string{"", "milvus", "https://milvus:19530"} {
		_, err := milvus.Open(milvus.Config{Address: address, RequestTimeout: time.Second})
		require.ErrorContains(t, err, "host:port", address)
	}
}

func TestConnectionsAreEncryptedWhereThatIsAskedFor(t *testing.T) {
	server := start(t) // in the clear
	tls, err := tlsfiles.Load("Milvus", tlsfiles.Files{}, nil)
	require.NoError(t, err)
	_, err = open(t, milvus.Config{Address: server.Address, TLS: tls}).Has(t.Context(), "small")
	require.ErrorContains(t, err, "tls")
}
