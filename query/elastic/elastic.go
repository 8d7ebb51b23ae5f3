// Package elastic is the HTTP surface of search as Elasticsearch's clients know
// it: a topic is an index, a record is a document, and a write is a produce.
//
// It knows paths, parameters, index patterns and the shapes of answers and
// errors. What finds documents, produces records and administers topics is
// handed in: Backend.
//
// A parameter or a part of a body either has its effect, or is one that no
// answer depends on (harmless lists those), or is refused by name. What the log
// cannot do is refused by name too: records are neither changed nor deleted one
// by one, and their ids are the log's.
package elastic

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/semaphore"

	"github.com/chronik-stream/chronik/internal/envelope"
)

// Limits.
const (
	bodyBytesMax   = 16 << 20
	answerBytesMax = 256 << 20 // of one answer, which is put together before it is sent
	bulkItemsMax   = 100_000
	searchesMax    = 1_000 // of one multi-search
)

// Options are what a Surface works with. All but Near and the bounds are required.
type Options struct {
	Backend Backend
	// Principal tells who asks.
	Principal func(*gin.Context) string
	// Near has a request about a topic, whose body was read, answered by the node that
	// has the topic at hand; false: it is to be answered here. Nil: there is no other
	// node. It may change the request's context.
	Near func(c *gin.Context, topic string, body []byte) (answered bool)
	// Translate tells what an error means that is none of this package's.
	Translate func(ctx context.Context, err error) *envelope.Failure
	Log       *slog.Logger

	Timeout       time.Duration // of a request that names none; default 30 s
	WriteBytesMax int64         // of writes under way; default 128 MiB
	AutoCreate    bool          // a write to a topic that is not there creates it
}

// Surface answers the requests.
type Surface struct {
	o      Options
	writes *semaphore.Weighted

	searches, written, unwritten atomic.Int64
}

// Counts are what was done so far.
type Counts struct {
	Searches  int64 // asked, each of a multi-search
	Written   int64 // documents
	Unwritten int64 // documents that were refused, or failed
}

// Counts returns what was done so far.
func (s *Surface) Counts() Counts {
	return Counts{s.searches.Load(), s.written.Load(), s.unwritten.Load()}
}

// New returns a surface, whose Routes are to be called.
func New(o Options) *Surface {
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.WriteBytesMax <= 0 {
		o.WriteBytesMax = 128 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Surface{o: o, writes: semaphore.NewWeighted(o.WriteBytesMax)}
}
