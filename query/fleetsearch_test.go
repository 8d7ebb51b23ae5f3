//go:build !nosql

package query

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"hash/crc32"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"
	"github.com/stretchr/testify/require"

	arrowflight "github.com/apache/arrow-go/v18/arrow/flight"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/manifest"
	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/query/peers"
)

// searched makes topics that are found by words and by vectors.
func searched(c *Config) {
	embedded(c)
	c.TopicDefaults = maps.Clone(c.TopicDefaults)
	c.TopicDefaults["searchable"] = "true"
}

// split makes a split of a partition's records below an offset.
func (c *cluster) split(partition int32, next int64) {
	c.t.Helper()
	o, err := textindex.TopicOptions("standard", []string{"value"}, nil)
	require.NoError(c.t, err)
	m := textindex.NewMemory(o)
	_, err = columnar.Walk(c.t.Context(), columnar.Of(c.broker.Batches(int(partition), 0, next)), batch.NewDecoder(1<<20), 0, next, func(r *batch.Record) error {
		return m.Append(textindex.Record{Offset: r.Offset, Timestamp: r.Timestamp, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)})
	})
	require.NoError(c.t, err)
	var out bytes.Buffer
	r, err := m.Write(&out)
	require.NoError(c.t, err)
	name := objstore.SplitName(topic.Partition{Topic: c.topic.ID, Index: partition}, ulid.Make())
	_, err = c.bucket.Put(c.t.Context(), name, objstore.Bytes(out.Bytes()), objstore.Condition{IfAbsent: true})
	require.NoError(c.t, err)
	c.edit(partition, func(s *manifest.Section) {
		s.Marks.Text = next
		s.Text = []manifest.File{{
			Object: name, Size: r.Size, CRC: crc32.Checksum(out.Bytes(), format.Castagnoli), Next: next, Records: int64(r.Documents),
			MinTimestamp: r.TimestampMin, MaxTimestamp: r.TimestampMax, Format: "split", CreatedAt: 1, Footer: r.Footer, Settings: o.Settings(),
		}}
	})
}

// filled is topic orders of five records, with all that compactors make of the
// first four.
func filled(t *testing.T) *cluster {
	c := newCluster(t, 1, searched)
	produceNumbers(c, 0, 0, 4)
	c.compact(0, 4)
	c.logFile(0, 4)
	c.split(0, 4)
	c.shard(c.made(), 0, 0, 4, 0, 1, 2, 3)
	produceNumbers(c, 0, 4, 5)
	return c
}

// nothing is at hand of any topic.
func (m *member) nothing() bool {
	files := m.node.cache.Counts()
	return m.node.tails.Bytes() == 0 && len(m.node.tails.Active()) == 0 && files.Files+files.Misses+files.Ranges == 0 &&
		m.node.splits.Counts().Files == 0 && m.node.shards.Counts().Files == 0
}

// wish is a request about topic orders, and a part of its answer.
type wish struct{ method, path, body, want string }

var wishes = []wish{
	{"POST", "/orders/_search", `{"query":{"match":{"city":"c0"}}}`, `"total":{"value":3,`},
	{"POST", "/_search/", `{"query":{"match":{"city":"c1"}},"aggs":{"n":{"sum":{"field":"n"}}}}`, `"n":{"value":4`},
	{"GET", "/ord*/_search?q=city:c1&filter_path=hits.total", ``, `{"hits":{"total":{"value":2,`},
	{"GET", "/orders/_search?source_content_type=application/json&source=%7B%22size%22:0%7D", ``, `"total":{"value":5,`},
	{"GET", "/orders/_count", ``, `"count":5,`},
	{"POST", "/_msearch", "{\"index\":\"orders\"}\n{\"size\":0}\n{\"index\":\"orders\"}\n{\"query\":{\"match_none\":{}}}\n", `"total":{"value":0,`},
	{"GET", "/orders/_doc/orders-0-4", ``, `"n":4`},
	{"GET", "/orders/_source/orders-0-1", ``, `"n":1`},
	{"GET", "/orders/_mapping", ``, `"city":`},
	{"GET", "/orders", ``, `"number_of_shards":"1"`},
	{"GET", "/_cat/indices/orders?format=json", ``, `"docs.count":"5"`},
	{"POST", "/_vector/orders/search_by_vector", `{"vector":[0,1,0],"k":1}`, `"offset":0,`},
	{"POST", "/_vector/orders/hybrid", `{"query":"c1","vector_weight":0}`, `"text_results_count":2`},
	{"GET", "/_vector/orders/stats", ``, `"total_vectors":4`},
	{"POST", "/_query", `{"sources":[{"topic":"orders","modes":["text"]}],"q":{"text":"c0"},"timeout_ms":60000}`, `"candidates":3`},
}

// get is answered, by this node or another.
func (m *member) get(w wish) {
	m.t.Helper()
	status, body, header := m.do(w.method, w.path, w.body)
	require.Equal(m.t, 200, status, "%s %s: %s", w.method, w.path, body)
	require.Contains(m.t, string(body), w.want, "%s %s", w.method, w.path)
	require.Len(m.t, header.Values(requestIDHeader), 1)
}

