package textsearch

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/internal/textsearch/automaton"
)

// sortKey is a key of an order, with what the parts know of its field.
type sortKey struct {
	textquery.Sort
	kinds  []textindex.Field
	double bool // some part has fractions
	format *textquery.DateFormat
	date   bool
	flag   bool // boolean
	point  pointField
}

// sortValue is a value of a sort key. Numbers come before texts.
type sortValue struct {
	kind   valueKind
	number float64
	whole  int64 // of whole numbers; of texts in one part their ordinals, doubled
	text   string
}

type valueKind uint8

const (
	missingValue valueKind = iota
	wholeValue
	doubleValue
	textValue
	ordinalValue // a text of one part
)

func (v sortValue) float() float64 {
	if v.kind == wholeValue {
		return float64(v.whole)
	}
	return v.number
}

func compareValues(a, b sortValue) int {
	switch {
	case a.kind == wholeValue && b.kind == wholeValue, a.kind == ordinalValue && b.kind == ordinalValue:
		return cmp.Compare(a.whole, b.whole)
	case a.kind >= textValue && b.kind >= textValue:
		return cmp.Compare(a.text, b.text)
	case a.kind >= textValue || b.kind >= textValue:
		return int(a.kind) - int(b.kind)
	}
	return cmp.Compare(a.float(), b.float())
}

// compare is the order of two hits by one key.
func (k *sortKey) compare(a, b sortValue) int {
	if (a.kind == missingValue) != (b.kind == missingValue) {
		if (a.kind == missingValue) == k.Missing.First {
			return -1
		}
		return 1
	}
	if a.kind == missingValue {
		return 0
	}
	if k.Descending {
		return compareValues(b, a)
	}
	return compareValues(a, b)
}

// sortKeys looks up what a request sorts by, and reads where it goes on.
func (p *plan) sortKeys(sorts []textquery.Sort, after []textquery.AfterValue) ([]sortKey, []sortValue, error) {
	if len(sorts) == 0 || (len(sorts) == 1 && sorts[0].Field == textquery.ScoreField && sorts[0].Descending && after == nil) {
		return nil, nil, nil
	}
	var keys []sortKey
	for _, s := range sorts {
		k := sortKey{Sort: s}
		if err := k.resolve(p.schema); err != nil {
			return nil, nil, err
		}
		keys = append(keys, k)
	}
	if after == nil {
		return keys, nil, nil
	}
	from := make([]sortValue, len(keys))
	for i, v := range after {
		if keys[i].Field == textquery.DocField {
			return nil, nil, textquery.Refuse("search_after does not work with [_doc]; sort by _offset and _partition")
		}
		if v.Null {
			continue
		}
		value, err := keys[i].read(v.Value)
		if err != nil {
			return nil, nil, err
		}
		from[i] = value
	}
	return keys, from, nil
}

func (k *sortKey) resolve(s *schema) error {
	switch k.Field {
	case textquery.ScoreField, textquery.DocField, "_partition", "_topic", "_index":
		return nil
	}
	if k.Geo != nil {
		var ok bool
		if k.point, ok = s.point(k.Field); !ok && k.Unmapped == "" && len(s.names) > 0 {
			return textquery.RefuseField("failed to find geo field [%s]", k.Field)
		}
		return nil
	}
	all := s.resolve(k.Field)
	for _, f := range all {
		if f.Kind != textindex.Text && f.Kind != textindex.GeoPoint {
			k.kinds = append(k.kinds, f)
			k.double = k.double || f.Kind == textindex.Double
			k.date = k.date || f.Kind == textindex.Date
			k.flag = k.flag || f.Kind == textindex.Boolean
		}
	}
	if len(k.kinds) == 0 && k.Unmapped == "" && len(s.names) > 0 {
		if len(all) > 0 {
			return textquery.Refuse("field [%s] of type [%s] cannot be sorted by", k.Field, all[0].Kind)
		}
		return textquery.RefuseField("No mapping found for [%s] in order to sort on", k.Field)
	}
	if k.Format != "" {
		f, err := textquery.NewDateFormat(k.Format)
		if err != nil {
			return err
		}
		k.format = &f
	}
	return nil
}

