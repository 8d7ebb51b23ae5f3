package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// run executes one command line without any environment but the given.
func run(t *testing.T, in string, environment []string, args ...string) (code int, out, err string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = Main(context.Background(), args, Process{Environment: environment, In: strings.NewReader(in), Out: &stdout, Err: &stderr})
	return code, stdout.String(), stderr.String()
}

func TestWrongUsageExitsWithTwoAndSaysWhatIsRight(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"topc"}, `did you mean "topic"?`},
		{[]string{"topic", "creat"}, `did you mean "create"?`},
		{[]string{"help", "topc"}, `did you mean "topic"?`},
		{[]string{"help", "topic", "creat"}, `chronik topic has no command "creat"; did you mean "create"?`},
		{[]string{"topic", "create"}, "NAME is missing"},
		{[]string{"topic", "create", "a", "b"}, "one argument too many"},
		{[]string{"topic", "create", "a", "--config", "x"}, "key=value"},
		{[]string{"topic", "create", "a", "--config", "x=1", "--config", "x=2"}, "given twice"},
		{[]string{"topic", "create", "a", "--partitions", "many"}, "invalid argument"},
		{[]string{"topic", "alter", "a"}, "nothing to change"},
		{[]string{"topic", "delete"}, "NAME is missing"},
		{[]string{"topic", "list", "-o", "xml"}, "table, json"},
		{[]string{"topic", "list", "--bootstrap", ""}, "--bootstrap is empty"},
		{[]string{"version", "--nonsense"}, "unknown flag"},
		{[]string{"completion", "tcsh"}, "bash, zsh"},
		{[]string{"produce", "t", "--format", "avro"}, "lines or json"},
		{[]string{"produce", "t", "--format", "json", "--key-separator", "|"}, "a key of their own"},
		{[]string{"consume", "t", "--from", "yesterday"}, "start, end, or an offset"},
		{[]string{"consume", "t", "--from", "-1"}, "start, end, or an offset"},
		{[]string{"consume", "t", "--exit", "--group", "g"}, "do not go together"},
		{[]string{"consume", "t", "--count", "-1"}, "at least 1"},
		{[]string{"consume", "t", "-o", "json", "--key-separator", ","}, "JSON has the key"},
		{[]string{"sql"}, "the query is missing"},
		{[]string{"sql", "SELECT", "1"}, "quote what belongs together"},
		{[]string{"sql", "SELECT 1", "--timeout", "1ms"}, "at least 1s"},
		{[]string{"sql", "SELECT 1", "--freshness", "now"}, "latest, available or cold"},
		{[]string{"vector", "t"}, "the text to search for is missing"},
		{[]string{"vector", "t", "a", "b"}, "one argument too many"},
		{[]string{"vector", "t", " "}, "are empty"},
		{[]string{"vector", "t", "a", "-k", "0"}, "at least 1"},
		{[]string{"vector", "t", "a", "--since", "yesterday"}, "yesterday is no time"},
		{[]string{"vector", "t", "a", "--recall", "1.5"}, "up to 1"},
		{[]string{"vector", "t", "a", "--timeout", "0s"}, "above 0"},
		{[]string{"vector", "t", "a", "--fusion", "rrf"}, "unknown flag"},
		{[]string{"hybrid", "t", "a", "--freshness", "now"}, "latest, available or cold"},
		{[]string{"hybrid", "t", "a", "--fusion", "sum"}, "rrf or weighted"},
		{[]string{"hybrid", "t", "a", "-o", "xml"}, "table, json, csv"},
		{[]string{"group", "list", "--state", "asleep"}, "it is one of Stable, Empty"},
		{[]string{"group", "list", "--type", "share"}, "classic or consumer"},
		{[]string{"group", "list", "-o", "xml"}, "table, json, csv"},
		{[]string{"group", "describe"}, "GROUP is missing"},
		{[]string{"group", "describe", "g", "--state", "--members"}, "--state and --members do not go together"},
		{[]string{"group", "reset-offsets", "g", "--topic", "t"}, "--to WHERE or --shift-by N"},
		{[]string{"group", "reset-offsets", "g", "--topic", "t", "--to", "latest", "--shift-by", "1"}, "--to WHERE or --shift-by N"},
		{[]string{"group", "reset-offsets", "g", "--to", "latest"}, "--topic NAME"},
		{[]string{"group", "reset-offsets", "g", "--to", "latest", "--topic", "t", "--all-topics"}, "--topic NAME"},
		{[]string{"group", "reset-offsets", "g", "--topic", "t:x", "--to", "latest"}, `"x" is not the number of a partition`},
		{[]string{"group", "reset-offsets", "g", "--topic", "t:-1", "--to", "latest"}, "is not the number of a partition"},
		{[]string{"group", "reset-offsets", "g", "--topic", "t", "--topic", "t:1", "--to", "latest"}, "a name, once"},
		{[]string{"group", "reset-offsets", "g", "--topic", "t", "--to", "yesterday"}, "earliest, latest, current, an offset (1000), a time"},
		{[]string{"group", "delete-offsets", "g"}, "--topic NAME"},
		{[]string{"group", "delete"}, "GROUP is missing"},
		{[]string{"bench", "produce"}, "TOPIC is missing"},
		{[]string{"bench", "produce", "t", "--acks", "2"}, "all, 1 or 0"},
		{[]string{"bench", "produce", "t", "--compression", "rar"}, "none, gzip"},
		{[]string{"bench", "produce", "t", "--size", "0"}, "--size 0"},
		{[]string{"bench", "e2e", "t", "--rate", "-1"}, "not below 0"},
		{[]string{"bench", "consume", "t", "--clients", "0"}, "1 to 10000"},
		{[]string{"bench", "consume", "t", "--rate", "1"}, "unknown flag"},
		{[]string{"bench", "sql"}, "the query is missing"},
		{[]string{"bench", "sql", "-"}, "has no question"},
		{[]string{"bench", "sql", "SELECT 1", "--duration", "0s"}, "above 0"},
		{[]string{"bench", "search", "t"}, "the text to search for is missing"},
		{[]string{"bench", "vector", "t", "x", "--freshness", "now"}, "latest, available or cold"},
		{[]string{"topic", "list", "--bootstrap", "host:port"}, "--bootstrap host:port"},
		{[]string{"config", "print", "--set", "x"}, "key=value"},
		{[]string{"config", "print", "--set", "segment.agee=1s"}, `did you mean "segment.age"?`},
		{[]string{"config", "print", "--http", "localhost"}, "--http"},
	} {
		code, out, err := run(t, "", nil, test.args...)
		if code != 2 || out != "" || !strings.Contains(err, test.want) || !strings.Contains(err, "--help'") {
			t.Errorf("%q: exit %d, out %q, err %q; want 2 and %q", test.args, code, out, err, test.want)
		}
	}
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	started := false
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		path := strings.Fields(c.CommandPath())[1:]
		code, out, _ := run(t, "", nil, append(path, "--help")...)
		if code != 0 || !strings.Contains(out, c.Short) && !strings.Contains(out, c.Long) {
			t.Errorf("%s --help: exit %d, %q", c.CommandPath(), code, out)
		}
		if !c.HasSubCommands() && !strings.Contains(c.Example, "chronik "+strings.Join(path, " ")) {
			t.Errorf("%s has no example of itself", c.CommandPath())
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short %q", c.CommandPath(), c.Short)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(Process{Out: io.Discard, Err: io.Discard}, &started))
}

