//go:build !nosql

package query

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/chronik-stream/chronik/query/auth"
)

// users knows whoever shows their own name as a token.
type users []string

func (u users) Authenticate(_ context.Context, shown auth.Credentials) (auth.Principal, error) {
	for _, name := range u {
		if shown.Token == name {
			return auth.Principal{Name: name}, nil
		}
	}
	return auth.Principal{}, &auth.Refusal{Message: "the token is wrong"}
}

func (users) Token(_ context.Context, p auth.Principal) (string, error) { return p.Name, nil }

func TestWhoAsksIsKnownAndNobodyIsGivenWhatIsKeptForAnother(t *testing.T) {
	c := newCluster(t, 1)
	m := c.join("a", func(config *Config) {
		config.Auth = users{"ann", "bob"}
		config.ResultBytesMax, config.ResultAnswerBytesMax, config.ResultAge = 1<<20, 16<<10, time.Hour
	})
	c.broker.Produce(t, 0, 0, `{"a":1}`)
	post := func(path, authorization string) (status int, body string, header http.Header) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, m.url+path, strings.NewReader(`{"query":"SELECT sum(a) AS s FROM orders"}`))
		require.NoError(t, err)
		if authorization != "" {
			request.Header.Set("Authorization", authorization)
		}
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(text), response.Header
	}
	unauthorized := map[string]string{ // in the form of the surface that is asked
		"/_sql": `"error_code":"UNAUTHORIZED"`, "/_sql/explain": `"error_code":"UNAUTHORIZED"`, "/_arrow/query": `"error_code":"UNAUTHORIZED"`,
		"/orders/_search": `"type":"security_exception"`, "/nothing": `"type":"security_exception"`, "/_nothing": `"type":"security_exception"`,
	}
	for path, want := range unauthorized {
		for _, wrong := range []string{"", "Bearer eve", "Basic YW5uOmFubg==", "Digest x"} {
			status, body, header := post(path, wrong)
			require.Equal(t, 401, status, "%s %q: %s", path, wrong, body)
			require.Contains(t, body, want)
			require.NotEmpty(t, header.Get("WWW-Authenticate"))
		}
	}
	hits := func() int64 { return m.node.results.Counts().Hits }
	for i, who := range []string{"ann", "ann", "bob", "bob"} {
		before := hits()
		status, body, _ := post("/_sql", "Bearer "+who)
		require.Equal(t, 200, status, body)
		require.Equal(t, i%2 == 1, hits() > before, "%d: %s", i, who)
	}

	client := m.flight()
	flight := func(who string) []string {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+who)
		info, err := client.Execute(ctx, "SELECT sum(a) + 1 AS s FROM orders")
		require.NoError(t, err)
		r, err := client.DoGet(ctx, info.Endpoint[0].Ticket)
		require.NoError(t, err)
		defer r.Release()
		require.True(t, r.Next())
		values := []string{r.RecordBatch().Column(0).ValueStr(0)}
		require.False(t, r.Next()) // an answer that is not read to its end need not be kept
		require.NoError(t, r.Err())
		return values
	}
	for i, who := range []string{"ann", "ann", "bob", "bob"} {
		before := hits()
		require.Equal(t, []string{"2"}, flight(who))
		require.Equal(t, i%2 == 1, hits() > before, "%d: %s", i, who)
	}
	_, err := client.Execute(t.Context(), "SELECT 1")
	require.Equal(t, codes.Unauthenticated, status.Code(err))
}
