package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/objtest"
	"github.com/chronik-stream/chronik/objstore/retry"
	"github.com/chronik-stream/chronik/objstore/s3"
)

var buckets atomic.Int64 // numbers the buckets of all tests

func config(s objtest.Server) s3.Config {
	return s3.Config{
		Bucket: fmt.Sprintf("test-%d", buckets.Add(1)), Endpoint: s.Endpoint,
		AccessKey: s.AccessKey, SecretKey: s.SecretKey,
	}
}

func open(t *testing.T, c s3.Config) *s3.Bucket {
	t.Helper()
	b, err := s3.New(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	require.NoError(t, b.Ensure(t.Context(), true))
	return b
}

func TestMinIOKeepsTheContract(t *testing.T) {
	server := objtest.StartMinIO(t)
	objtest.Run(t, func(t *testing.T) objstore.Bucket { return open(t, config(server)) })
	t.Run("requests", func(t *testing.T) { requestCounts(t, server) })
	t.Run("multipart", func(t *testing.T) { multipart(t, server, true) })
	t.Run("bucket", func(t *testing.T) { ensure(t, server) })
}

func TestVersityKeepsTheContract(t *testing.T) {
	server := objtest.StartVersity(t)
	objtest.Run(t, func(t *testing.T) objstore.Bucket { return open(t, config(server)) })
	// It checks no condition on uploads in parts, as of v1.8.0.
	t.Run("multipart", func(t *testing.T) { multipart(t, server, false) })
}

// requests notes method and kind of each request.
type requests struct {
	http.RoundTripper
	mu   sync.Mutex
	seen []string
}

func (r *requests) RoundTrip(q *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.seen = append(r.seen, q.Method)
	r.mu.Unlock()
	return r.RoundTripper.RoundTrip(q)
}

func (r *requests) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

// Requests are what the store bills: each call is one, and no call asks more
// than it must.
func requestCounts(t *testing.T, server objtest.Server) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	r := &requests{RoundTripper: transport}
	c := config(server)
	c.Transport = r
	b := open(t, c)
	r.take()
	ctx := t.Context()
	large := objstore.Bytes(make([]byte, 40<<20))
	for _, step := range []struct {
		name string
		call func() error
		want string
	}{
		{"put", func() error { _, err := b.Put(ctx, "o", large, objstore.Condition{IfAbsent: true}); return err }, "PUT"},
		{"get", func() error { _, err := b.Get(ctx, "o", 0, -1); return err }, "GET"},
		{"get range", func() error { _, err := b.Get(ctx, "o", 1<<20, 1<<20); return err }, "GET"},
		{"get rest", func() error { _, err := b.Get(ctx, "o", 39<<20, -1); return err }, "GET"},
		{"open", func() error {
			stream, err := b.Open(ctx, "o")
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, stream)
			return errors.Join(err, stream.Close())
		}, "GET"},
		{"head", func() error { _, err := b.Head(ctx, "o"); return err }, "HEAD"},
		{"list", func() error { _, err := objtest.Names(b.List(ctx, "")); return err }, "GET"},
		{"delete", func() error { return b.Delete(ctx, "o") }, "DELETE"},
	} {
		require.NoError(t, step.call(), step.name)
		require.Equal(t, step.want, strings.Join(r.take(), " "), step.name)
	}
}

