// Package kv is the seam under Chronik's metadata: an ordered map with
// revisions, compare-and-swap transactions, watches and leases, as etcd has it.
//
// Two implementations, kv/etcd and kv/memory, pass one suite (kv/kvtest);
// kv/faults wraps either. Nothing here knows what the keys mean: the typed
// stores in package metastore do.
package kv

import (
	"context"
	"errors"
	"time"
)

// Limits that every transaction keeps to, below those of a default etcd
// (128 operations counting compares, 1.5 MiB a request).
const (
	TxnOperationsMax = 100
	TxnBytesMax      = 512 << 10
)

// Errors of every implementation, to be tested with errors.Is.
var (
	// ErrUnknownOutcome: a transaction was sent and its answer was lost. It may
	// have been applied, may never be, and may still be applied later.
	ErrUnknownOutcome = errors.New("unknown outcome")
	// ErrUnavailable: the request certainly had no effect.
	ErrUnavailable = errors.New("metadata store unavailable")
	// ErrCompacted: a watch asked for revisions that are gone. Range again.
	ErrCompacted = errors.New("revision compacted")
	// ErrLeaseNotFound: the lease has expired or was revoked.
	ErrLeaseNotFound = errors.New("lease not found")
	// ErrTooLarge: the transaction is over the limits above, or names a key twice.
	ErrTooLarge = errors.New("transaction too large")
)

// LeaseID names a lease. 0 is no lease.
type LeaseID int64

// Entry is a key with its value and the revisions that made and last changed it.
// The bytes of Value must not be changed by anybody.
type Entry struct {
	Key            string
	Value          []byte
	CreateRevision int64
	ModRevision    int64
	Lease          LeaseID
}

// Compare is one condition of a transaction: the key's ModRevision equals
// ModRevision; 0 means that the key does not exist.
type Compare struct {
	Key         string
	ModRevision int64
	// Exists, when set, asks only that the key exists; ModRevision is ignored.
	Exists bool
}

// Op is a put or a delete.
type Op struct {
	Key    string
	Value  []byte  // ignored by a delete
	Lease  LeaseID // a put with a lease disappears with it
	Delete bool
}

// Put returns an Op that writes value under key.
func Put(key string, value []byte) Op { return Op{Key: key, Value: value} }

// PutLeased returns an Op that writes value for as long as the lease lives.
func PutLeased(key string, value []byte, lease LeaseID) Op {
	return Op{Key: key, Value: value, Lease: lease}
}

// Delete returns an Op that removes key; an absent key is no error.
func Delete(key string) Op { return Op{Key: key, Delete: true} }

// Txn applies Then if all of If hold, else Else. Atomically, in one revision.
type Txn struct {
	If   []Compare
	Then []Op
	Else []Op
	// Read lists keys whose entries are wanted with the answer, as they are
	// after the transaction, whichever branch was taken.
	Read []string
}

// TxnResult is the answer to a Txn.
type TxnResult struct {
	Succeeded bool             // If held
	Revision  int64            // the store's revision after the transaction
	Read      map[string]Entry // those of Txn.Read that exist
}

// Event is one change of one key.
type Event struct {
	Entry   // after a delete: only Key and ModRevision are set
	Deleted bool
}

// Changes are all the events of one or more whole revisions, in order.
// A revision is never split over two Changes.
type Changes struct {
	Revision int64 // everything up to and including this revision has been seen
	Events   []Event
	Err      error // set on the last value before the channel is closed
}

// Store is the map. All methods may be called at once.
type Store interface {
	// Get returns the entry, and whether it exists. The read is linearizable.
	Get(ctx context.Context, key string) (Entry, bool, error)

	// Range returns all entries whose keys begin with prefix, sorted by key,
	// as they were at the returned revision: one consistent snapshot, however
	// many requests it takes. Linearizable.
	Range(ctx context.Context, prefix string) ([]Entry, int64, error)

	// Txn applies a transaction. An error that wraps ErrUnknownOutcome leaves
	// open whether it was or will be applied; any other error means it was not.
	// Txn itself never sends a transaction twice.
	Txn(ctx context.Context, txn Txn) (TxnResult, error)

	// Watch sends every change under prefix from revision on (inclusive).
	// When nothing changes, it sends progress (a Revision without Events) at
	// times. The channel is closed after ctx ends or a value with Err, for
	// example ErrCompacted. Lost connections are made again underneath
	// without losing or repeating a change.
	Watch(ctx context.Context, prefix string, revision int64) <-chan Changes

	// Grant makes a lease that expires when it was not kept alive for ttl.
	Grant(ctx context.Context, ttl time.Duration) (LeaseID, error)

	// KeepAlive renews a lease once. Errors: ErrLeaseNotFound.
	KeepAlive(ctx context.Context, lease LeaseID) error

	// Revoke ends a lease and deletes its keys.
	Revoke(ctx context.Context, lease LeaseID) error

	// Close releases what the implementation holds; the data stays.
	Close() error
}

// Historian is a Store that keeps old revisions until somebody compacts them.
type Historian interface {
	// Compacted reports whether a revision that was is gone. It asks for key,
	// which need not exist, but has to be one that the user may read.
	Compacted(ctx context.Context, key string, revision int64) (bool, error)
}
