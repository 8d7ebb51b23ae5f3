package flight_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/query/auth"
	chronikflight "github.com/chronik-stream/chronik/query/flight"
)

// backend answers "rows N SIZE" with N rows of a number and a text of SIZE
// bytes, "parameters" with a text that shows those, "fail N" with an error after
// N batches, and "forever" with batches until somebody ends it.
type backend struct {
	open  atomic.Int64  // cursors
	ended chan struct{} // gets one for each cursor that is closed

	mu   sync.Mutex
	last chronikflight.Statement
	who  []string // asked, one for each question
}

func (b *backend) asked(p auth.Principal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.who = append(b.who, p.Name)
}

func newBackend() *backend { return &backend{ended: make(chan struct{}, 100)} }

var columns = arrow.NewSchema([]arrow.Field{
	{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, {Name: "s", Type: arrow.BinaryTypes.String, Nullable: true},
}, nil)

func (b *backend) Query(ctx context.Context, s chronikflight.Statement) (chronikflight.Cursor, error) {
	b.asked(s.Principal)
	b.mu.Lock()
	b.last = s
	b.mu.Unlock()
	if strings.HasPrefix(s.SQL, "bad") {
		return nil, envelope.New(400, "INVALID_QUERY", "QueryError", "no such thing")
	}
	if s.SQL == "panic" {
		panic("a mistake")
	}
	b.open.Add(1)
	c := &cursor{backend: b, ctx: ctx, sql: s.SQL, parameters: s.Parameters}
	if n, err := fmt.Sscanf(s.SQL, "rows %d %d", &c.rows, &c.size); n != 2 && err != nil {
		c.rows = 1
	}
	return c, nil
}

func (b *backend) lastStatement() chronikflight.Statement {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

func (b *backend) Describe(_ context.Context, s chronikflight.Statement) (*chronikflight.Description, error) {
	b.asked(s.Principal)
	if strings.HasPrefix(s.SQL, "bad") {
		return nil, envelope.New(400, "INVALID_QUERY", "QueryError", "no such thing")
	}
	d := &chronikflight.Description{Schema: columns}
	for range strings.Count(s.SQL, "?") {
		d.Parameters = append(d.Parameters, arrow.BinaryTypes.String)
	}
	if strings.HasSuffix(s.SQL, "when") {
		d.Parameters[0] = arrow.FixedWidthTypes.Timestamp_us
	}
	return d, nil
}

func (b *backend) Tables(_ context.Context, p auth.Principal, match func(string) bool, schemas bool) ([]chronikflight.Table, error) {
	b.asked(p)
	var out []chronikflight.Table
	for _, name := range []string{"orders", "order_items", "a.b", "orders%"} {
		if match(name) {
			t := chronikflight.Table{Name: name}
			if schemas {
				t.Schema = columns
			}
			out = append(out, t)
		}
	}
	return out, nil
}

type cursor struct {
	backend    *backend
	ctx        context.Context
	sql        string
	parameters []any
	rows, size int
	batches    int
}

func (c *cursor) Schema() *arrow.Schema { return columns }

func (c *cursor) Next() (arrow.RecordBatch, error) {
	if err := c.ctx.Err(); err != nil {
		return nil, err
	}
	var fails int
	if n, _ := fmt.Sscanf(c.sql, "fail %d", &fails); n == 1 && c.batches == fails {
		return nil, envelope.New(500, "INTERNAL_ERROR", "InternalError", "a file is damaged: x.parquet")
	}
	if c.rows == 0 {
		return nil, io.EOF
	}
	c.batches++
	text := strings.Repeat("x", c.size)
	if c.sql == "parameters" {
		text = fmt.Sprintf("%#v", c.parameters)
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, columns)
	defer b.Release()
	for i := range c.rows {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.StringBuilder).Append(text)
	}
	if fails == 0 && c.sql != "forever" {
		c.rows = 0
	}
	return b.NewRecordBatch(), nil
}

func (c *cursor) Close() error {
	c.backend.open.Add(-1)
	c.backend.ended <- struct{}{}
	return nil
}

// serve returns a client of a server over b.
func serve(t *testing.T, o chronikflight.Options) (client *flightsql.Client, address string) {
	t.Helper()
	o.Version = "1.2.3"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := grpc.NewServer()
	flight.RegisterFlightServiceServer(s, chronikflight.New(o))
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	client, err = flightsql.NewClient(l.Addr().String(), nil, nil, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, client.Close())
		s.Stop()
		require.NoError(t, <-ended)
	})
	return client, l.Addr().String()
}

