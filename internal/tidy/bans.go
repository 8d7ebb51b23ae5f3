package tidy

import (
	"go/ast"
	"go/token"
	"iter"
	"regexp"
	"slices"
	"strings"
)

// selectors yields every use of an exported name of an imported package.
func (f *File) selectors(target string) iter.Seq[*ast.SelectorExpr] {
	return func(yield func(*ast.SelectorExpr) bool) {
		stopped := false
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || stopped {
				return !stopped
			}
			if id, ok := sel.X.(*ast.Ident); ok && id.Obj == nil && f.imports[id.Name] == target {
				stopped = !yield(sel)
			}
			return !stopped
		})
	}
}

// bannedImport names a package that is not to be used at all.
type bannedImport struct{ target, instead string }

var banned = []bannedImport{
	{"log", "take a *slog.Logger"},
	{"io/ioutil", "use io and os"},
	{"math/rand", "use math/rand/v2 with a seed"},
	{"github.com/prometheus/client_golang/prometheus/promauto", "register with the prometheus.Registerer that was handed in"},
	{"github.com/pkg/errors", "use errors and fmt.Errorf with %w"},
	{"unsafe", "measure first, then write it in one file with its reason and add it to the rule"},
}

// unsafeHomes are the files that may use unsafe; each says why on top.
var unsafeHomes = []string{"tests/sim/exact.go"}

func bannedImports(f *File) []Finding {
	var found []Finding
	for _, spec := range f.Syntax.Imports {
		target := strings.Trim(spec.Path.Value, `"`)
		for _, b := range banned {
			if target != b.target || (target == "unsafe" && slices.Contains(unsafeHomes, f.Path)) {
				continue
			}
			found = append(found, f.finding(spec.Pos(), "banned import", "%s: %s", target, b.instead))
		}
	}
	return found
}

// bannedCall names functions that are not to be used.
type bannedCall struct {
	target  string
	names   []string
	tests   bool     // banned in tests too
	except  []string // folders or files
	instead string
}

var bannedCallList = []bannedCall{
	{"time", []string{"Sleep"}, true, nil, "wait for the event: a channel, a deadline on a context, testing/synctest, require.Eventually"},
	{"time", []string{"Tick"}, true, nil, "use time.NewTicker and stop it"},
	{"fmt", []string{"Print", "Printf", "Println"}, false, nil, "write to the io.Writer that was handed in"},
	{"os", []string{"Exit"}, false, []string{"cmd/chronik/main.go"}, "return an error; main alone exits"},
	{"log/slog", []string{"Default", "SetDefault", "Debug", "Info", "Warn", "Error", "Log"}, true, nil, "use the *slog.Logger that was handed in"},
	{"github.com/prometheus/client_golang/prometheus", []string{"MustRegister", "Register", "DefaultRegisterer", "DefaultGatherer"}, true, nil, "use the Registerer that was handed in: two instances in one process must not collide"},
	{"github.com/prometheus/client_golang/prometheus/promhttp", []string{"Handler"}, true, nil, "use promhttp.HandlerFor with the instance's own registry"},
	{"net/http", []string{"Handle", "HandleFunc", "ListenAndServe", "Get", "Post", "PostForm", "Head", "DefaultClient", "DefaultServeMux"}, false, nil, "use a client or server of your own, with timeouts"},
}

func bannedCalls(f *File) []Finding {
	var found []Finding
	for _, b := range bannedCallList {
		if (f.Test() && !b.tests) || f.In(b.except...) {
			continue
		}
		for call := range f.selectors(b.target) {
			if slices.Contains(b.names, call.Sel.Name) && !f.virtualSleep(call) {
				found = append(found, f.finding(call.Pos(), "banned call", "%s.%s: %s", call.X, call.Sel.Name, b.instead))
			}
		}
	}
	return found
}

// virtualSleep reports a Sleep in a test file that works with testing/synctest:
// in its bubbles sleeping is how virtual time passes, and takes none.
func (f *File) virtualSleep(call *ast.SelectorExpr) bool {
	return call.Sel.Name == "Sleep" && f.Test() && f.imports["synctest"] == "testing/synctest"
}

