package textindex_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/textindex"
)

func TestTopicOptionsAreWhatATopicSays(t *testing.T) {
	for _, c := range []struct {
		analyzer string
		fields   []string
		settings string
	}{
		{"standard", []string{"value"}, "standard value"},
		{"en", []string{"$.title", "value"}, "en value"},
		{"simple", []string{"$.b.c", "a", "$.a"}, "simple a,b.c"},
		{"keyword", []string{"$._type"}, "keyword json__type"},
	} {
		o, err := textindex.TopicOptions(c.analyzer, c.fields, nil)
		require.NoError(t, err)
		require.True(t, o.Source)
		require.Equal(t, c.settings, o.Settings())
	}
	long := map[string]string{}
	for i := range 50 {
		long[fmt.Sprint("field", i)] = "long"
	}
	o, err := textindex.TopicOptions("standard", []string{"value"}, long)
	require.NoError(t, err)
	settings := o.Settings()
	require.Regexp(t, "^standard sha256:[0-9a-f]{64}$", settings)
	require.Equal(t, settings, o.Settings())
	long["field7"] = "double"
	o, err = textindex.TopicOptions("standard", []string{"value"}, long)
	require.NoError(t, err)
	require.NotEqual(t, settings, o.Settings())
	_, err = textindex.TopicOptions("klingon", nil, nil)
	require.ErrorContains(t, err, "klingon")
	o, err = textindex.TopicOptions("en", []string{"value"}, map[string]string{"$.pin": "geo_point", "at": "date", "_id": "keyword", "a b": "long"})
	require.NoError(t, err)
	require.Equal(t, `en value "a b":long at:date json__id:keyword pin:geo_point`, o.Settings())
	require.Equal(t, textindex.GeoPoint, o.Mapping["pin"])
	_, err = textindex.TopicOptions("en", nil, map[string]string{"at": "nested"})
	require.ErrorContains(t, err, `"at" is mapped to "nested"`)
}

func TestOnlyTheFieldsOfATopicAreIndexed(t *testing.T) {
	o, err := textindex.TopicOptions("standard", []string{"$.title", "$.author", "$._kind"}, nil)
	require.NoError(t, err)
	m := textindex.NewMemory(o)
	for i, value := range []string{
		`{"title":"one","titles":"two","author":{"name":"three","born":4},"body":"five","_kind":"six"}`,
		`no JSON object`,
	} {
		require.NoError(t, m.Append(textindex.Record{Offset: int64(i), Key: []byte("k"), Value: []byte(value)}))
	}
	var names []string
	for _, f := range m.Snapshot().Fields() {
		names = append(names, f.String())
	}
	require.Equal(t, []string{"_key keyword", "_offset long", "_timestamp date", "author.born long", "author.name text", "author.name keyword",
		"json__kind text", "json__kind keyword", "title text", "title keyword"}, names)
	require.EqualValues(t, 2, m.Documents(), "what has none of the fields is a document all the same")
}
