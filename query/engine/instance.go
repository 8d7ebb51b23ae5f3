//go:build !nosql

package engine

import (
	"errors"
	"fmt"
	"strings"

	bindings "github.com/duckdb/duckdb-go-bindings"
)

// instance is an in-memory DuckDB with one connection. It runs one query, and
// all that the query can do to it ends with it.
type instance struct {
	db      bindings.Database
	conn    bindings.Connection
	account *account
	workers *workers
}

// start makes an instance with every setting but the files.
func (e *Engine) start() (*instance, error) {
	var config bindings.Config
	if bindings.CreateConfig(&config) == bindings.StateError {
		return nil, errors.New("start duckdb: it has no memory for its settings")
	}
	defer bindings.DestroyConfig(&config)
	// These hold before anything runs: without them the first function of an
	// unknown name would look for an extension to load.
	for name, value := range startSettings {
		if bindings.SetConfig(config, name, value) == bindings.StateError {
			return nil, fmt.Errorf("start duckdb: it refuses %s = %s", name, value)
		}
	}
	a, err := openAccount(e.options.MemoryBytesMax)
	if err != nil {
		return nil, err
	}
	i := &instance{account: a}
	var message string
	if bindings.OpenExt(":memory:", &i.db, config, &message) == bindings.StateError {
		i.close()
		return nil, fmt.Errorf("start duckdb: %w", failed(message))
	}
	if bindings.Connect(i.db, &i.conn) == bindings.StateError {
		i.close()
		return nil, errors.New("start duckdb: it refuses a connection")
	}
	for _, statement := range e.settings() {
		if err := i.exec(statement); err != nil {
			i.close()
			return nil, fmt.Errorf("set duckdb up: %q: %w", statement, err)
		}
	}
	i.workers = startWorkers(i.db, i.account, e.options.Threads)
	return i, nil
}

var startSettings = map[string]string{
	"autoinstall_known_extensions": "false",
	"autoload_known_extensions":    "false",
	"allow_community_extensions":   "false",
}

// bufferShare of a query's memory may be DuckDB's buffers, which spill when they
// are full; the rest is for what it keeps beside them, and cannot spill.
const bufferShare = 0.8

func (e *Engine) settings() []string {
	return append(threadSettings(e.options.Threads),
		"SET GLOBAL TimeZone = 'UTC'", // of every connection
		fmt.Sprintf("SET memory_limit = '%dB'", int64(bufferShare*float64(e.options.MemoryBytesMax))),
		fmt.Sprintf("SET temp_directory = %s", literal(e.options.SpillDir)),
		fmt.Sprintf("SET max_temp_directory_size = '%dB'", e.options.SpillBytesMax),
		"SET explain_output = 'all'",
		"CREATE SCHEMA topics",
	)
}

// wholeNumber is what an integer of JSON may look like.
const wholeNumber = `^-?\d+(\.0*)?$`

// macros are Chronik's functions, and its own way to built-in ones. Typed macros cost half of what Go functions
// do, and the built-in json_extract_string answers NULL for binary without a
// word. There is no overload for JSON: it would make binary ambiguous. decode has a
// try of its own: DuckDB takes what several expressions share out of them, and so
// out of the try around it.
var macros = append([]string{
	jsonMacro("json_extract_string", "VARCHAR", "BIGINT"), jsonMacro("json_extract", "VARCHAR", "BIGINT"),
	jsonMacro("json_extract_path", "VARCHAR"), jsonMacro("json_extract_path_text", "VARCHAR"),
	jsonMacro("json_valid", ""), jsonMacro("json", ""), jsonMacro("json_structure", ""), jsonMacro("json_pretty", ""),
	jsonMacro("json_type", "", "VARCHAR"), jsonMacro("json_keys", "", "VARCHAR"), jsonMacro("json_array_length", "", "VARCHAR"),
	jsonMacro("json_exists", "VARCHAR"), jsonMacro("json_value", "VARCHAR"), jsonMacro("json_contains", "VARCHAR"),
	// What is no whole number is null: a cast would round.
	`CREATE MACRO json_extract_int(v BLOB, p VARCHAR) AS
			TRY_CAST(regexp_extract(try(system.main.json_extract_string(try(decode(v)), p)), '` + wholeNumber + `') AS BIGINT),
		(v VARCHAR, p VARCHAR) AS TRY_CAST(regexp_extract(try(system.main.json_extract_string(v, p)), '` + wholeNumber + `') AS BIGINT)`,
	`CREATE MACRO json_extract_float(v BLOB, p VARCHAR) AS TRY_CAST(try(system.main.json_extract_string(try(decode(v)), p)) AS DOUBLE),
		(v VARCHAR, p VARCHAR) AS TRY_CAST(try(system.main.json_extract_string(v, p)) AS DOUBLE)`,
	`CREATE MACRO decode_utf8(v BLOB) AS try(decode(v))`,
	`CREATE MACRO decode_base64(v BLOB) AS try(from_base64(try(decode(v)))), (v VARCHAR) AS try(from_base64(v))`,
	vectorDistance,
	similarity("levenshtein"), similarity("editdist3"), similarity("damerau_levenshtein"),
	similarity("jaro_similarity"), similarity("jaro_winkler_similarity"),
}, times...)

