package vectorindex_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/internal/vectorindex"
)

func settingsOf(set map[string]string) vectorindex.Settings {
	return vectorindex.TopicSettings(topicconfig.Resolve(set, nil).Vector, 0)
}

func TestSettingsAreWhatATopicAsksFor(t *testing.T) {
	s := settingsOf(map[string]string{"vector.embedding.provider": "openai"})
	require.Equal(t, `{"provider":"openai","model":"text-embedding-3-small","dimensions":1536,"field":"value","metric":"cosine","quantization":"f32","index":"hnsw","m":16,"ef_construction":200}`, s.String())
	back, err := vectorindex.ParseSettings(s.String())
	require.NoError(t, err)
	require.Equal(t, s, back)
	o, err := s.Options()
	require.NoError(t, err)
	require.Equal(t, vectorindex.Options{
		Dimensions: 1536, Metric: vectorindex.Cosine, Encoding: vectorindex.F32, Kind: vectorindex.HNSW, Model: s.Embedded().String(), M: 16, EfConstruction: 200,
	}, o)
}

// Each key of a topic that changes what shards are is in their settings, and the
// others are not.
func TestSettingsChangeWithWhatShardsAre(t *testing.T) {
	base := map[string]string{"vector.embedding.provider": "external", "vector.embedding.endpoint": "http://a", "vector.embedding.model": "m", "vector.embedding.dimensions": "8"}
	with := func(key, value string) vectorindex.Settings {
		set := map[string]string{key: value}
		for k, v := range base {
			if k != key {
				set[k] = v
			}
		}
		return settingsOf(set)
	}
	s := settingsOf(base)
	for _, c := range []struct {
		key, value             string
		same, vectors, compare bool
	}{
		{"vector.embedding.provider", "local", false, false, false},
		{"vector.embedding.model", "n", false, false, false},
		{"vector.embedding.endpoint", "http://b", true, true, true},
		{"vector.embedding.dimensions", "9", false, false, false},
		{"vector.field", "key", false, false, true},
		{"vector.index.metric", "dot", false, true, true},
		{"vector.quantization", "int8", false, true, true},
		{"vector.index.type", "ivf", false, true, true},
		{"vector.index.m", "17", false, true, true},
		{"vector.index.ef_construction", "100", false, true, true},
		{"vector.index.backend", "milvus", false, true, true},
		{"vector.index.ef_search", "70", true, true, true},
		{"vector.batch_size", "7", true, true, true},
	} {
		o := with(c.key, c.value)
		require.Equal(t, c.same, o == s, c.key)
		require.Equal(t, c.vectors, o.Embedded() == s.Embedded(), c.key)
		require.Equal(t, c.compare, o.Comparable(s), c.key)
		require.Equal(t, c.same, o.Meets(s), c.key)
	}
}

func TestAModelWithoutANameIsItsEndpoint(t *testing.T) {
	a := settingsOf(map[string]string{"vector.embedding.provider": "external", "vector.embedding.endpoint": "http://me:secret@a/b"})
	require.Equal(t, "http://a/b", a.Endpoint)
	b := settingsOf(map[string]string{"vector.embedding.provider": "external", "vector.embedding.endpoint": "http://a/c"})
	require.False(t, a.Comparable(b))
}

func TestDimensionsMayBeLeftToTheProvider(t *testing.T) {
	wanted := settingsOf(map[string]string{"vector.embedding.provider": "external", "vector.embedding.endpoint": "http://a", "vector.embedding.model": "m"})
	require.Zero(t, wanted.Dimensions)
	_, err := wanted.Options()
	require.ErrorIs(t, err, vectorindex.ErrOptions)
	made := wanted
	made.Dimensions = 5
	require.True(t, made.Meets(wanted))
	require.False(t, wanted.Meets(made))
}

func TestOtherTextIsNoSettings(t *testing.T) {
	for _, text := range []string{"", "{", "{} {}", `{"who":"knows"}`, "[]"} {
		_, err := vectorindex.ParseSettings(text)
		require.Error(t, err, text)
	}
}
