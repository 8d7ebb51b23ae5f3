package embedder_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/internal/topicconfig"
)

// echo answers the external protocol with the length of each text, over TLS or
// not.
func echo(asked *atomic.Int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		var body struct{ Texts []string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		vectors := make([][]int, len(body.Texts))
		for i, text := range body.Texts {
			vectors[i] = []int{len(text), 1}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"embeddings": vectors})
	})
}

func kindOf(t *testing.T, err error) embedder.Kind {
	t.Helper()
	var e *embedder.Error
	require.ErrorAs(t, err, &e)
	return e.Kind
}

func TestACertificateHasToBeTrusted(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewUnstartedServer(echo(&asked))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // a handshake is to fail
	server.StartTLS()
	defer server.Close()
	v := topicconfig.Vector{Provider: "external", Endpoint: server.URL, BatchSize: 1, Concurrency: 1, RetriesMax: 5}
	_, err := opened(t, embedder.Config{}, v).Query(t.Context(), "text")
	require.Equal(t, embedder.BadTLS, kindOf(t, err))
	require.Zero(t, asked.Load())

	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	vector, err := opened(t, embedder.Config{CAFile: file}, v).Query(t.Context(), "text")
	require.NoError(t, err)
	require.Equal(t, []float32{4, 1}, vector)

	require.NoError(t, os.WriteFile(file, []byte("no certificate"), 0o600))
	_, err = embedder.New(embedder.Config{CAFile: file})
	require.ErrorContains(t, err, "no certificate in PEM")
	_, err = embedder.New(embedder.Config{CAFile: file + ".not"})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestTLSIsNotSpokenWithOneWhoDoesNot(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(echo(&asked))
	defer server.Close()
	v := topicconfig.Vector{Provider: "external", Endpoint: "https://" + server.Listener.Addr().String(), BatchSize: 1, Concurrency: 1}
	_, err := opened(t, embedder.Config{}, v).Query(t.Context(), "text")
	require.Equal(t, embedder.BadTLS, kindOf(t, err))
}

func TestNobodyThereIsUnavailable(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	v := topicconfig.Vector{Provider: "external", Endpoint: server.URL + "/embed?key=hush", BatchSize: 1, Concurrency: 1}
	_, err := opened(t, embedder.Config{}, v).Query(t.Context(), "text")
	require.Equal(t, embedder.Unavailable, kindOf(t, err))
}

func TestNothingIsCarriedWhereARedirectLeads(t *testing.T) {
	var asked atomic.Int64
	elsewhere := httptest.NewServer(echo(&asked))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL+"/new?key=hush", http.StatusPermanentRedirect))
	defer server.Close()
	v := topicconfig.Vector{Provider: "external", Endpoint: server.URL, BatchSize: 1, Concurrency: 1, RetriesMax: 5}
	_, err := opened(t, embedder.Config{APIKey: secret, TrustedEndpoints: []string{"*"}}, v).Query(t.Context(), "text")
	require.Equal(t, embedder.Redirected, kindOf(t, err))
	require.ErrorContains(t, err, elsewhere.URL+"/new")
	require.NotContains(t, err.Error(), "hush")
	require.Zero(t, asked.Load())
}

// recorded is a transport that notes requests and answers with one vector.
type recorded struct {
	url, key string
	body     map[string]any
}

func (r *recorded) RoundTrip(request *http.Request) (*http.Response, error) {
	r.url, r.key, r.body = request.URL.String(), request.Header.Get("Authorization"), nil
	if err := json.NewDecoder(request.Body).Decode(&r.body); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	if _, external := r.body["texts"]; external {
		fmt.Fprint(w, ` {"embeddings": [ [ 1 , -2.5e-1 ] ], "model": "whatever"} `)
	} else {
		fmt.Fprint(w, `{"data":[{"embedding":[1,-0.25]}]}`) // neither index nor usage
	}
	return w.Result(), nil
}

