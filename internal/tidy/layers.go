package tidy

import (
	"slices"
	"strings"
)

// layerOf gives the layer of a top-level folder. Imports go to lower layers
// only; folders of one layer do not know each other.
var layerOf = map[string]int{
	"internal":  0,
	"objstore":  1,
	"metastore": 2, "embedder": 2, "milvus": 2,
	"broker": 3, "compactor": 3, "query": 3,
	"cmd":   4,
	"tests": 5,
}

func top(p string) string {
	first, _, _ := strings.Cut(p, "/")
	return first
}

// own gives the path within the repository of an import of its packages.
func own(target string) (string, bool) {
	return strings.CutPrefix(target, Module+"/")
}

func layers(f *File) []Finding {
	var found []Finding
	from := top(f.Path)
	layer, known := layerOf[from]
	if !known {
		return []Finding{f.finding(f.Syntax.Package, "layers", "folder %s has no layer: put the file into one of those of ARCHITECTURE.md", from)}
	}
	for _, spec := range f.Syntax.Imports {
		target, ok := own(strings.Trim(spec.Path.Value, `"`))
		if !ok || top(target) == from {
			continue
		}
		other, known := layerOf[top(target)]
		switch {
		case !known:
			found = append(found, f.finding(spec.Pos(), "layers", "import of %s, which has no layer", target))
		case other == layer:
			found = append(found, f.finding(spec.Pos(), "layers", "%s imports its sibling %s: they meet in the bucket, in the metadata store and over the Kafka protocol only", from, target))
		case other > layer:
			found = append(found, f.finding(spec.Pos(), "layers", "%s imports %s, which is above it: imports go down only", from, target))
		}
	}
	return found
}

// effects are imports that a pure package has no use for.
var effects = []string{"os", "os/exec", "os/signal", "net", "net/http", "syscall", "golang.org/x/sys/unix", "database/sql", "log/slog"}

// clocks are the functions of package time that look at a clock or wait for it.
var clocks = []string{"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

// pure: internal/ is formats and small tools without clock and I/O. The disk
// seam is the exception, and what is built on it gets it handed in.
func pure(f *File) []Finding {
	if top(f.Path) != "internal" || f.Test() || f.In("internal/disk") {
		return nil
	}
	var found []Finding
	for _, spec := range f.Syntax.Imports {
		if target := strings.Trim(spec.Path.Value, `"`); slices.Contains(effects, target) {
			found = append(found, f.finding(spec.Pos(), "pure", "internal/ imports %s: take what is needed as a value, an io.Writer or an interface", target))
		}
	}
	for call := range f.selectors("time") {
		if slices.Contains(clocks, call.Sel.Name) {
			found = append(found, f.finding(call.Pos(), "pure", "internal/ uses time.%s: take the time as an argument", call.Sel.Name))
		}
	}
	return found
}