// read is a value that the client says.
func (k *sortKey) read(v textquery.Value) (sortValue, error) {
	if v.Kind == textquery.BoolValue || (k.flag && (v.Text == "true" || v.Text == "false")) {
		n := int64(0)
		if v.Text == "true" {
			n = 1
		}
		return sortValue{kind: wholeValue, whole: n}, nil
	}
	if k.date && (v.Kind == textquery.StringValue || k.format != nil) {
		f := k.format
		if f == nil {
			d, err := textquery.NewDateFormat(textquery.DefaultDateFormat)
			if err != nil {
				return sortValue{}, err
			}
			f = &d
		}
		t, err := f.Parse(v.Text, time.UTC, false)
		return sortValue{kind: wholeValue, whole: t.UnixMilli()}, err
	}
	numeric := v.Kind == textquery.NumberValue || k.Field == textquery.ScoreField || k.Geo != nil || k.Field == "_partition" ||
		(len(k.kinds) > 0 && k.kinds[0].Kind != textindex.Keyword)
	if !numeric {
		return sortValue{kind: textValue, text: v.Text}, nil
	}
	if n, err := strconv.ParseInt(v.Text, 10, 64); err == nil {
		return sortValue{kind: wholeValue, whole: n}, nil
	}
	f, err := strconv.ParseFloat(v.Text, 64)
	if err != nil {
		return sortValue{}, textquery.Refuse("Failed to parse search_after value for field [%s]: %q", k.Field, v.Text)
	}
	return sortValue{kind: doubleValue, number: f}, nil
}

// openKeys are the sort keys in one part.
type openKeys struct {
	shard   *shard
	keys    []sortKey
	columns [][]textindex.Column // by key, of the kinds that the part has
	points  []*points            // by key, of distances
	after   []sortValue
	missing []sortValue
	buffer  []int64
	current Hit // the document at hand
	scratch []sortValue
}

func (s *shard) openSorts(ctx context.Context, keys []sortKey, after []sortValue) (*openKeys, error) {
	o := &openKeys{shard: s, keys: keys, columns: make([][]textindex.Column, len(keys)), points: make([]*points, len(keys)), after: slices.Clone(after), missing: make([]sortValue, len(keys)), scratch: make([]sortValue, len(keys))}
	for i := range keys {
		k := &o.keys[i]
		if k.Missing.Value != nil {
			v, err := k.read(*k.Missing.Value)
			if err != nil {
				return nil, err
			}
			if o.missing[i], err = o.local(ctx, k, v); err != nil {
				return nil, err
			}
		}
		if after != nil {
			v, err := o.local(ctx, k, after[i])
			if err != nil {
				return nil, err
			}
			o.after[i] = v
		}
		if k.Geo != nil {
			var err error
			if o.points[i], err = s.points(ctx, k.point); err != nil {
				return nil, err
			}
		}
		for _, f := range k.kinds {
			var c textindex.Column
			if s.has(f) {
				var err error
				if c, err = s.column(ctx, f); err != nil {
					return nil, err
				}
			}
			o.columns[i] = append(o.columns[i], c)
		}
	}
	return o, nil
}

// local is a text as the part's ordinals have it: twice the ordinal, or one less
// than that of the next text where there is no such text.
func (o *openKeys) local(ctx context.Context, k *sortKey, v sortValue) (sortValue, error) {
	if v.kind != textValue || len(k.kinds) == 0 {
		return v, nil
	}
	f := k.kinds[0] // keywords come before numbers
	stats, _ := o.shard.Split.Field(f)
	at := sortValue{kind: ordinalValue, whole: 2*stats.Distinct - 1, text: v.text}
	if stats.Distinct == 0 {
		return at, nil
	}
	for t, err := range o.shard.Split.Terms(ctx, f, automaton.Range{Low: []byte(v.text), WithLow: true}) {
		if err != nil {
			return at, err
		}
		at.whole = 2 * int64(t.Ordinal)
		if string(t.Bytes) != v.text {
			at.whole--
		}
		break
	}
	return at, nil
}

func (o *openKeys) before() func(a, b *Hit) bool {
	return func(a, b *Hit) bool {
		if o.keys == nil {
			return a.score > b.score || (a.score == b.score && a.doc < b.doc)
		}
		for i := range o.keys {
			if c := o.keys[i].compare(a.keys[i], b.keys[i]); c != 0 {
				return c < 0
			}
		}
		return a.doc < b.doc
	}
}

// hit is a document as a hit, good until the next; nil when it comes before what
// the client has seen.
func (o *openKeys) hit(doc uint32, score float64) *Hit {
	h := &o.current
	h.doc, h.score = doc, score
	if o.keys == nil {
		return h
	}
	h.keys = o.scratch
	for i := range o.keys {
		h.keys[i] = o.value(i, doc, score)
	}
	if o.after == nil {
		return h
	}
	for i := range o.keys {
		if c := o.keys[i].compare(h.keys[i], o.after[i]); c != 0 {
			if c < 0 {
				return nil
			}
			return h
		}
	}
	return nil
}

func (o *openKeys) value(i int, doc uint32, score float64) sortValue {
	k := &o.keys[i]
	switch k.Field {
	case textquery.ScoreField:
		return sortValue{kind: doubleValue, number: score}
	case textquery.DocField:
		return sortValue{kind: wholeValue, whole: o.shard.bounds.First + int64(doc)}
	case "_partition":
		return sortValue{kind: wholeValue, whole: int64(o.shard.Partition)}
	case "_topic", "_index":
		return sortValue{kind: textValue, text: o.shard.Topic}
	}
	if k.Geo != nil {
		if at := o.points[i].at(doc); len(at) > 0 {
			return k.distance(at)
		}
		return o.missing[i]
	}
	for n, c := range o.columns[i] {
		if c == nil {
			continue
		}
		o.buffer = c.Append(o.buffer[:0], doc)
		if len(o.buffer) > 0 {
			return k.pick(k.kinds[n].Kind, o.buffer)
		}
	}
	return o.missing[i]
}