func TestProvidersAreAskedInTheirProtocol(t *testing.T) {
	for _, test := range []struct {
		name      string
		config    embedder.Config
		vector    topicconfig.Vector
		url, body string
		key       bool
	}{
		{"openai", embedder.Config{}, topicconfig.Vector{Model: "text-embedding-3-small"},
			"https://api.openai.com/v1/embeddings", `{"model":"text-embedding-3-small","input":["text"],"encoding_format":"base64"}`, true},
		{"openai", embedder.Config{}, topicconfig.Vector{Model: "text-embedding-3-large", Dimensions: 2},
			"https://api.openai.com/v1/embeddings", `{"model":"text-embedding-3-large","input":["text"],"encoding_format":"base64","dimensions":2}`, true},
		{"openai", embedder.Config{OpenAIBaseURL: "http://ollama:11434/v1/"}, topicconfig.Vector{Model: "nomic-embed-text", Dimensions: 2},
			"http://ollama:11434/v1/embeddings", `{"model":"nomic-embed-text","input":["text"],"encoding_format":"base64"}`, true},
		{"openai", embedder.Config{Endpoint: "https://ours.example/openai/v1?api-version=2"}, topicconfig.Vector{Model: "m", Endpoint: "https://ours.example/openai/v1?api-version=2"},
			"https://ours.example/openai/v1/embeddings?api-version=2", `{"model":"m","input":["text"],"encoding_format":"base64"}`, true},
		{"external", embedder.Config{}, topicconfig.Vector{Endpoint: "https://theirs.example/embed?x=1"},
			"https://theirs.example/embed?x=1", `{"texts":["text"]}`, false},
		{"external", embedder.Config{Endpoint: "https://ours.example/embed"}, topicconfig.Vector{Endpoint: "https://ours.example/embed"},
			"https://ours.example/embed", `{"texts":["text"]}`, true},
		{"external", embedder.Config{Endpoint: "https://ours.example/embed"}, topicconfig.Vector{Endpoint: "https://ours.example/other"},
			"https://ours.example/other", `{"texts":["text"]}`, false},
		{"external", embedder.Config{Endpoint: "https://ours.example"}, topicconfig.Vector{Endpoint: "http://ours.example/embed"},
			"http://ours.example/embed", `{"texts":["text"]}`, false},
		{"external", embedder.Config{Endpoint: "https://ours.example"}, topicconfig.Vector{Endpoint: "https://ours.example.org/embed"},
			"https://ours.example.org/embed", `{"texts":["text"]}`, false},
		{"external", embedder.Config{TrustedEndpoints: []string{"https://a.example", "https://b.example/models/"}}, topicconfig.Vector{Endpoint: "https://b.example/models/7"},
			"https://b.example/models/7", `{"texts":["text"]}`, true},
		{"external", embedder.Config{TrustedEndpoints: []string{"https://b.example/models"}}, topicconfig.Vector{Endpoint: "https://b.example/models/../hush"},
			"https://b.example/models/../hush", `{"texts":["text"]}`, false},
		{"external", embedder.Config{TrustedEndpoints: []string{"*"}}, topicconfig.Vector{Endpoint: "http://anywhere.example/"},
			"http://anywhere.example/", `{"texts":["text"]}`, true},
	} {
		t.Run(test.url, func(t *testing.T) {
			var got recorded
			test.config.APIKey, test.config.Transport = secret, &got
			test.vector.Provider = test.name
			v, err := opened(t, test.config, test.vector).Query(t.Context(), "text")
			require.NoError(t, err)
			require.Equal(t, []float32{1, -.25}, v)
			require.Equal(t, test.url, got.url)
			body, err := json.Marshal(got.body)
			require.NoError(t, err)
			require.JSONEq(t, test.body, string(body))
			require.Equal(t, test.key, got.key == "Bearer "+secret, got.key)
			require.True(t, test.key || got.key == "")
		})
	}
}

// says is a transport that answers once with a status and a header, then well.
type says struct {
	status int
	header http.Header
	good   recorded
}

func (s *says) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.status == 0 {
		return s.good.RoundTrip(r)
	}
	w := httptest.NewRecorder()
	for name, values := range s.header {
		w.Header()[name] = values
	}
	w.WriteHeader(s.status)
	s.status = 0
	return w.Result(), nil
}

