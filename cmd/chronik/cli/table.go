package cli

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// table is text in aligned columns, as psql draws them.
type table struct {
	columns []string
	numeric []bool // aligned to the right
	rows    [][]string
}

// newTable makes a table. A column whose name begins with '>' holds numbers.
func newTable(columns ...string) *table {
	t := &table{numeric: make([]bool, len(columns))}
	for i, c := range columns {
		t.numeric[i] = strings.HasPrefix(c, ">")
		t.columns = append(t.columns, strings.TrimPrefix(c, ">"))
	}
	return t
}

func (t *table) add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	t.rows = append(t.rows, row)
}

// oneLine keeps a cell on its line.
var oneLine = strings.NewReplacer("\n", `\n`, "\r", `\r`, "\t", `\t`)

func (t *table) write(w io.Writer) error {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = utf8.RuneCountInString(c)
	}
	for _, row := range t.rows {
		for i := range row {
			row[i] = oneLine.Replace(row[i])
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	var b strings.Builder
	line := func(cells []string) {
		for i, cell := range cells {
			if i > 0 {
				b.WriteString(" | ")
			}
			padding := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			switch {
			case t.numeric[i]:
				b.WriteString(padding + cell)
			case i == len(cells)-1:
				b.WriteString(cell)
			default:
				b.WriteString(cell + padding)
			}
		}
		b.WriteByte('\n')
	}
	line(t.columns)
	for i, width := range widths {
		if i > 0 {
			b.WriteString("-+-")
		}
		b.WriteString(strings.Repeat("-", width))
	}
	b.WriteByte('\n')
	for _, row := range t.rows {
		line(row)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeCSV writes the same cells with commas, for programs.
func (t *table) writeCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write(t.columns); err != nil {
		return err
	}
	return out.WriteAll(t.rows)
}

// writeAs writes the form that --output names, which is table or csv.
func (t *table) writeAs(w io.Writer, output string) error {
	if output == "csv" {
		return t.writeCSV(w)
	}
	return t.write(w)
}

// writeJSON writes v for programs, indented so that people can read it too.
func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// plural is "1 record", "2 records".
func plural[N int | int64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return grouped(int64(n)) + " " + what + "s"
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int64) string {
	digits := fmt.Sprint(n)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return sign + digits
}
