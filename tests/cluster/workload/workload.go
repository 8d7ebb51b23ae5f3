// Package workload is clients of a cluster: they write, read, commit offsets of
// groups, ask for the ends of logs and for counts by SQL, all the time, whatever
// happens to the cluster, and record in a history what they were told. At the
// end everything is read back, and the history says whether the promises were
// kept.
//
// Clients are as users have them: idempotent producers with acks=all that never
// give up, and consumers that begin at the start.
package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/tests/history"
)

// Topic is one that the workload makes and uses.
type Topic struct {
	Name       string
	Partitions int32
	Config     map[string]string
	Promises   history.Topic
	Table      bool // it is counted by SQL, too; columnar.enabled is set
}

// Options say who does what. Zero values mean the defaults.
type Options struct {
	Seeds   []string // addresses for Kafka clients
	HTTP    string   // host:port for SQL; empty: nobody asks
	Topics  []Topic
	Writers int // of each topic; default 2
	Readers int // of each topic; default 1
	Rate    int // records per second of each writer; default 200
	Bytes   int // of a value; default 200
}

// Workload is running clients.
type Workload struct {
	History *history.History

	o       Options
	admin   *kadm.Client
	running context.Context
	stop    context.CancelFunc // of everybody but the writers
	pausing context.CancelFunc // of the writers
	writing sync.WaitGroup
	rest    sync.WaitGroup

	sent, acked  atomic.Int64
	lastAck      atomic.Int64 // UnixNano
	failed       atomic.Int64 // records that a producer gave up
	asked        atomic.Int64 // counts by SQL that were answered
	unanswered   atomic.Int64 // and that were not
	failures     failures
	latencies    latencies
	producers    []*kgo.Client
	ackedByTopic map[string]*atomic.Int64
	sentByTopic  map[string]*atomic.Int64
}

// Start makes the topics and starts the clients.
func Start(ctx context.Context, o Options) (*Workload, error) {
	fill(&o.Writers, 2)
	fill(&o.Readers, 1)
	fill(&o.Rate, 200)
	fill(&o.Bytes, 200)
	w := &Workload{History: history.New(), o: o, ackedByTopic: map[string]*atomic.Int64{}, sentByTopic: map[string]*atomic.Int64{}}
	client, err := w.client()
	if err != nil {
		return nil, err
	}
	w.admin = kadm.NewClient(client)
	for _, t := range o.Topics {
		if err := w.create(ctx, t); err != nil {
			client.Close()
			return nil, err
		}
	}
	w.running, w.stop = context.WithCancel(context.Background())
	writing, pause := context.WithCancel(context.Background())
	w.pausing = pause
	for _, t := range o.Topics {
		for i := range o.Writers {
			if err := w.startWriter(writing, t, fmt.Sprintf("%s-w%d", t.Name, i)); err != nil {
				w.Close()
				return nil, err
			}
		}
		for i := range o.Readers {
			w.rest.Go(func() { w.read(t, fmt.Sprintf("%s-r%d", t.Name, i)) })
		}
		w.rest.Go(func() { w.ends(t) })
		w.rest.Go(func() { w.commits(t, "group-of-"+t.Name) })
		if t.Table && o.HTTP != "" {
			w.rest.Go(func() { w.counts(t) })
		}
	}
	return w, nil
}

func fill(field *int, value int) {
	if *field == 0 {
		*field = value
	}
}

func (w *Workload) client(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(w.o.Seeds...), kgo.ClientID("workload"), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.RetryTimeout(30 * time.Second), kgo.DialTimeout(2 * time.Second), kgo.RequestTimeoutOverhead(5 * time.Second),
	}, options...)...)
}

func (w *Workload) create(ctx context.Context, t Topic) error {
	config := map[string]*string{}
	for k, v := range t.Config {
		config[k] = &v
	}
	if t.Table {
		yes := "true"
		config["columnar.enabled"] = &yes
	}
	answers, err := w.admin.CreateTopics(ctx, t.Partitions, -1, config, t.Name)
	if err == nil {
		_, err = answers.On(t.Name, nil)
		err = errors.Join(err, answers.Error())
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", t.Name, err)
	}
	w.History.Topic(t.Name, t.Promises)
	w.ackedByTopic[t.Name], w.sentByTopic[t.Name] = new(atomic.Int64), new(atomic.Int64)
	return nil
}

