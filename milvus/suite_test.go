package milvus_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/milvus"
)

// addressVariable says where a real one is:
// CHRONIK_TEST_MILVUS=127.0.0.1:19530 go test ./milvus
const addressVariable = "CHRONIK_TEST_MILVUS"

func TestARealMilvusPassesTheSuite(t *testing.T) {
	address := os.Getenv(addressVariable)
	if address == "" {
		t.Skipf("no %s: docs/milvus.md says how the suite is run against Milvus Lite", addressVariable)
	}
	suite(t, address)
}

func suite(t *testing.T, address string) {
	for _, kind := range []vectorindex.Kind{vectorindex.Flat, vectorindex.IVF, vectorindex.HNSW} {
		for _, metric := range []vectorindex.Metric{vectorindex.Cosine, vectorindex.Euclidean, vectorindex.Dot} {
			for _, encoding := range []vectorindex.Encoding{vectorindex.F32, vectorindex.F16, vectorindex.Int8} {
				if milvus.Supported(kind, encoding) != nil {
					continue
				}
				t.Run(fmt.Sprintf("%v/%v/%v", kind, metric, encoding), func(t *testing.T) {
					s := begin(t, address, milvus.Collection{Dimensions: 16, Metric: metric, Kind: kind, Encoding: encoding, M: 16, EfConstruction: 100})
					s.fill(3, 200)
					s.findsWhatAnExactSearchFinds()
				})
			}
		}
	}
	flat := milvus.Collection{Dimensions: 8, Metric: vectorindex.Euclidean, Kind: vectorindex.Flat, Encoding: vectorindex.F32}
	t.Run("what is done twice is done once", func(t *testing.T) {
		s := begin(t, address, flat)
		s.fill(1, 50)
		_, err := s.Ensure(t.Context(), s.collection)
		require.NoError(t, err)
		for partition, rows := range s.rows {
			require.NoError(t, s.Upsert(t.Context(), s.collection, rows), partition)
		}
		n, err := s.Count(t.Context(), s.collection.Name, -1)
		require.NoError(t, err)
		require.EqualValues(t, 50, n)
		require.NoError(t, s.Drop(t.Context(), s.collection.Name))
		require.NoError(t, s.Drop(t.Context(), s.collection.Name))
	})
	t.Run("a collection in the place of another is told from it", func(t *testing.T) {
		s := begin(t, address, flat)
		again := s.collection
		again.Incarnation = "second"
		incarnation, err := s.Ensure(t.Context(), again)
		require.NoError(t, err)
		if incarnation == "" {
			t.Skip("this one forgets the descriptions of collections, as Milvus Lite 3 does")
		}
		require.Equal(t, "first", incarnation)
		require.NoError(t, s.Drop(t.Context(), s.collection.Name))
		_, err = s.Incarnation(t.Context(), s.collection.Name)
		require.ErrorIs(t, err, milvus.ErrMissing)
		_, err = s.Ensure(t.Context(), again)
		require.NoError(t, err)
		incarnation, err = s.Incarnation(t.Context(), s.collection.Name)
		require.NoError(t, err)
		require.Equal(t, "second", incarnation)
	})
	t.Run("what is deleted is not found", func(t *testing.T) {
		s := begin(t, address, flat)
		s.fill(2, 60)
		require.NoError(t, s.DeleteRange(t.Context(), s.collection.Name, milvus.Range{Partition: 1, Next: 20}))
		require.NoError(t, s.Delete(t.Context(), s.collection.Name, 0, []int64{7, 9, 5000}))
		require.NoError(t, s.Delete(t.Context(), s.collection.Name, 0, []int64{7}))
		for partition, want := range []int64{58, 40} {
			n, err := s.Count(t.Context(), s.collection.Name, int32(partition))
			require.NoError(t, err)
			require.Equal(t, want, n, partition)
		}
		hits, err := s.Search(t.Context(), s.collection, milvus.Query{Vector: s.vector(), K: 500, Ranges: s.all()})
		require.NoError(t, err)
		require.Len(t, hits, 98)
		for _, h := range hits {
			require.False(t, h.Partition == 1 && h.Offset < 20 || h.Partition == 0 && (h.Offset == 7 || h.Offset == 9), "%+v", h)
		}
	})
	t.Run("a collection that is not there is named so", func(t *testing.T) {
		s := begin(t, address, flat)
		require.NoError(t, s.Drop(t.Context(), s.collection.Name))
		_, err := s.Search(t.Context(), s.collection, milvus.Query{Vector: s.vector(), K: 1, Ranges: []milvus.Range{{Next: 10}}})
		require.ErrorIs(t, err, milvus.ErrMissing)
		require.False(t, milvus.Temporary(err))
		yes, err := s.Has(t.Context(), s.collection.Name)
		require.NoError(t, err)
		require.False(t, yes)
	})
	t.Run("collections are listed by how they begin", func(t *testing.T) {
		s := begin(t, address, flat)
		names, err := s.Collections(t.Context(), s.collection.Name)
		require.NoError(t, err)
		require.Equal(t, []string{s.collection.Name}, names)
		names, err = s.Collections(t.Context(), "x"+s.collection.Name)
		require.NoError(t, err)
		require.Empty(t, names)
	})
}

