package textquery

import (
	"strconv"
	"strings"
	"time"
)

// DateFormat is one or several ways in which dates are written, of which the
// first also says how they are shown.
type DateFormat struct {
	ways []dateWay
}

// DefaultDateFormat is what dates are written in when nothing else is said.
const DefaultDateFormat = "strict_date_optional_time||epoch_millis"

// dateWay is one way; the first of its parts that is set is what it is.
type dateWay struct {
	epoch    time.Duration // a count of such units since 1970
	optional bool          // ISO 8601, from the right on as short as one likes
	layout   string        // of package time
	has      dateParts
}

// dateParts are the parts of the day that a layout has.
type dateParts struct{ hour, minute, second, fraction bool }

var namedFormats = map[string]string{
	"date":                           "yyyy-MM-dd",
	"basic_date":                     "yyyyMMdd",
	"date_time":                      "yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
	"date_time_no_millis":            "yyyy-MM-dd'T'HH:mm:ssXXX",
	"date_hour":                      "yyyy-MM-dd'T'HH",
	"date_hour_minute":               "yyyy-MM-dd'T'HH:mm",
	"date_hour_minute_second":        "yyyy-MM-dd'T'HH:mm:ss",
	"date_hour_minute_second_millis": "yyyy-MM-dd'T'HH:mm:ss.SSS",
	"basic_date_time":                "yyyyMMdd'T'HHmmss.SSSXX",
	"basic_date_time_no_millis":      "yyyyMMdd'T'HHmmssXX",
	"hour_minute_second":             "HH:mm:ss",
	"hour_minute":                    "HH:mm",
	"year":                           "yyyy",
	"year_month":                     "yyyy-MM",
	"year_month_day":                 "yyyy-MM-dd",
}

// NewDateFormat reads a format: names of Elasticsearch's, patterns of Java's,
// several of them with || in between.
func NewDateFormat(text string) (DateFormat, error) {
	var f DateFormat
	for _, name := range strings.Split(text, "||") {
		switch plain := strings.TrimPrefix(name, "strict_"); plain {
		case "date_optional_time", "date_optional_time_nanos": // dates are kept to the millisecond
			f.ways = append(f.ways, dateWay{optional: true})
		case "epoch_millis":
			f.ways = append(f.ways, dateWay{epoch: time.Millisecond})
		case "epoch_second":
			f.ways = append(f.ways, dateWay{epoch: time.Second})
		default:
			pattern, named := namedFormats[plain]
			if !named {
				pattern = name
			}
			way, err := layoutOf(pattern)
			if err != nil {
				return f, err
			}
			f.ways = append(f.ways, way)
		}
	}
	return f, nil
}

// javaLetters are what Java calls the parts of a date, and Go.
var javaLetters = map[string]string{
	"yyyy": "2006", "uuuu": "2006", "yy": "06", "uu": "06",
	"MMMM": "January", "MMM": "Jan", "MM": "01", "M": "1",
	"dd": "02", "d": "2", "EEEE": "Monday", "EEE": "Mon", "E": "Mon", "DDD": "002",
	"HH": "15", "hh": "03", "h": "3", "a": "PM", "mm": "04", "m": "4", "ss": "05", "s": "5",
	"XXX": "Z07:00", "XX": "Z0700", "X": "Z07", "xxx": "-07:00", "xx": "-0700", "Z": "-0700", "ZZZZZ": "Z07:00", "z": "MST",
}

// layoutOf is a pattern of Java's as a layout of package time.
func layoutOf(pattern string) (dateWay, error) {
	var way dateWay
	var layout strings.Builder
	for i := 0; i < len(pattern); {
		c := pattern[i]
		if c == '\'' {
			end := strings.IndexByte(pattern[i+1:], '\'')
			if end < 0 {
				return way, Refuse("date format %q: a quote is not closed", cut(pattern))
			}
			quoted := pattern[i+1 : i+1+end]
			if end == 0 {
				quoted = "'"
			}
			layout.WriteString(quoted)
			i += end + 2
			continue
		}
		if c < 'A' || c > 'z' || (c > 'Z' && c < 'a') {
			if c >= '0' && c <= '9' || c == '[' || c == ']' {
				return way, Refuse("date format %q: %q is not supported", cut(pattern), string(c))
			}
			layout.WriteByte(c)
			i++
			continue
		}
		run := i
		for run < len(pattern) && pattern[run] == c {
			run++
		}
		letters := pattern[i:run]
		switch {
		case c == 'S':
			// Go reads a fraction only behind a point or a comma.
			if i == 0 || (pattern[i-1] != '.' && pattern[i-1] != ',') || run-i > 9 {
				return way, Refuse("date format %q: %s has to follow a point", cut(pattern), letters)
			}
			layout.WriteString(strings.Repeat("0", run-i))
			way.has.fraction = true
		case javaLetters[letters] == "":
			return way, Refuse("date format %q: %q is not supported", cut(pattern), letters)
		default:
			layout.WriteString(javaLetters[letters])
		}
		way.has.hour = way.has.hour || c == 'H' || c == 'h'
		way.has.minute = way.has.minute || c == 'm'
		way.has.second = way.has.second || c == 's'
		i = run
	}
	way.layout = layout.String()
	if way.layout == "" {
		return way, Refuse("a date format is empty")
	}
	return way, nil
}

