package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheBalancersConfigurationFitsTheNumberOfNodes(t *testing.T) {
	dir := t.TempDir()
	from := filepath.Join("..", "..", "..", "deployments", "docker", "haproxy.cfg")
	want, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	fit := func(brokers, queries int) string {
		t.Helper()
		to := filepath.Join(dir, "haproxy.cfg")
		if err := fitBalancer(from, to, map[string]int{"BROKER": brokers, "QUERY": queries}); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(to)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if got := fit(3, 2); got != string(want) {
		t.Errorf("for the nodes that it has, it becomes\n%s", got)
	}
	got := fit(1, 3)
	for part, n := range map[string]int{"server broker-1 ": 1, "server broker-2 ": 0, `server query-3 "${QUERY_3}" port "${QUERY_3_HEALTH_PORT}"`: 2, "server query-4": 0} {
		if strings.Count(got, part) != n {
			t.Errorf("%q is there %d times, want %d:\n%s", part, strings.Count(got, part), n, got)
		}
	}
}
