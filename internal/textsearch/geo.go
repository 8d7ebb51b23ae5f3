package textsearch

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/chronik-stream/chronik/internal/geopoint"
	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textquery"
)

// point is a place on earth.
type point = textquery.Point

// area is where a point may lie.
type area interface {
	has(p point) bool
	// band is the latitudes between which it lies.
	band() (south, north float64)
	// cells is the same for points that were indexed as such: each stands for the
	// corner of its cell.
	cells() area
}

// pointField is how points are indexed at a path: as such where a mapping said
// so; elsewhere as the two numbers of {"lat": …, "lon": …}. Of a document with
// several of those it is not known which latitude belongs to which longitude: it
// has none.
type pointField struct {
	mapped   textindex.Field
	lat, lon []textindex.Field
}

func (s *schema) point(name string) (pointField, bool) {
	numbers := func(name string) []textindex.Field {
		return slices.DeleteFunc(slices.Clone(s.fields[name]), func(f textindex.Field) bool {
			return f.Kind != textindex.Long && f.Kind != textindex.Double
		})
	}
	f := pointField{lat: numbers(name + ".lat"), lon: numbers(name + ".lon")}
	var mapped bool
	f.mapped, mapped = s.kind(name, textindex.GeoPoint)
	return f, mapped || len(f.lat) > 0 && len(f.lon) > 0
}

// points reads the points of a part.
type points struct {
	mapped   textindex.Column // nil: the part has none
	lat, lon *values
	encoded  []int64
	numbers  []float64
	buffer   []point
}

func (s *shard) points(ctx context.Context, f pointField) (*points, error) {
	p := &points{}
	var err error
	if s.has(f.mapped) {
		if p.mapped, err = s.column(ctx, f.mapped); err != nil {
			return nil, err
		}
	}
	if p.lat, err = s.values(ctx, &aggNode{fields: f.lat}); err != nil {
		return nil, err
	}
	p.lon, err = s.values(ctx, &aggNode{fields: f.lon})
	return p, err
}

// at are the points of a document, good until the next.
func (p *points) at(doc uint32) []point {
	p.buffer = p.buffer[:0]
	if p.mapped != nil {
		p.encoded = p.mapped.Append(p.encoded[:0], doc)
		for _, v := range p.encoded {
			p.buffer = append(p.buffer, geopoint.Decode(v))
		}
		if len(p.buffer) > 0 {
			return p.buffer
		}
	}
	p.numbers = p.numbers[:0]
	add := func(x float64) { p.numbers = append(p.numbers, x) }
	p.lat.numbers(doc, add)
	p.lon.numbers(doc, add)
	if len(p.numbers) == 2 {
		p.buffer = append(p.buffer, point{Lat: p.numbers[0], Lon: p.numbers[1]})
	}
	return p.buffer
}

// within adds the documents of which a point is in an area.
func (p *points) within(found *roaring.Bitmap, candidates *roaring.Bitmap, in area) {
	for it := candidates.Iterator(); it.HasNext(); {
		if doc := it.Next(); slices.ContainsFunc(p.at(doc), in.has) {
			found.Add(doc)
		}
	}
}

func (c *compiler) geo(name string, in area, boost float64) (node, error) {
	f, ok := c.schema.point(name)
	if !ok {
		return nil, fmt.Errorf("%w: %w", errFields, textquery.RefuseField("failed to find geo field [%s]", name))
	}
	return bitsNode{value: boost, build: func(ctx context.Context, s *shard) (*roaring.Bitmap, error) {
		p, err := s.points(ctx, f)
		if err != nil {
			return nil, err
		}
		found := roaring.New()
		if p.mapped != nil {
			p.within(found, p.mapped.Match(geopoint.Band(in.band())), in.cells())
		}
		for _, c := range p.lat.columns {
			p.within(found, c.Exists(), in)
		}
		return found, nil
	}}, nil
}

// earthRadius is the mean one, in meters, as Lucene has it.
const earthRadius = 6371008.7714

func radians(degrees float64) float64 { return degrees * math.Pi / 180 }

// haversine is the way between two points along the surface, in meters.
func haversine(a, b point) float64 {
	lat, lon := math.Sin(radians(b.Lat-a.Lat)/2), math.Sin(radians(b.Lon-a.Lon)/2)
	h := lat*lat + math.Cos(radians(a.Lat))*math.Cos(radians(b.Lat))*lon*lon
	return 2 * earthRadius * math.Asin(math.Min(1, math.Sqrt(h)))
}

// flat is haversine as if the earth were flat between the points.
func flat(a, b point) float64 {
	lon := math.Mod(b.Lon-a.Lon+540, 360) - 180
	x := radians(lon) * math.Cos(radians((a.Lat+b.Lat)/2))
	return earthRadius * math.Hypot(x, radians(b.Lat-a.Lat))
}

type circle struct {
	center point
	meters float64
	way    func(a, b point) float64
}

func newCircle(q *textquery.GeoDistance) area {
	c := circle{q.Center, q.Meters, haversine}
	if q.Plane {
		c.way = flat
	}
	return c
}

// degree is a degree of latitude, in meters.
const degree = earthRadius * math.Pi / 180

func (c circle) band() (south, north float64) {
	away := c.meters * (1 + 1e-9) / degree
	return max(-90, c.center.Lat-away), min(90, c.center.Lat+away)
}

func (c circle) cells() area { return c }

func (c circle) has(p point) bool {
	// One degree of latitude is as long everywhere: most points are out by that.
	if math.Abs(p.Lat-c.center.Lat)*degree > c.meters*(1+1e-9) {
		return false
	}
	return c.way(c.center, p) <= c.meters
}

type box struct{ top, left, bottom, right float64 }

func newBox(q *textquery.GeoBoundingBox) area {
	return box{q.TopLeft.Lat, q.TopLeft.Lon, q.BottomRight.Lat, q.BottomRight.Lon}
}

func (b box) band() (south, north float64) { return b.bottom, b.top }

// cells has what lies on the border in it, as the box does.
func (b box) cells() area {
	first := geopoint.Decode(point{Lat: b.top, Lon: b.left}.Encode())
	last := geopoint.Decode(point{Lat: b.bottom, Lon: b.right}.Encode())
	return box{first.Lat, first.Lon, last.Lat, last.Lon}
}

func (b box) has(p point) bool {
	if p.Lat > b.top || p.Lat < b.bottom {
		return false
	}
	if b.left > b.right { // across the date line
		return p.Lon >= b.left || p.Lon <= b.right
	}
	return p.Lon >= b.left && p.Lon <= b.right
}

type polygon struct {
	corners []textquery.Point
	around  box
}

func newPolygon(q *textquery.GeoPolygon) area {
	p := polygon{q.Points, box{-90, 180, 90, -180}}
	for _, c := range q.Points {
		p.around.top, p.around.bottom = max(p.around.top, c.Lat), min(p.around.bottom, c.Lat)
		p.around.left, p.around.right = min(p.around.left, c.Lon), max(p.around.right, c.Lon)
	}
	return p
}

func (g polygon) cells() area { return g }

func (g polygon) band() (south, north float64) { return g.around.band() }

// has counts how often a line from the point to the east crosses the border.
func (g polygon) has(p point) bool {
	if !g.around.has(p) {
		return false
	}
	in := false
	for i, a := range g.corners {
		b := g.corners[(i+len(g.corners)-1)%len(g.corners)]
		if (a.Lat > p.Lat) != (b.Lat > p.Lat) && p.Lon < (b.Lon-a.Lon)*(p.Lat-a.Lat)/(b.Lat-a.Lat)+a.Lon {
			in = !in
		}
	}
	return in
}
