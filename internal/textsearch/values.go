package textsearch

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textquery"
)

// splitID takes an _id apart. Topics have dashes, so it is read from its end.
func splitID(id string) (topic string, partition int32, offset int64, ok bool) {
	rest, last, ok1 := cutLast(id)
	topic, middle, ok2 := cutLast(rest)
	p, err1 := strconv.ParseInt(middle, 10, 32)
	o, err2 := strconv.ParseInt(last, 10, 64)
	return topic, int32(p), o, ok1 && ok2 && err1 == nil && err2 == nil
}

func cutLast(s string) (before, after string, ok bool) {
	at := strings.LastIndexByte(s, '-')
	if at < 0 {
		return "", "", false
	}
	return s[:at], s[at+1:], true
}

func offsetsOf(wanted map[string]map[int32][]int64) func(context.Context, *shard) (*roaring.Bitmap, error) {
	return func(ctx context.Context, s *shard) (*roaring.Bitmap, error) {
		var all *roaring.Bitmap
		for _, offset := range wanted[s.Topic][s.Partition] {
			if offset < s.bounds.First || offset >= s.bounds.Next {
				continue
			}
			column, err := s.column(ctx, textindex.FieldOffset)
			if err != nil {
				return nil, err
			}
			if all == nil {
				all = roaring.New()
			}
			all.Or(column.Match(offset, offset))
		}
		return all, nil
	}
}

// virtual is a query of what all documents of a part have in common.
func (c *compiler) virtual(field string, v textquery.Value, boost float64) (node, bool) {
	switch field {
	case "_index", "_topic":
		return partNode{func(p *Part) bool { return textquery.MatchPattern(v.Text, p.Topic) }, boost}, true
	case "_partition":
		return partNode{func(p *Part) bool { return strconv.Itoa(int(p.Partition)) == v.Text }, boost}, true
	case "_id":
		return c.ids([]string{v.Text}, boost), true
	}
	return nil, false
}

// equal is one value of a field that has no terms.
func (c *compiler) equal(f textindex.Field, v textquery.Value, boost float64) (node, error) {
	low, high, err := c.interval(f, &textquery.Range{
		Low: &textquery.Bound{Value: v, Inclusive: true}, High: &textquery.Bound{Value: v, Inclusive: true},
	})
	return matching(f, low, high, boost), err
}

// matching is the documents with a value of a column from low to high.
func matching(f textindex.Field, low, high int64, boost float64) node {
	if low > high {
		return noNode{}
	}
	may := func(s *shard) bool {
		stats, ok := s.Split.Field(f)
		return ok && low <= stats.Greatest && high >= stats.Least
	}
	return bitsNode{may: may, value: boost, build: func(ctx context.Context, s *shard) (*roaring.Bitmap, error) {
		if !may(s) {
			return nil, nil
		}
		column, err := s.column(ctx, f)
		if err != nil {
			return nil, err
		}
		return column.Match(low, high), nil
	}}
}

// interval is a range in the values of a field's column, both ends included.
func (c *compiler) interval(f textindex.Field, q *textquery.Range) (low, high int64, err error) {
	low, high = math.MinInt64, math.MaxInt64
	if q.Low != nil {
		v, err := c.end(f, q.Low, q, false)
		if err != nil {
			return 0, 0, err
		}
		low = v
	}
	if q.High != nil {
		v, err := c.end(f, q.High, q, true)
		if err != nil {
			return 0, 0, err
		}
		high = v
	}
	return low, high, nil
}

// end is one end of a range in the values of a column: the least value that is
// in it, or with high the greatest.
func (c *compiler) end(f textindex.Field, bound *textquery.Bound, q *textquery.Range, high bool) (int64, error) {
	text := bound.Value.Text
	step := int64(0) // from the bound to the first value within
	if !bound.Inclusive {
		step = 1
		if high {
			step = -1
		}
	}
	refuse := func() error {
		return fmt.Errorf("%w: %w", errFields, textquery.RefuseField("failed to create query: For input string: %q in field [%s] of type [%s]", text, f.Name, f.Kind))
	}
	switch f.Kind {
	case textindex.Long:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return stepped(n, step), nil
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || v != v {
			return 0, refuse()
		}
		switch {
		case v >= math.MaxInt64:
			return math.MaxInt64, nil
		case v <= math.MinInt64:
			return math.MinInt64, nil
		case v == math.Trunc(v):
			return stepped(int64(v), step), nil
		case high:
			return int64(math.Floor(v)), nil
		default:
			return int64(math.Ceil(v)), nil
		}
	case textindex.Double:
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || v != v {
			return 0, refuse()
		}
		if v == 0 { // there are two zeros, which are equal
			v = 0
			if low := !high; low == bound.Inclusive {
				v = math.Copysign(0, -1)
			}
		}
		return stepped(textindex.SortableDouble(v), step), nil
	case textindex.Boolean:
		switch text {
		case "true":
			return stepped(1, step), nil
		case "false", "":
			return stepped(0, step), nil
		}
		return 0, refuse()
	case textindex.Date:
		// Greater than a day is after its last moment, less or equal is up to it.
		up := high == bound.Inclusive
		t, err := c.date(text, q.Format, q.TimeZone, up)
		if err != nil {
			return 0, err
		}
		return stepped(t.UnixMilli(), step), nil
	}
	return 0, refuse()
}

