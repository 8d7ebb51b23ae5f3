package columnar

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var jsonSeeds = []string{
	`{}`, ` { } `, `{"a":1}`, `{"a":1,"b":-2.5e+10,"c":"x","d":true,"e":false,"f":null,"g":[1,{"h":[]}],"i":{}}`,
	"{\n\t\"a\" : \"\\u00e9\\\"\\\\\\/\\b\\f\\n\\r\\t\" }", `{"a":"é"}`, `{"a":"\ud83d\ude00","b":"\ud83d","c":"\ude00x"}`,
	`{"a":01}`, `{"a":1.}`, `{"a":.5}`, `{"a":-}`, `{"a":1e}`, `{"a":-0}`, `{"a":0}`, `{"a":9223372036854775807}`,
	`{"a":9223372036854775808}`, `{"a":-9223372036854775808}`, `{"a":-9223372036854775809}`, `{"a":123456789012345678901234567890}`,
	`{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`, `{"a":1`, `{"a":"x`, `{"a":1}x`, `{"a":tru}`, `[1]`, `"a"`, ``, `1`, `null`,
	"{\"a\":\"\x01\"}", "{\"a\":\"\xff\"}", `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":1,"a":2,"A":3}`, `{"":1}`,
	`{"0123456789":"01234567","b":"0123456789abcdef\"0123456789abcdef"}`, `{"a":[1,2,]}`, `{"a":{"b":1,}}`, `{"a":[}`, `{"a":{"b" 1}}`,
}

// The invariant: the scanner takes exactly the objects that encoding/json takes
// and that are UTF-8, and sees in them the fields that encoding/json sees.
func FuzzScannerAgreesWithEncodingJSON(f *testing.F) {
	for _, seed := range jsonSeeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) { checkScan(t, value) })
}

