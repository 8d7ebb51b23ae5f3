//go:build !nosql

package engine

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/query/answer"
	"github.com/chronik-stream/chronik/query/gate"
)

func open(t testing.TB, o Options) *Engine {
	t.Helper()
	o.SpillDir = filepath.Join(t.TempDir(), "spill")
	e, err := Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

// table writes a Parquet file with the system columns and two JSON columns.
func table(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "t.parquet")
	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `COPY (SELECT 'orders' AS _topic, 0::INT AS _partition, i AS _offset, make_timestamptz(1700000000000000 + i) AS _timestamp,
		0::TINYINT AS _timestamp_type, encode('k' || i) AS _key, encode('{"city":"c' || i % 3 || '","amount":' || i || '}') AS _value,
		MAP {'h': encode('x')} AS _headers, 'c' || i % 3 AS city, i AS amount FROM range(100) r(i)) TO '`+path+`'`)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	return path
}

// ask passes a query through the gate and runs it over one file.
func ask(t testing.TB, e *Engine, file, query string, rowsMax int64) (*answered, error) {
	t.Helper()
	return askIn(t.Context(), e, file, query, rowsMax)
}

func askIn(ctx context.Context, e *Engine, file, query string, rowsMax int64) (*answered, error) {
	names := gate.NewNames([]string{"orders", "we.ird-name", "a.b", "a_b", "a-b"})
	plan, err := gate.Check(ctx, e, names, query, rowsMax+1)
	if err != nil {
		return nil, err
	}
	q := Query{SQL: plan.SQL, RowsMax: rowsMax, Files: []string{file}}
	for _, v := range plan.Tables {
		q.Views = append(q.Views, View{v.View, "SELECT * FROM read_parquet(['" + file + "'])"})
	}
	return run(ctx, e, q)
}

// answered is an answer that was read to its end.
type answered struct {
	schema    *arrow.Schema
	json      string // rows as arrays
	rows      int64
	truncated bool
}

func run(ctx context.Context, e *Engine, q Query) (*answered, error) {
	rows, err := e.Stream(ctx, q)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	a := &answered{schema: rows.Schema()}
	text := []byte("[")
	for {
		batch, err := rows.Next()
		if err == io.EOF {
			a.json, a.truncated = string(append(text, ']')), rows.Truncated()
			return a, nil
		}
		if err != nil {
			return nil, err
		}
		if a.rows > 0 {
			text = append(text, ',')
		}
		text = answer.NewJSON(batch.Schema(), answer.Options{Arrays: true}).Append(text, batch, ',')
		a.rows += batch.NumRows()
		batch.Release()
	}
}

