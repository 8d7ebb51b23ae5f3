package elastic

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/chronik-stream/chronik/internal/textquery"
)

// column is a column of a table for people.
type column struct {
	name    string
	aliases []string
	right   bool // numbers
	unshown bool // unless it is asked for
	about   string
}

// cell is a value of a table: what is shown, and by what it is sorted.
type cell struct {
	text   string
	number float64 // of columns of numbers
}

func word(text string) cell { return cell{text: text} }

func whole(n int64) cell { return cell{strconv.FormatInt(n, 10), float64(n)} }

// table answers rows as text, or as JSON when that is asked for.
func (c *call) table(columns []column, rows [][]cell) error {
	format := c.text("format", "")
	head, err := c.flag("v", false)
	if err != nil {
		return err
	}
	help, err := c.flag("help", false)
	if err != nil {
		return err
	}
	if err := c.sortRows(columns, rows); err != nil {
		return err
	}
	shown, err := c.shownColumns(columns)
	if err != nil {
		return err
	}
	if err := c.rest(c.Request.URL.Path); err != nil {
		return err
	}
	switch format {
	case "json":
	case "", "text":
		if format == "" && c.GetHeader("Accept") != "" && !c.media.text && c.GetHeader("Accept") != "*/*" {
			break // who accepts JSON gets it
		}
		text := textTable(columns, shown, rows, head)
		if help {
			text = helpTable(columns)
		}
		c.Data(http.StatusOK, "text/plain; charset=UTF-8", []byte(text))
		return nil
	default:
		return badRequest("URL parameter [format] is [%s], only text and json are supported", format)
	}
	return c.answer(http.StatusOK, func(w *writer) {
		w.array(func() {
			for _, row := range rows {
				w.object(func() {
					for _, i := range shown {
						w.member(columns[i].name, row[i].text)
					}
				})
			}
		})
	})
}

func find(columns []column, name string) int {
	return slices.IndexFunc(columns, func(c column) bool { return c.name == name || slices.Contains(c.aliases, name) })
}

// shownColumns are those of the parameter h, which may be patterns.
func (c *call) shownColumns(columns []column) ([]int, error) {
	text, given := c.take("h")
	var shown []int
	if !given || text == "" {
		for i := range columns {
			if !columns[i].unshown {
				shown = append(shown, i)
			}
		}
		return shown, nil
	}
	for _, name := range strings.Split(text, ",") {
		if i := find(columns, name); i >= 0 {
			shown = append(shown, i)
			continue
		}
		matched := false
		for i := range columns {
			if strings.Contains(name, "*") && textquery.MatchPattern(name, columns[i].name) {
				shown, matched = append(shown, i), true
			}
		}
		if !matched {
			return nil, badRequest("there is no column [%s]", name)
		}
	}
	return shown, nil
}

// sortRows sorts by the parameter s: columns, each with :asc or :desc.
func (c *call) sortRows(columns []column, rows [][]cell) error {
	text, given := c.take("s")
	if !given || text == "" {
		return nil
	}
	type key struct {
		column     int
		descending bool
	}
	var keys []key
	for _, part := range strings.Split(text, ",") {
		name, order, _ := strings.Cut(part, ":")
		i := find(columns, name)
		if i < 0 || order != "" && order != "asc" && order != "desc" {
			return badRequest("Unable to sort by unknown sort key `%s`", part)
		}
		keys = append(keys, key{i, order == "desc"})
	}
	slices.SortStableFunc(rows, func(a, b []cell) int {
		for _, k := range keys {
			x, y := a[k.column], b[k.column]
			order := cmp.Or(cmp.Compare(x.number, y.number), cmp.Compare(x.text, y.text))
			if !columns[k.column].right {
				order = cmp.Compare(x.text, y.text)
			}
			if k.descending {
				order = -order
			}
			if order != 0 {
				return order
			}
		}
		return 0
	})
	return nil
}

