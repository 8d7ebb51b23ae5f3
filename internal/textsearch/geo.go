package textsearch

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textquery"
)

// point is a place on earth.
type point = textquery.Point

// area is where a point may lie.
type area interface {
	has(p point) bool
}

// pointField is the two numbers that a point is indexed as: {"lat": …, "lon": …}
// at a path. Of a document with several points it is not known which latitude
// belongs to which longitude: it has none here.
type pointField struct {
	lat, lon []textindex.Field
}

func (s *schema) point(name string) (pointField, bool) {
	numbers := func(name string) []textindex.Field {
		return slices.DeleteFunc(slices.Clone(s.fields[name]), func(f textindex.Field) bool {
			return f.Kind != textindex.Long && f.Kind != textindex.Double
		})
	}
	f := pointField{numbers(name + ".lat"), numbers(name + ".lon")}
	return f, len(f.lat) > 0 && len(f.lon) > 0
}

// points reads the points of a part.
type points struct {
	lat, lon *values
	buffer   []float64
}

func (s *shard) points(ctx context.Context, f pointField) (*points, error) {
	lat, err := s.values(ctx, &aggNode{fields: f.lat})
	if err != nil {
		return nil, err
	}
	lon, err := s.values(ctx, &aggNode{fields: f.lon})
	return &points{lat: lat, lon: lon}, err
}

func (p *points) at(doc uint32) (point, bool) {
	p.buffer = p.buffer[:0]
	add := func(x float64) { p.buffer = append(p.buffer, x) }
	p.lat.numbers(doc, add)
	p.lon.numbers(doc, add)
	if len(p.buffer) != 2 {
		return point{}, false
	}
	return point{Lat: p.buffer[0], Lon: p.buffer[1]}, true
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
		for _, c := range p.lat.columns {
			for it := c.Exists().Iterator(); it.HasNext(); {
				doc := it.Next()
				if at, ok := p.at(doc); ok && in.has(at) {
					found.Add(doc)
				}
			}
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

func (c circle) has(p point) bool {
	// One degree of latitude is as long everywhere: most points are out by that.
	if math.Abs(p.Lat-c.center.Lat)*(earthRadius*math.Pi/180) > c.meters*(1+1e-9) {
		return false
	}
	return c.way(c.center, p) <= c.meters
}

type box struct{ top, left, bottom, right float64 }

func newBox(q *textquery.GeoBoundingBox) area {
	return box{q.TopLeft.Lat, q.TopLeft.Lon, q.BottomRight.Lat, q.BottomRight.Lon}
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
