package node

import (
	"errors"
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/metastore/kv/memory"
	"github.com/chronik-stream/chronik/objstore"
	bucket "github.com/chronik-stream/chronik/objstore/memory"
)

// world is a cluster's metadata and bucket.
type world struct {
	store  *metastore.Store
	bucket objstore.Bucket
}

func newWorld(t *testing.T) world {
	t.Helper()
	k := memory.New()
	t.Cleanup(func() { _ = k.Close() })
	s, err := metastore.Open(t.Context(), k, metastore.Options{Cluster: "c"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return world{s, bucket.New()}
}

// object puts one that is no identity.
func (w world) object(t *testing.T) {
	t.Helper()
	if _, err := w.bucket.Put(t.Context(), "segments/x.segment", objstore.Bytes([]byte("x")), objstore.Condition{}); err != nil {
		t.Fatal(err)
	}
}

func (w world) topic(t *testing.T) {
	t.Helper()
	if _, err := w.store.CreateTopic(t.Context(), metastore.Topic{Name: "t", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
}

func (w world) pair(t *testing.T, writes bool) error {
	t.Helper()
	return pair(t.Context(), w.store, w.bucket, writes)
}

func refused(t *testing.T, err error, why string) {
	t.Helper()
	if !errors.Is(err, errPair) || !strings.Contains(err.Error(), why) {
		t.Errorf("want a refusal that says %q, got %v", why, err)
	}
}

func TestMetadataAndBucketArePairedOnce(t *testing.T) {
	w := newWorld(t)
	if err := w.pair(t, false); err != nil {
		t.Errorf("a query node before the first broker: %v", err)
	}
	if _, err := objstore.ReadIdentity(t.Context(), w.bucket); !errors.Is(err, objstore.ErrNotFound) {
		t.Errorf("a query node wrote: %v", err)
	}
	for range 2 {
		if err := w.pair(t, true); err != nil {
			t.Fatal(err)
		}
		w.object(t)
	}
	w.topic(t)
	if err := w.pair(t, false); err != nil {
		t.Error(err)
	}
	first, err := objstore.ReadIdentity(t.Context(), w.bucket)
	if named, err2 := w.store.BucketID(t.Context()); err != nil || err2 != nil || named != first.ID || len(named) != 26 {
		t.Errorf("%q, %+v, %v", named, first, errors.Join(err, err2))
	}
}

func TestWhatDoesNotBelongTogetherIsRefused(t *testing.T) {
	one, other := newWorld(t), newWorld(t)
	for _, w := range []world{one, other} {
		if err := w.pair(t, true); err != nil {
			t.Fatal(err)
		}
	}
	for _, writes := range []bool{false, true} {
		refused(t, world{one.store, other.bucket}.pair(t, writes), "the right prefix")
		refused(t, world{one.store, bucket.New()}.pair(t, writes), "has no object cluster.json")
	}
	one.object(t)
	fresh := newWorld(t)
	refused(t, world{fresh.store, one.bucket}.pair(t, true), "deleted as orphans")
}

func TestAPairThatIsHalfMadeIsFinished(t *testing.T) {
	w := newWorld(t)
	given, err := objstore.GiveIdentity(t.Context(), w.bucket) // and the process died
	if err == nil {
		err = w.pair(t, true)
	}
	if named, err2 := w.store.BucketID(t.Context()); err != nil || err2 != nil || named != given.ID {
		t.Errorf("%q, %+v, %v", named, given, errors.Join(err, err2))
	}
	// A cluster of an earlier version has data and no identity.
	older := newWorld(t)
	older.object(t)
	older.topic(t)
	if err := older.pair(t, true); err != nil {
		t.Error(err)
	}
}
