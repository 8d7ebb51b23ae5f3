package semantic

import (
	"time"

	"github.com/chronik-stream/chronik/internal/envelope"
	"github.com/chronik-stream/chronik/query/vector"
)

// Request reads what is asked of a topic where the text and the vector are not told
// apart by a path: the body of either search, with one of query and vector.
func Request(topic string, body []byte, timeout time.Duration) (vector.Request, error) {
	var b struct {
		Query  string        `json:"query"`
		Vector List[float32] `json:"vector"`
		common
	}
	if err := envelope.Decode(body, &b); err != nil {
		return vector.Request{}, err
	}
	r, err := b.common.request(topic, timeout)
	switch {
	case err != nil:
		return r, err
	case b.Query != "" && b.Vector != nil:
		return r, envelope.Invalid("query is a text to search for, and vector its vector: give one of them")
	case b.Vector != nil:
		r.Vector = b.Vector
		return r, nil
	}
	r.Text, err = words("query, or vector,", b.Query)
	return r, err
}
