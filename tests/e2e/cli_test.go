package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestTheReadmesCommandsDoWhatItSays(t *testing.T) {
	c := start(t)
	c.must("", "topic", "create", "orders", "--partitions", "6", "--config", "columnar.enabled=true")
	c.must(`{"city":"Oslo","amount":12.5}`+"\n", "produce", "orders")
	c.kcat([]byte(`{"city":"Oslo","amount":7.25}`+"\n"), "-P", "-t", "orders")
	out := c.must("", "sql", "SELECT city, count(*) AS n, sum(amount) AS total FROM orders GROUP BY city")
	if want := "city | n | total\n-----+---+------\nOslo | 2 | 19.75\n"; out != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

func TestTopicsAreManagedFromTheCommandLine(t *testing.T) {
	c := start(t)
	for _, step := range []struct {
		args []string
		code int
		want string // in standard output, or in standard error when code is not 0
	}{
		{[]string{"topic", "create", "a", "--partitions", "3", "--config", "retention.ms=1000"}, 0, "created topic a with 3 partitions"},
		{[]string{"topic", "create", "a"}, 1, "TOPIC_ALREADY_EXISTS"},
		{[]string{"topic", "create", "a", "--if-not-exists"}, 0, "there already"},
		{[]string{"topic", "create", "b", "--config", "retention.msx=1"}, 1, `did you mean "retention.ms"?`},
		{[]string{"topic", "create", "b", "--config", "columnar.enabled=yes"}, 1, "exactly true or false"},
		{[]string{"topic", "create", "bad/name"}, 1, "INVALID_TOPIC"},
		{[]string{"topic", "create", "one"}, 0, "created topic one with 1 partition\n"},
		{[]string{"topic", "describe", "a"}, 0, "retention.ms"},
		{[]string{"topic", "describe", "a", "-o", "json"}, 0, `"source": "topic"`},
		{[]string{"topic", "describe", "nosuch"}, 1, "UNKNOWN_TOPIC"},
		{[]string{"topic", "alter", "a", "--unset", "retention.ms", "--partitions", "5"}, 0, "altered"},
		{[]string{"topic", "describe", "a", "--all"}, 0, "604800000"},
		{[]string{"topic", "alter", "a", "--partitions", "2"}, 1, "INVALID_PARTITIONS"},
		{[]string{"topic", "list"}, 0, "one"},
		{[]string{"topic", "delete", "a", "nosuch"}, 1, "nosuch"},
		{[]string{"topic", "list", "-o", "json"}, 0, `"name": "one"`},
	} {
		stdout, stderr, code := c.cli("", step.args...)
		said := stdout
		if step.code != 0 {
			said = stderr
		}
		if code != step.code || !strings.Contains(said, step.want) {
			t.Errorf("chronik %v: exit %d\n%s%s\nwant %d and %q", step.args, code, stdout, stderr, step.code, step.want)
		}
	}
	var topics []struct{ Name string }
	if err := json.Unmarshal([]byte(c.must("", "topic", "list", "-o", "json")), &topics); err != nil || len(topics) != 1 || topics[0].Name != "one" {
		t.Errorf("topics %v, %v", topics, err)
	}
}

func TestRecordsAreCopiedThroughJSON(t *testing.T) {
	c := start(t)
	c.must("", "topic", "create", "from", "--partitions", "2")
	c.must("", "topic", "create", "to", "--partitions", "2")
	in := `{"key":"a","value":{"n":1},"headers":[{"key":"h","value":null}],"timestamp":"2026-01-02T03:04:05.006Z","partition":1}
{"key":null,"value":{"$binary":"/wA="},"partition":1}
{"key":"","value":null,"partition":0}
`
	c.must(in, "produce", "from", "--format", "json")
	copied := c.must("", "consume", "from", "--exit", "-o", "json")
	c.must(copied, "produce", "to", "--format", "json")
	again := c.must("", "consume", "to", "--exit", "-o", "json")
	if sortedLines(again, "to") != sortedLines(copied, "from") {
		t.Errorf("copied\n%sgot\n%s", copied, again)
	}
	for _, part := range []string{`"value":"{\"n\":1}"`, `"timestamp":"2026-01-02T03:04:05.006Z"`, `{"$binary":"/wA="}`, `"key":"","value":null`, `"headers":[{"key":"h","value":null}]`} {
		if !strings.Contains(copied, part) {
			t.Errorf("%s lacks %s", copied, part)
		}
	}
}

// sortedLines makes two reads of several partitions comparable.
func sortedLines(text, topic string) string {
	var byPartition [2]string
	for line := range strings.Lines(strings.ReplaceAll(text, fmt.Sprintf(`"topic":%q`, topic), "")) {
		if strings.Contains(line, `"partition":1`) {
			byPartition[1] += line
		} else {
			byPartition[0] += line
		}
	}
	return byPartition[0] + byPartition[1]
}

func TestConsumeBeginsAndEndsWhereItIsTold(t *testing.T) {
	c := start(t)
	c.must("", "topic", "create", "t")
	c.must("0|zero\n1|one\n2|two\n3|three\n", "produce", "t", "--key-separator", "|")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--exit"}, "zero\none\ntwo\nthree\n"},
		{[]string{"--count", "2"}, "zero\none\n"},
		{[]string{"--from", "3", "--exit"}, "three\n"},
		{[]string{"--from", "2", "--count", "1"}, "two\n"},
		{[]string{"--from", "end", "--exit"}, ""},
		{[]string{"--from", "4", "--exit"}, ""},
		{[]string{"--count", "1", "--key-separator", "="}, "0=zero\n"},
		{[]string{"--group", "g", "--count", "1"}, "zero\n"},
		{[]string{"--group", "g", "--count", "2"}, "one\ntwo\n"},
		{[]string{"--group", "other", "--from", "2", "--count", "1"}, "two\n"},
	} {
		if got := c.must("", append([]string{"consume", "t"}, test.args...)...); got != test.want {
			t.Errorf("consume %v: %q, want %q", test.args, got, test.want)
		}
	}
	if _, stderr, code := c.cli("", "consume", "nosuch", "--exit"); code != 1 || !strings.Contains(stderr, "nosuch") {
		t.Errorf("a topic that does not exist: exit %d, %s", code, stderr)
	}
}

