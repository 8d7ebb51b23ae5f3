package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
)

// Objects are found through the metadata alone, and what these do not name is
// swept. So a node must not run on metadata and a bucket that do not belong
// together: a wrong prefix would hide every record, and an emptied etcd beside a
// full bucket would have the bucket swept a day later. The bucket has an
// identity, and the metadata name it.

// errPair means: metadata and bucket do not belong together.
var errPair = errors.New("metadata and bucket do not belong together")

// pair holds the identities of bucket and metadata against each other. A pair
// that is new gets one, if writes holds: a query node may have no right to write.
func pair(ctx context.Context, store *metastore.Store, bucket objstore.Bucket, writes bool) error {
	named, err := store.BucketID(ctx)
	if err != nil {
		return err
	}
	found, err := objstore.ReadIdentity(ctx, bucket)
	absent := errors.Is(err, objstore.ErrNotFound)
	switch {
	case err != nil && !absent:
		return err
	case named != "" && absent:
		return fmt.Errorf("%w: the metadata are of bucket %s, and this one has no object %s: is it the right bucket, and the right prefix?", errPair, named, objstore.IdentityName)
	case named != "" && named != found.ID:
		return fmt.Errorf("%w: the metadata are of bucket %s, and this one is %s (%s): is it the right bucket, and the right prefix?", errPair, named, found.ID, objstore.IdentityName)
	case named != "" || !writes:
		return nil
	}
	if unheardOf(store.Catalog()) {
		full, err := objstore.HasData(ctx, bucket)
		if err != nil {
			return err
		}
		if full {
			return fmt.Errorf("%w: the metadata are empty, and the bucket has objects, which would be deleted as orphans: "+
				"name the etcd that these are of, or restore its snapshot, or choose another bucket, prefix or cluster name", errPair)
		}
	}
	if found, err = objstore.GiveIdentity(ctx, bucket); err != nil {
		return err
	}
	if named, err = store.SetBucketID(ctx, found.ID); err != nil {
		return err
	}
	if named != found.ID {
		return fmt.Errorf("%w: another node has just started on bucket %s, and this one is %s", errPair, named, found.ID)
	}
	return nil
}

// startPairing compares at once, or, while the store of the bucket is away, as
// soon as it is back.
func startPairing(ctx context.Context, n *Node) (running, error) {
	writes := n.cfg.Has(RoleBroker) || n.cfg.Has(RoleCompactor)
	compare := func(ctx context.Context, within time.Duration) error {
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		return pair(ctx, n.parts.metadata, n.parts.bucket, writes)
	}
	away := func(err error) bool {
		return errors.Is(err, objstore.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
	}
	err := compare(ctx, pairAtOnce)
	if err == nil {
		return closing(func() error { return nil }), nil
	}
	if !away(err) || ctx.Err() != nil {
		return running{}, err
	}
	n.log.Warn("the bucket does not answer: whether it is the one of these metadata is seen later", "error", err)
	return background(func(ctx context.Context) error {
		for away(err) {
			select {
			case <-time.After(openAgainAfter):
			case <-ctx.Done():
				return ctx.Err()
			}
			err = compare(ctx, pairWithin)
		}
		if err == nil {
			<-ctx.Done()
			err = ctx.Err()
		}
		return err
	}), nil
}

const (
	// pairAtOnce is how long a start waits for the comparison: a broker serves
	// without its bucket.
	pairAtOnce = 3 * time.Second
	// pairWithin bounds each comparison after that.
	pairWithin = 15 * time.Second
)
