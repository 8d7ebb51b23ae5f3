package tidy

import (
	"strings"
	"testing"
)

// check parses a file and returns what all rules say of it.
func check(t *testing.T, path, source string) []string {
	t.Helper()
	f, err := Parse(path, []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, rule := range Rules() {
		for _, finding := range rule.Check(f) {
			if finding.Rule != rule.Name {
				t.Errorf("rule %q reports as %q", rule.Name, finding.Rule)
			}
			found = append(found, finding.String())
		}
	}
	return found
}

func TestRulesFindWhatTheyAreFor(t *testing.T) {
	const own = `"github.com/chronik-stream/chronik/`
	for _, test := range []struct {
		name, path, source string
		want               string // part of the one finding; empty: none
	}{
		{"down is fine", "broker/a.go", "package a\nimport _ " + own + "metastore\"\nimport _ " + own + "internal/topic\"", ""},
		{"up", "metastore/a.go", "package a\nimport _ " + own + "broker/wal\"", "above it"},
		{"sibling", "broker/a.go", "package a\nimport _ " + own + "query/gate\"", "sibling"},
		{"sibling in a test", "broker/a_test.go", "package a\nimport _ " + own + "query/gate\"", "sibling"},
		{"same folder", "broker/a/a.go", "package a\nimport _ " + own + "broker/wal\"", ""},
		{"internal knows itself", "internal/a/a.go", "package a\nimport _ " + own + "internal/topic\"", ""},
		{"tests may know all", "tests/e2e/a_test.go", "package a\nimport _ " + own + "cmd/chronik/config\"", ""},
		{"a folder without a layer", "pkg/a.go", "package a", "has no layer"},

		{"I/O in internal", "internal/a/a.go", "package a\nimport _ \"os\"", "internal/ imports os"},
		{"I/O in a test of internal", "internal/a/a_test.go", "package a\nimport _ \"os\"", ""},
		{"the disk seam", "internal/disk/a.go", "package disk\nimport _ \"os\"", ""},
		{"clock in internal", "internal/a/a.go", "package a\nimport \"time\"\nvar t = time.Now()", "time.Now"},
		{"a duration is no clock", "internal/a/a.go", "package a\nimport \"time\"\nvar d time.Duration", ""},
		{"a clock elsewhere", "broker/a.go", "package a\nimport \"time\"\nvar t = time.Now()", ""},

		{"duckdb in the broker", "broker/a.go", "package a\nimport _ \"github.com/duckdb/duckdb-go/v2\"", "outside query"},
		{"etcd in the broker", "broker/a.go", "package a\nimport _ \"go.etcd.io/etcd/client/v3\"", "kv.Store"},
		{"etcd at home", "metastore/kv/etcd/a.go", "package etcd\nimport _ \"go.etcd.io/etcd/client/v3\"", ""},
		{"kmsg at rest", "internal/a/a.go", "package a\nimport _ \"github.com/twmb/franz-go/pkg/kmsg\"", "wire protocol"},
		{"kmsg in a test at rest", "internal/a/a_test.go", "package a\nimport _ \"github.com/twmb/franz-go/pkg/kmsg\"", ""},
		{"testing in the product", "broker/a.go", "package a\nimport _ \"testing\"", "for tests"},
		{"testing in test support", "objstore/objtest/a.go", "package objtest\nimport _ \"testing\"", ""},
		{"environment", "query/a.go", "package a\nimport \"os\"\nvar s = os.Getenv(\"X\")", "outside cmd/chronik"},
		{"environment at home", "cmd/chronik/config/a.go", "package config\nimport \"os\"\nvar s = os.Getenv(\"X\")", ""},
		{"environment in a test", "query/a_test.go", "package a\nimport \"os\"\nvar s = os.Getenv(\"X\")", ""},
		{"metadata key", "broker/a.go", "package a\nvar s = \"owners/\"", "metastore/keys.go"},
		{"metadata key at home", "metastore/keys.go", "package metastore\nvar s = \"owners/\"", ""},
		{"object name", "compactor/a.go", "package a\nvar s = \".parquet\"", "objstore/names.go"},

		{"log", "broker/a.go", "package a\nimport _ \"log\"", "slog.Logger"},
		{"promauto", "broker/a.go", "package a\nimport _ \"github.com/prometheus/client_golang/prometheus/promauto\"", "Registerer"},
		{"sleep", "broker/a.go", "package a\nimport \"time\"\nfunc f() { time.Sleep(1) }", "wait for the event"},
		{"sleep in a test", "broker/a_test.go", "package a\nimport \"time\"\nfunc f() { time.Sleep(1) }", "wait for the event"},
		{"sleep in virtual time", "broker/a_test.go", "package a\nimport \"time\"\nimport \"testing/synctest\"\nfunc f() { time.Sleep(1) }", ""},
		{"sleep by another name", "broker/a.go", "package a\nimport clock \"time\"\nfunc f() { clock.Sleep(1) }", "wait for the event"},
		{"a method called Sleep", "broker/a.go", "package a\ntype s struct{}\nfunc f(time interface{ Sleep(int) }) { time.Sleep(1) }", ""},
		{"print", "broker/a.go", "package a\nimport \"fmt\"\nfunc f() { fmt.Println() }", "io.Writer"},
		{"print in a test", "broker/a_test.go", "package a\nimport \"fmt\"\nfunc f() { fmt.Println() }", ""},
		{"exit", "cmd/chronik/cli/a.go", "package cli\nimport \"os\"\nfunc f() { os.Exit(1) }", "main alone"},
		{"exit in main", "cmd/chronik/main.go", "package main\nimport \"os\"\nfunc f() { os.Exit(1) }", ""},
		{"global logger", "broker/a.go", "package a\nimport \"log/slog\"\nfunc f() { slog.Info(\"x\") }", "handed in"},
		{"global registry", "broker/a.go", "package a\nimport \"github.com/prometheus/client_golang/prometheus\"\nfunc f() { prometheus.MustRegister() }", "collide"},
		{"default client", "query/a.go", "package a\nimport \"net/http\"\nvar c = http.DefaultClient", "timeouts"},

		{"init", "broker/a.go", "package a\nfunc init() {}", "being imported"},
		{"a method called init", "broker/a.go", "package a\ntype t struct{}\nfunc (t) init() {}", ""},
		{"panic", "broker/a.go", "package a\nfunc f() { panic(1) }", "return an error"},
		{"explained panic", "broker/a.go", "package a\nfunc f() {\n\tpanic(1) // only a wrong table brings us here\n}", ""},
		{"discarded", "broker/a.go", "package a\nfunc g() error\nfunc f() { _ = g() }", "handle it"},
		{"explained discard", "broker/a.go", "package a\nfunc g() error\nfunc f() {\n\t// the file is read only\n\t_ = g()\n}", ""},
		{"unused variable is no discard", "broker/a.go", "package a\nfunc f(x int) { _ = x }", ""},
		{"package state", "broker/a.go", "package a\nvar n int\nfunc f() { n = 1 }", "package-level variable n"},
		{"package state of another file", "broker/a.go", "package a\nfunc f() { n++ }", "package-level variable n"},
		{"local state", "broker/a.go", "package a\nvar n int\nfunc f() { n := 0; n++ }", ""},
		{"a table", "broker/a.go", "package a\nvar n = map[string]int{}", ""},
		{"long function", "broker/a.go", "package a\nfunc f() {" + strings.Repeat("\n", linesFuncMax) + "}", "name its steps"},
		{"long file", "broker/a.go", "package a" + strings.Repeat("\n", linesFileMax+1), "file of its own"},
		{"unfinished", "broker/a.go", "package a\n// TODO: later\n", "open an issue"},
	} {
		found := check(t, test.path, test.source)
		switch {
		case test.want == "" && len(found) > 0:
			t.Errorf("%s: found %q, want nothing", test.name, found)
		case test.want != "" && (len(found) != 1 || !strings.Contains(found[0], test.want)):
			t.Errorf("%s: found %q, want one with %q", test.name, found, test.want)
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	parse := func(path, source string) *File {
		f, err := Parse(path, []byte(source))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	files := []*File{
		parse("broker/a/a.go", "package a"),
		parse("broker/a/doc.go", "// Package a does things.\npackage a"),
		parse("broker/b/b.go", "// B does things.\npackage b"),
		parse("broker/b/b_test.go", "// Package b is tested.\npackage b"),
		parse("cmd/chronik/main.go", "// Command chronik is the program.\npackage main"),
	}
	found := MissingPackageComments(files)
	if len(found) != 1 || found[0].Path != "broker/b/b.go" {
		t.Errorf("found %v, want broker/b only", found)
	}
}

func TestFilesThatDoNotParseAreReported(t *testing.T) {
	if _, err := Parse("broker/a.go", []byte("package")); err == nil || !strings.Contains(err.Error(), "broker/a.go") {
		t.Errorf("err = %v", err)
	}
}
