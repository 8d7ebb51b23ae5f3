package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/query/places"
)

// searchesAtOnce is how many searches of one request run at once. Which of all
// requests' do is decided where they run.
const (
	searchesAtOnce    = 4
	searchesAtOnceMax = 16
)

// msearch answers several searches, each as if it had come alone.
func (c *call) msearch() error {
	show, atOnce, err := c.msearchParams()
	if err != nil {
		return err
	}
	body, err := c.body()
	if err != nil {
		return err
	}
	searches, err := splitSearches(body)
	if err != nil {
		return err
	}
	if err := c.rest(c.Request.URL.Path); err != nil {
		return err
	}
	// All go where the first is at hand: those of one request are mostly of one topic.
	if first, err := c.askedOne(searches[0], show); err == nil {
		if err := c.near(first.topics); err != nil {
			return err
		}
	}
	began := time.Now()
	answers := make([][]byte, len(searches))
	var size atomic.Int64
	group, ctx := errgroup.WithContext(c.Request.Context())
	group.SetLimit(atOnce)
	for i, one := range searches {
		group.Go(func() error {
			var err error
			if answers[i], err = c.guarded(ctx, one, show); err != nil {
				return err
			}
			if all := size.Add(int64(len(answers[i]))); all > answerBytesMax {
				return answerTooLarge(int(all))
			}
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return c.answer(http.StatusOK, func(w *writer) {
		w.object(func() {
			w.member("took", time.Since(began).Milliseconds())
			w.name("responses")
			w.array(func() {
				// All at once: what is appended bit by bit is there twice while it grows.
				w.out = slices.Grow(w.out, int(size.Load())+len(answers)+2)
				for i, a := range answers {
					w.raw(a)
					answers[i] = nil
				}
			})
		})
	})
}

func (c *call) msearchParams() (show shown, atOnce int, err error) {
	if err := c.flags(map[string]*bool{"typed_keys": &show.typedKeys, "rest_total_hits_as_int": &show.totalAsInt}); err != nil {
		return show, 0, err
	}
	if err := searchType(c.text("search_type", "")); err != nil {
		return show, 0, err
	}
	c.harmless("ccs_minimize_roundtrips", "max_concurrent_shard_requests", "pre_filter_shard_size", "preference", "routing")
	atOnce, err = c.integer("max_concurrent_searches", searchesAtOnce, 1, 1<<31-1)
	return show, min(atOnce, searchesAtOnceMax), err
}

// oneSearch is a search among others: its header and its body.
type oneSearch struct{ header, body []byte }

func splitSearches(body []byte) ([]oneSearch, error) {
	if len(body) == 0 || body[len(body)-1] != '\n' {
		return nil, badRequest("The msearch request must be terminated by a newline [\\n]")
	}
	lines := bytes.Split(body[:len(body)-1], []byte("\n"))
	var all []oneSearch
	for i := 0; i < len(lines); i += 2 {
		if len(bytes.TrimSpace(lines[i])) == 0 && i == len(lines)-1 {
			break
		}
		if i+1 == len(lines) {
			return nil, badRequest("line %d: a header without a body behind it", i+1)
		}
		all = append(all, oneSearch{lines[i], lines[i+1]})
	}
	switch {
	case len(all) == 0:
		return nil, badRequest("no requests added")
	case len(all) > searchesMax:
		return nil, badRequest("%d searches, at most %d", len(all), searchesMax)
	}
	return all, nil
}

// searchHeader says where a search among others looks.
type searchHeader struct {
	Index             names  `json:"index"`
	Indices           names  `json:"indices"`
	IgnoreUnavailable *bool  `json:"ignore_unavailable"`
	AllowNoIndices    *bool  `json:"allow_no_indices"`
	ExpandWildcards   names  `json:"expand_wildcards"`
	SearchType        string `json:"search_type"`
	Freshness         string `json:"freshness"`
	// Harmless: see reads.
	Preference     string `json:"preference"`
	Routing        names  `json:"routing"`
	RequestCache   *bool  `json:"request_cache"`
	CCS            *bool  `json:"ccs_minimize_roundtrips"`
	AllowPartial   *bool  `json:"allow_partial_search_results"`
	IgnoreThrotted *bool  `json:"ignore_throttled"`
	MaxConcurrent  *int   `json:"max_concurrent_shard_requests"`
}

// names is a name, a comma list of names, or an array of them.
type names string

// UnmarshalJSON implements json.Unmarshaler.
func (n *names) UnmarshalJSON(text []byte) error {
	var list []string
	if json.Unmarshal(text, &list) == nil {
		*n = names(strings.Join(list, ","))
		return nil
	}
	return json.Unmarshal(text, (*string)(n))
}

func (h *searchHeader) expansion() (expansion, error) {
	x := expansion{allowNone: true}
	if h.IgnoreUnavailable != nil {
		x.ignoreUnavailable = *h.IgnoreUnavailable
	}
	if h.AllowNoIndices != nil {
		x.allowNone = *h.AllowNoIndices
	}
	if h.ExpandWildcards == "" {
		return x, nil
	}
	return x, x.wildcards(string(h.ExpandWildcards))
}

// guarded is one, whose bugs are not the end of the process.
func (c *call) guarded(ctx context.Context, s oneSearch, show shown) (answer []byte, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			c.surface.o.Log.Error("a search among others panicked", "cause", cause)
			w := &writer{}
			(&Error{Status: http.StatusInternalServerError, Type: "exception", Reason: "internal error"}).write(w)
			answer, err = w.out, nil
		}
	}()
	return c.one(ctx, s, show)
}

// one answers a search among others, or says why not. An error is one of them all.
func (c *call) one(ctx context.Context, s oneSearch, show shown) ([]byte, error) {
	began := time.Now()
	w := &writer{}
	a, err := c.askedOne(s, show)
	if err == nil {
		answer, failed := c.surface.run(ctx, a)
		if err = failed; err == nil {
			w.object(func() {
				writeAnswer(w, a, answer, time.Since(began))
				w.member("status", http.StatusOK)
			})
			return w.out, nil
		}
	}
	var busy *places.BusyError
	if errors.As(err, &busy) {
		return nil, busy
	}
	c.surface.errorOf(ctx, err).write(w)
	return w.out, nil
}

func (c *call) askedOne(s oneSearch, show shown) (*asked, error) {
	var h searchHeader
	if header := bytes.TrimSpace(s.header); len(header) > 0 {
		decoder := json.NewDecoder(bytes.NewReader(header))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&h); err != nil {
			return nil, badRequest("the header of a search: %s", strings.TrimPrefix(err.Error(), "json: "))
		}
	}
	if err := searchType(h.SearchType); err != nil {
		return nil, err
	}
	x, err := h.expansion()
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(s.body)) == 0 {
		return nil, &Error{Status: http.StatusBadRequest, Type: "parse_exception", Reason: "a search among others needs a body, {} at least"}
	}
	request, err := textquery.Parse(s.body)
	if err != nil {
		return nil, err
	}
	if request.Freshness == "" {
		request.Freshness = h.Freshness
	}
	a := &asked{request: request, options: c.options(), show: show}
	if err := a.complete(); err != nil {
		return nil, err
	}
	expression := string(h.Index)
	if expression == "" {
		expression = string(h.Indices)
	}
	if expression == "" {
		expression = c.Param("index")
	}
	a.topics, err = c.topics(expression, x)
	return a, err
}
