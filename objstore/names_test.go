package objstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/memory"
	"github.com/chronik-stream/chronik/objstore/objtest"
)

var (
	id        = ulid.MustParse("01KAQ5Z3M0ABCDEFGHJKMNPQRS")
	partition = topic.Partition{Topic: topic.ID{0xab, 15: 1}, Index: 7}
)

func TestNamesParseBack(t *testing.T) {
	const ofTopic = "topics/ab000000-0000-0000-0000-000000000001/7/"
	topicPrefix := objstore.PrefixOfTopic(partition.Topic)
	for name, want := range map[string]struct {
		built string
		name  objstore.Name
	}{
		"segments/01KAQ5Z3M0ABCDEFGHJKMNPQRS-3-42.segment": {objstore.SegmentName(3, 42, id),
			objstore.Name{Kind: objstore.KindSegment, ID: id, Broker: 3, Session: 42}},
		"segments/01KAQ5Z3M0ABCDEFGHJKMNPQRS-merged.segment": {objstore.MergedSegmentName(id),
			objstore.Name{Kind: objstore.KindSegment, ID: id, Merged: true}},
		ofTopic + "log/01KAQ5Z3M0ABCDEFGHJKMNPQRS.log": {objstore.LogFileName(partition, id),
			objstore.Name{Kind: objstore.KindLog, ID: id, Partition: partition}},
		ofTopic + "arrow/01KAQ5Z3M0ABCDEFGHJKMNPQRS.arrow": {objstore.ArrowName(partition, id),
			objstore.Name{Kind: objstore.KindArrow, ID: id, Partition: partition}},
		ofTopic + "parquet/01KAQ5Z3M0ABCDEFGHJKMNPQRS.parquet": {objstore.ParquetName(partition, id),
			objstore.Name{Kind: objstore.KindParquet, ID: id, Partition: partition}},
		ofTopic + "split/01KAQ5Z3M0ABCDEFGHJKMNPQRS.split": {objstore.SplitName(partition, id),
			objstore.Name{Kind: objstore.KindSplit, ID: id, Partition: partition}},
		ofTopic + "shard/01KAQ5Z3M0ABCDEFGHJKMNPQRS.shard": {objstore.ShardName(partition, id),
			objstore.Name{Kind: objstore.KindShard, ID: id, Partition: partition}},
		ofTopic + "page/01KAQ5Z3M0ABCDEFGHJKMNPQRS.page": {objstore.PageName(partition, id),
			objstore.Name{Kind: objstore.KindPage, ID: id, Partition: partition}},
		topicPrefix + "iceberg/01KAQ5Z3M0ABCDEFGHJKMNPQRS.metadata.json": {objstore.IcebergName(partition.Topic, objstore.KindIcebergMetadata, id),
			objstore.Name{Kind: objstore.KindIcebergMetadata, ID: id, Topic: partition.Topic}},
		topicPrefix + "iceberg/01KAQ5Z3M0ABCDEFGHJKMNPQRS-3-70.deletes.parquet": {objstore.IcebergDeletesName(partition.Topic, id, 3, 70),
			objstore.Name{Kind: objstore.KindIcebergDeletes, ID: id, Topic: partition.Topic, Masked: 3, Cut: 70}},
		"manifests/01KAQ5Z3M0ABCDEFGHJKMNPQRS.manifest": {objstore.ManifestName(id),
			objstore.Name{Kind: objstore.KindManifest, ID: id}},
	} {
		require.Equal(t, name, want.built)
		require.NoError(t, objstore.ValidateName(name))
		got, err := objstore.ParseName(name)
		require.NoError(t, err)
		require.Equal(t, want.name, got)
		require.Equal(t, name, got.String())
		require.WithinDuration(t, ulid.Time(id.Time()), got.Created(), time.Millisecond)
	}
}

