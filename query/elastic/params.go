package elastic

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chronik-stream/chronik/internal/suggest"
)

// params are the parameters of a URL. Who knows one takes it; what nobody took
// is refused.
type params struct {
	values url.Values
	known  []string // that were asked for
}

func (p *params) take(name string) (string, bool) {
	p.known = append(p.known, name)
	v, given := p.values[name]
	delete(p.values, name)
	if !given || len(v) == 0 {
		return "", false
	}
	return v[len(v)-1], true
}

func (p *params) text(name, otherwise string) string {
	if v, given := p.take(name); given && v != "" {
		return v
	}
	return otherwise
}

// flag reads a parameter that is true or false; given without a value it is true.
func (p *params) flag(name string, otherwise bool) (bool, error) {
	v, given := p.take(name)
	switch {
	case !given:
		return otherwise, nil
	case v == "true" || v == "":
		return true, nil
	case v == "false":
		return false, nil
	}
	return false, badRequest("Failed to parse value [%s] of parameter [%s] as only [true] or [false] are allowed.", v, name)
}

// flags reads several.
func (p *params) flags(to map[string]*bool) error {
	for name, at := range to {
		v, err := p.flag(name, *at)
		if err != nil {
			return err
		}
		*at = v
	}
	return nil
}

func (p *params) integer(name string, otherwise, least, most int) (int, error) {
	v, given := p.take(name)
	if !given || v == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		return 0, badRequest("Failed to parse value [%s] of parameter [%s]: it has to be a whole number from %d to %d", v, name, least, most)
	}
	return n, nil
}

// units of times, as Elasticsearch writes them.
var units = []struct {
	suffix string
	is     time.Duration
}{
	{"nanos", time.Nanosecond}, {"micros", time.Microsecond}, {"ms", time.Millisecond},
	{"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}, {"d", 24 * time.Hour},
}

// durationMax bounds what a client may ask to wait for.
const durationMax = 24 * time.Hour

// duration reads a time such as 30s; 0 when it is not given, or -1.
func (p *params) duration(name string) (time.Duration, error) {
	v, given := p.take(name)
	if !given || v == "" || v == "-1" {
		return 0, nil
	}
	for _, u := range units {
		digits, ok := strings.CutSuffix(v, u.suffix)
		if !ok {
			continue
		}
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil && n >= 0 && n <= int64(durationMax/u.is) {
			return time.Duration(n) * u.is, nil
		}
	}
	return 0, badRequest("failed to parse setting [%s] with value [%s] as a time value: it has a unit, as 30s, and is at most 1d", name, v)
}

// harmless takes parameters that no answer depends on.
func (p *params) harmless(names ...string) {
	for _, name := range names {
		p.take(name)
	}
}

// never takes parameters that ask for what there is not, unless they say that it
// is not wanted.
func (p *params) never(names ...string) error {
	for _, name := range names {
		if v, given := p.take(name); given && v != "false" {
			return badRequest("URL parameter [%s] is not supported", name)
		}
	}
	return nil
}

// rest refuses what nobody took.
func (p *params) rest(path string) error {
	if len(p.values) == 0 {
		return nil
	}
	names := make([]string, 0, len(p.values))
	for name := range p.values {
		names = append(names, name)
	}
	slices.Sort(names)
	word := "parameter"
	if len(names) > 1 {
		word = "parameters"
	}
	return badRequest("request [%s] contains unrecognized %s: [%s]%s", path, word, strings.Join(names, "], ["), suggest.Hint(names[0], p.known))
}
