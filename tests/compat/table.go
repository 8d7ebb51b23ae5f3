package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// results are what was found: client, then capability.
type results map[string]*column

type column struct {
	version string
	cells   map[string]result
}

// add keeps one result; the answer names what is wrong with it.
func (f results) add(r result) string {
	if !slices.ContainsFunc(clients, func(c client) bool { return c.key == r.Client }) {
		return fmt.Sprintf("nobody knows the client %s", r.Client)
	}
	if !slices.ContainsFunc(capabilities, func(c capability) bool { return c.name == r.Capability }) {
		return fmt.Sprintf("nobody knows the capability %s", r.Capability)
	}
	c := f[r.Client]
	if c == nil {
		c = &column{version: r.Version, cells: map[string]result{}}
		f[r.Client] = c
	}
	if c.version != r.Version {
		return fmt.Sprintf("%s is of version %s and of version %s", r.Client, c.version, r.Version)
	}
	if _, twice := c.cells[r.Capability]; twice {
		return fmt.Sprintf("%s says %s twice", r.Client, r.Capability)
	}
	c.cells[r.Capability] = r
	return ""
}

func (f results) count() (n int) {
	for _, c := range f {
		n += len(c.cells)
	}
	return n
}

// unexpected lists failures that are no known gaps, and gaps that are none.
func unexpected(f results) (problems []string) {
	for key, c := range f {
		for name, r := range c.cells {
			known := isGap(key, name)
			switch {
			case !r.OK && !known:
				problems = append(problems, fmt.Sprintf("%s %s cannot: %s: %s", key, c.version, name, short(r.Detail)))
			case r.OK && known:
				problems = append(problems, fmt.Sprintf("%s can: %s; take it off the gaps", key, name))
			}
		}
	}
	return problems
}

// short is the beginning of what was shown whole above.
func short(detail string) string {
	const most = 200
	if r := []rune(detail); len(r) > most {
		return string(r[:most]) + "…"
	}
	return detail
}

const (
	can    = "✓"
	cannot = "✗"
	none   = "–"
)

func (f results) cell(client, capability string) string {
	c := f[client]
	if c == nil {
		return none
	}
	r, ok := c.cells[capability]
	switch {
	case !ok:
		return none
	case r.OK:
		return can
	}
	return cannot
}

// shown are the clients in tools' columns or the others'.
func shown(f results, tools bool) (columns []client) {
	for _, c := range clients {
		if f[c.key] != nil && isTools(c.key) == tools {
			columns = append(columns, c)
		}
	}
	return columns
}

// Kafka's own tools: each row is a tool, so they make a table of their own.
func isTools(client string) bool { return client == "kafka-tools" }

func isTool(capability string) bool { return strings.HasPrefix(capability, "kafka-") }

// page is docs/compatibility.md.
func page(f results) string {
	var b strings.Builder
	b.WriteString(`# Compatibility

Made by ` + "`make compat UPDATE=1`" + `, which runs each of these clients, from its published
package, against the built binary; ` + "`make compat`" + ` does the same and fails when this page is not
what it finds. What a row checks is in [tests/compat](../tests/compat/README.md).

✓ works as against Apache Kafka · ✗ does not yet · – the client has no such feature, or it is not tried with it

`)
	b.WriteString(table(f, false))
	if len(shown(f, true)) > 0 {
		b.WriteString("\n## Kafka's own command-line tools\n\n")
		b.WriteString(table(f, true))
	}
	var open []string
	for _, g := range gaps {
		open = append(open, fmt.Sprintf("- %s, %s: %s\n", titleOf(g.client), strings.Join(g.capabilities, ", "), g.why))
	}
	if len(open) > 0 {
		b.WriteString("\n## What does not work yet\n\n" + strings.Join(open, ""))
	}
	return b.String()
}

func titleOf(key string) string {
	for _, c := range clients {
		if c.key == key {
			return c.title
		}
	}
	return key
}

func table(f results, tools bool) string {
	columns := shown(f, tools)
	var b strings.Builder
	b.WriteString("| |")
	for _, c := range columns {
		fmt.Fprintf(&b, " %s %s |", c.title, f[c.key].version)
	}
	b.WriteString("\n|---|" + strings.Repeat(":-:|", len(columns)) + "\n")
	for _, row := range capabilities {
		if isTool(row.name) != tools {
			continue
		}
		cells := make([]string, len(columns))
		for i, c := range columns {
			cells[i] = f.cell(c.key, row.name)
		}
		if !slices.ContainsFunc(cells, func(cell string) bool { return cell != none }) {
			continue
		}
		fmt.Fprintf(&b, "| %s | %s |\n", row.does, strings.Join(cells, " | "))
	}
	return b.String()
}

