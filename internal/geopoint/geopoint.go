// Package geopoint is points on earth: how they are written in texts and in JSON,
// and the integers that they are indexed as.
package geopoint

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Point is a place on earth, in degrees.
type Point struct{ Lat, Lon float64 }

// Check refuses what is nowhere on earth.
func (p Point) Check() error {
	switch {
	case !(p.Lat >= -90 && p.Lat <= 90):
		return fmt.Errorf("illegal latitude value [%v]", p.Lat)
	case !(p.Lon >= -180 && p.Lon <= 180):
		return fmt.Errorf("illegal longitude value [%v]", p.Lon)
	}
	return nil
}

// Steps of latitude and longitude: 32 bits each, less than a centimetre.
const (
	latStep = 180.0 / (1 << 32)
	lonStep = 360.0 / (1 << 32)
)

// Encode makes an integer of a point. Those of points rise with the latitude, and
// at one latitude with the longitude.
func (p Point) Encode() int64 {
	return int64(step(p.Lat, latStep))<<32 | int64(uint32(step(p.Lon, lonStep))^1<<31)
}

func step(degrees, size float64) int32 {
	return int32(min(math.Floor(degrees/size), math.MaxInt32)) // the poles, and the date line from the west
}

// Decode is the corner of the cell in which an encoded point lies, to the south
// and west of it.
func Decode(v int64) Point {
	return Point{Lat: float64(int32(v>>32)) * latStep, Lon: float64(int32(uint32(v)^1<<31)) * lonStep}
}

// Band bounds the integers of all points of some latitudes.
func Band(south, north float64) (least, greatest int64) {
	return int64(step(south, latStep)) << 32, int64(step(north, latStep))<<32 | math.MaxUint32
}

// Parse reads "lat,lon", "POINT (lon lat)" and a geohash.
func Parse(s string) (Point, error) {
	s = strings.TrimSpace(s)
	if lat, lon, ok := strings.Cut(s, ","); ok {
		if before, height, ok := strings.Cut(lon, ","); ok {
			if _, err := strconv.ParseFloat(strings.TrimSpace(height), 64); err != nil {
				return Point{}, unreadable(s)
			}
			lon = before
		}
		return ofTexts(lat, lon, s)
	}
	if len(s) >= len("POINT") && strings.EqualFold(s[:len("POINT")], "POINT") {
		body := strings.TrimSpace(s[len("POINT"):])
		if inner, ok := strings.CutPrefix(body, "("); ok && strings.HasSuffix(inner, ")") {
			if words := strings.Fields(inner[:len(inner)-1]); len(words) == 2 || len(words) == 3 {
				return ofTexts(words[1], words[0], s)
			}
		}
		return Point{}, unreadable(s)
	}
	return geohash(s)
}

func unreadable(s string) error {
	if len(s) > 100 {
		s = s[:100] + "…"
	}
	return fmt.Errorf("cannot read %q as a point", s)
}

func ofTexts(lat, lon, whole string) (Point, error) {
	a, errLat := strconv.ParseFloat(strings.TrimSpace(lat), 64)
	o, errLon := strconv.ParseFloat(strings.TrimSpace(lon), 64)
	if errLat != nil || errLon != nil {
		return Point{}, unreadable(whole)
	}
	p := Point{a, o}
	return p, p.Check()
}

const geohashDigits = "0123456789bcdefghjkmnpqrstuvwxyz"

// geohash is the middle of the cell that a geohash names.
func geohash(s string) (Point, error) {
	lat, lon := [2]float64{-90, 90}, [2]float64{-180, 180}
	if s == "" || len(s) > 12 {
		return Point{}, unreadable(s)
	}
	even := true
	for _, c := range []byte(strings.ToLower(s)) {
		digit := strings.IndexByte(geohashDigits, c)
		if digit < 0 {
			return Point{}, fmt.Errorf("%w: unsupported symbol [%c] in geohash", unreadable(s), c)
		}
		for bit := 4; bit >= 0; bit-- {
			axis := &lat
			if even {
				axis = &lon
			}
			axis[1-digit>>bit&1] = (axis[0] + axis[1]) / 2
			even = !even
		}
	}
	return Point{(lat[0] + lat[1]) / 2, (lon[0] + lon[1]) / 2}, nil
}
