// Command go drives ADBC's Go driver for Flight SQL, by its own interface and by
// database/sql, against a server with the suite's topic.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-adbc/go/adbc"
	"github.com/apache/arrow-adbc/go/adbc/driver/flightsql"
	"github.com/apache/arrow-adbc/go/adbc/sqldriver"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

const version = "1.11.0" // of go.mod

func main() {
	rows, err := strconv.ParseInt(os.Getenv("FLIGHT_ROWS"), 10, 64)
	if err != nil {
		fmt.Fprintln(os.Stderr, "FLIGHT_ROWS:", err)
		os.Exit(1)
	}
	c := &client{uri: "grpc://" + os.Getenv("FLIGHT_ADDRESS"), rows: rows}
	for _, check := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{
		{"every row and type", c.whole}, {"values of every type", c.types}, {"parameters", c.parameters}, {"catalog", c.catalog},
		{"server info", c.info}, {"cancel", c.cancel}, {"errors", c.errors}, {"log in", c.logIn}, {"database/sql", c.databaseSQL},
		{"transactions are refused", c.transactions},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		detail, err := check.do(ctx)
		cancel()
		if err != nil {
			detail = err.Error()
		}
		line, _ := json.Marshal(map[string]any{"client": "adbc-go", "version": version, "check": check.name, "ok": err == nil, "detail": detail})
		fmt.Println(string(line))
	}
}

type client struct {
	uri  string
	rows int64
}

// open returns a connection, and what closes it.
func (c *client) open(ctx context.Context, options map[string]string) (adbc.Connection, func(), error) {
	settings := map[string]string{adbc.OptionKeyURI: c.uri}
	for k, v := range options {
		settings[k] = v
	}
	db, err := flightsql.NewDriver(memory.DefaultAllocator).NewDatabase(settings)
	if err != nil {
		return nil, nil, err
	}
	conn, err := db.Open(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return conn, func() { conn.Close(); db.Close() }, nil
}

// ask runs a query with at most one row of parameters, and hands each batch on.
func (c *client) ask(ctx context.Context, query string, parameters arrow.RecordBatch, options map[string]string, each func(arrow.RecordBatch)) error {
	conn, closeAll, err := c.open(ctx, options)
	if err != nil {
		return err
	}
	defer closeAll()
	statement, err := conn.NewStatement()
	if err != nil {
		return err
	}
	defer statement.Close()
	if err := statement.SetSqlQuery(query); err != nil {
		return err
	}
	if parameters != nil {
		if err := errors.Join(statement.Prepare(ctx), statement.Bind(ctx, parameters)); err != nil {
			return err
		}
	}
	reader, _, err := statement.ExecuteQuery(ctx)
	if err != nil {
		return err
	}
	defer reader.Release()
	for reader.Next() {
		each(reader.RecordBatch())
	}
	return reader.Err()
}

// one is the only value of an answer, as text.
func (c *client) one(ctx context.Context, query string, parameters arrow.RecordBatch) (value string, err error) {
	rows := int64(0)
	err = c.ask(ctx, query, parameters, nil, func(b arrow.RecordBatch) {
		rows += b.NumRows()
		value = b.Column(0).ValueStr(0)
	})
	if err == nil && rows != 1 {
		err = fmt.Errorf("%d rows, not one", rows)
	}
	return value, err
}

func want(got, want any) error {
	if got != want {
		return fmt.Errorf("%v, not %v", got, want)
	}
	return nil
}

func (c *client) whole(ctx context.Context) (string, error) {
	rows, sum, types := int64(0), int64(0), ""
	err := c.ask(ctx, "SELECT * FROM orders", nil, nil, func(b arrow.RecordBatch) {
		rows += b.NumRows()
		ids, ok := b.Column(b.Schema().FieldIndices("id")[0]).(*array.Int64)
		for i := 0; ok && i < ids.Len(); i++ {
			sum += ids.Value(i)
		}
		types = fmt.Sprint(b.Column(b.Schema().FieldIndices("amount")[0]).DataType(), b.Column(b.Schema().FieldIndices("made")[0]).DataType())
	})
	return fmt.Sprintf("%d rows", rows), errors.Join(err, want(rows, c.rows), want(sum, c.rows*(c.rows-1)/2), want(types, "float64 timestamp[us, tz=UTC]"))
}

func (c *client) parameters(ctx context.Context) (string, error) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "a", Type: arrow.PrimitiveTypes.Int32}, {Name: "b", Type: arrow.BinaryTypes.String},
		{Name: "c", Type: &arrow.Decimal128Type{Precision: 12, Scale: 2}}, {Name: "d", Type: arrow.FixedWidthTypes.Date32},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	b.Field(0).(*array.Int32Builder).Append(9)
	b.Field(1).(*array.StringBuilder).Append("Oslo")
	if err := b.Field(2).(*array.Decimal128Builder).AppendValueFromString("2.25"); err != nil {
		return "", err
	}
	b.Field(3).(*array.Date32Builder).Append(arrow.Date32FromTime(time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)))
	n, err := c.one(ctx, "SELECT count(*) FROM orders WHERE id = ? AND city = ? AND amount = ? AND made::DATE = ?", b.NewRecordBatch())
	return "int32, text, decimal, date", errors.Join(err, want(n, "1"))
}