func TestASearchIsAnsweredByTheNodeThatHasItsTopicAtHand(t *testing.T) {
	c := filled(t)
	preferred, other := c.pair(searched)
	for i, w := range wishes {
		other.get(w)
		require.EqualValues(t, i+1, other.node.peers.Forwarded(), "%s %s", w.method, w.path)
	}
	require.True(t, other.nothing(), "one node has the topic at hand")
	require.NotEmpty(t, preferred.node.tails.Active())
	require.Positive(t, preferred.node.splits.Counts().Files)
	require.Positive(t, preferred.node.shards.Counts().Files)
	for _, w := range wishes {
		preferred.get(w)
	}
	require.Zero(t, preferred.node.peers.Forwarded())

	// Refusals are the same as without, wherever they are found. Writes stay.
	forwarded := other.node.peers.Forwarded()
	for _, w := range []wish{
		{"POST", "/orders/_search", `{"query":{"nothing":{}}}`, "unknown query"},
		{"POST", "/orders/_search?nothing=1", ``, "nothing"},
		{"POST", "/orders/_doc", `no document`, "document_parsing_exception"},
	} {
		status, body, _ := other.do(w.method, w.path, w.body)
		require.Equal(t, 400, status, string(body))
		require.Contains(t, string(body), w.want)
	}
	require.Equal(t, forwarded, other.node.peers.Forwarded())
	status, body, _ := other.do("POST", "/_vector/orders/search_by_vector", `{"vector":[1]}`)
	require.Equal(t, 400, status, string(body))
	require.Contains(t, string(body), "INVALID_REQUEST")
	require.Equal(t, forwarded+1, other.node.peers.Forwarded())

	preferred.kill() // it is still on the list
	for _, w := range wishes {
		other.get(w)
	}
	require.EqualValues(t, 1, other.node.peers.Declined(), "who is gone is asked once")
}

func TestABodyThatWasUnpackedIsHandedOnUnpacked(t *testing.T) {
	c := filled(t)
	_, other := c.pair(searched)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write([]byte(`{"query":{"match":{"city":"c1"}}}`))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, other.url+"/orders/_count", &packed)
	require.NoError(t, err)
	request.Header.Set("Content-Encoding", "gzip")
	request.Header.Set(requestIDHeader, "mine")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	require.Equal(t, 200, response.StatusCode)
	require.Equal(t, []string{"mine"}, response.Header.Values(requestIDHeader))
	require.EqualValues(t, 1, other.node.peers.Forwarded())
}

func TestATicketOfVectorsIsAnsweredByTheNodeThatHasItsTopicAtHand(t *testing.T) {
	c := filled(t)
	preferred, other := c.pair(searched)
	ask := func() (rows int64) {
		t.Helper()
		stream, err := other.flight().Client.DoGet(t.Context(), &arrowflight.Ticket{Ticket: []byte(`vector:orders:{"vector":[0,1,0],"k":3}`)})
		require.NoError(t, err)
		reader, err := arrowflight.NewRecordReader(stream)
		require.NoError(t, err)
		defer reader.Release()
		for reader.Next() {
			rows += reader.RecordBatch().NumRows()
		}
		require.NoError(t, reader.Err())
		return rows
	}
	require.EqualValues(t, 3, ask())
	require.EqualValues(t, 1, other.node.peers.Forwarded())
	require.True(t, other.nothing())
	preferred.kill()
	require.EqualValues(t, 3, ask())
	require.EqualValues(t, 1, other.node.peers.Declined())
}

func TestASearchDoesNotWaitForANodeWithEnoughToDo(t *testing.T) {
	c := filled(t)
	preferred, other := c.pair(func(config *Config) {
		searched(config)
		config.ConcurrentMax = 1
	})
	require.NoError(t, preferred.node.places.Take(t.Context()))
	declined := int64(0)
	for _, w := range wishes {
		if w.path == "/_vector/orders/stats" {
			continue // it takes no place
		}
		other.get(w)
		declined++
		require.Equal(t, declined, other.node.peers.Declined(), w.path)
	}
	preferred.node.places.Leave()
	forwarded := other.node.peers.Forwarded()
	other.get(wishes[0])
	require.Equal(t, forwarded+1, other.node.peers.Forwarded(), "it is not avoided for that")
}

func TestWhatWasHandedOnGoesNoFurther(t *testing.T) {
	c := filled(t)
	_, other := c.pair(searched)
	for _, w := range wishes {
		request, err := http.NewRequestWithContext(t.Context(), w.method, other.url+w.path, strings.NewReader(w.body))
		require.NoError(t, err)
		request.Header.Set(peers.HopHeader, "a")
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, 200, response.StatusCode, w.path)
	}
	require.Zero(t, other.node.peers.Forwarded()+other.node.peers.Declined())
}

func TestThreeNodesKeepATopicOnce(t *testing.T) {
	for _, apart := range []bool{true, false} {
		t.Run(fmt.Sprintf("apart=%t", apart), func(t *testing.T) {
			c := filled(t)
			var fleet []*member
			for _, id := range []string{"a", "b", "c"} {
				fleet = append(fleet, c.join(id, func(config *Config) {
					searched(config)
					if apart {
						config.Self = "" // as query.affinity=none
					}
				}))
			}
			c.await(func() bool { return len(c.store.Catalog().Queries()) == 3 })
			var requests, fetched, kept int64
			having := 0
			for _, m := range fleet {
				for _, w := range wishes {
					m.get(w)
				}
				m.ask("SELECT sum(n) AS s FROM orders")
				files := m.node.cache.Counts()
				requests, fetched, kept = requests+files.Misses+files.Ranges, fetched+files.BytesFetched, kept+files.Bytes
			}
			for _, m := range fleet {
				if !m.nothing() {
					having++
				}
			}
			t.Logf("%d reads of files, %d bytes fetched, %d bytes kept, %d of 3 nodes follow the topic", requests, fetched, kept, having)
			if apart {
				require.Equal(t, 3, having)
			} else {
				require.Equal(t, 1, having)
			}
		})
	}
}