// serveWhole is a server as a node has it: gRPC and HTTP on one port.
func serveWhole(t *testing.T, o chronikflight.Options) (address string, kill func()) {
	t.Helper()
	rpc := grpc.NewServer()
	flight.RegisterFlightServiceServer(rpc, chronikflight.New(o))
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 {
			rpc.ServeHTTP(w, r)
		}
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	kill = func() {
		rpc.Stop()
		s.CloseClientConnections()
		s.Close()
	}
	t.Cleanup(kill)
	return s.Listener.Addr().String(), kill
}

func withTimeout(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// read reads an answer to its end.
func read(t *testing.T, r *flight.Reader) (rows int64, texts []string) {
	t.Helper()
	defer r.Release()
	for r.Next() {
		rows += r.RecordBatch().NumRows()
		if a, ok := r.RecordBatch().Column(r.RecordBatch().Schema().NumFields() - 1).(*array.String); ok {
			for i := range a.Len() {
				texts = append(texts, a.Value(i))
			}
		}
	}
	require.NoError(t, r.Err())
	return rows, texts
}

// reasonOf is the error_code in a status' details.
func reasonOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.Domain == "chronik" {
			return info.Reason
		}
	}
	return ""
}

func TestAQueryIsAnsweredByTheTicketOfItsFlightInfo(t *testing.T) {
	b := newBackend()
	client, _ := serve(t, chronikflight.Options{Backend: b})
	ctx := withTimeout(t)
	info, err := client.Execute(ctx, "rows 5 3")
	require.NoError(t, err)
	schema, err := flight.DeserializeSchema(info.Schema, memory.DefaultAllocator)
	require.NoError(t, err)
	require.True(t, schema.Equal(columns), schema)
	require.Len(t, info.Endpoint, 1)
	require.Empty(t, info.Endpoint[0].Location)

	r, err := client.DoGet(ctx, info.Endpoint[0].Ticket)
	require.NoError(t, err)
	require.True(t, r.Schema().Equal(columns))
	rows, texts := read(t, r)
	require.EqualValues(t, 5, rows)
	require.Equal(t, "xxx", texts[4])
	require.Equal(t, auth.Principal{Name: "anonymous"}, b.lastStatement().Principal)
	require.Zero(t, b.open.Load())
}

func TestATicketIsGoodAtAnyNode(t *testing.T) {
	here, _ := serve(t, chronikflight.Options{Backend: newBackend()})
	there, _ := serve(t, chronikflight.Options{Backend: newBackend()})
	ctx := withTimeout(t)
	info, err := here.Execute(ctx, "rows 7 1")
	require.NoError(t, err)
	r, err := there.DoGet(ctx, info.Endpoint[0].Ticket)
	require.NoError(t, err)
	rows, _ := read(t, r)
	require.EqualValues(t, 7, rows)
}

func TestAnAnswerWithoutRowsHasItsColumns(t *testing.T) {
	client, _ := serve(t, chronikflight.Options{Backend: newBackend()})
	r, err := client.DoGet(withTimeout(t), &flight.Ticket{Ticket: []byte("sql:rows 0 0")})
	require.NoError(t, err)
	require.True(t, r.Schema().Equal(columns))
	rows, _ := read(t, r)
	require.Zero(t, rows)
}

