// Package tail keeps the records that are not in a topic's files yet: a query
// reads those files, and the records kept here from their mark on.
//
// For every topic that is asked for, a Kafka client reads from the mark,
// read_committed. For SQL the records are kept as small local Parquet files,
// written by internal/columnar as the table's own files are, so that both are
// typed by one rule. For search they are kept as splits in memory that are
// searched while they grow, and that go to disk when they are large; the code is
// that of the topic's own splits, internal/textindex. A topic that is asked for in
// both forms is read twice: their marks differ, and so does who asks for them and
// until when.
//
// Small files are merged as they come, so that they stay few. Records go when
// Trim says that a manifest covers them and no snapshot holds them; a topic that
// nobody asks for is let go by Expire.
//
// Promises: a snapshot holds every committed record of [First, Next) of a
// partition once, in at least the files it names, and exactly these in its
// splits; they stay until it is released. Bytes on disk and in memory stay within Options.BytesMax, give or
// take what a client has under way: past it the tail that was used the longest ago
// gives way to one that a Read waits for. When Reads wait for all of them, reading
// stops, and they end with their contexts.
//
// Nothing here survives the process: the directory is emptied by Open.
package tail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/internal/columnar"
	"github.com/chronik-stream/chronik/internal/textindex"
	"github.com/chronik-stream/chronik/internal/textindex/analysis"
	"github.com/chronik-stream/chronik/internal/topic"
)

// ClientOption is an option of the Kafka client.
type ClientOption = kgo.Opt

// Options configure a node's tails.
type Options struct {
	Dir      string // for the local files; this process's alone
	BytesMax int64  // of all topics together, files and memory; default 1 GiB

	// Seeds returns the addresses of brokers, asked for when a client is made.
	Seeds func() []string
	// Client holds what else a client needs: TLS, SASL, a dialer.
	Client []ClientOption
	// Exists reports whether the topic of that name still has that ID; nil: yes.
	Exists func(name string, id topic.ID) bool

	Log *slog.Logger
}

// Tails are the tails of all topics on one query node. All methods may be
// called at once.
type Tails struct {
	options Options
	budget  *budget

	mu      sync.Mutex
	admin   *kgo.Client // for offsets; made when first needed
	readers map[Key]*reader
	evicted sync.WaitGroup // that are being closed
	closed  bool
}

// Form is what records are kept as.
type Form uint8

// The forms.
const (
	Rows  Form = iota // for SQL: Parquet files
	Index             // for search: splits
)

// Key names a tail: those of one topic in two forms have nothing in common.
type Key struct {
	ID   topic.ID
	Form Form
}

// Want is what a query needs of a partition.
type Want struct {
	Partition int32
	First     int64 // the mark: records below it are in the topic's files
	Start     int64 // of the log, as far as the query knows: records below it are deleted
	Target    int64 // wait until every committed record below it is here
	// EpochEnd returns the offset at which a leader epoch ended, if it did. Records
	// of it from there on, which were read before it ended, are not of the log any
	// more. Nil: no epoch has ended.
	EpochEnd func(epoch int32) (end int64, ended bool)
}

// End is where a partition's log ends, and in which leader epoch that was.
type End struct {
	Offset int64
	Epoch  int32 // −1: not known
}

// Request asks for the records of one topic.
type Request struct {
	Topic   string
	ID      topic.ID
	Fixed   []columnar.Column  // of rows: JSON columns whose type the topic fixes
	Index   *textindex.Options // how they are indexed; nil: rows are wanted
	Wants   []Want
	Restart bool // begin anew when records at First are gone; see ErrTrimmed
}

func (r *Request) key() Key {
	if r.Index != nil {
		return Key{r.ID, Index}
	}
	return Key{r.ID, Rows}
}

// File holds rows of one partition with offsets in [First, Next), in order.
type File struct {
	Path        string
	Partition   int32
	First, Next int64
	Columns     []columnar.Column
	Size        int64
}

// Split holds the records of one partition with offsets in [First, Next).
type Split struct {
	textindex.Split
	Partition   int32
	First, Next int64
	Analyzer    *analysis.Analyzer // of its texts
}

