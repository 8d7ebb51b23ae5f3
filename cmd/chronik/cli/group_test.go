package cli

import (
	"math"
	"reflect"
	"testing"
	"time"
)

func TestTargetsAreReadAsTheyAreWritten(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for given, want := range map[string]target{
		"earliest":                  {word: "earliest", offset: -1},
		"latest":                    {word: "latest", offset: -1},
		"current":                   {word: "current", offset: -1},
		"0":                         {offset: 0},
		"9223372036854775807":       {offset: math.MaxInt64},
		"-90m":                      {offset: -1, at: now.Add(-90 * time.Minute)},
		"-7d":                       {offset: -1, at: now.AddDate(0, 0, -7)},
		"2026-11-22":                {offset: -1, at: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)},
		"2026-11-22T10:30":          {offset: -1, at: time.Date(2026, 11, 22, 10, 30, 0, 0, time.UTC)},
		"2026-11-22T10:30:01.5":     {offset: -1, at: time.Date(2026, 11, 22, 10, 30, 1, 5e8, time.UTC)},
		"2026-11-22T10:30:00Z":      {offset: -1, at: time.Date(2026, 11, 22, 10, 30, 0, 0, time.UTC)},
		"2026-11-22T10:30:00+01:00": {offset: -1, at: time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)},
	} {
		got, err := parseTarget(given, now)
		if err != nil || !got.at.Equal(want.at) {
			t.Errorf("%s: %+v, %v; want %+v", given, got, err, want)
		}
		if got.at = want.at; got != want {
			t.Errorf("%s: %+v, want %+v", given, got, want)
		}
	}
	for _, given := range []string{"", "-1", "--1h", "-", "1h", "-5", "-1x", "-xd", "--7d", "end", "2026-13-01", "1960-01-01", "9223372036854775808"} {
		if got, err := parseTarget(given, now); err == nil {
			t.Errorf("%q was taken for %+v", given, got)
		}
	}
}

func TestTargetsStayInTheLog(t *testing.T) {
	at := func(n int64) *int64 { return &n }
	when := time.Unix(1, 0)
	for _, test := range []struct {
		to   target
		from *int64
		want int64
	}{
		{target{word: "earliest", offset: -1}, at(50), 10},
		{target{word: "latest", offset: -1}, nil, 100},
		{target{word: "current", offset: -1}, at(5), 5}, // what is committed, even below the log
		{target{word: "current", offset: -1}, nil, 100},
		{target{offset: 50}, nil, 50},
		{target{offset: 0}, nil, 10},
		{target{offset: 101}, nil, 100},
		{target{offset: -1, at: when}, at(50), 77},
		{target{offset: -1, shift: 5}, at(50), 55},
		{target{offset: -1, shift: -5}, at(50), 45},
		{target{offset: -1, shift: -5}, nil, 95},
		{target{offset: -1, shift: -50}, at(50), 10},
		{target{offset: -1, shift: 51}, at(50), 100},
		{target{offset: -1, shift: math.MaxInt64}, at(50), 100},
		{target{offset: -1, shift: math.MinInt64}, at(50), 10},
	} {
		if got := test.to.in(10, 100, 77, test.from); got != test.want {
			t.Errorf("%+v from %v: %d, want %d", test.to, orDash(test.from), got, test.want)
		}
	}
}

func TestScopesNameTopicsAndPartitions(t *testing.T) {
	for _, test := range []struct {
		given []string
		want  map[string][]int32
	}{
		{[]string{"a"}, map[string][]int32{"a": nil}},
		{[]string{"a:0,2,0", "b"}, map[string][]int32{"a": {0, 2}, "b": nil}},
		{[]string{"a:0", "a:1"}, map[string][]int32{"a": {0, 1}}},
		{[]string{":1"}, nil},
		{[]string{"a:"}, nil},
		{[]string{"a", "a"}, nil},
		{[]string{"a:1", "a"}, nil},
		{[]string{"a:2147483648"}, nil},
	} {
		s := scope{topics: test.given}
		if got, err := s.chosen(); (err != nil) != (test.want == nil) || err == nil && !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q: %v, %v", test.given, got, err)
		}
	}
}

func TestStatesAreFoundHoweverTheyAreWritten(t *testing.T) {
	for given, want := range map[string]string{"stable": "Stable", "Preparing-Rebalance": "PreparingRebalance", "completingrebalance": "CompletingRebalance"} {
		if got, err := kafkaState(given); err != nil || got != want {
			t.Errorf("%s: %s, %v", given, got, err)
		}
	}
}
