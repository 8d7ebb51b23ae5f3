package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chronik-stream/chronik/query/elastic"
)

type searchOptions struct {
	endpoint
	topic, words string
	query        string // JSON, in place of words
	sort         string
	fields       []string
	highlight    bool
	size         int
	output       string
	timeout      time.Duration
	freshness    string
}

func newSearch(e env) *cobra.Command {
	var o searchOptions
	c := &cobra.Command{
		Use:   "search TOPIC ['words']",
		Short: "Find records by the words in them",
		Long: `Find records of topics with searchable=true. TOPIC may be a comma list, and have *.
The words are in Lucene's syntax: several are one or the other, the best matches
first; +word must be there, -word must not, "words in their order", field:word,
field:[1 TO 5], wor*, word~ for words that are nearly the same. Without words, all
records match.

--query takes a query as Elasticsearch has it, in place of words; "-" reads it
from standard input.`,
		Example: `  chronik search logs 'timeout AND service:checkout'
  chronik search logs '+error -level:debug' -k 50 --sort _timestamp:desc
  chronik search 'app-*' 'status:[500 TO 599]' --fields service,status -o csv
  chronik search logs --query '{"match_phrase":{"message":"connection reset"}}' -o json`,
		Args: cobra.RangeArgs(1, 2), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			o.topic = args[0]
			if len(args) > 1 {
				o.words = args[1]
			}
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
	addOutput(c, &o.output, "table", "json", "csv")
	c.Flags().IntVarP(&o.size, "size", "k", 10, "most records to show")
	c.Flags().StringVar(&o.sort, "sort", "", "order in place of the best first: field:asc or field:desc, or a comma list")
	c.Flags().StringSliceVar(&o.fields, "fields", nil, "fields to show in place of the value")
	c.Flags().BoolVar(&o.highlight, "highlight", false, "show where the records match, in place of their values")
	c.Flags().StringVar(&o.query, "query", "", "a query in Elasticsearch's JSON in place of words")
	c.Flags().DurationVar(&o.timeout, "timeout", 30*time.Second, "most time to wait for the answer")
	c.Flags().StringVar(&o.freshness, "freshness", "", "latest (default: everything acknowledged), available, or cold")
	return c
}

// searchAnswer is what is shown of an answer.
type searchAnswer struct {
	Took int64 `json:"took"`
	Hits struct {
		Total struct {
			Value    int64  `json:"value"`
			Relation string `json:"relation"`
		} `json:"total"`
		Hits []searchHit `json:"hits"`
	} `json:"hits"`
	TimedOut bool        `json:"timed_out"`
	Coverage sqlCoverage `json:"coverage"`
}

type searchHit struct {
	ID        string                     `json:"_id"`
	Score     *float64                   `json:"_score"`
	Source    map[string]json.RawMessage `json:"_source"`
	Highlight map[string][]string        `json:"highlight"`
	order     []string                   // of the source's members
}

// UnmarshalJSON keeps the order of the members of the source.
func (h *searchHit) UnmarshalJSON(text []byte) error {
	type plain searchHit
	if err := json.Unmarshal(text, (*plain)(h)); err != nil {
		return err
	}
	var source struct {
		Source json.RawMessage `json:"_source"`
	}
	if err := json.Unmarshal(text, &source); err != nil || len(source.Source) == 0 {
		return err
	}
	decoder := json.NewDecoder(strings.NewReader(string(source.Source)))
	if _, err := decoder.Token(); err != nil {
		return err
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return err
		}
		h.order = append(h.order, fmt.Sprint(name))
		var skipped json.RawMessage
		if err := decoder.Decode(&skipped); err != nil {
			return err
		}
	}
	return nil
}

