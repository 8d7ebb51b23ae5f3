// Package objtest is the contract of objstore.Bucket as tests: every
// implementation and every wrapper passes Run. It also starts the S3 servers
// that tests run against, each as a process of its own.
package objtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/objstore"
)

// Run checks everything that objstore.Bucket promises. open is called once per
// subtest and returns an empty bucket.
func Run(t *testing.T, open func(t *testing.T) objstore.Bucket) {
	for _, c := range []struct {
		name string
		test func(*testing.T, objstore.Bucket)
	}{
		{"an object reads back as it was put", readsBack},
		{"a range is exact or refused", ranges},
		{"an absent object is not found", absent},
		{"a put without condition replaces", replaces},
		{"an ETag changes with the bytes", etags},
		{"IfAbsent has one winner", oneWinner},
		{"IfMatch counts without losing any", countsByMatch},
		{"IfMatch of an absent object is changed", matchAbsent},
		{"a body that fails leaves nothing", failingBody},
		{"a delete is final and repeatable", deletes},
		{"a list is sorted and cut by prefix", lists},
		{"a list is whole beyond one page", longList},
		{"an ended context ends every call", ended},
		{"invalid names are refused", invalidNames},
		{"many hands do not mix objects", manyHands},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// Bytes returns n bytes that only seed decides.
func Bytes(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	_, _ = r.Read(b) // never fails
	return b
}

// Put stores data under name without condition, or fails the test.
func Put(t testing.TB, b objstore.Bucket, name string, data []byte) objstore.Attributes {
	t.Helper()
	a, err := b.Put(t.Context(), name, objstore.Bytes(data), objstore.Condition{})
	require.NoError(t, err)
	return a
}

// Names collects the names of a List.
func Names(seq iter.Seq2[objstore.Attributes, error]) ([]string, error) {
	var names []string
	for a, err := range seq {
		if err != nil {
			return names, err
		}
		names = append(names, a.Name)
	}
	return names, nil
}

func readsBack(t *testing.T, b objstore.Bucket) {
	large := Bytes(3<<20, 1)
	for name, body := range map[string]struct {
		body objstore.Body
		want []byte
	}{
		"empty":           {objstore.Bytes(nil), []byte{}},
		"small":           {objstore.Bytes([]byte("hello")), []byte("hello")},
		"a/b/c d+e%=ü.x":  {objstore.Bytes([]byte("odd name")), []byte("odd name")},
		"deep/large":      {objstore.Bytes(large), large},
		"deep/in-buffers": {objstore.Buffers([][]byte{large[:1], large[1:70000], nil, large[70000:]}), large},
	} {
		before := time.Now().Add(-2 * time.Second) // S3 tells whole seconds
		put, err := b.Put(t.Context(), name, body.body, objstore.Condition{})
		require.NoError(t, err, name)
		require.Equal(t, name, put.Name)
		require.EqualValues(t, len(body.want), put.Size)
		require.NotEmpty(t, put.ETag)

		head, err := b.Head(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, [3]any{name, put.Size, put.ETag}, [3]any{head.Name, head.Size, head.ETag})
		require.False(t, head.Modified.Before(before) || head.Modified.After(time.Now().Add(2*time.Second)),
			"modified %v", head.Modified)

		got, err := b.Get(t.Context(), name, 0, -1)
		require.NoError(t, err)
		require.True(t, bytes.Equal(body.want, got), "%s: Get", name)
		got, err = readAll(t.Context(), b, name)
		require.NoError(t, err)
		require.True(t, bytes.Equal(body.want, got), "%s: Open", name)
	}
}

func readAll(ctx context.Context, b objstore.Bucket, name string) ([]byte, error) {
	r, err := b.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

func ranges(t *testing.T, b objstore.Bucket) {
	data := Bytes(10_000, 2)
	Put(t, b, "o", data)
	Put(t, b, "empty", nil)
	const huge = int64(1) << 62
	for _, c := range []struct {
		name           string
		offset, length int64
		want           []byte // nil: ErrRange
	}{
		{"o", 0, -1, data},
		{"o", 0, 10_000, data},
		{"o", 0, 1, data[:1]},
		{"o", 9_999, 1, data[9_999:]},
		{"o", 5_000, -1, data[5_000:]},
		{"o", 4_096, 4_096, data[4_096:8_192]},
		{"o", 17, 0, []byte{}},
		{"o", 10_000, 0, []byte{}},
		{"o", 10_000, -1, []byte{}},
		{"empty", 0, -1, []byte{}},
		{"empty", 0, 0, []byte{}},
		{"o", 0, 10_001, nil},
		{"o", 9_999, 2, nil},
		{"o", 10_000, 1, nil},
		{"o", 10_001, -1, nil},
		{"o", 10_001, 0, nil},
		{"o", -1, 5, nil},
		{"o", 0, -2, nil},
		{"o", 1, huge, nil},
		{"o", huge, huge, nil},
		{"empty", 0, 1, nil},
		{"empty", 1, -1, nil},
	} {
		got, err := b.Get(t.Context(), c.name, c.offset, c.length)
		if c.want == nil {
			require.ErrorIs(t, err, objstore.ErrRange, "%s [%d,+%d)", c.name, c.offset, c.length)
			continue
		}
		require.NoError(t, err, "%s [%d,+%d)", c.name, c.offset, c.length)
		require.True(t, bytes.Equal(c.want, got), "%s [%d,+%d): %d bytes", c.name, c.offset, c.length, len(got))
		// The slice is the caller's: scribbling on it changes no object.
		clear(got)
	}
	got, err := b.Get(t.Context(), "o", 0, -1)
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, got), "a returned slice was not the caller's own")
}

func absent(t *testing.T, b objstore.Bucket) {
	Put(t, b, "dir/there", []byte("x"))
	for _, name := range []string{"nothing", "dir", "dir/ther", "dir/there/below"} {
		_, err := b.Get(t.Context(), name, 0, -1)
		require.ErrorIs(t, err, objstore.ErrNotFound, name)
		_, err = b.Get(t.Context(), name, 0, 0)
		require.ErrorIs(t, err, objstore.ErrNotFound, name)
		_, err = b.Head(t.Context(), name)
		require.ErrorIs(t, err, objstore.ErrNotFound, name)
		require.NotErrorIs(t, err, objstore.ErrUnavailable)
		_, err = readAll(t.Context(), b, name)
		require.ErrorIs(t, err, objstore.ErrNotFound, name)
	}
}

func replaces(t *testing.T, b objstore.Bucket) {
	Put(t, b, "o", []byte("first, the longer one"))
	a := Put(t, b, "o", []byte("second"))
	got, err := b.Get(t.Context(), "o", 0, -1)
	require.NoError(t, err)
	require.Equal(t, "second", string(got))
	head, err := b.Head(t.Context(), "o")
	require.NoError(t, err)
	require.Equal(t, a.ETag, head.ETag)
}

func etags(t *testing.T, b objstore.Bucket) {
	seen := map[string]bool{}
	for i := range 20 {
		a := Put(t, b, "o", fmt.Appendf(nil, "%02d", i)) // of one size
		require.False(t, seen[a.ETag], "ETag %q came twice", a.ETag)
		require.NotContains(t, a.ETag, `"`)
		seen[a.ETag] = true
	}
}

func oneWinner(t *testing.T, b objstore.Bucket) {
	const rivals = 16
	for round := range 3 {
		name := fmt.Sprintf("race/%d", round)
		var g errgroup.Group
		won := make([]bool, rivals)
		for i := range rivals {
			g.Go(func() (err error) {
				won[i], err = putIfAbsent(t.Context(), b, name, fmt.Sprintf("rival %d", i))
				return err
			})
		}
		require.NoError(t, g.Wait())
		winners := slices.DeleteFunc(slices.Collect(indices(won)), func(i int) bool { return !won[i] })
		require.Len(t, winners, 1)
		got, err := b.Get(t.Context(), name, 0, -1)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("rival %d", winners[0]), string(got))
		late, err := putIfAbsent(t.Context(), b, name, "late")
		require.NoError(t, err)
		require.False(t, late)
	}
}

