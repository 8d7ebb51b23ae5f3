package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/embedder/embeddertest"
	"github.com/chronik-stream/chronik/milvus"
	"github.com/chronik-stream/chronik/milvus/milvustest"
)

// rows is how many there are in all collections of a Milvus.
func rows(server *milvustest.Server) (n int) {
	for _, name := range server.Names() {
		n += len(server.Keys(name))
	}
	return n
}

// The same in short against a real one, by hand: docs/milvus.md.
func TestATopicIsSearchedInARealMilvus(t *testing.T) {
	address := os.Getenv("CHRONIK_TEST_MILVUS")
	if address == "" {
		t.Skip("no CHRONIK_TEST_MILVUS: docs/milvus.md says how this is run against Milvus Lite")
	}
	provider, err := embeddertest.Start(embeddertest.Options{Dimensions: 64})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { provider.Close() })
	client, err := milvus.Open(milvus.Config{Address: address, RequestTimeout: shortly})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	before, err := client.Collections(t.Context(), "chronik_")
	if err != nil {
		t.Fatal(err)
	}
	c := startIn(t, t.TempDir(), []string{"CHRONIK_MILVUS_ADDRESS=" + address, "CHRONIK_EMBEDDING_PROVIDER=external", "CHRONIK_EMBEDDING_ENDPOINT=" + provider.External()})
	c.must("", "topic", "create", "notes", "--config", "vector.enabled=true", "--config", "vector.index.backend=milvus", "--config", "vector.embedding.model=bag",
		"--config", "vector.index.type=ivf")
	c.must(strings.Repeat("of days and weeks\n", 50)+"a note about plums\n", "produce", "notes")
	var name string
	eventually(t, 2*shortly, func() error {
		now, err := client.Collections(t.Context(), "chronik_")
		if now = slices.DeleteFunc(now, func(name string) bool { return slices.Contains(before, name) }); err != nil || len(now) != 1 {
			return fmt.Errorf("new collections are %q: %v", now, err)
		}
		name = now[0]
		if n, err := client.Count(t.Context(), name, -1); n != 51 || err != nil {
			return fmt.Errorf("%d rows, want 51: %v", n, err)
		}
		return nil
	})
	eventually(t, shortly, func() error {
		status, body := c.post("/_vector/notes/search", map[string]any{"query": "plums", "k": 2, "recall_target": 0.9})
		if status != http.StatusOK || !strings.Contains(string(body), "the recall of a Milvus is not known") || !strings.Contains(string(body), `"text_preview":"a note about plums"`) {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	c.must("", "topic", "delete", "notes")
	eventually(t, 3*shortly, func() error { // nobody names it any more
		if there, err := client.Has(t.Context(), name); err != nil || there {
			return fmt.Errorf("the collection is still there: %v", err)
		}
		return nil
	})
}

// A topic whose index is in a Milvus is searched there; a Milvus that was away, and
// has lost everything, is filled again without a provider.
func TestATopicIsSearchedInAMilvus(t *testing.T) {
	provider, err := embeddertest.Start(embeddertest.Options{Dimensions: 64})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { provider.Close() })
	server, err := milvustest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	address := server.Address
	c := startIn(t, t.TempDir(), []string{"CHRONIK_MILVUS_ADDRESS=" + address, "CHRONIK_EMBEDDING_PROVIDER=external", "CHRONIK_EMBEDDING_ENDPOINT=" + provider.External()})
	c.must("", "topic", "create", "notes", "--partitions", "2", "--config", "vector.enabled=true", "--config", "vector.index.backend=milvus", "--config", "vector.embedding.model=bag")

	note := func(i int) string { return fmt.Sprintf("note%d of day%d in week%d", i, i%30, i%7) }
	produce := func(first, next int) {
		t.Helper()
		var lines strings.Builder
		for i := first; i < next; i++ {
			fmt.Fprintln(&lines, note(i))
		}
		c.must(lines.String(), "produce", "notes")
	}
	filled := func(want int) {
		t.Helper()
		eventually(t, 2*shortly, func() error {
			if n := rows(server); n != want {
				return fmt.Errorf("%d rows in Milvus, want %d", n, want)
			}
			return nil
		})
	}
	finds := func(i int) {
		t.Helper()
		status, body := c.post("/_vector/notes/search", map[string]any{"query": note(i), "k": 3})
		var answer struct {
			Results []struct {
				Preview string `json:"text_preview"`
			}
		}
		if err := json.Unmarshal(body, &answer); err != nil || status != http.StatusOK || len(answer.Results) != 3 || answer.Results[0].Preview != note(i) {
			t.Fatalf("search for %q: %d %s", note(i), status, body)
		}
	}
	produce(0, 200)
	filled(200)
	eventually(t, shortly, func() error { // the manifest says so too
		before := server.Calls("Search")
		if finds(123); server.Calls("Search") == before {
			return fmt.Errorf("Milvus was not asked")
		}
		return nil
	})

	// Without it: records are embedded, kept, and found when it is back, empty.
	server.Close()
	produce(200, 300)
	eventually(t, 2*shortly, func() error {
		if n := len(provider.Texts()); n != 300 {
			return fmt.Errorf("%d texts were embedded, want 300", n)
		}
		return nil
	})
	c.kill()
	if server, err = milvustest.StartAt(address); err != nil {
		t.Fatal(err)
	}
	c.restart()
	filled(300)
	for _, i := range []int{0, 123, 299} {
		finds(i)
	}
	texts := provider.Texts()
	for i := range 200 { // they were kept before Milvus went away; two of them were asked for, too
		if n := texts[note(i)]; n != 1 && i != 0 && i != 123 {
			t.Errorf("%q was embedded %d times", note(i), n)
		}
	}
}