func (c *client) catalog(ctx context.Context) (string, error) {
	conn, closeAll, err := c.open(ctx, nil)
	if err != nil {
		return "", err
	}
	defer closeAll()
	catalog, schema := "chronik", "topics"
	columns, err := conn.GetTableSchema(ctx, &catalog, &schema, "orders")
	if err != nil {
		return "", err
	}
	reader, err := conn.GetObjects(ctx, adbc.ObjectDepthAll, nil, nil, nil, nil, nil)
	if err != nil {
		return "", err
	}
	defer reader.Release()
	text := ""
	for reader.Next() {
		for i := range int(reader.RecordBatch().NumRows()) {
			text += reader.RecordBatch().Column(1).ValueStr(i)
		}
	}
	if !strings.Contains(text, `"orders"`) || !strings.Contains(text, `"amount"`) {
		return "", fmt.Errorf("no table orders with column amount in %.300s", text)
	}
	return fmt.Sprintf("%d columns", columns.NumFields()), reader.Err()
}

func (c *client) info(ctx context.Context) (string, error) {
	conn, closeAll, err := c.open(ctx, nil)
	if err != nil {
		return "", err
	}
	defer closeAll()
	reader, err := conn.GetInfo(ctx, []adbc.InfoCode{adbc.InfoVendorName, adbc.InfoVendorVersion, adbc.InfoVendorSql, adbc.InfoVendorSubstrait})
	if err != nil {
		return "", err
	}
	defer reader.Release()
	text := ""
	for reader.Next() {
		for i := range int(reader.RecordBatch().NumRows()) {
			text += reader.RecordBatch().Column(1).ValueStr(i) + " "
		}
	}
	if !strings.Contains(text, "Chronik") {
		return "", fmt.Errorf("no Chronik in %s", text)
	}
	return text, reader.Err()
}

func (c *client) cancel(ctx context.Context) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	batches := 0
	err := c.ask(ctx, "SELECT * FROM range(1000000000000)", nil, nil, func(arrow.RecordBatch) {
		if batches++; batches == 2 {
			cancel()
		}
	})
	if err == nil || !strings.Contains(strings.ToLower(err.Error()), "cancel") {
		return "", fmt.Errorf("it ended with %v", err)
	}
	return fmt.Sprintf("after %d batches", batches), nil
}

func (c *client) errors(ctx context.Context) (string, error) {
	err := c.ask(ctx, "SELECT nothing FROM orders", nil, nil, func(arrow.RecordBatch) {})
	var failed adbc.Error
	if !errors.As(err, &failed) || failed.Code != adbc.StatusInvalidArgument {
		return "", fmt.Errorf("it ended with %v", err)
	}
	if len(failed.Details) == 0 {
		return "", errors.New("the error has no details")
	}
	return failed.Code.String(), nil
}

func (c *client) logIn(ctx context.Context) (string, error) {
	options := map[string]string{adbc.OptionKeyUsername: "ann", adbc.OptionKeyPassword: "x"}
	return "", c.ask(ctx, "SELECT 1", nil, options, func(arrow.RecordBatch) {})
}

func (c *client) databaseSQL(ctx context.Context) (string, error) {
	sql.Register("flightsql", sqldriver.Driver{Driver: flightsql.NewDriver(memory.DefaultAllocator)})
	db, err := sql.Open("flightsql", "uri="+c.uri)
	if err != nil {
		return "", err
	}
	defer db.Close()
	// This driver takes parameters of prepared statements only.
	statement, err := db.PrepareContext(ctx, "SELECT city, count(*) FROM orders WHERE city = ? GROUP BY city")
	if err != nil {
		return "", err
	}
	defer statement.Close()
	var city string
	var n int64
	err = statement.QueryRowContext(ctx, "Rome").Scan(&city, &n)
	return fmt.Sprint(city, " ", n), errors.Join(err, want(city, "Rome"), want(n, (c.rows+1)/3))
}

func (c *client) transactions(ctx context.Context) (string, error) {
	conn, closeAll, err := c.open(ctx, nil)
	if err != nil {
		return "", err
	}
	defer closeAll()
	err = conn.(adbc.PostInitOptions).SetOption(adbc.OptionKeyAutoCommit, adbc.OptionValueDisabled)
	if err == nil {
		return "", errors.New("autocommit could be switched off")
	}
	return fmt.Sprintf("%.100s", err), nil
}
