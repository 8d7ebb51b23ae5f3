package federated

import (
	"slices"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/query/semantic"
	"github.com/chronik-stream/chronik/query/snapshot"
	"github.com/chronik-stream/chronik/query/vector"
)

// Limits and defaults of requests.
const (
	sourcesMax      = 16
	kDefault        = 50
	timeoutDefault  = 5000 // ms
	timeoutMax      = 24 * 60 * 60 * 1000
	fetchBytes      = 1 << 20
	fetchBytesMax   = 16 << 20
	formatMerged    = "merged"
	formatGrouped   = "grouped"
	backendsOfModes = "text, vector, sql and fetch"
)

// body is that of a request.
type body struct {
	Sources []struct {
		Topic string `json:"topic"`
		Modes []Mode `json:"modes"`
	} `json:"sources"`
	Q struct {
		Text     string `json:"text"`
		Semantic string `json:"semantic"`
		SQL      string `json:"sql"`
		Fetch    *struct {
			Offset    *int64 `json:"offset"`
			Partition *int32 `json:"partition"`
			MaxBytes  *int   `json:"max_bytes"`
		} `json:"fetch"`
	} `json:"q"`
	Filters struct {
		From       *semantic.Instant    `json:"timestamp_gte"`
		To         *semantic.Instant    `json:"timestamp_lte"`
		Partitions semantic.List[int32] `json:"partitions"`
	} `json:"filters"`
	K    *int `json:"k"`
	Rank struct {
		Profile string `json:"profile"`
	} `json:"rank"`
	Timeout   *int64             `json:"timeout_ms"`
	Format    string             `json:"result_format"`
	Freshness snapshot.Freshness `json:"freshness"`
}

// request checks the members.
func (b *body) request() (r Request, err error) {
	used := map[Mode]int{}
	if r.Sources, err = b.sources(used); err != nil {
		return r, err
	}
	if err := b.questions(&r, used); err != nil {
		return r, err
	}
	if r.Filter, err = b.filter(); err != nil {
		return r, err
	}
	r.K, r.Timeout = kDefault, timeoutDefault*time.Millisecond
	if b.K != nil {
		r.K = *b.K
	}
	if r.K < 1 || r.K > vector.KMax {
		return r, envelope.Invalid("k is %d, it must lie in 1..%d", r.K, vector.KMax)
	}
	if b.Timeout != nil {
		if *b.Timeout < 1 || *b.Timeout > timeoutMax {
			return r, envelope.Invalid("timeout_ms is %d, it must lie in 1..%d", *b.Timeout, timeoutMax)
		}
		r.Timeout = time.Duration(*b.Timeout) * time.Millisecond
	}
	if b.Freshness != "" && !b.Freshness.Known() {
		return r, envelope.Invalid("freshness is %q, it must be latest, available or cold", b.Freshness)
	}
	r.Freshest = b.Freshness
	var known bool
	if r.Profile, known = profileOf(b.Rank.Profile); !known {
		var names []string
		for _, p := range profiles {
			names = append(names, p.Name)
		}
		return r, envelope.Invalid("rank.profile is %q, there are %s", b.Rank.Profile, strings.Join(names, ", "))
	}
	switch b.Format {
	case "", formatMerged:
	case formatGrouped:
		r.Grouped = true
	default:
		return r, envelope.Invalid("result_format is %q, it must be %s or %s", b.Format, formatMerged, formatGrouped)
	}
	return r, nil
}

// sources reads which topics are asked how, and counts the modes.
func (b *body) sources(used map[Mode]int) (all []Source, err error) {
	if len(b.Sources) == 0 || len(b.Sources) > sourcesMax {
		return nil, envelope.Invalid("sources has %d topics, there have to be 1..%d", len(b.Sources), sourcesMax)
	}
	topics := map[string]bool{}
	for _, s := range b.Sources {
		switch {
		case s.Topic == "":
			return nil, envelope.Invalid("a source has no topic")
		case topics[s.Topic]:
			return nil, envelope.Invalid("topic %s is in sources twice", s.Topic)
		case len(s.Modes) == 0:
			return nil, envelope.Invalid("topic %s has no modes: there are %s", s.Topic, backendsOfModes)
		}
		topics[s.Topic] = true
		for i, mode := range s.Modes {
			if !slices.Contains([]Mode{Text, Vector, SQL, Fetch}, mode) {
				return nil, envelope.Invalid("topic %s has the mode %q: there are %s", s.Topic, mode, backendsOfModes)
			}
			if slices.Contains(s.Modes[:i], mode) {
				return nil, envelope.Invalid("topic %s has the mode %s twice", s.Topic, mode)
			}
			used[mode]++
		}
		all = append(all, Source{s.Topic, s.Modes})
	}
	if used[SQL] > 1 {
		return nil, envelope.Invalid("mode sql has %d topics, it can have one: that whose records the statement selects", used[SQL])
	}
	return all, nil
}

// questions reads what each mode looks for. What no mode looks for is refused: it
// would have no effect.
func (b *body) questions(r *Request, used map[Mode]int) error {
	r.Words, r.Meaning, r.SQL = b.Q.Text, b.Q.Semantic, b.Q.SQL
	if r.Meaning == "" {
		r.Meaning = b.Q.Text
	}
	for _, q := range []struct {
		name  string
		given bool
		modes []Mode
	}{
		{"text", b.Q.Text != "", []Mode{Text, Vector}}, {"semantic", b.Q.Semantic != "", []Mode{Vector}},
		{"sql", b.Q.SQL != "", []Mode{SQL}}, {"fetch", b.Q.Fetch != nil, []Mode{Fetch}},
	} {
		if q.given && !slices.ContainsFunc(q.modes, func(m Mode) bool { return used[m] > 0 }) {
			return envelope.Invalid("q.%s is given, and no source has the mode %s", q.name, q.modes[len(q.modes)-1])
		}
	}
	for _, need := range []struct {
		mode Mode
		text string
		name string
	}{{Text, r.Words, "q.text"}, {Vector, r.Meaning, "q.semantic, or q.text,"}, {SQL, r.SQL, "q.sql"}} {
		if used[need.mode] > 0 && strings.TrimSpace(need.text) == "" {
			return envelope.Invalid("%s is required by the mode %s", need.name, need.mode)
		}
	}
	if used[Fetch] == 0 {
		return nil
	}
	f := b.Q.Fetch
	if f == nil || f.Offset == nil {
		return envelope.Invalid("q.fetch.offset is required by the mode fetch")
	}
	if *f.Offset < 0 || f.Partition != nil && *f.Partition < 0 {
		return envelope.Invalid("q.fetch has an offset or a partition below 0")
	}
	r.Fetch = &Range{Offset: *f.Offset, Partition: f.Partition, BytesMax: fetchBytes}
	if f.MaxBytes != nil {
		if *f.MaxBytes < 1 || *f.MaxBytes > fetchBytesMax {
			return envelope.Invalid("q.fetch.max_bytes is %d, it must lie in 1..%d", *f.MaxBytes, fetchBytesMax)
		}
		r.Fetch.BytesMax = *f.MaxBytes
	}
	return nil
}

func (b *body) filter() (vector.Filter, error) {
	return semantic.Filter(b.Filters.Partitions, b.Filters.From, b.Filters.To)
}
