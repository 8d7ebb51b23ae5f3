package e2e

import (
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/duckdb/duckdb-go/v2"
)

// reference is DuckDB alone, with the records in tables of its own.
type reference struct {
	t  *testing.T
	db *sql.DB

	refused int // queries that both refused
}

func newReference(t *testing.T) *reference {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	ref := &reference{t: t, db: db}
	ref.must("SET TimeZone = 'UTC'")
	for _, f := range []string{"json_extract", "json_extract_string", "json_type", "json_array_length", "json_exists", "json_contains"} {
		ref.must(fmt.Sprintf(`CREATE MACRO %[1]s(v BLOB, p VARCHAR) AS try(system.main.%[1]s(try(decode(v)), p)),
			(v VARCHAR, p VARCHAR) AS try(system.main.%[1]s(v, p))`, f))
	}
	ref.must(`CREATE MACRO json_valid(v BLOB) AS system.main.json_valid(try(decode(v)))`)
	ref.must(`CREATE MACRO json_extract_float(v BLOB, p VARCHAR) AS TRY_CAST(json_extract_string(v, p) AS DOUBLE)`)
	ref.must(`CREATE MACRO json_extract_int(v BLOB, p VARCHAR) AS
		CASE WHEN TRY_CAST(json_extract_string(v, p) AS DECIMAL(38, 9)) % 1 = 0 THEN TRY_CAST(json_extract_string(v, p) AS BIGINT) END`)
	ref.must(`CREATE MACRO decode_utf8(v BLOB) AS try(decode(v))`)
	return ref
}

func (ref *reference) must(statement string) {
	ref.t.Helper()
	if _, err := ref.db.Exec(statement); err != nil {
		ref.t.Fatalf("%.200s: %v", statement, err)
	}
}

// load makes a table of some records of a topic, with the columns that typedBy has.
func (ref *reference) load(table, topic string, records, typedBy []randomRecord) {
	ref.t.Helper()
	names, types := columnsOf(typedBy)
	columns := "_topic VARCHAR, _partition INTEGER, _offset BIGINT, _timestamp TIMESTAMPTZ, _timestamp_type TINYINT, _key BLOB, _value BLOB, _headers MAP(VARCHAR, BLOB)"
	for _, name := range names {
		columns += fmt.Sprintf(", %q %s", name, types[name])
	}
	ref.must(fmt.Sprintf("CREATE TABLE %q (%s)", table, columns))
	const rowsOfAStatement = 500
	for begin := 0; begin < len(records); begin += rowsOfAStatement {
		var rows []string
		for _, r := range records[begin:min(begin+rowsOfAStatement, len(records))] {
			row := []string{quote(topic), fmt.Sprint(r.partition), fmt.Sprint(r.offset), quote(r.timestamp.Format(time.RFC3339Nano)), "0", blob(r.key), blob(r.value), headerMap(r.headers)}
			for _, name := range names {
				row = append(row, cell(r.fields[name], types[name]))
			}
			rows = append(rows, "("+strings.Join(row, ", ")+")")
		}
		ref.must(fmt.Sprintf("INSERT INTO %q VALUES %s", table, strings.Join(rows, ", ")))
	}
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func blob(b []byte) string {
	if b == nil {
		return "NULL"
	}
	var text strings.Builder
	for _, c := range b {
		fmt.Fprintf(&text, `\x%02x`, c)
	}
	return "'" + text.String() + "'::BLOB"
}

func headerMap(headers [][2]string) string {
	var keys, values []string
	for _, h := range headers {
		keys, values = append(keys, quote(h[0])), append(values, blob([]byte(h[1])))
	}
	return "MAP([" + strings.Join(keys, ", ") + "]::VARCHAR[], [" + strings.Join(values, ", ") + "]::BLOB[])"
}

func cell(f field, want columnType) string {
	switch {
	case f.literal == "":
		return "NULL"
	case f.quoted:
		return quote(f.text) + "::" + string(want)
	}
	return quote(f.literal) + "::" + string(want)
}

// ask returns the rows of an answer, each in its canonical form.
func (ref *reference) ask(query string) ([]string, error) {
	rows, err := ref.db.Query(query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	raw, into := make([]any, len(types)), make([]any, len(types))
	for i := range raw {
		into[i] = &raw[i]
	}
	out := []string{}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		row := map[string]any{}
		for i, t := range types {
			if at, ok := raw[i].(time.Time); ok && t.DatabaseTypeName() == "DATE" {
				raw[i] = at.Format(time.DateOnly)
			}
			row[t.Name()] = raw[i]
		}
		out = append(out, canonicalRow(row))
	}
	return out, rows.Err()
}

func canonicalRow(row map[string]any) string {
	names := make([]string, 0, len(row))
	for name := range row {
		names = append(names, name)
	}
	sort.Strings(names)
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%s=%s; ", name, canonical(row[name]))
	}
	return b.String()
}

// canonical writes a value of the driver, or of a JSON answer, in one form.
// Floats have nine digits, since sums depend on the order of their terms.
func canonical(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case []byte:
		if utf8.Valid(v) {
			return strconv.Quote(string(v))
		}
		return "base64 " + base64.StdEncoding.EncodeToString(v)
	case string:
		return strconv.Quote(v)
	case time.Time:
		return strconv.Quote(v.UTC().Format(time.RFC3339Nano))
	case json.Number:
		return number(v.String())
	case *big.Int, int64, int32, int16, int8, uint64, uint32, uint16, uint8, int:
		return number(fmt.Sprint(v))
	case float64:
		return float(v)
	case duckdb.Decimal:
		return number(v.String())
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = canonical(item)
		}
		return "[" + strings.Join(items, " ") + "]"
	case duckdb.OrderedMap:
		plain := map[string]any{}
		for i, key := range v.Keys() {
			plain[fmt.Sprint(key)] = v.Values()[i]
		}
		return canonical(plain)
	case map[string]any:
		if encoded, ok := v["$binary"].(string); ok && len(v) == 1 {
			return "base64 " + encoded
		}
		return "{" + canonicalRow(v) + "}"
	}
	return fmt.Sprint(v) // bool
}

// number keeps integers whole.
func number(text string) string {
	if _, ok := new(big.Int).SetString(text, 10); ok {
		return text
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return strconv.Quote(text)
	}
	return float(f)
}

// float writes nine digits, and what JSON has no number for as the text that
// answers have.
func float(f float64) string {
	switch {
	case math.IsNaN(f):
		return `"NaN"`
	case math.IsInf(f, 1):
		return `"Infinity"`
	case math.IsInf(f, -1):
		return `"-Infinity"`
	case f == math.Trunc(f) && math.Abs(f) < 1e9:
		return strconv.FormatInt(int64(f), 10)
	}
	return strconv.FormatFloat(f, 'g', 9, 64)
}
