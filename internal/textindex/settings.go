package textindex

import (
	"fmt"
	"slices"
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
	if len(mapping) > 0 {
		return Options{}, fmt.Errorf("mapping %v: this version indexes fields by the kinds of their values", mapping)
	}
	o := Options{Analyzer: a, Source: true}
	if slices.Contains(fields, wholeValue) {
		return o, nil
	}
	for _, f := range fields {
		f = strings.TrimPrefix(f, "$.")
		if strings.HasPrefix(f, "_") {
			f = NamePrefix + f
		}
		o.Paths = append(o.Paths, f)
	}
	slices.Sort(o.Paths)
	o.Paths = slices.Compact(o.Paths)
	return o, nil
}

// Settings says what of the options the terms and fields of an index depend on.
// Two indexes with the same settings can be merged, and say the same about a record.
func (o Options) Settings() string {
	fields := wholeValue
	if len(o.Paths) > 0 {
		fields = strings.Join(o.Paths, ",")
	}
	return o.Analyzer.Name() + " " + fields
}
