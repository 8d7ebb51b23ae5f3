package cli

import (
	"bufio"
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

	"github.com/chronik-stream/chronik/cmd/chronik/bench"
	"github.com/chronik-stream/chronik/query/elastic"
)

// benchQueryOptions are those of loads that ask questions over HTTP.
type benchQueryOptions struct {
	endpoint
	benchOptions
	timeout   time.Duration
	freshness string
	k         int
}

const sameQuestions = `

Several questions are asked in turn; "-" reads them from standard input, one a line. A
query node gives the same answer again to the same question over the same records,
without computing it (query.results_bytes_max).`

func (o *benchQueryOptions) add(c *cobra.Command, e env) {
	o.endpoint.add(c, e)
	o.benchOptions.add(c, "answer")
	o.addPace(c, 0)
	c.ValidArgsFunction = cobra.NoFileCompletions
	c.Flags().DurationVar(&o.timeout, "timeout", 30*time.Second, "most time for one answer")
	c.Flags().StringVar(&o.freshness, "freshness", "", "latest, available, or cold (default: the server's)")
	check := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		switch {
		case o.timeout < time.Second:
			return usagef("--timeout %s: it is at least 1s", o.timeout)
		case !slices.Contains([]string{"", "latest", "available", "cold"}, o.freshness):
			return usagef("--freshness %s: it is latest, available or cold", o.freshness)
		}
		return check(c, args)
	}
}

func (o *benchQueryOptions) addK(c *cobra.Command) {
	c.Flags().IntVarP(&o.k, "k", "k", 10, "most records to find")
}

func newBenchSQL(e env) *cobra.Command {
	var o benchQueryOptions
	c := &cobra.Command{
		Use:   "sql 'SELECT …'…",
		Short: "Ask in SQL again and again, and measure the answers",
		Long:  "Ask in SQL again and again, and measure the answers." + sameQuestions,
		Example: `  chronik bench sql 'SELECT count(*) FROM orders' --clients 4
  chronik bench sql - --rate 20 --duration 1m < queries.sql`,
		Args: atLeastOne("the query"),
		RunE: func(c *cobra.Command, args []string) error {
			return o.run(c, args, "/_sql", func(query string) map[string]any {
				return map[string]any{"query": query, "timeout_secs": o.timeout.Seconds()}
			})
		},
	}
	o.add(c, e)
	return c
}

func newBenchSearch(e env) *cobra.Command {
	var o benchQueryOptions
	c := &cobra.Command{
		Use:   "search TOPIC 'words'…",
		Short: "Search for words again and again, and measure the answers",
		Long:  "Search for words, in the syntax of `chronik search`, again and again, and measure the\nanswers." + sameQuestions,
		Example: `  chronik bench search logs 'timeout AND service:checkout' --clients 4
  chronik bench search logs - --duration 1m < words.txt`,
		Args: atLeastOne("TOPIC", "the text to search for"),
		RunE: func(c *cobra.Command, args []string) error {
			topic := args[0]
			if elastic.Reserved(topic) { // by itself it is another surface
				topic += ","
			}
			return o.run(c, args[1:], "/"+url.PathEscape(topic)+"/_search", func(words string) map[string]any {
				return map[string]any{"query": map[string]any{"query_string": map[string]any{"query": words}}, "size": o.k, "timeout": fmt.Sprintf("%dms", o.timeout.Milliseconds())}
			})
		},
	}
	o.add(c, e)
	o.addK(c)
	return c
}

func newBenchVector(e env) *cobra.Command {
	var o benchQueryOptions
	c := &cobra.Command{
		Use:   "vector TOPIC 'words'…",
		Short: "Search by meaning again and again, and measure the answers",
		Long: "Search by meaning again and again, and measure the answers." + sameQuestions + `
The texts are embedded by the topic's provider, once each while they are remembered
(embedding.cache_bytes_max).`,
		Example: `  chronik bench vector support 'the parcel never came' --clients 4
  chronik bench vector support - -k 100 < questions.txt`,
		Args: atLeastOne("TOPIC", "the text to search for"),
		RunE: func(c *cobra.Command, args []string) error {
			return o.run(c, args[1:], "/_vector/"+url.PathEscape(args[0])+"/search", func(text string) map[string]any {
				return map[string]any{"query": text, "k": o.k, "timeout_secs": o.timeout.Seconds()}
			})
		},
	}
	o.add(c, e)
	o.addK(c)
	return c
}

// run asks once, so that what cannot be answered is said at once, and then as the
// load says.
func (o *benchQueryOptions) run(c *cobra.Command, questions []string, path string, request func(string) map[string]any) error {
	questions, err := givenQuestions(c.InOrStdin(), questions)
	if err != nil {
		return err
	}
	var bodies [][]byte
	for _, question := range questions {
		r := request(question)
		if o.freshness != "" {
			r["freshness"] = o.freshness
		}
		body, err := json.Marshal(r)
		if err != nil {
			return err
		}
		bodies = append(bodies, body)
	}
	o.endpoint.http = httpClient(o.Clients)
	ask := func(ctx context.Context, n int64) (int64, error) {
		// The server keeps the time; this is for a server that does not answer at all.
		ctx, cancel := context.WithTimeout(ctx, o.timeout+10*time.Second)
		defer cancel()
		response, err := o.open(ctx, http.MethodPost, path, http.Header{"Content-Type": {"application/json"}}, bodies[n%int64(len(bodies))])
		if err != nil {
			return 0, err
		}
		defer response.Body.Close()
		return io.Copy(io.Discard, response.Body)
	}
	if _, err := ask(c.Context(), 0); err != nil {
		return err
	}
	o.watch(c)
	return o.write(c.OutOrStdout(), bench.Ask(c.Context(), o.Load, ask))
}

// givenQuestions are the arguments, or for "-" the lines of standard input.
func givenQuestions(in io.Reader, given []string) ([]string, error) {
	if !slices.Equal(given, []string{"-"}) {
		return given, nil
	}
	var lines []string
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		if line := strings.TrimSpace(scanner.Text()); line != "" {
			lines = append(lines, line)
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	if len(lines) == 0 {
		return nil, usagef("standard input has no question")
	}
	return lines, nil
}
