package hybrid

import (
	"context"
	"fmt"
	"unicode/utf8"

	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/query/fusion"
	"github.com/chronik-stream/chronik/query/search"
	"github.com/chronik-stream/chronik/query/vector"
)

// Records read what hits show of the log. What was written a moment ago is not in
// the bucket yet: a text index has it, where there is one.
type Records struct {
	Vectors Vectors
	Text    Text // nil: there is none
}

// Read fills in previews, and keys and values too if values, of hits of a topic.
func (r Records) Read(ctx context.Context, topic string, hits []vector.Hit, values bool, o search.Options) error {
	if len(hits) == 0 {
		return nil
	}
	if err := r.Vectors.Records(ctx, topic, hits, values); err != nil || r.Text == nil {
		return err
	}
	at := map[fusion.Key]int{}
	var ids []string
	for i, h := range hits {
		if h.Preview == "" {
			at[fusion.Key{Topic: topic, Partition: h.Partition, Offset: h.Offset}] = i
			ids = append(ids, fmt.Sprintf("%s-%d-%d", topic, h.Partition, h.Offset))
		}
	}
	if len(ids) == 0 {
		return nil
	}
	q := textquery.NewRequest()
	q.Query, q.Size, q.Total.Off = &textquery.IDs{Boost: 1, Values: ids}, len(ids), true
	found, err := r.Text.Search(ctx, []string{topic}, q, o)
	if err != nil {
		return err
	}
	for _, h := range found.Hits {
		i, asked := at[fusion.Key{Topic: topic, Partition: h.Partition, Offset: h.Offset}]
		if !asked || !h.Found {
			continue
		}
		hits[i].Preview = Preview(h.Value)
		if values {
			hits[i].Key, hits[i].Value = h.Key, h.Value
		}
	}
	return nil
}

// previewMax is how many characters of a record are shown.
const previewMax = 100

// Preview is the beginning of a value; nothing of one that is no text.
func Preview(value []byte) string {
	end := 0
	for range previewMax {
		if end == len(value) {
			break
		}
		r, size := utf8.DecodeRune(value[end:])
		if r == utf8.RuneError && size == 1 {
			return ""
		}
		end += size
	}
	return string(value[:end])
}
