package textquery

import (
	"math"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/internal/geopoint"
)

// geoParams reads a geo query: its common parameters, and the one member that
// is a field.
func (n *node) geoParams(what string, q *Boost, set setters, place func(field string, n *node) error) error {
	if n.kind != objectNode {
		return n.fail("[%s] expected an object, found %s", what, n.kind)
	}
	set["boost"] = boost(q)
	set["validation_method"] = func(n *node) error {
		if lower(n.text) != "strict" {
			return n.fail("[validation_method] %s is not supported, only STRICT", n.show())
		}
		return nil
	}
	found := ""
	for _, m := range n.members {
		if f, known := set[m.name]; known {
			if err := f(m.value); err != nil {
				return m.value.place(err)
			}
			continue
		}
		if found != "" {
			return m.value.fail("[%s] does not support [%s]: there is the field [%s] already", what, m.name, found)
		}
		found = m.name
		if err := place(m.name, m.value); err != nil {
			return m.value.place(err)
		}
	}
	if found == "" {
		return n.fail("[%s] needs a field", what)
	}
	return nil
}

func (p *parser) geoDistance(n *node) (Query, error) {
	q := &GeoDistance{Boost: 1, Meters: -1}
	err := n.geoParams("geo_distance", &q.Boost, setters{
		"distance": func(n *node) (err error) {
			q.Meters, err = parseDistance(n.text)
			return err
		},
		"distance_type": oneOf(&q.Plane, map[string]bool{"arc": false, "plane": true}),
	}, func(field string, n *node) (err error) {
		q.Field = field
		q.Center, err = n.point()
		return err
	})
	if err == nil && q.Meters < 0 {
		err = n.fail("[geo_distance] needs a [distance]")
	}
	return q, err
}

func (p *parser) geoBoundingBox(n *node) (Query, error) {
	q := &GeoBoundingBox{Boost: 1}
	err := n.geoParams("geo_bounding_box", &q.Boost, setters{}, func(field string, n *node) error {
		q.Field = field
		unset := math.NaN()
		top, left, bottom, right := unset, unset, unset, unset
		corner := func(lat, lon *float64) func(*node) error {
			return func(n *node) error {
				p, err := n.point()
				*lat, *lon = p.Lat, p.Lon
				return err
			}
		}
		err := n.params("geo_bounding_box", setters{
			"top_left": corner(&top, &left), "bottom_right": corner(&bottom, &right),
			"top_right": corner(&top, &right), "bottom_left": corner(&bottom, &left),
			"top": number(&top), "left": number(&left), "bottom": number(&bottom), "right": number(&right),
		})
		if err != nil {
			return err
		}
		q.TopLeft, q.BottomRight = Point{Lat: top, Lon: left}, Point{Lat: bottom, Lon: right}
		if math.IsNaN(top + left + bottom + right) {
			return n.fail("[geo_bounding_box] needs two opposite corners, or top, left, bottom and right")
		}
		if top < bottom {
			return n.fail("top is below bottom corner: %v vs. %v", top, bottom)
		}
		return firstError(checkPoint(q.TopLeft), checkPoint(q.BottomRight))
	})
	return q, err
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// polygonMax bounds the corners of a polygon.
const polygonMax = 10_000

func (p *parser) geoPolygon(n *node) (Query, error) {
	q := &GeoPolygon{Boost: 1}
	err := n.geoParams("geo_polygon", &q.Boost, setters{}, func(field string, n *node) error {
		q.Field = field
		return n.params("geo_polygon", setters{"points": func(n *node) error {
			for _, item := range n.items {
				corner, err := item.point()
				if err != nil {
					return err
				}
				q.Points = append(q.Points, corner)
			}
			return nil
		}})
	})
	if last := len(q.Points) - 1; last > 0 && q.Points[0] == q.Points[last] {
		q.Points = q.Points[:last] // closed as WKT closes it
	}
	switch {
	case err != nil:
	case len(q.Points) < 3:
		err = n.fail("too few points defined for geo_polygon query")
	case len(q.Points) > polygonMax:
		err = n.fail("[geo_polygon] has %d points, at most %d", len(q.Points), polygonMax)
	}
	return q, err
}

// point reads {"lat","lon"}, [lon, lat], GeoJSON's Point, "lat,lon",
// "POINT (lon lat)" and a geohash.
func (n *node) point() (Point, error) {
	var p Point
	switch n.kind {
	case objectNode:
		lat, lon := math.NaN(), math.NaN()
		var kind string
		err := n.params("geo_point", setters{
			"lat": number(&lat), "lon": number(&lon), "type": text(&kind),
			"coordinates": func(n *node) error {
				p, err := n.coordinates()
				lat, lon = p.Lat, p.Lon
				return err
			},
		})
		if err != nil {
			return p, err
		}
		if kind != "" && lower(kind) != "point" {
			return p, n.fail("[type] for geo_point can only be 'Point', found %q", cut(kind))
		}
		if math.IsNaN(lat + lon) {
			return p, n.fail("a geo_point needs [lat] and [lon]")
		}
		p = Point{Lat: lat, Lon: lon}
	case arrayNode:
		var err error
		if p, err = n.coordinates(); err != nil {
			return p, err
		}
	case stringNode:
		var err error
		if p, err = geopoint.Parse(n.text); err != nil {
			return p, Refuse("%v", err)
		}
	default:
		return p, n.fail("expected a geo_point, found %s", n.show())
	}
	return p, checkPoint(p)
}

// coordinates reads [lon, lat], GeoJSON's order.
func (n *node) coordinates() (p Point, err error) {
	if len(n.items) < 2 || len(n.items) > 3 {
		return p, n.fail("expected [longitude, latitude]")
	}
	if err := number(&p.Lon)(n.items[0]); err != nil {
		return p, err
	}
	return p, number(&p.Lat)(n.items[1])
}

func checkPoint(p Point) error {
	if err := p.Check(); err != nil {
		return Refuse("%v", err)
	}
	return nil
}

// meters of the units in which distances are written.
var meters = []struct {
	unit string
	in   float64
}{ // longer ones first: what ends in "km" ends in "m" too
	{"nauticalmiles", 1852}, {"kilometers", 1000}, {"centimeters", 0.01}, {"millimeters", 0.001},
	{"meters", 1}, {"inch", 0.0254}, {"miles", 1609.344}, {"yards", 0.9144}, {"feet", 0.3048},
	{"nmi", 1852}, {"km", 1000}, {"cm", 0.01}, {"mm", 0.001}, {"NM", 1852}, {"mi", 1609.344}, {"yd", 0.9144}, {"ft", 0.3048}, {"in", 0.0254}, {"m", 1},
}

// parseDistance reads "12km", "3 mi" and, in meters, "200".
func parseDistance(s string) (float64, error) {
	digits, scale := strings.TrimSpace(s), 1.0
	for _, m := range meters {
		if rest, ok := strings.CutSuffix(digits, m.unit); ok {
			digits, scale = strings.TrimSpace(rest), m.in
			break
		}
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || f < 0 || f-f != 0 {
		return 0, Refuse("cannot read %q as a distance", cut(s))
	}
	return f * scale, nil
}