func TestQueriesOfTheContractAnswer(t *testing.T) {
	e, file := open(t, Options{}), table(t)
	for query, want := range map[string]string{
		`SELECT count(*) FROM orders`:                                                                       `[[100]]`,
		`SELECT city, avg(amount) AS a FROM orders GROUP BY city ORDER BY a`:                                `[["c1",49],["c0",49.5],["c2",50]]`,
		`SELECT offset, partition, key FROM orders ORDER BY offset LIMIT 1`:                                 `[[0,0,"k0"]]`,
		`SELECT key, offset FROM orders WHERE offset > 97 ORDER BY partition, offset DESC LIMIT 5 OFFSET 1`: `[["k98",98]]`,
		`SELECT max(offset) - min(offset) FROM orders o WHERE o.offset IN (offset, 5)`:                      `[[99]]`,
		`SELECT json_extract_string(value, '$.city') c, value ->> '$.amount' FROM orders WHERE offset = 4`:  `[["c1","4"]]`,
		`SELECT decode_utf8(key) FROM orders WHERE offset = 4`:                                              `[["k4"]]`,
		`SELECT key, count(*) FROM (SELECT city AS key FROM orders) GROUP BY key ORDER BY key`:              `[["c0",34],["c1",33],["c2",33]]`,
		`SELECT offset FROM (SELECT * FROM orders) s ORDER BY s.offset LIMIT 1`:                             `[[0]]`,
		`WITH c AS (SELECT key, offset FROM orders) SELECT key, offset FROM c ORDER BY offset LIMIT 1`:      `[["k0",0]]`,
		`SELECT a.offset FROM orders a JOIN orders b USING (offset) ORDER BY a.offset LIMIT 1`:              `[[0]]`,
		`SELECT upper(city) AS key FROM orders ORDER BY key LIMIT 1`:                                        `[["C0"]]`,
		`SELECT * EXCLUDE (value, key, headers, timestamp, city) FROM orders_cold ORDER BY offset LIMIT 1`:  `[["orders",0,0,0,0]]`,
		`SELECT timestamp, headers FROM "we.ird-name" WHERE offset = 1`:                                     `[["2023-11-14T22:13:20.000001Z",{"h":"x"}]]`,
		`SELECT row_number() OVER (PARTITION BY partition ORDER BY offset) AS n FROM we_ird_name LIMIT 1`:   `[[1]]`,
		`SELECT list_transform([1, 2], lambda key: key + 1), [x * 2 FOR x IN [1, 2] IF x > 1]`:              `[[[2,3],[4]]]`,
		`SELECT list_reduce([1, 2, 3], lambda x, y: x + y)`:                                                 `[[6]]`,
		`SELECT (SELECT max(offset) FROM orders i WHERE i.partition = o.partition) FROM orders o LIMIT 1`:   `[[99]]`,
		`FROM ORDERS SELECT count(*)`: `[[100]]`,
		`SELECT count(*) FROM orders WHERE timestamp >= TIMESTAMPTZ '2023-11-14 22:13:20.000050Z' AND timestamp < now()`: `[[50]]`,
		`SELECT date_trunc('day', timestamp) AS d, count(*) FROM orders GROUP BY ALL`:                                    `[["2023-11-14T00:00:00Z",100]]`,
		`WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 3) SELECT sum(i) FROM r`:               `[[6]]`,
		`SELECT * FROM (VALUES (1, 'a'), (2, NULL)) v(n, key) ORDER BY key NULLS FIRST`:                                  `[[2,null],[1,"a"]]`,
		`SELECT sum(u) FROM unnest([1, 2]) t(u), range(2)`:                                                               `[[6]]`,
		`SELECT count(*) FROM orders -- offset ' " $$
			WHERE amount < 3 /* offset */ AND city <> 'offset'`: `[[3]]`,
		`SELECT city, count(*) FILTER (WHERE amount > 50) FROM orders WHERE city = 'c0' GROUP BY 1 HAVING count(*) > 1`: `[["c0",17]]`,
		`(SELECT offset FROM orders) UNION (SELECT 1000) ORDER BY offset DESC LIMIT 1`:                                  `[[1000]]`,
		`SELECT * FROM orders UNION ALL SELECT * FROM orders_cold ORDER BY offset DESC, city LIMIT 0`:                   `[]`,
		`SELECT TRY_CAST('x' AS INTEGER), CASE WHEN true THEN 1.50 END, NULL, {'a': [1]}, '\xFF'::BLOB, 'a'::BLOB`:      `[[null,1.50,null,{"a":[1]},{"$binary":"/w=="},"a"]]`,
		`SELECT DATE '2026-11-23', TIME '01:02:03', INTERVAL '1 day 2 seconds', 'nan'::DOUBLE, 1::HUGEINT, 0.1::FLOAT`:  `[["2026-11-23","01:02:03","P1DT2S","NaN",1,0.1]]`,
		`SELECT '6b1e3a52-9f4b-4a0e-8a55-000000000001'::UUID, MAP {1: 'x'}`:                                             `[["6b1e3a52-9f4b-4a0e-8a55-000000000001",{"1":"x"}]]`,
	} {
		t.Run(query, func(t *testing.T) {
			got, err := ask(t, e, file, query, 1000)
			require.NoError(t, err)
			require.Equal(t, want, got.json)
		})
	}
}