// vectorDistance is lower for what is nearer, whatever the metric, of lists and arrays
// of any numbers. A vector of zeros has the cosine distance 1 from all, which the
// built-in function takes for the farthest there is. Rows with a null are put aside
// first: a null array has null elements, and the built-in functions fail when there
// is one in any of the rows at hand.
const vectorDistance = `CREATE MACRO vector_distance(a, b, metric) AS CASE
	WHEN metric IS NULL OR lower(metric) NOT IN ('cosine', 'euclidean', 'dot') THEN error('vector_distance: the metric is cosine, euclidean or dot')
	WHEN a IS NULL OR b IS NULL THEN NULL
	WHEN len(a::DOUBLE[]) <> len(b::DOUBLE[]) THEN error('vector_distance: the dimensions are not the same: ' || len(a::DOUBLE[]) || ' and ' || len(b::DOUBLE[]))
	WHEN lower(metric) = 'euclidean' THEN list_distance(a::DOUBLE[], b::DOUBLE[])
	WHEN lower(metric) = 'dot' THEN list_negative_inner_product(a::DOUBLE[], b::DOUBLE[])
	WHEN list_cosine_distance(a::DOUBLE[], b::DOUBLE[]) < 2 THEN list_cosine_distance(a::DOUBLE[], b::DOUBLE[])
	WHEN list_inner_product(a::DOUBLE[], a::DOUBLE[]) = 0 OR list_inner_product(b::DOUBLE[], b::DOUBLE[]) = 0 THEN 1
	ELSE 2 END`

// macrosOf are the macros whose names are in a query. All of them together would
// take a third of the time in which an instance starts.
func macrosOf(query string) (statements []string) {
	query = strings.ToLower(query)
	for _, statement := range macros {
		name, _, _ := strings.Cut(strings.TrimPrefix(statement, "CREATE MACRO "), "(")
		if strings.Contains(query, name) {
			statements = append(statements, statement)
		}
	}
	return statements
}

// jsonMacro is a built-in function of JSON, for binary and for text, with a second
// argument of each of these types; "": without one.
func jsonMacro(name string, second ...string) string {
	var overloads []string
	for _, t := range second {
		parameter, argument := "", ""
		if t != "" {
			parameter, argument = ", p "+t, ", p"
		}
		overloads = append(overloads,
			fmt.Sprintf("(v BLOB%s) AS try(system.main.%s(try(decode(v))%s))", parameter, name, argument),
			fmt.Sprintf("(v VARCHAR%s) AS try(system.main.%s(v%s))", parameter, name, argument))
	}
	return "CREATE MACRO " + name + strings.Join(overloads, ", ")
}

// comparedMax bounds the pairs of bytes that are compared for one value.
const comparedMax = 1_000_000

// similarity puts a bound before a built-in function that compares each character
// of a text with each of another: DuckDB cannot be interrupted while it does that
// for the rows at hand, and long texts would keep it busy for hours.
func similarity(name string) string {
	return fmt.Sprintf(`CREATE MACRO %[1]s(a, b) AS CASE WHEN strlen(a)::HUGEINT * strlen(b) > %[2]d
		THEN error('%[1]s: the texts are too long, the product of their lengths is at most %[2]d')
		ELSE system.main.%[1]s(a, b) END`, name, comparedMax)
}

// close ends what still runs and frees the instance.
func (i *instance) close() {
	if i.workers != nil {
		i.workers.stop()
	}
	bindings.Disconnect(&i.conn)
	bindings.Close(&i.db)
	i.account.close()
}

// exec runs one of our own statements.
func (i *instance) exec(statement string) error {
	var result bindings.Result
	defer bindings.DestroyResult(&result)
	if bindings.Query(i.conn, statement, &result) == bindings.StateError {
		return failed(bindings.ResultError(&result))
	}
	return nil
}

// lock confines the instance to reading files, for good.
func (i *instance) lock(files []string) error {
	quoted := make([]string, len(files))
	for n, f := range files {
		quoted[n] = literal(f)
	}
	for _, statement := range []string{
		"SET allowed_paths = [" + strings.Join(quoted, ", ") + "]",
		"SET enable_external_access = false",
		"SET lock_configuration = true",
	} {
		if err := i.exec(statement); err != nil {
			return fmt.Errorf("lock duckdb down: %w", err)
		}
	}
	return nil
}

// bind gives the instance the query's tables.
func (i *instance) bind(q Query) error {
	if err := i.lock(q.Files); err != nil {
		return err
	}
	for _, statement := range macrosOf(q.SQL) {
		if err := i.exec(statement); err != nil {
			return fmt.Errorf("set duckdb up: %q: %w", statement, err)
		}
	}
	for _, v := range q.Views {
		if err := i.exec("CREATE VIEW topics." + identifier(v.Name) + " AS " + v.SQL); err != nil {
			return fmt.Errorf("bind %s: %w", v.Name, err)
		}
	}
	return nil
}

// literal writes a text as SQL quotes it, identifier a name.
func literal(s string) string    { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
func identifier(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
