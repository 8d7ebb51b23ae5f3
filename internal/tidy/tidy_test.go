package tidy

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheHouseIsTidy runs every rule over the repository.
func TestTheHouseIsTidy(t *testing.T) {
	files := repository(t)
	if len(files) < 10 {
		t.Fatalf("only %d files found: the walk is broken", len(files))
	}
	for _, f := range files {
		for _, rule := range Rules() {
			for _, finding := range rule.Check(f) {
				t.Error(finding)
			}
		}
	}
	for _, finding := range MissingPackageComments(files) {
		t.Error(finding)
	}
}

// TestEveryDependencyIsExplained holds the record of dependencies against what
// the code imports, both ways.
func TestEveryDependencyIsExplained(t *testing.T) {
	const record = "docs/adr/0002-dependencies.md"
	text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(record)))
	if err != nil {
		t.Fatal(err)
	}
	explained := make(map[string]bool) // module → imported
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		for i, quoted := range strings.Split(strings.Split(line, "|")[1], "`") {
			if i%2 == 1 && strings.Contains(quoted, "/") {
				explained[quoted] = false
			}
		}
	}
	unexplained := make(map[string]bool)
	for _, f := range repository(t) {
		for _, spec := range f.Syntax.Imports {
			target := strings.Trim(spec.Path.Value, `"`)
			if first, _, _ := strings.Cut(target, "/"); !strings.Contains(first, ".") || strings.HasPrefix(target, Module+"/") {
				continue // the standard library, or ours
			}
			found := false
			for module := range explained {
				if target == module || strings.HasPrefix(target, module+"/") {
					explained[module], found = true, true
				}
			}
			if !found && !unexplained[target] {
				unexplained[target] = true
				t.Errorf("%s imports %s, which %s does not explain", f.Path, target, record)
			}
		}
	}
	for module, imported := range explained {
		if !imported {
			t.Errorf("%s explains %s, which nothing imports", record, module)
		}
	}
}

// repository parses the Go files of this module, but for other modules within
// the tree and for what git does not keep.
func repository(t *testing.T) []*File {
	t.Helper()
	root := filepath.Join("..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatalf("the repository's root is not where it should be: %v", err)
	}
	var files []*File
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		relative = filepath.ToSlash(relative)
		if entry.IsDir() {
			switch {
			case relative == ".":
				return nil
			case relative == "bin", relative == "data", strings.HasPrefix(entry.Name(), "."), entry.Name() == "testdata", entry.Name() == "node_modules":
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
				return filepath.SkipDir // a module of its own
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := Parse(relative, source)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
