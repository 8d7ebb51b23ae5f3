package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// testdata opens a file of the real data, or skips.
func testdata(t *testing.T, parts ...string) io.Reader {
	t.Helper()
	dir := os.Getenv("CHRONIK_TESTDATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	name := filepath.Join(append([]string{dir}, parts...)...)
	file, err := os.Open(name)
	if err != nil {
		t.Skipf("no real data: %v (CHRONIK_TESTDATA names the folder)", err)
	}
	t.Cleanup(func() { file.Close() })
	if strings.HasSuffix(name, ".gz") {
		unzipped, err := gzip.NewReader(file)
		if err != nil {
			t.Fatal(err)
		}
		return unzipped
	}
	return file
}

func lines(t *testing.T, r io.Reader) [][]byte {
	t.Helper()
	var list [][]byte
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		list = append(list, bytes.Clone(scanner.Bytes()))
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

func wikiticker(t *testing.T) [][]byte {
	t.Helper()
	list := lines(t, testdata(t, "wikiticker", "wikiticker-2015-09-12-sampled.json.gz"))
	if len(list) != 39244 {
		t.Fatalf("wikiticker has %d events, want 39,244", len(list))
	}
	return list
}

// countBy counts the values of a JSON field, with the standard library's parser
// as the one to agree with.
func countBy(t *testing.T, values [][]byte, field string) map[string]int64 {
	t.Helper()
	counts := make(map[string]int64)
	for _, value := range values {
		var event map[string]any
		if err := json.Unmarshal(value, &event); err != nil {
			t.Fatal(err)
		}
		key := "<null>"
		if event[field] != nil {
			key = fmt.Sprint(event[field])
		}
		counts[key]++
	}
	return counts
}

func same(t *testing.T, what string, got, want map[string]int64) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] != want[key] {
			t.Errorf("%s: %q is %d, want %d", what, key, got[key], want[key])
		}
	}
	t.Fatalf("%s: %d groups, want %d", what, len(got), len(want))
}

// checkWikiticker holds a table against the events that went into it.
func (c *chronik) checkWikiticker(table string, events [][]byte) {
	c.t.Helper()
	if n := c.count("SELECT count(*) FROM " + table); n != int64(len(events)) {
		c.t.Fatalf("%s has %d rows, want %d", table, n, len(events))
	}
	for _, field := range []string{"channel", "countryName", "isRobot", "namespace", "metroCode"} {
		answer := c.sql(fmt.Sprintf(`SELECT %q AS k, count(*) AS n FROM %s GROUP BY 1`, field, table))
		same(c.t, table+" by "+field, answer.counts(c.t), countBy(c.t, events, field))
	}
	sum := int64(0)
	for _, event := range events {
		var e struct{ Added int64 }
		if err := json.Unmarshal(event, &e); err != nil {
			c.t.Fatal(err)
		}
		sum += e.Added
	}
	if n := c.count("SELECT sum(added)::BIGINT FROM " + table); n != sum {
		c.t.Errorf("%s: sum(added) is %d, want %d", table, n, sum)
	}
	answer := c.sql(`SELECT json_extract_string(_value, '$.namespace') AS k, count(*) AS n FROM ` + table + ` GROUP BY 1`)
	same(c.t, table+" by json_extract_string", answer.counts(c.t), countBy(c.t, events, "namespace"))
}

// sameBytes checks that a topic holds the values, each once, byte for byte, and
// in order within each partition.
func (c *chronik) sameBytes(topic string, values [][]byte, placed func(*kgo.Record) int) {
	c.t.Helper()
	records := c.readAll(topic)
	dense(c.t, records)
	total := 0
	for _, list := range records {
		total += len(list)
	}
	if total != len(values) {
		c.t.Fatalf("%s has %d records, want %d", topic, total, len(values))
	}
	for partition, list := range records {
		last := -1
		for _, r := range list {
			i := placed(r)
			if i <= last {
				c.t.Fatalf("partition %d: value %d came after value %d", partition, i, last)
			}
			last = i
			if !bytes.Equal(r.Value, values[i]) {
				c.t.Fatalf("partition %d, offset %d: other bytes than value %d", partition, r.Offset, i)
			}
		}
	}
}

func TestWikitickerWithFranzGoIsReadBackAndCounted(t *testing.T) {
	events := wikiticker(t)
	c := start(t, "--set", "compactor.first_age=1s")
	c.createTable("wiki", 6)
	// The key is the event's number, so that each record can be told apart.
	c.produceAll("wiki", events, func(i int) []byte { return fmt.Appendf(nil, "%d", i) })
	c.checkWikiticker("wiki", events) // at once after the last acknowledgement
	number := func(r *kgo.Record) int {
		var i int
		if _, err := fmt.Sscan(string(r.Key), &i); err != nil {
			t.Fatal(err)
		}
		return i
	}
	c.sameBytes("wiki", events, number)

	c.coldReaches("wiki", int64(len(events)), 2*time.Minute)
	c.checkWikiticker("wiki_cold", events)
	c.checkWikiticker("wiki", events)
	c.sameBytes("wiki", events, number)

	c.stop()
	c.restart()
	c.checkWikiticker("wiki_cold", events)
	c.checkWikiticker("wiki", events)
	c.sameBytes("wiki", events, number)
}

