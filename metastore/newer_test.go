package metastore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
	"github.com/chronik-stream/chronik/objstore"
)

// reader is an operation that needs a value which no catalog has.
type reader func(ctx context.Context, s *metastore.Store, held *metastore.HeldSlot) error

// readers are those of each directory; nil: all nodes have it in their catalog.
var readers = map[string]reader{
	"brokers": nil, "compactors": nil, "config": nil, "damaged": nil, "draining": nil, "iceberg": nil, "manifests": nil,
	"owners": nil, "queries": nil, "quotas": nil, "segments": nil, "slots": nil, "topics": nil, "vectors": nil,
	"commits": func(ctx context.Context, s *metastore.Store, _ *metastore.HeldSlot) error {
		_, err := s.Register(ctx, metastore.Broker{ID: 1}, longTTL)
		return err
	},
	"deletions": func(ctx context.Context, s *metastore.Store, _ *metastore.HeldSlot) error {
		_, err := s.Deletions(ctx)
		return err
	},
	"producer-ids": func(ctx context.Context, s *metastore.Store, _ *metastore.HeldSlot) error {
		_, _, err := s.AllocateProducerIDs(ctx)
		return err
	},
	"offsets": func(ctx context.Context, s *metastore.Store, _ *metastore.HeldSlot) error {
		_, err := s.FetchOffsets(ctx, "g")
		return err
	},
	"states": loadGroup, "chunks": loadGroup,
}

func loadGroup(ctx context.Context, s *metastore.Store, held *metastore.HeldSlot) error {
	_, err := s.LoadGroup(ctx, held, "g")
	return err
}

// names are directories whose values are a name and nothing else.
var names = []string{"topic-ids"}

// TestAValueOfALaterVersionIsRefusedByNameAndStays is the promise to a cluster whose
// nodes are replaced one after the other: what a newer one has written, and an older
// one must not pass over, that one does not read as if it were its own, nor write
// over it.
func TestAValueOfALaterVersionIsRefusedByNameAndStays(t *testing.T) {
	s, k := openMemory(t)
	held := writeOneOfEach(t, s)
	seen := map[string]bool{}
	for _, root := range []string{"/chronik-groups/test/", "/chronik/test/"} { // s follows the second
		entries, _, err := k.Range(t.Context(), root)
		require.NoError(t, err)
		for _, e := range entries {
			dir, _, _ := strings.Cut(strings.TrimPrefix(e.Key, root), "/")
			if strings.Contains(strings.Join(names, " "), dir) {
				continue
			}
			read, known := readers[dir]
			require.True(t, known, "who reads %s?", e.Key)
			seen[dir] = true
			later := laterVersion(e.Value)
			put(t, k, e, later)
			err := refusal(t, k, read, held)
			require.ErrorIs(t, err, format.ErrVersion, e.Key)
			require.ErrorContains(t, err, e.Key)
			require.ErrorContains(t, err, "version 2, this build reads up to 1", e.Key)
			still, _, err := k.Get(t.Context(), e.Key)
			require.NoError(t, err)
			require.Equal(t, string(later), string(still.Value), e.Key)
			put(t, k, e, e.Value)
		}
	}
	require.Len(t, seen, len(readers), "one of each was there")
	<-s.Done()
	require.ErrorIs(t, s.Err(), format.ErrVersion, "who met it while it followed")
}

// refusal is why a store does not open, or else why the operation fails.
func refusal(t *testing.T, k *memory.Store, read reader, held *metastore.HeldSlot) error {
	s, err := metastore.Open(t.Context(), k, metastore.Options{Cluster: "test"})
	if err != nil || read == nil {
		return err
	}
	defer s.Close()
	return read(within(t, patience), s, held)
}

// laterVersion is a value as a later version would write it.
func laterVersion(value []byte) []byte {
	if value[0] == '{' {
		return append([]byte(`{"v":2,"what":"else",`), value[1:]...)
	}
	body := bytes.Clone(value[:len(value)-4])
	body[0]++
	return binary.BigEndian.AppendUint32(body, crc32.Checksum(body, format.Castagnoli))
}

func put(t *testing.T, k kv.Store, e kv.Entry, value []byte) {
	t.Helper()
	_, err := k.Txn(t.Context(), kv.Txn{Then: []kv.Op{kv.PutLeased(e.Key, value, e.Lease)}})
	require.NoError(t, err)
}

// writeOneOfEach writes values of every kind.
func writeOneOfEach(t *testing.T, s *metastore.Store) *metastore.HeldSlot {
	ctx := t.Context()
	tp := createTopic(t, s, "orders", 1)
	p := topic.Partition{Topic: tp.ID}
	bs := register(t, s, 1)
	take(t, s, bs, p)
	require.NoError(t, s.Commit(ctx, bs, segment(bs, 1, span(p, 0, 10))))
	require.NoError(t, s.SwapManifests(ctx, []metastore.ManifestSwap{swapTo(s, p, "m/1", 5)}, []metastore.Deletion{{Object: "old"}}))
	require.NoError(t, s.SwapIceberg(ctx, tp.ID, metastore.IcebergTable{}, metastore.IcebergTable{Object: "v1", Version: 1}, nil))
	require.NoError(t, s.ReportDamage(ctx, objstore.ParquetName(p, ulid.Make()), "flipped"))
	require.NoError(t, s.RebuildVectors(ctx, tp.ID))
	require.NoError(t, s.SetDraining(ctx, 7, true))
	_, err := s.UpdateConfig(ctx, metastore.ConfigResource{Kind: metastore.ConfigBrokers}, func(map[string]string) (map[string]string, error) {
		return map[string]string{"v": "9"}, nil // no version
	})
	require.NoError(t, err)
	require.NoError(t, s.UpdateQuota(ctx, metastore.QuotaEntity{ClientID: metastore.QuotaNamed("c")}, func(map[string]float64) (map[string]float64, error) {
		return map[string]float64{"v": 9}, nil
	}))
	for _, register := range []func(context.Context, metastore.Member, time.Duration) (*metastore.Membership, error){s.RegisterCompactor, s.RegisterQuery} {
		member, err := register(ctx, metastore.Member{ID: "m"}, longTTL)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, member.Close(context.WithoutCancel(ctx))) })
	}
	_, _, err = s.AllocateProducerIDs(ctx)
	require.NoError(t, err)
	held := hold(t, s, bs, "g")
	require.NoError(t, s.CommitOffsets(ctx, held, "g", map[topic.Partition]metastore.OffsetCommit{p: {Offset: 7}}))
	group, err := s.LoadGroup(ctx, held, "g")
	require.NoError(t, err)
	require.NoError(t, group.Write(ctx, metastore.GroupState{Head: []byte("h"), Rows: map[string][]byte{"m": []byte("row")}}))
	return held
}
