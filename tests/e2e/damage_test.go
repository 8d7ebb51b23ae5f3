package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// files lists files below the data folder whose names end in suffix.
func (c *chronik) files(below, suffix string) []string {
	c.t.Helper()
	var list []string
	err := filepath.WalkDir(filepath.Join(c.dir, below), func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(name, suffix) {
			list = append(list, name)
		}
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return list
}

// flip turns over one bit of a file, at a share of its length.
func flip(t *testing.T, name string, share float64) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[int(float64(len(data)-1)*share)] ^= 0x10
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// values makes n JSON values.
func values(n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		list[i] = fmt.Appendf(nil, `{"i":%d,"text":"%032d"}`, i, i)
	}
	return list
}

func TestDumpShowsEveryFormatAndVerifies(t *testing.T) {
	c := start(t, "--set", "compactor.first_age=200ms", "--set", "segment.age=100ms")
	c.createTable("t", 2)
	c.produceAll("t", values(3000), nil)
	c.coldReaches("t", 3000, shortly)
	c.stop()
	for kind, files := range map[string][]string{
		"wal": c.files("wal", ".wal"), "log": c.files("bucket", ".log"),
		"manifest": c.files("bucket", ".manifest"), "parquet": c.files("bucket", ".parquet"),
	} {
		if len(files) == 0 {
			t.Errorf("there is no %s file", kind)
			continue
		}
		for _, file := range files {
			if out := c.must("", "dump", kind, file, "--verify"); len(out) < 40 {
				t.Errorf("dump %s %s: %q", kind, file, out)
			}
		}
		if kind == "wal" {
			continue // its last frames may be of a former use: where it is cut is no damage
		}
		flip(t, files[0], 0.3)
		if _, stderr, code := c.cli("", "dump", kind, files[0], "--verify"); code != 1 || !strings.Contains(stderr, filepath.Base(files[0])) {
			t.Errorf("dump %s of a damaged file: exit %d, %q", kind, code, stderr)
		}
	}
	// Each kind refuses what is none of its own.
	foreign := filepath.Join(t.TempDir(), "foreign")
	if err := os.WriteFile(foreign, []byte(strings.Repeat("this is no such file. ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"wal", "segment", "log", "manifest", "parquet"} {
		if _, stderr, code := c.cli("", "dump", kind, foreign); code != 1 || !strings.Contains(stderr, "foreign") {
			t.Errorf("dump %s of a foreign file: exit %d, %q", kind, code, stderr)
		}
	}
}

// TestADamagedLogFileIsNamedAndTheRestServed flips a bit of one partition's log
// file: reading that partition fails and names the object, others do not mind.
func TestADamagedLogFileIsNamedAndTheRestServed(t *testing.T) {
	c := start(t, "--set", "compactor.first_age=200ms", "--set", "segment.age=100ms")
	c.createTable("t", 2)
	for partition := range 2 {
		c.produceAll("t", values(2000), nil, kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
			return func(*kgo.Record, int) int { return partition }
		})))
	}
	c.coldReaches("t", 4000, shortly)
	c.stop()
	var damaged string
	for _, file := range c.files("bucket", ".log") {
		if strings.Contains(file, "/1/log/") {
			damaged = file
		}
	}
	if damaged == "" {
		t.Fatalf("partition 1 has no log file among %v", c.files("bucket", ".log"))
	}
	flip(t, damaged, 0.5)
	c.restart()

	out := c.kcat(nil, "-C", "-t", "t", "-p", "0", "-e", "-q")
	if n := strings.Count(string(out), "\n"); n != 2000 {
		t.Errorf("partition 0 has %d records", n)
	}
	client := c.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {1: kgo.NewOffset().AtStart()}}), kgo.KeepRetryableFetchErrors())
	defer client.Close()
	eventually(t, shortly, func() error {
		fetches := client.PollFetches(t.Context())
		for _, e := range fetches.Errors() {
			t.Logf("the client sees: %v", e.Err)
			return nil
		}
		return fmt.Errorf("%d records and no error", fetches.NumRecords())
	})
	eventually(t, shortly, func() error {
		if !c.log.contains(filepath.Base(damaged)) {
			return fmt.Errorf("the log does not name %s", filepath.Base(damaged))
		}
		return nil
	})
	// The table is made of other files.
	if n := c.count("SELECT count(*) FROM t_cold"); n != 4000 {
		t.Errorf("%d rows", n)
	}
}