func TestTicketsWrittenByHand(t *testing.T) {
	client, _ := serve(t, chronikflight.Options{Backend: newBackend()})
	ctx := withTimeout(t)
	r, err := client.DoGet(ctx, &flight.Ticket{Ticket: []byte("sql:rows 3 1")})
	require.NoError(t, err)
	rows, _ := read(t, r)
	require.EqualValues(t, 3, rows)

	info, err := client.Client.GetFlightInfo(ctx, &flight.FlightDescriptor{Type: flight.DescriptorCMD, Cmd: []byte("sql:rows 4 1")})
	require.NoError(t, err)
	r, err = client.DoGet(ctx, info.Endpoint[0].Ticket)
	require.NoError(t, err)
	rows, _ = read(t, r)
	require.EqualValues(t, 4, rows)

	for ticket, want := range map[string]struct {
		code   codes.Code
		reason string
	}{
		"sql:":                    {codes.InvalidArgument, "INVALID_REQUEST"},
		"sql:  ":                  {codes.InvalidArgument, "INVALID_REQUEST"},
		"sql:bad":                 {codes.InvalidArgument, "INVALID_QUERY"},
		`vector:orders`:           {codes.InvalidArgument, "INVALID_REQUEST"},
		`vector::{}`:              {codes.InvalidArgument, "INVALID_REQUEST"},
		`vector:orders:{"query":`: {codes.InvalidArgument, "INVALID_REQUEST"},
		"something else":          {codes.InvalidArgument, "INVALID_REQUEST"},
		"":                        {codes.InvalidArgument, "INVALID_REQUEST"},
	} {
		_, err := client.DoGet(ctx, &flight.Ticket{Ticket: []byte(ticket)})
		require.Equal(t, want.code, status.Code(err), "%q: %v", ticket, err)
		require.Equal(t, want.reason, reasonOf(err), ticket)
	}
}

func TestATicketAsksForWhatIsNearest(t *testing.T) {
	b := newBackend()
	client, _ := serve(t, chronikflight.Options{Backend: b})
	want := &chronikflight.Nearest{Topic: "my.orders", Body: []byte(`{"query":"a:b","k":3}`)}
	ticket := []byte(`vector:my.orders:{"query":"a:b","k":3}`)
	r, err := client.DoGet(withTimeout(t), &flight.Ticket{Ticket: ticket})
	require.NoError(t, err)
	read(t, r)
	require.Equal(t, want, b.lastStatement().Nearest)
	require.Empty(t, b.lastStatement().SQL)

	ctx := metadata.AppendToOutgoingContext(withTimeout(t), "x-chronik-freshness", "cold")
	info, err := client.Client.GetFlightInfo(ctx, &flight.FlightDescriptor{Type: flight.DescriptorCMD, Cmd: ticket})
	require.NoError(t, err)
	r, err = client.DoGet(withTimeout(t), info.Endpoint[0].Ticket)
	require.NoError(t, err)
	read(t, r)
	require.Equal(t, want, b.lastStatement().Nearest)
	require.Equal(t, "cold", b.lastStatement().Freshness, "a ticket remembers")

	// The search's own time is that of the call, too.
	require.Zero(t, b.lastStatement().Timeout)
	ctx = metadata.AppendToOutgoingContext(withTimeout(t), "x-chronik-timeout-secs", "7")
	r, err = client.DoGet(ctx, &flight.Ticket{Ticket: []byte(`vector:orders:{"query":"a","timeout_secs":90.5}`)})
	require.NoError(t, err)
	read(t, r)
	require.Equal(t, 90500*time.Millisecond, b.lastStatement().Timeout)
}

func TestErrorsCarryTheErrorCodeOfTheHTTPAPI(t *testing.T) {
	client, _ := serve(t, chronikflight.Options{Backend: newBackend()})
	_, err := client.Execute(withTimeout(t), "bad")
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	require.Equal(t, "INVALID_QUERY", reasonOf(err))
	require.Equal(t, "no such thing", status.Convert(err).Message())
}