func multipart(t *testing.T, server objtest.Server, conditions bool) {
	c := config(server)
	c.PartBytes = 5 << 20
	b := open(t, c)
	data := objtest.Bytes(12<<20, 3)
	for name, body := range map[string]objstore.Body{
		"bytes":   objstore.Bytes(data),
		"buffers": objstore.Buffers([][]byte{data[:7], data[7 : 6<<20], data[6<<20:]}),
	} {
		a, err := b.Put(t.Context(), name, body, objstore.Condition{IfAbsent: true})
		require.NoError(t, err)
		got, err := b.Get(t.Context(), name, 0, -1)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
		head, err := b.Head(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, a.ETag, head.ETag)
		if !conditions {
			continue
		}
		_, err = b.Put(t.Context(), name, body, objstore.Condition{IfAbsent: true})
		require.ErrorIs(t, err, objstore.ErrExists)
		_, err = b.Put(t.Context(), name, body, objstore.Condition{IfMatch: "0123456789abcdef0123456789abcdef-3"})
		require.ErrorIs(t, err, objstore.ErrChanged)
		_, err = b.Put(t.Context(), name, body, objstore.Condition{IfMatch: a.ETag})
		require.NoError(t, err)
	}
}

func ensure(t *testing.T, server objtest.Server) {
	c := config(server)
	b, err := s3.New(c)
	require.NoError(t, err)
	require.ErrorContains(t, b.Ensure(t.Context(), false), "does not exist")
	require.NoError(t, b.Ensure(t.Context(), true))
	require.NoError(t, b.Ensure(t.Context(), true))
	require.NoError(t, b.Ensure(t.Context(), false))

	c.SecretKey = "not-the-secret-key"
	b, err = s3.New(c)
	require.NoError(t, err)
	err = b.Ensure(t.Context(), false)
	require.Error(t, err)
	require.NotErrorIs(t, err, objstore.ErrUnavailable, "a wrong key is not healed by waiting")

	c.SecretKey, c.Bucket = server.SecretKey, "was-never-made"
	b, err = s3.New(c)
	require.NoError(t, err)
	_, err = b.Get(t.Context(), "o", 0, -1)
	require.Error(t, err)
	require.NotErrorIs(t, err, objstore.ErrNotFound, "no bucket is not no object")
	require.NoError(t, b.Close())
}

func TestWrongConfigurationsAreRefused(t *testing.T) {
	for name, c := range map[string]s3.Config{
		"no bucket":     {Endpoint: "http://127.0.0.1:9000"},
		"one key":       {Bucket: "b", AccessKey: "a"},
		"path":          {Bucket: "b", Endpoint: "http://127.0.0.1:9000/b"},
		"scheme":        {Bucket: "b", Endpoint: "ftp://127.0.0.1"},
		"user":          {Bucket: "b", Endpoint: "http://me:hunter2@127.0.0.1"},
		"small parts":   {Bucket: "b", PartBytes: 1000},
		"no such CA":    {Bucket: "b", CAFile: "/nowhere/ca.pem"},
		"broken escape": {Bucket: "b", Endpoint: "http://%zz"},
	} {
		_, err := s3.New(c)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "hunter2", name)
	}
}

