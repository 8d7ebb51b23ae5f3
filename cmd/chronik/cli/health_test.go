package cli

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/cmd/chronik/admin"
)

func TestHealthExitsWithOneAndTheReasonsUntilTheNodeServes(t *testing.T) {
	reasons := []string{"waiting for etcd", "draining"}
	node := httptest.NewServer(admin.New(admin.Options{
		Reasons:  func() []string { return reasons },
		Degraded: func() []string { return nil },
		Gatherer: prometheus.NewRegistry(),
	}))
	defer node.Close()
	environment := []string{"CHRONIK_URL=" + node.URL}

	code, out, err := run(t, "", environment, "health")
	if code != 1 || out != "" || !strings.Contains(err, "not ready: waiting for etcd; draining") {
		t.Errorf("exit %d, %q, %q", code, out, err)
	}
	if code, out, err := run(t, "", environment, "health", "--live"); code != 0 || out != "live\n" || err != "" {
		t.Errorf("exit %d, %q, %q", code, out, err)
	}
	reasons = nil
	if code, out, err := run(t, "", environment, "health"); code != 0 || out != "ready\n" || err != "" {
		t.Errorf("exit %d, %q, %q", code, out, err)
	}
	node.Close()
	if code, _, err := run(t, "", environment, "health", "--live"); code != 1 || !strings.Contains(err, "no answer") {
		t.Errorf("exit %d, %q", code, err)
	}
}
