package textindex

import (
	"bytes"
	"time"
)

// parseDate reads a timestamp of RFC 3339 into ms since 1970. Digits below are
// cut off. What only looks like one (a 30th of February) is none.
func parseDate(b []byte) (int64, bool) {
	if len(b) < len("2006-01-02T15:04:05Z") || len(b) > 40 || b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' {
		return 0, false
	}
	year, ok1 := decimal(b[0:4])
	month, ok2 := decimal(b[5:7])
	day, ok3 := decimal(b[8:10])
	hour, ok4 := decimal(b[11:13])
	minute, ok5 := decimal(b[14:16])
	second, ok6 := decimal(b[17:19])
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6) || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	ms, rest := 0, b[19:]
	if rest[0] == '.' {
		end := digits(rest, 1)
		if end == 1 || end == len(rest) {
			return 0, false
		}
		for i := 1; i < 4; i++ {
			ms *= 10
			if i < end {
				ms += int(rest[i] - '0')
			}
		}
		rest = rest[end:]
	}
	east, ok := zone(rest)
	if !ok {
		return 0, false
	}
	days := daysSince1970(year, month, day)
	if day > 28 && daysSince1970(year, month+1, 1)-days < 1 {
		return 0, false // the month is shorter
	}
	return (days*86400+int64(hour*3600+minute*60+second-east))*1000 + int64(ms), true
}

// parseDay reads what Elasticsearch calls strict_date_optional_time, as far as it
// is told without doubt: 2006, 2006-01, 2006-01-02, with a time down to hours,
// minutes, seconds or fractions, with a zone or, without one, in UTC.
func parseDay(b []byte) (int64, bool) {
	if ms, ok := parseDate(b); ok || len(b) > 40 {
		return ms, ok
	}
	date, clock := b, []byte(nil)
	if at := bytes.IndexByte(b, 'T'); at >= 0 {
		date, clock = b[:at], b[at+1:]
	}
	var full [64]byte
	text := append(full[:0], date...)
	switch len(date) {
	case len("2006"):
		text = append(text, "-01-01T"...)
	case len("2006-01"):
		text = append(text, "-01T"...)
	case len("2006-01-02"):
		text = append(text, 'T')
	default:
		return 0, false
	}
	east := []byte("Z")
	if at := bytes.IndexAny(clock, "Z+-"); at >= 0 {
		clock, east = clock[:at], clock[at:]
	}
	text = append(text, clock...)
	switch len(clock) {
	case 0:
		text = append(text, "00:00:00"...)
	case len("15"):
		text = append(text, ":00:00"...)
	case len("15:04"):
		text = append(text, ":00"...)
	}
	return parseDate(append(text, east...))
}

// zone reads "Z" or "±hh:mm" into seconds east of Greenwich.
func zone(b []byte) (int, bool) {
	if len(b) == 1 {
		return 0, b[0] == 'Z'
	}
	if len(b) != 6 || b[0] != '+' && b[0] != '-' || b[3] != ':' {
		return 0, false
	}
	hours, ok1 := decimal(b[1:3])
	minutes, ok2 := decimal(b[4:6])
	if !ok1 || !ok2 || hours > 23 || minutes > 59 {
		return 0, false
	}
	east := hours*3600 + minutes*60
	if b[0] == '-' {
		east = -east
	}
	return east, true
}

func decimal(b []byte) (int, bool) {
	v := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int(c-'0')
	}
	return v, true
}

// daysSince1970 counts days; month 13 is January of the next year.
func daysSince1970(year, month, day int) int64 {
	return time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Unix() / 86400
}