// pick makes one value of several, which rise.
func (k *sortKey) pick(kind textindex.Kind, values []int64) sortValue {
	mode := k.Mode
	if mode == textquery.ModeDefault {
		mode = textquery.ModeMin
		if k.Descending {
			mode = textquery.ModeMax
		}
	}
	if kind == textindex.Keyword || kind != textindex.Double && (len(values) == 1 || mode <= textquery.ModeMax) {
		v := values[0]
		if mode == textquery.ModeMax {
			v = values[len(values)-1]
		}
		switch {
		case kind == textindex.Keyword:
			return sortValue{kind: ordinalValue, whole: 2 * v}
		case k.double:
			return sortValue{kind: doubleValue, number: float64(v)}
		}
		return sortValue{kind: wholeValue, whole: v}
	}
	numbers := make([]float64, len(values))
	for i, v := range values {
		numbers[i] = number(kind, v)
	}
	return sortValue{kind: doubleValue, number: reduce(mode, numbers)}
}

// number is a column's value as a number.
func number(kind textindex.Kind, v int64) float64 {
	if kind == textindex.Double {
		return textindex.DoubleOf(v)
	}
	return float64(v)
}

// reduce makes one number of several, which rise.
func reduce(mode textquery.SortMode, numbers []float64) float64 {
	n := len(numbers)
	sum := 0.0
	for _, v := range numbers {
		sum += v
	}
	switch mode {
	case textquery.ModeMax:
		return numbers[n-1]
	case textquery.ModeSum:
		return sum
	case textquery.ModeAvg:
		return sum / float64(n)
	case textquery.ModeMedian:
		return (numbers[(n-1)/2] + numbers[n/2]) / 2
	default:
		return numbers[0]
	}
}

// distance makes one of the ways from all points of a document to all that the
// client names.
func (k *sortKey) distance(of []point) sortValue {
	var all []float64
	for _, from := range k.Geo.From {
		for _, at := range of {
			all = append(all, haversine(from, at)/k.Geo.Unit)
		}
	}
	slices.Sort(all)
	mode := k.Mode
	if mode == textquery.ModeDefault {
		mode = textquery.ModeMin
		if k.Descending {
			mode = textquery.ModeMax
		}
	}
	return sortValue{kind: doubleValue, number: reduce(mode, all)}
}

// finish makes texts of the ordinals of a part.
func (o *openKeys) finish(ctx context.Context, hits []Hit) error {
	for i := range o.keys {
		var ordinals []uint32
		for _, h := range hits {
			if v := h.keys[i]; v.kind == ordinalValue && v.whole >= 0 && v.whole%2 == 0 && v.text == "" {
				ordinals = append(ordinals, uint32(v.whole/2))
			}
		}
		slices.Sort(ordinals)
		ordinals = slices.Compact(ordinals)
		texts := make(map[uint32]string, len(ordinals))
		if len(ordinals) > 0 {
			f := o.keys[i].kinds[0]
			for t, err := range o.shard.Split.TermsAt(ctx, f, ordinals) {
				if err != nil {
					return err
				}
				texts[t.Ordinal] = string(t.Bytes)
			}
		}
		for _, h := range hits {
			if v := &h.keys[i]; v.kind == ordinalValue {
				if v.text == "" && v.whole%2 == 0 {
					v.text = texts[uint32(v.whole/2)]
				}
				v.kind = textValue
			}
		}
	}
	return nil
}

// order is the order of hits of all parts.
func (x *execution) order(a, b Hit) int {
	if x.sorts == nil {
		return cmp.Or(cmp.Compare(b.score, a.score), x.search.before(&a, &b))
	}
	for i := range x.sorts {
		if c := x.sorts[i].compare(a.keys[i], b.keys[i]); c != 0 {
			return c
		}
	}
	return x.search.before(&a, &b)
}

// show are sort values as the client gets them, and may send them back.
func show(keys []sortKey, values []sortValue) []any {
	if keys == nil {
		return nil
	}
	out := make([]any, len(values))
	for i, v := range values {
		k := &keys[i]
		switch {
		case v.kind == missingValue:
		case v.kind == textValue:
			out[i] = v.text
		case v.kind == doubleValue:
			out[i] = v.number
			if math.IsInf(v.number, 0) {
				out[i] = fmt.Sprint(v.number)
			}
		case k.flag && len(k.kinds) == 1:
			out[i] = v.whole != 0
		case k.format != nil && k.date:
			out[i] = k.format.Show(time.UnixMilli(v.whole), time.UTC)
		default:
			out[i] = v.whole
		}
	}
	return out
}