// Parse reads a date. One that has no zone is in the given one. With up, the
// parts of the day that it does not have are the last ones that there are.
func (f DateFormat) Parse(text string, zone *time.Location, up bool) (time.Time, error) {
	for _, way := range f.ways {
		if t, ok := way.parse(text, zone, up); ok {
			return t, nil
		}
	}
	return time.Time{}, &Error{Type: "parse_exception", Reason: "failed to parse date field [" + cut(text) + "]"}
}

// Show is a date as the first way writes it, in the given zone.
func (f DateFormat) Show(t time.Time, zone *time.Location) string {
	way := f.ways[0]
	switch {
	case way.epoch > 0:
		return strconv.FormatInt(t.UnixMilli()/int64(way.epoch/time.Millisecond), 10)
	case way.optional:
		return t.In(zone).Format("2006-01-02T15:04:05.000Z07:00")
	default:
		return t.In(zone).Format(way.layout)
	}
}

func (w dateWay) parse(text string, zone *time.Location, up bool) (time.Time, bool) {
	switch {
	case w.epoch > 0:
		n, err := strconv.ParseInt(text, 10, 64)
		limit := int64(1<<62) / int64(time.Millisecond) // far beyond what dates have
		if err != nil || n > limit || n < -limit {
			return time.Time{}, false
		}
		if w.epoch == time.Second {
			return time.Unix(n, 0), true
		}
		return time.UnixMilli(n), true
	case w.optional:
		return parseISO(text, zone, up)
	}
	t, err := time.ParseInLocation(w.layout, text, zone)
	if err != nil {
		return t, false
	}
	if !strings.Contains(w.layout, "06") {
		t = t.AddDate(1970-t.Year(), 0, 0)
	}
	return fill(t, w.has, up), true
}

// fill sets the parts of the day that a date does not have to the last ones.
func fill(t time.Time, has dateParts, up bool) time.Time {
	if !up {
		return t
	}
	if !has.hour {
		t = t.Add(23 * time.Hour)
	}
	if !has.minute {
		t = t.Add(59 * time.Minute)
	}
	if !has.second {
		t = t.Add(59 * time.Second)
	}
	if !has.fraction {
		t = t.Add(999 * time.Millisecond)
	}
	return t
}

// isoSteps are the ways in which ISO 8601 can be cut short.
var isoSteps = []struct {
	layout string
	has    dateParts
}{
	{"2006", dateParts{}},
	{"2006-01", dateParts{}},
	{"2006-01-02", dateParts{}},
	{"2006-01-02T15", dateParts{hour: true}},
	{"2006-01-02T15:04", dateParts{hour: true, minute: true}},
	{"2006-01-02T15:04:05", dateParts{hour: true, minute: true, second: true}},
}

func parseISO(text string, zone *time.Location, up bool) (time.Time, bool) {
	date, clock, hasClock := strings.Cut(text, "T")
	zoneAt := -1
	if hasClock {
		zoneAt = strings.IndexAny(clock, "Z+-")
	}
	if zoneAt >= 0 {
		var err error
		if zone, err = Zone(clock[zoneAt:]); err != nil {
			return time.Time{}, false
		}
		clock = clock[:zoneAt]
	}
	whole := date
	if hasClock && clock != "" { // "2026-11-23T" is a date too
		whole = date + "T" + clock
	}
	point := strings.IndexAny(whole, ".,")
	for _, step := range isoSteps {
		has := step.has
		if point >= 0 {
			has.fraction = has.second
			if point != len(step.layout) {
				continue
			}
		} else if len(whole) != len(step.layout) {
			continue
		}
		t, err := time.ParseInLocation(step.layout, whole, zone)
		return fill(t, has, up), err == nil
	}
	return time.Time{}, false
}