func TestChroniksFunctionsTakeBinaryAndText(t *testing.T) {
	e := open(t, Options{})
	for expression, want := range map[string]string{
		`json_extract(v, '$.o')`:                  `{"a":[1,null]}`,
		`json_extract(v, '$.o.a[0]')`:             `1`,
		`json_extract(v, '$.s')`:                  `"12"`,
		`json_extract(v, '$.none')`:               ``,
		`json_extract_string(v, '$.s')`:           `12`,
		`json_extract_int(v, '$.i')`:              `9007199254740993`,
		`json_extract_int(v, '$.s')`:              `12`,
		`json_extract_int(v, '$.whole')`:          `-3`,
		`json_extract_int(v, '$.f')`:              ``, // never rounded
		`json_extract_int(v, '$.big')`:            ``,
		`json_extract_int(v, '$.t')`:              ``,
		`json_extract_int(v, '$.none')`:           ``,
		`json_extract_int(v, '$.o')`:              ``,
		`typeof(json_extract_int(v, '$.i'))`:      `BIGINT`,
		`json_extract_float(v, '$.f')`:            `12.5`,
		`json_extract_float(v, '$.i') > 9e15`:     `true`,
		`json_extract_float(v, '$.s')`:            `12.0`,
		`json_extract_float(v, '$.t')`:            ``,
		`json_extract_float(v, '$.null')`:         ``,
		`typeof(json_extract_float(v, '$.none'))`: `DOUBLE`,
		`decode_utf8(decode_base64(v64))`:         `hé`,
		`typeof(decode_base64(v64))`:              `BLOB`,
		`decode_base64(broken64)`:                 ``,
		`json_extract(broken, '$.a')`:             ``,
		`json_extract_int(broken, '$.a')`:         ``,
		`json_extract_float(broken, '$.a')`:       ``,
	} {
		const text = `{"o":{"a":[1,null]},"s":"12","i":9007199254740993,"whole":-3.0,"f":12.5,"big":9223372036854775808,"t":true,"null":null}`
		for _, kind := range []string{"VARCHAR", "BLOB"} {
			got, err := run(t.Context(), e, Query{RowsMax: 1, SQL: `SELECT CAST(` + expression + ` AS VARCHAR) FROM (SELECT '` + text + `'::` + kind +
				` v, 'aMOp'::` + kind + ` v64, '{"a'::` + kind + ` broken, '%%'::` + kind + ` broken64)`})
			require.NoError(t, err, expression)
			answer, err := json.Marshal(want)
			require.NoError(t, err)
			if want == "" {
				answer = []byte("null")
			}
			require.Equal(t, "[["+string(answer)+"]]", got.json, "%s of %s", expression, kind)
		}
	}
	got, err := run(t.Context(), e, Query{RowsMax: 1, SQL: `SELECT json_extract_int('{"a":1}', '$.a'), json_extract_int(NULL, '$.a'), decode_base64('YQ=='), decode_base64(NULL),
		json_extract_int('\xFF'::BLOB, '$.a'), decode_base64('\xFF'::BLOB)`})
	require.NoError(t, err)
	require.Equal(t, `[[1,null,"a",null,null,null]]`, got.json)
}

func TestVectorDistanceIsLowerForWhatIsNearer(t *testing.T) {
	e := open(t, Options{})
	for expression, want := range map[string]string{
		`vector_distance([1, 0], [0, 1], 'cosine')`:                                                     `1`,
		`vector_distance([1.0, 2.0], [2.0, 4.0], 'cosine') < 1e-9`:                                      `true`,
		`vector_distance([0, 3]::FLOAT[2], [4, 0]::DOUBLE[], 'euclidean')`:                              `5`,
		`vector_distance([1, 2]::FLOAT[], [3, 4]::FLOAT[2], 'dot')`:                                     `-11`,
		`vector_distance([1], [1], 'Dot')`:                                                              `-1`,
		`vector_distance(NULL, [1], 'dot')`:                                                             `null`,
		`vector_distance([0, 0], [3, 4], 'cosine')`:                                                     `1`,
		`vector_distance([3, 4], [-3, -4], 'cosine')`:                                                   `2`,
		`(SELECT max(vector_distance([x], [1], m)) FROM (VALUES (2, 'dot'), (4, 'euclidean')) t(x, m))`: `3`,
	} {
		got, err := run(t.Context(), e, Query{SQL: `SELECT ` + expression, RowsMax: 1})
		require.NoError(t, err, expression)
		require.Equal(t, "[["+want+"]]", got.json, expression)
	}
	// Arrays that are null among others that are not.
	for expression, want := range map[string]string{
		`vector_distance(e, [1, 1, 2], 'cosine') < 1e-9`: `[null,true,false,null]`,
		`vector_distance(e, [1, 1, 2], 'euclidean')`:     `[null,0,1,null]`,
		`vector_distance([1, 1, 2], e, 'dot')`:           `[null,-6,-7,null]`,
		`vector_distance(e, e, 'euclidean')`:             `[null,0,0,null]`,
	} {
		got, err := run(t.Context(), e, Query{RowsMax: 9, SQL: `SELECT list(` + expression + ` ORDER BY i) FROM
			(SELECT i, (CASE WHEN i % 3 > 0 THEN [i, 1, 2]::FLOAT[] END)::FLOAT[3] AS e FROM range(4) t(i)) AS rows`})
		require.NoError(t, err, expression)
		require.Equal(t, "[["+want+"]]", got.json, expression)
	}
	for expression, reason := range map[string]string{
		`vector_distance([1, 2], [1], 'dot')`:       "dimension",
		`vector_distance([1, NULL], [1, 2], 'dot')`: "NULL",
		`vector_distance([1], [1], 'manhattan')`:    "cosine, euclidean or dot",
		`vector_distance([1], [1], NULL)`:           "cosine, euclidean or dot",
	} {
		_, err := run(t.Context(), e, Query{SQL: `SELECT ` + expression, RowsMax: 1})
		require.ErrorIs(t, err, ErrQuery, expression)
		require.ErrorContains(t, err, reason)
	}
}

