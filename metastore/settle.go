package metastore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/metastore/kv"
)

const (
	// attemptTimeout bounds one try, so that a connection that hangs is given up
	// and the transaction is repeated over another.
	attemptTimeout = 5 * time.Second
	backoffMin     = 10 * time.Millisecond
	backoffMax     = time.Second
)

// settle sends txn until its outcome is known: its conditions held and it was
// applied (Succeeded), or they do not hold.
//
// A transaction is only ever settled if its conditions fail once it has been
// applied. Then it takes effect at most once, though it may be sent many times,
// and "refused" with doubt set may mean that an earlier, lost try had applied
// it: the caller has to recognise its own value. Without doubt, refused means
// not applied.
//
// An error means that ctx ended, or that the transaction cannot be (ErrTooLarge,
// ErrLeaseNotFound). It wraps kv.ErrUnknownOutcome if a try may have been applied.
func (s *Store) settle(ctx context.Context, what string, txn kv.Txn) (result kv.TxnResult, doubt bool, err error) {
	pause := s.newBackoff()
	for {
		result, err = s.attempt(ctx, txn)
		switch {
		case err == nil:
			return result, doubt, nil
		case errors.Is(err, kv.ErrUnknownOutcome):
			doubt = true
			s.metrics.doubts.Inc()
			s.log.Warn("outcome of a metadata write is unknown, it is repeated", "write", what, "err", err)
		case errors.Is(err, kv.ErrUnavailable):
			s.log.Warn("metadata write failed, it is tried again", "write", what, "err", err)
		default:
			return result, doubt, inDoubt(doubt, fmt.Errorf("%s: %w", what, err))
		}
		if pause.wait(ctx) != nil {
			return result, doubt, inDoubt(doubt, fmt.Errorf("%s: %w (%w)", what, err, ctx.Err()))
		}
	}
}

// inDoubt makes err wrap kv.ErrUnknownOutcome if there is doubt.
func inDoubt(doubt bool, err error) error {
	if doubt && !errors.Is(err, kv.ErrUnknownOutcome) {
		return fmt.Errorf("%w: %w", err, kv.ErrUnknownOutcome)
	}
	return err
}

func (s *Store) attempt(ctx context.Context, txn kv.Txn) (kv.TxnResult, error) {
	if err := s.Err(); err != nil {
		return kv.TxnResult{}, fmt.Errorf("not sent: %w", err)
	}
	if ctx.Err() != nil {
		return kv.TxnResult{}, fmt.Errorf("not sent: %w", kv.ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return s.kv.Txn(ctx, txn)
}

// look reads the keys that txn compares, at one revision.
func (s *Store) look(ctx context.Context, what string, txn kv.Txn) (map[string]kv.Entry, error) {
	read := kv.Txn{}
	for _, c := range txn.If {
		read.Read = append(read.Read, c.Key)
	}
	result, _, err := s.settle(ctx, what, read)
	return result.Read, err
}

// change replaces the value of one key by what f makes of it, as often as it
// takes, and returns the entry as it was written. f gets the zero Entry when
// the key is absent; it may be called several times, also on a value that an
// earlier, lost try of this very call wrote. guard lists further conditions;
// when one of them fails, refused is returned.
func (s *Store) change(
	ctx context.Context, what, key string, guard []kv.Compare, refused error,
	f func(old kv.Entry) (value []byte, err error),
) (kv.Entry, error) {
	read := kv.Txn{Read: []string{key}}
	for _, c := range guard {
		read.Read = append(read.Read, c.Key)
	}
	state, doubt, err := s.settle(ctx, what, read)
	for {
		if err != nil {
			return kv.Entry{}, inDoubt(doubt, err)
		}
		for _, c := range guard {
			if !c.Holds(state.Read[c.Key].ModRevision) {
				return kv.Entry{}, inDoubt(doubt, fmt.Errorf("%s: %w", what, refused))
			}
		}
		old := state.Read[key]
		value, ferr := f(old)
		if ferr != nil {
			return kv.Entry{}, inDoubt(doubt, fmt.Errorf("%s: %w", what, ferr))
		}
		if old.ModRevision != 0 && string(value) == string(old.Value) {
			s.caughtUp(ctx, old.ModRevision)
			return old, nil
		}
		var again bool
		state, again, err = s.settle(ctx, what, kv.Txn{
			If:   append([]kv.Compare{{Key: key, ModRevision: old.ModRevision}}, guard...),
			Then: []kv.Op{kv.Put(key, value)},
			Read: read.Read,
		})
		doubt = doubt || again
		if err == nil && state.Succeeded {
			s.caughtUp(ctx, state.Revision)
			return state.Read[key], nil
		}
	}
}

// backoff is the pause between tries: it doubles up to a bound, with jitter.
type backoff struct {
	store *Store
	next  time.Duration
}

func (s *Store) newBackoff() *backoff { return &backoff{store: s, next: backoffMin} }

func (b *backoff) reset() { b.next = backoffMin }

// wait pauses, and returns ctx's error if that ends first.
func (b *backoff) wait(ctx context.Context) error {
	d := time.Duration(float64(b.next) * (0.5 + b.store.jitter()/2))
	b.next = min(2*b.next, backoffMax)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// encode is json.Marshal of the stored types.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		// Only a stored type with a field that JSON cannot hold, a channel or a
		// function, brings us here: a mistake made when the type was declared.
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return b
}

// valueVersion is the newest version of JSON values that this build reads. Members
// that it does not know it passes over, and drops when it writes the value again.
// Where a later version adds what earlier ones must not treat so, its values have a
// member "v", 2 and on; those without are of version 1.
const valueVersion = 1

// decode reads what encode wrote. A value of a later version is format.ErrVersion,
// and names its key.
func decode(e kv.Entry, into any) error {
	if bytes.Contains(e.Value, []byte(`"v"`)) { // rare: only then is it worth a look
		var later struct {
			V int `json:"v"`
		}
		if err := json.Unmarshal(e.Value, &later); err != nil {
			return err
		}
		if later.V > valueVersion {
			return format.In(e.Key, format.Version(0, later.V, valueVersion))
		}
	}
	return json.Unmarshal(e.Value, into)
}
