package hybrid

import (
	"strconv"

	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/query/vector"
)

// WordsRequest looks for records by any of the words in a text, wherever in a record
// they are, as far as a filter takes them. The text has no syntax: it is the same
// that the vector side takes.
func WordsRequest(words string, size int, f vector.Filter) *textquery.Request {
	r := textquery.NewRequest()
	r.Query = &textquery.Bool{
		Boost:  1,
		Must:   []textquery.Query{&textquery.Match{Boost: 1, Field: "_all", Text: words}},
		Filter: filters(f),
	}
	r.Size, r.Source.Off, r.Total.Off = size, true, true
	return r
}

func filters(f vector.Filter) (all []textquery.Query) {
	if f.Partitions != nil {
		terms := &textquery.Terms{Boost: 1, Field: "_partition"}
		for _, p := range f.Partitions {
			terms.Values = append(terms.Values, number(int64(p)))
		}
		all = append(all, terms)
	}
	if f.MinOffset != nil || f.MaxOffset != nil {
		all = append(all, &textquery.Range{Boost: 1, Field: "_offset", Low: bound(f.MinOffset), High: bound(f.MaxOffset)})
	}
	if f.MinTimestamp != nil || f.MaxTimestamp != nil {
		all = append(all, &textquery.Range{Boost: 1, Field: "_timestamp", Low: bound(f.MinTimestamp), High: bound(f.MaxTimestamp)})
	}
	return all
}

func bound(v *int64) *textquery.Bound {
	if v == nil {
		return nil
	}
	return &textquery.Bound{Value: number(*v), Inclusive: true}
}

func number(v int64) textquery.Value {
	return textquery.Value{Kind: textquery.NumberValue, Text: strconv.FormatInt(v, 10)}
}
