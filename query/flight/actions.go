package flight

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"

	"github.com/chronik-stream/chronik/metastore"
)

// actions are those that do something here.
var actions = []*flight.ActionType{
	{Type: flightsql.CreatePreparedStatementActionType, Description: "check a statement, and learn its columns and parameters"},
	{Type: flightsql.ClosePreparedStatementActionType, Description: "say that a prepared statement is not needed any more"},
	{Type: flight.CancelFlightInfoActionType, Description: "end a query that streams from this node"},
	{Type: flightsql.CancelQueryActionType, Description: "the same, as older drivers ask for it"},
	{Type: flight.GetSessionOptionsActionType, Description: "the catalog and the schema"},
	{Type: flight.SetSessionOptionsActionType, Description: "choose the catalog and the schema, of which there is one each"},
	{Type: flight.CloseSessionActionType, Description: "say goodbye"},
}

// ListActions lists what DoAction does; the library would list what it could.
func (w *wire) ListActions(_ *flight.Empty, stream flight.FlightService_ListActionsServer) error {
	for _, a := range actions {
		if err := stream.Send(a); err != nil {
			return err
		}
	}
	return nil
}

// DoAction does what ListActions lists. Preparing a statement may be another
// node's to answer.
func (w *wire) DoAction(a *flight.Action, stream flight.FlightService_DoActionServer) error {
	ctx := stream.Context()
	return w.server.anywhere(ctx,
		func(ctx context.Context) error { return w.FlightServer.DoAction(a, acting{stream, ctx}) },
		func(ctx context.Context, m metastore.Member) (bool, error) {
			return w.server.peers.Do(ctx, m, a, stream)
		})
}

// ListFlights: the tables are listed by Flight SQL.
func (w *wire) ListFlights(*flight.Criteria, flight.FlightService_ListFlightsServer) error {
	return disabled("flights are not listed: ask for Flight SQL's tables")
}

// DoPut takes the parameters of prepared statements, and nothing else.
func (w *wire) DoPut(stream flight.FlightService_DoPutServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if len(first.GetFlightDescriptor().GetCmd()) == 0 {
		return invalid("the first message of a DoPut names no Flight SQL command")
	}
	return w.FlightServer.DoPut(&replayedPut{putting: putting{stream, stream.Context()}, first: first})
}

// replayedPut gives the message again that was looked at.
type replayedPut struct {
	putting
	first *flight.FlightData
}

// Recv implements flight.FlightService_DoPutServer.
func (r *replayedPut) Recv() (*flight.FlightData, error) {
	if first := r.first; first != nil {
		r.first = nil
		return first, nil
	}
	return r.putting.Recv()
}

// A query only reads. What writes is refused, by name.
var (
	errUpdate       = disabled("updates are not available: a query only reads, records are written over the Kafka protocol")
	errTransactions = disabled("transactions are not available: a query only reads")
	errSubstrait    = disabled("Substrait plans are not available: write the query in SQL")
)

// DoPutCommandStatementUpdate implements flightsql.Server.
func (s *server) DoPutCommandStatementUpdate(context.Context, flightsql.StatementUpdate) (int64, error) {
	return 0, errUpdate
}

// DoPutPreparedStatementUpdate implements flightsql.Server.
func (s *server) DoPutPreparedStatementUpdate(context.Context, flightsql.PreparedStatementUpdate, flight.MessageReader) (int64, error) {
	return 0, errUpdate
}

// DoPutCommandStatementIngest implements flightsql.Server.
func (s *server) DoPutCommandStatementIngest(context.Context, flightsql.StatementIngest, flight.MessageReader) (int64, error) {
	return 0, errUpdate
}

// BeginTransaction implements flightsql.Server.
func (s *server) BeginTransaction(context.Context, flightsql.ActionBeginTransactionRequest) ([]byte, error) {
	return nil, errTransactions
}

// BeginSavepoint implements flightsql.Server.
func (s *server) BeginSavepoint(context.Context, flightsql.ActionBeginSavepointRequest) ([]byte, error) {
	return nil, errTransactions
}

// EndTransaction implements flightsql.Server.
func (s *server) EndTransaction(context.Context, flightsql.ActionEndTransactionRequest) error {
	return errTransactions
}

// EndSavepoint implements flightsql.Server.
func (s *server) EndSavepoint(context.Context, flightsql.ActionEndSavepointRequest) error {
	return errTransactions
}

// DoPutCommandSubstraitPlan implements flightsql.Server.
func (s *server) DoPutCommandSubstraitPlan(context.Context, flightsql.StatementSubstraitPlan) (int64, error) {
	return 0, errSubstrait
}

// GetFlightInfoSubstraitPlan implements flightsql.Server.
func (s *server) GetFlightInfoSubstraitPlan(context.Context, flightsql.StatementSubstraitPlan, *flight.FlightDescriptor) (*flight.FlightInfo, error) {
	return nil, errSubstrait
}

// GetSchemaSubstraitPlan implements flightsql.Server.
func (s *server) GetSchemaSubstraitPlan(context.Context, flightsql.StatementSubstraitPlan, *flight.FlightDescriptor) (*flight.SchemaResult, error) {
	return nil, errSubstrait
}

// CreatePreparedSubstraitPlan implements flightsql.Server.
func (s *server) CreatePreparedSubstraitPlan(context.Context, flightsql.ActionCreatePreparedSubstraitPlanRequest) (out flightsql.ActionCreatePreparedStatementResult, err error) {
	return out, errSubstrait
}

// There are no sessions: a client's calls may reach different nodes. What a
// session would say has one value, or is a header of each call.

// SetSessionOptions implements flightsql.Server.
func (s *server) SetSessionOptions(_ context.Context, r *flight.SetSessionOptionsRequest) (*flight.SetSessionOptionsResult, error) {
	out := &flight.SetSessionOptionsResult{Errors: map[string]*flight.SetSessionOptionsResultError{}}
	for name, value := range r.GetSessionOptions() {
		is, known := sessionOptions[name]
		switch {
		case !known:
			out.Errors[name] = &flight.SetSessionOptionsResultError{Value: flight.SetSessionOptionsResultErrorInvalidName}
		case value.GetStringValue() != is:
			out.Errors[name] = &flight.SetSessionOptionsResultError{Value: flight.SetSessionOptionsResultErrorInvalidValue}
		}
	}
	return out, nil
}

var sessionOptions = map[string]string{"catalog": Catalog, "schema": Schema}

// GetSessionOptions implements flightsql.Server.
func (s *server) GetSessionOptions(context.Context, *flight.GetSessionOptionsRequest) (*flight.GetSessionOptionsResult, error) {
	options, err := flight.NewSessionOptionValues(map[string]any{"catalog": Catalog, "schema": Schema})
	if err != nil {
		return nil, err
	}
	return &flight.GetSessionOptionsResult{SessionOptions: options}, nil
}

// CloseSession implements flightsql.Server.
func (s *server) CloseSession(context.Context, *flight.CloseSessionRequest) (*flight.CloseSessionResult, error) {
	return &flight.CloseSessionResult{Status: flight.CloseSessionResultClosed}, nil
}
