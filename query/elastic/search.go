package elastic

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/query/places"
	"github.com/chronik-stream/chronik/query/search"
)

// asked is a search that was read.
type asked struct {
	request *textquery.Request
	topics  []Topic
	options search.Options
	show    shown
}

// shown says in which form an answer is wanted.
type shown struct {
	typedKeys  bool
	totalAsInt bool
}

// reads are the parameters of reading that no answer depends on: every search
// asks all partitions, by one node.
var reads = []string{
	"preference", "routing", "request_cache", "ccs_minimize_roundtrips", "batched_reduce_size", "max_concurrent_shard_requests",
	"pre_filter_shard_size", "allow_partial_search_results",
}

// notRead are parameters of searches that are not supported.
var notRead = []string{
	"scroll", "explain", "version", "seq_no_primary_term", "stats", "stored_fields", "docvalue_fields", "terminate_after",
	"suggest_field", "suggest_mode", "suggest_size", "suggest_text", "force_synthetic_source", "include_named_queries_score",
	"_source_exclude_vectors", "min_compatible_shard_node", "search_timeout",
}

func (c *call) search() error {
	a, err := c.askedSearch()
	if err != nil {
		return err
	}
	if err := c.rest(c.Request.URL.Path); err != nil {
		return err
	}
	if err := c.near(a.topics); err != nil {
		return err
	}
	began := time.Now()
	answer, err := c.surface.run(c.Request.Context(), a)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, func(w *writer) {
		w.object(func() { writeAnswer(w, a, answer, time.Since(began)) })
	})
}

// askedSearch reads the parameters and the body of a search.
func (c *call) askedSearch() (*asked, error) {
	x, err := c.expansion()
	if err != nil {
		return nil, err
	}
	a := &asked{options: c.options()}
	if err := c.flags(map[string]*bool{"typed_keys": &a.show.typedKeys, "rest_total_hits_as_int": &a.show.totalAsInt}); err != nil {
		return nil, err
	}
	if err := searchType(c.text("search_type", "")); err != nil {
		return nil, err
	}
	c.harmless(reads...)
	if err := c.never(notRead...); err != nil {
		return nil, err
	}
	body, err := c.body()
	if err != nil {
		return nil, err
	}
	if a.request, err = textquery.Parse(body); err != nil {
		return nil, err
	}
	if err := textquery.ParseURI(c.values, a.request); err != nil {
		return nil, err
	}
	if err := a.complete(); err != nil {
		return nil, err
	}
	a.topics, err = c.topics(c.Param("index"), x)
	return a, err
}

// searchType: scores are those of all shards, whichever is asked for.
func searchType(name string) error {
	switch name {
	case "", "query_then_fetch", "dfs_query_then_fetch":
		return nil
	}
	return badRequest("No search type for [%s]", name)
}

// complete looks at what parts of a search say about one another.
func (a *asked) complete() error {
	switch a.request.Freshness {
	case "":
	case "latest", "available", "cold":
		a.options.Freshness = a.request.Freshness
	default:
		return badRequest("[freshness] is %q, it has to be latest, available or cold", a.request.Freshness)
	}
	if a.show.totalAsInt && !a.request.Total.Off && !a.request.Total.Exact {
		if up := a.request.Total.UpTo; up != textquery.NewRequest().Total.UpTo {
			return badRequest("[rest_total_hits_as_int] cannot be used if the tracking of total hits is not accurate, got %d", up)
		}
		a.request.Total = textquery.Total{Exact: true}
	}
	return nil
}

// run answers a search. The error is an *Error, or a *places.BusyError of a node
// to which it was handed on and that has no time.
func (s *Surface) run(ctx context.Context, a *asked) (*search.Answer, error) {
	s.searches.Add(1)
	answer, err := s.o.Backend.Search(ctx, namesOf(a.topics), a.request, a.options)
	var busy *places.BusyError
	switch {
	case errors.As(err, &busy) && busy.Hurried:
		return nil, busy // who handed it on answers it whole
	case err != nil:
		index := ""
		if len(a.topics) > 0 {
			index = a.topics[0].Name
		}
		return nil, s.searchError(ctx, err, index)
	}
	return answer, nil
}

// count answers how many documents match.
func (c *call) count() error {
	x, err := c.expansion()
	if err != nil {
		return err
	}
	c.harmless("preference", "routing")
	if err := c.never("terminate_after"); err != nil {
		return err
	}
	body, err := c.body()
	if err != nil {
		return err
	}
	a := &asked{request: textquery.NewRequest(), options: c.options()}
	if a.request.Query, a.request.Freshness, err = textquery.ParseCount(body); err != nil {
		return err
	}
	if err := c.countURI(a.request); err != nil {
		return err
	}
	a.request.Size, a.request.Total = 0, textquery.Total{Exact: true}
	if err := a.complete(); err != nil {
		return err
	}
	if err := c.rest(c.Request.URL.Path); err != nil {
		return err
	}
	if a.topics, err = c.topics(c.Param("index"), x); err != nil {
		return err
	}
	if err := c.near(a.topics); err != nil {
		return err
	}
	answer, err := c.surface.run(c.Request.Context(), a)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, func(w *writer) {
		w.object(func() {
			w.member("count", answer.Total)
			writeShards(w, answer.Shards)
			writeCoverage(w, answer.Coverage)
		})
	})
}

// countURI reads the parameters of a count, which are some of a search's.
func (c *call) countURI(r *textquery.Request) error {
	own := map[string][]string{}
	for _, name := range []string{"q", "df", "analyzer", "analyze_wildcard", "default_operator", "lenient", "freshness"} {
		if v, given := c.take(name); given {
			own[name] = []string{v}
		}
	}
	if text, given := c.take("min_score"); given {
		v, err := number(text)
		if err != nil {
			return badRequest("Failed to parse float parameter [min_score] with value [%s]", text)
		}
		r.MinScore = &v
	}
	return textquery.ParseURI(own, r)
}
