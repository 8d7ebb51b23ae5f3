package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// question is a query with a check of its answer.
type question struct {
	sql   string
	check func(*answer) error // nil: only shown
}

type answer struct {
	Columns  []string         `json:"columns"`
	Rows     []map[string]any `json:"rows"`
	Millis   float64          `json:"execution_time_ms"`
	Coverage map[string]struct {
		Lag int64 `json:"lag_records"`
	} `json:"coverage"`
	Stats struct {
		Files   int64 `json:"files_total"`
		Scanned int64 `json:"rows_scanned"`
	} `json:"stats"`
}

// number is the value of a cell, whatever way JSON spelled it.
func (a *answer) number(row int, column string) float64 {
	if row >= len(a.Rows) {
		return math.NaN()
	}
	n, ok := a.Rows[row][column].(json.Number)
	if !ok {
		return math.NaN()
	}
	f, err := n.Float64()
	if err != nil {
		return math.NaN()
	}
	return f
}

func equals(column string, want int64) func(*answer) error {
	return func(a *answer) error {
		if got := a.number(0, column); got != float64(want) {
			return fmt.Errorf("%s is %v, the demo made %d", column, got, want)
		}
		return nil
	}
}

// revenue checks sums by country against what was made, to the cent.
func (d *run) revenue(a *answer) error {
	for i, row := range a.Rows {
		country := fmt.Sprint(row["country"])
		if got, want := math.Round(100*a.number(i, "revenue")), d.truth.country[country]; got != float64(want) {
			return fmt.Errorf("revenue of %s is %.0f cents, the demo made %d", country, got, want)
		}
	}
	if len(a.Rows) == 0 {
		return fmt.Errorf("no country has any revenue")
	}
	return nil
}

func (d *run) askNow(ctx context.Context) error {
	d.step("ask, right after the last acknowledgement; every answer is checked against what was made")
	return d.askAll(ctx, []question{
		{`SELECT count(*) AS n FROM orders`, equals("n", d.truth.orders)},
		{`SELECT country, count(*) AS orders, round(sum(amount), 2) AS revenue FROM orders GROUP BY country ORDER BY revenue DESC LIMIT 5`, d.revenue},
		{`SELECT device, count(*) AS views, median(ms) AS p50, quantile_cont(ms, 0.99) AS p99 FROM page_views GROUP BY device ORDER BY views DESC`, nil},
		{`SELECT count(*) AS n FROM page_views WHERE status = 500`, equals("n", d.truth.unhappy)},
		{`SELECT o.country, count(DISTINCT o.customer) AS buyers_who_came_by_mail FROM orders o JOIN page_views v ON v.customer = o.customer WHERE v.source = 'mail' GROUP BY ALL ORDER BY 2 DESC LIMIT 3`, nil},
	})
}

// askCold waits until the compactor has written everything into Parquet files
// and asks again, of those alone.
func (d *run) askCold(ctx context.Context) error {
	d.step("wait until the compactor has everything in Parquet files, then ask those alone")
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, fmt.Errorf("the compactor did not finish within 2 minutes"))
	defer cancel()
	began := time.Now()
	for _, table := range []struct {
		name string
		rows int64
	}{{"orders_cold", d.truth.orders}, {"page_views_cold", d.truth.views}} {
		if err := d.settled(ctx, table.name, table.rows); err != nil {
			return err
		}
	}
	d.say("done after %s", short(time.Since(began)))
	return d.askAll(ctx, []question{
		{`SELECT country, count(*) AS orders, round(sum(amount), 2) AS revenue FROM orders_cold GROUP BY country ORDER BY revenue DESC LIMIT 5`, d.revenue},
		{`SELECT date_trunc('day', _timestamp) AS day, count(*) AS views, round(avg(ms), 1) AS mean_ms FROM page_views_cold GROUP BY day ORDER BY day`, nil},
		{`SELECT _partition, _offset, product, amount FROM orders_cold WHERE _key = 'c1'::BLOB ORDER BY _offset LIMIT 3`, nil},
	})
}

// settled asks until a table has so many rows.
func (d *run) settled(ctx context.Context, table string, rows int64) error {
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		a, err := d.ask(ctx, "SELECT count(*) AS n FROM "+table)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err == nil && a.number(0, "n") == float64(rows) {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (d *run) askAll(ctx context.Context, questions []question) error {
	for _, q := range questions {
		began := time.Now()
		a, err := d.ask(ctx, q.sql)
		if err != nil {
			return err
		}
		took := time.Since(began)
		fmt.Fprintf(d.out, "\n   %s\n", q.sql)
		a.write(d.out, "   ")
		verdict := ""
		if q.check != nil {
			if err := q.check(a); err != nil {
				return fmt.Errorf("wrong answer to %q: %w", q.sql, err)
			}
			verdict = ", right"
		}
		for topic, c := range a.Coverage {
			if c.Lag != 0 {
				return fmt.Errorf("the answer to %q does not cover %d acknowledged records of %s", q.sql, c.Lag, topic)
			}
		}
		d.say("%s%s", short(took), verdict)
	}
	return nil
}

func (d *run) ask(ctx context.Context, sql string) (*answer, error) {
	body, err := json.Marshal(map[string]any{"query": sql})
	if err != nil {
		return nil, err
	}
	var text json.RawMessage
	if err := d.server.Into(ctx, &text, http.MethodPost, "/_sql", string(body)); err != nil {
		return nil, err
	}
	a := &answer{}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // cents stay exact
	if err := decoder.Decode(a); err != nil {
		return nil, fmt.Errorf("ask %q: read the answer: %w", sql, err)
	}
	return a, nil
}

// write draws the rows as a table.
func (a *answer) write(out io.Writer, indent string) {
	widths := make([]int, len(a.Columns))
	cells := [][]string{a.Columns}
	for _, row := range a.Rows {
		line := make([]string, len(a.Columns))
		for i, column := range a.Columns {
			if line[i] = fmt.Sprint(row[column]); row[column] == nil {
				line[i] = "NULL"
			}
		}
		cells = append(cells, line)
	}
	for _, line := range cells {
		for i, text := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	for _, line := range cells {
		var b strings.Builder
		for i, text := range line {
			b.WriteString(text + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)) + "  ")
		}
		fmt.Fprintln(out, indent+strings.TrimRight(b.String(), " "))
	}
}
