// Package tidy holds the house rules that a compiler does not know: which layer
// may import which, where a thing has its only home, and what is banned in
// favour of what.
//
// The rules are pure functions over parsed files; the package's own test runs
// them over the repository, so `go test ./internal/tidy` is the check. Every
// rule has a test that it finds what it is for. A finding says what to do
// instead; a rule is changed here, in the open, or not at all.
package tidy

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"strings"
)

// Module is the import path of the repository.
const Module = "github.com/chronik-stream/chronik"

// File is one Go file as the rules see it.
type File struct {
	Path   string // from the repository's root, with slashes
	Syntax *ast.File
	Set    *token.FileSet
	Lines  int

	imports  map[string]string // name in the file → import path
	comments map[int]bool      // lines that a comment touches
}

// Finding is one breach of one rule.
type Finding struct {
	Path    string
	Line    int
	Rule    string
	Message string // what was found and what to do instead
}

// String is the form editors jump to.
func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", f.Path, f.Line, f.Rule, f.Message)
}

var majorVersion = regexp.MustCompile(`^v[0-9]+$`)

// Parse reads one file. filePath is relative to the repository's root.
func Parse(filePath string, source []byte) (*File, error) {
	set := token.NewFileSet()
	syntax, err := parser.ParseFile(set, filePath, source, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", filePath, err)
	}
	f := &File{
		Path: filePath, Syntax: syntax, Set: set,
		Lines:    set.File(syntax.Pos()).LineCount(),
		imports:  make(map[string]string),
		comments: make(map[int]bool),
	}
	for _, spec := range syntax.Imports {
		target := strings.Trim(spec.Path.Value, `"`)
		name := path.Base(target)
		if majorVersion.MatchString(name) {
			name = path.Base(path.Dir(target)) // math/rand/v2 is package rand
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		f.imports[name] = target
	}
	for _, group := range syntax.Comments {
		for line := f.line(group.Pos()); line <= f.line(group.End()); line++ {
			f.comments[line] = true
		}
	}
	return f, nil
}

// Test reports whether the file is only for tests: a _test.go, or part of a
// package of test support, whose name ends in "test" by convention.
func (f *File) Test() bool {
	return strings.HasSuffix(f.Path, "_test.go") || strings.HasPrefix(f.Path, "tests/") ||
		strings.HasSuffix(path.Dir(f.Path), "test")
}

// Dir is the folder of the file.
func (f *File) Dir() string { return path.Dir(f.Path) }

// In reports whether the file lies in one of the folders, or is one of the files.
func (f *File) In(places ...string) bool {
	for _, place := range places {
		if f.Path == place || strings.HasPrefix(f.Path, strings.TrimSuffix(place, "/")+"/") {
			return true
		}
	}
	return false
}

func (f *File) line(pos token.Pos) int { return f.Set.Position(pos).Line }

// explained reports whether a comment stands on the line or on the one above.
func (f *File) explained(pos token.Pos) bool {
	line := f.line(pos)
	return f.comments[line] || f.comments[line-1]
}

func (f *File) finding(pos token.Pos, rule, message string, args ...any) Finding {
	return Finding{Path: f.Path, Line: f.line(pos), Rule: rule, Message: fmt.Sprintf(message, args...)}
}

// Rule looks at one file.
type Rule struct {
	Name  string
	Check func(f *File) []Finding
}

// Rules are all rules that look at one file alone. MissingPackageComments looks
// at all files together.
func Rules() []Rule {
	return []Rule{
		{"layers", layers},
		{"pure", pure},
		{"sole home", soleHomes},
		{"banned import", bannedImports},
		{"banned call", bannedCalls},
		{"literal's home", literalHomes},
		{"init", noInit},
		{"panic", explainedPanics},
		{"discarded error", explainedDiscards},
		{"package state", noPackageState},
		{"size", sizes},
		{"unfinished", unfinished},
	}
}

// MissingPackageComments finds packages that do not say what they are for.
func MissingPackageComments(files []*File) []Finding {
	first, commented := map[string]*File{}, map[string]bool{}
	var order []string
	for _, f := range files {
		if f.Test() && !strings.HasSuffix(f.Dir(), "test") {
			continue
		}
		dir := f.Dir()
		if first[dir] == nil {
			first[dir] = f
			order = append(order, dir)
		}
		if doc := f.Syntax.Doc.Text(); strings.HasPrefix(doc, "Package "+f.Syntax.Name.Name+" ") ||
			(f.Syntax.Name.Name == "main" && strings.HasPrefix(doc, "Command ")) {
			commented[dir] = true
		}
	}
	var found []Finding
	for _, dir := range order {
		if !commented[dir] {
			f := first[dir]
			found = append(found, f.finding(f.Syntax.Package, "package comment",
				"no comment %q that says what it is for, what it promises and what it does not do", "Package "+f.Syntax.Name.Name+" …"))
		}
	}
	return found
}
