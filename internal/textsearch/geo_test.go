package textsearch

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/textindex"
)

// mapped is cutting with a mapping, in splits of so many documents.
func mapped(t testing.TB, mapping map[string]textindex.Kind, each int, values []string) *Searcher {
	t.Helper()
	s := &Searcher{Now: testNow, Parallel: 2}
	a := analyzer(t, "standard")
	for first := 0; first < len(values); first += each {
		m := textindex.NewMemory(textindex.Options{Analyzer: a, Mapping: mapping})
		for i, v := range values[first:min(first+each, len(values))] {
			require.NoError(t, m.Append(textindex.Record{Offset: int64(first + i), Timestamp: testNow.UnixMilli(), Value: []byte(v)}))
		}
		s.Parts = append(s.Parts, Part{Topic: "logs", Split: m.Snapshot(), Analyzer: a})
	}
	return s
}

// What lies on a border is in a box, whatever the points are indexed as.
func TestPointsOnTheBorderAreInTheBox(t *testing.T) {
	values := []string{`{"pin":{"lat":52.3,"lon":13.7}}`, `{"pin":{"lat":48.1,"lon":11.1}}`, `{"pin":{"lat":90,"lon":180}}`, `{"pin":{"lat":-90,"lon":-180}}`}
	for _, mapping := range []map[string]textindex.Kind{nil, {"pin": textindex.GeoPoint}} {
		s := mapped(t, mapping, 2, values)
		for box, want := range map[string][]int64{
			`"top_left":[11.1,52.3],"bottom_right":[13.7,48.1]`:  {0, 1},
			`"top_left":[11.2,52.3],"bottom_right":[13.7,48.1]`:  {0},
			`"top_left":[-180,90],"bottom_right":[180,-90]`:      {0, 1, 2, 3},
			`"top_left":[170,90],"bottom_right":[-170,-90]`:      {2, 3},
			`"top_left":[13.7,52.3],"bottom_right":[13.7,52.3]`:  {0},
			`"top_left":[13.8,52.3],"bottom_right":[13.9,52.29]`: {},
		} {
			require.Equal(t, want, offsets(search(t, s, `{"query":{"geo_bounding_box":{"pin":{`+box+`}}}}`).Hits), "%s, mapping %v", box, mapping)
		}
	}
}

// A document with several points matches if one of them lies there, and is as far
// away as the nearest; every way to cut splits gives the same, also where older
// ones were made before there was a mapping.
func TestDocumentsHaveSeveralPoints(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	mapping := map[string]textindex.Kind{"pin": textindex.GeoPoint}
	var values []string
	var all [][]point
	for range 300 {
		var at []point
		var shown []map[string]float64
		for range rng.IntN(4) {
			p := point{Lat: float64(rng.IntN(1800))/10 - 90 + 0.03, Lon: float64(rng.IntN(3600))/10 - 180 + 0.03}
			at = append(at, p)
			shown = append(shown, map[string]float64{"lat": p.Lat, "lon": p.Lon})
		}
		b, err := json.Marshal(map[string]any{"pin": shown})
		require.NoError(t, err)
		values, all = append(values, string(b)), append(all, at)
	}
	for _, each := range []int{300, 37} {
		s := mapped(t, mapping, each, values)
		for range 50 {
			center := point{Lat: rng.Float64()*160 - 80, Lon: rng.Float64()*360 - 180}
			meters := rng.Float64() * 5e6
			want := []int64{}
			type away struct {
				meters float64
				offset int64
			}
			var ways []away
			for i, at := range all {
				if len(at) == 0 {
					continue
				}
				least := haversine(center, at[0])
				for _, p := range at {
					least = min(least, haversine(center, p))
				}
				ways = append(ways, away{least, int64(i)})
				if least <= meters {
					want = append(want, int64(i))
				}
			}
			query := fmt.Sprintf(`{"geo_distance":{"distance":"%fm","pin":[%f,%f]}}`, meters, center.Lon, center.Lat)
			require.Equal(t, want, offsets(search(t, s, `{"size":300,"query":`+query+`}`).Hits), query)
			slices.SortFunc(ways, func(a, b away) int {
				if a.meters < b.meters {
					return -1
				}
				return 1
			})
			near := search(t, s, fmt.Sprintf(`{"size":5,"sort":[{"_geo_distance":{"pin":[%f,%f],"order":"asc"}}]}`, center.Lon, center.Lat))
			for i, h := range near.Hits {
				require.InDelta(t, ways[i].meters, h.Sort[0], 1)
			}
		}
	}
	old := []string{`{"pin":{"lat":1,"lon":2}}`, `{"pin":{"lat":50,"lon":2}}`}
	s := mapped(t, mapping, 1, []string{old[0], old[1]})
	s.Parts[0] = mapped(t, nil, 1, old[:1]).Parts[0]
	require.Equal(t, []int64{0}, offsets(search(t, s, `{"query":{"geo_distance":{"distance":"10km","pin":"1,2"}}}`).Hits))
	require.Equal(t, []int64{0, 1}, offsets(search(t, s, `{"sort":[{"_geo_distance":{"pin":"0,2"}}]}`).Hits))
	require.Equal(t, []int64{1}, offsets(search(t, s, `{"query":{"exists":{"field":"pin"}},"sort":["_offset"],"from":1}`).Hits))
}

func TestPointsAreNeitherSortedNorCounted(t *testing.T) {
	s := mapped(t, map[string]textindex.Kind{"pin": textindex.GeoPoint}, 5, []string{`{"pin":"1,2"}`})
	for body, reason := range map[string]string{
		`{"sort":["pin"]}`:                          `field [pin] of type [geo_point] cannot be sorted by`,
		`{"aggs":{"a":{"terms":{"field":"pin"}}}}`:  `Field [pin] of type [geo_point] is not supported for aggregation [terms]`,
		`{"query":{"match":{"pin":"1,2"}}}`:         `of type [geo_point]`,
		`{"query":{"range":{"pin":{"gte":"1,2"}}}}`: `of type [geo_point]`,
	} {
		_, err := s.Search(t.Context(), parse(t, body))
		require.ErrorContains(t, err, reason, body)
	}
}
