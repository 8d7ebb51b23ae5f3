package textsearch

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/textindex"
)

func TestHitsShowTheFieldsThatAreAskedFor(t *testing.T) {
	long := strings.Repeat("word ", 60)
	values := []string{
		`{"at":"2026-11-02T10:00:00.5Z","tag":["b","a"],"n":7,"x":1.5,"ok":true,"body":"short","pin":{"lat":1,"lon":2}}`,
		`{"n":[3,1],"body":"` + long + `"}`,
		`no object`,
	}
	mapping := map[string]textindex.Kind{"pin": textindex.GeoPoint}
	for _, each := range []int{3, 1} {
		s := mapped(t, mapping, each, values)
		for asked, want := range map[string][]map[string][]any{
			`["n","x","ok","tag"]`: {
				{"n": {int64(7)}, "x": {1.5}, "ok": {true}, "tag": {"a", "b"}}, {"n": {int64(1), int64(3)}}, nil,
			},
			`["at",{"field":"n"}]`:                     {{"at": {"2026-11-02T10:00:00.500Z"}, "n": {int64(7)}}, {"n": {int64(1), int64(3)}}, nil},
			`[{"field":"at","format":"epoch_millis"}]`: {{"at": {"1793613600500"}}, nil, nil},
			`[{"field":"at","format":"yyyy/MM/dd"}]`:   {{"at": {"2026/11/02"}}, nil, nil},
			`["tag.keyword","nowhere"]`:                {{"tag.keyword": {"a", "b"}}, nil, nil},
			`["t*","o*"]`:                              {{"tag": {"a", "b"}, "ok": {true}}, nil, nil},
			`["_offset"]`:                              {{"_offset": {int64(0)}}, {"_offset": {int64(1)}}, {"_offset": {int64(2)}}},
		} {
			for _, name := range []string{"fields", "docvalue_fields"} {
				result := search(t, s, fmt.Sprintf(`{%q:%s,"_source":false,"sort":["_offset"]}`, name, asked))
				var got []map[string][]any
				for _, h := range result.Hits {
					got = append(got, h.Fields)
				}
				require.Equal(t, want, got, "%s, %d documents a split", asked, each)
			}
		}
		point := search(t, s, `{"fields":["pin"],"size":1,"sort":["_offset"]}`).Hits[0].Fields["pin"]
		require.Len(t, point, 1)
		require.Equal(t, "Point", point[0].(map[string]any)["type"])
	}
	kept := cutting(t, analyzer(t, "standard"), 2, values)
	result := search(t, kept, `{"fields":["body"],"_source":false,"sort":["_offset"]}`)
	require.Equal(t, []any{"short"}, result.Hits[0].Fields["body"])
	require.Equal(t, []any{long}, result.Hits[1].Fields["body"], "a text that is too long for a keyword")
}