// Snapshot is a consistent view of a topic's tail. What it names stays until
// Release.
type Snapshot struct {
	Files  []File          // of rows
	Splits []Split         // of an index
	Starts map[int32]int64 // by partition: records below it are deleted, in the table's files too
	Next   map[int32]int64 // by partition: every committed record of [First, Next) is in the files

	release func()
	once    sync.Once
}

// Release lets files and splits go. It may be called again.
func (s *Snapshot) Release() { s.once.Do(s.release) }

// ErrTrimmed means: records from the asked First on are gone, because a newer
// manifest covers them. Ask again with the newer mark; if that is not newer,
// with Restart.
var ErrTrimmed = errors.New("tail trimmed")

// ErrGone means: the topic of that name has another ID now, or is no more.
var ErrGone = errors.New("topic is gone")

// ErrClosed: the node is going away.
var ErrClosed = errors.New("tail closed")

// ErrNoBroker: no broker lives that could be asked.
var ErrNoBroker = errors.New("no broker is registered")

// LaggingError says which partitions had not reached their target in time.
type LaggingError struct {
	Topic      string
	Partitions []Lag
	Full       bool  // the byte budget is used up
	Cause      error // of the context, or the last error of the brokers
}

// Lag is how far a partition was. Next or Target is −1 when it is not known.
type Lag struct {
	Partition    int32
	Next, Target int64
}

// Error implements error.
func (e *LaggingError) Error() string {
	parts := make([]string, len(e.Partitions))
	for i, l := range e.Partitions {
		parts[i] = fmt.Sprintf("%d at %d of %d", l.Partition, l.Next, l.Target)
	}
	reason := ""
	if e.Full {
		reason = "; the space for records that are in no file yet is used up"
	}
	return fmt.Sprintf("topic %s is behind in partitions %s%s: %v", e.Topic, strings.Join(parts, ", "), reason, e.Cause)
}

// Unwrap gives the cause.
func (e *LaggingError) Unwrap() error { return e.Cause }

