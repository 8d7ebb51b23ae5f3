// Package format holds the errors that every format at rest shares, so that a
// reader can tell damage from a newer version, and say where it is.
//
// Missing is a third thing and belongs to the store: objstore.ErrNotFound.
package format

import (
	"errors"
	"fmt"
	"hash/crc32"
)

// ErrCorrupt means: the bytes are not what was written. Retrying does not help.
var ErrCorrupt = errors.New("corrupt")

// ErrVersion means: intact, but written by a version that this one cannot read.
var ErrVersion = errors.New("unsupported format version")

// Castagnoli is the polynomial of every CRC that Chronik writes (CRC-32C).
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Error names the file or object and the byte at which it is damaged.
type Error struct {
	Name   string // file or object; may be empty until a caller that knows it calls In
	Offset int64  // byte position within it
	Reason string
	Kind   error // ErrCorrupt or ErrVersion
}

// Error implements error.
func (e *Error) Error() string {
	name := e.Name
	if name == "" {
		name = "data"
	}
	return fmt.Sprintf("%s: %v at byte %d: %s", name, e.Kind, e.Offset, e.Reason)
}

// Unwrap gives errors.Is the kind.
func (e *Error) Unwrap() error { return e.Kind }

// Corrupt builds an Error of kind ErrCorrupt.
func Corrupt(offset int64, reason string, args ...any) error {
	return &Error{Offset: offset, Reason: fmt.Sprintf(reason, args...), Kind: ErrCorrupt}
}

// Version builds an Error of kind ErrVersion.
func Version(offset int64, got, newest int) error {
	return &Error{Offset: offset, Reason: fmt.Sprintf("version %d, this build reads up to %d", got, newest), Kind: ErrVersion}
}

// In names the file or object in the first format Error within err that has no
// name yet, and returns err. It comes before err is wrapped: fmt.Errorf writes the
// text, without the name, at once.
func In(name string, err error) error { return At(name, 0, err) }

// At is In for an Error whose offset counts from base, where the damaged part
// begins: it becomes the byte of the whole. name may be empty.
func At(name string, base int64, err error) error {
	var e *Error
	if errors.As(err, &e) && e.Name == "" {
		e.Name = name
		e.Offset += base
	}
	return err
}