func TestHelpOfACommandIsWhatItsFlagShows(t *testing.T) {
	for _, path := range [][]string{nil, {"topic"}, {"topic", "create"}, {"help"}} {
		code, out, err := run(t, "", nil, append([]string{"help"}, path...)...)
		_, want, _ := run(t, "", nil, append(path, "--help")...)
		if code != 0 || out != want || err != "" {
			t.Errorf("help %q: exit %d, %q, %q; want %q", path, code, out, err, want)
		}
	}
}

func TestVersionIsForPeopleAndPrograms(t *testing.T) {
	code, out, _ := run(t, "", nil, "version")
	if code != 0 || !strings.HasPrefix(out, "chronik ") {
		t.Errorf("exit %d, %q", code, out)
	}
	var build map[string]any
	code, out, _ = run(t, "", nil, "version", "-o", "json")
	if code != 0 || json.Unmarshal([]byte(out), &build) != nil || build["version"] == "" {
		t.Errorf("exit %d, %q", code, out)
	}
}

func TestTheVersionIsAFlagToo(t *testing.T) {
	_, command, _ := run(t, "", nil, "version")
	if code, flag, _ := run(t, "", nil, "--version"); code != 0 || flag != command {
		t.Errorf("exit %d, %q, want %q", code, flag, command)
	}
}

