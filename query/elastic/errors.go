package elastic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/query/search"
)

// Error is an error as Elasticsearch shows it.
type Error struct {
	Status int
	Type   string
	Reason string
	Index  string // that it is about; may be empty
	Line   int    // from 1, or 0 when the error has no place
	Column int
	// Shards says that the index refused, and not the parser: clients know that as
	// the failure of all shards.
	Shards bool
}

func (e *Error) Error() string { return e.Reason }

func badRequest(format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Type: "illegal_argument_exception", Reason: fmt.Sprintf(format, args...)}
}

func notFound(index string) *Error {
	return &Error{Status: http.StatusNotFound, Type: "index_not_found_exception", Reason: "no such index [" + index + "]", Index: index}
}

func isNotFound(err error) bool {
	var ours *Error
	return errors.As(err, &ours) && ours.Status == http.StatusNotFound
}

func notSearchable(index string) *Error {
	return &Error{Status: http.StatusBadRequest, Type: "illegal_argument_exception", Reason: (&search.NotSearchableError{Topic: index}).Error(), Index: index}
}

func notAllowed(format string, args ...any) *Error {
	return &Error{Status: http.StatusMethodNotAllowed, Type: "illegal_argument_exception", Reason: fmt.Sprintf(format, args...)}
}

// writeErrors are what errors of writing mean; the first that fits wins.
var writeErrors = []struct {
	is     error
	status int
	kind   string
}{
	{ErrUnknownTopic, http.StatusNotFound, "index_not_found_exception"},
	{ErrTopicExists, http.StatusBadRequest, "resource_already_exists_exception"},
	{ErrTooLarge, http.StatusRequestEntityTooLarge, "illegal_argument_exception"},
	{ErrRefused, http.StatusBadRequest, "illegal_argument_exception"},
	{ErrForbidden, http.StatusForbidden, "security_exception"},
	{ErrThrottled, http.StatusTooManyRequests, "es_rejected_execution_exception"},
	{ErrUnavailable, http.StatusServiceUnavailable, "unavailable_shards_exception"},
}

// typeOf is the type of an error of the node, by its status.
var typeOf = map[int]string{
	http.StatusBadRequest:            "illegal_argument_exception",
	http.StatusUnauthorized:          "security_exception",
	http.StatusForbidden:             "security_exception",
	http.StatusNotFound:              "resource_not_found_exception",
	http.StatusRequestEntityTooLarge: "illegal_argument_exception",
	http.StatusTooManyRequests:       "es_rejected_execution_exception",
	http.StatusServiceUnavailable:    "unavailable_shards_exception",
	http.StatusGatewayTimeout:        "timeout_exception",
}

// errorOf turns any error into one that clients know.
func (s *Surface) errorOf(ctx context.Context, err error) *Error {
	var ours *Error
	if errors.As(err, &ours) {
		return ours
	}
	var query *textquery.Error
	if errors.As(err, &query) {
		e := &Error{Status: http.StatusBadRequest, Type: query.Type, Reason: query.Reason, Line: query.Line, Column: query.Column}
		e.Shards = e.Type == "query_shard_exception" // which Elasticsearch's shards find
		return e
	}
	var unknown *search.UnknownTopicError
	if errors.As(err, &unknown) {
		return notFound(unknown.Topic)
	}
	var plain *search.NotSearchableError
	if errors.As(err, &plain) {
		return notSearchable(plain.Topic)
	}
	for _, row := range writeErrors {
		if errors.Is(err, row.is) {
			return &Error{Status: row.status, Type: row.kind, Reason: strings.TrimPrefix(err.Error(), ErrRefused.Error()+": ")}
		}
	}
	f := s.o.Translate(ctx, err)
	kind := typeOf[f.Status]
	if kind == "" {
		kind = "exception"
	}
	return &Error{Status: f.Status, Type: kind, Reason: f.Message}
}

// searchError is errorOf for what a search ended with: what is wrong with a query
// only when it meets an index, all shards have found.
func (s *Surface) searchError(ctx context.Context, err error, index string) *Error {
	e := s.errorOf(ctx, err)
	var query *textquery.Error
	if errors.As(err, &query) {
		e.Shards, e.Index = true, index
	}
	return e
}

// write is the body of an answer that is an error.
func (e *Error) write(w *writer) {
	w.object(func() {
		w.name("error")
		e.cause(w)
		w.member("status", e.Status)
	})
}

// cause is the error without its status.
func (e *Error) cause(w *writer) {
	w.object(func() {
		w.name("root_cause")
		w.array(func() { w.object(func() { e.plain(w) }) })
		if !e.Shards {
			e.plain(w)
			return
		}
		w.member("type", "search_phase_execution_exception")
		w.member("reason", "all shards failed")
		w.member("phase", "query")
		w.member("grouped", true)
		w.name("failed_shards")
		w.array(func() {
			w.object(func() {
				w.member("shard", 0)
				w.member("index", e.Index)
				w.name("reason")
				w.object(func() { e.plain(w) })
			})
		})
	})
}

func (e *Error) plain(w *writer) {
	w.member("type", e.Type)
	w.member("reason", e.Reason)
	if e.Line > 0 {
		w.member("line", e.Line)
		w.member("col", e.Column)
	}
	if e.Index != "" {
		w.member("index", e.Index)
	}
	if e.Type == "index_not_found_exception" && e.Index != "" {
		w.member("resource.type", "index_or_alias")
		w.member("resource.id", e.Index)
		w.member("index_uuid", "_na_")
	}
}
