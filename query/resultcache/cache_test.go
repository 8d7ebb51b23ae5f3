package resultcache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
)

// rows is an answer of texts, some in each batch.
type rows struct {
	alloc   memory.Allocator
	batches [][]string
	err     error // at the end, in the place of io.EOF
	closed  int
	more    bool
}

var schema = arrow.NewSchema([]arrow.Field{{Name: "text", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)

func (r *rows) Schema() *arrow.Schema { return schema }

func (r *rows) Next() (arrow.RecordBatch, error) {
	if len(r.batches) == 0 {
		if r.err != nil {
			return nil, r.err
		}
		return nil, io.EOF
	}
	b := array.NewRecordBuilder(r.alloc, schema)
	defer b.Release()
	for _, text := range r.batches[0] {
		b.Field(0).(*array.StringBuilder).Append(text)
	}
	r.batches = r.batches[1:]
	return b.NewRecordBatch(), nil
}

func (r *rows) Truncated() bool { return r.more }

func (r *rows) Close() error {
	r.closed++
	return nil
}

func read(t *testing.T, from Rows) (texts []string, err error) {
	t.Helper()
	for {
		batch, err := from.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return texts, errors.Join(err, from.Close())
		}
		column := batch.Column(0).(*array.String)
		for i := range column.Len() {
			texts = append(texts, strings.Clone(column.Value(i)))
		}
		batch.Release()
	}
}

func key(sql string) Key {
	k, _ := Question{SQL: sql}.Key()
	return k
}

func newCache(o Options) *Cache {
	if o.Age == 0 {
		o.Age = time.Hour
	}
	return New(o)
}

// ask asks a question to which the answer is from, when it runs.
func ask(t *testing.T, c *Cache, k Key, from Rows) Rows {
	t.Helper()
	rows, _, err := c.Ask(t.Context(), k, func(context.Context) (Rows, error) { return from, nil })
	require.NoError(t, err)
	return rows
}

// kept returns the answer that is kept.
func kept(t *testing.T, c *Cache, k Key) (Rows, bool) {
	t.Helper()
	if c.options.BytesMax == 0 {
		return nil, false
	}
	a, ok := c.get(k)
	if !ok {
		return nil, false
	}
	rows, err := a.play()
	require.NoError(t, err)
	return rows, true
}

// keep asks a question that is not known yet.
func keep(t *testing.T, c *Cache, k Key, batches ...[]string) {
	t.Helper()
	texts, err := read(t, ask(t, c, k, &rows{alloc: memory.DefaultAllocator, batches: batches}))
	require.NoError(t, err)
	var want []string
	for _, b := range batches {
		want = append(want, b...)
	}
	require.Equal(t, want, texts)
}

func TestAnAnswerIsPlayedAsItWasRecorded(t *testing.T) {
	alloc := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer alloc.AssertSize(t, 0)
	c := newCache(Options{BytesMax: 1 << 20, AnswerBytesMax: 1 << 20})
	_, known := kept(t, c, key("a"))
	require.False(t, known)
	from := &rows{alloc: alloc, batches: [][]string{{"x", "y"}, {}, {"z"}}, more: true}
	texts, err := read(t, ask(t, c, key("a"), from))
	require.NoError(t, err)
	require.Equal(t, []string{"x", "y", "z"}, texts)
	require.Equal(t, 1, from.closed)
	for range 3 {
		played, known := kept(t, c, key("a"))
		require.True(t, known)
		require.True(t, schema.Equal(played.Schema()))
		texts, err = read(t, played)
		require.NoError(t, err)
		require.Equal(t, []string{"x", "y", "z"}, texts)
		require.True(t, played.Truncated())
		require.NoError(t, played.Close())
	}
	keep(t, c, key("nothing"))
	played, known := kept(t, c, key("nothing"))
	require.True(t, known)
	texts, err = read(t, played)
	require.NoError(t, err)
	require.Empty(t, texts)
	require.Equal(t, Counts{Hits: 4, Misses: 3, Bytes: c.Counts().Bytes, Answers: 2}, c.Counts())
}

func TestWhatIsNotWholeIsNotKept(t *testing.T) {
	c := newCache(Options{BytesMax: 1 << 20, AnswerBytesMax: 4 << 10})
	k := key("a")
	absent := func() {
		t.Helper()
		_, known := kept(t, c, k)
		require.False(t, known)
	}
	broken := errors.New("broken")
	_, err := read(t, ask(t, c, k, &rows{alloc: memory.DefaultAllocator, batches: [][]string{{"x"}}, err: broken}))
	require.ErrorIs(t, err, broken)
	absent()

	// Too large, at once and bit by bit.
	keep(t, c, k, []string{strings.Repeat("x", 5<<10)})
	absent()
	keep(t, c, k, []string{strings.Repeat("x", 3<<10)}, []string{strings.Repeat("y", 3<<10)})
	absent()
	require.Zero(t, c.Counts().Bytes)
	require.Zero(t, c.Counts().Answers)
}

func TestTheLeastRecentlyUsedGoesFirst(t *testing.T) {
	c := newCache(Options{BytesMax: 10 << 10, AnswerBytesMax: 10 << 10})
	text := []string{strings.Repeat("x", 2<<10)}
	for _, name := range []string{"a", "b", "c"} {
		keep(t, c, key(name), text)
	}
	_, known := kept(t, c, key("a"))
	require.True(t, known)
	keep(t, c, key("d"), text)
	for name, want := range map[string]bool{"a": true, "b": false, "c": true, "d": true} {
		_, known := kept(t, c, key(name))
		require.Equal(t, want, known, name)
	}
	require.LessOrEqual(t, c.Counts().Bytes, int64(10<<10))
	require.Equal(t, int64(1), c.Counts().Evictions)
	c.put(key("a"), []byte("another, of a run beside that one"), false)
	require.Equal(t, int64(3), c.Counts().Answers)
}

func TestAnAnswerGoesAfterItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(Options{BytesMax: 1 << 20, AnswerBytesMax: 1 << 20, Age: time.Minute})
		keep(t, c, key("a"), []string{"x"})
		time.Sleep(time.Minute - time.Second)
		_, known := kept(t, c, key("a"))
		require.True(t, known)
		time.Sleep(2 * time.Second) // since it was kept, not since it was used
		_, known = kept(t, c, key("a"))
		require.False(t, known)
		require.Zero(t, c.Counts().Bytes)
	})
}