func TestCompletionIsWrittenForEachShell(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, out, _ := run(t, "", nil, "completion", shell); code != 0 || !strings.Contains(out, "chronik") {
			t.Errorf("%s: exit %d, %d bytes", shell, code, len(out))
		}
	}
}

func TestConfigPrintShowsSourcesAndHidesSecrets(t *testing.T) {
	environment := []string{"S3_BUCKET=theirs", "CHRONIK_OBJSTORE_BUCKET=ours", "AWS_SECRET_ACCESS_KEY=hush", "CHRONIK_ADMIN_API_KEY=hush", "OPENAI_API_KEY=hush", "CHRONIK_SCHEMA_REGISTRY_USERS=hush"}
	code, out, err := run(t, "", environment, "config", "print", "--given", "--http", "127.0.0.1:0", "--set", "segment.age=1s")
	if code != 0 || strings.Contains(out+err, "hush") {
		t.Fatalf("exit %d:\n%s%s", code, out, err)
	}
	var lines []string
	for line := range strings.Lines(out) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"setting | value | source", "",
		"admin.api_key | ******** | CHRONIK_ADMIN_API_KEY",
		"http.bind | 127.0.0.1 | --http",
		"http.port | 0 | --http",
		"segment.age | 1s | --set segment.age",
		"objstore.bucket | ours | CHRONIK_OBJSTORE_BUCKET (wins over S3_BUCKET)",
		"objstore.secret_key | ******** | AWS_SECRET_ACCESS_KEY",
		"embedding.api_key | ******** | OPENAI_API_KEY",
	}
	if lines[1] = ""; !reflect.DeepEqual(lines, want) {
		t.Errorf("printed\n%s", out)
	}
	if !strings.Contains(err, "warning: CHRONIK_SCHEMA_REGISTRY_USERS") {
		t.Errorf("no warning: %q", err)
	}
}

func TestConfigPrintShowsTheRestOfAWrongConfiguration(t *testing.T) {
	code, out, err := run(t, "", []string{"CHRONIK_ETCD_ENDPOINTS=etcd:2379", "S3_BUCKET=ours"}, "config", "print", "--given", "--roles", "broker")
	if code != 2 || !strings.Contains(err, "CHRONIK_BROKER_ID") || !strings.Contains(out, "S3_BUCKET") {
		t.Errorf("exit %d:\n%s%s", code, out, err)
	}
}

// The environment may be that of any node: there objects are looked into.
func TestDumpFindsTheBucketOfACluster(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "ours", "segments"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ours", "segments", "a.segment"), []byte("no segment at all"), 0o644); err != nil {
		t.Fatal(err)
	}
	environment := []string{
		"CHRONIK_ETCD_ENDPOINTS=http://etcd:2379", "CHRONIK_ETCD_USERNAME=u", "CHRONIK_ETCD_PASSWORD=p",
		"CHRONIK_KAFKA_LISTEN=:9092", "CHRONIK_CLUSTER=ours", "CHRONIK_OBJSTORE_DIR=" + dir,
	}
	for _, name := range []string{"segments/a.segment", "ours/segments/a.segment"} {
		_, _, err := run(t, "", environment, "dump", "segment", name)
		if strings.Contains(err, "configuration") || strings.Contains(err, "not found") || !strings.Contains(err, "segment") {
			t.Errorf("%s: %s", name, err)
		}
	}
	if code, _, err := run(t, "", environment, "dump", "segment", "segments/b.segment"); code != 1 || !strings.Contains(err, "no such file, and in the bucket") {
		t.Errorf("exit %d: %s", code, err)
	}
}

func TestRecordsSurviveJSON(t *testing.T) {
	for _, line := range []string{
		`{"key":null,"value":"text with \"quotes\" & <tags>"}`,
		`{"key":"","value":null}`,
		`{"key":{"$binary":"/wA="},"value":{"$binary":"/w=="}}`,
		`{"partition":3,"timestamp":"2026-11-23T01:02:03.004Z","key":"k","value":"v","headers":[{"key":"h","value":null},{"key":"h","value":"1"}]}`,
	} {
		record, err := parseRecord([]byte(line))
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		shown := toJSON(record)
		shown.Offset, shown.Topic = nil, ""
		if record.Partition < 0 {
			shown.Partition, shown.Timestamp = nil, nil
		}
		var again bytes.Buffer
		encoder := json.NewEncoder(&again)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(shown); err != nil || strings.TrimSpace(again.String()) != line {
			t.Errorf("%s became %s, %v", line, again.String(), err)
		}
	}
}