func TestAnErrorInTheMiddleEndsTheStreamWithAStatus(t *testing.T) {
	b := newBackend()
	client, _ := serve(t, chronikflight.Options{Backend: b})
	r, err := client.DoGet(withTimeout(t), &flight.Ticket{Ticket: []byte("sql:fail 2")})
	require.NoError(t, err)
	defer r.Release()
	batches := 0
	for r.Next() {
		batches++
	}
	require.Equal(t, 2, batches)
	require.Equal(t, codes.Internal, status.Code(r.Err()), "%v", r.Err())
	require.Equal(t, "INTERNAL_ERROR", reasonOf(r.Err()))
	require.Zero(t, b.open.Load())
}

func TestAPanicIsAnErrorOfItsCallAlone(t *testing.T) {
	client, _ := serve(t, chronikflight.Options{Backend: newBackend()})
	ctx := withTimeout(t)
	_, err := client.DoGet(ctx, &flight.Ticket{Ticket: []byte("sql:panic")})
	require.Equal(t, codes.Internal, status.Code(err))
	require.NotContains(t, err.Error(), "a mistake")
	_, err = client.DoGet(ctx, &flight.Ticket{Ticket: []byte("sql:rows 1 1")})
	require.NoError(t, err)
}

func TestLargeBatchesFitTheClientsLimit(t *testing.T) {
	client, _ := serve(t, chronikflight.Options{Backend: newBackend()})
	// 40 MB in one batch of the backend; the client takes messages of 4 MiB.
	r, err := client.DoGet(withTimeout(t), &flight.Ticket{Ticket: []byte("sql:rows 4000 10000")})
	require.NoError(t, err)
	rows, texts := read(t, r)
	require.EqualValues(t, 4000, rows)
	require.Len(t, texts[3999], 10_000)
}

func TestAClientThatGoesEndsItsQuery(t *testing.T) {
	b := newBackend()
	client, _ := serve(t, chronikflight.Options{Backend: b})
	ctx, cancel := context.WithCancel(withTimeout(t))
	r, err := client.DoGet(ctx, &flight.Ticket{Ticket: []byte("sql:forever")})
	require.NoError(t, err)
	require.True(t, r.Next())
	cancel()
	<-b.ended
	require.Zero(t, b.open.Load())
	r.Release()
}

func TestCancellingAFlightInfoEndsItsQuery(t *testing.T) {
	b := newBackend()
	client, _ := serve(t, chronikflight.Options{Backend: b})
	ctx := withTimeout(t)
	info, err := client.Execute(ctx, "forever")
	require.NoError(t, err)

	_, err = client.CancelFlightInfo(ctx, &flight.CancelFlightInfoRequest{Info: info})
	require.Equal(t, codes.NotFound, status.Code(err), "it does not run")

	r, err := client.DoGet(ctx, info.Endpoint[0].Ticket)
	require.NoError(t, err)
	defer r.Release()
	require.True(t, r.Next())
	result, err := client.CancelFlightInfo(ctx, &flight.CancelFlightInfoRequest{Info: info})
	require.NoError(t, err)
	require.Equal(t, flight.CancelStatusCancelled, result.Status)
	for r.Next() {
	}
	require.Equal(t, codes.Canceled, status.Code(r.Err()), "%v", r.Err())
	require.Contains(t, r.Err().Error(), "cancelled")
}

func TestPreparedStatementsBindTheirParameters(t *testing.T) {
	b := newBackend()
	client, _ := serve(t, chronikflight.Options{Backend: b})
	ctx := withTimeout(t)
	p, err := client.Prepare(ctx, "parameters")
	require.NoError(t, err)
	require.True(t, p.DatasetSchema().Equal(columns))

	schema := arrow.NewSchema([]arrow.Field{
		{Name: "a", Type: arrow.PrimitiveTypes.Int32, Nullable: true}, {Name: "b", Type: arrow.BinaryTypes.LargeString},
		{Name: "c", Type: arrow.FixedWidthTypes.Timestamp_ms}, {Name: "d", Type: arrow.BinaryTypes.Binary, Nullable: true},
	}, nil)
	row := func(rows int) arrow.RecordBatch {
		rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		defer rb.Release()
		for range rows {
			rb.Field(0).(*array.Int32Builder).Append(-7)
			rb.Field(1).(*array.LargeStringBuilder).Append("ö'")
			rb.Field(2).(*array.TimestampBuilder).Append(1_700_000_000_123)
			rb.Field(3).AppendNull()
		}
		return rb.NewRecordBatch()
	}
	p.SetParameters(row(1))
	info, err := p.Execute(ctx)
	require.NoError(t, err)
	r, err := client.DoGet(ctx, info.Endpoint[0].Ticket)
	require.NoError(t, err)
	read(t, r)
	require.Equal(t, []any{int64(-7), "ö'", time.UnixMilli(1_700_000_000_123).UTC(), nil}, b.lastStatement().Parameters)
	require.NoError(t, p.Close(ctx))

	p, err = client.Prepare(ctx, "parameters")
	require.NoError(t, err)
	p.SetParameters(row(2))
	_, err = p.Execute(ctx)
	require.Equal(t, codes.InvalidArgument, status.Code(err), "%v", err)
	require.ErrorContains(t, err, "rows of parameters")
}