// answering is a bucket whose store gives every request the same answer.
func answering(t *testing.T, h http.HandlerFunc) *s3.Bucket {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	b, err := s3.New(s3.Config{Bucket: "bucket", Endpoint: server.URL, AccessKey: "a", SecretKey: "secret-key"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func TestAnswersKeepTheirMeaning(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		want   error // nil: none of ours
	}{
		{500, "InternalError", objstore.ErrUnavailable},
		{503, "SlowDown", objstore.ErrUnavailable},
		{503, "", objstore.ErrUnavailable},
		{429, "TooManyRequests", objstore.ErrUnavailable},
		{400, "RequestTimeout", objstore.ErrUnavailable},
		{409, "ConditionalRequestConflict", objstore.ErrUnavailable},
		{412, "PreconditionFailed", objstore.ErrExists},
		{412, "", objstore.ErrExists},
		{403, "AccessDenied", nil},
		{400, "InvalidRequest", nil},
		{501, "NotImplemented", nil},
		{404, "NoSuchBucket", nil},
	} {
		var asked atomic.Int64
		b := answering(t, func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(c.status)
			if c.code != "" {
				fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", c.code)
			}
		})
		_, err := b.Put(t.Context(), "o", objstore.Bytes([]byte("x")), objstore.Condition{IfAbsent: true})
		require.Error(t, err)
		require.EqualValues(t, 1, asked.Load(), "%d %s: tried again here, not in objstore/retry", c.status, c.code)
		require.Contains(t, err.Error(), "put o")
		for _, kind := range []error{objstore.ErrUnavailable, objstore.ErrExists, objstore.ErrChanged, objstore.ErrNotFound, objstore.ErrRange} {
			require.Equal(t, kind == c.want, errors.Is(err, kind), "%d %s: %v", c.status, c.code, err)
		}
	}
}

func TestABrokenConnectionIsUnavailable(t *testing.T) {
	b := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.Header().Set("ETag", `"x"`)
		w.Header().Set("Last-Modified", "Mon, 23 Nov 2026 00:00:00 GMT")
		_, _ = w.Write(make([]byte, 100)) // and no more
	})
	_, err := b.Get(t.Context(), "o", 0, -1)
	require.ErrorIs(t, err, objstore.ErrUnavailable)
	r, err := b.Open(t.Context(), "o")
	require.NoError(t, err)
	_, err = io.ReadAll(r)
	require.ErrorIs(t, err, objstore.ErrUnavailable)
	require.NoError(t, r.Close())

	gone, err := s3.New(s3.Config{Bucket: "bucket", Endpoint: "http://127.0.0.1:1", AccessKey: "a", SecretKey: "secret-key"})
	require.NoError(t, err)
	_, err = gone.Head(t.Context(), "o")
	require.ErrorIs(t, err, objstore.ErrUnavailable)
	_, err = objtest.Names(gone.List(t.Context(), ""))
	require.ErrorIs(t, err, objstore.ErrUnavailable)
}

// A store that answers a range with something else must not pass for right.
func TestAnAnswerOfAnotherLengthIsRefused(t *testing.T) {
	for _, sent := range []int{0, 5, 20} {
		b := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"x"`)
			w.Header().Set("Last-Modified", "Mon, 23 Nov 2026 00:00:00 GMT")
			_, _ = w.Write(make([]byte, sent))
		})
		_, err := b.Get(t.Context(), "o", 0, 10)
		require.Error(t, err, "%d bytes", sent)
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	entered := make(chan struct{}, 1)
	b := answering(t, func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	_, err := b.Get(ctx, "o", 0, 10)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, objstore.ErrUnavailable)
}

// losing is a proxy that breaks the connection after the store has answered a
// PUT, the first time it sees each path.
type losing struct {
	http.RoundTripper
	seen sync.Map
}

func (l *losing) RoundTrip(q *http.Request) (*http.Response, error) {
	response, err := l.RoundTripper.RoundTrip(q)
	if _, again := l.seen.LoadOrStore(q.URL.Path, true); err != nil || again || q.Method != http.MethodPut {
		return response, err
	}
	return nil, errors.Join(&net.OpError{Op: "read", Err: io.ErrUnexpectedEOF}, response.Body.Close())
}

func TestALostAnswerOfARealStoreIsFoundToBeOnesOwn(t *testing.T) {
	c := config(objtest.StartMinIO(t))
	open(t, c)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	c.Transport = &losing{RoundTripper: transport}
	b, err := s3.New(c)
	require.NoError(t, err)
	retried, err := retry.New(b, retry.Options{})
	require.NoError(t, err)

	_, err = b.Put(t.Context(), "lost", objstore.Bytes([]byte("x")), objstore.Condition{IfAbsent: true})
	require.ErrorIs(t, err, objstore.ErrUnavailable)
	_, err = b.Put(t.Context(), "lost", objstore.Bytes([]byte("x")), objstore.Condition{IfAbsent: true})
	require.ErrorIs(t, err, objstore.ErrExists, "it was stored")
	_, err = retried.Put(t.Context(), "found", objstore.Bytes(objtest.Bytes(1<<20, 1)), objstore.Condition{IfAbsent: true})
	require.NoError(t, err)
}