// beat is how often a writer writes what its rate asks for.
const beat = 20 * time.Millisecond

func (w *Workload) startWriter(ctx context.Context, t Topic, name string) error {
	client, err := w.client(
		kgo.DefaultProduceTopic(t.Name), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MaxBufferedRecords(5000), kgo.RetryTimeout(time.Hour),
	)
	if err != nil {
		return err
	}
	w.producers = append(w.producers, client)
	writer := w.History.Writer(name, history.WriterOptions{Idempotent: true, Acks: history.AcksAll})
	w.writing.Go(func() {
		ticks := time.NewTicker(beat)
		defer ticks.Stop()
		due := 0.0
		for n := 0; ; {
			select {
			case <-ticks.C:
			case <-ctx.Done():
				return
			}
			for due += float64(w.o.Rate) * beat.Seconds(); due >= 1 && ctx.Err() == nil; due-- {
				w.write(ctx, client, writer, t, int32(n)%t.Partitions)
				n++
			}
		}
	})
	return nil
}

// write sends a record and lets the answer come when it may.
func (w *Workload) write(ctx context.Context, client *kgo.Client, writer *history.Writer, t Topic, partition int32) {
	s := writer.Send(history.Partition{Topic: t.Name, Index: partition})
	w.sent.Add(1)
	w.sentByTopic[t.Name].Add(1)
	began := time.Now()
	// Its context is not the writer's: what is sent is waited for.
	client.Produce(context.WithoutCancel(ctx), &kgo.Record{Partition: partition, Value: history.Value(s.ID, w.o.Bytes)}, func(r *kgo.Record, err error) {
		if err != nil {
			w.failed.Add(1)
			w.failures.add(err)
			s.Unknown()
			return
		}
		now := time.Now()
		w.latencies.add(now, now.Sub(began))
		s.Acked(r.Offset)
		w.acked.Add(1)
		w.ackedByTopic[t.Name].Add(1)
		w.lastAck.Store(now.UnixNano())
	})
}

// read reads all partitions from the start, for ever.
func (w *Workload) read(t Topic, name string) {
	client, err := w.client(kgo.ConsumeTopics(t.Name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		w.History.Report(history.Other, "reader %s: %v", name, err)
		return
	}
	defer client.Close()
	next := map[int32]int64{}
	for w.running.Err() == nil {
		fetches := client.PollFetches(w.running)
		fetches.EachError(func(_ string, partition int32, err error) {
			var cut *kgo.ErrDataLoss
			if !errors.As(err, &cut) {
				return // it goes on by itself
			}
			if !t.Promises.Salvaged {
				w.History.Report(history.Dirty, "%s of %s-%d: %v", name, t.Name, partition, err)
			}
			delete(next, partition)
		})
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if len(p.Records) == 0 {
				return
			}
			from, known := next[p.Partition]
			if !known || t.Promises.Salvaged && p.Records[0].Offset < from {
				from = history.None
			}
			items := make([]history.Item, len(p.Records))
			for i, r := range p.Records {
				items[i] = history.Item{Offset: r.Offset, Value: r.Value}
			}
			w.History.Read(name, history.Partition{Topic: t.Name, Index: p.Partition}, from, items...)
			next[p.Partition] = items[len(items)-1].Offset + 1
		})
	}
}

// pause waits between two questions; false when the workload ends.
func (w *Workload) pause(d time.Duration) bool {
	return sleep(w.running, d)
}

// sleep waits; false when ctx ends.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// ends asks for the ends of the logs.
func (w *Workload) ends(t Topic) {
	for w.pause(500 * time.Millisecond) {
		asked := make([]*history.Latest, t.Partitions)
		for i := range asked {
			asked[i] = w.History.Latest(history.Partition{Topic: t.Name, Index: int32(i)})
		}
		offsets, err := w.admin.ListEndOffsets(w.running, t.Name)
		if err != nil {
			continue
		}
		offsets.Each(func(o kadm.ListedOffset) {
			if o.Err == nil {
				asked[o.Partition].Got(o.Offset)
			}
		})
	}
}

