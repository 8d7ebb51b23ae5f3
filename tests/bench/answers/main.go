// Command answers measures how fast a query node sends one large answer in each
// of its formats: JSON, NDJSON, CSV and Arrow over HTTP, and Arrow over Flight.
//
// It asks the same query in each format in turn, several times, and prints the
// median of rows a second, of the time to the first bytes, and the bytes; and
// with -pid by how much that process was larger at most, while the format was
// sent for the first time, than when it was asked for. The
// client decodes nothing but Flight's messages, so it is the node that is
// measured. Answers are only comparable within one run.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/flight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// answer is what one format took.
type answer struct {
	first, whole time.Duration
	bytes        int64
}

func main() {
	address := flag.String("address", "localhost:6092", "a query node")
	query := flag.String("query", "SELECT * FROM range(5000000)", "the query")
	rows := flag.Int64("rows", 5_000_000, "rows of its answer")
	rounds := flag.Int("rounds", 3, "how often each format is asked for")
	pid := flag.Int("pid", 0, "the node's process; 0: its memory is not looked at")
	flag.Parse()
	if err := run(context.Background(), *address, *query, *rows, *rounds, *pid); err != nil {
		fmt.Fprintln(os.Stderr, "answers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, address, query string, rows int64, rounds, pid int) error {
	link, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer link.Close()
	overHTTP := func(accept string, limit any) func() (answer, error) {
		return func() (answer, error) { return post(ctx, address, query, accept, limit) }
	}
	formats := []struct {
		name string
		ask  func() (answer, error)
		rows int64
	}{
		{"NDJSON", overHTTP("application/x-ndjson", nil), rows},
		{"CSV", overHTTP("text/csv", nil), rows},
		{"Arrow, HTTP", overHTTP("application/vnd.apache.arrow.stream", nil), rows},
		{"Arrow, Flight", func() (answer, error) { return get(ctx, flight.NewFlightServiceClient(link), query) }, rows},
		// The most that it has; last, since it takes memory that does not go back at once.
		{"JSON", overHTTP("application/json", min(rows, 1_000_000)), min(rows, 1_000_000)},
	}
	took, grown := make([][]answer, len(formats)), make([]int64, len(formats))
	for round := range rounds {
		for i, f := range formats {
			before := int64(0)
			watched := pid != 0 && round == 0
			if watched {
				if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil { // the peak begins anew
					return err
				}
				if before, err = memory(pid); err != nil {
					return err
				}
			}
			a, err := f.ask()
			if err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
			took[i] = append(took[i], a)
			if watched {
				if grown[i], err = memory(pid); err != nil {
					return err
				}
				grown[i] -= before
			}
		}
	}
	fmt.Println("| format | rows | M rows/s | first bytes | MB | memory, MiB more |\n|---|---|---|---|---|---|")
	for i, f := range formats {
		slices.SortFunc(took[i], func(a, b answer) int { return int(a.whole - b.whole) })
		a := took[i][rounds/2]
		fmt.Printf("| %s | %d | %.2f | %s | %.0f | %d |\n", f.name, f.rows, float64(f.rows)/1e6/a.whole.Seconds(),
			a.first.Round(time.Millisecond), float64(a.bytes)/1e6, grown[i]>>10)
	}
	return nil
}

// post asks over HTTP.
func post(ctx context.Context, address, query, accept string, limit any) (a answer, err error) {
	body := map[string]any{"query": query, "timeout_secs": 600}
	if limit != nil {
		body["limit"] = limit
	}
	text, err := json.Marshal(body)
	if err != nil {
		return a, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/_sql", bytes.NewReader(text))
	if err != nil {
		return a, err
	}
	request.Header.Set("Accept", accept)
	began := time.Now()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return a, fmt.Errorf("%s: %s", response.Status, text)
	}
	buffer := make([]byte, 256<<10)
	for {
		n, err := response.Body.Read(buffer)
		if a.bytes == 0 && n > 0 {
			a.first = time.Since(began)
		}
		a.bytes += int64(n)
		if errors.Is(err, io.EOF) {
			a.whole = time.Since(began)
			return a, nil
		}
		if err != nil {
			return a, err
		}
	}
}

// get asks over Flight; the first bytes are those of the first batch.
func get(ctx context.Context, client flight.FlightServiceClient, query string) (a answer, err error) {
	began := time.Now()
	stream, err := client.DoGet(ctx, &flight.Ticket{Ticket: []byte("sql:" + query)})
	for messages := 1; err == nil; messages++ {
		var message *flight.FlightData
		if message, err = stream.Recv(); err == nil {
			a.bytes += int64(len(message.DataHeader) + len(message.DataBody))
			if messages == 2 { // behind the schema
				a.first = time.Since(began)
			}
		}
	}
	a.whole = time.Since(began)
	if !errors.Is(err, io.EOF) {
		return a, err
	}
	return a, nil
}

// memory is the most KiB that a process had since its peak was reset.
func memory(pid int) (kib int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if kib, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kib), "kB")), 10, 64)
		}
	}
	return 0, errors.New("the process does not tell its peak")
}
