package peers

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/chronik-stream/chronik/metastore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is node a, which hands everything on to b, and answers "by itself" when
// that does not work.
type pair struct {
	peers   *Peers
	front   *httptest.Server
	members []metastore.Member
}

func newPair(t *testing.T, b string) *pair {
	p := &pair{members: []metastore.Member{{ID: "a", Address: "127.0.0.1:1"}, {ID: "b", Address: b}}}
	p.peers = New(Options{Self: "a", Members: func() []metastore.Member { return p.members }})
	t.Cleanup(p.peers.Close)
	p.front = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if !p.peers.Forward(w, r, body, p.members[1]) {
			_, _ = io.WriteString(w, "by itself")
		}
	}))
	t.Cleanup(p.front.Close)
	return p
}

func serve(t *testing.T, f http.HandlerFunc) (address string) {
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func (p *pair) ask(t *testing.T, ctx context.Context) (*http.Response, string, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.front.URL+"/_sql?x=y", strings.NewReader(`{"query":"q"}`))
	require.NoError(t, err)
	request.Header.Set("Authorization", "Basic abc")
	request.Header.Set("X-Request-Id", "me")
	response, err := p.front.Client().Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response, string(text), err
}

func TestARequestGoesOnAsItCameAndItsAnswerComesBackAsItIs(t *testing.T) {
	p := newPair(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/csv")
		w.Header().Set("Trailer", "X-Rows")
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "%s %s %s %s %s %s", r.Method, r.RequestURI, body, r.Header.Get("Authorization"), r.Header.Get("X-Request-Id"), r.Header.Get(HopHeader))
		w.Header().Set("X-Rows", "12")
	}))
	response, text, err := p.ask(t, t.Context())
	require.NoError(t, err)
	require.Equal(t, `POST /_sql?x=y {"query":"q"} Basic abc me a`, text)
	require.Equal(t, http.StatusTeapot, response.StatusCode)
	require.Equal(t, "text/csv", response.Header.Get("Content-Type"))
	require.Equal(t, "12", response.Trailer.Get("X-Rows"))
	require.Equal(t, int64(1), p.peers.Forwarded())
}

func TestAnAnswerStreamsThrough(t *testing.T) {
	next := make(chan string)
	p := newPair(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for piece := range next {
			_, _ = io.WriteString(w, piece)
			w.(http.Flusher).Flush()
		}
	}))
	go func() { next <- "one" }()
	response, err := http.Post(p.front.URL, "", nil)
	require.NoError(t, err)
	defer response.Body.Close()
	buffer := make([]byte, 3)
	for _, piece := range []string{"one", "two"} {
		if piece != "one" {
			next <- piece
		}
		_, err = io.ReadFull(response.Body, buffer) // before the next is written
		require.NoError(t, err)
		require.Equal(t, piece, string(buffer))
	}
	close(next)
	_, err = response.Body.Read(buffer)
	require.ErrorIs(t, err, io.EOF)
}

func TestWhoHasEnoughToDoIsNotAskedTwiceAndNotAvoided(t *testing.T) {
	p := newPair(t, serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	_, text, err := p.ask(t, t.Context())
	require.NoError(t, err)
	require.Equal(t, "by itself", text)
	require.Equal(t, int64(1), p.peers.Declined())
	_, preferred := p.peers.Preferred(topicOf(t, p, "b"))
	require.True(t, preferred)
}

// topicOf is a topic that the node of that id is preferred for.
func topicOf(t *testing.T, p *pair, id string) string {
	for i := range 100 {
		name := fmt.Sprint("topic-", i)
		m, other := p.peers.Preferred(name)
		if other && m.ID == id || !other && id == "a" {
			return name
		}
	}
	t.Fatalf("nothing prefers %s", id)
	return ""
}

func TestANodeThatDoesNotAnswerIsLeftAloneForAWhile(t *testing.T) {
	refuses, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, refuses.Close())
	frozen, err := net.Listen("tcp", "127.0.0.1:0") // connections are made, and nobody takes them
	require.NoError(t, err)
	defer frozen.Close()
	dies := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	for what, address := range map[string]string{
		"refuses": refuses.Addr().String(), "is frozen": frozen.Addr().String(), "dies before it answers": dies,
	} {
		p := newPair(t, address)
		topic := topicOf(t, p, "b")
		began := time.Now()
		_, text, err := p.ask(t, t.Context())
		require.NoError(t, err, what)
		require.Equal(t, "by itself", text, what)
		require.Less(t, time.Since(began), 10*time.Second, what)
		_, other := p.peers.Preferred(topic)
		require.False(t, other, what)
		p.peers.mu.Lock()
		p.peers.avoided["b"] = time.Now() // the while is over
		p.peers.mu.Unlock()
		require.Eventually(t, func() bool { _, other := p.peers.Preferred(topic); return other }, time.Minute, time.Millisecond, what)
	}
}