// terminal is the table for a person at a terminal.
func terminal(f results) string {
	var b strings.Builder
	for _, tools := range []bool{false, true} {
		columns := shown(f, tools)
		if len(columns) == 0 {
			continue
		}
		const first = 30
		fmt.Fprintf(&b, "%-*s", first, "")
		for _, c := range columns {
			fmt.Fprintf(&b, "  %s", head(f, c))
		}
		b.WriteByte('\n')
		for _, row := range capabilities {
			if isTool(row.name) != tools {
				continue
			}
			fmt.Fprintf(&b, "%-*s", first, row.name)
			for _, c := range columns {
				fmt.Fprintf(&b, "  %-*s", len(head(f, c))+len(can)-1, f.cell(c.key, row.name))
			}
			b.WriteByte('\n')
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func head(f results, c client) string { return c.key + " " + f[c.key].version }

// stale compares what was found with the page. Where a driver did not run, its
// columns are not judged.
func stale(kept string, f results, ran []driver) (problems []string) {
	const remedy = "; `make compat UPDATE=1` writes it"
	before, err := readPage(kept)
	if err != nil {
		return []string{fmt.Sprintf("the page: %v%s", err, remedy)}
	}
	for _, d := range ran {
		for _, key := range d.clients {
			now, was := f[key], before[key]
			switch {
			case now == nil && was == nil:
				continue
			case now == nil:
				problems = append(problems, fmt.Sprintf("%s is on the page and said nothing", key))
				continue
			case was == nil:
				problems = append(problems, fmt.Sprintf("%s is not on the page%s", key, remedy))
				continue
			}
			i := slices.IndexFunc(clients, func(c client) bool { return c.key == key })
			if now.version != was.version && !clients[i].system {
				problems = append(problems, fmt.Sprintf("%s is of version %s, on the page of %s", key, now.version, was.version))
			}
			now.version = was.version // one difference, told or allowed, is told once
			for _, row := range capabilities {
				if a, b := f.cell(key, row.name), before.cell(key, row.name); a != b {
					problems = append(problems, fmt.Sprintf("%s %s: found %s, on the page %s", key, row.name, a, b))
				}
			}
		}
	}
	if len(ran) == len(drivers) && len(problems) == 0 && page(f) != kept {
		problems = append(problems, "the page's words are not what is written now"+remedy)
	}
	return problems
}

// keep takes the columns of the drivers that did not run from the page.
func (f results) keep(path string, ran []driver) error {
	if len(ran) == len(drivers) {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	kept, err := readPage(string(text))
	if err != nil {
		return fmt.Errorf("the page: %w; run all drivers", err)
	}
	for key, c := range kept {
		if !slices.ContainsFunc(ran, func(d driver) bool { return slices.Contains(d.clients, key) }) {
			f[key] = c
		}
	}
	return nil
}

// readPage reads what page wrote.
func readPage(text string) (results, error) {
	f := results{}
	var columns []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			columns = nil
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case strings.HasPrefix(line, "|---"):
		case columns == nil:
			for _, head := range cells[1:] {
				i := strings.LastIndexByte(head, ' ')
				if i < 0 {
					return nil, fmt.Errorf("a column without a version: %q", head)
				}
				j := slices.IndexFunc(clients, func(c client) bool { return c.title == head[:i] })
				if j < 0 {
					return nil, fmt.Errorf("nobody knows %q", head[:i])
				}
				columns = append(columns, clients[j].key)
				f[clients[j].key] = &column{version: head[i+1:], cells: map[string]result{}}
			}
		case len(cells) != len(columns)+1:
			return nil, fmt.Errorf("a row of another width: %q", line)
		default:
			i := slices.IndexFunc(capabilities, func(c capability) bool { return c.does == cells[0] })
			if i < 0 {
				return nil, fmt.Errorf("nobody knows the row %q", cells[0])
			}
			for k, cell := range cells[1:] {
				if cell != none {
					f[columns[k]].cells[capabilities[i].name] = result{OK: cell == can}
				}
			}
		}
	}
	return f, nil
}
