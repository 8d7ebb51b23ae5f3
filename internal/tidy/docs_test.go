package tidy

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	exportedName = regexp.MustCompile(`\.[A-Z][A-Za-z]*$`) // of a package: kv.Store

	link       = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	shownBy    = regexp.MustCompile("`([a-z0-9/]+ Test[A-Za-z0-9]+)`") // of a package
	quotedPath = regexp.MustCompile("`((?:internal|objstore|metastore|broker|compactor|query|cmd|tests|docs|deployments)/[A-Za-z0-9_./-]*[A-Za-z0-9])`")
)

// TestDocumentsPointAtWhatIsThere follows the links within the repository, and
// looks for the files and folders that documents name.
func TestDocumentsPointAtWhatIsThere(t *testing.T) {
	root := filepath.Join("..", "..")
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "deployments/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	if len(pages) < 5 {
		t.Fatalf("only %d pages found: the search is broken", len(pages))
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range link.FindAllStringSubmatch(string(text), -1) {
			target, _, _ := strings.Cut(match[1], "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), target)); err != nil {
				t.Errorf("%s links to %s, which is not there", page, match[1])
			}
		}
		for _, match := range quotedPath.FindAllStringSubmatch(string(text), -1) {
			place := exportedName.ReplaceAllString(match[1], "")
			if _, err := os.Stat(filepath.Join(root, place)); err != nil && !strings.Contains(place, "NN_") {
				t.Errorf("%s names %s, which is not there", page, match[1])
			}
		}
	}
}

// TestEveryFailureNamesTheTestsThatShowIt holds the table of failures against the
// tests that there are.
func TestEveryFailureNamesTheTestsThatShowIt(t *testing.T) {
	const page = "docs/failures.md"
	text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(page)))
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, f := range repository(t) {
		for _, decl := range f.Syntax.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && f.Test() && fn.Recv == nil {
				there[f.Dir()+" "+fn.Name.Name] = true
			}
		}
	}
	rows := 0
	for line := range strings.Lines(string(text)) {
		named := shownBy.FindAllStringSubmatch(line, -1)
		for _, match := range named {
			if !there[match[1]] {
				t.Errorf("%s names the test %q, which is not there", page, match[1])
			}
		}
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| what") {
			continue
		}
		if rows++; len(named) == 0 {
			t.Errorf("%s shows by no test: %s", page, line)
		}
	}
	if rows < 20 {
		t.Errorf("%s has %d rows: it was cut, or is not read", page, rows)
	}
}
