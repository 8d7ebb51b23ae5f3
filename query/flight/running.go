package flight

import (
	"context"
	"sync"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/chronik-stream/chronik/query/auth"
)

// running are the queries that stream from this node, by their tickets, so that
// another call can end them.
type running struct {
	mu      sync.Mutex
	queries map[ticketOf]map[*query]struct{}
}

// ticketOf is a ticket's id in the hands of a principal.
type ticketOf struct {
	id    string
	owner auth.Principal
}

type query struct{ cancel context.CancelCauseFunc }

// errCancelled is what the reader of a query gets that another call has ended.
var errCancelled = status.Error(codes.Canceled, "the query was cancelled")

// begin enters a query until end. A ticket without an id, one that a client
// wrote by hand, is ended by its own call alone.
func (r *running) begin(ctx context.Context, t ticketOf) (inner context.Context, end func()) {
	inner, cancel := context.WithCancelCause(ctx)
	if t.id == "" {
		return inner, func() { cancel(nil) }
	}
	q := &query{cancel}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.queries == nil {
		r.queries = map[ticketOf]map[*query]struct{}{}
	}
	if r.queries[t] == nil {
		r.queries[t] = map[*query]struct{}{}
	}
	r.queries[t][q] = struct{}{}
	return inner, func() {
		cancel(nil)
		r.mu.Lock()
		defer r.mu.Unlock()
		if delete(r.queries[t], q); len(r.queries[t]) == 0 {
			delete(r.queries, t)
		}
	}
}

// end ends the queries of a ticket and reports whether there were any.
func (r *running) end(t ticketOf) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for q := range r.queries[t] {
		q.cancel(errCancelled)
	}
	return len(r.queries[t]) > 0
}

// CancelFlightInfo implements flightsql.Server; CancelQuery, its older form,
// comes here too. Only the node that a query streams from can end it in this
// way; the client's closing of the stream does so anywhere.
func (s *server) CancelFlightInfo(ctx context.Context, r *flight.CancelFlightInfoRequest) (flight.CancelFlightInfoResult, error) {
	ended := false
	for _, e := range r.GetInfo().GetEndpoint() {
		h, ok, err := statementTicket(e.GetTicket().GetTicket())
		if err != nil {
			return flight.CancelFlightInfoResult{}, err
		}
		ended = ok && s.running.end(ticketOf{h.ID, principalOf(ctx)}) || ended
	}
	if !ended {
		return flight.CancelFlightInfoResult{}, status.Error(codes.NotFound, "no query of this ticket streams from this node: close the stream to end it")
	}
	return flight.CancelFlightInfoResult{Status: flight.CancelStatusCancelled}, nil
}
