package version

import (
	"strings"
	"testing"
)

func TestEveryBuildHasAVersion(t *testing.T) {
	b := Get()
	if b.Version == "" || !strings.HasPrefix(b.Go, "go") || !strings.Contains(b.Platform, "/") {
		t.Fatalf("incomplete build information: %+v", b)
	}
	if String() != b.Version {
		t.Fatalf("String() = %q, Get().Version = %q", String(), b.Version)
	}
}

func TestDevelopmentVersionNamesCommitAndChanges(t *testing.T) {
	for _, test := range []struct {
		commit   string
		modified bool
		want     string
	}{
		{"", false, "dev"},
		{"0123456789abcdef0123", false, "dev-0123456789ab"},
		{"0123456789abcdef0123", true, "dev-0123456789ab-modified"},
		{"01", false, "dev-01"},
	} {
		if got := development(test.commit, test.modified); got != test.want {
			t.Errorf("development(%q, %v) = %q, want %q", test.commit, test.modified, got, test.want)
		}
	}
}
