package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// streamServer answers queries that accept a media type. The function writes the body.
func streamServer(t *testing.T, media string, body func(w http.ResponseWriter)) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Accept"); got != media {
			t.Errorf("accepts %s, want %s", got, media)
		}
		w.Header().Set("Content-Type", media)
		w.Header().Set("X-Chronik-Coverage", `{"b":{"lag_records":0},"a":{"lag_records":3}}`)
		w.Header().Set("Trailer", "X-Chronik-Truncated")
		body(w)
		w.Header().Set("X-Chronik-Truncated", "true")
	}))
	t.Cleanup(server.Close)
	return server.URL
}

const streamNotes = "only the first 5 rows: raise --limit for more\n3 records of topic a not covered by this answer\n"

func TestSQLWritesStreamsWithNotes(t *testing.T) {
	for output, test := range map[string]struct{ media, body, want, notes string }{
		"csv": {"text/csv", "a,\"x\"\"\r\ny\"\r\n1,\r\n2,\"\"\r\n", "a,\"x\"\"\r\ny\"\n1,\n2,\"\"\n", streamNotes},
		"ndjson": {"application/x-ndjson", `{"error":"a row"}` + "\n" + `{"error":"another"}` + "\n", `{"error":"a row"}` + "\n" + `{"error":"another"}` + "\n",
			streamNotes},
		"json": {"application/json", sqlAnswerText, sqlAnswerText + "\n", ""},
	} {
		url := streamServer(t, test.media, func(w http.ResponseWriter) { fmt.Fprint(w, test.body) })
		code, out, err := run(t, "SELECT 2", []string{"CHRONIK_URL=" + url}, "sql", "-", "-o", output, "--limit", "5")
		if code != 0 || out != test.want || err != test.notes {
			t.Errorf("%s: exit %d, %q, %q", output, code, out, err)
		}
	}
}

// The server writes the second row when the first has come out.
func TestSQLWritesRowsAsTheyCome(t *testing.T) {
	for output, media := range map[string]string{"csv": "text/csv", "ndjson": "application/x-ndjson"} {
		came := make(chan struct{})
		url := streamServer(t, media, func(w http.ResponseWriter) {
			fmt.Fprint(w, "1\n")
			w.(http.Flusher).Flush()
			<-came
			fmt.Fprint(w, "2\n")
		})
		out, in := io.Pipe()
		ended := make(chan int, 1)
		go func() {
			ended <- Main(context.Background(), []string{"sql", "--url", url, "SELECT 1", "-o", output}, Process{In: strings.NewReader(""), Out: in, Err: io.Discard})
			in.Close()
		}()
		lines := bufio.NewScanner(out)
		if !lines.Scan() || lines.Text() != "1" {
			t.Errorf("%s: first %q", output, lines.Text())
		}
		close(came)
		if !lines.Scan() || lines.Text() != "2" || lines.Scan() {
			t.Errorf("%s: second %q", output, lines.Text())
		}
		if code := <-ended; code != 0 {
			t.Errorf("%s: exit %d", output, code)
		}
	}
}

func TestAnAnswerThatBreaksOffIsAnError(t *testing.T) {
	for output, test := range map[string]struct{ media, body, out, err string }{
		"csv":    {"text/csv", "a\r\n1\r\n", "a\n1\n", "the answer is not whole: unexpected EOF (-o ndjson tells"},
		"ndjson": {"application/x-ndjson", `{"a":1}` + "\n" + `{"error":"no number","error_code":"INVALID_QUERY"}` + "\n", `{"a":1}` + "\n", "chronik: INVALID_QUERY: no number\n"},
		"json":   {"application/json", `{"columns":`, `{"columns":`, "the answer is not whole: unexpected EOF"},
	} {
		url := streamServer(t, test.media, func(w http.ResponseWriter) {
			fmt.Fprint(w, test.body)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		})
		code, out, err := run(t, "", nil, "sql", "--url", url, "SELECT 1", "-o", output)
		if code != 1 || out != test.out || !strings.Contains(err, test.err) {
			t.Errorf("%s: exit %d, %q, %q", output, code, out, err)
		}
	}
}
