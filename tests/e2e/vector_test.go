package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chronik-stream/chronik/embedder/embeddertest"
)

// vectors is how many vectors of a topic can be searched.
func (c *chronik) vectors(topic string) (int, error) {
	status, text := c.get("/_vector/" + topic + "/stats")
	var stats struct {
		Total int `json:"total_vectors"`
	}
	if err := json.Unmarshal([]byte(text), &stats); err != nil || status != http.StatusOK {
		return 0, fmt.Errorf("stats: %d %s", status, text)
	}
	return stats.Total, nil
}

// vectorsReach waits until so many vectors of a topic can be searched.
func (c *chronik) vectorsReach(topic string, want int) {
	c.t.Helper()
	eventually(c.t, 2*shortly, func() error {
		if n, err := c.vectors(topic); err != nil || n != want {
			return fmt.Errorf("%d vectors, want %d: %w", n, want, err)
		}
		return nil
	})
}

// nearest is the value that is nearest to a text.
func (c *chronik) nearest(topic, text string) string {
	c.t.Helper()
	status, body := c.post("/_vector/"+topic+"/search", map[string]any{"query": text, "k": 3})
	var answer struct {
		Results []struct {
			Preview string `json:"text_preview"`
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil || status != http.StatusOK || len(answer.Results) != 3 {
		c.t.Fatalf("search for %q: %d %s", text, status, body)
	}
	return answer.Results[0].Preview
}

// With a provider that speaks OpenAI's protocol, fails in all ways, and is away
// while the process is killed: every record is found by its meaning in the end, and
// is in the index once.
func TestATopicIsSearchedByMeaning(t *testing.T) {
	const key = "sk-of-this-test"
	plan := func(text string) embeddertest.Plan {
		p, err := embeddertest.ParsePlan(text)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	provider, err := embeddertest.Start(embeddertest.Options{Key: key, Dimensions: 1536, Plan: plan(
		"* * throttle nth=1; * * back-in=200ms nth=1; * * nan nth=2; * * half nth=3; * * cut nth=4; * * reorder every=2")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { provider.Close() })
	c := startIn(t, t.TempDir(), []string{"OPENAI_API_KEY=" + key, "OPENAI_BASE_URL=" + provider.OpenAI(), "CHRONIK_EMBEDDING_PROVIDER=openai", "CHRONIK_EMBEDDING_REQUEST_TIMEOUT=5s"})
	c.must("", "topic", "create", "notes", "--partitions", "3", "--config", "vector.enabled=true", "--config", "vector.batch_size=20")

	fruits := []string{"apple", "pear", "plum", "cherry", "quince", "grape"}
	note := func(i int) string {
		return fmt.Sprintf("note%d about %s and %s", i, fruits[i%6], fruits[i/6%6])
	}
	produce := func(first, next int) {
		t.Helper()
		var lines strings.Builder
		for i := first; i < next; i++ {
			fmt.Fprintln(&lines, note(i))
		}
		c.must(lines.String(), "produce", "notes")
	}
	produce(0, 300)
	c.vectorsReach("notes", 300)
	for _, i := range []int{0, 123, 299} {
		if got := c.nearest("notes", note(i)); got != note(i) {
			t.Errorf("nearest to %q is %q", note(i), got)
		}
	}

	// The provider hangs: producing, reading and what has vectors go on.
	provider.Use(plan("* note hang p=1"))
	produce(300, 500)
	eventually(t, shortly, func() error {
		if hung := provider.Struck()[0]; hung == 0 {
			return fmt.Errorf("the provider was not asked")
		}
		return nil
	})
	if got := strings.Count(c.must("", "consume", "notes", "--from", "start", "--count", "500"), "note"); got != 500 {
		t.Errorf("%d records are read while the provider hangs, want 500", got)
	}
	if got := c.nearest("notes", "which plum is it"); !strings.Contains(got, "plum") {
		t.Errorf("nearest to plums is %q", got)
	}
	c.kill()
	c.restart()
	if n, err := c.vectors("notes"); err != nil || n != 300 {
		t.Errorf("%d vectors after a kill, want 300: %v", n, err)
	}
	provider.Use(embeddertest.Plan{})
	c.vectorsReach("notes", 500)
	if got := c.nearest("notes", note(450)); got != note(450) {
		t.Errorf("nearest to %q is %q", note(450), got)
	}
	texts := provider.Texts()
	for i := range 500 {
		if n := texts[note(i)]; n < 1 {
			t.Errorf("%q was embedded %d times", note(i), n)
		}
	}
	if c.log.contains(key) {
		t.Error("the key is in the log")
	}
}
