package answer

import (
	"mime"
	"strconv"
	"strings"
)

// Format is a form of whole answers.
type Format int

// The forms. JSON is put together as one document; the others are streams.
const (
	FormatJSON Format = iota
	FormatNDJSON
	FormatCSV
	FormatArrow
)

// mediaTypes are the formats' names, in the order of preference.
var mediaTypes = [...]string{
	FormatJSON: "application/json", FormatNDJSON: "application/x-ndjson", FormatCSV: "text/csv", FormatArrow: "application/vnd.apache.arrow.stream",
}

// Streamed are the media types of the formats that have no bound.
var Streamed = mediaTypes[FormatNDJSON:]

// MediaType returns what Content-Type and Accept call the format.
func (f Format) MediaType() string { return mediaTypes[f] }

// Negotiate picks the format that the values of Accept headers ask for: that of
// the highest quality; of equal ones the one that is named over one that a
// wildcard allows, and then the first. Nothing asked is JSON. False: no format is
// acceptable.
func Negotiate(accept []string) (Format, bool) {
	ranges := rangesOf(strings.Join(accept, ","))
	if len(ranges) == 0 {
		return FormatJSON, true
	}
	var picked Format
	var best mediaRange
	for f, name := range mediaTypes {
		r, ok := mostSpecific(ranges, name)
		if ok && r.quality > 0 && (best.quality == 0 || r.better(best)) {
			picked, best = Format(f), r
		}
	}
	return picked, best.quality > 0
}

// mediaRange is an element of Accept.
type mediaRange struct {
	name    string
	quality float64
	place   int
}

// specificity is 2 for a type, 1 for type/*, 0 for */*.
func (r mediaRange) specificity() int { return 2 - strings.Count(r.name, "*") }

func (r mediaRange) better(than mediaRange) bool {
	if r.quality != than.quality {
		return r.quality > than.quality
	}
	if r.specificity() != than.specificity() {
		return r.specificity() > than.specificity()
	}
	return r.place < than.place
}

// rangesOf parses Accept. What is malformed is nothing that is asked for.
func rangesOf(accept string) []mediaRange {
	var ranges []mediaRange
	for place, element := range strings.Split(accept, ",") {
		name, parameters, err := mime.ParseMediaType(element)
		if err != nil {
			continue
		}
		r := mediaRange{name: name, quality: 1, place: place}
		if q, ok := parameters["q"]; ok {
			if r.quality, err = strconv.ParseFloat(q, 64); err != nil || !(r.quality >= 0 && r.quality <= 1) {
				continue
			}
		}
		ranges = append(ranges, r)
	}
	return ranges
}

// mostSpecific is the range that counts for a media type.
func mostSpecific(ranges []mediaRange, name string) (found mediaRange, ok bool) {
	kind, _, _ := strings.Cut(name, "/")
	for _, r := range ranges {
		if r.name != name && r.name != kind+"/*" && r.name != "*/*" {
			continue
		}
		if !ok || r.specificity() > found.specificity() {
			found, ok = r, true
		}
	}
	return found, ok
}
