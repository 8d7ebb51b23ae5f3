package main

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheGoOfThisModuleCanBeChanged(t *testing.T) {
	goroot, err := root()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := write(goroot, folder); err != nil {
		t.Fatal(err)
	}
	var overlay struct{ Replace map[string]string }
	data, err := os.ReadFile(filepath.Join(folder, "overlay.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &overlay); err != nil {
		t.Fatal(err)
	}
	for name, path := range overlay.Replace {
		if _, err := parser.ParseFile(token.NewFileSet(), path, nil, 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(overlay.Replace) != 9 {
		t.Errorf("%d files are replaced or added: %v", len(overlay.Replace), overlay.Replace)
	}
}

func TestWhatIsNotThereIsNamed(t *testing.T) {
	goroot, err := root()
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	for _, c := range changes {
		text, err := os.ReadFile(filepath.Join(goroot, "src", c.file))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(other, "src", c.file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), "cheaprandn(uint32(norder + 1))", "another(norder)")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := sources(other); err == nil || !strings.Contains(err.Error(), "runtime/select.go") || !strings.Contains(err.Error(), "norder") {
		t.Errorf("select is not what it was, and the error is: %v", err)
	}
}
