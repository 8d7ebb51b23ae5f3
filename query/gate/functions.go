package gate

import (
	_ "embed"
	"strings"
)

//go:embed functions.txt
var functionsText string

// allowed are the functions that a query may call, in lower case.
var allowed = readFunctions(functionsText)

// volatile are those of the allowed functions whose value is not settled by
// their arguments: chance and the moment of the query have a part in it.
var volatile = set(
	"age", // with one argument it counts from today
	"current_date", "current_localtime", "current_localtimestamp", "current_time", "current_timestamp",
	"gen_random_uuid", "get_current_time", "get_current_timestamp", "localtime", "localtimestamp", "now", "random", "reservoir_quantile", "today",
	"transaction_timestamp", "uuid", "uuidv4", "uuidv7",
)

// Functions returns the names that a query may call, in no order. The engine
// has a test that each of them exists.
func Functions() []string {
	names := make([]string, 0, len(allowed))
	for name := range allowed {
		names = append(names, name)
	}
	return names
}

// readFunctions reads words, with comments from # at the start of a line.
func readFunctions(text string) map[string]bool {
	names := map[string]bool{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "# ") {
			continue
		}
		for _, word := range strings.Fields(line) {
			names[word] = true
		}
	}
	return names
}
