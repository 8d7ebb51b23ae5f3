package search

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/committed"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
	"github.com/chronik-stream/chronik/objstore"
	objmemory "github.com/chronik-stream/chronik/objstore/memory"
	"github.com/chronik-stream/chronik/query/filecache"
	"github.com/chronik-stream/chronik/query/masks"
	"github.com/chronik-stream/chronik/query/places"
	"github.com/chronik-stream/chronik/query/snapshot"
	"github.com/chronik-stream/chronik/query/splitcache"
	"github.com/chronik-stream/chronik/query/tail"
	"github.com/chronik-stream/chronik/query/tail/tailtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a searcher with what it needs of the others: a metadata store, a bucket,
// and a broker that serves topic logs.
type node struct {
	*Searcher
	t      testing.TB
	store  *metastore.Store
	bucket objstore.Bucket
	broker *tailtest.Broker
	tails  *tail.Tails
	files  *filecache.Cache
	topic  metastore.Topic
}

func newNode(t testing.TB, partitions int, edit ...func(*Config)) *node {
	k := memory.New()
	t.Cleanup(func() { require.NoError(t, k.Close()) })
	store, err := metastore.Open(t.Context(), k, metastore.Options{Cluster: "test"})
	require.NoError(t, err)
	t.Cleanup(store.Close)
	n := &node{t: t, store: store, bucket: objmemory.New(), broker: tailtest.New(t, "logs", partitions)}
	n.topic, err = store.CreateTopic(t.Context(), metastore.Topic{Name: "logs", Partitions: int32(partitions), Config: map[string]string{"searchable": "true"}})
	require.NoError(t, err)
	_, err = store.CreateTopic(t.Context(), metastore.Topic{Name: "plain", Partitions: 1})
	require.NoError(t, err)
	require.NoError(t, store.CatchUp(t.Context()))
	n.tails, err = tail.Open(tail.Options{
		Dir: filepath.Join(t.TempDir(), "tail"), Seeds: func() []string { return []string{n.broker.Address()} },
		Exists: func(name string, id topic.ID) bool {
			got, ok := store.Catalog().Topic(name)
			return ok && got.ID == id
		},
	})
	require.NoError(t, err)
	t.Cleanup(n.tails.Close)
	n.files, err = filecache.Open(n.bucket, filecache.Options{Dir: filepath.Join(t.TempDir(), "objects")})
	require.NoError(t, err)
	splits := splitcache.New(n.files, splitcache.Options{WholeBytes: 2 << 10}) // so that there are of both kinds
	t.Cleanup(splits.Close)
	t.Cleanup(n.files.Close)
	c := Config{
		Splits: splits, Masks: masks.New(n.files),
		Sources: &snapshot.Sources{
			Catalog: store.Catalog(), Manifests: committed.NewReader(store.Catalog(), n.bucket, committed.Options{}), Tails: n.tails,
			CatchUp: store.CatchUp, ReportDamage: store.ReportDamage, Log: slog.New(slog.DiscardHandler),
		},
		Places: places.New(places.Options{RunningMax: 4, WaitingMax: 100, WaitMax: 10 * time.Second}),
	}
	for _, f := range edit {
		f(&c)
	}
	n.Searcher = New(c)
	return n
}

// ask is a search that succeeds.
func (n *node) ask(body string, o ...Options) *Answer {
	n.t.Helper()
	a, err := n.try(body, append(o, Options{})[0])
	require.NoError(n.t, err)
	return a
}