func noInit(f *File) []Finding {
	var found []Finding
	for _, decl := range f.Syntax.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			found = append(found, f.finding(fn.Pos(), "init", "nothing happens by being imported: call it from New or from main"))
		}
	}
	return found
}

// explainedPanics: a panic is for a mistake in this program, never for input,
// and a comment says which mistake.
func explainedPanics(f *File) []Finding {
	if f.Test() {
		return nil
	}
	var found []Finding
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if id, ok := call.Fun.(*ast.Ident); ok && id.Name == "panic" && id.Obj == nil && !f.explained(call.Pos()) {
			found = append(found, f.finding(call.Pos(), "panic", "return an error; or, if only a mistake in this program can bring us here, say which in a comment on this line or above"))
		}
		return true
	})
	return found
}

// explainedDiscards: dropping a result says why it may be dropped.
func explainedDiscards(f *File) []Finding {
	if f.Test() {
		return nil
	}
	var found []Finding
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		assign, ok := n.(*ast.AssignStmt)
		if !ok || len(assign.Rhs) != 1 {
			return true
		}
		if _, call := assign.Rhs[0].(*ast.CallExpr); !call || !allBlank(assign.Lhs) || f.explained(assign.Pos()) {
			return true
		}
		found = append(found, f.finding(assign.Pos(), "discarded error", "handle it, or say in a comment on this line or above why nothing is lost"))
		return true
	})
	return found
}

func allBlank(list []ast.Expr) bool {
	for _, e := range list {
		if id, ok := e.(*ast.Ident); !ok || id.Name != "_" {
			return false
		}
	}
	return true
}

// noPackageState: a package-level variable is a table; nothing assigns to it
// after it was declared.
func noPackageState(f *File) []Finding {
	if f.Test() {
		return nil
	}
	unresolved := make(map[*ast.Ident]bool)
	for _, id := range f.Syntax.Unresolved {
		unresolved[id] = true
	}
	global := func(e ast.Expr) bool {
		id, ok := e.(*ast.Ident)
		if !ok || id.Name == "_" {
			return false
		}
		return unresolved[id] || (id.Obj != nil && f.Syntax.Scope.Lookup(id.Name) == id.Obj)
	}
	var found []Finding
	report := func(e ast.Expr) {
		if global(e) {
			found = append(found, f.finding(e.Pos(), "package state", "assignment to the package-level variable %s: make it a field of what New returns", e))
		}
	}
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		switch s := n.(type) {
		case *ast.AssignStmt:
			if s.Tok != token.DEFINE {
				for _, e := range s.Lhs {
					report(e)
				}
			}
		case *ast.IncDecStmt:
			report(s.X)
		}
		return true
	})
	return found
}

// Limits of size. They are where reading gets hard, not an aim.
const (
	linesFileMax     = 700
	linesTestFileMax = 1200
	linesFuncMax     = 100
)

func sizes(f *File) []Finding {
	most := linesFileMax
	if f.Test() {
		most = linesTestFileMax
	}
	var found []Finding
	if f.Lines > most {
		found = append(found, f.finding(f.Syntax.Package, "size", "%d lines, at most %d: give each subject a file of its own", f.Lines, most))
	}
	if f.Test() {
		return found
	}
	for _, decl := range f.Syntax.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok {
			if n := f.line(fn.End()) - f.line(fn.Pos()) + 1; n > linesFuncMax {
				found = append(found, f.finding(fn.Pos(), "size", "%s has %d lines, at most %d: name its steps", fn.Name.Name, n, linesFuncMax))
			}
		}
	}
	return found
}

var unfinishedWords = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)

func unfinished(f *File) []Finding {
	if f.In("internal/tidy") {
		return nil // it names them
	}
	var found []Finding
	for _, group := range f.Syntax.Comments {
		for _, c := range group.List {
			if word := unfinishedWords.FindString(c.Text); word != "" {
				found = append(found, f.finding(c.Pos(), "unfinished", "%s: do it, or open an issue and say here what holds today", word))
			}
		}
	}
	return found
}
