// Package version says which build this is.
//
// The answer comes from what the Go toolchain records in every binary, so a
// plain `go build` tells the truth too; releases also set Release by -ldflags.
package version

import (
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// Release is set by the linker: -X github.com/chronik-stream/chronik/internal/version.Release=1.2.3.
// Empty in builds that are no release.
var Release string

// Build describes this binary.
type Build struct {
	Version  string    `json:"version"`          // release, or "dev-<commit>"
	Commit   string    `json:"commit,omitempty"` // full hash; empty when built outside git
	Modified bool      `json:"modified"`         // the work tree had changes
	Time     time.Time `json:"time,omitzero"`    // of the commit; zero when unknown
	Go       string    `json:"go"`
	Platform string    `json:"platform"` // os/arch
}

// String is the short form that other nodes and clients are told: the release,
// "dev-1a2b3c4d5e6f", or "dev".
func String() string { return Get().Version }

// Get reads the build information out of the running binary.
func Get() Build {
	b := Build{Version: Release, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			case "vcs.time":
				b.Time, _ = time.Parse(time.RFC3339, s.Value) // zero when the toolchain wrote none
			}
		}
	}
	if b.Version == "" {
		b.Version = development(b.Commit, b.Modified)
	}
	return b
}

func development(commit string, modified bool) string {
	parts := []string{"dev"}
	if commit != "" {
		parts = append(parts, commit[:min(12, len(commit))])
	}
	if modified {
		parts = append(parts, "modified")
	}
	return strings.Join(parts, "-")
}
