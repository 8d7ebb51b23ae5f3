//go:build !nosql

package query

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/stretchr/testify/require"
)

const (
	asNDJSON = "application/x-ndjson"
	asCSV    = "text/csv"
	asArrow  = "application/vnd.apache.arrow.stream"
)

// streamed sends a query and returns the answer as far as it came, with the error
// that ended it.
func (c *cluster) streamed(accept, query, more string) (response *http.Response, body []byte, err error) {
	c.t.Helper()
	text, err := json.Marshal(query)
	require.NoError(c.t, err)
	request, err := http.NewRequestWithContext(c.t.Context(), "POST", c.url+"/_sql", strings.NewReader(`{"query":`+string(text)+more+`}`))
	require.NoError(c.t, err)
	request.Header.Set("Accept", accept)
	response, err = (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	require.NoError(c.t, err)
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response, body, err
}

// whole is a streamed answer that did not break off.
func (c *cluster) whole(accept, query, more string) (*http.Response, string) {
	c.t.Helper()
	response, body, err := c.streamed(accept, query, more)
	require.NoError(c.t, err)
	require.Equal(c.t, 200, response.StatusCode, string(body))
	require.True(c.t, strings.HasPrefix(response.Header.Get("Content-Type"), accept))
	return response, string(body)
}

func TestEveryTypeHasItsFormInEveryFormat(t *testing.T) {
	c := newCluster(t, 1)
	for expression, want := range map[string]struct{ json, csv string }{
		`NULL`:                          {`null`, ``},
		`NULL::VARCHAR`:                 {`null`, ``},
		`''`:                            {`""`, `""`},
		`true`:                          {`true`, `true`},
		`9007199254740993`:              {`9007199254740993`, `9007199254740993`},
		`18446744073709551615::UBIGINT`: {`18446744073709551615`, `18446744073709551615`},
		`-170141183460469231731687303715884105727::HUGEINT`: {`-170141183460469231731687303715884105727`, `-170141183460469231731687303715884105727`},
		`1.50`:                               {`1.50`, `1.50`},
		`0.1::FLOAT`:                         {`0.1`, `0.1`},
		`1e300`:                              {`1e+300`, `1e+300`},
		`'nan'::DOUBLE`:                      {`"NaN"`, `NaN`},
		`'-inf'::DOUBLE`:                     {`"-Infinity"`, `-Infinity`},
		`'a,b'`:                              {`"a,b"`, `"a,b"`},
		`'say "x"'`:                          {`"say \"x\""`, `"say ""x"""`},
		`'a' || chr(10) || 'b'`:              {`"a\nb"`, "\"a\nb\""},
		`'é'`:                                {`"é"`, `é`},
		`'a\\b'`:                             {`"a\\\\b"`, `a\\b`},
		`'ab'::BLOB`:                         {`"ab"`, `ab`},
		`''::BLOB`:                           {`""`, `""`},
		`'\xFF'::BLOB`:                       {`{"$binary":"/w=="}`, `"{""$binary"":""/w==""}"`},
		`DATE '2026-11-23'`:                  {`"2026-11-23"`, `2026-11-23`},
		`TIME '01:02:03.5'`:                  {`"01:02:03.5"`, `01:02:03.5`},
		`TIMESTAMP '2026-11-23 01:02:03'`:    {`"2026-11-23T01:02:03"`, `2026-11-23T01:02:03`},
		`TIMESTAMPTZ '2026-11-23 01:02:03Z'`: {`"2026-11-23T01:02:03Z"`, `2026-11-23T01:02:03Z`},
		`INTERVAL '1 day'`:                   {`"P1D"`, `P1D`},
		`'6b1e3a52-9f4b-4a0e-8a55-000000000001'::UUID`: {`"6b1e3a52-9f4b-4a0e-8a55-000000000001"`, `6b1e3a52-9f4b-4a0e-8a55-000000000001`},
		`[1, NULL]`:    {`[1,null]`, `"[1,null]"`},
		`['a']`:        {`["a"]`, `"[""a""]"`},
		`{'a': 'x'}`:   {`{"a":"x"}`, `"{""a"":""x""}"`},
		`MAP {1: 'x'}`: {`{"1":"x"}`, `"{""1"":""x""}"`},
	} {
		query := "SELECT " + expression + " AS x"
		_, body := c.whole(asNDJSON, query, "")
		require.Equal(t, `{"x":`+want.json+"}\n", body, expression)
		_, body = c.whole(asNDJSON, query, `,"row_format":"array"`)
		require.Equal(t, `[`+want.json+"]\n", body, expression)
		_, body = c.whole(asCSV, query, "")
		require.Equal(t, "x\r\n"+want.csv+"\r\n", body, expression)
		_, body = c.whole(asArrow, query, "")
		reader, err := ipc.NewReader(strings.NewReader(body))
		require.NoError(t, err)
		require.True(t, reader.Next(), expression)
		require.EqualValues(t, 1, reader.RecordBatch().NumRows())
		require.Equal(t, "x", reader.Schema().Field(0).Name)
		require.False(t, reader.Next())
		require.NoError(t, reader.Err())
		reader.Release()
		status, got, _ := c.do("POST", "/_sql", fmt.Sprintf(`{"query":%q,"row_format":"array"}`, query))
		require.Equal(t, 200, status, string(got))
		require.Contains(t, string(got), `"rows":[[`+want.json+`]]`, expression)
	}
	_, body := c.whole(asCSV, `SELECT '\xFF'::BLOB AS b, 'ab'::BLOB AS a, 'ab' AS t`, `,"binary_format":"base64"`)
	require.Equal(t, "b,a,t\r\n/w==,YWI=,ab\r\n", body)
	_, got, _ := c.do("POST", "/_sql", `{"query":"SELECT 'ab'::BLOB AS a","binary_format":"base64"}`)
	require.Contains(t, string(got), `"rows":[{"a":"YWI="}]`)
}

func TestStreamsHaveNoLimitUnlessOneIsAskedForAndSayWhatTheyCover(t *testing.T) {
	c := newCluster(t, 1)
	c.broker.Produce(t, 0, 0, "a", "b", "c")
	const many = "SELECT range AS n, 'x' || range AS s FROM range(50000)"
	for _, accept := range []string{asNDJSON, asCSV, asArrow} {
		response, body := c.whole(accept, many, "")
		require.Equal(t, int64(49999*50000/2), sumOf(t, accept, body), accept)
		require.Equal(t, "false", response.Trailer.Get("X-Chronik-Truncated"))
		response, body = c.whole(accept, many, `,"limit":20000`)
		require.Equal(t, int64(19999*20000/2), sumOf(t, accept, body), accept)
		require.Equal(t, "true", response.Trailer.Get("X-Chronik-Truncated"))
		_, body = c.whole(accept, many+" WHERE n < 0", "")
		require.Zero(t, sumOf(t, accept, body), accept)
		_, body = c.whole(accept, many+" LIMIT 3", `,"limit":2000000`)
		require.Equal(t, int64(3), sumOf(t, accept, body), accept)

		for range 2 { // from the engine, and kept
			response, body = c.whole(accept, "SELECT offset AS n FROM orders", "")
			require.Equal(t, int64(3), sumOf(t, accept, body))
			require.JSONEq(t, `{"orders":{"partitions":{"0":{"from":0,"to":3,"high_watermark":3}},"lag_records":0}}`, response.Header.Get("X-Chronik-Coverage"))
			require.Contains(t, response.Header.Get("X-Chronik-Stats"), `"files_total":1`)
		}
		if accept == asArrow {
			reader, err := ipc.NewReader(strings.NewReader(body))
			require.NoError(t, err)
			covered, ok := reader.Schema().Metadata().GetValue("chronik.coverage")
			require.True(t, ok)
			require.JSONEq(t, response.Header.Get("X-Chronik-Coverage"), covered)
			reader.Release()
		}
	}
	_, body := c.whole(asCSV, "SELECT 1 AS a, 2 AS a, NULL AS \"x,y\"", "")
	require.Equal(t, "a,a_1,\"x,y\"\r\n1,2,\r\n", body)
}

// sumOf adds up column n of an answer.
func sumOf(t *testing.T, accept, body string) (sum int64) {
	t.Helper()
	switch accept {
	case asNDJSON:
		for line := range strings.Lines(body) {
			var row struct{ N int64 }
			require.NoError(t, json.Unmarshal([]byte(line), &row))
			sum += row.N
		}
	case asCSV:
		rows, err := csv.NewReader(strings.NewReader(body)).ReadAll()
		require.NoError(t, err)
		require.Equal(t, "n", rows[0][0])
		for _, row := range rows[1:] {
			var n int64
			_, err := fmt.Sscan(row[0], &n)
			require.NoError(t, err)
			sum += n
		}
	case asArrow:
		reader, err := ipc.NewReader(strings.NewReader(body))
		require.NoError(t, err)
		defer reader.Release()
		for reader.Next() {
			for _, n := range reader.RecordBatch().Column(0).(*array.Int64).Int64Values() {
				sum += n
			}
		}
		require.NoError(t, reader.Err())
		require.True(t, strings.HasSuffix(body, "\xff\xff\xff\xff\x00\x00\x00\x00"), "the end of a stream is marked")
	}
	return sum
}

func TestAnAnswerThatBreaksOffIsNeverTakenForWhole(t *testing.T) {
	c := newCluster(t, 1)
	const broken = "SELECT CAST(CASE WHEN range = 400000 THEN 'x' ELSE range::VARCHAR END AS BIGINT) AS n FROM range(500000)"
	for _, accept := range []string{asNDJSON, asCSV, asArrow} {
		response, body, err := c.streamed(accept, broken, "")
		require.Equal(t, 200, response.StatusCode)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, accept)
		require.Greater(t, len(body), 1000)
		if accept == asNDJSON {
			lines := bytes.Split(bytes.TrimSuffix(body, []byte("\n")), []byte("\n"))
			var r refusal
			require.NoError(t, json.Unmarshal(lines[len(lines)-1], &r))
			require.Equal(t, "INVALID_QUERY", r.Code)
			require.Contains(t, r.Error, "Could not convert")
		}
		// Before the first row there is still a status.
		response, body, err = c.streamed(accept, "SELECT CAST('x' AS BIGINT)", "")
		require.NoError(t, err)
		require.Equal(t, 400, response.StatusCode)
		require.Contains(t, string(body), "INVALID_QUERY")
	}
	c.begun(func(timeout string) int {
		response, body, err := c.streamed(asNDJSON, "SELECT a.range FROM range(100000) a, range(100000) b", timeout)
		if response.StatusCode == http.StatusOK {
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			require.Contains(t, string(body[bytes.LastIndexByte(body[:len(body)-1], '\n'):]), `"TIMEOUT"`)
		}
		return response.StatusCode
	})
}

