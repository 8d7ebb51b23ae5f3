// Package driver is what the Go clients' drivers share: the contract with the
// runner, and the records whose content every capability checks.
package driver

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Timeout bounds one capability: the longest of them waits for a handful of
// rebalances of seconds each.
const Timeout = 90 * time.Second

// Together is how many capabilities are tried at once. Each has topics and
// groups of its own; most of their time is waiting for rebalances.
const Together = 6

// Capability is something that people do with a client. Run returns what it
// saw, in a few words, or what was wrong.
type Capability struct {
	Name string
	Run  func(ctx context.Context, e Env) (string, error)
}

// Env is where a capability is tried.
type Env struct {
	Bootstrap string
	Prefix    string // of all names
	Client    string // the driver's name
	Name      string // of the capability
}

// Unique is a name for a topic or group that nobody else uses.
func (e Env) Unique() string {
	return fmt.Sprintf("%s-%s-%s-%08x", e.Prefix, e.Client, e.Name, rand.Uint32())
}

// All is several things that make one capability, one after the other.
func All(parts ...func(context.Context, Env) (string, error)) func(context.Context, Env) (string, error) {
	return func(ctx context.Context, e Env) (string, error) {
		var details []string
		for _, part := range parts {
			detail, err := part(ctx, e)
			if err != nil {
				return "", err
			}
			details = append(details, detail)
		}
		return strings.Join(details, "; "), nil
	}
}

type line struct {
	Client     string `json:"client"`
	Version    string `json:"version"`
	Capability string `json:"capability"`
	OK         bool   `json:"ok"`
	Detail     string `json:"detail"`
}

// Main runs a driver: client is its name, module the Go module under test,
// whose version is read from the binary.
func Main(client, module string, capabilities []Capability) {
	chosen := capabilities
	if names, ok := os.LookupEnv("COMPAT_CAPABILITIES"); ok {
		chosen = nil
		for _, c := range capabilities {
			if slices.Contains(strings.Fields(names), c.Name) {
				chosen = append(chosen, c)
			}
		}
	}
	e := Env{Bootstrap: os.Getenv("COMPAT_BOOTSTRAP"), Prefix: cmp.Or(os.Getenv("COMPAT_PREFIX"), "compat"), Client: client}
	if e.Bootstrap == "" {
		fmt.Fprintln(os.Stderr, "COMPAT_BOOTSTRAP is not set: this is run by tests/compat")
		os.Exit(2)
	}
	run(os.Stdout, versionOf(module), e, chosen)
}

func versionOf(module string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == module {
				return strings.TrimPrefix(dep.Version, "v")
			}
		}
	}
	return "unknown"
}

func run(w io.Writer, version string, e Env, chosen []Capability) {
	var mu sync.Mutex
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	var running sync.WaitGroup
	slots := make(chan struct{}, Together)
	for _, c := range chosen {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			l := line{Client: e.Client, Version: version, Capability: c.Name}
			e := e
			e.Name = c.Name
			detail, err := try(c, e)
			l.OK, l.Detail = err == nil, detail
			if err != nil {
				l.Detail = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			_ = out.Encode(l)
		})
	}
	running.Wait()
}

// try runs one capability, which may panic or hang: some clients do.
func try(c Capability, e Env) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	type result struct {
		detail string
		err    error
	}
	done := make(chan result, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- result{err: fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
			}
		}()
		detail, err := c.Run(ctx, e)
		done <- result{detail, err}
	}()
	select {
	case r := <-done:
		return r.detail, r.err
	case <-time.After(Timeout + 10*time.Second):
		return "", fmt.Errorf("hangs: nothing after %v", Timeout+10*time.Second)
	}
}

// Record is a record as the checks see it. A nil Key or Value is null, which
// is not the same as empty.
type Record struct {
	Partition int32
	Offset    int64
	Key       []byte
	Value     []byte
	Headers   []Header
	Time      time.Time
}

// Header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Numbered makes n records with keys and values that tell which they are.
func Numbered(n int) []Record {
	records := make([]Record, n)
	for i := range records {
		records[i] = Record{
			Key:   fmt.Appendf(nil, "key-%d", i),
			Value: fmt.Appendf(nil, "value-%d-%s", i, strings.Repeat("chronik ", 20)),
		}
	}
	return records
}