// A flipped and a lost Parquet file make queries fail that need them, never
// answer wrongly, until they have been made again of the log.
func TestDamagedParquetFilesAreNamedAndMadeAgain(t *testing.T) {
	c := start(t, "--set", "compactor.first_age=200ms", "--set", "segment.age=100ms")
	for _, topic := range []string{"bad", "lost", "good"} {
		c.createTable(topic, 1)
		c.produceAll(topic, values(2000), nil)
		c.coldReaches(topic, 2000, shortly)
	}
	bad, lost := topicID(t, c, "bad"), topicID(t, c, "lost")
	c.stop()
	if err := os.RemoveAll(filepath.Join(c.dir, "query")); err != nil {
		t.Fatal(err)
	}
	for _, file := range c.files("bucket", ".parquet") {
		switch {
		case strings.Contains(file, bad):
			flip(t, file, 0.2)
		case strings.Contains(file, lost):
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.restart()
	for _, topic := range []string{"bad", "lost"} {
		query := map[string]any{"query": "SELECT sum(i) + count(text) AS s FROM " + topic + "_cold"}
		status, body := c.post("/_sql", query)
		if status != 503 || !strings.Contains(string(body), ".parquet") {
			t.Errorf("%s: %d %s", topic, status, body)
		}
		met := time.Now()
		for deadline := met.Add(shortly); status == 503 && time.Now().Before(deadline); status, body = c.post("/_sql", query) {
		}
		t.Logf("%s: answered %s after it was found", topic, time.Since(met))
		if want := `"s":2001000`; status != 200 || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %s, want %s", topic, status, body, want)
		}
	}
	if n := c.count("SELECT count(*) FROM good_cold"); n != 2000 {
		t.Errorf("the other topic has %d rows", n)
	}
	if out := c.readAll("bad"); len(out[0]) != 2000 {
		t.Errorf("the log has %d records", len(out[0]))
	}
}

func topicID(t *testing.T, c *chronik, name string) string {
	t.Helper()
	for line := range strings.Lines(c.must("", "topic", "list")) {
		if fields := strings.Fields(line); len(fields) == 5 && fields[0] == name {
			return fields[4]
		}
	}
	t.Fatalf("no topic %s", name)
	return ""
}

// TestATornWriteAheadLogIsCutAndServed truncates and tears the end of the log
// after a crash: what was synced before is there.
func TestATornWriteAheadLogIsCutAndServed(t *testing.T) {
	c := start(t, "--set", "segment.age=1h")
	c.createTable("t", 1)
	c.produceAll("t", values(1000), nil)
	c.kill()
	// Behind the last frame a crash can leave anything.
	used := int64(-1)
	var newest string
	for _, file := range c.files("wal", ".wal") {
		out, _, _ := c.cli("", "dump", "wal", file) // a file that was never used has no header
		for line := range strings.Lines(out) {
			var frames, bytes int64
			if _, rest, ok := strings.Cut(line, "generation "); ok {
				var generation int64
				rest = strings.NewReplacer(",", "", "frames", "frame").Replace(rest)
				if n, _ := fmt.Sscanf(rest, "%d %d frame %d bytes", &generation, &frames, &bytes); n == 3 && frames > 0 {
					used, newest = bytes, file
				}
			}
		}
	}
	if newest == "" {
		t.Fatal("no write-ahead log has a frame")
	}
	file, err := os.OpenFile(newest, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte(strings.Repeat("torn", 500)), used); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	c.restart()
	c.sameBytes("t", values(1000), func(r *kgo.Record) int { return int(r.Offset) })
	c.produceAll("t", values(10), nil)
	if records := c.readAll("t"); len(records[0]) != 1010 {
		t.Errorf("%d records", len(records[0]))
	}
}