func TestJSONValuesStandForTheirText(t *testing.T) {
	record, err := parseRecord([]byte(`{"key": 7, "value": {"city": "Oslo",  "n": 1}}`))
	if err != nil || string(record.Key) != "7" || string(record.Value) != `{"city": "Oslo",  "n": 1}` {
		t.Errorf("%q %q %v", record.Key, record.Value, err)
	}
}

func TestWrongRecordsAreRefused(t *testing.T) {
	for _, line := range []string{``, `{`, `[]`, `{"valu":"x"}`, `{"value":"x"}{"value":"y"}`, `{"value":{"$binary":"!"}}`} {
		if _, err := parseRecord([]byte(line)); err == nil {
			t.Errorf("%q was taken", line)
		}
	}
}

// sqlServer answers /_sql with a fixed answer and keeps the last request.
func sqlServer(t *testing.T, status int, answer string, request *map[string]any) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/_sql" || r.Method != http.MethodPost {
			http.NotFound(w, r)
			return
		}
		if request != nil {
			if err := json.NewDecoder(r.Body).Decode(request); err != nil {
				t.Error(err)
			}
		}
		w.WriteHeader(status)
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

const sqlAnswerText = `{"columns":["city","n","x"],"column_types":["utf8","int64","double"],"rows":[{"city":"Oslo","n":12345678901234567,"x":null},{"city":"a,\"b\"\nc","n":7,"x":1.5}],"row_count":2,"execution_time_ms":12.4,"truncated":true,"coverage":{"orders":{"lag_records":3}}}`

func TestSQLWritesATableWithNotes(t *testing.T) {
	var request map[string]any
	url := sqlServer(t, 200, sqlAnswerText, &request)
	code, out, err := run(t, "", nil, "sql", "--url", url+"/", "SELECT 1", "--limit", "5", "--timeout", "3s", "--freshness", "cold")
	want := "city     |                 n |    x\n---------+-------------------+-----\nOslo     | 12345678901234567 | NULL\na,\"b\"\\nc |                 7 |  1.5\n"
	if code != 0 || out != want {
		t.Errorf("exit %d:\n%s\nwant\n%s", code, out, want)
	}
	for _, part := range []string{"(2 rows, 12 ms)", "only the first 2 rows", "3 records of topic orders not covered"} {
		if !strings.Contains(err, part) {
			t.Errorf("notes %q lack %q", err, part)
		}
	}
	if !reflect.DeepEqual(request, map[string]any{"query": "SELECT 1", "limit": 5.0, "timeout_secs": 3.0, "freshness": "cold"}) {
		t.Errorf("request %v", request)
	}
}

func TestSQLHasTheServersLimitUnlessOneIsGiven(t *testing.T) {
	for _, test := range []struct {
		args []string
		want any
	}{{nil, nil}, {[]string{"--limit", "0"}, 0.0}, {[]string{"-o", "csv"}, nil}, {[]string{"-o", "csv", "--limit", "7"}, 7.0}} {
		var request map[string]any
		url := sqlServer(t, 200, sqlAnswerText, &request)
		if code, _, err := run(t, "", nil, append([]string{"sql", "--url", url, "SELECT 1"}, test.args...)...); code != 0 {
			t.Fatalf("%v: exit %d, %s", test.args, code, err)
		}
		if got := request["limit"]; got != test.want {
			t.Errorf("%v: limit %v, want %v", test.args, got, test.want)
		}
	}
	if code, _, err := run(t, "", nil, "sql", "SELECT 1", "--limit", "-1"); code != 2 || !strings.Contains(err, "--limit") {
		t.Errorf("exit %d, %s", code, err)
	}
}

func TestSQLErrorsFailWithTheServersWords(t *testing.T) {
	url := sqlServer(t, 404, `{"error":"no table nosuch","error_code":"TOPIC_NOT_FOUND"}`, nil)
	code, _, err := run(t, "", nil, "sql", "--url", url, "SELECT 1")
	if code != 1 || err != "chronik: TOPIC_NOT_FOUND: no table nosuch\n" {
		t.Errorf("exit %d, %q", code, err)
	}
	url = sqlServer(t, 502, "<html>bad gateway</html>", nil)
	if code, _, err := run(t, "", nil, "sql", "--url", url, "SELECT 1"); code != 1 || !strings.Contains(err, "502 Bad Gateway: <html>") {
		t.Errorf("exit %d, %q", code, err)
	}
}