func TestAPreparedStatementTellsItsParameters(t *testing.T) {
	client, _ := serve(t, chronikflight.Options{Backend: newBackend()})
	p, err := client.Prepare(withTimeout(t), "rows 1 1 ? ?")
	require.NoError(t, err)
	require.Equal(t, 2, p.ParameterSchema().NumFields())
	require.Equal(t, arrow.BinaryTypes.String, p.ParameterSchema().Field(1).Type)
	p, err = client.Prepare(withTimeout(t), "rows 1 1 ? when")
	require.NoError(t, err)
	require.Equal(t, arrow.FixedWidthTypes.Timestamp_us, p.ParameterSchema().Field(0).Type)
}

func TestOptionsAreHeadersOfTheCall(t *testing.T) {
	b := newBackend()
	client, _ := serve(t, chronikflight.Options{Backend: b})
	ctx := metadata.AppendToOutgoingContext(withTimeout(t), "x-chronik-freshness", "cold", "x-chronik-timeout-secs", "1.5")
	info, err := client.Execute(ctx, "rows 1 1")
	require.NoError(t, err)
	r, err := client.DoGet(withTimeout(t), info.Endpoint[0].Ticket) // the ticket brings them along
	require.NoError(t, err)
	read(t, r)
	require.Equal(t, "cold", b.lastStatement().Freshness)
	require.Equal(t, 1500*time.Millisecond, b.lastStatement().Timeout)

	for header, value := range map[string]string{"x-chronik-fresh": "cold", "x-chronik-timeout-secs": "soon"} {
		_, err := client.Execute(metadata.AppendToOutgoingContext(withTimeout(t), header, value), "rows 1 1")
		require.Equal(t, codes.InvalidArgument, status.Code(err))
		require.ErrorContains(t, err, header)
	}
}

// listing runs a command of Flight SQL's catalog to its end.
func listing(t *testing.T, client *flightsql.Client, info *flight.FlightInfo, err error) []arrow.RecordBatch {
	t.Helper()
	require.NoError(t, err)
	r, err := client.DoGet(withTimeout(t), info.Endpoint[0].Ticket)
	require.NoError(t, err)
	defer r.Release()
	schema, err := flight.DeserializeSchema(info.Schema, memory.DefaultAllocator)
	require.NoError(t, err)
	require.True(t, r.Schema().Equal(schema), "%s\n%s", r.Schema(), schema)
	var out []arrow.RecordBatch
	for r.Next() {
		batch := r.RecordBatch()
		batch.Retain()
		out = append(out, batch)
	}
	require.NoError(t, r.Err())
	return out
}

// texts are the values of a text column of all batches.
func texts(batches []arrow.RecordBatch, column int) []string {
	out := []string{}
	for _, b := range batches {
		for i := range int(b.NumRows()) {
			out = append(out, b.Column(column).(*array.String).Value(i))
		}
	}
	return out
}

