package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// vectorOptions are those of a search by meaning, alone or with words.
type vectorOptions struct {
	endpoint
	hybrid       bool
	topic, words string
	k            int
	partitions   []int32
	since, until string
	recall       float64
	vectorWeight float64
	textWeight   float64
	fusion       string
	allowPartial bool
	values       bool
	output       string
	timeout      time.Duration
	freshness    string
}

func newVector(e env) *cobra.Command {
	var o vectorOptions
	c := &cobra.Command{
		Use:   "vector TOPIC 'words'",
		Short: "Find records by what they mean",
		Long: `Find records of a topic with vector.enabled=true whose texts mean about what the
words do, the nearest first. Records get their vectors a few seconds after they
were produced; what the answer does not cover yet is said.`,
		Example: `  chronik vector support 'the parcel never came' -k 20
  chronik vector support 'refund' --since 2026-11-01T00:00:00Z --recall 0.99
  chronik vector support 'angry customers' --values -o json`,
		Args: exactly("TOPIC", "the text to search for"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: o.command,
	}
	o.add(c, e)
	return c
}

func newHybrid(e env) *cobra.Command {
	o := vectorOptions{hybrid: true}
	c := &cobra.Command{
		Use:   "hybrid TOPIC 'words'",
		Short: "Find records by their words and by what they mean",
		Long: `Find records of a topic with vector.enabled=true and searchable=true, by any of the
words and by what these mean. The two rankings become one: by the ranks of the
records (rrf), or by their scores (weighted).`,
		Example: `  chronik hybrid support 'error 1042 while paying'
  chronik hybrid support 'error 1042' --text-weight 0.8 --vector-weight 0.2
  chronik hybrid support 'late parcel' --allow-partial -o csv`,
		Args: exactly("TOPIC", "the text to search for"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: o.command,
	}
	o.add(c, e)
	c.Flags().Float64Var(&o.textWeight, "text-weight", 0.5, "how much the ranking by words counts; 0: it is not asked")
	c.Flags().Float64Var(&o.vectorWeight, "vector-weight", 0.5, "how much the ranking by meaning counts; 0: it is not asked")
	c.Flags().StringVar(&o.fusion, "fusion", "rrf", "how the two become one: rrf, or weighted")
	c.Flags().BoolVar(&o.allowPartial, "allow-partial", false, "take what one ranking has where the other fails")
	return c
}

func (o *vectorOptions) add(c *cobra.Command, e env) {
	o.endpoint.add(c, e)
	addOutput(c, &o.output, "table", "json", "csv")
	c.Flags().IntVarP(&o.k, "k", "k", 10, "most records to show")
	c.Flags().Int32SliceVar(&o.partitions, "partition", nil, "look only into this partition, or a comma list")
	c.Flags().StringVar(&o.since, "since", "", "look only at records from this time on (RFC 3339)")
	c.Flags().StringVar(&o.until, "until", "", "look only at records up to this time (RFC 3339)")
	c.Flags().Float64Var(&o.recall, "recall", 0, "part of the true neighbours to find, above 0 and up to 1 (default: 0.95)")
	c.Flags().BoolVar(&o.values, "values", false, "show whole values in place of their beginnings")
	c.Flags().DurationVar(&o.timeout, "timeout", 30*time.Second, "most time to take")
	c.Flags().StringVar(&o.freshness, "freshness", "", "available (what has its vectors by now: the default, but for words, where it is latest), latest (wait for all that was acknowledged), or cold")
}

func (o *vectorOptions) command(c *cobra.Command, args []string) error {
	o.topic, o.words = args[0], args[1]
	return o.run(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
}

// vectorAnswer is what is shown of an answer.
type vectorAnswer struct {
	Results  []vectorResult `json:"results"`
	Total    int64          `json:"total_vectors"`
	Millis   float64        `json:"execution_time_ms"`
	Coverage sqlCoverage    `json:"coverage"`
	Warnings []string       `json:"warnings"`
}

type vectorResult struct {
	Topic      string          `json:"topic"`
	Partition  int32           `json:"partition"`
	Offset     int64           `json:"offset"`
	Timestamp  int64           `json:"timestamp"`
	Score      float64         `json:"score"`
	Distance   float64         `json:"distance"`
	VectorRank *int            `json:"vector_rank"`
	TextRank   *int            `json:"text_rank"`
	Preview    string          `json:"text_preview"`
	Value      json.RawMessage `json:"value"`
}

func (o *vectorOptions) run(ctx context.Context, out, notes io.Writer) error {
	body, err := o.body()
	if err != nil {
		return err
	}
	// The server keeps the time; this is for a server that does not answer at all.
	ctx, cancel := context.WithTimeout(ctx, o.timeout+10*time.Second)
	defer cancel()
	path := "/_vector/" + url.PathEscape(o.topic) + "/search"
	if o.hybrid {
		path = "/_vector/" + url.PathEscape(o.topic) + "/hybrid"
	}
	text, err := o.ask(ctx, http.MethodPost, path, http.Header{"Content-Type": {"application/json"}}, body)
	if err != nil {
		return err
	}
	if o.output == "json" {
		return writeJSON(out, json.RawMessage(text))
	}
	var answer vectorAnswer
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if err := o.table(answer.Results).writeAs(out, o.output); err != nil {
		return err
	}
	fmt.Fprintf(notes, "(%s, of %s with vectors, %.0f ms)\n", plural(int64(len(answer.Results)), "record"), grouped(answer.Total), answer.Millis)
	for _, warning := range answer.Warnings {
		fmt.Fprintln(notes, warning)
	}
	writeNotes(notes, false, 0, answer.Coverage)
	return nil
}

// body is the request. What is wrong with it the server says, but for what could
// not be sent, or would be left out.
func (o *vectorOptions) body() ([]byte, error) {
	request := map[string]any{"query": o.words, "k": o.k, "timeout_secs": o.timeout.Seconds(), "include_value": o.values}
	filters := map[string]any{}
	switch {
	case strings.TrimSpace(o.words) == "":
		return nil, usagef("the words to search for are empty")
	case o.k < 1:
		return nil, usagef("-k %d: it is at least 1", o.k)
	case o.timeout <= 0:
		return nil, usagef("--timeout %s: it is above 0", o.timeout)
	case o.recall < 0 || o.recall > 1:
		return nil, usagef("--recall %g: it lies above 0 and up to 1", o.recall)
	case !slices.Contains([]string{"", "latest", "available", "cold"}, o.freshness):
		return nil, usagef("--freshness %s: it is latest, available or cold", o.freshness)
	case o.hybrid && !slices.Contains([]string{"rrf", "weighted"}, o.fusion):
		return nil, usagef("--fusion %s: it is rrf or weighted", o.fusion)
	}
	if o.partitions != nil {
		filters["partitions"] = o.partitions
	}
	for name, given := range map[string]string{"min_timestamp": o.since, "max_timestamp": o.until} {
		if given == "" {
			continue
		}
		if _, err := time.Parse(time.RFC3339Nano, given); err != nil {
			return nil, usagef("%s is no time: write it as 2026-11-01T00:00:00Z", given)
		}
		filters[name] = given
	}
	if len(filters) > 0 {
		request["filters"] = filters
	}
	if o.recall > 0 {
		request["recall_target"] = o.recall
	}
	if o.freshness != "" {
		request["freshness"] = o.freshness
	}
	if o.hybrid {
		request["text_weight"], request["vector_weight"], request["fusion"] = o.textWeight, o.vectorWeight, o.fusion
		request["allow_partial"] = o.allowPartial
	}
	return json.Marshal(request)
}

// table shows records: where they are, how good, and what they say.
func (o *vectorOptions) table(results []vectorResult) *table {
	columns := []string{"id", "time", ">score", ">distance", "record"}
	if o.hybrid {
		columns = []string{"id", "time", ">score", ">by words", ">by meaning", "record"}
	}
	t := newTable(columns...)
	rank := func(r *int) string {
		if r == nil {
			return ""
		}
		return fmt.Sprint(*r)
	}
	for _, r := range results {
		row := []any{fmt.Sprintf("%s-%d-%d", r.Topic, r.Partition, r.Offset), time.UnixMilli(r.Timestamp).UTC().Format("2006-01-02T15:04:05.000Z")}
		if o.hybrid {
			row = append(row, fmt.Sprintf("%.5f", r.Score), rank(r.TextRank), rank(r.VectorRank))
		} else {
			row = append(row, fmt.Sprintf("%.4f", r.Score), fmt.Sprintf("%.4f", r.Distance))
		}
		if o.values {
			row = append(row, cell(r.Value))
		} else {
			row = append(row, r.Preview)
		}
		t.add(row...)
	}
	return t
}
