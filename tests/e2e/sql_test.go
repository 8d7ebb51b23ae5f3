package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// sqlAnswer is what /_sql answers.
type sqlAnswer struct {
	Columns   []string         `json:"columns"`
	Types     []string         `json:"column_types"`
	Rows      []map[string]any `json:"rows"`
	RowCount  int64            `json:"row_count"`
	Truncated bool             `json:"truncated"`
	Coverage  map[string]struct {
		Lag        int64 `json:"lag_records"`
		Partitions map[string]struct {
			From          int64 `json:"from"`
			To            int64 `json:"to"`
			HighWatermark int64 `json:"high_watermark"`
		} `json:"partitions"`
	} `json:"coverage"`
	Stats map[string]any `json:"stats"`
}

var httpClient = &http.Client{Timeout: shortly}

// post sends a JSON body and returns status and answer.
func (c *chronik) post(path string, body any) (int, []byte) {
	c.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	response, err := httpClient.Post("http://"+c.http+path, "application/json", bytes.NewReader(text))
	if err != nil {
		c.t.Fatalf("POST %s: %v", path, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatalf("POST %s: %v", path, err)
	}
	return response.StatusCode, answer
}

// get returns status and body.
func (c *chronik) get(path string) (int, string) {
	c.t.Helper()
	response, err := httpClient.Get("http://" + c.http + path)
	if err != nil {
		c.t.Fatalf("GET %s: %v", path, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatalf("GET %s: %v", path, err)
	}
	return response.StatusCode, string(body)
}

// trySQL asks a question.
func (c *chronik) trySQL(query string) (*sqlAnswer, error) {
	c.t.Helper()
	status, body := c.post("/_sql", map[string]any{"query": query, "limit": 1_000_000, "timeout_secs": 30})
	if status != http.StatusOK {
		return nil, fmt.Errorf("%s: %d %s", query, status, body)
	}
	answer := &sqlAnswer{}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(answer); err != nil {
		return nil, fmt.Errorf("%s: %w in %s", query, err, body)
	}
	return answer, nil
}

func (c *chronik) sql(query string) *sqlAnswer {
	c.t.Helper()
	answer, err := c.trySQL(query)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer
}

// count is the one number that a query answers.
func (c *chronik) count(query string) int64 {
	c.t.Helper()
	n, err := c.sql(query).number()
	if err != nil {
		c.t.Fatalf("%s: %v", query, err)
	}
	return n
}

func (a *sqlAnswer) number() (int64, error) {
	if len(a.Rows) != 1 || len(a.Columns) != 1 {
		return 0, fmt.Errorf("%d rows of %d columns, want one number", len(a.Rows), len(a.Columns))
	}
	n, ok := a.Rows[0][a.Columns[0]].(json.Number)
	if !ok {
		return 0, fmt.Errorf("%v is no number", a.Rows[0])
	}
	return n.Int64()
}

// counts reads rows of (k, n) into a map; NULL is "<null>".
func (a *sqlAnswer) counts(t *testing.T) map[string]int64 {
	t.Helper()
	m := make(map[string]int64)
	for _, row := range a.Rows {
		key := "<null>"
		if row["k"] != nil {
			key = fmt.Sprint(row["k"])
		}
		n, err := row["n"].(json.Number).Int64()
		if err != nil {
			t.Fatal(err)
		}
		m[key] = n
	}
	return m
}

// coldReaches waits until Parquet files hold rows records of a topic.
func (c *chronik) coldReaches(table string, rows int64, within time.Duration) {
	c.t.Helper()
	eventually(c.t, within, func() error {
		answer, err := c.trySQL("SELECT count(*) FROM " + table + "_cold")
		if err != nil {
			return err
		}
		n, err := answer.number()
		if err == nil && n != rows {
			err = fmt.Errorf("%d of %d rows are in Parquet files", n, rows)
		}
		return err
	})
}
