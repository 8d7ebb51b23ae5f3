package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// vectorServer answers a search, and keeps what was asked.
func vectorServer(t *testing.T, answer string) (url string, asked *string) {
	t.Helper()
	asked = new(string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		*asked = fmt.Sprint(r.Method, " ", r.URL.EscapedPath(), " ", string(body))
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

const (
	vectorAnswerText = `{"results":[{"topic":"a b","partition":1,"offset":7,"timestamp":1795435200000,"score":0.91,"distance":0.18,"text_preview":"late"}],
"count":1,"total_vectors":1200,"execution_time_ms":2.6,"coverage":{"a b":{"lag_records":3}}}`
	hybridAnswerText = `{"results":[
{"topic":"t","partition":0,"offset":1,"timestamp":1795435200000,"score":0.0163,"vector_rank":2,"text_rank":1,"value":"one\ntwo"},
{"topic":"t","partition":0,"offset":2,"timestamp":1795435200000,"score":0.008,"vector_rank":null,"text_rank":3,"value":{"$binary":"/w=="}}],
"total_vectors":2,"execution_time_ms":1,"warnings":["the vector side failed"],"coverage":{"t":{"lag_records":0}}}`
)

func TestVectorShowsWhatIsNear(t *testing.T) {
	url, asked := vectorServer(t, vectorAnswerText)
	code, out, notes := run(t, "", nil, "vector", "a b", "late parcel", "--url", url, "-k", "3", "--partition", "1,2", "--since", "2026-11-01T00:00:00Z",
		"--recall", "0.99", "--freshness", "latest", "--timeout", "1500ms")
	want := `id      | time                     |  score | distance | record
--------+--------------------------+--------+----------+-------
a b-1-7 | 2026-11-23T12:00:00.000Z | 0.9100 |   0.1800 | late
`
	if code != 0 || out != want {
		t.Errorf("exit %d:\n%s%s", code, out, notes)
	}
	if want := "(1 record, of 1,200 with vectors, 3 ms)\n3 records of topic a b not covered by this answer\n"; notes != want {
		t.Errorf("notes are %q, want %q", notes, want)
	}
	if want := `POST /_vector/a%20b/search {"filters":{"min_timestamp":"2026-11-01T00:00:00Z","partitions":[1,2]},"freshness":"latest","include_value":false,"k":3,"query":"late parcel","recall_target":0.99,"timeout_secs":1.5}`; *asked != want {
		t.Errorf("asked %s\nwant  %s", *asked, want)
	}
	if code, out, _ = run(t, "", nil, "vector", "a b", "x", "--url", url, "-o", "csv"); code != 0 || out != "id,time,score,distance,record\na b-1-7,2026-11-23T12:00:00.000Z,0.9100,0.1800,late\n" {
		t.Errorf("exit %d: %s", code, out)
	}
	if code, out, _ = run(t, "", nil, "vector", "a b", "x", "--url", url, "-o", "json"); code != 0 || !strings.Contains(out, `"total_vectors": 1200`) {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestHybridShowsBothRankings(t *testing.T) {
	url, asked := vectorServer(t, hybridAnswerText)
	code, out, notes := run(t, "", nil, "hybrid", "t", "x", "--url", url, "--values", "--text-weight", "0.8", "--fusion", "weighted", "--allow-partial", "-o", "csv")
	want := "id,time,score,by words,by meaning,record\n" +
		"t-0-1,2026-11-23T12:00:00.000Z,0.01630,1,2,\"one\ntwo\"\n" +
		"t-0-2,2026-11-23T12:00:00.000Z,0.00800,3,,\"{\"\"$binary\"\":\"\"/w==\"\"}\"\n"
	if code != 0 || out != want {
		t.Errorf("exit %d:\n%s", code, out)
	}
	if want := "(2 records, of 2 with vectors, 1 ms)\nthe vector side failed\n"; notes != want {
		t.Errorf("notes are %q, want %q", notes, want)
	}
	if want := `POST /_vector/t/hybrid {"allow_partial":true,"fusion":"weighted","include_value":true,"k":10,"query":"x","text_weight":0.8,"timeout_secs":30,"vector_weight":0.5}`; *asked != want {
		t.Errorf("asked %s\nwant  %s", *asked, want)
	}
}