func textTable(columns []column, shown []int, rows [][]cell, head bool) string {
	var lines [][]string
	if head {
		line := make([]string, len(shown))
		for at, i := range shown {
			line[at] = columns[i].name
		}
		lines = append(lines, line)
	}
	for _, row := range rows {
		line := make([]string, len(shown))
		for at, i := range shown {
			line[at] = row[i].text
		}
		lines = append(lines, line)
	}
	widths := make([]int, len(shown))
	for _, line := range lines {
		for at, text := range line {
			widths[at] = max(widths[at], utf8.RuneCountInString(text))
		}
	}
	var out strings.Builder
	for _, line := range lines {
		for at, text := range line {
			if at > 0 {
				out.WriteByte(' ')
			}
			pad := strings.Repeat(" ", widths[at]-utf8.RuneCountInString(text))
			switch {
			case columns[shown[at]].right:
				out.WriteString(pad + text)
			case at == len(line)-1:
				out.WriteString(text)
			default:
				out.WriteString(text + pad)
			}
		}
		out.WriteByte('\n')
	}
	return out.String()
}

func helpTable(columns []column) string {
	rows := make([][]cell, len(columns))
	for i, c := range columns {
		rows[i] = []cell{word(c.name), word("|"), word(strings.Join(c.aliases, ",")), word("|"), word(c.about)}
	}
	return textTable(make([]column, 5), []int{0, 1, 2, 3, 4}, rows, false)
}

var indexColumns = []column{
	{name: "health", aliases: []string{"h"}, about: "red when nobody leads a partition"},
	{name: "status", aliases: []string{"s"}, about: "open"},
	{name: "index", aliases: []string{"i", "idx"}, about: "the topic"},
	{name: "uuid", aliases: []string{"id"}, about: "the topic's id"},
	{name: "pri", aliases: []string{"p", "shards.primary", "shardsPrimary"}, right: true, about: "partitions"},
	{name: "rep", aliases: []string{"r", "shards.replica", "shardsReplica"}, right: true, about: "0: the bucket replicates"},
	{name: "docs.count", aliases: []string{"dc", "docsCount"}, right: true, about: "records that are found"},
	{name: "docs.deleted", aliases: []string{"dd", "docsDeleted"}, right: true, about: "records that are still indexed and not found"},
	{name: "store.size", aliases: []string{"ss", "storeSize"}, right: true, about: "bytes of the index in the bucket"},
	{name: "pri.store.size", right: true, about: "bytes of the index in the bucket"},
	{name: "dataset.size", right: true, about: "bytes of the index in the bucket"},
}

func (c *call) catIndices() error {
	x, err := c.expansion()
	if err != nil {
		return err
	}
	c.harmless("local", "master_timeout", "include_unloaded_segments", "time", "pri")
	unit, err := c.unit()
	if err != nil {
		return err
	}
	wanted := c.text("health", "")
	found, err := c.topics(c.Param("index"), x)
	if err != nil {
		return err
	}
	if err := c.nearOnly(found); err != nil {
		return err
	}
	counts, err := c.surface.o.Backend.Counts(c.Request.Context(), namesOf(found))
	if err != nil {
		return err
	}
	rows := [][]cell{}
	for _, t := range found {
		health := healthOf(c.surface.o.Backend.Leaderless(t.Name))
		if wanted != "" && wanted != health {
			continue
		}
		n := counts[t.Name]
		size := cell{unit(n.Bytes), float64(n.Bytes)}
		rows = append(rows, []cell{word(health), word("open"), word(t.Name), word(t.ID), whole(int64(t.Partitions)), whole(0),
			whole(n.Documents), whole(n.Deleted), size, size, size})
	}
	return c.table(indexColumns, rows)
}

// sizes are units of bytes.
var sizes = []struct {
	names []string
	bytes float64
}{
	{[]string{"b"}, 1}, {[]string{"kb", "k"}, 1 << 10}, {[]string{"mb", "m"}, 1 << 20}, {[]string{"gb", "g"}, 1 << 30}, {[]string{"tb", "t"}, 1 << 40}, {[]string{"pb", "p"}, 1 << 50},
}

