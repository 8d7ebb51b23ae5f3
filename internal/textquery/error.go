package textquery

import "fmt"

// Error types, as Elasticsearch calls them.
const (
	typeParsing         = "parsing_exception"
	typeContent         = "x_content_parse_exception"
	typeIllegalArgument = "illegal_argument_exception"
	typeQueryShard      = "query_shard_exception"
)

// Error says what is wrong with a request. It is always the client's to mend.
type Error struct {
	Type   string // as Elasticsearch calls it: parsing_exception
	Reason string
	Line   int // from 1, or 0 when the error has no place
	Column int
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Reason
	}
	return fmt.Sprintf("[%d:%d] %s", e.Line, e.Column, e.Reason)
}

// Refuse is an error without a place: a value that is well formed and makes no
// sense.
func Refuse(format string, args ...any) *Error {
	return &Error{Type: typeIllegalArgument, Reason: fmt.Sprintf(format, args...)}
}

// RefuseField is the error of a query that does not fit the field that it is
// about.
func RefuseField(format string, args ...any) *Error {
	return &Error{Type: typeQueryShard, Reason: fmt.Sprintf(format, args...)}
}