// subject is a collection with what was put into it.
type subject struct {
	*milvus.Client
	t          *testing.T
	collection milvus.Collection
	rows       []milvus.Rows
	random     *rand.Rand
}

func begin(t *testing.T, address string, c milvus.Collection) *subject {
	client, err := milvus.Open(milvus.Config{Address: address, RequestTimeout: time.Minute})
	require.NoError(t, err)
	c.Name = fmt.Sprintf("chronik_test_%d_%d", os.Getpid(), rand.Uint64())
	t.Cleanup(func() {
		require.NoError(t, client.Drop(context.Background(), c.Name))
		require.NoError(t, client.Close())
	})
	c.Incarnation = "first"
	if _, err := client.Ensure(t.Context(), c); err != nil && regexp.MustCompile(`local mode only support|MilvusLite does not support`).MatchString(err.Error()) {
		t.Skipf("Milvus Lite does not have it: %v", err)
	} else {
		require.NoError(t, err)
	}
	return &subject{Client: client, t: t, collection: c, random: rand.New(rand.NewPCG(1, 2))}
}

func (s *subject) vector() []float32 {
	v := make([]float32, s.collection.Dimensions)
	for i := range v {
		v[i] = float32(s.random.NormFloat64())
	}
	return v
}

// fill puts records from offset 0 on into so many partitions. Timestamps are
// 1000 + offset.
func (s *subject) fill(partitions int32, records int64) {
	for p := range partitions {
		rows := milvus.Rows{Partition: p}
		for offset := range records {
			rows.Offsets = append(rows.Offsets, offset)
			rows.Timestamps = append(rows.Timestamps, 1000+offset)
			rows.Vectors = append(rows.Vectors, s.vector()...)
		}
		require.NoError(s.t, s.Upsert(s.t.Context(), s.collection, rows))
		s.rows = append(s.rows, rows)
	}
}

func (s *subject) all() []milvus.Range {
	var all []milvus.Range
	for p, rows := range s.rows {
		all = append(all, milvus.Range{Partition: int32(p), Next: rows.Offsets[len(rows.Offsets)-1] + 1})
	}
	return all
}

func (s *subject) findsWhatAnExactSearchFinds() {
	for _, filter := range []struct {
		name   string
		ranges []milvus.Range
		times  *vectorindex.Times
	}{
		{"all", s.all(), nil},
		{"partition", s.all()[1:2], nil},
		{"offsets", []milvus.Range{{Partition: 0, First: 10, Next: 50}, {Partition: 2, First: 10, Next: 50}, {Partition: 1, First: 180, Next: 200}}, nil},
		{"times", s.all(), &vectorindex.Times{Least: 1100, Greatest: 1120}},
		{"nothing", []milvus.Range{{Partition: 9, Next: 50}}, nil},
	} {
		query := s.vector()
		want := s.exact(query, filter.ranges, filter.times)
		got, err := s.Search(s.t.Context(), s.collection, milvus.Query{Vector: query, K: 10, Ranges: filter.ranges, Times: filter.times, Ef: 600, Probes: 1024})
		require.NoError(s.t, err, filter.name)
		require.Len(s.t, got, min(10, len(want)), filter.name)
		want = want[:len(got)]
		found := 0
		for _, h := range got {
			i := slices.IndexFunc(want, func(w milvus.Hit) bool { return w.Partition == h.Partition && w.Offset == h.Offset })
			if i < 0 {
				continue
			}
			found++
			require.Equal(s.t, 1000+h.Offset, h.Timestamp, filter.name)
			within := 1e-4
			if s.collection.Encoding != vectorindex.F32 {
				within = 0.05
			}
			require.InDelta(s.t, want[i].Distance, h.Distance, within, filter.name)
		}
		require.GreaterOrEqual(s.t, found, len(want)*9/10, filter.name)
	}
}

func (s *subject) exact(query []float32, ranges []milvus.Range, times *vectorindex.Times) []milvus.Hit {
	var hits []milvus.Hit
	n := s.collection.Dimensions
	for _, rows := range s.rows {
		for i, offset := range rows.Offsets {
			in := slices.ContainsFunc(ranges, func(r milvus.Range) bool {
				return r.Partition == rows.Partition && r.First <= offset && offset < r.Next
			})
			at := rows.Timestamps[i]
			if in && (times == nil || times.Least <= at && at <= times.Greatest) {
				d := s.collection.Metric.Distance(query, rows.Vectors[i*n:(i+1)*n])
				hits = append(hits, milvus.Hit{Partition: rows.Partition, Hit: vectorindex.Hit{Offset: offset, Timestamp: at, Distance: float32(d)}})
			}
		}
	}
	slices.SortFunc(hits, func(a, b milvus.Hit) int {
		if a.Distance < b.Distance {
			return -1
		}
		return 1
	})
	return hits
}