// commits commits offsets of a group without members, and asks for them.
func (w *Workload) commits(t Topic, group string) {
	p := history.Partition{Topic: t.Name}
	for n := int64(1); w.pause(100 * time.Millisecond); n++ {
		commit := w.History.GroupCommit(group, p, n)
		var offsets kadm.Offsets
		offsets.Add(kadm.Offset{Topic: t.Name, Partition: 0, At: n, LeaderEpoch: -1})
		answers, err := w.admin.CommitOffsets(w.running, group, offsets)
		if err == nil {
			err = answers.Error()
		}
		if err != nil {
			commit.Unknown()
		} else {
			commit.Acked()
		}
		if n%5 != 0 {
			continue
		}
		fetch := w.History.GroupFetch(group, p)
		got, err := w.admin.FetchOffsets(w.running, group)
		if err != nil {
			continue
		}
		if o, ok := got.Lookup(t.Name, 0); ok && o.Err == nil {
			fetch.Got(o.At)
		} else if !ok {
			fetch.Got(history.None)
		}
	}
}

// Acked is how many records were acknowledged.
func (w *Workload) Acked() int64 { return w.acked.Load() }

// Sent is how many records were sent.
func (w *Workload) Sent() int64 { return w.sent.Load() }

// Failed is how many records a producer gave up: not one, as long as all errors
// are such that clients retry.
func (w *Workload) Failed() int64 { return w.failed.Load() }

// Failures are the errors with which records were given up, and how often.
func (w *Workload) Failures() map[string]int {
	w.failures.mu.Lock()
	defer w.failures.mu.Unlock()
	return maps.Clone(w.failures.all)
}

type failures struct {
	mu  sync.Mutex
	all map[string]int
}

func (f *failures) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil {
		f.all = map[string]int{}
	}
	f.all[err.Error()]++
}

// Queries is how many counts by SQL were answered, and how many not.
func (w *Workload) Queries() (answered, unanswered int64) {
	return w.asked.Load(), w.unanswered.Load()
}

// AwaitAcks waits until n more records are acknowledged.
func (w *Workload) AwaitAcks(ctx context.Context, n int64) error {
	want := w.acked.Load() + n
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for w.acked.Load() < want {
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d further records are acknowledged: %w", n-(want-w.acked.Load()), n, ctx.Err())
		}
	}
	return nil
}

// Finish ends the writers, waits for their last answers, ends everybody, and
// reads everything back. The cluster must be whole again.
func (w *Workload) Finish(ctx context.Context) (history.Result, error) {
	w.pausing()
	w.writing.Wait()
	for _, p := range w.producers {
		if err := p.Flush(ctx); err != nil {
			return history.Result{}, errors.Join(fmt.Errorf("%d of %d records are acknowledged: %w", w.acked.Load(), w.sent.Load(), err), w.Close())
		}
	}
	err := w.finalCounts(ctx)
	if err := errors.Join(err, w.Close()); err != nil {
		return history.Result{}, err
	}
	for _, t := range w.o.Topics {
		if err := w.readBack(ctx, t); err != nil {
			return history.Result{}, err
		}
	}
	w.admin.Close()
	return w.History.Check(), nil
}

// Verdict is Finish, printed as a table; an error when a promise was broken.
func (w *Workload) Verdict(ctx context.Context, out io.Writer) error {
	result, err := w.Finish(ctx)
	if err != nil {
		return err
	}
	answered, unanswered := w.Queries()
	fmt.Fprintf(out, "\n%s%-28s %10d\n%-28s %10d\n%-28s %10d\n\n", result,
		"given up by producers", w.Failed(), "SQL counts answered", answered, "SQL counts to be asked again", unanswered)
	if !result.OK() || w.Failed() > 0 {
		return fmt.Errorf("a promise was broken\n%s\n%d records were given up: %v", result, w.Failed(), w.Failures())
	}
	return nil
}

