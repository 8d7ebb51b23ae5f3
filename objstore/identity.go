package objstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
)

// IdentityName is the object that tells a cluster's part of a bucket from any
// other. It is written once, before anything else, and no sweep knows it.
const IdentityName = "cluster.json"

// Identity is what that object holds, as JSON. The metadata store has the ID too:
// metadata and objects that do not belong together destroy each other.
type Identity struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
}

// ReadIdentity returns the identity of b. Errors: ErrNotFound where b has none.
func ReadIdentity(ctx context.Context, b Bucket) (Identity, error) {
	var identity Identity
	attributes, err := b.Head(ctx, IdentityName)
	if err != nil {
		return identity, fmt.Errorf("look at %s: %w", IdentityName, err)
	}
	text, err := b.Get(ctx, IdentityName, 0, attributes.Size)
	if err != nil {
		return identity, fmt.Errorf("read %s: %w", IdentityName, err)
	}
	if err := json.Unmarshal(text, &identity); err != nil {
		return identity, fmt.Errorf("read %s: %w", IdentityName, err)
	}
	if identity.ID == "" {
		return identity, fmt.Errorf("read %s: it has no id", IdentityName)
	}
	return identity, nil
}

// GiveIdentity returns the identity of b, which gets a new one if it has none.
// Of several callers at once all get the same.
func GiveIdentity(ctx context.Context, b Bucket) (Identity, error) {
	identity, err := ReadIdentity(ctx, b)
	if !errors.Is(err, ErrNotFound) {
		return identity, err
	}
	fresh, err := json.Marshal(Identity{ID: ulid.Make().String(), Created: time.Now().UTC()})
	if err != nil {
		return identity, err
	}
	if _, err := b.Put(ctx, IdentityName, Bytes(append(fresh, '\n')), Condition{IfAbsent: true}); err != nil && !errors.Is(err, ErrExists) {
		return identity, fmt.Errorf("put %s: %w", IdentityName, err)
	}
	return ReadIdentity(ctx, b)
}

// HasData reports whether b holds anything but its identity.
func HasData(ctx context.Context, b Bucket) (bool, error) {
	for a, err := range b.List(ctx, "") {
		if err != nil {
			return false, fmt.Errorf("list the bucket: %w", err)
		}
		if a.Name != IdentityName {
			return true, nil
		}
	}
	return false, nil
}
