package textquery

// Sort is one key of an order of hits.
type Sort struct {
	Field      string // "_score" and "_doc" too
	Descending bool
	Missing    Missing
	Mode       SortMode
	Format     string // of dates, in the hits' sort values
	Unmapped   string // the type of a field that is nowhere; empty: that is an error
	Geo        *GeoSort
}

// The fields that are none.
const (
	ScoreField = "_score"
	DocField   = "_doc" // the order in which documents lie
)

// Missing is where documents without the field go.
type Missing struct {
	First bool
	Value *Value // in place of the field's
}

// SortMode chooses one of several values.
type SortMode uint8

const (
	ModeDefault SortMode = iota // the least when ascending, the greatest when descending
	ModeMin
	ModeMax
	ModeSum
	ModeAvg
	ModeMedian
)

var sortModes = map[string]SortMode{"min": ModeMin, "max": ModeMax, "sum": ModeSum, "avg": ModeAvg, "median": ModeMedian}

// GeoSort sorts by the distance of a field's point from the nearest of some.
type GeoSort struct {
	From []Point
	Unit float64 // meters in what is shown
}

var orders = map[string]bool{"asc": false, "desc": true}

// sortsMax bounds the keys of an order.
const sortsMax = 32

// parseSort reads "field", {"field": "desc"}, {"field": {…}} and arrays of them.
func parseSort(to *[]Sort) func(*node) error {
	return func(n *node) error {
		items := n.items
		if n.kind != arrayNode {
			items = []*node{n}
		}
		for _, item := range items {
			switch item.kind {
			case stringNode:
				*to = append(*to, Sort{Field: item.text, Descending: item.text == ScoreField})
			case objectNode:
				for _, m := range item.members {
					s, err := sortKey(m)
					if err != nil {
						return m.value.place(err)
					}
					*to = append(*to, s)
				}
			default:
				return item.fail("[sort] expected a field, found %s", item.show())
			}
		}
		if len(*to) > sortsMax {
			return n.fail("[sort] has %d keys, at most %d", len(*to), sortsMax)
		}
		return nil
	}
}

func sortKey(m member) (Sort, error) {
	if m.name == "_geo_distance" {
		return geoSortKey(m.value)
	}
	s := Sort{Field: m.name, Descending: m.name == ScoreField}
	if m.value.kind != objectNode {
		return s, oneOf(&s.Descending, orders)(m.value)
	}
	set := setters{"order": oneOf(&s.Descending, orders)}
	if m.name != ScoreField && m.name != DocField {
		set["mode"] = oneOf(&s.Mode, sortModes)
		set["format"] = func(n *node) error {
			s.Format = n.text
			_, err := NewDateFormat(n.text)
			return err
		}
		set["unmapped_type"] = text(&s.Unmapped)
		set["missing"] = func(n *node) error {
			switch n.text {
			case "_first":
				s.Missing.First = true
			case "_last":
			default:
				v, err := n.scalar()
				s.Missing.Value = &v
				return err
			}
			return nil
		}
	}
	return s, m.value.params("sort", set)
}

// unitMeters are the units in which distances are shown.
func unitMeters(to *float64) func(*node) error {
	return func(n *node) error {
		for _, m := range meters {
			if m.unit == n.text {
				*to = m.in
				return nil
			}
		}
		return n.fail("%s is no unit of distance", n.show())
	}
}

func geoSortKey(n *node) (Sort, error) {
	s := Sort{Geo: &GeoSort{Unit: 1}}
	ignored := false
	set := setters{
		"order": oneOf(&s.Descending, orders), "mode": oneOf(&s.Mode, sortModes), "unit": unitMeters(&s.Geo.Unit),
		"distance_type":   oneOf(new(bool), map[string]bool{"arc": false}),
		"ignore_unmapped": boolean(&ignored),
	}
	err := n.geoParams("_geo_distance", new(Boost), set, func(field string, n *node) error {
		s.Field = field
		points := []*node{n}
		if n.kind == arrayNode && len(n.items) > 0 && n.items[0].kind != numberNode {
			points = n.items
		}
		for _, item := range points {
			p, err := item.point()
			if err != nil {
				return err
			}
			s.Geo.From = append(s.Geo.From, p)
		}
		return nil
	})
	if ignored {
		s.Unmapped = "geo_point"
	}
	return s, err
}