func checkScan(t *testing.T, value []byte) {
	t.Helper()
	s := scanner{lexicon: newLexicon(1000)}
	first := s.object(value)
	got := s.object(value) // now by the tokens that the first time has left
	if got != first {
		t.Fatalf("%q: scanner says %v, then %v", value, first, got)
	}
	if depth(value) > depthMax-1 {
		return // encoding/json goes deeper
	}
	want := json.Valid(value) && utf8.Valid(value) && bytes.HasPrefix(bytes.TrimLeft(value, " \t\r\n"), []byte("{"))
	if got != want {
		t.Fatalf("%q: scanner says %v, encoding/json %v", value, got, want)
	}
	if !got {
		return
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(value, &fields); err != nil {
		t.Fatal(err)
	}
	seen := map[string]*field{}
	for i := range s.found {
		seen[fieldName(&s, i)] = &s.found[i] // the last one, as encoding/json has it
	}
	if len(seen) != len(fields) {
		t.Fatalf("%q: %d fields, encoding/json has %d", value, len(seen), len(fields))
	}
	for name, raw := range fields {
		f := seen[name]
		if f == nil {
			t.Fatalf("%q: field %q is missing", value, name)
		}
		checkField(t, f, raw)
	}
}

func fieldName(s *scanner, i int) string { return s.names[s.found[i].name].text }

func checkField(t *testing.T, f *field, raw json.RawMessage) {
	t.Helper()
	switch raw[0] {
	case '{', '[':
		if f.kind != kindNested {
			t.Fatalf("%s: kind %d", raw, f.kind)
		}
	case '"':
		var want string
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		text := string(f.text)
		if f.kind == kindEscaped {
			text = string(appendUnescaped(nil, f.text))
		} else if f.kind != kindString {
			t.Fatalf("%s: kind %d", raw, f.kind)
		}
		if text != want {
			t.Fatalf("%s: text %q, want %q", raw, text, want)
		}
	case 't', 'f', 'n':
		want := map[byte]kind{'t': kindTrue, 'f': kindFalse, 'n': kindNull}[raw[0]]
		if f.kind != want {
			t.Fatalf("%s: kind %d", raw, f.kind)
		}
	default:
		if string(f.text) != string(raw) {
			t.Fatalf("number %s: text %s", raw, f.text)
		}
		n, err := strconv.ParseInt(string(raw), 10, 64)
		isInt := err == nil && string(raw) != "-0"
		if isInt != (f.kind == kindInteger) || isInt && n != f.integer {
			t.Fatalf("number %s: kind %d, integer %d", raw, f.kind, f.integer)
		}
		if v, err := strconv.ParseFloat(string(raw), 64); err == nil {
			if got, ok := double(f); !ok || got != v || math.Signbit(got) != math.Signbit(v) {
				t.Fatalf("number %s: double %v", raw, got)
			}
		}
	}
}

func depth(b []byte) int { return bytes.Count(b, []byte("[")) + bytes.Count(b, []byte("{")) }

func TestScannerBoundsNesting(t *testing.T) {
	s := scanner{lexicon: newLexicon(1000)}
	nest := func(n int) []byte {
		return []byte(`{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`)
	}
	if !s.object(nest(depthMax)) {
		t.Errorf("depth %d is refused", depthMax)
	}
	if s.object(nest(depthMax + 1)) {
		t.Errorf("depth %d is taken", depthMax+1)
	}
	if s.object([]byte(`{"a":` + strings.Repeat(`{"b":[`, 1_000_000))) {
		t.Error("a million open brackets are taken")
	}
}

// The invariant: what parseTimestamp takes, time.Parse takes, with the same
// instant; and the other way round, but for what the comment leaves out.
func FuzzTimestampAgreesWithTimeParse(f *testing.F) {
	for _, seed := range []string{
		"2026-11-23T14:05:06Z", "2026-11-23T14:05:06.123456789+01:00", "1969-12-31T23:59:59.999999Z", "2024-02-29T00:00:00-23:59",
		"2023-02-29T00:00:00Z", "0001-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59.9Z", "2026-11-23T24:00:00Z",
		"2026-11-23T14:05:60Z", "2026-11-23T14:05:06", "2026-11-23 14:05:06Z", "2026-13-01T00:00:00Z", "1900-02-29T00:00:00Z", "2000-02-29T00:00:00Z",
		"2026-11-23T14:05:06,5Z", "2026-11-23T14:05:06.Z", "2026-11-23T14:05:06+24:00", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseTimestamp([]byte(s))
		want, err := time.Parse(time.RFC3339, s)
		if ok {
			if err != nil {
				t.Fatalf("%q is taken, time.Parse says %v", s, err)
			}
			if got != want.UnixMicro() {
				t.Fatalf("%q: %d, want %d", s, got, want.UnixMicro())
			}
			return
		}
		// time.Parse also takes the year 0, a comma, and a zone 24 hours away.
		if err == nil && !strings.HasPrefix(s, "0000") && !strings.Contains(s, ",") && !strings.Contains(s, "24:") && want.Format(time.RFC3339Nano) == s {
			t.Fatalf("%q is refused", s)
		}
	})
}

func TestTimestampOfEveryDayAgreesWithTimeParse(t *testing.T) {
	for d := time.Date(1, 1, 1, 12, 30, 15, 250_000_000, time.UTC); d.Year() < 10_000; d = d.AddDate(0, 0, 37) {
		s := d.Format(time.RFC3339Nano)
		if got, ok := parseTimestamp([]byte(s)); !ok || got != d.UnixMicro() {
			t.Fatalf("%s: %d, %v, want %d", s, got, ok, d.UnixMicro())
		}
	}
}

func TestPartitionNameIsTheUTCDayOrHour(t *testing.T) {
	for _, c := range []struct {
		p    Partitioning
		ms   int64
		want string
	}{
		{Daily, 0, "1970-01-01"},
		{Daily, -1, "1969-12-31"},
		{Daily, 86_400_000 - 1, "1970-01-01"},
		{Daily, 86_400_000, "1970-01-02"},
		{Hourly, 3_600_000, "1970-01-01T01"},
		{Hourly, -1, "1969-12-31T23"},
		{Unpartitioned, 42, ""},
		{Daily, math.MaxInt64, "9999-12-31"},
		{Daily, math.MinInt64, "0001-01-01"},
	} {
		if got := c.p.name(c.p.number(c.ms)); got != c.want {
			t.Errorf("partition of %d: %q, want %q", c.ms, got, c.want)
		}
	}
}