// putIfAbsent reports whether body became the object. When the outcome of a put is
// unknown, as when the server hangs up on a connection that is used again, it asks
// again, and then looks whose object is there.
func putIfAbsent(ctx context.Context, b objstore.Bucket, name, body string) (won bool, err error) {
	const attempts = 10
	for attempt := range attempts {
		_, err = b.Put(ctx, name, objstore.Bytes([]byte(body)), objstore.Condition{IfAbsent: true})
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, objstore.ErrExists) && attempt == 0:
			return false, nil
		case errors.Is(err, objstore.ErrExists):
			got, err := b.Get(ctx, name, 0, -1)
			return string(got) == body, err
		case !errors.Is(err, objstore.ErrUnavailable):
			return false, err
		}
	}
	return false, err
}

func indices[T any](s []T) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range s {
			if !yield(i) {
				return
			}
		}
	}
}

// countsByMatch is the classic lost-update test: a counter in an object, raised
// by compare and swap from many hands, ends at the number of swaps that won. A
// swap of unknown outcome may have won or not.
func countsByMatch(t *testing.T, b objstore.Bucket) {
	Put(t, b, "counter", []byte("0"))
	const hands, each = 4, 5
	var unknown atomic.Int64
	var g errgroup.Group
	for range hands {
		g.Go(func() error {
			for won := 0; won < each; {
				err := increment(t.Context(), b, "counter")
				switch {
				case err == nil:
					won++
				case errors.Is(err, objstore.ErrUnavailable):
					unknown.Add(1)
				case !errors.Is(err, objstore.ErrChanged):
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	n, err := counter(t.Context(), b, "counter")
	require.NoError(t, err)
	require.GreaterOrEqual(t, n, hands*each)
	require.LessOrEqual(t, n, hands*each+int(unknown.Load()))
}

func counter(ctx context.Context, b objstore.Bucket, name string) (n int, err error) {
	data, err := b.Get(ctx, name, 0, -1)
	if err == nil {
		_, err = fmt.Sscan(string(data), &n)
	}
	return n, err
}

func increment(ctx context.Context, b objstore.Bucket, name string) error {
	head, err := b.Head(ctx, name)
	if err != nil {
		return err
	}
	// Between Head and Get another value may have come: then the ETag is the
	// old one and the put loses, which is all that matters.
	n, err := counter(ctx, b, name)
	if err != nil {
		return err
	}
	_, err = b.Put(ctx, name, objstore.Bytes(fmt.Append(nil, n+1)), objstore.Condition{IfMatch: head.ETag})
	return err
}

func matchAbsent(t *testing.T, b objstore.Bucket) {
	a := Put(t, b, "o", []byte("x"))
	require.NoError(t, b.Delete(t.Context(), "o"))
	_, err := b.Put(t.Context(), "o", objstore.Bytes([]byte("y")), objstore.Condition{IfMatch: a.ETag})
	require.ErrorIs(t, err, objstore.ErrChanged)
	_, err = b.Head(t.Context(), "o")
	require.ErrorIs(t, err, objstore.ErrNotFound)
}

var errBody = errors.New("the body's own error")

// cutBody announces more than it has, and then fails.
type cutBody struct{ *bytes.Reader }

func (c cutBody) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if err == io.EOF {
		err = errBody
	}
	return n, err
}

func failingBody(t *testing.T, b objstore.Bucket) {
	Put(t, b, "old", []byte("old"))
	for _, name := range []string{"new", "old"} {
		_, err := b.Put(t.Context(), name, objstore.Body{
			Size: 200_000,
			Open: func() io.ReadSeeker { return cutBody{bytes.NewReader(Bytes(100_000, 3))} },
		}, objstore.Condition{})
		require.Error(t, err)
	}
	_, err := b.Head(t.Context(), "new")
	require.ErrorIs(t, err, objstore.ErrNotFound)
	got, err := b.Get(t.Context(), "old", 0, -1)
	require.NoError(t, err)
	require.Equal(t, "old", string(got))
	names, err := Names(b.List(t.Context(), ""))
	require.NoError(t, err)
	require.Equal(t, []string{"old"}, names)
}

func deletes(t *testing.T, b objstore.Bucket) {
	Put(t, b, "d/o", []byte("x"))
	Put(t, b, "d/o2", []byte("y"))
	require.NoError(t, b.Delete(t.Context(), "d/o"))
	require.NoError(t, b.Delete(t.Context(), "d/o"))
	require.NoError(t, b.Delete(t.Context(), "never/was"))
	_, err := b.Head(t.Context(), "d/o")
	require.ErrorIs(t, err, objstore.ErrNotFound)
	names, err := Names(b.List(t.Context(), "d"))
	require.NoError(t, err)
	require.Equal(t, []string{"d/o2"}, names)
	_, err = b.Put(t.Context(), "d/o", objstore.Bytes([]byte("again")), objstore.Condition{IfAbsent: true})
	require.NoError(t, err)
}

func lists(t *testing.T, b objstore.Bucket) {
	// '-' < '/' < '0': a walk by directories meets these in another order.
	names := []string{"a-b", "a/b", "a/b0", "a/c/d", "a0", "b", "z/y/x/w"}
	for i, name := range names {
		Put(t, b, name, Bytes(i, 4))
	}
	for prefix, want := range map[string][]string{
		"":         names,
		"a":        {"a-b", "a/b", "a/b0", "a/c/d", "a0"},
		"a/":       {"a/b", "a/b0", "a/c/d"},
		"a/b":      {"a/b", "a/b0"},
		"a/c/":     {"a/c/d"},
		"a/b/":     nil,
		"z/y/x":    {"z/y/x/w"},
		"z/y/x/w":  {"z/y/x/w"},
		"nothing":  nil,
		"no/thing": nil,
	} {
		got, err := Names(b.List(t.Context(), prefix))
		require.NoError(t, err)
		require.Equal(t, want, got, "prefix %q", prefix)
	}
	for a, err := range b.List(t.Context(), "") {
		require.NoError(t, err)
		head, err := b.Head(t.Context(), a.Name)
		require.NoError(t, err)
		require.Equal(t, [2]any{head.Size, head.ETag}, [2]any{a.Size, a.ETag}, a.Name)
	}
	for a := range b.List(t.Context(), "a") {
		require.Equal(t, "a-b", a.Name)
		break // must not hang, leak or panic
	}
}

func longList(t *testing.T, b objstore.Bucket) {
	const objects = 1_050 // a page of S3 holds 1,000
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(16)
	want := make([]string, objects)
	for i := range objects {
		want[i] = fmt.Sprintf("page/%05d", i)
		g.Go(func() error {
			_, err := b.Put(ctx, want[i], objstore.Bytes(nil), objstore.Condition{})
			return err
		})
	}
	require.NoError(t, g.Wait())
	got, err := Names(b.List(t.Context(), "page/"))
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func ended(t *testing.T, b objstore.Bucket) {
	Put(t, b, "o", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, put := b.Put(ctx, "p", objstore.Bytes([]byte("x")), objstore.Condition{})
	_, get := b.Get(ctx, "o", 0, -1)
	_, open := readAll(ctx, b, "o")
	_, head := b.Head(ctx, "o")
	_, list := Names(b.List(ctx, ""))
	for i, err := range []error{put, get, open, head, list, b.Delete(ctx, "o")} {
		require.ErrorIs(t, err, context.Canceled, "call %d", i)
	}
}

func invalidNames(t *testing.T, b objstore.Bucket) {
	for _, name := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a/..", `a\b`, "a\x00b", "a\nb",
		"\xff", strings.Repeat("x", objstore.NameBytesMax+1),
	} {
		_, put := b.Put(t.Context(), name, objstore.Bytes(nil), objstore.Condition{})
		_, get := b.Get(t.Context(), name, 0, -1)
		_, open := b.Open(t.Context(), name)
		_, head := b.Head(t.Context(), name)
		for i, err := range []error{put, get, open, head, b.Delete(t.Context(), name)} {
			require.ErrorIs(t, err, objstore.ErrName, "%q, call %d", name, i)
		}
	}
}

func manyHands(t *testing.T, b objstore.Bucket) {
	g, ctx := errgroup.WithContext(t.Context())
	for hand := range 8 {
		g.Go(func() error {
			for i := range 6 {
				name := fmt.Sprintf("hands/%d/%d", hand%4, i) // two hands a name, the same bytes
				data := Bytes(1+i*9_000, uint64(hand%4*100+i))
				if _, err := b.Put(ctx, name, objstore.Bytes(data), objstore.Condition{}); err != nil {
					return err
				}
				got, err := b.Get(ctx, name, int64(i), -1)
				if err != nil {
					return err
				}
				if !bytes.Equal(got, data[i:]) {
					return fmt.Errorf("%s: other bytes came back", name)
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
}
