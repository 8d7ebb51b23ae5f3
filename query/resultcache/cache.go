// Package resultcache remembers answers of queries.
//
// An answer is kept under everything that it is computed from: the checked and
// printed text, the values of its parameters, who asks, the bound on rows, and
// the definition of every table, which names the immutable files that hold its
// records. So a question is the same only while its records are: an answer is
// never older than what the query was bound to, and nothing has to be thrown
// away when records come, are merged or go. What a query covers is not kept
// here; it is of each request.
//
// Those who ask the same question at the same time share one run of it.
//
// Only whole answers are kept, and only small ones. The least recently used go
// when the bytes are used up, and each goes after a time, so that what nobody
// asks for any more does not stay for ever. Nothing survives the process.
package resultcache

import (
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"sync"
	"time"
)

// Options bound a Cache.
type Options struct {
	BytesMax       int64         // of all answers; 0: nothing is kept
	AnswerBytesMax int64         // of one
	Age            time.Duration // after which one is forgotten
}

// Question is what an answer is computed from.
type Question struct {
	SQL        string // checked and printed
	Parameters []any  // nil, bool, int64, uint64, float64, string, []byte, time.Time
	Principal  string // who asks
	RowsMax    int64  // of the answer
	Tables     []Table
}

// Table is one that the text names, and what it stands for: which files, and
// which rows of them.
type Table struct {
	Name, Definition string
}

// Key stands for a Question; two that differ have different keys.
type Key [sha256.Size]byte

// Key digests the question; false: it has a parameter of a type that is not
// known here, and its answer is not kept.
func (q Question) Key() (Key, bool) {
	h := sha256.New()
	add(h, q.SQL)
	number(h, uint64(len(q.Parameters)))
	for _, p := range q.Parameters {
		switch p := p.(type) {
		case nil, bool, int64, uint64, float64, string, []byte:
			add(h, fmt.Sprintf("%T %v", p, p))
		case time.Time:
			add(h, "time "+p.UTC().Format(time.RFC3339Nano))
		default:
			return Key{}, false
		}
	}
	add(h, q.Principal)
	number(h, uint64(q.RowsMax))
	number(h, uint64(len(q.Tables)))
	for _, t := range q.Tables {
		add(h, t.Name)
		add(h, t.Definition)
	}
	return Key(h.Sum(nil)), true
}

// add puts the length in front, so that no two lists of texts are written alike.
func add(h hash.Hash, text string) {
	number(h, uint64(len(text)))
	_, _ = h.Write([]byte(text)) // writing to a hash never fails
}

func number(h hash.Hash, n uint64) {
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, n)) // as above
}

// Counts tell what a cache did.
type Counts struct {
	Hits, Misses, Evictions int64
	Joined                  int64 // that waited for what another one had asked
	Bytes, Answers          int64 // now
}

// Cache holds answers. All methods may be called at once.
type Cache struct {
	options Options

	mu      sync.Mutex
	answers map[Key]*list.Element // of *answer
	used    *list.List            // the most recently used first
	runs    map[Key]*run          // under way
	counts  Counts
}

type answer struct {
	key       Key
	body      []byte // never changed
	truncated bool
	until     time.Time
}

// overhead is what an answer takes besides its bytes, about.
const overhead = 300

func (a *answer) bytes() int64 { return int64(cap(a.body)) + overhead }

// New returns an empty cache.
func New(o Options) *Cache {
	return &Cache{options: o, answers: map[Key]*list.Element{}, used: list.New(), runs: map[Key]*run{}}
}

// Counts returns what the cache did up to now.
func (c *Cache) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}

// get returns an answer that is not too old. It must not be changed.
func (c *Cache) get(key Key) (*answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.answers[key]
	if e != nil && time.Now().After(e.Value.(*answer).until) {
		c.remove(e)
		e = nil
	}
	if e == nil {
		c.counts.Misses++
		return nil, false
	}
	c.counts.Hits++
	c.used.MoveToFront(e)
	return e.Value.(*answer), true
}

// put keeps an answer, if it fits, and returns it. The bytes are the cache's from
// now on.
func (c *Cache) put(key Key, body []byte, truncated bool) *answer {
	a := &answer{key: key, body: body, truncated: truncated, until: time.Now().Add(c.options.Age)}
	if !c.fits(a.bytes()) {
		return a
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.answers[key]; e != nil {
		c.remove(e)
	}
	for c.counts.Bytes+a.bytes() > c.options.BytesMax {
		c.remove(c.used.Back())
	}
	c.answers[key] = c.used.PushFront(a)
	c.counts.Bytes += a.bytes()
	c.counts.Answers++
	return a
}

// fits tells whether an answer of so many bytes may be kept at all.
func (c *Cache) fits(bytes int64) bool {
	return bytes <= min(c.options.AnswerBytesMax+overhead, c.options.BytesMax)
}

func (c *Cache) remove(e *list.Element) {
	a := c.used.Remove(e).(*answer)
	delete(c.answers, a.key)
	c.counts.Bytes -= a.bytes()
	c.counts.Answers--
	c.counts.Evictions++
}
