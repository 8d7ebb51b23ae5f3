package textsearch

import (
	"strconv"
	"sync/atomic"

	"github.com/chronik-stream/chronik/internal/textquery"
)

// Bounds of the memory of one request, whatever it asks for. Others go on being
// answered by a node that refuses it.
const (
	gatheredMax = 1 << 30   // bytes that aggregations gather, about, over all parts
	fetchedMax  = 256 << 20 // bytes of the records of hits, which are in memory together
	fetchAtOnce = 64        // records, between looks at the context and at what they take
)

// What is gathered of a bucket takes about so many bytes, besides the text of its
// key.
const (
	bucketBytes   = 250
	metricBytes   = 150
	distinctBytes = 200
	valueBytes    = 24  // one of the different values that are counted
	centroidBytes = 160 // of a digest, by its compression
	hitBytes      = 250
)

// budget is the memory that a request has taken.
type budget struct {
	gathered, fetched       atomic.Int64
	gatheredMax, fetchedMax int64
}

func newBudget() *budget { return &budget{gatheredMax: gatheredMax, fetchedMax: fetchedMax} }

// gather takes memory for an aggregation.
func (b *budget) gather(bytes int64) error {
	if b.gathered.Add(bytes) <= b.gatheredMax {
		return nil
	}
	return &textquery.Error{Type: "too_many_buckets_exception", Reason: "the aggregations take more than " + strconv.FormatInt(b.gatheredMax, 10) +
		" bytes of memory; filter the query, or ask for fewer aggregations in each other"}
}

// fetch takes memory for the record of a hit.
func (b *budget) fetch(bytes int) error {
	if b.fetched.Add(int64(bytes)) <= b.fetchedMax {
		return nil
	}
	return textquery.Refuse("the records of the hits have more than %d bytes: ask for fewer at once, and go on with search_after", b.fetchedMax)
}
