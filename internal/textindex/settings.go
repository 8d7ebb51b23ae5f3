package textindex

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/internal/textindex/analysis"
)

// wholeValue in a list of fields means: all that there is.
const wholeValue = "value"

// TopicOptions are what a topic's search.analyzer, search.fields and search.mapping
// mean. Every index of a topic's records is made with them, in memory or at rest,
// so that a record is found in the same way wherever it lies. Records are kept.
func TopicOptions(analyzer string, fields []string, mapping map[string]string) (Options, error) {
	a, err := analysis.ByName(analyzer)
	if err != nil {
		return Options{}, err
	}
	o := Options{Analyzer: a, Source: true}
	for name, kind := range mapping {
		if o.Mapping == nil {
			o.Mapping = make(map[string]Kind, len(mapping))
		}
		k, known := KindByName(kind)
		if !known {
			return Options{}, fmt.Errorf("field %q is mapped to %q: want one of %v", name, kind, kindNames[Text:])
		}
		o.Mapping[pathOf(name)] = k
	}
	if slices.Contains(fields, wholeValue) {
		return o, nil
	}
	for _, f := range fields {
		o.Paths = append(o.Paths, pathOf(f))
	}
	slices.Sort(o.Paths)
	o.Paths = slices.Compact(o.Paths)
	return o, nil
}

// pathOf is a field of a topic's configuration as a split calls it.
func pathOf(field string) string {
	field = strings.TrimPrefix(field, "$.")
	if strings.HasPrefix(field, "_") {
		field = NamePrefix + field
	}
	return field
}

// settingsMax is how long settings are that are written out.
const settingsMax = 100

// Settings says what of the options the terms and fields of an index depend on.
// Two indexes with the same settings can be merged, and say the same about a record.
// A manifest has them for each file, so of long ones, as a mapping of many fields
// makes, a digest follows the analyzer.
func (o Options) Settings() string {
	fields := wholeValue
	if len(o.Paths) > 0 {
		fields = strings.Join(o.Paths, ",")
	}
	settings := o.Analyzer.Name() + " " + fields
	for _, name := range slices.Sorted(maps.Keys(o.Mapping)) {
		kind := o.Mapping[name]
		if strings.ContainsAny(name, " :\"") { // one text for one mapping only
			name = strconv.Quote(name)
		}
		settings += " " + name + ":" + kind.String()
	}
	if len(settings) > settingsMax {
		return fmt.Sprintf("%s sha256:%x", o.Analyzer.Name(), sha256.Sum256([]byte(settings)))
	}
	return settings
}
