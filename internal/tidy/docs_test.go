package tidy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	exportedName = regexp.MustCompile(`\.[A-Z][A-Za-z]*$`) // of a package: kv.Store

	link       = regexp.MustCompile(`\]\(([^)\s]+)\)`)
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
