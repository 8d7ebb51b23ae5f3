package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

type sqlOptions struct {
	endpoint
	query     string
	output    string
	limit     int
	limited   bool // else the server's default holds
	timeout   time.Duration
	freshness string
}

func newSQL(e env) *cobra.Command {
	var o sqlOptions
	c := &cobra.Command{
		Use:   "sql 'SELECT …'",
		Short: "Ask a question in SQL",
		Long: `Ask a question in SQL. Each topic with columnar.enabled=true is a table; t_cold is
topic t as far as it is in Parquet files. Columns: _topic, _partition, _offset,
_timestamp, _key, _value, _headers, and the top-level fields of JSON values.
A "-" reads the query from standard input.

As ndjson (an object per line) and csv, rows are written as they come, any number
of them; --timeout is then for all of it. In csv, null is an empty field and an
empty text is "".`,
		Example: `  chronik sql 'SELECT count(*) FROM orders'
  chronik sql 'SELECT city, sum(amount) AS total FROM orders GROUP BY city ORDER BY total DESC'
  chronik sql "SELECT json_extract_string(_value, '\$.city') FROM orders LIMIT 5"
  chronik sql 'SELECT * FROM orders' --timeout 10m -o csv > orders.csv
  chronik sql - < report.sql`,
		Args: exactly("the query"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			o.query, o.limited = args[0], c.Flags().Changed("limit")
			if o.query == "-" {
				text, err := io.ReadAll(c.InOrStdin())
				if err != nil {
					return fmt.Errorf("read the query: %w", err)
				}
				o.query = string(text)
			}
			return o.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	o.add(c, e)
	addOutput(c, &o.output, "table", "json", "ndjson", "csv")
	c.Flags().IntVar(&o.limit, "limit", 0, "most rows to return (default: 1000 as table and json, all as ndjson and csv)")
	c.Flags().DurationVar(&o.timeout, "timeout", 30*time.Second, "most time to take, in whole seconds")
	c.Flags().StringVar(&o.freshness, "freshness", "", "latest (default: everything acknowledged), available, or cold")
	return c
}

type sqlRequest struct {
	Query     string `json:"query"`
	Limit     *int   `json:"limit,omitempty"`
	Timeout   int    `json:"timeout_secs"`
	Freshness string `json:"freshness,omitempty"`
}

type sqlAnswer struct {
	Columns   []string                     `json:"columns"`
	Types     []string                     `json:"column_types"`
	Rows      []map[string]json.RawMessage `json:"rows"`
	RowCount  int64                        `json:"row_count"`
	Millis    float64                      `json:"execution_time_ms"`
	Truncated bool                         `json:"truncated"`
	Coverage  sqlCoverage                  `json:"coverage"`
}

// sqlCoverage is of topics.
type sqlCoverage map[string]struct {
	Lag int64 `json:"lag_records"`
}

func (o *sqlOptions) run(ctx context.Context, out, notes io.Writer) error {
	switch {
	case o.limit < 0:
		return usagef("--limit %d: it is not below 0", o.limit)
	case o.timeout < time.Second:
		return usagef("--timeout %s: it is at least 1s", o.timeout)
	case !slices.Contains([]string{"", "latest", "available", "cold"}, o.freshness):
		return usagef("--freshness %s: it is latest, available or cold", o.freshness)
	}
	// The server keeps the time; this is for a server that does not answer at all.
	ctx, cancel := context.WithTimeout(ctx, o.timeout+10*time.Second)
	defer cancel()
	if o.output != "table" {
		return o.stream(ctx, out, notes)
	}
	response, err := o.ask(ctx, "application/json")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer sqlAnswer
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	err = answer.writeTable(out)
	fmt.Fprintf(notes, "(%s, %.0f ms)\n", plural(answer.RowCount, "row"), answer.Millis)
	writeNotes(notes, answer.Truncated, answer.RowCount, answer.Coverage)
	return err
}

// ask posts the query. The caller closes the answer's body.
func (o *sqlOptions) ask(ctx context.Context, accept string) (*http.Response, error) {
	asked := sqlRequest{Query: o.query, Timeout: int(o.timeout / time.Second), Freshness: o.freshness}
	if o.limited {
		asked.Limit = &o.limit
	}
	request, err := json.Marshal(asked)
	if err != nil {
		return nil, err
	}
	header := http.Header{"Content-Type": {"application/json"}, "Accept": {accept}}
	return o.endpoint.open(ctx, http.MethodPost, "/_sql", header, request)
}

// cell is a value as a person reads it.
func cell(raw json.RawMessage) string {
	var text string
	switch {
	case len(raw) == 0 || bytes.Equal(raw, []byte("null")):
		return "NULL"
	case raw[0] == '"' && json.Unmarshal(raw, &text) == nil:
		return text
	}
	return string(raw)
}

func numericType(arrowType string) bool {
	return slices.ContainsFunc([]string{"int", "uint", "float", "double", "decimal"}, func(prefix string) bool {
		return strings.HasPrefix(strings.ToLower(arrowType), prefix)
	})
}

func (a *sqlAnswer) writeTable(out io.Writer) error {
	t := &table{columns: a.Columns, numeric: make([]bool, len(a.Columns))}
	for i := range min(len(a.Columns), len(a.Types)) {
		t.numeric[i] = numericType(a.Types[i])
	}
	for _, row := range a.Rows {
		cells := make([]string, len(a.Columns))
		for i, column := range a.Columns {
			cells[i] = cell(row[column])
		}
		t.rows = append(t.rows, cells)
	}
	return t.write(out)
}

// writeNotes says what is not in an answer of so many rows.
func writeNotes(notes io.Writer, truncated bool, rows int64, coverage sqlCoverage) {
	if truncated {
		fmt.Fprintf(notes, "only the first %s: raise --limit for more\n", plural(rows, "row"))
	}
	for _, name := range slices.Sorted(maps.Keys(coverage)) {
		if lag := coverage[name].Lag; lag > 0 {
			fmt.Fprintf(notes, "%s of topic %s not covered by this answer\n", plural(lag, "record"), name)
		}
	}
}