func TestAServerThatIsNotThereIsSaidSo(t *testing.T) {
	for _, args := range [][]string{
		{"sql", "SELECT 1", "--url", "http://127.0.0.1:1"},
		{"topic", "list", "--bootstrap", "127.0.0.1:1"},
		{"group", "list", "--bootstrap", "127.0.0.1:1"},
		{"group", "reset-offsets", "g", "--all-topics", "--to", "latest", "--bootstrap", "127.0.0.1:1"},
		{"produce", "t", "--bootstrap", "127.0.0.1:1"},
		{"consume", "t", "--bootstrap", "127.0.0.1:1"},
	} {
		code, _, err := run(t, "x\n", nil, args...)
		if code != 1 || !strings.Contains(err, "is `chronik dev` running?") {
			t.Errorf("%q: exit %d, %q", args, code, err)
		}
	}
}

func TestTablesAlign(t *testing.T) {
	table := newTable("name", ">n")
	table.add("blåbær", 7)
	table.add("a\nb", 1234)
	var out bytes.Buffer
	if err := table.write(&out); err != nil {
		t.Fatal(err)
	}
	want := "name   |    n\n-------+-----\nblåbær |    7\na\\nb   | 1234\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestNumbersAreGrouped(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("grouped(%d) = %s, want %s", n, got, want)
		}
	}
	if plural(int64(1), "row") != "1 row" || plural(int64(2000), "row") != "2,000 rows" {
		t.Error("plural is wrong")
	}
}

// While partitions are without a leader, records go to the others; the client
// asks again for a record that it has written its choice into.
func TestARecordIsPartitionedAgainAmongThoseThatHaveALeader(t *testing.T) {
	p := givenOr(kgo.StickyKeyPartitioner(nil)).ForTopic("t")
	r := &kgo.Record{Partition: -1}
	if p.RequiresConsistency(r) {
		t.Fatal("a record without key or partition may go anywhere")
	}
	r.Partition = 4
	if got := p.Partition(r, 3); got < 0 || got > 2 {
		t.Errorf("partition %d of 3", got)
	}
	if r.Partition = 5; !p.RequiresConsistency(r) || p.Partition(r, 6) != 5 {
		t.Error("a record that names its partition does not go there")
	}
}

func TestDumpShowsASplit(t *testing.T) {
	testDump(t, "split", "../../../internal/textindex/testdata/v1.split", "300 documents in [1001,1325)", "damaged.split: corrupt at byte 0: CRC of page 0")
}

func TestDumpShowsAShard(t *testing.T) {
	testDump(t, "shard", "../../../internal/vectorindex/testdata/v1-hnsw-f32.shard", "300 documents in [1000,1449)", "damaged.shard: corrupt at byte")
}

// testDump shows a file of a format, and one with a flipped bit.
func testDump(t *testing.T, kind, file, shown, damage string) {
	t.Helper()
	code, out, stderr := run(t, "", nil, "dump", kind, file, "--verify")
	if code != 0 || !strings.Contains(out, shown) || !strings.Contains(out, "verified: everything read") {
		t.Errorf("exit %d: %s%s", code, out, stderr)
	}
	damaged := filepath.Join(t.TempDir(), "damaged."+kind)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[5000] ^= 1
	if err := os.WriteFile(damaged, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if code, out, stderr := run(t, "", nil, "dump", kind, damaged, "--verify"); code != 1 || !strings.Contains(out+stderr, damage) {
		t.Errorf("exit %d: %s%s", code, out, stderr)
	}
}

func TestAMissingKeyIsSaidToBeTheReason(t *testing.T) {
	said := func(key []byte, err error) bool {
		return strings.Contains(refused(&kgo.Record{Key: key}, err).Error(), "has no key")
	}
	if !said(nil, kerr.InvalidRecord) || said([]byte("k"), kerr.InvalidRecord) || said(nil, kerr.MessageTooLarge) {
		t.Error("it is said of records that have one, or of other errors, or not at all")
	}
	if err := refused(&kgo.Record{}, kerr.InvalidRecord); !errors.Is(err, kerr.InvalidRecord) {
		t.Error(err)
	}
}
