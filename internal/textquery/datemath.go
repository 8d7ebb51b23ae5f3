package textquery

import (
	"strconv"
	"strings"
	"time"
)

// DateMath is what a bound of a range says about a time: a date in a format, or
// "now", and steps from there: "now-1d/d", "2026-11-23||+1M/M".
//
// With up, the last millisecond that the text can mean is the result, and else
// the first: what "greater than this day" and "less or equal to this day" mean.
// The month and the day that a date does not have are January and the 1st in
// both cases, as in Elasticsearch.
func DateMath(text string, format DateFormat, zone *time.Location, now time.Time, up bool) (time.Time, error) {
	if steps, ok := strings.CutPrefix(text, "now"); ok {
		return walk(now, steps, zone, up, text)
	}
	date, steps, _ := strings.Cut(text, "||")
	t, err := format.Parse(date, zone, up)
	if err != nil {
		return t, err
	}
	return walk(t, steps, zone, up, text)
}

// walk applies +1d, -2h and /M, one after the other.
func walk(t time.Time, steps string, zone *time.Location, up bool, whole string) (time.Time, error) {
	for steps != "" {
		op := steps[0]
		rest := steps[1:]
		digits := 0
		for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
			digits++
		}
		n := 1
		if digits > 0 {
			var err error
			if n, err = strconv.Atoi(rest[:digits]); err != nil || n > 1_000_000_000 {
				return t, Refuse("the number in date math %q is too large", cut(whole))
			}
		}
		if digits == len(rest) || (op == '/' && n != 1) {
			return t, Refuse("cannot read %q as date math", cut(whole))
		}
		unit := rest[digits]
		steps = rest[digits+1:]
		var ok bool
		switch op {
		case '+':
			t, ok = add(t, n, unit, zone)
		case '-':
			t, ok = add(t, -n, unit, zone)
		case '/':
			if t, ok = Floor(t, unit, zone); ok && up {
				t, _ = add(t, 1, unit, zone) // the unit is known
				t = t.Add(-time.Millisecond)
			}
		}
		if !ok {
			return t, Refuse("cannot read %q as date math: %q is no operator and unit", cut(whole), string([]byte{op, unit}))
		}
	}
	return t, nil
}

func add(t time.Time, n int, unit byte, zone *time.Location) (time.Time, bool) {
	t = t.In(zone)
	switch unit {
	case 'y':
		return months(t, 12*n), true
	case 'M':
		return months(t, n), true
	case 'w':
		return t.AddDate(0, 0, 7*n), true
	case 'd':
		return t.AddDate(0, 0, n), true
	case 'h', 'H':
		return t.Add(time.Duration(n) * time.Hour), true
	case 'm':
		return t.Add(time.Duration(n) * time.Minute), true
	case 's':
		return t.Add(time.Duration(n) * time.Second), true
	}
	return t, false
}

// months adds months, and stays in the month where the day is not in it: a month
// after the 31st of January is the end of February.
func months(t time.Time, n int) time.Time {
	moved := t.AddDate(0, n, 0)
	if moved.Day() != t.Day() {
		moved = moved.AddDate(0, 0, -moved.Day())
	}
	return moved
}

// Floor is the beginning of the unit of time in which t lies: y, q (a quarter),
// M, w (from Monday on), d, h, m, s. It reports whether there is such a unit.
func Floor(t time.Time, unit byte, zone *time.Location) (time.Time, bool) {
	t = t.In(zone)
	year, month, day := t.Date()
	switch unit {
	case 'y':
		return time.Date(year, 1, 1, 0, 0, 0, 0, zone), true
	case 'q':
		return time.Date(year, month-(month-1)%3, 1, 0, 0, 0, 0, zone), true
	case 'M':
		return time.Date(year, month, 1, 0, 0, 0, 0, zone), true
	case 'w':
		return time.Date(year, month, day-(int(t.Weekday())+6)%7, 0, 0, 0, 0, zone), true
	case 'd':
		return time.Date(year, month, day, 0, 0, 0, 0, zone), true
	case 'h', 'H':
		// By the clock of the zone, which may be half an hour off, and without
		// asking which of two equal hours is meant when clocks are put back.
		return t.Add(-time.Duration(t.Minute())*time.Minute - time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond())), true
	case 'm':
		return t.Add(-time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond())), true
	case 's':
		return t.Add(-time.Duration(t.Nanosecond())), true
	}
	return t, false
}

// Zone reads "+01:00", "Z" and "Europe/Berlin".
func Zone(name string) (*time.Location, error) {
	if name == "" || name == "Z" || strings.EqualFold(name, "UTC") {
		return time.UTC, nil
	}
	if name[0] == '+' || name[0] == '-' {
		for _, layout := range []string{"-07:00", "-0700", "-07"} {
			if t, err := time.Parse(layout, name); err == nil {
				_, offset := t.Zone()
				return time.FixedZone(name, offset), nil
			}
		}
		return nil, Refuse("unknown time zone %q", cut(name))
	}
	if strings.EqualFold(name, "local") {
		return nil, Refuse("unknown time zone %q", cut(name)) // it would be the server's
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, Refuse("unknown time zone %q", cut(name))
	}
	return zone, nil
}

// intervals are the units of a fixed length of time.
var intervals = []struct {
	unit string
	in   time.Duration
}{{"ms", time.Millisecond}, {"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}, {"d", 24 * time.Hour}, {"micros", time.Microsecond}, {"nanos", time.Nanosecond}}

// parseInterval reads "30s", "90m", "1d", "-6h".
func parseInterval(s string) (time.Duration, error) {
	for _, i := range intervals {
		digits, ok := strings.CutSuffix(s, i.unit)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimPrefix(digits, "+"), 10, 64)
		if err != nil {
			continue
		}
		if n > int64(1<<63-1)/int64(i.in) || n < -int64(1<<63-1)/int64(i.in) {
			return 0, Refuse("%q is too long a time", cut(s))
		}
		return time.Duration(n) * i.in, nil
	}
	return 0, Refuse("cannot read %q as a length of time like 30s, 90m, 1h or 1d", cut(s))
}