func TestNothingIsKeptWithoutABudget(t *testing.T) {
	c := newCache(Options{AnswerBytesMax: 1 << 20})
	keep(t, c, key("a"), []string{"x"})
	_, known := kept(t, c, key("a"))
	require.False(t, known)
	require.Equal(t, Counts{}, c.Counts())
}

func TestQuestionsThatDifferHaveDifferentKeys(t *testing.T) {
	base := Question{SQL: "s", Parameters: []any{int64(1), "p"}, Principal: "u", RowsMax: 5, Tables: []Table{{"a", "one"}, {"b", "two"}}}
	digest := func(q Question) Key {
		k, ok := q.Key()
		require.True(t, ok)
		return k
	}
	seen := map[Key]string{digest(base): "base"}
	require.Equal(t, digest(base), digest(base))
	parameters := func(all ...any) func(*Question) { return func(q *Question) { q.Parameters = all } }
	for what, change := range map[string]func(*Question){
		"text":          func(q *Question) { q.SQL = "S" },
		"none":          parameters(),
		"another value": parameters(int64(2), "p"),
		"another type":  parameters(uint64(1), "p"),
		"a float":       parameters(float64(1), "p"),
		"bytes":         parameters(int64(1), []byte("p")),
		"a null":        parameters(int64(1), nil),
		"as text":       parameters("1", "p"),
		"a time":        parameters(time.Unix(1, 1000), "p"),
		"another time":  parameters(time.Unix(1, 2000), "p"),
		"joined":        parameters("int64 1string p"),
		"principal":     func(q *Question) { q.Principal = "" },
		"rows":          func(q *Question) { q.RowsMax = 6 },
		"definition":    func(q *Question) { q.Tables = []Table{{"a", "one"}, {"b", "two, more"}} },
		"name":          func(q *Question) { q.Tables = []Table{{"a", "one"}, {"c", "two"}} },
		"fewer":         func(q *Question) { q.Tables = q.Tables[:1] },
		"tables joined": func(q *Question) { q.Tables = []Table{{"a", "oneb"}, {"", "two"}} },
	} {
		q := base
		change(&q)
		require.Empty(t, seen[digest(q)], what)
		seen[digest(q)] = what
	}
	utc, elsewhere := base, base
	at := time.Unix(1700000000, 0)
	utc.Parameters, elsewhere.Parameters = []any{at.UTC()}, []any{at.In(time.FixedZone("", 3600))}
	require.Equal(t, digest(utc), digest(elsewhere))
	base.Parameters = []any{struct{}{}}
	_, ok := base.Key()
	require.False(t, ok)
}

func TestManyAskAtOnce(t *testing.T) {
	c := newCache(Options{BytesMax: 20 << 10, AnswerBytesMax: 4 << 10})
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 200 {
				name := fmt.Sprint((i*7 + worker) % 30)
				from, _, err := c.Ask(t.Context(), key(name), func(context.Context) (Rows, error) {
					return &rows{alloc: memory.DefaultAllocator, batches: [][]string{{name, strings.Repeat("x", 600)}}}, nil
				})
				if err != nil {
					t.Error(err)
					return
				}
				if texts, err := read(t, from); err != nil || texts[0] != name {
					t.Errorf("asked for %s, got %v, %v", name, texts, err)
				}
			}
		})
	}
	all.Wait()
	counts := c.Counts()
	require.Equal(t, int64(1600), counts.Hits+counts.Misses)
	require.Positive(t, counts.Hits)
	require.LessOrEqual(t, counts.Bytes, int64(20<<10))
}