func TestTheCatalogHasATableForEachTopic(t *testing.T) {
	client, _ := serve(t, chronikflight.Options{Backend: newBackend()})
	ctx := withTimeout(t)
	info, err := client.GetCatalogs(ctx)
	require.Equal(t, []string{"chronik"}, texts(listing(t, client, info, err), 0))
	info, err = client.GetDBSchemas(ctx, &flightsql.GetDBSchemasOpts{})
	require.Equal(t, []string{"topics"}, texts(listing(t, client, info, err), 1))
	other := "elsewhere"
	info, err = client.GetDBSchemas(ctx, &flightsql.GetDBSchemasOpts{Catalog: &other})
	require.Empty(t, texts(listing(t, client, info, err), 1))
	info, err = client.GetTableTypes(ctx)
	require.Equal(t, []string{"TABLE"}, texts(listing(t, client, info, err), 0))

	all := []string{"a.b", "order_items", "orders", "orders%"}
	like := func(s string) *string { return &s }
	for _, c := range []struct {
		opts *flightsql.GetTablesOpts
		want []string
	}{
		{&flightsql.GetTablesOpts{}, all},
		{&flightsql.GetTablesOpts{TableNameFilterPattern: like("order%")}, []string{"order_items", "orders", "orders%"}},
		{&flightsql.GetTablesOpts{TableNameFilterPattern: like("orders")}, []string{"orders"}},
		{&flightsql.GetTablesOpts{TableNameFilterPattern: like(`orders\%`)}, []string{"orders%"}},
		{&flightsql.GetTablesOpts{TableNameFilterPattern: like("a_b")}, []string{"a.b"}},
		{&flightsql.GetTablesOpts{TableNameFilterPattern: like("a.b")}, []string{"a.b"}},
		{&flightsql.GetTablesOpts{TableNameFilterPattern: like("a")}, []string{}},
		{&flightsql.GetTablesOpts{TableTypes: []string{"TABLE", "VIEW"}}, all},
		{&flightsql.GetTablesOpts{TableTypes: []string{"VIEW"}}, []string{}},
		{&flightsql.GetTablesOpts{Catalog: like("chronik"), DbSchemaFilterPattern: like("top%")}, all},
		{&flightsql.GetTablesOpts{Catalog: &other}, []string{}},
		{&flightsql.GetTablesOpts{DbSchemaFilterPattern: like("x")}, []string{}},
	} {
		info, err := client.GetTables(ctx, c.opts)
		require.Equal(t, c.want, texts(listing(t, client, info, err), 2), "%v", c.opts.TableNameFilterPattern)
	}

	info, err = client.GetTables(ctx, &flightsql.GetTablesOpts{IncludeSchema: true, TableNameFilterPattern: like("orders")})
	batches := listing(t, client, info, err)
	schema, err := flight.DeserializeSchema(batches[0].Column(4).(*array.Binary).Value(0), memory.DefaultAllocator)
	require.NoError(t, err)
	require.Equal(t, "n", schema.Field(0).Name)
	metadata := flightsql.ColumnMetadata{Data: &schema.Fields()[0].Metadata}
	table, _ := metadata.TableName()
	require.Equal(t, "orders", table)
}

func TestKeysAndTypesAreEmptyListings(t *testing.T) {
	client, _ := serve(t, chronikflight.Options{Backend: newBackend()})
	ctx := withTimeout(t)
	ref := flightsql.TableRef{Table: "orders"}
	for name, ask := range map[string]func() (*flight.FlightInfo, error){
		"primary":   func() (*flight.FlightInfo, error) { return client.GetPrimaryKeys(ctx, ref) },
		"exported":  func() (*flight.FlightInfo, error) { return client.GetExportedKeys(ctx, ref) },
		"imported":  func() (*flight.FlightInfo, error) { return client.GetImportedKeys(ctx, ref) },
		"cross":     func() (*flight.FlightInfo, error) { return client.GetCrossReference(ctx, ref, ref) },
		"xdbc info": func() (*flight.FlightInfo, error) { return client.GetXdbcTypeInfo(ctx, nil) },
	} {
		info, err := ask()
		for _, b := range listing(t, client, info, err) {
			require.Zero(t, b.NumRows(), name)
		}
	}
}

