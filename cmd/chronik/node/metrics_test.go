package node

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

const metricsPage = "../../../docs/metrics.md"

// described are a metric's help and its labels.
var described = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: "(.*)", constLabels: \{\}, variableLabels: \{([^}]*)\}\}$`)

// row is a metric's line of the page.
func row(d *prometheus.Desc) (name, line string, ok bool) {
	m := described.FindStringSubmatch(d.String())
	if m == nil || !strings.HasPrefix(m[1], "chronik_") {
		return "", "", false
	}
	labels := ""
	if m[3] != "" {
		labels = "`" + strings.ReplaceAll(m[3], ",", "`, `") + "`"
	}
	help := strings.NewReplacer(`\"`, `"`, `\\`, `\`, "|", `\|`).Replace(m[2])
	return m[1], fmt.Sprintf("| `%s` | %s | %s |\n", m[1], labels, help), true
}

// metricsOf are the lines of all metrics of a process with all roles.
func metricsOf(t *testing.T) map[string]string {
	var flags []config.Flag
	for key, value := range map[string]string{
		"data_dir": t.TempDir(), "http.port": "0", "kafka.listen": "localhost:0", "kafka.internal.listen": "localhost:0",
		"kafka.advertise": "shared", "kafka.advertised": "localhost:9092",
	} {
		flags = append(flags, config.Flag{Key: key, Value: value, Name: "--set"})
	}
	cfg, err := config.Load(config.Inputs{Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	n, err := Start(ctx, cfg, slog.New(slog.DiscardHandler), new(slog.LevelVar), config.AllRoles()...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	}()
	found := make(chan *prometheus.Desc, 1000)
	n.registry.Describe(found)
	close(found)
	rows := make(map[string]string)
	for d := range found {
		if name, line, ok := row(d); ok {
			rows[name] = line
		}
	}
	families, err := n.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if name := f.GetName(); strings.HasPrefix(name, "chronik_") && strings.HasSuffix(name, "_total") != (f.GetType().String() == "COUNTER") {
			t.Errorf("%s is a %s: counters end in _total, and nothing else does", name, f.GetType())
		}
	}
	return rows
}

func TestTheMetricsPageIsCurrentAndOtherPagesNameWhatThereIs(t *testing.T) {
	rows := metricsOf(t)
	if len(rows) < 100 {
		t.Fatalf("%d metrics", len(rows))
	}
	page := `# Metrics

Made from what a process with all roles registers by ` + "`go test ./cmd/chronik/node -run MetricsPage -update`" + `; a test keeps it current.

Every process answers Prometheus at ` + "`GET /metrics`" + ` on its HTTP port, open to all who reach it, with what its roles have. Names that end in
` + "`_total`" + ` are counters. Latencies are histograms, in seconds. Those of Go's runtime and of the process itself (` + "`go_…`, `process_…`" + `) are there, too.

| metric | labels | what it tells |
|---|---|---|
`
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		page += rows[name]
	}
	if *update {
		if err := os.WriteFile(metricsPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if written, err := os.ReadFile(metricsPage); err != nil || string(written) != page {
		t.Errorf("docs/metrics.md is not current (%v): go test ./cmd/chronik/node -run MetricsPage -update", err)
	}
	named := regexp.MustCompile(`chronik_[a-z0-9_]+[a-z0-9]\b`)
	for _, pattern := range []string{"../../../*.md", "../../../docs/*.md"} {
		pages, err := filepath.Glob(pattern)
		if err != nil || len(pages) == 0 {
			t.Fatal(pages, err)
		}
		for _, p := range pages {
			text, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range named.FindAllString(string(text), -1) {
				if family := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, ""); rows[name] == "" && rows[family] == "" {
					t.Errorf("%s names %s, which is no metric", p, name)
				}
			}
		}
	}
}