func TestWikitickerWithKcatIsReadBackAndCounted(t *testing.T) {
	events := wikiticker(t)
	c := start(t, "--set", "compactor.first_age=1s")
	c.createTable("wiki", 6)
	c.kcat(append(bytes.Join(events, []byte("\n")), '\n'), "-P", "-t", "wiki", "-X", "enable.idempotence=true", "-z", "snappy")
	c.checkWikiticker("wiki", events)

	// kcat prints what it consumes; partitions interleave, so compare as sets of
	// lines, and each partition's order by the offsets that it prints.
	out := lines(t, bytes.NewReader(c.kcat(nil, "-C", "-t", "wiki", "-e", "-q", "-f", `%p %o %s\n`)))
	next := make(map[int]int64)
	values := make([][]byte, 0, len(out))
	for _, line := range out {
		fields := bytes.SplitN(line, []byte(" "), 3)
		var partition int
		var offset int64
		if _, err := fmt.Sscan(string(fields[0])+" "+string(fields[1]), &partition, &offset); err != nil || offset != next[partition] {
			t.Fatalf("partition %d: offset %d, want %d: %v", partition, offset, next[partition], err)
		}
		next[partition]++
		values = append(values, fields[2])
	}
	want := slices.Clone(events)
	slices.SortFunc(values, bytes.Compare)
	slices.SortFunc(want, bytes.Compare)
	if !slices.EqualFunc(values, want, bytes.Equal) {
		t.Fatalf("kcat read %d lines that are not the %d that it wrote", len(values), len(want))
	}
	c.coldReaches("wiki", int64(len(events)), 2*time.Minute)
	c.stop()
	c.restart()
	c.checkWikiticker("wiki_cold", events)
}

var statusOfLog = regexp.MustCompile(`" (\d{3}) `)

func TestApacheLogsAreText(t *testing.T) {
	entries := lines(t, testdata(t, "elastic-examples", "apache_logs"))
	if len(entries) != 10000 {
		t.Fatalf("%d lines, want 10,000", len(entries))
	}
	want := make(map[string]int64)
	for _, entry := range entries {
		want[string(statusOfLog.FindSubmatch(entry)[1])]++
	}
	c := start(t, "--set", "compactor.first_age=1s")
	c.createTable("apache", 6)
	c.kcat(append(bytes.Join(entries, []byte("\n")), '\n'), "-P", "-t", "apache", "-z", "zstd")
	check := func(table string) {
		t.Helper()
		if n := c.count("SELECT count(*) FROM " + table); n != int64(len(entries)) {
			t.Fatalf("%s has %d rows", table, n)
		}
		answer := c.sql(`SELECT regexp_extract(decode_utf8(_value), '" (\d{3}) ', 1) AS k, count(*) AS n FROM ` + table + ` GROUP BY 1`)
		same(t, table+" by status", answer.counts(t), want)
	}
	check("apache")
	c.coldReaches("apache", int64(len(entries)), 2*time.Minute)
	check("apache_cold")

	var got [][]byte
	for _, list := range c.readAll("apache") {
		for _, r := range list {
			got = append(got, r.Value)
		}
	}
	sorted := slices.Clone(entries)
	slices.SortFunc(sorted, bytes.Compare)
	slices.SortFunc(got, bytes.Compare)
	if !slices.EqualFunc(got, sorted, bytes.Equal) {
		t.Error("other lines came back than went in")
	}
}

func TestEveryCodecIsReadBackAndCounted(t *testing.T) {
	c := start(t)
	var values [][]byte
	for i := range 5000 {
		values = append(values, fmt.Appendf(nil, `{"i":%d,"text":"%s"}`, i, strings.Repeat("abc ", i%50)))
	}
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		c.createTable("codec_"+name, 1)
		c.produceAll("codec_"+name, values, nil, kgo.ProducerBatchCompression(codec))
		if n := c.count("SELECT sum(i)::BIGINT FROM codec_" + name); n != 5000*4999/2 {
			t.Errorf("%s: sum is %d", name, n)
		}
		c.sameBytes("codec_"+name, values, func(r *kgo.Record) int { return int(r.Offset) })
	}
	// librdkafka's own codecs, read back by franz-go.
	for _, codec := range []string{"gzip", "snappy", "lz4", "zstd"} {
		topic := "kcat_" + codec
		c.createTable(topic, 1)
		c.kcat(append(bytes.Join(values, []byte("\n")), '\n'), "-P", "-t", topic, "-p", "0", "-z", codec)
		c.sameBytes(topic, values, func(r *kgo.Record) int { return int(r.Offset) })
		if n := c.count("SELECT count(*) FROM " + topic); n != int64(len(values)) {
			t.Errorf("kcat %s: %d rows", codec, n)
		}
	}
}