func TestHalfAnAnswerIsNeverTakenForAWholeOne(t *testing.T) {
	p := newPair(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	_, text, err := p.ask(t, t.Context())
	require.Error(t, err)
	require.NotContains(t, text, "by itself")
}

func TestWhoHangsUpEndsTheWorkOnTheOtherNode(t *testing.T) {
	began, ended := make(chan bool), make(chan bool)
	p := newPair(t, serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health/live" {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		close(began)
		<-r.Context().Done()
		close(ended)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	_, _, err := p.ask(t, ctx)
	require.ErrorIs(t, err, context.Canceled)
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("the other node goes on")
	}
	_, other := p.peers.Preferred(topicOf(t, p, "b"))
	require.True(t, other, "the client's end is not the node's fault")
}

func TestASlowAnswerOfALivingNodeIsWaitedFor(t *testing.T) {
	asked := make(chan bool, 100)
	p := newPair(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health/live" {
			asked <- true
			return
		}
		<-asked
		<-asked // it was silent for long enough to be asked twice
		_, _ = io.WriteString(w, "late")
	}))
	_, text, err := p.ask(t, t.Context())
	require.NoError(t, err)
	require.Equal(t, "late", text)
}

func TestAConnectionThatWasClosedMeanwhileIsNoReasonToGiveUp(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(bytes.ToUpper(body))
	})}
	go func() { _ = server.Serve(listener) }()
	p := newPair(t, listener.Addr().String())
	_, text, err := p.ask(t, t.Context())
	require.NoError(t, err)
	require.Equal(t, `{"QUERY":"Q"}`, text)
	require.NoError(t, server.Close())
	again, err := net.Listen("tcp", listener.Addr().String())
	require.NoError(t, err)
	server = &http.Server{Handler: server.Handler}
	go func() { _ = server.Serve(again) }()
	defer server.Close()
	_, text, err = p.ask(t, t.Context())
	require.NoError(t, err)
	require.Equal(t, `{"QUERY":"Q"}`, text)
}

func TestEveryNodePrefersTheSameOneAndAMemberThatGoesMovesOnlyItsShare(t *testing.T) {
	members := []metastore.Member{{ID: "a", Address: "a:1"}, {ID: "b", Address: "b:1"}, {ID: "c", Address: "c:1"}}
	of := func(self, topic string) string {
		p := New(Options{Self: self, Members: func() []metastore.Member { return members }})
		if m, other := p.Preferred(topic); other {
			return m.ID
		}
		return self
	}
	share := map[string]int{}
	var before []string
	for i := range 300 {
		topic := fmt.Sprint("topic-", i)
		want := of("a", topic)
		require.Equal(t, want, of("b", topic))
		require.Equal(t, want, of("c", topic))
		share[want]++
		before = append(before, want)
	}
	for id, n := range share {
		require.Greater(t, n, 60, id)
	}
	members = members[:2]
	for i, was := range before {
		if now := of("a", fmt.Sprint("topic-", i)); was != "c" {
			require.Equal(t, was, now)
		}
	}
	// Who is not listed asks nobody: the others would not know of it.
	require.Equal(t, "z", of("z", "topic-1"))
}

func TestAConnectionToANodeThatLeavesStaysForItsCalls(t *testing.T) {
	members := []metastore.Member{{ID: "b", Address: "127.0.0.1:1"}}
	p := New(Options{Self: "a", Members: func() []metastore.Member { return members }})
	defer p.Close()
	leaving, done, err := p.linkTo(members[0])
	require.NoError(t, err)
	meet := func(address string) *grpc.ClientConn {
		members = []metastore.Member{{ID: "c", Address: address}}
		link, done, err := p.linkTo(members[0])
		require.NoError(t, err)
		done()
		return link
	}
	meet("127.0.0.1:2")
	require.NotEqual(t, connectivity.Shutdown, leaving.GetState(), "an answer is on its way")
	done()
	last := meet("127.0.0.1:3")
	require.Equal(t, connectivity.Shutdown, leaving.GetState())
	require.Len(t, p.links.links, 1)
	p.Close()
	require.Equal(t, connectivity.Shutdown, last.GetState())
}