// Open empties o.Dir and returns tails without a topic.
func Open(o Options) (*Tails, error) {
	if o.BytesMax <= 0 {
		o.BytesMax = 1 << 30
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.RemoveAll(o.Dir); err != nil {
		return nil, fmt.Errorf("open the tail: %w", err)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the tail: %w", err)
	}
	return &Tails{options: o, budget: newBudget(o.BytesMax), readers: map[Key]*reader{}}, nil
}

// Close ends all readers. Snapshots that are held keep their files.
func (t *Tails) Close() {
	t.mu.Lock()
	t.closed = true
	readers := t.readers
	t.readers = map[Key]*reader{}
	admin := t.admin
	t.admin = nil
	t.mu.Unlock()
	for _, r := range readers {
		r.close()
	}
	t.evicted.Wait()
	if admin != nil {
		admin.Close()
	}
}

// Read returns a snapshot of the topic's tail once it has reached every target.
// A target of 0 waits for nothing. Errors: *LaggingError when ctx ends first;
// ErrTrimmed; ErrGone; ErrClosed.
func (t *Tails) Read(ctx context.Context, request Request) (*Snapshot, error) {
	for {
		r, err := t.reader(request)
		if err != nil {
			return nil, err
		}
		err = r.wait(ctx, request)
		if err == nil {
			var s *Snapshot
			if s, err = r.snapshot(request); err == nil {
				return s, nil
			}
		}
		switch {
		case errors.Is(err, errRestarted):
			t.forget(r)
		case errors.Is(err, ErrTrimmed) && request.Restart:
			t.forget(r)
		default:
			return nil, err
		}
		select {
		case <-time.After(restartPause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// Await returns once the topic's tail has reached every target, or why it cannot:
// the errors of Read, and others when it begins anew.
func (t *Tails) Await(ctx context.Context, request Request) error {
	r, err := t.reader(request)
	if err != nil {
		return err
	}
	return r.wait(ctx, request)
}

// restartPause keeps a tail that fails at once, on a full disk, from spinning.
const restartPause = 20 * time.Millisecond

// reader returns the topic's reader, which a first request starts.
func (t *Tails) reader(request Request) (*reader, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, ErrClosed
	}
	if t.gone(request.Topic, request.ID) {
		return nil, ErrGone
	}
	key := request.key()
	r := t.readers[key]
	if r == nil {
		client, err := t.client(
			kgo.FetchIsolationLevel(kgo.ReadCommitted()),
			kgo.KeepControlRecords(), // they move the position, as records do
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			// A partition that is added while a fetch waits is part of the next.
			kgo.FetchMaxWait(500*time.Millisecond),
			kgo.FetchMaxBytes(fetchBytes),
			kgo.FetchMaxPartitionBytes(fetchBytes/4),
		)
		if err != nil {
			return nil, err
		}
		r = newReader(t, client, request.Topic, key)
		t.readers[key] = r
		go r.run()
	}
	r.use(request, time.Now())
	return r, nil
}

// fetchBytes is what a client asks a broker for at once, and has of it in memory
// before it is read.
const fetchBytes = 4 << 20

// client makes a Kafka client for this node.
func (t *Tails) client(opts ...kgo.Opt) (*kgo.Client, error) {
	seeds := t.options.Seeds()
	if len(seeds) == 0 {
		return nil, ErrNoBroker
	}
	all := append([]kgo.Opt{
		kgo.SeedBrokers(seeds...),
		kgo.ClientID("chronik-query"),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
	}, t.options.Client...)
	client, err := kgo.NewClient(append(all, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("make a Kafka client: %w", err)
	}
	return client, nil
}

// reseed tells a client in trouble which brokers there are now: those that it
// began with may be gone for good.
func (t *Tails) reseed(client *kgo.Client) {
	seeds := t.options.Seeds()
	if len(seeds) == 0 {
		return
	}
	if err := client.UpdateSeedBrokers(seeds...); err != nil {
		t.options.Log.Warn("a broker's address cannot be used", "addresses", seeds, "err", err)
	}
}

// forget ends a reader unless another has taken its place.
func (t *Tails) forget(r *reader) {
	t.mu.Lock()
	if t.readers[r.key] == r {
		delete(t.readers, r.key)
	}
	t.mu.Unlock()
	r.close()
}

// Active lists the tails that are being read.
func (t *Tails) Active() []Key {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.readers))
}

// Trim lets go of a tail's records below the marks, by partition.
func (t *Tails) Trim(key Key, marks map[int32]int64) {
	t.mu.Lock()
	r := t.readers[key]
	t.mu.Unlock()
	if r != nil {
		r.trim(marks)
	}
}

// Drop ends the reader of a topic that is no more.
func (t *Tails) Drop(key Key) {
	t.mu.Lock()
	r := t.readers[key]
	t.mu.Unlock()
	if r != nil {
		r.end(ErrGone)
		t.forget(r)
	}
}

func (t *Tails) gone(name string, id topic.ID) bool {
	return t.options.Exists != nil && !t.options.Exists(name, id)
}

// Expire ends the readers of topics that no query asked for since, nor waits for.
func (t *Tails) Expire(since time.Time) {
	t.mu.Lock()
	var idle []*reader
	for _, r := range t.readers {
		if r.idle(since) {
			idle = append(idle, r)
		}
	}
	t.mu.Unlock()
	for _, r := range idle {
		t.forget(r)
	}
}

// evict lets go of the tail that was used the longest ago, of those for which no
// query waits, and returns what is closed when it is gone; nil: there is none.
func (t *Tails) evict() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	var oldest *reader
	var since time.Time
	for _, r := range t.readers {
		if used, idle := r.lastUsed(); idle && (oldest == nil || used.Before(since)) {
			oldest, since = r, used
		}
	}
	if oldest == nil || t.closed {
		return nil
	}
	delete(t.readers, oldest.key)
	t.options.Log.Info("the tail of a topic is let go to make room", "topic", oldest.name, "used", since)
	gone := make(chan struct{})
	t.evicted.Go(func() { // not here: it may be about to evict who calls
		defer close(gone)
		oldest.close()
	})
	return gone
}

// Bytes is what the tails hold now, on disk and in memory.
func (t *Tails) Bytes() int64 { return t.budget.used() }

func (t *Tails) adminClient() (*kgo.Client, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, ErrClosed
	}
	if t.admin == nil {
		client, err := t.client()
		if err != nil {
			return nil, err
		}
		t.admin = client
	}
	return t.admin, nil
}
