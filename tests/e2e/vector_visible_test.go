package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/embedder/embeddertest"
)

var visible = flag.Int("visible", 0, "measure how soon so many records can be found by meaning (a second or two each)")

// TestVectorsAreVisibleSoon measures how long it takes from the acknowledgement of
// a record until a search by meaning finds it, with a provider that answers at
// once: by hand, with -visible.
func TestVectorsAreVisibleSoon(t *testing.T) {
	if *visible == 0 {
		t.Skip("measures for minutes: -visible says with how many records")
	}
	provider, err := embeddertest.Start(embeddertest.Options{Dimensions: 384})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, provider.Close()) })
	c := start(t)
	_, stderr, code := c.cli("", "topic", "create", "notes", "--partitions", "3", "--config", "vector.enabled=true", "--config", "vector.embedding.provider=external",
		"--config", "vector.embedding.endpoint="+provider.External(), "--config", "vector.embedding.dimensions=384")
	require.Zero(t, code, stderr)
	client, err := kgo.NewClient(kgo.SeedBrokers(c.kafka), kgo.DefaultProduceTopic("notes"), kgo.ProducerLinger(0))
	require.NoError(t, err)
	t.Cleanup(client.Close)

	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	var took, asking []time.Duration
	for n := range *visible {
		text := fmt.Sprintf("number%d of many things that are told", n)
		require.NoError(t, client.ProduceSync(t.Context(), &kgo.Record{Value: []byte(text)}).FirstErr())
		acknowledged := time.Now()
		for {
			began := time.Now()
			response, err := httpClient.Post("http://"+c.http+"/_vector/notes/search", "application/json", strings.NewReader(fmt.Sprintf(`{"query":%q,"k":1}`, text)))
			require.NoError(t, err)
			var answer struct {
				Results []struct {
					Preview string `json:"text_preview"`
				}
			}
			err = json.NewDecoder(response.Body).Decode(&answer)
			require.NoError(t, response.Body.Close())
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, response.StatusCode)
			asking = append(asking, time.Since(began))
			if len(answer.Results) == 1 && answer.Results[0].Preview == text {
				break
			}
			require.Less(t, time.Since(acknowledged), shortly)
			<-poll.C
		}
		took = append(took, time.Since(acknowledged))
	}
	slices.Sort(took)
	slices.Sort(asking)
	t.Logf("acknowledged to found: p50 %s, p99 %s, most %s; a search: p50 %s, p99 %s", took[len(took)/2], took[len(took)*99/100], took[len(took)-1], asking[len(asking)/2], asking[len(asking)*99/100])
}
