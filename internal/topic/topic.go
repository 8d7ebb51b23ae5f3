// Package topic names topics and their partitions.
//
// A topic's identity is its ID: a name can be deleted and given again, an ID
// never is. Everything stored (segments, manifests, WAL frames) is keyed by ID.
package topic

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ID is a topic's UUID (version 4), as Kafka's topic ids of KIP-516.
type ID [16]byte

// NewID returns a fresh random ID.
func NewID() ID {
	var id ID
	// crypto/rand.Read never fails: it crashes the program instead.
	_, _ = rand.Read(id[:])
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// IsZero reports whether id is Kafka's "no topic id".
func (id ID) IsZero() bool { return id == ID{} }

// String is the canonical lower-case form, 8-4-4-4-12 hex digits.
func (id ID) String() string {
	var b [36]byte
	hex.Encode(b[0:8], id[0:4])
	b[8] = '-'
	hex.Encode(b[9:13], id[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], id[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], id[8:10])
	b[23] = '-'
	hex.Encode(b[24:36], id[10:16])
	return string(b[:])
}

// ParseID reads the form that String writes.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, fmt.Errorf("topic id %q: want 8-4-4-4-12 hex digits", s)
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(raw) != len(id) {
		return id, fmt.Errorf("topic id %q: want 8-4-4-4-12 hex digits", s)
	}
	copy(id[:], raw)
	return id, nil
}

// MarshalText and UnmarshalText make an ID readable in JSON, also as a map key.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := ParseID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// Partition names one partition of one topic for good.
type Partition struct {
	Topic ID
	Index int32
}

// String is "<topic id>/<index>", the form used in keys, logs and errors.
func (p Partition) String() string { return fmt.Sprintf("%s/%d", p.Topic, p.Index) }

// Compare orders partitions by topic id, then index: the order of ranges in a segment.
func (p Partition) Compare(q Partition) int {
	if c := strings.Compare(string(p.Topic[:]), string(q.Topic[:])); c != 0 {
		return c
	}
	switch {
	case p.Index < q.Index:
		return -1
	case p.Index > q.Index:
		return 1
	}
	return 0
}

// ErrInvalidName is wrapped by every error of ValidateName.
var ErrInvalidName = errors.New("invalid topic name")

// NameLengthMax is Kafka's limit, in bytes.
const NameLengthMax = 249

// ValidateName applies Kafka's rules: 1 to 249 characters out of [A-Za-z0-9._-],
// and neither "." nor "..".
func ValidateName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidName)
	case name == "." || name == "..":
		return fmt.Errorf("%w: it cannot be %q", ErrInvalidName, name)
	case len(name) > NameLengthMax:
		return fmt.Errorf("%w: %d characters, at most %d are allowed", ErrInvalidName, len(name), NameLengthMax)
	}
	for i, c := range name {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return fmt.Errorf("%w: %q has the character %q at %d; allowed are ASCII letters, digits, '.', '_' and '-'", ErrInvalidName, name, c, i)
		}
	}
	return nil
}

// CollisionKey is equal for two names that Kafka holds to collide: '.' and '_'
// fall together in its metric names.
func CollisionKey(name string) string { return strings.ReplaceAll(name, ".", "_") }