func TestColumnsAreCalledAsTheQuerySpelledThem(t *testing.T) {
	e, file := open(t, Options{}), table(t)
	got, err := ask(t, e, file, `SELECT offset, o.Key, count(*), city AS c, _value FROM orders o GROUP BY ALL LIMIT 1`, 10)
	require.NoError(t, err)
	var names, types []string
	for _, f := range got.schema.Fields() {
		names, types = append(names, f.Name), append(types, f.Type.String())
	}
	require.Equal(t, []string{"offset", "Key", "count(*)", "c", "_value"}, names)
	require.Equal(t, []string{"int64", "binary", "int64", "utf8", "binary"}, types)
}

func TestAnAnswerIsTruncatedAtTheLimit(t *testing.T) {
	e, file := open(t, Options{}), table(t)
	for query, want := range map[string]struct {
		rows      int
		truncated bool
	}{
		`SELECT * FROM orders`:                                {10, true},
		`SELECT * FROM orders LIMIT 10`:                       {10, false},
		`SELECT * FROM orders LIMIT 11`:                       {10, true},
		`SELECT * FROM orders LIMIT 50%`:                      {10, true},
		`SELECT * FROM orders LIMIT (SELECT 12)`:              {10, true},
		`SELECT * FROM orders LIMIT ALL`:                      {10, true},
		`SELECT * FROM orders ORDER BY offset OFFSET 95`:      {5, false},
		`SELECT * FROM orders UNION ALL SELECT * FROM orders`: {10, true},
	} {
		got, err := ask(t, e, file, query, 10)
		require.NoError(t, err, query)
		require.EqualValues(t, want.rows, got.rows, query)
		require.Equal(t, want.truncated, got.truncated, query)
	}
}

