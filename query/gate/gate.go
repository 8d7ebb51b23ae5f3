// Package gate decides which SQL reaches the engine.
//
// DuckDB's own lock-down is not a sandbox: its table functions have side
// effects, two statements in one string both run, and COPY writes where reads
// are allowed. So a query passes here first. The gate has it parsed into
// DuckDB's own syntax tree, and lets it through only when every node of that
// tree is on a list: one SELECT statement; tables that are topics, CTEs,
// subqueries, VALUES, unnest, range and generate_series; the functions of
// functions.txt; plain types. What is on no list is refused by name, also when
// a later DuckDB invents it.
//
// On the way it binds table names to topics, turns the short column spellings
// (offset, partition, timestamp, key, value, headers) into the columns' names
// wherever they mean a topic's column, and bounds the number of rows. The tree
// is then printed by DuckDB and the printed text passes the gate once more, so
// that what runs is what was checked, and not what a printer made of it.
//
// The package is pure: it reaches DuckDB through Parser, and never runs a
// query. It does not bound time, memory or the size of an answer.
package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/chronik-stream/chronik/query/prune"
)

// Limits on what is parsed at all.
const (
	QueryBytesMax = 256 << 10 // of SQL text
	depthMax      = 200       // of nested nodes in the tree
	nodesMax      = 20_000    // in the tree
	offsetsMax    = 64        // of bare words "offset" that are columns
)

// Schema holds the views that the engine binds for a plan's tables. A query that
// writes it, or Catalog before it, means a topic by its name, and never a view or
// a CTE.
const (
	Schema  = "topics"
	Catalog = "chronik"
)

// Kinds of refusal, to be tested with errors.Is. The message says what was
// refused; it is meant for the person who wrote the query.
var (
	// ErrInvalid: not SQL, or SQL that no query may contain.
	ErrInvalid = errors.New("invalid query")
	// ErrUnknownTable: a table that is no topic.
	ErrUnknownTable = errors.New("unknown table")
)

// refusal is an error whose text is for the writer of the query alone: the kind
// is for errors.Is and not repeated in the text.
type refusal struct {
	kind    error
	message string
}

func (r *refusal) Error() string { return r.message }
func (r *refusal) Unwrap() error { return r.kind }

func invalid(format string, args ...any) error {
	return &refusal{ErrInvalid, fmt.Sprintf(format, args...)}
}

// Parser turns SQL into DuckDB's syntax tree and back; both sides are the JSON
// of json_serialize_sql. Neither executes anything.
type Parser interface {
	Serialize(ctx context.Context, sql string) (tree []byte, err error)
	Deserialize(ctx context.Context, tree []byte) (sql string, err error)
}

// Plan is a query that passed.
type Plan struct {
	// SQL is the text to run. It names each table as Schema."<Table.View>".
	SQL    string
	Tables []Table
	// Volatile says that the same query over the same records may answer
	// something else the next time: it asks for the time, or for chance.
	Volatile bool
	// Constants are what the tables' needs compare with.
	Constants Constants
}

// Widen makes the plan read every column and row of its tables: for a second try,
// after a first one in which something that was left out was missed.
func (p *Plan) Widen() {
	for i := range p.Tables {
		vectors := p.Tables[i].Need.Vectors
		p.Tables[i].Need = prune.Everything()
		p.Tables[i].Need.Vectors = vectors
	}
}

// Table is one topic as a query uses it.
type Table struct {
	View  string // name of the view to bind in Schema
	Topic string // the topic's real name
	Kind  Kind
	Need  prune.Need // without Values, which Plan.Constants has
}

// Check parses sql and returns the plan to run, or the reason why not. The plan
// answers at most rowsMax rows, any number if that is negative, unless the query has a LIMIT that is not a plain
// number; then whoever reads the answer has to stop.
func Check(ctx context.Context, parser Parser, names *Names, sql string, rowsMax int64) (*Plan, error) {
	switch {
	case strings.TrimSpace(sql) == "":
		return nil, invalid("the query is empty")
	case len(sql) > QueryBytesMax:
		return nil, invalid("the query has %d bytes, at most %d are allowed", len(sql), QueryBytesMax)
	case !utf8.ValidString(sql) || strings.IndexByte(sql, 0) >= 0:
		return nil, invalid("the query is not UTF-8 text")
	}
	statement, err := parse(ctx, parser, sql)
	if err != nil {
		return nil, err
	}
	w := &walker{names: names, rewrite: true, columns: map[string]bool{}, words: map[string]bool{}}
	if err := w.statement(statement); err != nil {
		return nil, err
	}
	if err := limitRows(statement, rowsMax); err != nil {
		return nil, err
	}
	w.needs()
	w.hideVectors()
	if first, ok := w.first(statement); ok {
		w.tables[0].Need.First = first
	}
	constants, err := printConstants(ctx, parser, w.constants)
	if err != nil {
		return nil, fmt.Errorf("check the query's constants: %w", err)
	}
	printed, err := print(ctx, parser, statement)
	if err != nil {
		return nil, err
	}
	if err := verify(ctx, parser, printed, w.tables); err != nil {
		return nil, fmt.Errorf("check the printed query again: %w", err)
	}
	return &Plan{SQL: printed, Tables: w.tables, Volatile: w.volatile, Constants: constants}, nil
}

