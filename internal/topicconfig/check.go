package topicconfig

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// check returns the canonical form of a value, or says what is allowed.
type check func(value string) (canonical, allowed string)

func boolean(value string) (string, string) {
	if value == "true" || value == "false" {
		return value, ""
	}
	return "", "it must be exactly true or false"
}

func oneOf(allowed ...string) check {
	return func(value string) (string, string) {
		if slices.Contains(allowed, value) {
			return value, ""
		}
		return "", "it must be one of " + strings.Join(allowed, ", ")
	}
}

func integer(least, most int64) check {
	return func(value string) (string, string) {
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		if err != nil || n < least || n > most {
			return "", "it must be an integer " + bounds(least, most)
		}
		return strconv.FormatInt(n, 10), ""
	}
}

// integerOr is integer with one value below the range that has a meaning of its own.
func integerOr(special, least, most int64) check {
	in := integer(least, most)
	return func(value string) (string, string) {
		if strings.TrimSpace(value) == strconv.FormatInt(special, 10) {
			return strconv.FormatInt(special, 10), ""
		}
		canonical, allowed := in(value)
		if allowed != "" {
			allowed += " or " + strconv.FormatInt(special, 10)
		}
		return canonical, allowed
	}
}

func bounds(least, most int64) string {
	switch {
	case most == math.MaxInt64:
		return fmt.Sprintf("of at least %d", least)
	case most == math.MaxInt32:
		return fmt.Sprintf("of at least %d that fits 32 bits", least)
	}
	return fmt.Sprintf("from %d to %d", least, most)
}

func fraction(value string) (string, string) {
	f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > 1 {
		return "", "it must be a number from 0 to 1"
	}
	return strconv.FormatFloat(f, 'f', -1, 64), ""
}

func anyText(value string) (string, string) { return value, "" }

func nonEmpty(value string) (string, string) {
	if strings.TrimSpace(value) == "" {
		return "", "it must not be empty"
	}
	return value, ""
}

func httpURL(value string) (string, string) {
	u, err := url.Parse(value)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return "", "it must be an http or https URL"
	}
	return value, ""
}

// items splits a comma list; the empty text is the empty list.
func items(value string) []string {
	if strings.TrimSpace(value) == "" {
		return nil
	}
	list := strings.Split(value, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

func cleanupPolicy(value string) (string, string) {
	const allowed = "it must be delete, compact, or both as delete,compact"
	list := items(value)
	if len(list) == 0 {
		return "", allowed
	}
	for i, item := range list {
		if (item != "delete" && item != "compact") || slices.Contains(list[:i], item) {
			return "", allowed
		}
	}
	return strings.Join(list, ","), ""
}

// columnSpellings maps the short names of the contract to the columns they mean.
// A JSON field of such a name is column json_<name>, so nothing is hidden by it.
var columnSpellings = map[string]string{
	"topic": "_topic", "partition": "_partition", "offset": "_offset", "timestamp": "_timestamp",
	"timestamp_type": "_timestamp_type", "key": "_key", "value": "_value", "headers": "_headers",
}

// filterColumns are columns that a bloom filter can be for.
func filterColumns(value string) (string, string) {
	canonical, refused := columns(value)
	if slices.Contains(items(canonical), "_headers") {
		return "", "it must be a comma list of columns with one value in each row, which headers are not"
	}
	return canonical, refused
}

func columns(value string) (string, string) {
	list := items(value)
	for i, name := range list {
		if name == "" {
			return "", "it must be a comma list of column names, none of them empty"
		}
		if long, ok := columnSpellings[name]; ok {
			list[i] = long
		}
		if slices.Contains(list[:i], list[i]) {
			return "", fmt.Sprintf("it names column %s twice", list[i])
		}
	}
	return strings.Join(list, ","), ""
}

func searchFields(value string) (string, string) {
	list := items(value)
	if len(list) == 0 {
		return "", "it must be value or a comma list of JSON paths such as $.title,$.author.name"
	}
	for _, path := range list {
		if path != "value" && !validPath(path) {
			return "", fmt.Sprintf("%q is neither value nor a JSON path such as $.title", path)
		}
	}
	return strings.Join(list, ","), ""
}

func vectorField(value string) (string, string) {
	if value == "value" || value == "key" || (strings.HasPrefix(value, "$.") && validPath(value)) {
		return value, ""
	}
	return "", "it must be value, key, or a JSON path such as $.description"
}

// validPath accepts dotted paths, with or without the leading "$.".
func validPath(path string) bool {
	path = strings.TrimPrefix(path, "$.")
	for part := range strings.SplitSeq(path, ".") {
		if part == "" || strings.ContainsAny(part, " \t\n$") {
			return false
		}
	}
	return true
}

// jsonColumnTypes are the types of inferred and of fixed JSON columns.
var jsonColumnTypes = []string{"int64", "double", "bool", "text", "timestamp"}

func jsonSchema(value string) (string, string) {
	return fieldTypes(value, jsonColumnTypes, `it must be a JSON object of field names and types out of int64, double, bool, text, timestamp, such as {"amount":"double"}`)
}

// searchTypes are the types of fields that are indexed.
var searchTypes = []string{"text", "keyword", "long", "double", "boolean", "date", "geo_point"}

func searchMapping(value string) (string, string) {
	return fieldTypes(value, searchTypes, `it must be a JSON object of JSON paths and types out of text, keyword, long, double, boolean, date, geo_point, such as {"shop.location":"geo_point"}`)
}

// fieldTypes is a JSON object of fields and their types.
func fieldTypes(value string, types []string, allowed string) (string, string) {
	var fields map[string]string
	if json.Unmarshal([]byte(value), &fields) != nil || fields == nil {
		return "", allowed
	}
	for name, kind := range fields {
		if name == "" || !slices.Contains(types, kind) {
			return "", allowed
		}
	}
	canonical, err := json.Marshal(fields) // keys sorted
	if err != nil {
		return "", allowed
	}
	return string(canonical), ""
}
