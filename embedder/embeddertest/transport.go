package embeddertest

import (
	"io"
	"net/http"
	"strconv"
	"sync"
)

// Transport carries requests to the server within the process.
func (s *Server) Transport() http.RoundTripper { return transport{s} }

type transport struct{ server *Server }

// RoundTrip serves a request on a goroutine of its own, which ends with the
// request's context at the latest.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	body, out := io.Pipe()
	w := &writer{header: make(http.Header), body: out, began: make(chan struct{})}
	stop := make(chan struct{})
	go func() {
		select {
		case <-r.Context().Done():
			_ = out.CloseWithError(r.Context().Err()) // always nil
		case <-stop:
		}
	}()
	go func() {
		defer close(stop)
		t.server.ServeHTTP(w, r)
		w.WriteHeader(http.StatusOK)
		var err error
		if length, said := w.header["Content-Length"]; said && length[0] != strconv.Itoa(w.written) {
			err = io.ErrUnexpectedEOF
		}
		_ = out.CloseWithError(err) // always nil
	}()
	select {
	case <-w.began:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: body, ContentLength: -1, Request: r,
	}, nil
}

// writer is a http.ResponseWriter whose reader is in the process.
type writer struct {
	header  http.Header
	body    *io.PipeWriter
	once    sync.Once
	began   chan struct{}
	status  int
	written int
}

func (w *writer) Header() http.Header { return w.header }

func (w *writer) WriteHeader(status int) {
	w.once.Do(func() {
		w.status = status
		close(w.began)
	})
}

func (w *writer) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	n, err := w.body.Write(b)
	w.written += n
	return n, err
}