// verify passes the printed text through the gate again, with nothing left to
// rewrite and only the bound views as tables.
func verify(ctx context.Context, parser Parser, sql string, tables []Table) error {
	tree, err := serialize(ctx, parser, sql)
	if err != nil {
		return err
	}
	if tree.Failed {
		return invalid("%s", tree.Message)
	}
	statement, err := tree.single()
	if err != nil {
		return err
	}
	w := &walker{tables: tables}
	return w.statement(statement)
}

// parse returns the one statement of sql. OFFSET is a keyword of SQL and a
// column of every topic: where the parser fails, the last bare word "offset" up
// to there is quoted and the parser asked again, so that the grammar itself
// tells the clause from the column.
func parse(ctx context.Context, parser Parser, sql string) (object, error) {
	original, rounds := sql, 0
	var first *syntaxTree
	for {
		tree, err := serialize(ctx, parser, sql)
		if err != nil {
			return nil, err
		}
		if !tree.Failed {
			return tree.single()
		}
		if first == nil {
			first = tree
		}
		quoted, ok := quoteOffset(sql, tree.position())
		if rounds++; !ok || rounds > offsetsMax {
			return nil, syntaxError(first, original)
		}
		sql = quoted
	}
}

// syntaxTree is the answer of json_serialize_sql.
type syntaxTree struct {
	Failed     bool     `json:"error"`
	Kind       string   `json:"error_type"`
	Message    string   `json:"error_message"`
	Position   string   `json:"position"` // in characters; empty when unknown
	Statements []object `json:"statements"`
}

func serialize(ctx context.Context, parser Parser, sql string) (*syntaxTree, error) {
	text, err := parser.Serialize(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("parse the query: %w", err)
	}
	var tree syntaxTree
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // locations and constants use all 64 bits
	if err := decoder.Decode(&tree); err != nil {
		// The decoder refuses what is nested more than 10,000 deep.
		return nil, invalid("the query is nested too deeply")
	}
	return &tree, nil
}

// position is where the parser stopped, in characters, or −1.
func (t *syntaxTree) position() int {
	at := -1
	if _, err := fmt.Sscanf(t.Position, "%d", &at); err != nil {
		return -1
	}
	return at
}

func (t *syntaxTree) single() (object, error) {
	switch len(t.Statements) {
	case 0:
		return nil, invalid("the query is empty")
	case 1:
		return t.Statements[0], nil
	}
	return nil, invalid("one statement per request, this query has %d", len(t.Statements))
}

func syntaxError(t *syntaxTree, sql string) error {
	if strings.HasPrefix(t.Message, "Only SELECT statements") {
		first := strings.FieldsFunc(sql, func(r rune) bool { return !unicode.IsLetter(r) && r != '_' })
		if len(first) > 0 && refusedStatements[strings.ToUpper(first[0])] != "" {
			return invalid("%s", refusedStatements[strings.ToUpper(first[0])])
		}
		return invalid("only SELECT is allowed: a query reads, and does nothing else")
	}
	if strings.HasPrefix(t.Message, "Cannot serialize non-constant type parameter") {
		return invalid("types within types, such as lists of ENUM or UNION, are not available in a query unless they are plain: use VARCHAR")
	}
	if at := t.position(); at >= 0 {
		line, column := lineColumn(sql, at)
		return invalid("%s (line %d, column %d)", t.Message, line, column)
	}
	return invalid("%s", t.Message)
}

func print(ctx context.Context, parser Parser, statement object) (string, error) {
	tree, err := json.Marshal(map[string]any{"error": false, "statements": []any{statement}})
	if err != nil {
		return "", fmt.Errorf("encode the checked query: %w", err)
	}
	sql, err := parser.Deserialize(ctx, tree)
	if err != nil {
		return "", fmt.Errorf("print the checked query: %w", err)
	}
	return sql, nil
}
