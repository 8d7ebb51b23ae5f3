//go:build !nosql

package engine

import "fmt"

// DuckDB takes a TIMESTAMPTZ apart by the calendar of its time zone, which costs
// 0.5 to 1.2 µs a value. Ours is always UTC, where the TIMESTAMP of the same
// microseconds has the same parts, at a tenth of that: but for what is infinite and
// has no microseconds, and before our era, where the two count years differently.

// times are the built-in functions of time, with that shortcut.
var times = []string{
	truncation("date_trunc"), truncation("datetrunc"),
	truncation("time_bucket") + ", (how, t, origin) AS system.main.time_bucket(how, t, origin)",
	shortcut("date_part", "part, ", ""), shortcut("datepart", "part, ", ""),
	timePart("year"), timePart("quarter"), timePart("month"), timePart("week"), timePart("day"), timePart("dayofmonth"),
	timePart("dayofweek"), timePart("isodow"), timePart("dayofyear"), timePart("hour"), timePart("minute"),
}

// truncation is a function that makes a time of a time.
func truncation(name string) string { return shortcut(name, "how, ", "make_timestamptz(epoch_us(%s))") }

// timePart is one that makes a number of a time.
func timePart(name string) string { return shortcut(name, "", "") }

// shortcut is a built-in function with arguments before the time. Back, if it is not
// empty, makes a TIMESTAMPTZ of its result again. There is an overload for each
// type that DuckDB would rather make a TIMESTAMPTZ than leave as it is.
func shortcut(name, before, back string) string {
	call := func(t string) string { return fmt.Sprintf("system.main.%s(%s%s)", name, before, t) }
	short := call("make_timestamp(epoch_us(t))")
	if back != "" {
		short = fmt.Sprintf(back, short)
	}
	return fmt.Sprintf(`CREATE MACRO %[1]s(%[2]st TIMESTAMPTZ) AS
			CASE WHEN t >= TIMESTAMPTZ '0001-01-01 00:00:00Z' AND t < TIMESTAMPTZ 'infinity' THEN %[3]s ELSE %[4]s END,
		(%[2]st TIMESTAMP) AS %[4]s, (%[2]st DATE) AS %[4]s, (%[2]st) AS %[4]s`, name, before, short, call("t"))
}