func TestSQLFromTheCommandLine(t *testing.T) {
	c := start(t)
	c.createTable("t", 1)
	c.must(`{"a":1,"b":"x,y"}`+"\n"+`{"a":2}`+"\n", "produce", "t")
	if out := c.must("", "sql", "SELECT a, b FROM t ORDER BY a", "-o", "csv"); out != "a,b\n1,\"x,y\"\n2,\n" {
		t.Errorf("csv: %q", out)
	}
	out, stderr, code := c.cli("", "sql", "SELECT a, b FROM t ORDER BY a", "-o", "ndjson", "--limit", "1")
	if code != 0 || out != `{"a":1,"b":"x,y"}`+"\n" || stderr != "only the first 1 row: raise --limit for more\n" {
		t.Errorf("ndjson: exit %d, %q, %q", code, out, stderr)
	}
	var answer struct {
		Rows []map[string]any `json:"rows"`
	}
	if err := json.Unmarshal([]byte(c.must("SELECT sum(a) AS s FROM t", "sql", "-", "-o", "json")), &answer); err != nil || len(answer.Rows) != 1 {
		t.Errorf("json: %v, %v", answer, err)
	}
	if _, stderr, code := c.cli("", "sql", "SELECT nosuch FROM t"); code != 1 || !strings.Contains(stderr, "INVALID_QUERY") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	if _, stderr, code := c.cli("", "sql", "SELECT count(*) FROM nosuch"); code != 1 || !strings.Contains(stderr, "TOPIC_NOT_FOUND") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	if _, stderr, code := c.cli("", "sql", "SELECT a FROM t ORDER BY a", "--limit", "1"); code != 0 || !strings.Contains(stderr, "raise --limit") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}
