package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/chronik-stream/chronik/tests/cluster/harness"
)

// What a stopping node streams: more than the buffers between it and a client
// that does not read hold, and what never ends.
const (
	manyRows     = 4 << 20
	manyQuery    = `SELECT i FROM range(4194304) r(i)`
	foreverRows  = `SELECT i FROM range(1000000000000) r(i)`
	foreverCount = `SELECT count(*) FROM range(1000000000000) r(i) WHERE hash(i) = 1`
)

// streamsWithin is how long the node lets them end: longer than by default.
const streamsWithin = 11 * time.Second

// flightClient is one connection to a node.
func flightClient(t *testing.T, address string) flight.Client {
	t.Helper()
	client, err := flight.NewClientWithMiddleware(address, nil, nil, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// batches are those of an answer over Flight or HTTP.
type batches interface {
	Next() bool
	RecordBatch() arrow.RecordBatch
	Err() error
}

// overFlight begins an answer and reads its first batch.
func overFlight(t *testing.T, client flight.Client, query string) batches {
	t.Helper()
	stream, err := client.DoGet(t.Context(), &flight.Ticket{Ticket: []byte("sql:" + query)})
	if err != nil {
		t.Fatal(err)
	}
	reader, err := flight.NewRecordReader(stream)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reader.Release)
	if !reader.Next() {
		t.Fatalf("%s: no batch, %v", query, reader.Err())
	}
	return reader
}

// overHTTP begins an answer and reads its head.
func overHTTP(t *testing.T, address, query string) io.Reader {
	t.Helper()
	body, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/_arrow/query", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", query, response.Status)
	}
	return response.Body
}

// rowsOf reads what is left of an answer.
func rowsOf(b batches) (rows int64, err error) {
	rows = b.RecordBatch().NumRows()
	for b.Next() {
		rows += b.RecordBatch().NumRows()
	}
	return rows, b.Err()
}

// refusal is with what a node answers a new query on an open connection.
func refusal(ctx context.Context, client flight.Client) error {
	stream, err := client.DoGet(ctx, &flight.Ticket{Ticket: []byte("sql:SELECT 1")})
	if err == nil {
		_, err = stream.Recv()
	}
	return err
}

func TestAQueryNodeThatIsStoppedLetsStreamsEndForAWhile(t *testing.T) {
	c := nodes(t, harness.Options{Brokers: 1, Queries: 1, Settings: []string{"query.concurrent_max=8", "query.stop_timeout=" + streamsWithin.String()}})
	node := c.Queries[0]

	// Clients that read on soon enough, clients that never stop, and clients that
	// hold a stream and read nothing.
	slowFlight := overFlight(t, flightClient(t, node.HTTP), manyQuery)
	slowHTTP := overHTTP(t, node.HTTP, manyQuery)
	endlessFlight := overFlight(t, flightClient(t, node.HTTP), foreverRows)
	endlessHTTP := overHTTP(t, node.HTTP, foreverRows)
	overFlight(t, flightClient(t, node.HTTP), foreverRows)
	overHTTP(t, node.HTTP, foreverRows)
	counted := make(chan string, 1)
	go func() {
		body, err := json.Marshal(map[string]any{"query": foreverCount, "timeout_secs": 60})
		if err != nil {
			counted <- err.Error()
			return
		}
		response, err := httpClient.Post("http://"+node.HTTP+"/_sql", "application/json", strings.NewReader(string(body)))
		if err != nil {
			counted <- err.Error()
			return
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		counted <- fmt.Sprint(response.StatusCode, string(text), err)
	}()
	untilTrue(t, "seven queries run", func() bool {
		_, metrics := ask(node.HTTP, "/metrics")
		return strings.Contains(metrics, "\nchronik_query_running 7\n")
	})
	idle := flightClient(t, node.HTTP)
	if err := refusal(t.Context(), idle); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	go func() {
		_, err := rowsOf(endlessFlight)
		ended <- err
	}()

	stopped := time.Now()
	if err := node.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	untilTrue(t, "queries over Flight are refused", func() bool {
		err := refusal(t.Context(), idle)
		if err != nil && status.Code(err) != codes.Unavailable {
			t.Fatalf("a new query over Flight: %v", err)
		}
		return err != nil
	})
	if status, body := ask(node.HTTP, "/_sql/tables"); status != http.StatusServiceUnavailable || !strings.Contains(body, "UNAVAILABLE") {
		t.Errorf("a new request over HTTP: %d %s", status, body)
	}
	t.Logf("new queries are refused %v after SIGTERM", time.Since(stopped).Round(time.Millisecond))

	// Streams that can still end do, whole.
	if rows, err := rowsOf(slowFlight); err != nil || rows != manyRows {
		t.Errorf("a stream over Flight that was read to its end: %d rows, %v", rows, err)
	}
	reader, err := ipc.NewReader(slowHTTP)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Release()
	if !reader.Next() {
		t.Fatal(reader.Err())
	}
	if rows, err := rowsOf(reader); err != nil || rows != manyRows {
		t.Errorf("a stream over HTTP that was read to its end: %d rows, %v", rows, err)
	}
	if rest, err := io.Copy(io.Discard, slowHTTP); err != nil || rest > 0 {
		t.Errorf("behind the end mark over HTTP: %d bytes, %v", rest, err)
	}
	t.Logf("both answers are whole %v after SIGTERM", time.Since(stopped).Round(time.Millisecond))

	// The others are cut off, and never look whole.
	if _, err := io.Copy(io.Discard, endlessHTTP); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a stream over HTTP that does not end: %v", err)
	}
	if err := <-ended; status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("a stream over Flight that does not end: %v", err)
	}
	if took := time.Since(stopped); took < streamsWithin {
		t.Errorf("streams were cut off %v after SIGTERM, and query.stop_timeout is %v", took, streamsWithin)
	}
	if got := <-counted; !strings.HasPrefix(got, "503") || !strings.Contains(got, "UNAVAILABLE") || !strings.Contains(got, "stopping") {
		t.Errorf("a query without an answer yet: %s", got)
	}
	select {
	case <-node.Exited():
	case <-time.After(stopWithin):
		t.Fatalf("the process still runs %v after SIGTERM", stopWithin)
	}
	t.Logf("the process ended %v after SIGTERM", time.Since(stopped).Round(time.Millisecond))
	if state := node.State(); !strings.Contains(state, "exit status 0") {
		t.Errorf("the process ended: %s", state)
	}
}
