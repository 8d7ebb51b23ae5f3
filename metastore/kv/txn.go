package kv

import "fmt"

// Operations counts a transaction as etcd does against its limit: the larger of
// its conditions and of what either branch does, reads included.
func (t Txn) Operations() int {
	return max(len(t.If), len(t.Then)+len(t.Read), len(t.Else)+len(t.Read))
}

// Bytes is about the size of the transaction's request.
func (t Txn) Bytes() int {
	n := 0
	for _, c := range t.If {
		n += len(c.Key) + compareOverhead
	}
	for _, ops := range [2][]Op{t.Then, t.Else} {
		for _, op := range ops {
			n += len(op.Key) + len(op.Value) + opOverhead
		}
	}
	for _, key := range t.Read {
		n += 2 * (len(key) + opOverhead) // once in each branch
	}
	return n
}

// What an operation's request takes beside its key and its value, rounded up.
const (
	compareOverhead = 24
	opOverhead      = 32
)

// Check returns an error wrapping ErrTooLarge if the transaction is over the
// limits or a branch writes a key twice. Every implementation calls it before
// anything else, so that what passes against one passes against all.
func (t Txn) Check() error {
	if n := t.Operations(); n > TxnOperationsMax {
		return fmt.Errorf("%w: %d operations, at most %d are allowed", ErrTooLarge, n, TxnOperationsMax)
	}
	if n := t.Bytes(); n > TxnBytesMax {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, n, TxnBytesMax)
	}
	for _, ops := range [2][]Op{t.Then, t.Else} {
		seen := make(map[string]struct{}, len(ops))
		for _, op := range ops {
			if _, twice := seen[op.Key]; twice {
				return fmt.Errorf("%w: it writes %q twice", ErrTooLarge, op.Key)
			}
			seen[op.Key] = struct{}{}
		}
	}
	return nil
}

// Holds reports whether the condition holds for a key with this ModRevision,
// 0 when there is no such key.
func (c Compare) Holds(modRevision int64) bool {
	if c.Exists {
		return modRevision != 0
	}
	return modRevision == c.ModRevision
}