// Same tells the first difference between what was sent and what was read:
// count, order, keys, values.
func Same(sent, read []Record) error {
	for i := range min(len(sent), len(read)) {
		s, r := sent[i], read[i]
		switch {
		case !same(s.Key, r.Key):
			return fmt.Errorf("record %d of %d: key %s, want %s", i, len(sent), show(r.Key), show(s.Key))
		case !same(s.Value, r.Value):
			return fmt.Errorf("record %d of %d: value %s, want %s", i, len(sent), show(r.Value), show(s.Value))
		case len(s.Headers) != len(r.Headers):
			return fmt.Errorf("record %d of %d: %d headers, want %d", i, len(sent), len(r.Headers), len(s.Headers))
		}
		for h := range s.Headers {
			if s.Headers[h].Key != r.Headers[h].Key || !same(s.Headers[h].Value, r.Headers[h].Value) {
				return fmt.Errorf("record %d: header %d is %q=%s, want %q=%s", i, h,
					r.Headers[h].Key, show(r.Headers[h].Value), s.Headers[h].Key, show(s.Headers[h].Value))
			}
		}
	}
	if len(read) != len(sent) {
		return fmt.Errorf("%d records, want %d", len(read), len(sent))
	}
	return nil
}

// SameSet is Same for records of several partitions: by key, in any order.
func SameSet(sent, read []Record) error {
	byKey := func(a, b Record) int { return strings.Compare(string(a.Key), string(b.Key)) }
	return Same(slices.SortedFunc(slices.Values(sent), byKey), slices.SortedFunc(slices.Values(read), byKey))
}

func same(a, b []byte) bool { return (a == nil) == (b == nil) && string(a) == string(b) }

func show(b []byte) string {
	if b == nil {
		return "null"
	}
	return fmt.Sprintf("%.60q", b)
}

// Codecs of Kafka, and none; the topics of the interchange are named after them.
var Codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// InterchangeTopic is where every client writes batches of a codec, and where
// every client reads those of all others. The runner makes it.
func InterchangeTopic(codec string) string { return "interchange-" + codec }

// InterchangeRecords are what a client writes to each of them.
func InterchangeRecords(client string) []Record {
	records := make([]Record, 100)
	for i := range records {
		records[i] = Record{
			Key:     fmt.Appendf(nil, "%s-%d", client, i),
			Value:   fmt.Appendf(nil, "%s-%d-%s", client, i, strings.Repeat("x", 200)),
			Headers: []Header{{"compat", []byte(client)}},
		}
	}
	return records
}

// InterchangeCount is how many records an interchange topic has that ends at an
// offset: those that compaction took are none.
func InterchangeCount(end int64) int {
	gone, err := strconv.Atoi(os.Getenv("COMPAT_GONE"))
	if err != nil {
		return int(end) // it is not set
	}
	return int(end) - gone
}

// CheckInterchange checks what was read of one interchange topic: the records
// of every client that the runner expects, whole and in order. It returns the
// clients seen.
func CheckInterchange(read []Record) ([]string, error) {
	by := map[string][]Record{}
	for _, r := range read {
		if len(r.Headers) != 1 {
			return nil, fmt.Errorf("offset %d: %d headers, want 1", r.Offset, len(r.Headers))
		}
		client := string(r.Headers[0].Value)
		by[client] = append(by[client], r)
	}
	for expected := range strings.SplitSeq(os.Getenv("COMPAT_INTERCHANGE"), ",") {
		if _, ok := by[expected]; expected != "" && !ok {
			return nil, fmt.Errorf("nothing of %s", expected)
		}
	}
	var clients []string
	for client, records := range by {
		if err := Same(InterchangeRecords(client), records); err != nil {
			return nil, fmt.Errorf("of %s: %w", client, err)
		}
		clients = append(clients, client)
	}
	slices.Sort(clients)
	return clients, nil
}

// Wait polls until what is wrong is nothing.
func Wait(ctx context.Context, wrong func() error) error {
	for {
		err := wrong()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w, until %w", err, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