func TestRetryAfterIsUnderstood(t *testing.T) {
	for _, test := range []struct {
		name, value string
		least, most time.Duration
	}{
		{"Retry-After", "3", 3 * time.Second, 3 * time.Second},
		{"Retry-After", "0.5", 500 * time.Millisecond, 500 * time.Millisecond},
		{"Retry-After", "Sat, 01 Jan 2000 00:00:09 GMT", 9 * time.Second, 9 * time.Second}, // virtual time begins with 2000
		{"Retry-After-Ms", "40", 40 * time.Millisecond, 40 * time.Millisecond},
		{"Retry-After", "0", 250 * time.Millisecond, 500 * time.Millisecond},
		{"Retry-After", "-1", 250 * time.Millisecond, 500 * time.Millisecond},
		{"Retry-After", "Fri, 31 Dec 1999 00:00:00 GMT", 250 * time.Millisecond, 500 * time.Millisecond},
		{"Retry-After", "soon", 250 * time.Millisecond, 500 * time.Millisecond},
		{"X", "", 250 * time.Millisecond, 500 * time.Millisecond},
	} {
		for _, status := range []int{429, 503} {
			synctest.Test(t, func(t *testing.T) {
				e := opened(t, embedder.Config{Transport: &says{status: status, header: http.Header{test.name: {test.value}}}},
					topicconfig.Vector{Provider: "external", Endpoint: "http://x/", RetriesMax: 1})
				began := time.Now()
				_, err := e.Query(t.Context(), "text")
				require.NoError(t, err)
				took := time.Since(began)
				require.True(t, test.least <= took && took <= test.most, "%d with %s: %s waits %v", status, test.name, test.value, took)
			})
		}
	}
	for _, value := range []string{"1e300", "99999999999999999999", "Sun, 01 Jan 2300 00:00:00 GMT"} {
		synctest.Test(t, func(t *testing.T) {
			e := opened(t, embedder.Config{Transport: &says{status: 429, header: http.Header{"Retry-After": {value}}}},
				topicconfig.Vector{Provider: "external", Endpoint: "http://x/", RetriesMax: 9})
			_, err := e.Query(t.Context(), "text")
			after, temporary := embedder.Temporary(err)
			require.True(t, temporary)
			require.Equal(t, 10*time.Minute, after)
		})
	}
}

func TestAnswersThatAreNoVectorsAreRefused(t *testing.T) {
	for _, answer := range []string{
		``, `null`, `{}`, `[]`, `{"embeddings":null}`, `{"embeddings":[]}`, `{"embeddings":[[]]}`, `{"embeddings":[null]}`, `{"embeddings":[[null]]}`,
		`{"embeddings":[["1"]]}`, `{"embeddings":[[[1]]]}`, `{"embeddings":[[1e39]]}`, `{"embeddings":[[true]]}`, `{"embeddings":[{"0":1}]}`, `{"embeddings":[7]}`,
		`{"embeddings":[[1],[2]]}`, `{"embeddings":["AAA="]}`, `{"embeddings":[""]}`, `{"embeddings":["not base64"]}`, `{"embeddings":["AADAfw=="]}`,
	} {
		e := opened(t, embedder.Config{Transport: answers(answer)}, topicconfig.Vector{Provider: "external", Endpoint: "http://x/"})
		_, err := e.Query(t.Context(), "text")
		require.Equal(t, embedder.BadAnswer, kindOf(t, err), "%s: %v", answer, err)
	}
}

type answers string

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	fmt.Fprint(w, string(a))
	return w.Result(), nil
}

func FuzzNoAnswerMakesAWrongVector(f *testing.F) {
	f.Add(`{"embeddings":[[1,2],[3,4]]}`, `{"data":[{"index":1,"embedding":[1]},{"index":0,"embedding":"AACAPw=="}]}`)
	f.Add(`{"embeddings":[[1,2],[3]]}`, `{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[2]}]}`)
	f.Fuzz(func(t *testing.T, external, openai string) {
		for provider, answer := range map[string]string{"external": external, "openai": openai} {
			e := opened(t, embedder.Config{Transport: answers(answer), APIKey: "k"}, topicconfig.Vector{Provider: provider, Model: "m", Endpoint: "http://x/", BatchSize: 2, Concurrency: 1})
			v, err := e.Embed(t.Context(), []string{"a", "b"})
			if err != nil {
				continue
			}
			for i := range 2 {
				if len(v.At(i)) != v.Model.Dimensions || len(v.At(i)) == 0 {
					t.Fatalf("%s: %d of %d dimensions", answer, len(v.At(i)), v.Model.Dimensions)
				}
				for _, f := range v.At(i) {
					if f != f || f-f != 0 {
						t.Fatalf("%s: %v", answer, f)
					}
				}
			}
		}
	})
}
