package textquery

import (
	"fmt"
	"strings"
)

// show writes a query so that a test can say what it expects.
func show(q Query) string {
	s := showPlain(q)
	if w := q.Weight(); w != 1 {
		s = fmt.Sprintf("(%s)^%v", s, w)
	}
	return s
}

func showPlain(q Query) string {
	switch q := q.(type) {
	case *MatchAll:
		return "*:*"
	case *MatchNone:
		return "none"
	case *Match:
		s := q.Field + ":'" + q.Text + "'"
		if q.Operator == And {
			s += "&"
		}
		if q.Expand != nil {
			s += fmt.Sprintf("~%d", q.Expand.Fuzziness.Edits)
		}
		if q.Minimum.Given() {
			s += fmt.Sprintf("m%v", q.Minimum.steps)
		}
		return s
	case *MatchPhrase:
		s := fmt.Sprintf("%s:%q", q.Field, q.Text)
		if q.Slop > 0 {
			s += fmt.Sprintf("~%d", q.Slop)
		}
		if q.Prefix > 0 {
			s += "*"
		}
		return s
	case *Term:
		return fmt.Sprintf("%s=%s", q.Field, q.Value.Text)
	case *Terms:
		return fmt.Sprintf("%s in %v", q.Field, q.Values)
	case *Range:
		low, high := "(*", "*)"
		if q.Low != nil {
			low = "(" + q.Low.Value.Text
			if q.Low.Inclusive {
				low = "[" + q.Low.Value.Text
			}
		}
		if q.High != nil {
			high = q.High.Value.Text + ")"
			if q.High.Inclusive {
				high = q.High.Value.Text + "]"
			}
		}
		return q.Field + ":" + low + "," + high
	case *Exists:
		return "exists:" + q.Field
	case *Prefix:
		return q.Field + ":" + q.Text + "*"
	case *Wildcard:
		return q.Field + ":?" + q.Pattern
	case *Regexp:
		return q.Field + ":/" + q.Pattern + "/"
	case *Fuzzy:
		return fmt.Sprintf("%s:%s~%d", q.Field, q.Text, q.Expand.Fuzziness.Edits)
	case *Bool:
		var parts []string
		for _, group := range []struct {
			mark string
			list []Query
		}{{"+", q.Must}, {"#", q.Filter}, {"", q.Should}, {"-", q.MustNot}} {
			for _, c := range group.list {
				parts = append(parts, group.mark+show(c))
			}
		}
		s := "(" + strings.Join(parts, " ") + ")"
		if q.Minimum.Given() {
			s += fmt.Sprintf("m%v", q.Minimum.steps)
		}
		return s
	case *OverFields:
		var parts []string
		for _, f := range q.Fields {
			part := show(q.For(f.Field))
			if f.Boost != 1 {
				part += fmt.Sprintf("^%v", f.Boost)
			}
			parts = append(parts, part)
		}
		return "{" + strings.Join(parts, " | ") + fmt.Sprintf("}~%v", q.TieBreaker)
	default:
		return fmt.Sprintf("%+v", q)
	}
}