// unit is how bytes are shown: in the unit that fits, or a whole number of the one
// that is asked for.
func (c *call) unit() (func(int64) string, error) {
	text := c.text("bytes", "")
	if text == "" {
		return human, nil
	}
	for _, s := range sizes {
		if slices.Contains(s.names, text) {
			return func(n int64) string { return strconv.FormatInt(n/int64(s.bytes), 10) }, nil
		}
	}
	return nil, badRequest("URL parameter [bytes] is [%s], which is no unit", text)
}

func human(n int64) string {
	at := 0
	for at+1 < len(sizes) && float64(n) >= sizes[at+1].bytes {
		at++
	}
	v := strconv.FormatFloat(float64(n)/sizes[at].bytes, 'f', 1, 64)
	return strings.TrimSuffix(v, ".0") + sizes[at].names[0]
}

var healthColumns = []column{
	{name: "epoch", aliases: []string{"t", "time"}, right: true, about: "seconds since 1970"},
	{name: "timestamp", aliases: []string{"ts", "hms", "hhmmss"}, about: "time of day"},
	{name: "cluster", aliases: []string{"cl"}, about: "name of the cluster"},
	{name: "status", aliases: []string{"st"}, about: "red when nobody leads a partition"},
	{name: "node.total", aliases: []string{"nt", "nodeTotal"}, right: true, about: "brokers and query nodes"},
	{name: "node.data", aliases: []string{"nd", "nodeData"}, right: true, about: "brokers"},
	{name: "shards", aliases: []string{"sh", "shards.total", "shardsTotal"}, right: true, about: "partitions of searchable topics that somebody leads"},
	{name: "pri", aliases: []string{"p", "shards.primary", "shardsPrimary"}, right: true, about: "the same"},
	{name: "relo", aliases: []string{"r", "shards.relocating", "shardsRelocating"}, right: true, about: "0"},
	{name: "init", aliases: []string{"i", "shards.initializing", "shardsInitializing"}, right: true, about: "0"},
	{name: "unassign", aliases: []string{"u", "shards.unassigned", "shardsUnassigned"}, right: true, about: "partitions that nobody leads"},
	{name: "pending_tasks", aliases: []string{"pt", "pendingTasks"}, right: true, about: "0"},
	{name: "max_task_wait_time", aliases: []string{"mtwt", "maxTaskWaitTime"}, right: true, about: "-"},
	{name: "active_shards_percent", aliases: []string{"asp", "activeShardsPercent"}, right: true, about: "share of partitions that somebody leads"},
}

func (c *call) catHealth() error {
	c.harmless("local", "master_timeout", "time", "bytes")
	stamps, err := c.flag("ts", true)
	if err != nil {
		return err
	}
	h, err := c.surface.health("*")
	if err != nil {
		return err
	}
	columns := slices.Clone(healthColumns)
	columns[0].unshown, columns[1].unshown = !stamps, !stamps
	now := time.Now().UTC()
	return c.table(columns, [][]cell{{whole(now.Unix()), word(now.Format(time.TimeOnly)), word(h.cluster.Name), word(h.status),
		whole(int64(h.cluster.Nodes)), whole(int64(h.cluster.Brokers)), whole(int64(h.active)), whole(int64(h.active)), whole(0), whole(0),
		whole(int64(h.unassigned)), whole(0), word("-"), word(fmt.Sprintf("%.1f%%", h.percent()))}})
}

// catHelp lists the tables.
func (c *call) catHelp() error {
	if err := c.rest(c.Request.URL.Path); err != nil {
		return err
	}
	c.Data(http.StatusOK, "text/plain; charset=UTF-8", []byte("=^.^=\n/_cat/health\n/_cat/indices\n/_cat/indices/{index}\n"))
	return nil
}