func TestRefusalsNameTheirReason(t *testing.T) {
	e, file := open(t, Options{}), table(t)
	secret := filepath.Join(t.TempDir(), "secret.csv")
	require.NoError(t, os.WriteFile(secret, []byte("a,b\n1,2\n"), 0o600))
	target := filepath.Join(t.TempDir(), "written")

	for query, want := range map[string]struct {
		kind   error
		reason string
	}{
		``:                       {gate.ErrInvalid, "empty"},
		`-- nothing`:             {gate.ErrInvalid, "empty"},
		"SELECT 1\x00; SELECT 2": {gate.ErrInvalid, "UTF-8"},
		`SELECT 1; SELECT 2`:     {gate.ErrInvalid, "one statement"},
		`SELECT * FROM orders; COPY orders TO 'x'`: {gate.ErrInvalid, "only SELECT"},
		`SELEC 1`:                                   {gate.ErrInvalid, "line 1"},
		`COPY (SELECT 1) TO '` + target + `'`:       {gate.ErrInvalid, "only SELECT"},
		`EXPORT DATABASE '` + target + `'`:          {gate.ErrInvalid, "only SELECT"},
		`PRAGMA database_list`:                      {gate.ErrInvalid, "only SELECT"},
		`PRAGMA version`:                            {gate.ErrInvalid, "only SELECT"},
		`CALL enable_logging()`:                     {gate.ErrInvalid, "only SELECT"},
		`ATTACH '` + target + `' AS x`:              {gate.ErrInvalid, "only SELECT"},
		`INSTALL httpfs`:                            {gate.ErrInvalid, "only SELECT"},
		`LOAD httpfs`:                               {gate.ErrInvalid, "only SELECT"},
		`SET threads = 9`:                           {gate.ErrInvalid, "only SELECT"},
		`RESET lock_configuration`:                  {gate.ErrInvalid, "only SELECT"},
		`CREATE TABLE x (a INT)`:                    {gate.ErrInvalid, "only SELECT"},
		`CREATE MACRO m() AS 1`:                     {gate.ErrInvalid, "only SELECT"},
		`INSERT INTO orders VALUES (1)`:             {gate.ErrInvalid, "only SELECT"},
		`DELETE FROM orders`:                        {gate.ErrInvalid, "only SELECT"},
		`DROP VIEW topics.latest_0`:                 {gate.ErrInvalid, "only SELECT"},
		`BEGIN`:                                     {gate.ErrInvalid, "only SELECT"},
		`PREPARE p AS SELECT 1`:                     {gate.ErrInvalid, "only SELECT"},
		`EXPLAIN SELECT 1`:                          {gate.ErrInvalid, "/_sql/explain"},
		`EXPLAIN ANALYZE COPY orders TO '/tmp/x'`:   {gate.ErrInvalid, "/_sql/explain"},
		`PIVOT orders ON city USING sum(amount)`:    {gate.ErrInvalid, "FILTER"},
		`unpivot orders ON amount`:                  {gate.ErrInvalid, "unnest"},
		`SELECT 'a'::ENUM('a', 'b')`:                {gate.ErrInvalid, "array_position"},
		`SELECT CAST(1 AS UNION(n INT, s VARCHAR))`: {gate.ErrInvalid, "STRUCT"},
		`SELECT [1.5]::DECIMAL(3, 1)[]`:             {nil, ""},
		`SELECT [NULL]::ENUM('a', 'b')[]`:           {gate.ErrInvalid, "lists of ENUM"},
		`SHOW TABLES`:                               {gate.ErrInvalid, "/_sql/tables"},
		`DESCRIBE orders`:                           {gate.ErrInvalid, "/_sql/describe"},
		`SELECT * FROM (SUMMARIZE orders)`:          {gate.ErrInvalid, "/_sql/describe"},
		`SELECT * FROM orders PIVOT (sum(amount) FOR city IN ('c0'))`:                                {gate.ErrInvalid, "PIVOT"},
		`SELECT * FROM '` + secret + `'`:                                                             {gate.ErrUnknownTable, "does not exist"},
		`SELECT * FROM "` + file + `"`:                                                               {gate.ErrUnknownTable, "does not exist"},
		`SELECT * FROM read_csv('` + secret + `')`:                                                   {gate.ErrInvalid, "read_csv"},
		`SELECT * FROM read_parquet('` + file + `')`:                                                 {gate.ErrInvalid, "read_parquet"},
		`SELECT * FROM parquet_metadata('` + file + `')`:                                             {gate.ErrInvalid, "parquet_metadata"},
		`SELECT * FROM read_text('/etc/passwd')`:                                                     {gate.ErrInvalid, "read_text"},
		`SELECT * FROM read_blob('/proc/self/environ')`:                                              {gate.ErrInvalid, "read_blob"},
		`SELECT * FROM glob('/*')`:                                                                   {gate.ErrInvalid, "glob"},
		`SELECT * FROM duckdb_settings()`:                                                            {gate.ErrInvalid, "duckdb_settings"},
		`SELECT * FROM duckdb_secrets()`:                                                             {gate.ErrInvalid, "duckdb_secrets"},
		`SELECT * FROM enable_logging('x')`:                                                          {gate.ErrInvalid, "enable_logging"},
		`SELECT * FROM query('SELECT 1')`:                                                            {gate.ErrInvalid, "query"},
		`SELECT * FROM query_table('orders')`:                                                        {gate.ErrInvalid, "query_table"},
		`SELECT * FROM json_execute_serialized_sql('x')`:                                             {gate.ErrInvalid, "json_execute_serialized_sql"},
		`SELECT * FROM sql_auto_complete('S')`:                                                       {gate.ErrInvalid, "sql_auto_complete"},
		`SELECT * FROM test_all_types()`:                                                             {gate.ErrInvalid, "test_all_types"},
		`SELECT * FROM main.range(3)`:                                                                {nil, ""},
		`SELECT * FROM system.main.range(3)`:                                                         {gate.ErrInvalid, "catalog"},
		`SELECT getenv('HOME')`:                                                                      {gate.ErrInvalid, "getenv"},
		`SELECT current_setting('threads')`:                                                          {gate.ErrInvalid, "current_setting"},
		`SELECT getvariable('x')`:                                                                    {gate.ErrInvalid, "getvariable"},
		`SELECT setseed(0.5)`:                                                                        {gate.ErrInvalid, "setseed"},
		`SELECT sleep_ms(100000)`:                                                                    {gate.ErrInvalid, "sleep_ms"},
		`SELECT write_log('x')`:                                                                      {gate.ErrInvalid, "write_log"},
		`SELECT current_query()`:                                                                     {gate.ErrInvalid, "current_query"},
		`SELECT nextval('s')`:                                                                        {gate.ErrInvalid, "nextval"},
		`SELECT system.main.upper('x')`:                                                              {gate.ErrInvalid, "catalog"},
		`SELECT city.upper() FROM orders`:                                                            {gate.ErrInvalid, "without a schema"},
		`SELECT sum(amount) FILTER (WHERE getenv('x') = '') FROM orders`:                             {gate.ErrInvalid, "getenv"},
		`SELECT sum(amount) OVER (ORDER BY current_setting('x')) FROM orders`:                        {gate.ErrInvalid, "current_setting"},
		`SELECT string_agg(city, ',' ORDER BY getenv('x')) FROM orders`:                              {gate.ErrInvalid, "getenv"},
		`SELECT list_transform([1], lambda x: getenv('x'))`:                                          {gate.ErrInvalid, "getenv"},
		`SELECT * REPLACE (getenv('x') AS city) FROM orders`:                                         {gate.ErrInvalid, "getenv"},
		`SELECT COLUMNS(c -> getenv(c) = '') FROM orders`:                                            {gate.ErrInvalid, "getenv"},
		`SELECT 1 ORDER BY getenv('x')`:                                                              {gate.ErrInvalid, "getenv"},
		`SELECT 1 LIMIT (SELECT count(*) FROM glob('/*'))`:                                           {gate.ErrInvalid, "glob"},
		`SELECT DISTINCT ON (getenv('x')) 1`:                                                         {gate.ErrInvalid, "getenv"},
		`SELECT CASE WHEN getenv('x') = '' THEN 1 END`:                                               {gate.ErrInvalid, "getenv"},
		`SELECT 1 IN (SELECT size FROM read_blob('/etc/passwd'))`:                                    {gate.ErrInvalid, "read_blob"},
		`WITH x AS (SELECT * FROM read_text('/etc/passwd')) SELECT * FROM x`:                         {gate.ErrInvalid, "read_text"},
		`WITH x AS (SELECT 1) SELECT * FROM x, (VALUES (getenv('x'))) v`:                             {gate.ErrInvalid, "getenv"},
		`SELECT * FROM orders a JOIN orders b ON getenv('x') = ''`:                                   {gate.ErrInvalid, "getenv"},
		`SELECT * FROM unnest([getenv('x')])`:                                                        {gate.ErrInvalid, "getenv"},
		`SELECT * FROM orders GROUP BY GROUPING SETS ((getenv('x')))`:                                {gate.ErrInvalid, "getenv"},
		`WITH RECURSIVE r AS (SELECT 1 i UNION ALL SELECT i FROM r WHERE getenv('x') = '') SELECT 1`: {gate.ErrInvalid, "getenv"},
		`SELECT * FROM information_schema.tables`:                                                    {gate.ErrInvalid, "without schema"},
		`SELECT * FROM topics.latest_0`:                                                              {gate.ErrUnknownTable, "latest_0"},
		`SELECT * FROM orders, topics.latest_0`:                                                      {gate.ErrUnknownTable, "latest_0"},
		`SELECT * FROM chronik.main.orders`:                                                          {gate.ErrInvalid, "without schema"},
		`SELECT * FROM memory.topics.orders`:                                                         {gate.ErrInvalid, "without schema"},
		`WITH c AS (SELECT 1) SELECT * FROM topics.c`:                                                {gate.ErrUnknownTable, "does not exist"},
		`SELECT * FROM latest_0`:                                                                     {gate.ErrUnknownTable, "does not exist"},
		`SELECT * FROM sqlite_master`:                                                                {gate.ErrUnknownTable, "does not exist"},
		`SELECT * FROM pg_catalog.pg_tables`:                                                         {gate.ErrInvalid, "without schema"},
		`SELECT * FROM nowhere`:                                                                      {gate.ErrUnknownTable, "nowhere"},
		`SELECT * FROM A_b`:                                                                          {gate.ErrInvalid, "ambiguous"},
		`SELECT * FROM orders AT (VERSION => 1)`:                                                     {gate.ErrInvalid, "at_clause"},
		`SELECT * FROM orders WHERE offset = ?`:                                                      {ErrQuery, "1 parameters, 0 values"},
		`SELECT * FROM orders WHERE offset = $1`:                                                     {ErrQuery, "1 parameters, 0 values"},
		`SELECT * FROM orders WHERE offset = $name`:                                                  {gate.ErrInvalid, "parameters are ?"},
		`SELECT $100000`:                                                                             {gate.ErrInvalid, "parameters are ?"},
		`SELECT value -> '$.a' = '1' FROM orders`:                                                    {gate.ErrInvalid, "parentheses"},
		`SELECT 1 FROM orders WHERE key LIKE 'a' AND value ->> 'a' LIKE '1'`:                         {gate.ErrInvalid, "parentheses"},
		`SELECT json_transform(value, '{"a":"INT"}') FROM orders`:                                    {gate.ErrInvalid, "json_transform"},
		`SELECT json_serialize_sql('SELECT 1')`:                                                      {gate.ErrInvalid, "json_serialize_sql"},
		`SELECT 1::regclass`:                                                                         {gate.ErrInvalid, "regclass"},
		`SELECT [1]::x.y[]`:                                                                          {gate.ErrInvalid, "type"},
		`SELECT DEFAULT`:                                                                             {gate.ErrInvalid, "default"},
		`SELECT 1 OPERATOR(pg_catalog.+) 2`:                                                          {gate.ErrInvalid, "pg_catalog"},
		`SELECT ` + strings.Repeat("(SELECT ", 300) + "1" + strings.Repeat(")", 300):                 {gate.ErrInvalid, "nested"},
		`SELECT ` + strings.Repeat("1 + ", 900) + "1":                                                {gate.ErrInvalid, "nested"},
		`SELECT 1 ` + strings.Repeat("UNION ALL SELECT 1 ", 12_000):                                  {gate.ErrInvalid, "parts"},
		`SELECT '` + strings.Repeat("x", gate.QueryBytesMax) + `'`:                                   {gate.ErrInvalid, "bytes"},
		`SELECT ` + strings.Repeat("offset, ", 5_000) + `x FROM orders`:                              {gate.ErrInvalid, "syntax"},
	} {
		name := query[:min(len(query), 80)]
		t.Run(name, func(t *testing.T) {
			_, err := ask(t, e, file, query, 10)
			if want.kind == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, want.kind)
			require.ErrorContains(t, err, want.reason)
		})
	}
	require.NoFileExists(t, target)
}

