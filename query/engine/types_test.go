//go:build !nosql

package engine

import (
	"bytes"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/query/answer"
)

// typed is a value with its Arrow type, and how JSON and CSV have it.
type typed struct{ expression, arrow, json, csv string }

var types = []typed{
	{`NULL`, "int32", `null`, ``},
	{`true`, "bool", `true`, `true`},
	{`(-128)::TINYINT`, "int8", `-128`, `-128`},
	{`(-9223372036854775808)::BIGINT`, "int64", `-9223372036854775808`, `-9223372036854775808`},
	{`18446744073709551615::UBIGINT`, "uint64", `18446744073709551615`, `18446744073709551615`},
	{`170141183460469231731687303715884105727::HUGEINT`, "decimal(38, 0)", `170141183460469231731687303715884105727`, `170141183460469231731687303715884105727`},
	{`1.5::FLOAT`, "float32", `1.5`, `1.5`},
	{`'nan'::FLOAT`, "float32", `"NaN"`, `NaN`},
	{`'-inf'::DOUBLE`, "float64", `"-Infinity"`, `-Infinity`},
	{`1e300`, "float64", `1e+300`, `1e+300`},
	{`99999999999999999999999999999999999.999::DECIMAL(38,3)`, "decimal(38, 3)", `99999999999999999999999999999999999.999`, `99999999999999999999999999999999999.999`},
	{`-0.01::DECIMAL(4,2)`, "decimal(4, 2)", `-0.01`, `-0.01`},
	{`'a"b,c' || chr(10)`, "utf8", `"a\"b,c\n"`, "\"a\"\"b,c\n\""},
	{`''`, "utf8", `""`, `""`},
	{`'\xFF'::BLOB`, "binary", `{"$binary":"/w=="}`, `"{""$binary"":""/w==""}"`},
	{`'ab'::BLOB`, "binary", `"ab"`, `ab`},
	{`''::BLOB`, "binary", `""`, `""`},
	{`'6b1e3a52-9f4b-4a0e-8a55-000000000001'::UUID`, "utf8", `"6b1e3a52-9f4b-4a0e-8a55-000000000001"`, `6b1e3a52-9f4b-4a0e-8a55-000000000001`},
	{`DATE '-0044-03-15'`, "date32", `"-0044-03-15"`, `-0044-03-15`},
	{`'infinity'::DATE`, "date32", `"infinity"`, `infinity`},
	{`TIME '01:02:03.000004'`, "time64[us]", `"01:02:03.000004"`, `01:02:03.000004`},
	{`'01:02:03.000000004'::TIME_NS`, "time64[ns]", `"01:02:03.000000004"`, `01:02:03.000000004`},
	{`TIMESTAMP '9999-12-31 23:59:59.999999'`, "timestamp[us]", `"9999-12-31T23:59:59.999999"`, `9999-12-31T23:59:59.999999`},
	{`TIMESTAMP_S '2026-11-23 01:02:03'`, "timestamp[s]", `"2026-11-23T01:02:03"`, `2026-11-23T01:02:03`},
	{`TIMESTAMP_MS '2026-11-23 01:02:03.004'`, "timestamp[ms]", `"2026-11-23T01:02:03.004"`, `2026-11-23T01:02:03.004`},
	{`TIMESTAMP_NS '2026-11-23 01:02:03.000000004'`, "timestamp[ns]", `"2026-11-23T01:02:03.000000004"`, `2026-11-23T01:02:03.000000004`},
	{`TIMESTAMPTZ '2026-11-23 01:02:03+02'`, "timestamp[us, tz=UTC]", `"2026-11-22T23:02:03Z"`, `2026-11-22T23:02:03Z`},
	{`INTERVAL '1 year 2 months 3 days 4.5 seconds'`, "month_day_nano_interval", `"P14M3DT4.5S"`, `P14M3DT4.5S`},
	{`[1, NULL, 3]`, "list<l: int32, nullable>", `[1,null,3]`, `"[1,null,3]"`},
	{`[[1], NULL, []]`, "list<l: list<l: int32, nullable>, nullable>", `[[1],null,[]]`, `"[[1],null,[]]"`},
	{`[[1,2],[3,4]]::INTEGER[2][2]`, "fixed_size_list<: fixed_size_list<: int32, nullable>[2], nullable>[2]", `[[1,2],[3,4]]`, `"[[1,2],[3,4]]"`},
	{`{'a': 1, 'b': {'c': NULL}}`, "struct<a: int32 nullable, b: struct<c: int32 nullable> nullable>", `{"a":1,"b":{"c":null}}`, `"{""a"":1,""b"":{""c"":null}}"`},
	{`NULL::STRUCT(a INT)`, "struct<a: int32 nullable>", `null`, ``},
	{`row(1, 'x')`, "struct<: int32 nullable, : utf8 nullable>", `[1,"x"]`, `"[1,""x""]"`},
	{`MAP {'k': 1, 'l': NULL}`, "map<utf8, int32, items_nullable>", `{"k":1,"l":null}`, `"{""k"":1,""l"":null}"`},
	{`MAP {[1]: {'a': 2}}`, "map<list<l: int32, nullable>, struct<a: int32 nullable>, items_nullable>", `{"[1]":{"a":2}}`, `"{""[1]"":{""a"":2}}"`},
	{`[1.5::DECIMAL(4,2)]`, "list<l: decimal(4, 2), nullable>", `[1.50]`, `[1.50]`},
	{`'{"a":1}'::JSON`, "utf8", `"{\"a\":1}"`, `"{""a"":1}"`},
}

