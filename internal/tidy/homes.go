package tidy

import (
	"go/ast"
	"go/token"
	"strconv"
	"strings"
)

// home says that an import belongs to some places only.
type home struct {
	target string   // import path, and everything below it
	places []string // folders or files
	tests  bool     // tests may import it anywhere
	why    string
}

var homes = []home{
	{"github.com/duckdb", []string{"query"}, true, "only the query node needs cgo; brokers and compactors build without it"},
	{"github.com/gin-gonic/gin", []string{"query"}, false, "HTTP is served by the query node"},
	{"github.com/minio/minio-go", []string{"objstore"}, true, "buckets are reached through objstore.Bucket"},
	{"github.com/aws", []string{"objstore/aws"}, false, "buckets are reached through objstore.Bucket"},
	{"github.com/thanos-io/objstore", []string{"objstore"}, false, "buckets are reached through objstore.Bucket"},
	{"go.etcd.io/etcd", []string{"metastore/kv/etcd", "metastore/embed"}, true, "metadata is reached through kv.Store"},
	{"github.com/spf13/cobra", []string{"cmd"}, false, "the command line is in cmd"},
	{"github.com/knadh/koanf", []string{"cmd"}, false, "configuration is read in cmd and handed down as values"},
	{"gopkg.in/yaml.v3", []string{"cmd"}, true, "configuration is read in cmd and handed down as values"},
	{"github.com/twmb/franz-go/pkg/kmsg", []string{"broker", "query", "cmd"}, true, "what lies at rest does not know the wire protocol"},
	{"github.com/twmb/franz-go/pkg/kgo", []string{"query/tail", "query/produce", "cmd"}, true, "the log is read through the broker's own packages; only the tail reader, who writes for HTTP's clients, and the tools are clients"},
	{"github.com/apache/iceberg-go", []string{"metastore/iceberg"}, true, "tables are committed and read through metastore/iceberg"},
	{"github.com/milvus-io", []string{"milvus"}, false, "a Milvus is reached through milvus.Client"},
	{"github.com/yalue/onnxruntime_go", []string{"embedder/local"}, false, "models on this machine are run by embedder/local, which also runs them without a library"},
	{"github.com/blevesearch/bleve", nil, true, "it is for tests: what splits are searched with is internal/textsearch"},
	{"github.com/stretchr/testify", nil, true, "it is for tests"},
	{"testing", nil, true, "it is for tests"},
}

func soleHomes(f *File) []Finding {
	var found []Finding
	for _, spec := range f.Syntax.Imports {
		target := strings.Trim(spec.Path.Value, `"`)
		for _, h := range homes {
			if target != h.target && !strings.HasPrefix(target, h.target+"/") {
				continue
			}
			if f.In(h.places...) || (h.tests && f.Test()) {
				continue
			}
			found = append(found, f.finding(spec.Pos(), "sole home", "%s is imported outside %s: %s", target, placesText(h.places), h.why))
		}
	}
	for call := range f.selectors("os") {
		switch call.Sel.Name {
		case "Getenv", "LookupEnv", "Environ", "ExpandEnv":
			if !f.In("cmd/chronik") && !f.Test() {
				found = append(found, f.finding(call.Pos(), "sole home", "os.%s outside cmd/chronik: the environment is read by the configuration, once", call.Sel.Name))
			}
		}
	}
	return found
}

func placesText(places []string) string {
	if len(places) == 0 {
		return "tests"
	}
	return strings.Join(places, ", ")
}

// literalHome says that texts of a kind may be written in one place only,
// because a second place would decide a name for itself.
type literalHome struct {
	matches func(text string) bool
	scope   []string // folders looked at
	places  []string
	what    string
}

var metadataKinds = []string{"brokers/", "commits/", "topics/", "topic-ids/", "owners/", "compactors/", "queries/", "deletions/", "offsets/", "producer-ids"}

var objectSuffixes = []string{".parquet", ".manifest", ".segment", ".log"}

var literals = []literalHome{
	{
		matches: func(text string) bool {
			for _, kind := range metadataKinds {
				if text == kind || text == "/"+kind {
					return true
				}
			}
			return false
		},
		scope:  []string{"metastore", "broker", "compactor", "query"},
		places: []string{"metastore/keys.go"},
		what:   "a metadata key",
	},
	{
		matches: func(text string) bool {
			for _, suffix := range objectSuffixes {
				if text == suffix {
					return true
				}
			}
			return false
		},
		scope:  []string{"objstore", "metastore", "compactor", "broker"},
		places: []string{"objstore/names.go"},
		what:   "an object's name",
	},
}

func literalHomes(f *File) []Finding {
	if f.Test() {
		return nil
	}
	var found []Finding
	for _, h := range literals {
		if !f.In(h.scope...) || f.In(h.places...) {
			continue
		}
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			if text, err := strconv.Unquote(lit.Value); err == nil && h.matches(text) {
				found = append(found, f.finding(lit.Pos(), "literal's home", "%s is part of %s: those are made and read in %s", lit.Value, h.what, placesText(h.places)))
			}
			return true
		})
	}
	return found
}
