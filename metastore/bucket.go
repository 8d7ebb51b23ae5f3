package metastore

import (
	"context"

	"github.com/chronik-stream/chronik/metastore/kv"
)

// BucketID returns the identity of the bucket that these metadata are of. Empty:
// none has been set yet.
func (s *Store) BucketID(ctx context.Context) (string, error) {
	key := s.keys.bucket()
	result, _, err := s.settle(ctx, "read the bucket's identity", kv.Txn{Read: []string{key}})
	if err != nil {
		return "", err
	}
	return string(result.Read[key].Value), nil
}

// SetBucketID sets the identity of the bucket, once and for all, and returns the
// one that is set: another caller's, if that came first.
func (s *Store) SetBucketID(ctx context.Context, id string) (string, error) {
	key := s.keys.bucket()
	if _, _, err := s.settle(ctx, "set the bucket's identity", kv.Txn{
		If:   []kv.Compare{{Key: key}},
		Then: []kv.Op{kv.Put(key, []byte(id))},
	}); err != nil {
		return "", err
	}
	return s.BucketID(ctx)
}
