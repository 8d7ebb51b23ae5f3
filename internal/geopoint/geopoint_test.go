package geopoint_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/geopoint"
)

func TestPointsAreReadAsTheyAreWritten(t *testing.T) {
	berlin := geopoint.Point{Lat: 52.5, Lon: 13.25}
	paris := geopoint.Point{Lat: 48.75, Lon: 2.5}
	for value, want := range map[string][]geopoint.Point{
		`{"lat":52.5,"lon":13.25}`:                        {berlin},
		` { "lon" : "13.25" , "lat" : 5.25e1 , "z": 3 } `: {berlin},
		`{"type":"Point","coordinates":[13.25,52.5]}`:     {berlin},
		`[13.25, 52.5]`:                          {berlin},
		`[13.25,52.5,30.1]`:                      {berlin},
		`"52.5,13.25"`:                           {berlin},
		`"52.5, 13.25, 8"`:                       {berlin},
		`"POINT (13.25 52.5)"`:                   {berlin},
		`"point(13.25 52.5)"`:                    {berlin},
		`[{"lat":52.5,"lon":13.25},[2.5,48.75]]`: {berlin, paris},
		`["52.5,13.25", null, {"type":"Point","coordinates":[2.5,48.75]}]`: {berlin, paris},
		`[[13.25,52.5],[2.5,48.75]]`:                                       {berlin, paris},
		`null`:                                                             nil,
		`[]`:                                                               nil,
	} {
		require.True(t, json.Valid([]byte(value)), value)
		got, ok := geopoint.AppendJSON(nil, []byte(value))
		require.True(t, ok, value)
		require.Equal(t, want, got, value)
	}
	for _, value := range []string{`1`, `true`, `"somewhere"`, `{"lat":91,"lon":0}`, `{"lat":1}`, `{"lat":1,"lon":2,"name":"x"}`, `{}`, `[1]`, `[1,2,3,4]`,
		`[1,"x"]`, `[{"lat":1,"lon":2},3]`, `"1,2,x"`, `{"type":"Polygon","coordinates":[1,2]}`, `"POINT (1)"`, `"NaN,1"`, `{"lat":"NaN","lon":1}`} {
		require.True(t, json.Valid([]byte(value)), value)
		_, ok := geopoint.AppendJSON(nil, []byte(value))
		require.False(t, ok, value)
	}
	hash, ok := geopoint.AppendJSON(nil, []byte(`"u33dc1"`))
	require.True(t, ok)
	require.InDelta(t, 52.52, hash[0].Lat, 0.02)
	require.InDelta(t, 13.39, hash[0].Lon, 0.02)
}

func TestAnEncodedPointIsWithinACentimetre(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		p := geopoint.Point{Lat: r.Float64()*180 - 90, Lon: r.Float64()*360 - 180}
		got := geopoint.Decode(p.Encode())
		require.InDelta(t, p.Lat, got.Lat, 5e-8)
		require.InDelta(t, p.Lon, got.Lon, 1e-7)
		require.Equal(t, p.Encode(), got.Encode(), "what is decoded is its own cell")
		q := geopoint.Point{Lat: r.Float64()*180 - 90, Lon: p.Lon}
		require.Equal(t, p.Lat < q.Lat, p.Encode() < q.Encode())
		south, north := min(p.Lat, q.Lat), max(p.Lat, q.Lat)
		least, greatest := geopoint.Band(south, north)
		require.LessOrEqual(t, least, p.Encode())
		require.GreaterOrEqual(t, greatest, q.Encode())
	}
	for _, p := range []geopoint.Point{{Lat: 90, Lon: 180}, {Lat: -90, Lon: -180}, {}, {Lat: 90, Lon: -180}} {
		got := geopoint.Decode(p.Encode())
		require.InDelta(t, p.Lat, got.Lat, 5e-8)
		require.InDelta(t, p.Lon, got.Lon, 1e-7)
	}
	require.Equal(t, geopoint.Point{}, geopoint.Decode(geopoint.Point{}.Encode()), "round numbers stay")
}

// Whatever JSON is at a point's place, reading it ends, and gives points on earth.
func FuzzJSON(f *testing.F) {
	f.Add([]byte(`[{"lat":1,"lon":2},"3,4",[5,6],null]`))
	f.Add([]byte(`{"type":"Point","coordinates":[1,2,3]}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		if !json.Valid(value) {
			return
		}
		points, ok := geopoint.AppendJSON(nil, value)
		if !ok {
			return
		}
		for _, p := range points {
			if p.Check() != nil || math.IsNaN(p.Lat+p.Lon) {
				t.Fatalf("%v in %s", p, value)
			}
		}
	})
}
