package query

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/query/auth"
	"github.com/chronik-stream/chronik/query/engine"
	"github.com/chronik-stream/chronik/query/gate"
	"github.com/chronik-stream/chronik/query/places"
	"github.com/chronik-stream/chronik/query/semantic"
	"github.com/chronik-stream/chronik/query/snapshot"
	"github.com/chronik-stream/chronik/query/tail"
)

type failure = envelope.Failure

func newFailure(status int, code, kind, message string) *failure {
	return envelope.New(status, code, kind, message)
}

func badRequest(message string) *failure {
	return newFailure(http.StatusBadRequest, "INVALID_REQUEST", "InvalidRequest", message)
}

func disabled(message string) *failure {
	return newFailure(http.StatusBadRequest, "FEATURE_DISABLED", "FeatureDisabled", message)
}

func unknownTable(message string) *failure {
	return newFailure(http.StatusNotFound, "TOPIC_NOT_FOUND", "TableNotFound", message)
}

func unavailable(message string) *failure {
	return newFailure(http.StatusServiceUnavailable, "UNAVAILABLE", "ServiceUnavailable", message)
}

// errorTable maps errors to answers; the first that fits wins. It is the only
// place that knows both.
var errorTable = []struct {
	is     error
	status int
	code   string
	kind   string
}{
	{auth.ErrUnauthenticated, http.StatusUnauthorized, "UNAUTHORIZED", "Unauthorized"},
	{gate.ErrUnknownTable, http.StatusNotFound, "TOPIC_NOT_FOUND", "TableNotFound"},
	{gate.ErrInvalid, http.StatusBadRequest, "INVALID_QUERY", "QueryError"},
	{metastore.ErrTopicUnknown, http.StatusNotFound, "TOPIC_NOT_FOUND", "TableNotFound"},
	{engine.ErrQuery, http.StatusBadRequest, "INVALID_QUERY", "QueryError"},
	{engine.ErrTooLarge, http.StatusRequestEntityTooLarge, "TOO_LARGE", "QueryError"},
	{engine.ErrDisabled, http.StatusBadRequest, "FEATURE_DISABLED", "FeatureDisabled"},
	{engine.ErrFile, http.StatusInternalServerError, "INTERNAL_ERROR", "InternalError"},
	{format.ErrCorrupt, http.StatusInternalServerError, "INTERNAL_ERROR", "InternalError"},
	{tail.ErrClosed, http.StatusServiceUnavailable, "UNAVAILABLE", "ServiceUnavailable"},
	{tail.ErrNoBroker, http.StatusServiceUnavailable, "UNAVAILABLE", "ServiceUnavailable"},
	{objstore.ErrUnavailable, http.StatusServiceUnavailable, "UNAVAILABLE", "ServiceUnavailable"},
	{context.DeadlineExceeded, http.StatusGatewayTimeout, "TIMEOUT", "Timeout"},
	{context.Canceled, statusClientGone, "TIMEOUT", "Canceled"},
}

// statusClientGone is for the log and the metrics: nobody reads the answer.
const statusClientGone = 499

// failureOf turns any error into an answer.
func failureOf(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	var busy *places.BusyError
	if errors.As(err, &busy) {
		return unavailable(busy.Error())
	}
	var damaged *snapshot.DamagedError
	if errors.As(err, &damaged) {
		return damagedFailure(damaged)
	}
	var unsettled *snapshot.UnsettledError
	if errors.As(err, &unsettled) {
		f := failureOf(unsettled.Cause)
		f.Message = unsettled.Error()
		f.Details["topic"] = unsettled.Topic
		return f
	}
	var lagging *tail.LaggingError
	if errors.As(err, &lagging) {
		f := newFailure(http.StatusGatewayTimeout, "TIMEOUT", "Timeout", lagging.Error())
		var partitions []map[string]any
		for _, l := range lagging.Partitions {
			partitions = append(partitions, map[string]any{"partition": l.Partition, "next": l.Next, "target": l.Target})
		}
		f.Details["topic"], f.Details["lagging_partitions"] = lagging.Topic, partitions
		return f
	}
	if f := semantic.FailureOf(err); f != nil {
		return f
	}
	for _, row := range errorTable {
		if errors.Is(err, row.is) {
			return newFailure(row.status, row.code, row.kind, plainMessage(err))
		}
	}
	return newFailure(http.StatusInternalServerError, "INTERNAL_ERROR", "InternalError", plainMessage(err))
}

// endedBy is why a request was ended, where it was the process that did so.
func endedBy(ctx context.Context, err error) error {
	var why *failure
	if errors.Is(ctx.Err(), context.Canceled) && errors.As(context.Cause(ctx), &why) {
		return why
	}
	return err
}

// plainMessage leaves out the line of SQL that the engine quotes: it is the
// printed text, not the user's.
func plainMessage(err error) string {
	message, _, _ := strings.Cut(err.Error(), "\n\nLINE ")
	return strings.TrimPrefix(strings.TrimPrefix(message, engine.ErrQuery.Error()+": "), engine.ErrTooLarge.Error()+": ")
}