// Close ends the clients, whatever they do.
func (w *Workload) Close() error {
	w.pausing()
	w.stop()
	for _, p := range w.producers {
		p.Close()
	}
	w.producers = nil
	w.writing.Wait()
	w.rest.Wait()
	return nil
}

// bounds are where the partitions of a topic begin and end. When a broker is dead
// whose lease still lives, or two refuse partitions of one topic in the same moment
// because those move, the admin client reports it: it is asked again here.
func (w *Workload) bounds(ctx context.Context, t Topic) (starts, ends kadm.ListedOffsets, err error) {
	for {
		starts, err = w.admin.ListStartOffsets(ctx, t.Name)
		if err == nil {
			ends, err = w.admin.ListEndOffsets(ctx, t.Name)
		}
		if err == nil {
			err = errors.Join(starts.Error(), ends.Error())
		}
		if err == nil {
			return starts, ends, nil
		}
		// Errors of single brokers come wrapped, and only kadm's own type opens them.
		var shards *kadm.ShardErrors
		if errors.As(err, &shards) && len(shards.Errs) > 0 {
			err = shards.Errs[0].Err
		}
		if !kerr.IsRetriable(err) || !sleep(ctx, 200*time.Millisecond) {
			return nil, nil, fmt.Errorf("ask where %s begins and ends: %w", t.Name, err)
		}
	}
}

// readBack reads a topic whole.
func (w *Workload) readBack(ctx context.Context, t Topic) error {
	starts, ends, err := w.bounds(ctx, t)
	if err != nil {
		return err
	}
	client, err := w.client(kgo.ConsumeTopics(t.Name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer client.Close()
	finals, left := map[int32]*history.Final{}, map[int32]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(t.Name, end.Partition)
		f := w.History.Final(history.Partition{Topic: t.Name, Index: end.Partition}, start.Offset)
		f.End(end.Offset)
		finals[end.Partition] = f
		if start.Offset < end.Offset {
			left[end.Partition] = end.Offset
		}
	})
	if len(finals) != int(t.Partitions) {
		return fmt.Errorf("%s has %d partitions, want %d", t.Name, len(finals), t.Partitions)
	}
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("read %s back: partitions and the ends they have not reached: %v: %w", t.Name, left, ctx.Err())
		}
		for _, e := range fetches.Errors() {
			if !kerr.IsRetriable(e.Err) {
				return fmt.Errorf("read %s-%d back: %w", t.Name, e.Partition, e.Err)
			}
		}
		fetches.EachRecord(func(r *kgo.Record) {
			finals[r.Partition].Add(history.Item{Offset: r.Offset, Value: r.Value})
			if end, ok := left[r.Partition]; ok && r.Offset+1 >= end {
				delete(left, r.Partition)
			}
		})
	}
	return nil
}

// latencies are those of acknowledgements, with their times.
type latencies struct {
	mu  sync.Mutex
	all []latency
}

type latency struct {
	at   time.Time
	took time.Duration
}

func (l *latencies) add(at time.Time, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, latency{at, took})
}

// Latency of acknowledgements in a stretch of time.
type Latency struct {
	Count         int
	P50, P99, Max time.Duration
	// Pause is the longest time without any acknowledgement.
	Pause time.Duration
}

// String is the figures in a line.
func (l Latency) String() string {
	return fmt.Sprintf("%d acks, p50 %v, p99 %v, max %v, longest pause %v", l.Count,
		l.P50.Round(time.Millisecond), l.P99.Round(time.Millisecond), l.Max.Round(time.Millisecond), l.Pause.Round(time.Millisecond))
}

// Latency returns the figures of what was acknowledged since then.
func (w *Workload) Latency(since time.Time) Latency {
	w.latencies.mu.Lock()
	defer w.latencies.mu.Unlock()
	var took []time.Duration
	var r Latency
	last := since
	for _, l := range w.latencies.all {
		if l.at.Before(since) {
			continue
		}
		took = append(took, l.took)
		r.Pause = max(r.Pause, l.at.Sub(last))
		last = l.at
	}
	r.Pause = max(r.Pause, time.Since(last))
	if r.Count = len(took); r.Count == 0 {
		return r
	}
	slices.Sort(took)
	r.P50, r.P99, r.Max = took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
	return r
}