// The gate is one lock, the engine's own settings the other: this is what holds
// when SQL reaches the engine unchecked.
func TestTheEngineItselfReachesNothingButTheQuerysFiles(t *testing.T) {
	e, file := open(t, Options{}), table(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret.csv")
	require.NoError(t, os.WriteFile(secret, []byte("a\n1\n"), 0o600))
	for _, query := range []string{
		`SELECT * FROM read_csv('` + secret + `')`,
		`SELECT * FROM read_text('/etc/passwd')`,
		`SELECT * FROM glob('` + dir + `/*')`,
		`COPY (SELECT 1) TO '` + filepath.Join(dir, "out.csv") + `'`,
		`ATTACH '` + filepath.Join(dir, "x.db") + `'`,
		`SET enable_external_access = true`,
		`SET allowed_paths = ['` + secret + `']`,
		`SET lock_configuration = false`,
		`INSTALL httpfs`,
		`LOAD httpfs`,
		`SELECT * FROM read_parquet('http://127.0.0.1:1/x.parquet')`,
		`SELECT getenv('HOME')`,
	} {
		_, err := run(t.Context(), e, Query{SQL: query, Files: []string{file}, RowsMax: 10})
		require.Error(t, err, query)
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1)
}

func TestAQueryEndsWithItsContext(t *testing.T) {
	e := open(t, Options{})
	for _, query := range []string{
		`WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT 1 FROM r) SELECT count(*) FROM r`,
		`SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE hash(a.range + b.range) = 7`,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		began := time.Now()
		_, err := run(ctx, e, Query{SQL: query, RowsMax: 10})
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Less(t, time.Since(began), 30*time.Second)
	}
}

func TestErrorsSayWhoseFaultTheyAre(t *testing.T) {
	e, file := open(t, Options{MemoryBytesMax: 64 << 20, SpillBytesMax: 1 << 20}), table(t)
	for query, want := range map[string]error{
		`SELECT nothing FROM orders`:   ErrQuery,
		`SELECT 'x'::INTEGER`:          ErrQuery,
		`SELECT sum(city) FROM orders`: ErrQuery,
		`SELECT count(DISTINCT repeat('x', 100) || range) FROM range(5000000)`: ErrTooLarge,
	} {
		_, err := ask(t, e, file, query, 100_000)
		require.ErrorIs(t, err, want, query)
	}
	require.NoError(t, os.Truncate(file, 100))
	_, err := ask(t, e, file, `SELECT * FROM orders`, 10)
	require.ErrorIs(t, err, ErrFile)
	require.NoError(t, os.Remove(file))
	_, err = ask(t, e, file, `SELECT * FROM orders`, 10)
	require.ErrorIs(t, err, ErrFile)
}

func TestEveryAllowedFunctionExists(t *testing.T) {
	e := open(t, Options{})
	rows, err := e.parser.QueryContext(t.Context(), `SELECT DISTINCT lower(function_name) FROM duckdb_functions()`)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	known := map[string]bool{
		// Syntax that the parser writes as a call.
		"row": true, "unnest": true, "count_star": true, "overlay": true, "current_date": true, "current_time": true, "current_timestamp": true,
		"fill": true, "equi_width_bins": true, "is_histogram_other_bin": true,
	}
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		known[name] = true
	}
	require.NoError(t, rows.Err())
	var missing []string
	for _, name := range gate.Functions() {
		if !known[name] {
			missing = append(missing, name)
		}
	}
	require.Empty(t, missing)
}

