package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestBenchCountsWhatWentThrough(t *testing.T) {
	c := start(t)
	c.must("", "topic", "create", "load", "--partitions", "3", "--config", "columnar.enabled=true", "--config", "searchable=true")
	for _, test := range []struct {
		args  []string
		count int64
		bytes int64 // at least
	}{
		{[]string{"produce", "load", "--json", "--size", "200", "--count", "500"}, 500, 100_000},
		{[]string{"produce", "load", "--acks", "1", "--compression", "zstd", "--clients", "2", "--rate", "5000", "--count", "100"}, 100, 102_400},
		{[]string{"consume", "load", "--clients", "2"}, 600, 202_400},
		{[]string{"e2e", "load", "--rate", "0", "--count", "200", "--clients", "2"}, 200, 204_800},
		{[]string{"consume", "load"}, 800, 407_200},
		{[]string{"sql", "SELECT count(*) FROM load", "SELECT max(amount) FROM load", "--count", "6", "--clients", "2"}, 6, 600},
		{[]string{"search", "load", "refund", "city:oslo", "--count", "6", "--freshness", "latest"}, 6, 600},
	} {
		args := append(append([]string{"bench"}, test.args...), "--duration", "60s", "-o", "json")
		stdout, stderr, code := c.cli("", args...)
		var r struct {
			Count, Bytes, Errors int64
			PerSecond            float64 `json:"per_second"`
			Latency              struct {
				P50, P99, P999, Max float64
			} `json:"latency_ms"`
		}
		if err := json.Unmarshal([]byte(stdout), &r); code != 0 || err != nil {
			t.Fatalf("%v: exit %d, %v\n%s%s", args, code, err, stdout, stderr)
		}
		l := r.Latency
		if r.Count != test.count || r.Bytes < test.bytes || r.Errors != 0 || r.PerSecond <= 0 || l.P50 <= 0 || l.P50 > l.P99 || l.P99 > l.P999 || l.P999 > l.Max {
			t.Errorf("%v: %+v, want %d of at least %d bytes", args, r, test.count, test.bytes)
		}
	}
	if rows := c.must("", "sql", "SELECT count(*) AS n FROM load", "-o", "csv"); rows != "n\n800\n" {
		t.Errorf("the topic has %q", rows)
	}
	if out := c.must("", "bench", "produce", "load", "--count", "10"); !strings.HasPrefix(out, "records | seconds | records/s ") {
		t.Errorf("for people: %s", out)
	}
	for command, want := range map[string]string{
		"e2e nosuch":      "UNKNOWN_TOPIC",
		"consume nosuch":  "UNKNOWN_TOPIC",
		"sql SELEC":       "INVALID_QUERY",
		"search nosuch x": "index_not_found_exception",
		"vector load x":   "FEATURE_DISABLED",
		"produce load --size 1048576 --count 3 --compression none": fmt.Sprintf("%d records failed; the first: produce: MESSAGE_TOO_LARGE", 3),
	} {
		_, stderr, code := c.cli("", append([]string{"bench"}, strings.Fields(command)...)...)
		if code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("bench %s: exit %d, %s; want %q", command, code, stderr, want)
		}
	}
}