func TestForeignNamesAreNotOurs(t *testing.T) {
	for _, name := range []string{
		"", "x", "segments/", "segments/x.segment",
		"segments/01KAQ5Z3M0ABCDEFGHJKMNPQRS.segment",
		"segments/01KAQ5Z3M0ABCDEFGHJKMNPQRS-3-042.segment",
		"segments/01KAQ5Z3M0ABCDEFGHJKMNPQRS--3-42.segment",
		"segments/01kaq5z3m0abcdefghjkmnpqrs-3-42.segment",
		"other/01KAQ5Z3M0ABCDEFGHJKMNPQRS-3-42.segment",
		"manifests/01KAQ5Z3M0ABCDEFGHJKMNPQRS.manifest.tmp",
		"manifests/01KAQ5Z3M0ABCDEFGHJKMNPQRS.log",
		"topics/ab000000-0000-0000-0000-000000000001/7/log/01KAQ5Z3M0ABCDEFGHJKMNPQRS.parquet",
		"topics/ab000000-0000-0000-0000-000000000001/+7/log/01KAQ5Z3M0ABCDEFGHJKMNPQRS.log",
		"topics/nonsense/iceberg/01KAQ5Z3M0ABCDEFGHJKMNPQRS.metadata.json",
		"topics/nonsense/7/log/01KAQ5Z3M0ABCDEFGHJKMNPQRS.log",
	} {
		_, err := objstore.ParseName(name)
		require.ErrorIs(t, err, objstore.ErrName, name)
	}
}

// FuzzParseName: whatever parses is exactly the name that its meaning builds.
func FuzzParseName(f *testing.F) {
	f.Add(objstore.SegmentName(3, 42, id))
	f.Add(objstore.LogFileName(partition, id))
	f.Add(objstore.ManifestName(id))
	f.Fuzz(func(t *testing.T, name string) {
		n, err := objstore.ParseName(name)
		if err != nil {
			require.ErrorIs(t, err, objstore.ErrName)
			return
		}
		require.Equal(t, name, n.String())
		require.NoError(t, objstore.ValidateName(name))
	})
}

func TestPrefixKeepsTheContract(t *testing.T) {
	objtest.Run(t, func(t *testing.T) objstore.Bucket {
		whole := memory.New()
		objtest.Put(t, whole, "clusters/on", []byte("a neighbour"))
		objtest.Put(t, whole, "clusters/one-more/x", []byte("a neighbour"))
		b, err := objstore.WithPrefix(whole, "/clusters/one/")
		require.NoError(t, err)
		return b
	})
}

func TestPrefixSeparatesClusters(t *testing.T) {
	whole := memory.New()
	one, err := objstore.WithPrefix(whole, "one")
	require.NoError(t, err)
	two, err := objstore.WithPrefix(whole, "two")
	require.NoError(t, err)
	objtest.Put(t, one, "o", []byte("1"))
	_, err = two.Head(t.Context(), "o")
	require.ErrorIs(t, err, objstore.ErrNotFound)
	_, err = two.Get(t.Context(), "../one/o", 0, -1)
	require.ErrorIs(t, err, objstore.ErrName)
	names, err := objtest.Names(whole.List(t.Context(), ""))
	require.NoError(t, err)
	require.Equal(t, []string{"one/o"}, names)
	_, err = objstore.WithPrefix(whole, "a/../b")
	require.ErrorIs(t, err, objstore.ErrName)
}

func TestPrefixesOfTopicsParseBack(t *testing.T) {
	prefix := objstore.PrefixOfTopic(partition.Topic)
	got, err := objstore.ParseTopicPrefix(prefix)
	require.NoError(t, err)
	require.Equal(t, partition.Topic, got)
	require.True(t, strings.HasPrefix(objstore.LogFileName(partition, id), prefix))
	for _, foreign := range []string{"", "/", "topics/", "topics/x/", strings.TrimSuffix(prefix, "/"), "other/" + prefix, prefix + "7/"} {
		_, err := objstore.ParseTopicPrefix(foreign)
		require.ErrorIs(t, err, objstore.ErrName, foreign)
	}
}
