package e2e

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"strconv"
	"strings"
	"time"
)

// field is one JSON field of a random record: its text in the JSON and, for
// texts, what that text means.
type field struct {
	literal string // as it stands in the JSON
	text    string // of a JSON string, unquoted
	quoted  bool
}

// randomRecord is one record of a random topic and where it went.
type randomRecord struct {
	partition  int32
	offset     int64
	timestamp  time.Time
	key, value []byte
	headers    [][2]string
	fields     map[string]field // nil: the value is no JSON object
}

// columnType is a JSON column's type as docs/formats/parquet.md has it.
type columnType string

const (
	boolColumn      columnType = "BOOLEAN"
	int64Column     columnType = "BIGINT"
	doubleColumn    columnType = "DOUBLE"
	timestampColumn columnType = "TIMESTAMPTZ"
	textColumn      columnType = "VARCHAR"
)

func typeOf(f field) columnType {
	switch {
	case f.quoted:
		if _, err := time.Parse(time.RFC3339Nano, f.text); err == nil {
			return timestampColumn
		}
		return textColumn
	case f.literal == "true" || f.literal == "false":
		return boolColumn
	}
	if _, err := strconv.ParseInt(f.literal, 10, 64); err == nil {
		return int64Column
	}
	return doubleColumn
}

// columnsOf are the columns of a table with these records: the narrowest type
// that holds all of a field's values.
func columnsOf(records []randomRecord) (names []string, types map[string]columnType) {
	types = map[string]columnType{}
	for _, r := range records {
		for name, f := range r.fields {
			have, known := types[name]
			switch got := typeOf(f); {
			case !known, have == got:
				types[name] = got
			case have == doubleColumn && got == int64Column, have == int64Column && got == doubleColumn:
				types[name] = doubleColumn
			default:
				types[name] = textColumn
			}
		}
	}
	for name := range types {
		names = append(names, name)
	}
	sort.Strings(names)
	return names, types
}

// randomRecords makes n records whose JSON has every kind of column. In the
// second half of a topic's life fields come, go and change their type.
func randomRecords(r *rand.Rand, n, partitions int, secondHalf bool) []randomRecord {
	cities := []string{"Oslo", "Paris", "München", "", "New York", "São Paulo", "o'Hara", `qu"ote`, "paris"}
	begin := time.Date(2026, 3, 30, 21, 0, 0, 0, time.UTC)
	records := make([]randomRecord, n)
	for i := range records {
		rec := randomRecord{
			partition: int32(r.IntN(partitions)),
			// Three days, out of order: late records of old days.
			timestamp: begin.Add(time.Duration(i)*17*time.Second + time.Duration(r.IntN(7_200_000))*time.Millisecond),
		}
		switch r.IntN(30) {
		case 0, 1, 2:
		case 3:
			rec.key = fmt.Appendf(nil, "Köln%d", r.IntN(9))
		case 4:
			rec.key = []byte{0xff, 'k', byte(r.IntN(9))} // no text
		default:
			rec.key = fmt.Appendf(nil, "k%d", r.IntN(n/4+1))
		}
		// DuckDB's own maps have no key twice.
		for _, name := range [][]string{nil, {"trace"}, {"trace", "host"}}[r.IntN(3)] {
			rec.headers = append(rec.headers, [2]string{name, fmt.Sprint(r.IntN(100))})
		}
		switch r.IntN(20) {
		case 0: // a tombstone
		case 1:
			rec.value = []byte("plain text, no JSON " + fmt.Sprint(i))
		case 2:
			rec.value = []byte{}
		case 3:
			rec.value = []byte{'{', 0xc3, byte(i)}
		default:
			rec.fields = randomFields(r, cities, secondHalf, i)
			rec.value = encodeFields(rec.fields, r)
		}
		records[i] = rec
	}
	return records
}

func randomFields(r *rand.Rand, cities []string, secondHalf bool, i int) map[string]field {
	number := func(v any) field { return field{literal: fmt.Sprint(v)} }
	text := func(s string) field { return field{literal: strconv.Quote(s), text: s, quoted: true} }
	f := map[string]field{
		"n":  number(r.IntN(1000) - 500),
		"id": number(int64(i) + r.Int64N(1<<60)),
	}
	maybe := func(name string, v field) {
		if r.IntN(8) > 0 {
			f[name] = v
		}
	}
	maybe("city", text(cities[r.IntN(len(cities))]))
	maybe("amount", number(strconv.FormatFloat(float64(r.IntN(100_000))/64, 'f', -1, 64)))
	maybe("ok", number(r.IntN(2) == 0))
	maybe("at", text(time.Date(2026, 1, 1, 0, 0, r.IntN(86_400*60), r.IntN(1000)*1000, time.UTC).Format(time.RFC3339Nano)))
	if r.IntN(4) == 0 { // mixed within a file: text
		maybe("code", text(fmt.Sprintf("x%d", r.IntN(30))))
	} else {
		maybe("code", number(r.IntN(30)))
	}
	maybe("json_key", number(r.IntN(20))) // of the field "key"
	if secondHalf {
		maybe("late", number(r.IntN(50)))
		maybe("grows", number(strconv.FormatFloat(float64(r.IntN(50))+0.5, 'f', -1, 64))) // int64 before: double
		maybe("turns", text(fmt.Sprintf("v%d", r.IntN(9))))                               // int64 before: text
		maybe("flag", number(r.IntN(3)))                                                  // bool before: text
		maybe("size", text("huge"))                                                       // double before: text, as the JSON has it
		maybe("since", text("today"))                                                     // timestamp before: text
	} else {
		maybe("early", text(fmt.Sprintf("e%d", r.IntN(50))))
		maybe("grows", number(r.IntN(50)))
		maybe("turns", number(r.IntN(9)))
		maybe("flag", number(r.IntN(2) == 0))
		maybe("size", number(fmt.Sprintf("%d.5", r.IntN(20))))
		zone := time.FixedZone("", 3600*(r.IntN(4)-1))
		maybe("since", text(time.Date(2026, 2, 1, r.IntN(48), 0, 0, 0, zone).Format(time.RFC3339)))
	}
	return f
}

// encodeFields writes the object, with what gives no column: an array, an
// object and a null.
func encodeFields(fields map[string]field, r *rand.Rand) []byte {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	sort.Strings(names)
	var b strings.Builder
	b.WriteString("{")
	for _, name := range names {
		fmt.Fprintf(&b, "%q:%s,", strings.TrimPrefix(name, "json_"), fields[name].literal)
	}
	fmt.Fprintf(&b, `"deep":{"x":"d%d","y":[1,2,%d]},"none":null}`, r.IntN(20), r.IntN(20))
	return []byte(b.String())
}
