package vector

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/embedder/embeddertest"
	"github.com/chronik-stream/chronik/internal/manifest"
)

func (n *node) plan(text string) {
	plan, err := embeddertest.ParsePlan(text)
	require.NoError(n.t, err)
	n.provider.Use(plan)
}

// While a topic is embedded again, each shard is compared with what its own model
// makes of the text, and answers say so.
func TestTwoModelsAreServedSideBySide(t *testing.T) {
	n := newNode(t, 1)
	n.say(0, 40, 1)
	n.say(0, 20, 2)
	n.index(0, 40)
	n.set(map[string]string{"vector.embedding.model": "text-embedding-3-small", "vector.embedding.dimensions": "48"})
	n.settings.Model, n.settings.Dimensions = "text-embedding-3-small", 48

	// All is of the former model.
	a := n.ask(Request{Text: "t1 t2", K: 100})
	require.Equal(t, sequence(0, 40), offsets(a.Hits)[0])
	require.Len(t, a.Warnings, 1)
	require.Contains(t, a.Warnings[0], "40 of 40 vectors are not yet made by openai text-embedding-3-small 48")
	require.EqualValues(t, 20, a.Coverage.LagRecords)
	a = n.ask(Request{Vector: embeddertest.Vector("t1", 48), K: 100})
	require.Empty(t, a.Hits)
	require.EqualValues(t, 60, a.Coverage.LagRecords)

	// It is replaced from its front, and what comes is of the new one.
	n.index(0, 60)
	section, seen := n.section(0)
	front := n.shard(0, 0, 15, n.logged(0, 0, 15))
	section.Vector[0].First, section.Vector[0].Records = 15, 25
	section.Vector = append([]manifest.File{front}, section.Vector...)
	n.swap(section, seen)
	a = n.ask(Request{Text: "t1 t2", K: 100})
	require.Equal(t, sequence(0, 60), offsets(a.Hits)[0])
	require.Contains(t, a.Warnings[0], "25 of 60 vectors")
	require.Zero(t, a.Coverage.LagRecords)
	a = n.ask(Request{Text: sentence(10_020), K: 1})
	require.EqualValues(t, 20, a.Hits[0].Offset, "the former model knows what it means")
	require.InDelta(t, 1, a.Hits[0].Score, 1e-5)
	stats, err := n.Stats(t.Context(), "logs")
	require.NoError(t, err)
	require.EqualValues(t, 60, stats.Vectors)
	require.EqualValues(t, 25, stats.OtherModels)

	// A vector is of the current one alone.
	a = n.ask(Request{Vector: embeddertest.Vector("t1", 48), K: 100})
	require.Equal(t, append(sequence(0, 15), sequence(40, 60)...), offsets(a.Hits)[0])
	require.Contains(t, a.Warnings[0], "25 of 60 vectors")
	require.EqualValues(t, 15, a.Coverage.Partitions[0].To)
	require.EqualValues(t, 45, a.Coverage.LagRecords)
	_, err = n.try(Request{Vector: embeddertest.Vector("t1", dimensions), K: 100})
	var wrong *RequestError
	require.ErrorAs(t, err, &wrong)
}

// What a former model made is no reason for an answer to fail, when that is gone.
func TestAFormerModelThatIsGoneCostsItsShards(t *testing.T) {
	n := newNode(t, 1)
	n.settings.Provider, n.settings.Model, n.settings.Endpoint = "external", "", "http://gone.test/embed"
	n.say(0, 20, 1)
	n.say(0, 20, 2)
	n.index(0, 20)
	n.plan("external * forbid p=1")
	_, err := n.try(Request{Text: "t1", K: 100})
	require.NoError(t, err, "the current model answers, and has nothing yet")
	n.settings.Provider, n.settings.Model, n.settings.Endpoint = "openai", "bag-of-words", ""
	n.index(0, 40)
	a := n.ask(Request{Text: "t1", K: 100})
	require.Equal(t, sequence(20, 40), offsets(a.Hits)[0])
	require.Contains(t, a.Warnings[0], "20 of 40 vectors are not yet made by openai bag-of-words 32, and are not searched")
	require.EqualValues(t, 40, a.Coverage.LagRecords)
}

// A service of provider external answers by what it has, whatever the topic calls it:
// what it makes of a text today is not compared with vectors of yesterday's name.
func TestAFormerNameOfAnExternalServiceIsNotAsked(t *testing.T) {
	n := newNode(t, 1)
	now := map[string]string{"vector.embedding.provider": "external", "vector.embedding.model": "new", "vector.embedding.endpoint": n.provider.External()}
	n.set(now)
	n.say(0, 20, 1)
	n.say(0, 20, 2)
	n.settings.Provider, n.settings.Model = "external", "old"
	n.index(0, 20)
	n.settings.Model = "new"
	n.index(0, 40)
	a := n.ask(Request{Text: "t1", K: 100})
	require.Equal(t, sequence(20, 40), offsets(a.Hits)[0])
	require.Contains(t, a.Warnings[0], "20 of 40 vectors are not yet made by external new 32, and are not searched")
	require.EqualValues(t, 40, a.Coverage.LagRecords)
}

func TestAProviderThatFailsIsNamed(t *testing.T) {
	n := newNode(t, 1)
	n.say(0, 20, 1)
	n.index(0, 20)
	n.plan("* poison forbid p=1")
	_, err := n.try(Request{Text: "poison"})
	var failed *ProviderError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, "logs", failed.Topic)
	require.False(t, failed.Temporary)
	require.Len(t, n.ask(Request{Text: "t1"}).Hits, 10)
	require.Len(t, n.ask(Request{Vector: embeddertest.Vector("poison", dimensions)}).Hits, 10, "nobody is asked")

	// One that does not answer: the request's time is over, and its place is not
	// taken meanwhile.
	n.plan("* silence hang p=1")
	_, err = n.try(Request{Text: "silence", Timeout: 100 * time.Millisecond})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	waiting, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 20)
	for range cap(ended) { // more than there are places
		go func() {
			_, err := n.Search(waiting, Request{Topic: "logs", Text: "silence", K: 1})
			ended <- err
		}()
	}
	require.Len(t, n.ask(Request{Text: "t1", Timeout: time.Minute}).Hits, 10)
	cancel()
	for range cap(ended) {
		require.ErrorIs(t, <-ended, context.Canceled)
	}

	// Without an embedder vectors can be asked for.
	n.config.Embedder = nil
	_, err = n.try(Request{Text: "t1"})
	require.ErrorAs(t, err, &failed)
	require.Len(t, n.ask(Request{Vector: embeddertest.Vector("t1", dimensions)}).Hits, 10)
}

// Shards of another metric than the topic's give way one by one: their hits are
// compared by the topic's.
func TestAChangeOfMetricIsServed(t *testing.T) {
	n := newNode(t, 1)
	n.say(0, 20, 1)
	n.say(0, 20, 2)
	n.settings.Metric = "euclidean"
	n.index(0, 20)
	n.settings.Metric = "cosine"
	n.index(0, 40)
	a := n.ask(Request{Text: "t1 t5 t7", K: 100})
	near(t, truth(n.logged(0, 0, 40), "t1 t5 t7", 100, nil), a.Hits)
	require.Len(t, a.Warnings, 1)
	require.Contains(t, a.Warnings[0], "euclidean")
}