func (n *node) try(body string, o Options) (*Answer, error) {
	r, err := textquery.Parse([]byte(body))
	require.NoError(n.t, err)
	return n.Search(n.t.Context(), []string{"logs"}, r, o)
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestARecordIsFoundAsSoonAsItWasAcknowledged(t *testing.T) {
	n := newNode(t, 2)
	require.Zero(t, n.ask(`{}`).Total)
	for i := range 40 {
		n.broker.Produce(t, i%2, 0, fmt.Sprintf(`{"message":"word%d common","n":%d}`, i, i))
		a := n.ask(fmt.Sprintf(`{"query":{"match":{"message":"word%d"}}}`, i))
		require.Len(t, a.Hits, 1)
		require.Equal(t, fmt.Sprintf("logs-%d-%d", i%2, i/2), a.Hits[0].ID())
		require.JSONEq(t, fmt.Sprintf(`{"message":"word%d common","n":%d}`, i, i), string(a.Hits[0].Value))
		require.EqualValues(t, i+1, n.ask(`{"query":{"match":{"message":"common"}},"track_total_hits":true}`).Total)
		require.Zero(t, a.Coverage["logs"].LagRecords)
	}
	a := n.ask(`{"size":0}`)
	require.Equal(t, Coverage{Partitions: map[int32]snapshot.PartitionCoverage{0: {From: 0, To: 20, HighWatermark: 20}, 1: {From: 0, To: 20, HighWatermark: 20}}}, a.Coverage["logs"])
	require.Equal(t, Shards{Total: 2, Successful: 2}, a.Shards)

	hit, err := n.Doc(t.Context(), "logs", 1, 7, Options{})
	require.NoError(t, err)
	require.Equal(t, "k7", string(hit.Key))
	require.JSONEq(t, `{"message":"word15 common","n":15}`, string(hit.Value))
	require.EqualValues(t, 1_700_000_000_007, hit.Timestamp)
	hit, err = n.Doc(t.Context(), "logs", 1, 20, Options{})
	require.NoError(t, err)
	require.Nil(t, hit)
	counts, err := n.Counts(t.Context(), []string{"logs"})
	require.NoError(t, err)
	require.Equal(t, map[string]Counts{"logs": {Documents: 40}}, counts)
	mapping, err := n.Mapping(t.Context(), []string{"logs"})
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(mapping), "message")
}

func TestWhatCannotBeSearchedIsRefusedByName(t *testing.T) {
	n := newNode(t, 1)
	r := textquery.NewRequest()
	_, err := n.Search(t.Context(), []string{"logs", "gone"}, r, Options{})
	var unknown *UnknownTopicError
	require.ErrorAs(t, err, &unknown)
	require.Equal(t, "gone", unknown.Topic)
	_, err = n.Search(t.Context(), []string{"plain"}, r, Options{})
	var not *NotSearchableError
	require.ErrorAs(t, err, &not)
	n.broker.Produce(t, 0, 0, `{"a":1}`)
	_, err = n.try(`{"sort":["nothing"]}`, Options{})
	var refused *textquery.Error
	require.ErrorAs(t, err, &refused)
}

func TestLatestNamesThePartitionsThatLagAndOthersAnswer(t *testing.T) {
	n := newNode(t, 1)
	n.broker.Produce(t, 0, 0, `{"a":"x"}`)
	require.EqualValues(t, 1, n.ask(`{}`).Total)
	n.broker.Mute(true)
	_, err := n.try(`{}`, Options{Timeout: 300 * time.Millisecond})
	var lagging *tail.LaggingError
	require.ErrorAs(t, err, &lagging)
	require.Equal(t, "logs", lagging.Topic)
	require.Len(t, lagging.Partitions, 1)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.EqualValues(t, 1, n.ask(`{}`, Options{Freshness: "available"}).Total)
	require.Zero(t, n.ask(`{}`, Options{Freshness: "cold"}).Total)
}

func TestASearchWithoutAPlaceIsRefused(t *testing.T) {
	held := places.New(places.Options{RunningMax: 1, WaitingMax: 1, WaitMax: 20 * time.Millisecond})
	n := newNode(t, 1, func(c *Config) { c.Places = held })
	require.NoError(t, held.Take(t.Context()))
	_, err := n.try(`{}`, Options{Freshness: "cold"})
	var busy *places.BusyError
	require.ErrorAs(t, err, &busy)
	held.Leave()
	n.ask(`{}`)
	require.NoError(t, held.Take(within(t, time.Second)), "the search left its place")
}
