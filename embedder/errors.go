package embedder

import (
	"errors"
	"fmt"
	"time"
)

// Kind is what went wrong, as metrics count it.
type Kind string

const (
	Throttled     Kind = "throttled"     // 429: more than the provider takes now
	Unavailable   Kind = "unavailable"   // it is not reached, or says 5xx
	Timeout       Kind = "timeout"       // it did not answer in time
	CircuitOpen   Kind = "circuit_open"  // it failed so often that it is not asked for a while
	BadAnswer     Kind = "answer"        // not as many vectors as texts, not numbers, not JSON
	WrongKey      Kind = "key"           // 401, 403
	OverQuota     Kind = "quota"         // 429 or 402, and waiting does not help: the account is used up
	NotFound      Kind = "not_found"     // no such model, or nothing answers at this path
	Dimensions    Kind = "dimensions"    // vectors of another length than the topic says
	Redirected    Kind = "redirect"      // it answers elsewhere; keys are not carried there
	BadTLS        Kind = "tls"           // its certificate is not trusted
	Refused       Kind = "refused"       // 400, 413, 422: something in the request is not liked
	Misconfigured Kind = "configuration" // a provider or model that cannot be opened
)

// Error is a provider that did not give vectors. Its text never has a key in it.
type Error struct {
	Kind  Kind
	Model Model
	// RetryAfter is when to try again, if the provider said or it is known; else 0.
	RetryAfter time.Duration
	Err        error
}

// Error says what was wanted and what came instead.
func (e *Error) Error() string { return fmt.Sprintf("embed with %s: %v", e.Model, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether the same request may succeed later without anybody
// altering something.
func (e *Error) Temporary() bool {
	switch e.Kind {
	case Throttled, Unavailable, Timeout, CircuitOpen, BadAnswer:
		return true
	}
	return false
}

// Temporary reports whether err is a provider that may succeed later, and in how
// much time if that is known.
func Temporary(err error) (retryAfter time.Duration, ok bool) {
	var e *Error
	if !errors.As(err, &e) || !e.Temporary() {
		return 0, false
	}
	return e.RetryAfter, true
}

// kindOf is the kind of an error of this package, else "".
func kindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}
