//go:build linux

package query

import (
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/query/engine"
	"github.com/chronik-stream/chronik/query/resultcache"
)

func TestAQueryThatNeedsTooMuchIsEndedByNameAndTheNextIsAnswered(t *testing.T) {
	c := newCluster(t, 1, func(o *Config) { o.MemoryBytesMax = 64 << 20 })
	for _, query := range []string{
		`SELECT length(repeat(repeat('x', 10000), 100000))`,
		`SELECT len(list(i)) FROM range(1000000000000) r(i)`,
		`SELECT list_transform(range(1000000), lambda x: range(1000000))`,
	} {
		status, body, _ := c.do(http.MethodPost, "/_sql", `{"query":"`+query+`"}`)
		require.Equal(t, http.StatusRequestEntityTooLarge, status, "%s", body)
		require.Contains(t, string(body), `"error_code":"TOO_LARGE"`)
		require.Contains(t, string(body), `"error":"the query needs more than the 64 MiB of memory that one query may have"`)
		require.EqualValues(t, 0, c.ask(`SELECT count(*) AS n FROM orders`).Rows[0]["n"])
	}
}

func TestWhenTooManyWaitTheNextIsToldToComeAgain(t *testing.T) {
	c := newCluster(t, 1, func(o *Config) { o.ConcurrentMax, o.WaitingMax = 1, 1 })
	m := &member{cluster: c}
	c.broker.Produce(t, 0, 0, `{"a":1}`)
	runs, ran := m.begin(m, endless)
	waits, waited := m.begin(m, endless+` AND i = 1`) // another question: the same would share the run
	status, body, header := c.do(http.MethodPost, "/_sql", `{"query":"SELECT 1"}`)
	require.Equal(t, http.StatusServiceUnavailable, status, "%s", body)
	require.Contains(t, string(body), `1 queries run and 1 wait`)
	require.Equal(t, "1", header.Get("Retry-After"))
	waits()
	require.Error(t, <-waited)
	runs()
	require.Error(t, <-ran)
	require.EqualValues(t, 1, c.ask(`SELECT 1 AS n`).Rows[0]["n"])
}

// closing are rows that say when they are closed that they are not at their end.
type closing struct {
	resultcache.Rows
	err error
}

func (c closing) Close() error { return c.err }

func TestAPlaceIsGivenBackWhenTheQueryHasReallyEnded(t *testing.T) {
	c := newCluster(t, 1)
	n, ended := c.node, make(chan struct{})
	require.NoError(t, n.places.Take(t.Context()))
	cursor := &cursor{node: n, leave: n.leave, rows: closing{err: errors.Join(t.Context().Err(), &engine.Unfinished{Ended: ended})}}
	_ = cursor.Close()
	require.Equal(t, 1, n.places.Running())
	close(ended)
	c.await(func() bool { return n.places.Running() == 0 })
	_ = cursor.Close()
	require.Zero(t, n.places.Running())
}
