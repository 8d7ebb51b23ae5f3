package columnar

import (
	"fmt"
	"time"
)

// Timestamps are kept within the years 1 to 9999, so that every reader of the
// files can hold them. Producers may send anything.
var (
	timestampMsMin = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	timestampMsMax = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() - 1
)

func clampMs(ms int64) int64 { return max(timestampMsMin, min(timestampMsMax, ms)) }

// Partitioning is the span of time that a file never crosses, in UTC.
type Partitioning uint8

// The partitionings of the topic configuration.
const (
	Unpartitioned Partitioning = iota
	Hourly
	Daily
)

// ParsePartitioning reads a value of columnar.partitioning.
func ParsePartitioning(s string) (Partitioning, error) {
	switch s {
	case "none":
		return Unpartitioned, nil
	case "hourly":
		return Hourly, nil
	case "daily":
		return Daily, nil
	}
	return 0, fmt.Errorf("time partitioning %q: want none, hourly or daily", s)
}

// number is the same for two timestamps exactly when they share a partition.
func (p Partitioning) number(ms int64) int64 {
	switch p {
	case Hourly:
		return floorDivide(clampMs(ms), time.Hour.Milliseconds())
	case Daily:
		return floorDivide(clampMs(ms), 24*time.Hour.Milliseconds())
	}
	return 0
}

// Name is the name of the partition that a timestamp belongs to, as in a File.
func (p Partitioning) Name(ms int64) string { return p.name(p.number(ms)) }

// name is how the partition is called in file names and manifests:
// "2026-11-23", "2026-11-23T14", or "" when time does not part files.
func (p Partitioning) name(number int64) string {
	switch p {
	case Hourly:
		return time.UnixMilli(number * time.Hour.Milliseconds()).UTC().Format("2006-01-02T15")
	case Daily:
		return time.UnixMilli(number * 24 * time.Hour.Milliseconds()).UTC().Format("2006-01-02")
	}
	return ""
}

func floorDivide(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// parseTimestamp reads RFC 3339 ("2026-11-23T14:05:06.789+01:00", the year from
// 1 on) and returns microseconds since 1970 UTC. Digits below are cut off.
func parseTimestamp(b []byte) (int64, bool) {
	if len(b) < 20 || b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' {
		return 0, false
	}
	year, month, day := decimal(b[0:4]), decimal(b[5:7]), decimal(b[8:10])
	hour, minute, second := decimal(b[11:13]), decimal(b[14:16]), decimal(b[17:19])
	if year < 1 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) ||
		hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 {
		return 0, false
	}
	micros, rest, ok := secondFraction(b[19:])
	if !ok {
		return 0, false
	}
	offset, ok := zone(rest)
	if !ok {
		return 0, false
	}
	seconds := daysSince1970(year, month, day)*86400 + int64(hour*3600+minute*60+second-offset)
	return seconds*1e6 + int64(micros), true
}

// secondFraction reads ".digits", if there, into microseconds.
func secondFraction(b []byte) (micros int, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '.' {
		return 0, b, true
	}
	i := 1
	for scale := 100_000; i < len(b) && b[i]-'0' <= 9; i++ {
		micros += int(b[i]-'0') * scale
		scale /= 10
	}
	return micros, b[i:], i > 1
}

// zone reads "Z" or "±hh:mm" into seconds east of Greenwich.
func zone(b []byte) (int, bool) {
	if len(b) == 1 && b[0] == 'Z' {
		return 0, true
	}
	if len(b) != 6 || b[0] != '+' && b[0] != '-' || b[3] != ':' {
		return 0, false
	}
	hours, minutes := decimal(b[1:3]), decimal(b[4:6])
	if hours < 0 || hours > 23 || minutes < 0 || minutes > 59 {
		return 0, false
	}
	offset := hours*3600 + minutes*60
	if b[0] == '-' {
		offset = -offset
	}
	return offset, true
}

// decimal reads a few digits, −1 when there is anything else.
func decimal(b []byte) int {
	n := 0
	for _, c := range b {
		if c-'0' > 9 {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysSince1970 is Howard Hinnant's days_from_civil, for years from 1 on
// (howardhinnant.github.io/date_algorithms.html). time.Date takes four times
// as long.
func daysSince1970(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := year / 400
	yearOfEra := year - era*400
	dayOfYear := (153*(month-3)+2)/5 + day - 1
	dayOfEra := yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear
	return int64(era)*146097 + int64(dayOfEra) - 719468
}