// begun asks with more and more time until an answer begins in it: where the
// machine is busy, a short timeout may be over before the first row.
func (c *cluster) begun(ask func(timeout string) (status int)) {
	c.t.Helper()
	for secs := 0.5; ; secs *= 2 {
		status := ask(fmt.Sprintf(`,"timeout_secs":%g`, secs))
		if status == http.StatusOK {
			return
		}
		require.Equal(c.t, http.StatusGatewayTimeout, status)
		require.Less(c.t, secs, 60.0, "nothing begins")
	}
}

// unread sends a query, reads nothing until its request is over, and then what
// there is of the answer.
func (c *cluster) unread(accept, body string) (status int, err error) {
	c.t.Helper()
	answers := func() (n float64) {
		families, err := c.metrics.Gather()
		require.NoError(c.t, err)
		for _, f := range families {
			if f.GetName() == "chronik_query_requests_total" {
				for _, m := range f.GetMetric() {
					n += m.GetCounter().GetValue()
				}
			}
		}
		return n
	}
	before := answers()
	connection, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	require.NoError(c.t, err)
	defer connection.Close()
	_, err = fmt.Fprintf(connection, "POST /_sql HTTP/1.1\r\nHost: x\r\nAccept: %s\r\nContent-Length: %d\r\n\r\n%s", accept, len(body), body)
	require.NoError(c.t, err)
	c.await(func() bool { return answers() > before })
	c.await(func() bool { return c.node.places.Running() == 0 })
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	require.NoError(c.t, err)
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

func TestAClientThatDoesNotReadIsCutOffAtTheTimeout(t *testing.T) {
	c := newCluster(t, 1)
	c.begun(func(timeout string) int {
		status, err := c.unread(asCSV, `{"query":"SELECT repeat('x', 1000) AS x FROM range(100000000)"`+timeout+`}`)
		if status == http.StatusOK {
			require.Error(t, err)
		}
		return status
	})
}

func TestAnAnswerAsJSONIsNotHeldForAClientThatDoesNotRead(t *testing.T) {
	c := newCluster(t, 1)
	c.begun(func(timeout string) int {
		status, err := c.unread("application/json", `{"query":"SELECT repeat('x', 1000) AS x FROM range(40000)","limit":1000000`+timeout+`}`)
		if status == http.StatusOK {
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		}
		return status
	})
}

func TestFormatsAreRefusedWhereTheyCannotBe(t *testing.T) {
	c := newCluster(t, 1)
	for _, r := range []struct {
		accept, more string
		status       int
		reason       string
	}{
		{"text/html", "", 406, "text/csv"},
		{"text/csv", `,"row_format":"array"`, 400, "row_format"},
		{asArrow, `,"row_format":"object"`, 400, "row_format"},
		{asArrow, `,"binary_format":"text"`, 400, "binary_format"},
		{asNDJSON, `,"limit":-1`, 400, "limit"},
		{asNDJSON, `,"parameters":[1]`, 400, "0 parameters"},
		{asNDJSON, `,"freshness":"new"`, 400, "freshness"},
	} {
		response, body, err := c.streamed(r.accept, "SELECT 1", r.more)
		require.NoError(t, err)
		require.Equal(t, r.status, response.StatusCode, string(body))
		require.Contains(t, string(body), r.reason)
	}
	connection, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	require.NoError(t, err)
	defer connection.Close()
	_, err = fmt.Fprintf(connection, "POST /_sql HTTP/1.0\r\nAccept: text/csv\r\nContent-Length: 20\r\n\r\n%s", `{"query":"SELECT 1"}`)
	require.NoError(t, err)
	text, err := io.ReadAll(connection)
	require.NoError(t, err)
	require.Contains(t, string(text), "400 Bad Request")
	require.Contains(t, string(text), "HTTP/1.1")
}

func TestParametersHaveTheTypesOfTheirJSON(t *testing.T) {
	c := newCluster(t, 1)
	c.broker.Produce(t, 0, 0, `{"city":"Oslo","n":9007199254740993}`, `{"city":"Rome","n":2}`)
	for _, q := range []struct{ query, parameters, want string }{
		{"SELECT typeof($1) AS a, typeof($2) AS b, typeof($3) AS c, typeof($4) AS d", `9007199254740993, 18446744073709551615, 1.0, true`,
			`{"a":"BIGINT","b":"UBIGINT","c":"DOUBLE","d":"BOOLEAN"}`},
		{"SELECT $1 AS a, $2 AS b, $3 AS c, $1 AS d", `9007199254740993, -18446744073709551616, {"$binary":"/w=="}`,
			`{"a":9007199254740993,"b":-18446744073709551616,"c":{"$binary":"/w=="},"d":9007199254740993}`},
		{"SELECT offset FROM orders WHERE city = ? AND offset >= ?", `"Oslo", 0`, `{"offset":0}`},
		{"SELECT offset FROM orders WHERE n = ?", `9007199254740993`, `{"offset":0}`},
		{"SELECT offset FROM orders WHERE city IS NOT DISTINCT FROM ? OR offset = 1", `null`, `{"offset":1}`},
		{"SELECT count(*) AS n FROM orders WHERE timestamp < ?", `"2100-01-01T00:00:00Z"`, `{"n":2}`},
		{"SELECT count(*) AS n FROM orders WHERE city IN ($1, $2) AND key = $3", `"Oslo", "Rome", "k1"`, `{"n":1}`},
		{"SELECT offset FROM orders ORDER BY offset LIMIT ?", `1`, `{"offset":0}`},
	} {
		for range 2 {
			_, body := c.whole(asNDJSON, q.query, `,"parameters":[`+q.parameters+`]`)
			require.Equal(t, q.want+"\n", body, q.query)
		}
		status, body, _ := c.do("POST", "/_sql", fmt.Sprintf(`{"query":%q,"parameters":[%s]}`, q.query, q.parameters))
		require.Equal(t, 200, status, string(body))
		require.Contains(t, string(body), `"rows":[`+q.want+`]`)
	}
	// Values that differ are questions that differ.
	for _, city := range []string{"Oslo", "Rome"} {
		require.Equal(t, []map[string]any{{"city": city}}, c.ask("SELECT city FROM orders WHERE city = $1", `,"parameters":["`+city+`"]`).Rows)
	}
}

func TestAStreamOfAnotherNodeComesThroughAsItIs(t *testing.T) {
	c := newCluster(t, 1)
	_, other := c.pair(nil)
	c.broker.Produce(t, 0, 0, `{"a":1}`)
	response, body := other.whole(asCSV, "SELECT a FROM orders WHERE a >= $1", `,"parameters":[1]`)
	require.Equal(t, "a\r\n1\r\n", body)
	require.Contains(t, response.Header.Get("X-Chronik-Coverage"), `"to":1`)
	require.Equal(t, "false", response.Trailer.Get("X-Chronik-Truncated"))
	require.EqualValues(t, 1, other.node.peers.Forwarded())
	_, body2, err := other.streamed(asNDJSON, "SELECT CAST(CASE WHEN range = 400000 THEN 'x' ELSE range::VARCHAR END AS BIGINT) AS n FROM range(500000), orders", "")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Contains(t, string(body2[bytes.LastIndexByte(body2[:len(body2)-1], '\n'):]), `"INVALID_QUERY"`)
	require.EqualValues(t, 2, other.node.peers.Forwarded())
}