// Invariant: whatever the text, the gate answers with a plan or a refusal, and
// every table of a plan that it lets through is one of ours.
func FuzzGate(f *testing.F) {
	for _, seed := range []string{
		`SELECT offset FROM orders WHERE key = 'x' LIMIT 1 OFFSET 2`, `WITH a AS (SELECT 1) SELECT * FROM a, orders`,
		`SELECT * FROM read_text('/etc/passwd')`, `SELECT $$offset$$, E'\'' FROM "we.ird-name"`, `SELECT [x for x in [1] if x > offset]`,
	} {
		f.Add(seed)
	}
	e, err := Open(f.Context(), Options{SpillDir: filepath.Join(f.TempDir(), "spill")})
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, e.Close()) })
	names := gate.NewNames([]string{"orders", "we.ird-name"})
	f.Fuzz(func(t *testing.T, query string) {
		plan, err := gate.Check(t.Context(), e, names, query, 10)
		if err != nil {
			if !errors.Is(err, gate.ErrInvalid) && !errors.Is(err, gate.ErrUnknownTable) {
				t.Fatalf("%q: %v", query, err)
			}
			return
		}
		for _, table := range plan.Tables {
			if table.Topic != "orders" && table.Topic != "we.ird-name" {
				t.Fatalf("%q reads %q", query, table.Topic)
			}
		}
	})
}

func TestAQueryThatPanicsFailsAlone(t *testing.T) {
	e, file := open(t, Options{Threads: 2}), table(t)
	rows, err := e.rows(t.Context(), 1)
	require.NoError(t, err)
	require.ErrorContains(t, rows.do(func() error { panic("a mistake") }), "a mistake")
	require.NoError(t, rows.Close())
	got, err := ask(t, e, file, `SELECT count(*) FROM orders`, 1)
	require.NoError(t, err)
	require.Equal(t, `[[100]]`, got.json)
}