func TestEveryTypeIsTheSameValueInEveryFormat(t *testing.T) {
	e, file := open(t, Options{}), table(t)
	for _, want := range types {
		query := `SELECT ` + want.expression + ` AS x`
		got, err := ask(t, e, file, query, 10)
		require.NoError(t, err, query)
		require.Equal(t, want.arrow, got.schema.Field(0).Type.String(), query)
		require.Equal(t, `[[`+want.json+`]]`, got.json, query)

		rows, err := e.Stream(t.Context(), Query{SQL: query, RowsMax: 10})
		require.NoError(t, err)
		batch, err := rows.Next()
		require.NoError(t, err)
		written := map[answer.Format]*bytes.Buffer{}
		for _, f := range []answer.Format{answer.FormatCSV, answer.FormatNDJSON, answer.FormatArrow} {
			written[f] = &bytes.Buffer{}
			stream := answer.NewStream(f, written[f], rows.Schema(), answer.Options{})
			require.NoError(t, stream.Write(batch))
			require.NoError(t, stream.Close())
		}
		require.Equal(t, "x\r\n"+want.csv+"\r\n", written[answer.FormatCSV].String(), query)
		require.Equal(t, `{"x":`+want.json+`}`, strings.TrimSpace(written[answer.FormatNDJSON].String()), query)
		reader, err := ipc.NewReader(written[answer.FormatArrow])
		require.NoError(t, err)
		read, err := reader.Read()
		require.NoError(t, err)
		require.Equal(t, `[`+want.json+`]`, string(answer.NewJSON(read.Schema(), answer.Options{Arrays: true}).Append(nil, read, ',')), query)
		reader.Release()
		batch.Release()
		require.NoError(t, rows.Close())
	}
}

func TestTypesThatAnswersDoNotHaveAreRefusedByName(t *testing.T) {
	e, file := open(t, Options{}), table(t)
	for expression, name := range map[string]string{
		`340282366920938463463374607431768211455::UHUGEINT`: "UHUGEINT",
		`md5_number('x')`:              "UHUGEINT",
		`'01:02:03+05:30'::TIMETZ`:     "TIME WITH TIME ZONE",
		`'101'::BIT`:                   "BIT",
		`1::BIGNUM`:                    "BIGNUM",
		`[{'a': MAP {1: '101'::BIT}}]`: "BIT",
		`['1'::BIT, '0'::BIT]::BIT[2]`: "BIT",
		`'a'::ENUM('a', 'b')`:          "ENUM",
		`1::UNION(n INT, s VARCHAR)`:   "UNION",
	} {
		_, err := ask(t, e, file, `SELECT `+expression+` AS x`, 10)
		require.ErrorContains(t, err, name, expression)
	}
	got, err := ask(t, e, file, `SELECT 340282366920938463463374607431768211455::UHUGEINT::VARCHAR, '01:02:03+05:30'::TIMETZ::VARCHAR, '101'::BIT::VARCHAR`, 10)
	require.NoError(t, err)
	require.Equal(t, `[["340282366920938463463374607431768211455","01:02:03+05:30","101"]]`, got.json)
}
