//go:build !nosql

package query

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	arrowflight "github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// flight returns a client of the node's Flight service.
func (c *cluster) flight() *flightsql.Client {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(c.t, err)
	server := grpc.NewServer()
	arrowflight.RegisterFlightServiceServer(server, c.node.Flight())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	client, err := flightsql.NewClient(l.Addr().String(), nil, nil, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(c.t, err)
	c.t.Cleanup(func() {
		require.NoError(c.t, client.Close())
		server.Stop()
		require.NoError(c.t, <-ended)
	})
	return client
}

// rowsOf reads the answer of a FlightInfo as text, and checks that its columns
// are those that were announced.
func (c *cluster) rowsOf(client *flightsql.Client, info *arrowflight.FlightInfo, err error) []string {
	c.t.Helper()
	require.NoError(c.t, err)
	announced, err := arrowflight.DeserializeSchema(info.Schema, memory.DefaultAllocator)
	require.NoError(c.t, err)
	r, err := client.DoGet(c.t.Context(), info.Endpoint[0].Ticket)
	require.NoError(c.t, err)
	defer r.Release()
	require.True(c.t, r.Schema().Equal(announced), "announced %s\nsent %s", announced, r.Schema())
	require.Contains(c.t, r.Schema().Metadata().Keys(), "chronik.coverage")
	out := []string{}
	for r.Next() {
		batch := r.RecordBatch()
		for i := range int(batch.NumRows()) {
			var values []string
			for _, column := range batch.Columns() {
				values = append(values, column.ValueStr(i))
			}
			out = append(out, strings.Join(values, " "))
		}
	}
	require.NoError(c.t, r.Err())
	return out
}

func TestFlightAnswersOverFilesAndTail(t *testing.T) {
	c := newCluster(t, 1)
	client := c.flight()
	ask := func(query string) []string {
		t.Helper()
		info, err := client.Execute(t.Context(), query)
		return c.rowsOf(client, info, err)
	}
	c.broker.Produce(t, 0, 0, `{"city":"Oslo","n":1}`)
	require.Equal(t, []string{"Oslo 1"}, ask("SELECT city, n FROM orders"), "columns of the tail alone")
	c.compact(0, 1)
	c.broker.Produce(t, 0, 0, `{"city":"Rome","n":2.5,"new":true}`)
	require.Equal(t, []string{"Oslo 1 (null)", "Rome 2.5 true"}, ask("SELECT city, n, new FROM orders ORDER BY offset"))
	require.Equal(t, []string{"2"}, ask("SELECT count(*) FROM orders"))
	require.Equal(t, []string{}, ask("SELECT * FROM orders WHERE n > 100"))
	require.Len(t, ask("SELECT * FROM orders"), 2)
	require.Equal(t, []string{"1"}, ask(`SELECT count(*) FROM "chronik"."topics"."orders_cold"`))
	require.Equal(t, []string{"1"}, ask(`SELECT count(*) FROM topics.orders_hot AS o WHERE o.city = 'Rome'`))
	require.Equal(t, []string{"0", "1", "2"}, ask("SELECT * FROM range(3)"))

	_, err := client.Execute(t.Context(), "SELECT nothing FROM orders")
	require.Equal(t, codes.InvalidArgument, status.Code(err))
	_, err = client.Execute(t.Context(), "SELECT * FROM nowhere")
	require.Equal(t, codes.NotFound, status.Code(err))
	_, err = client.Execute(metadata.AppendToOutgoingContext(t.Context(), "x-chronik-freshness", "warm"), "SELECT 1")
	require.Equal(t, codes.InvalidArgument, status.Code(err))

	cold := metadata.AppendToOutgoingContext(t.Context(), "x-chronik-freshness", "cold")
	info, err := client.Execute(cold, "SELECT count(*) FROM orders")
	require.Equal(t, []string{"1"}, c.rowsOf(client, info, err))
}

func TestFlightStreamsMoreRowsThanTheLimitOfJSON(t *testing.T) {
	c := newCluster(t, 1)
	client := c.flight()
	r, err := client.DoGet(t.Context(), &arrowflight.Ticket{Ticket: []byte("sql:SELECT * FROM range(1500000)")})
	require.NoError(t, err)
	defer r.Release()
	rows := int64(0)
	for r.Next() {
		rows += r.RecordBatch().NumRows()
	}
	require.NoError(t, r.Err())
	require.EqualValues(t, 1_500_000, rows)
}

func TestPreparedStatementsOfFlightHaveTypedParameters(t *testing.T) {
	c := newCluster(t, 1)
	client := c.flight()
	for i := range 4 {
		c.broker.Produce(t, 0, 0, fmt.Sprintf(`{"city":"c%d","n":%d}`, i, i))
	}
	c.compact(0, 2)
	p, err := client.Prepare(t.Context(), "SELECT city, ? AS given FROM orders WHERE _offset >= ? AND city <> ? AND _timestamp < ? ORDER BY _offset")
	require.NoError(t, err)
	var types []string
	for _, f := range p.ParameterSchema().Fields() {
		types = append(types, f.Type.String())
	}
	require.Equal(t, []string{"utf8", "int64", "utf8", "timestamp[us, tz=UTC]"}, types)

	schema := arrow.NewSchema([]arrow.Field{
		{Name: "a", Type: &arrow.Decimal128Type{Precision: 10, Scale: 2}, Nullable: true}, {Name: "b", Type: arrow.PrimitiveTypes.Int8},
		{Name: "c", Type: arrow.BinaryTypes.String}, {Name: "d", Type: arrow.FixedWidthTypes.Timestamp_ms},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	require.NoError(t, b.Field(0).(*array.Decimal128Builder).AppendValueFromString("-12.34"))
	b.Field(1).(*array.Int8Builder).Append(1)
	b.Field(2).(*array.StringBuilder).Append("c2")
	b.Field(3).(*array.TimestampBuilder).Append(arrow.Timestamp(time.Now().Add(time.Hour).UnixMilli()))
	p.SetParameters(b.NewRecordBatch())
	info, err := p.Execute(t.Context())
	require.Equal(t, []string{"c1 -12.34", "c3 -12.34"}, c.rowsOf(client, info, err))

	// Too few, and none.
	few := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(schema.Fields()[1:2], nil))
	defer few.Release()
	few.Field(0).(*array.Int8Builder).Append(1)
	p.SetParameters(few.NewRecordBatch())
	_, err = p.Execute(t.Context())
	require.ErrorContains(t, err, "4 parameters, 1 values")
	_, err = client.DoGet(t.Context(), &arrowflight.Ticket{Ticket: []byte("sql:SELECT ?")})
	require.ErrorContains(t, err, "1 parameters, 0 values")
}

func TestFlightListsTablesWithTheColumnsOfTheirTails(t *testing.T) {
	c := newCluster(t, 1)
	client := c.flight()
	c.broker.Produce(t, 0, 0, `{"city":"Oslo","n":1,"at":"2026-01-02T03:04:05Z","d":1.5,"ok":true}`)
	info, err := client.GetTables(t.Context(), &flightsql.GetTablesOpts{IncludeSchema: true})
	require.NoError(t, err)
	r, err := client.DoGet(t.Context(), info.Endpoint[0].Ticket)
	require.NoError(t, err)
	defer r.Release()
	require.True(t, r.Next())
	require.Equal(t, "orders", r.RecordBatch().Column(2).(*array.String).Value(0))
	listed, err := arrowflight.DeserializeSchema(r.RecordBatch().Column(4).(*array.Binary).Value(0), memory.DefaultAllocator)
	require.NoError(t, err)

	// The same as a query answers, but that a query does not promise values.
	answered, err := client.GetExecuteSchema(t.Context(), "SELECT * FROM orders")
	require.NoError(t, err)
	schema, err := arrowflight.DeserializeSchema(answered.Schema, memory.DefaultAllocator)
	require.NoError(t, err)
	require.Equal(t, schema.NumFields(), listed.NumFields())
	for i, f := range schema.Fields() {
		require.Equal(t, f.Name, listed.Field(i).Name)
		require.True(t, arrow.TypeEqual(f.Type, listed.Field(i).Type), "%s: %s, listed as %s", f.Name, f.Type, listed.Field(i).Type)
	}
}

// listed are the columns of orders in a listing.
func (c *cluster) listed(client *flightsql.Client) string {
	c.t.Helper()
	info, err := client.GetTables(c.t.Context(), &flightsql.GetTablesOpts{IncludeSchema: true})
	require.NoError(c.t, err)
	r, err := client.DoGet(c.t.Context(), info.Endpoint[0].Ticket)
	require.NoError(c.t, err)
	defer r.Release()
	require.True(c.t, r.Next())
	schema, err := arrowflight.DeserializeSchema(r.RecordBatch().Column(4).(*array.Binary).Value(0), memory.DefaultAllocator)
	require.NoError(c.t, err)
	var names []string
	for _, f := range schema.Fields() {
		if !strings.HasPrefix(f.Name, "_") {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, " ")
}

func TestFlightListsTablesWithFilesWithoutReadingTheirTails(t *testing.T) {
	c := newCluster(t, 2)
	client := c.flight()
	c.broker.Produce(t, 0, 0, `{"city":"Oslo"}`)
	c.compact(0, 1)
	c.broker.Produce(t, 0, 1, `{"city":"Rome","n":1}`)
	c.broker.Produce(t, 1, 0, `{"city":"Bern"}`)
	require.Equal(t, "city", c.listed(client))
	require.Empty(t, c.node.tails.Active())

	// Who asks for the table has its tail read, and listings know the rest.
	require.Equal(t, 3, c.ask("SELECT * FROM orders").RowCount)
	require.NotEmpty(t, c.node.tails.Active())
	require.Equal(t, "city n", c.listed(client))
}

func TestAFlightThatIsLeftEndsItsQuery(t *testing.T) {
	c := newCluster(t, 1, func(config *Config) { config.ConcurrentMax = 1 })
	client := c.flight()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := client.DoGet(ctx, &arrowflight.Ticket{Ticket: []byte("sql:SELECT * FROM range(1000000000000)")})
	require.NoError(t, err)
	require.True(t, r.Next())
	cancel()
	r.Release()
	// The only place among the running queries is free again.
	require.Equal(t, 1, c.ask("SELECT 1 AS one").RowCount)

	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = client.DoGet(ctx, &arrowflight.Ticket{Ticket: []byte("sql:SELECT count(*) FROM range(1000000000000) a, range(1000) b")})
	require.Equal(t, codes.DeadlineExceeded, status.Code(err), "%v", err)
	require.Equal(t, 1, c.ask("SELECT 1 AS one").RowCount)
}

func TestArrowOverHTTPIsAStream(t *testing.T) {
	c := newCluster(t, 1)
	c.broker.Produce(t, 0, 0, `{"city":"Oslo"}`)
	post := func(body string) *http.Response {
		r, err := http.Post(c.url+"/_arrow/query", "application/json", strings.NewReader(body))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, r.Body.Close()) })
		return r
	}
	response := post(`{"query":"SELECT city FROM orders"}`)
	require.Equal(t, 200, response.StatusCode)
	require.Equal(t, "application/vnd.apache.arrow.stream", response.Header.Get("Content-Type"))
	r, err := ipc.NewReader(response.Body)
	require.NoError(t, err)
	defer r.Release()
	require.True(t, r.Next())
	require.Equal(t, "Oslo", r.RecordBatch().Column(0).ValueStr(0))
	require.False(t, r.Next())
	require.NoError(t, r.Err())
	coverage, _ := r.Schema().Metadata().GetValue("chronik.coverage")
	require.JSONEq(t, `{"orders":{"partitions":{"0":{"from":0,"to":1,"high_watermark":1}},"lag_records":0}}`, coverage)

	for body, want := range map[string]int{
		`{"query":"SELECT"}`: 400, `{"query":"SELECT * FROM nowhere"}`: 404, `{"query":"SELECT 1","row_format":"array"}`: 400, `{}`: 400,
	} {
		require.Equal(t, want, post(body).StatusCode, body)
	}
}

func TestAnArrowStreamThatFailsDoesNotLookWhole(t *testing.T) {
	c := newCluster(t, 1)
	body := `{"query":"SELECT CAST(CASE WHEN range < 20000000 THEN '1' ELSE 'x' END AS INTEGER) FROM range(20000001)"}`
	response, err := http.Post(c.url+"/_arrow/query", "application/json", strings.NewReader(body))
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, 200, response.StatusCode)
	_, err = io.Copy(io.Discard, response.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}