func TestSqlInfoSkipsWhatIsNotKnown(t *testing.T) {
	client, _ := serve(t, chronikflight.Options{Backend: newBackend()})
	ctx := withTimeout(t)
	count := func(ids ...flightsql.SqlInfo) (rows int64) {
		info, err := client.GetSqlInfo(ctx, ids)
		for _, b := range listing(t, client, info, err) {
			rows += b.NumRows()
		}
		return rows
	}
	require.Greater(t, count(), int64(80), "all")
	require.EqualValues(t, 2, count(flightsql.SqlInfoFlightSqlServerName, 9999, flightsql.SqlInfoFlightSqlServerVersion))
	require.Zero(t, count(9999))
}

func TestWhatWritesIsRefusedByName(t *testing.T) {
	client, _ := serve(t, chronikflight.Options{Backend: newBackend()})
	ctx := withTimeout(t)
	refused := func(err error, why string) {
		t.Helper()
		require.Equal(t, codes.Unimplemented, status.Code(err), "%v", err)
		require.Equal(t, "FEATURE_DISABLED", reasonOf(err))
		require.ErrorContains(t, err, why)
	}
	_, err := client.ExecuteUpdate(ctx, "DELETE FROM orders")
	refused(err, "updates")
	_, err = client.BeginTransaction(ctx)
	refused(err, "transactions")
	_, err = client.ExecuteSubstrait(ctx, flightsql.SubstraitPlan{})
	refused(err, "Substrait")
	stream, err := client.Client.DoExchange(ctx)
	require.NoError(t, err)
	_, err = stream.Recv()
	refused(err, "both ways")
	flights, err := client.Client.ListFlights(ctx, &flight.Criteria{})
	require.NoError(t, err)
	_, err = flights.Recv()
	refused(err, "listed")

	put, err := client.Client.DoPut(ctx)
	require.NoError(t, err)
	require.NoError(t, put.Send(&flight.FlightData{}))
	_, err = put.Recv()
	require.Equal(t, codes.InvalidArgument, status.Code(err), "%v", err)
}

func TestSessionsHaveOneCatalogAndOneSchema(t *testing.T) {
	client, _ := serve(t, chronikflight.Options{Backend: newBackend()})
	ctx := withTimeout(t)
	options, err := flight.NewSessionOptionValues(map[string]any{"catalog": "chronik", "schema": "elsewhere", "color": "red"})
	require.NoError(t, err)
	set, err := client.SetSessionOptions(ctx, &flight.SetSessionOptionsRequest{SessionOptions: options})
	require.NoError(t, err)
	require.Len(t, set.Errors, 2)
	require.Equal(t, flight.SetSessionOptionsResultErrorInvalidValue, set.Errors["schema"].Value)
	require.Equal(t, flight.SetSessionOptionsResultErrorInvalidName, set.Errors["color"].Value)
	got, err := client.GetSessionOptions(ctx, &flight.GetSessionOptionsRequest{})
	require.NoError(t, err)
	require.Equal(t, "topics", got.SessionOptions["schema"].GetStringValue())
	closed, err := client.CloseSession(ctx, &flight.CloseSessionRequest{})
	require.NoError(t, err)
	require.Equal(t, flight.CloseSessionResultClosed, closed.Status)
}

// users knows ann, by her password or by a token.
type users struct{}

func (users) Authenticate(_ context.Context, shown auth.Credentials) (auth.Principal, error) {
	if shown == (auth.Credentials{User: "ann", Password: "secret"}) || shown.Token == "token-of-ann" {
		return auth.Principal{Name: "ann"}, nil
	}
	return auth.Principal{}, &auth.Refusal{Message: "user or password are wrong"}
}

func (users) Token(_ context.Context, p auth.Principal) (string, error) {
	return "token-of-" + p.Name, nil
}

