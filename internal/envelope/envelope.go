// Package envelope is the one form that errors have over HTTP, on every route
// but those whose ecosystems have their own.
package envelope

import "time"

// Failure is an error as the API shows it.
type Failure struct {
	Status  int            `json:"-"` // of HTTP
	Message string         `json:"error"`
	Code    string         `json:"error_code"`
	Type    string         `json:"error_type"`
	Details map[string]any `json:"details"`
	// RetryAfter is when the same request may succeed; 0: that is not known.
	RetryAfter time.Duration `json:"-"`
}

// Error implements error.
func (f *Failure) Error() string { return f.Message }

// New makes a failure without details.
func New(status int, code, kind, message string) *Failure {
	return &Failure{Status: status, Message: message, Code: code, Type: kind, Details: map[string]any{}}
}
