package semantic

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/query/snapshot"
	"github.com/chronik-stream/chronik/query/vector"
)

// Limits and defaults of requests.
const (
	kDefault   = 10
	timeoutMax = 24 * time.Hour
	effortMax  = 100_000 // of ef_search and nprobe
	listMax    = 100_000 // of numbers: no vector has so many, no topic so many partitions
)

// common are the members that all searches have. Those of filter may stand beside
// the others, too; those in filters win.
type common struct {
	K *int `json:"k"`
	filter
	Filters *filter `json:"filters"`

	EfSearch *int     `json:"ef_search"`
	NProbe   *int     `json:"nprobe"`
	Recall   *float64 `json:"recall_target"`

	IncludeValue     bool               `json:"include_value"`
	IncludeEmbedding bool               `json:"include_embedding"`
	Freshness        snapshot.Freshness `json:"freshness"`
	Timeout          *float64           `json:"timeout_secs"`
}

// filter says which records count.
type filter struct {
	Partitions   List[int32] `json:"partitions"`
	MinOffset    *int64      `json:"min_offset"`
	MaxOffset    *int64      `json:"max_offset"`
	MinTimestamp *Instant    `json:"min_timestamp"`
	MaxTimestamp *Instant    `json:"max_timestamp"`
}

// request checks the members, and makes what is asked of the searcher.
func (c *common) request(topic string, timeout time.Duration) (vector.Request, error) {
	r := vector.Request{Topic: topic, K: kDefault, Values: c.IncludeValue, Embeddings: c.IncludeEmbedding, Freshness: string(c.Freshness)}
	if c.K != nil {
		r.K = *c.K
	}
	if r.K < 1 || r.K > vector.KMax {
		return r, envelope.Invalid("k is %d, it must lie in 1..%d", r.K, vector.KMax)
	}
	for _, effort := range []struct {
		name  string
		given *int
		into  *int
	}{{"ef_search", c.EfSearch, &r.Ef}, {"nprobe", c.NProbe, &r.Probes}} {
		if effort.given == nil {
			continue
		}
		if *effort.given < 1 || *effort.given > effortMax {
			return r, envelope.Invalid("%s is %d, it must lie in 1..%d", effort.name, *effort.given, effortMax)
		}
		*effort.into = *effort.given
	}
	if c.Recall != nil {
		if !(*c.Recall > 0 && *c.Recall <= 1) {
			return r, envelope.Invalid("recall_target is %g, it must be above 0 and at most 1", *c.Recall)
		}
		r.Recall = *c.Recall
	}
	if c.Freshness != "" && !c.Freshness.Known() {
		return r, envelope.Invalid("freshness is %q, it must be latest, available or cold", c.Freshness)
	}
	var err error
	if r.Timeout, err = Within(c.Timeout, timeout); err != nil {
		return r, err
	}
	r.Filter, err = c.filter.over(c.Filters)
	return r, err
}

// Within reads timeout_secs.
func Within(seconds *float64, byDefault time.Duration) (time.Duration, error) {
	if seconds == nil {
		return byDefault, nil
	}
	if !(*seconds > 0 && *seconds <= timeoutMax.Seconds()) {
		return 0, envelope.Invalid("timeout_secs is %g, it must be above 0 and at most %g", *seconds, timeoutMax.Seconds())
	}
	return time.Duration(math.Ceil(*seconds * float64(time.Second))), nil
}

// over is the filter with what another one says in place of what it says itself.
func (f filter) over(wins *filter) (vector.Filter, error) {
	if wins != nil {
		if wins.Partitions != nil {
			f.Partitions = wins.Partitions
		}
		f.MinOffset, f.MaxOffset = either(wins.MinOffset, f.MinOffset), either(wins.MaxOffset, f.MaxOffset)
		f.MinTimestamp, f.MaxTimestamp = either(wins.MinTimestamp, f.MinTimestamp), either(wins.MaxTimestamp, f.MaxTimestamp)
	}
	v := vector.Filter{
		Partitions: f.Partitions, MinOffset: f.MinOffset, MaxOffset: f.MaxOffset,
		MinTimestamp: (*int64)(f.MinTimestamp), MaxTimestamp: (*int64)(f.MaxTimestamp),
	}
	if v.Partitions != nil && len(v.Partitions) == 0 {
		return v, envelope.Invalid("partitions is empty: leave it out to search all")
	}
	for _, p := range v.Partitions {
		if p < 0 {
			return v, envelope.Invalid("partitions has %d, there is none below 0", p)
		}
	}
	if v.MinOffset != nil && v.MaxOffset != nil && *v.MinOffset > *v.MaxOffset {
		return v, envelope.Invalid("min_offset %d is above max_offset %d", *v.MinOffset, *v.MaxOffset)
	}
	if v.MinTimestamp != nil && v.MaxTimestamp != nil && *v.MinTimestamp > *v.MaxTimestamp {
		return v, envelope.Invalid("the range of timestamps ends before it begins")
	}
	return v, nil
}

func either[T any](first, second *T) *T {
	if first != nil {
		return first
	}
	return second
}

// Instant is a time, in ms: a number of these since 1970, or RFC 3339.
type Instant int64

// UnmarshalJSON implements json.Unmarshaler.
func (t *Instant) UnmarshalJSON(text []byte) error {
	if text[0] != '"' {
		if err := json.Unmarshal(text, (*int64)(t)); err != nil {
			return envelope.Invalid("%s is no time: it has to be RFC 3339, or an integer of milliseconds since 1970", text)
		}
		return nil
	}
	var given string
	if err := json.Unmarshal(text, &given); err != nil {
		return err
	}
	at, err := time.Parse(time.RFC3339Nano, given)
	if err != nil {
		return envelope.Invalid("%s is no time: it has to be RFC 3339, or an integer of milliseconds since 1970", text)
	}
	*t = Instant(at.UnixMilli())
	return nil
}

// List is an array of numbers. JSON's null is none: encoding/json takes it for 0.
type List[T int32 | float32] []T

// UnmarshalJSON implements json.Unmarshaler.
func (l *List[T]) UnmarshalJSON(text []byte) error {
	if n := bytes.Count(text, []byte(",")) + 1; n > listMax {
		return envelope.Invalid("an array has %d numbers, it can have %d", n, listMax)
	}
	var all []*T
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	if all == nil { // null: it is not given
		return nil
	}
	*l = make([]T, len(all))
	for i, v := range all {
		if v == nil {
			return envelope.Invalid("null is no number of an array")
		}
		(*l)[i] = *v
	}
	return nil
}

// words is a text that is required.
func words(name, text string) (string, error) {
	if strings.TrimSpace(text) == "" {
		return "", envelope.Invalid("%s is required: the text to search for", name)
	}
	return text, nil
}

// Filter is the filter of partitions and times that were given, if they make sense.
func Filter(partitions List[int32], from, to *Instant) (vector.Filter, error) {
	return filter{Partitions: partitions, MinTimestamp: from, MaxTimestamp: to}.over(nil)
}