func TestAuthenticationByHandshakeAndByHeaders(t *testing.T) {
	b := newBackend()
	client, _ := serve(t, chronikflight.Options{Backend: b, Auth: users{}})
	ask := func(ctx context.Context) error {
		r, err := client.DoGet(ctx, &flight.Ticket{Ticket: []byte("sql:rows 1 1")})
		if err == nil {
			read(t, r)
		}
		return err
	}
	header := func(value string) context.Context {
		return metadata.AppendToOutgoingContext(withTimeout(t), "authorization", value)
	}
	err := ask(withTimeout(t))
	require.Equal(t, codes.Unauthenticated, status.Code(err))
	require.Equal(t, "UNAUTHORIZED", reasonOf(err))
	for _, wrong := range []string{"Bearer x", "Basic x", "Digest y", "Basic YW5uOndyb25n"} {
		require.Equal(t, codes.Unauthenticated, status.Code(ask(header(wrong))), wrong)
		_, err := client.Execute(header(wrong), "rows 1 1")
		require.Equal(t, codes.Unauthenticated, status.Code(err), wrong)
	}
	require.NoError(t, ask(header("Bearer token-of-ann")))
	require.NoError(t, ask(header("Basic YW5uOnNlY3JldA==")))
	require.Equal(t, auth.Principal{Name: "ann"}, b.lastStatement().Principal)

	ctx, err := client.Client.AuthenticateBasicToken(withTimeout(t), "ann", "secret")
	require.NoError(t, err)
	require.NoError(t, ask(ctx))
	_, err = client.Client.AuthenticateBasicToken(withTimeout(t), "ann", "wrong")
	require.Equal(t, codes.Unauthenticated, status.Code(err))

	// A handshake with a token, as with Basic.
	stream, err := client.Client.Handshake(header("Bearer token-of-ann"))
	require.NoError(t, err)
	require.NoError(t, stream.CloseSend())
	_, err = stream.Recv()
	require.NoError(t, err)
	answered, err := stream.Header()
	require.NoError(t, err)
	require.Equal(t, []string{"Bearer token-of-ann"}, answered.Get("authorization"))
}

func TestTheOlderHandshakeIsByMessage(t *testing.T) {
	client, _ := serve(t, chronikflight.Options{Backend: newBackend(), Auth: users{}})
	shake := func(payload []byte) (*flight.HandshakeResponse, error) {
		stream, err := client.Client.Handshake(withTimeout(t))
		require.NoError(t, err)
		require.NoError(t, stream.Send(&flight.HandshakeRequest{Payload: payload}))
		require.NoError(t, stream.CloseSend())
		return stream.Recv()
	}
	payload, err := proto.Marshal(&flight.BasicAuth{Username: "ann", Password: "secret"})
	require.NoError(t, err)
	answer, err := shake(payload)
	require.NoError(t, err)
	require.Equal(t, "token-of-ann", string(answer.Payload))
	ctx := metadata.AppendToOutgoingContext(withTimeout(t), "auth-token-bin", string(answer.Payload))
	_, err = client.Execute(ctx, "rows 1 1")
	require.NoError(t, err)

	for _, wrong := range [][]byte{{0xff}, []byte("x")} {
		_, err := shake(wrong)
		require.Equal(t, codes.Unauthenticated, status.Code(err))
	}
}

func TestWithoutUsersEverybodyMayLogInAsAnybody(t *testing.T) {
	b := newBackend()
	client, _ := serve(t, chronikflight.Options{Backend: b})
	ctx, err := client.Client.AuthenticateBasicToken(withTimeout(t), "whoever", "whatever")
	require.NoError(t, err)
	r, err := client.DoGet(ctx, &flight.Ticket{Ticket: []byte("sql:rows 1 1")})
	require.NoError(t, err)
	read(t, r)
	require.Equal(t, "anonymous", b.lastStatement().Principal.Name)
}

func TestCallsAreObserved(t *testing.T) {
	seen := make(chan string, 10)
	observe := func(method, code string, took time.Duration) { seen <- method + " " + code }
	client, _ := serve(t, chronikflight.Options{Backend: newBackend(), Observe: observe})
	_, err := client.Execute(withTimeout(t), "bad")
	require.Error(t, err)
	require.Equal(t, "GetFlightInfo InvalidArgument", <-seen)
}
