package objtest

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
	"github.com/chronik-stream/chronik/objstore/retry"
)

// S3Config is what the suites of S3 backends ask for.
type S3Config struct {
	Bucket, Endpoint     string
	AccessKey, SecretKey string
	PartBytes            int64             // 0: the backend's default
	Transport            http.RoundTripper // nil: the backend's own
}

// S3Bucket is what an S3 backend is, beside a Bucket.
type S3Bucket interface {
	objstore.Bucket
	Ensure(ctx context.Context, create bool) error
	Close() error
}

// S3 is an S3 backend under test: it makes a bucket without talking to the store.
type S3 func(ctx context.Context, c S3Config) (S3Bucket, error)

var buckets atomic.Int64 // numbers the buckets of all tests

// On is the configuration of a new bucket on a server.
func (s Server) On() S3Config {
	return S3Config{
		Bucket: fmt.Sprintf("test-%d", buckets.Add(1)), Endpoint: s.Endpoint,
		AccessKey: s.AccessKey, SecretKey: s.SecretKey,
	}
}

func (s S3) open(t *testing.T, c S3Config) S3Bucket {
	t.Helper()
	b := s.prepare(t, c)
	require.NoError(t, b.Ensure(t.Context(), true))
	return b
}

func (s S3) prepare(t *testing.T, c S3Config) S3Bucket {
	t.Helper()
	b, err := s(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// RunMinIO checks the contract and more on MinIO.
func (s S3) RunMinIO(t *testing.T) {
	server := StartMinIO(t)
	Run(t, func(t *testing.T) objstore.Bucket { return s.open(t, server.On()) })
	t.Run("each call is one request", func(t *testing.T) { s.requestCounts(t, server) })
	t.Run("large objects go up in parts", func(t *testing.T) { s.multipart(t, server, true) })
	t.Run("a bucket is ensured", func(t *testing.T) { s.ensure(t, server) })
	t.Run("a lost answer is found to be one's own", func(t *testing.T) { s.lostAnswer(t, server) })
}

// RunVersity checks the contract on versitygw.
func (s S3) RunVersity(t *testing.T) {
	server := StartVersity(t)
	Run(t, func(t *testing.T) objstore.Bucket { return s.open(t, server.On()) })
	// It checks no condition on uploads in parts, as of v1.8.0.
	t.Run("large objects go up in parts", func(t *testing.T) { s.multipart(t, server, false) })
}

// RunAnswers checks what a backend makes of answers that no good store gives.
func (s S3) RunAnswers(t *testing.T) {
	t.Run("wrong configurations are refused", s.wrongConfigurations)
	t.Run("answers keep their meaning", s.answers)
	t.Run("a broken connection is unavailable", s.brokenConnection)
	t.Run("an answer of another length is refused", s.anotherLength)
	t.Run("a call ends with its context", s.endsWithContext)
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
func (s S3) requestCounts(t *testing.T, server Server) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	r := &requests{RoundTripper: transport}
	c := server.On()
	c.Transport = r
	b := s.open(t, c)
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
		{"list", func() error { _, err := Names(b.List(ctx, "")); return err }, "GET"},
		{"delete", func() error { return b.Delete(ctx, "o") }, "DELETE"},
	} {
		require.NoError(t, step.call(), step.name)
		require.Equal(t, step.want, strings.Join(r.take(), " "), step.name)
	}
}

func (s S3) multipart(t *testing.T, server Server, conditions bool) {
	c := server.On()
	c.PartBytes = 5 << 20
	b := s.open(t, c)
	data := Bytes(12<<20, 3)
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

func (s S3) ensure(t *testing.T, server Server) {
	c := server.On()
	b := s.prepare(t, c)
	require.ErrorContains(t, b.Ensure(t.Context(), false), "does not exist")
	require.NoError(t, b.Ensure(t.Context(), true))
	require.NoError(t, b.Ensure(t.Context(), true))
	require.NoError(t, b.Ensure(t.Context(), false))

	c.SecretKey = "not-the-secret-key"
	b = s.prepare(t, c)
	err := b.Ensure(t.Context(), false)
	require.Error(t, err)
	require.NotErrorIs(t, err, objstore.ErrUnavailable, "a wrong key is not healed by waiting")

	c.SecretKey, c.Bucket = server.SecretKey, "was-never-made"
	b = s.prepare(t, c)
	_, err = b.Get(t.Context(), "o", 0, -1)
	require.Error(t, err)
	require.NotErrorIs(t, err, objstore.ErrNotFound, "no bucket is not no object")
}

func (s S3) wrongConfigurations(t *testing.T) {
	for name, c := range map[string]S3Config{
		"no bucket":     {Endpoint: "http://127.0.0.1:9000"},
		"one key":       {Bucket: "b", AccessKey: "a"},
		"path":          {Bucket: "b", Endpoint: "http://127.0.0.1:9000/b"},
		"scheme":        {Bucket: "b", Endpoint: "ftp://127.0.0.1"},
		"user":          {Bucket: "b", Endpoint: "http://me:hunter2@127.0.0.1"},
		"small parts":   {Bucket: "b", PartBytes: 1000},
		"broken escape": {Bucket: "b", Endpoint: "http://%zz"},
	} {
		_, err := s(t.Context(), c)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "hunter2", name)
	}
}

// answering is a bucket whose store gives every request the same answer.
func (s S3) answering(t *testing.T, h http.HandlerFunc) S3Bucket {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return s.prepare(t, S3Config{Bucket: "bucket", Endpoint: server.URL, AccessKey: "a", SecretKey: "secret-key"})
}

func (s S3) answers(t *testing.T) {
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
		b := s.answering(t, func(w http.ResponseWriter, r *http.Request) {
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

func (s S3) brokenConnection(t *testing.T) {
	b := s.answering(t, func(w http.ResponseWriter, _ *http.Request) {
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

	gone := s.prepare(t, S3Config{Bucket: "bucket", Endpoint: "http://127.0.0.1:1", AccessKey: "a", SecretKey: "secret-key"})
	_, err = gone.Head(t.Context(), "o")
	require.ErrorIs(t, err, objstore.ErrUnavailable)
	_, err = Names(gone.List(t.Context(), ""))
	require.ErrorIs(t, err, objstore.ErrUnavailable)
}

// A store that answers a range with something else must not pass for right.
func (s S3) anotherLength(t *testing.T) {
	for _, sent := range []int{0, 5, 20} {
		b := s.answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"x"`)
			w.Header().Set("Last-Modified", "Mon, 23 Nov 2026 00:00:00 GMT")
			_, _ = w.Write(make([]byte, sent))
		})
		_, err := b.Get(t.Context(), "o", 0, 10)
		require.Error(t, err, "%d bytes", sent)
	}
}

func (s S3) endsWithContext(t *testing.T) {
	entered := make(chan struct{}, 1)
	b := s.answering(t, func(_ http.ResponseWriter, r *http.Request) {
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

func (s S3) lostAnswer(t *testing.T, server Server) {
	c := server.On()
	s.open(t, c)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	c.Transport = &losing{RoundTripper: transport}
	b := s.prepare(t, c)
	retried, err := retry.New(b, retry.Options{})
	require.NoError(t, err)

	_, err = b.Put(t.Context(), "lost", objstore.Bytes([]byte("x")), objstore.Condition{IfAbsent: true})
	require.ErrorIs(t, err, objstore.ErrUnavailable)
	_, err = b.Put(t.Context(), "lost", objstore.Bytes([]byte("x")), objstore.Condition{IfAbsent: true})
	require.ErrorIs(t, err, objstore.ErrExists, "it was stored")
	_, err = retried.Put(t.Context(), "found", objstore.Bytes(Bytes(1<<20, 1)), objstore.Condition{IfAbsent: true})
	require.NoError(t, err)
}