func (o *searchOptions) run(ctx context.Context, out, notes io.Writer) error {
	body, err := o.body()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	topic := o.topic
	if elastic.Reserved(topic) { // by itself it is another surface
		topic += ","
	}
	path := "/" + url.PathEscape(topic) + "/_search"
	text, err := o.ask(ctx, http.MethodPost, path, http.Header{"Content-Type": {"application/json"}}, body)
	if err != nil {
		return err
	}
	if o.output == "json" {
		return writeJSON(out, json.RawMessage(text))
	}
	var answer searchAnswer
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if err := o.table(answer.Hits.Hits).writeAs(out, o.output); err != nil {
		return err
	}
	total := plural(answer.Hits.Total.Value, "record")
	if answer.Hits.Total.Relation == "gte" {
		total = "more than " + total
	}
	fmt.Fprintf(notes, "(%s of %s, %d ms)\n", grouped(int64(len(answer.Hits.Hits))), total, answer.Took)
	writeNotes(notes, false, 0, answer.Coverage)
	return nil
}

// body is the request. What is wrong with it the server says, but for what could
// not be sent.
func (o *searchOptions) body() ([]byte, error) {
	request := map[string]any{"size": o.size}
	switch {
	case o.size < 0:
		return nil, usagef("-k %d: it is at least 0", o.size)
	case o.timeout <= 0:
		return nil, usagef("--timeout %s: it is above 0", o.timeout)
	case !slices.Contains([]string{"", "latest", "available", "cold"}, o.freshness):
		return nil, usagef("--freshness %s: it is latest, available or cold", o.freshness)
	case o.words != "" && o.query != "":
		return nil, usagef("words and --query: one of them")
	case o.query != "" && !json.Valid([]byte(o.query)):
		return nil, usagef("--query is not JSON")
	case o.query != "":
		request["query"] = json.RawMessage(o.query)
	case o.words != "":
		request["query"] = map[string]any{"query_string": map[string]any{"query": o.words}}
	}
	if o.freshness != "" {
		request["freshness"] = o.freshness
	}
	if o.sort != "" {
		var keys []any
		for key := range strings.SplitSeq(o.sort, ",") {
			field, order, given := strings.Cut(strings.TrimSpace(key), ":")
			if !given {
				keys = append(keys, field)
				continue
			}
			keys = append(keys, map[string]string{field: order})
		}
		request["sort"] = keys
	}
	if o.highlight {
		request["highlight"] = map[string]any{"pre_tags": []string{"["}, "post_tags": []string{"]"}, "fields": map[string]any{"*": map[string]any{}}}
	}
	return json.Marshal(request)
}

// table shows hits: where they are, how good, and what they say.
func (o *searchOptions) table(hits []searchHit) *table {
	columns := []string{"id", "time", ">score"}
	if len(o.fields) > 0 && !o.highlight {
		columns = append(columns, o.fields...)
	} else {
		columns = append(columns, "record")
	}
	t := newTable(columns...)
	for _, h := range hits {
		score := ""
		if h.Score != nil {
			score = fmt.Sprintf("%.3f", *h.Score)
		}
		row := []any{h.ID, h.time(), score}
		switch {
		case o.highlight:
			row = append(row, h.matches())
		case len(o.fields) > 0:
			for _, f := range o.fields {
				row = append(row, cell(h.at(f)))
			}
		default:
			row = append(row, h.value())
		}
		t.add(row...)
	}
	return t
}

func (h *searchHit) time() string {
	var ms int64
	if json.Unmarshal(h.Source["_timestamp"], &ms) != nil {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

// at is the value at a path of names.
func (h *searchHit) at(path string) json.RawMessage {
	members := h.Source
	for {
		if v, ok := members[path]; ok {
			return v
		}
		first, rest, more := strings.Cut(path, ".")
		var inner map[string]json.RawMessage
		if !more || json.Unmarshal(members[first], &inner) != nil {
			return nil
		}
		members, path = inner, rest
	}
}

// value is the record's own: what the log adds is left out.
func (h *searchHit) value() string {
	if v, ok := h.Source["_value"]; ok {
		return cell(v)
	}
	var b strings.Builder
	b.WriteByte('{')
	for _, name := range h.order {
		if strings.HasPrefix(name, "_") {
			continue
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		quoted, _ := json.Marshal(name) // texts always can
		b.Write(quoted)
		b.WriteByte(':')
		b.Write(h.Source[name])
	}
	b.WriteByte('}')
	return b.String()
}

// matches are the places where the record matches, by field.
func (h *searchHit) matches() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(h.Highlight)) {
		all = append(all, name+": "+strings.Join(h.Highlight[name], " … "))
	}
	return strings.Join(all, "; ")
}
