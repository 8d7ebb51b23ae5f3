package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/chronik-stream/chronik/metastore"
)

// connectionHeaders are of one connection and not of the request.
var connectionHeaders = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect", "Content-Length"}

// Forward has m answer the request, whose body was read already, and returns
// true when it did. False: nothing was written, and somebody else has to answer.
//
// The request has to change nothing, since it may be answered twice. When the
// answer breaks off, Forward panics with http.ErrAbortHandler, which cuts the
// client's connection.
func (p *Peers) Forward(w http.ResponseWriter, r *http.Request, body []byte, m metastore.Member) bool {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	request, err := p.request(ctx, r, body, m)
	if err != nil {
		return false
	}
	defer p.watch(ctx, cancel, m)()
	response, err := p.transport.RoundTrip(request)
	if err != nil {
		if r.Context().Err() == nil { // else it is the client that is gone
			p.declined.Add(1)
			p.Avoid(m, errors.Join(context.Cause(ctx), err))
		}
		return false
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusServiceUnavailable {
		p.declined.Add(1) // it has enough to do, or is about to stop
		return false
	}
	p.forwarded.Add(1)
	copyHeader(w.Header(), response.Header)
	for name := range response.Trailer {
		w.Header().Add("Trailer", name)
	}
	w.WriteHeader(response.StatusCode)
	if err := relay(w, response.Body); err != nil {
		p.options.Log.Debug("an answer of another query node broke off", "node", m.ID, "err", err)
		panic(http.ErrAbortHandler) // no mistake: it is how a handler says that its answer is not whole
	}
	copyHeader(w.Header(), response.Trailer)
	return true
}

// request is the client's, to be sent to m.
func (p *Peers) request(ctx context.Context, r *http.Request, body []byte, m metastore.Member) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, r.Method, "http://"+m.Address+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("hand a request on to %s: %w", m.ID, err)
	}
	request.Header = r.Header.Clone()
	for _, name := range connectionHeaders {
		request.Header.Del(name)
	}
	request.Header.Set(HopHeader, p.options.Self)
	// An empty one is not sent; it says that a connection that was closed in the
	// meantime is no reason to give up.
	request.Header["Idempotency-Key"] = []string{}
	return request, nil
}

// watch ends the request when m is silent and does not say that it is alive,
// until the function that it returns is called.
func (p *Peers) watch(ctx context.Context, end context.CancelCauseFunc, m metastore.Member) (enough func()) {
	watching, stop := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		p.Watch(watching, m, func(err error) { end(fmt.Errorf("it does not say that it is alive: %w", err)) })
	})
	return func() {
		stop()
		done.Wait()
	}
}

// relay passes pieces on as they come. A client that does not read makes the
// other node wait.
func relay(w http.ResponseWriter, from io.Reader) error {
	flush := http.NewResponseController(w)
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := flush.Flush(); err != nil {
			return err
		}
	}
}

func copyHeader(to, from http.Header) {
	for name, values := range from {
		if !slices.Contains(connectionHeaders, name) {
			to[name] = slices.Clone(values)
		}
	}
}