func stepped(v, step int64) int64 {
	if (step > 0 && v == math.MaxInt64) || (step < 0 && v == math.MinInt64) {
		return v
	}
	return v + step
}

func (c *compiler) term(q *textquery.Term, boost float64, scored bool) (node, error) {
	if n, ok := c.virtual(q.Field, q.Value, boost); ok {
		return n, nil
	}
	if c.schema.everywhere(q.Field) {
		return c.everyText(func(f textindex.Field) (node, error) {
			if q.CaseInsensitive {
				return c.folded(f, q.Value.Text, boost)
			}
			return c.exact(f, []byte(q.Value.Text), boost, scored), nil
		})
	}
	var parts []node
	var refused error
	for _, f := range c.schema.searched(q.Field) {
		var n node
		var err error
		switch {
		case !f.Kind.HasTerms():
			n, err = c.equal(f, q.Value, boost)
		case q.CaseInsensitive:
			n, err = c.folded(f, q.Value.Text, boost)
		default:
			n = c.exact(f, []byte(q.Value.Text), boost, scored)
		}
		if err != nil {
			refused = err
			continue
		}
		parts = append(parts, n)
	}
	return c.kinds(parts, refused, false)
}

func (c *compiler) anyTerm(q *textquery.Terms, boost float64) (node, error) {
	if q.Field == "_id" {
		ids := make([]string, len(q.Values))
		for i, v := range q.Values {
			ids[i] = v.Text
		}
		return c.ids(ids, boost), nil
	}
	var parts []node
	for _, v := range q.Values {
		n, err := c.term(&textquery.Term{Boost: 1, Field: q.Field, Value: v}, 0, false)
		if err != nil {
			return nil, err
		}
		parts = append(parts, n)
	}
	may := func(s *shard) bool { return atLeast(parts, 1, s) }
	return bitsNode{may: may, build: union(parts), value: boost}, nil
}

// union is the set of documents of many nodes.
func union(parts []node) func(context.Context, *shard) (*roaring.Bitmap, error) {
	return func(ctx context.Context, s *shard) (*roaring.Bitmap, error) {
		all := roaring.New()
		for _, p := range parts {
			c, err := p.open(ctx, s)
			if err != nil {
				return nil, err
			}
			if c != nil {
				fill(all, c)
			}
		}
		return all, nil
	}
}

// fill adds what a cursor walks to a set.
func fill(set *roaring.Bitmap, c cursor) {
	buffer := make([]uint32, 0, 1024)
	for doc := c.next(); doc != done; doc = c.next() {
		if buffer = append(buffer, doc); len(buffer) == cap(buffer) {
			set.AddMany(buffer)
			buffer = buffer[:0]
		}
	}
	set.AddMany(buffer)
}

func (c *compiler) exists(field string, boost float64) node {
	switch field {
	case "_index", "_topic", "_partition", "_id":
		return allNode{boost}
	}
	kinds := slices.Clone(c.schema.resolve(field))
	for _, name := range c.schema.names { // of an object: what lies in it
		if strings.HasPrefix(name, field+".") {
			kinds = append(kinds, c.schema.fields[name]...)
		}
	}
	may := func(s *shard) bool { return slices.ContainsFunc(kinds, s.has) }
	return bitsNode{may: may, value: boost, build: func(ctx context.Context, s *shard) (*roaring.Bitmap, error) {
		all := roaring.New()
		for _, f := range kinds {
			if !s.has(f) {
				continue
			}
			column, err := s.column(ctx, f)
			if err != nil {
				return nil, err
			}
			all.Or(column.Exists())
		}
		return all, nil
	}}
}
