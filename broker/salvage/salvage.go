// Package salvage brings back what a broker acknowledged, and lost the right to
// commit: batches in its write-ahead log that another owner of their partition
// has overtaken while this one was away. Under durability=wal, or acks=1, their
// producers were told that they are stored. So they are appended again, at the
// partition's end, as new records, by whoever owns it now, over the ordinary
// protocol [salvage-as-new].
//
// Each batch is appended once [salvage-idempotent], however often a salvage is cut
// off and begun again, and not at all where its producer has sent it again
// meanwhile:
//
//   - A batch of an idempotent producer is sent as it is, when the owner has let
//     the producer itself go first (core.ErrSalvageLater). The owner knows it again
//     by its producer id, epoch and sequence. If it is old, and the owner does
//     not know the producer, it may have known and forgotten it (Expiry):
//     then it is as if it were refused.
//   - If that is refused, because the producer has gone on without it, the log is
//     read from where the partition was taken over: either the batch is there,
//   - or its records are, under another epoch of the producer. One that misses
//     what it had sent before begins a new epoch, and sends again whatever it has
//     no answer for, in other batches maybe. The orphan may be what was sent again,
//     and another broker have salvaged what was sent before: so under later epochs
//     the log is read before anything is sent, and the owner refuses what is sent
//     then if another broker has salvaged something since.
//   - In a topic that is compacted by key they may be neither, though they were sent
//     again: compaction takes away what later records of their keys supersede. So
//     what is superseded in that stretch of the log is not appended again. Nor, for
//     the same reason, is what is older than the topic's retention.ms, nor anything
//     if retention.bytes has taken away where the log was cut off: it would have
//     taken what came before that, too.
//   - Or what is not there is sent under an identity of its own: a producer id
//     that is made from the producer's id, epoch and sequence alone. Every broker
//     that has the batch sends it under the same one: when its salvage to an
//     owner failed midway, that owner has it too, and salvages it later.
//   - Batches of producers without a number are sent under a producer id made from
//     the leader epoch under which they were written, which one broker had, and
//     their distance from where that epoch was cut off as the sequence.
//
// A batch stays in the write-ahead log until the owner has acknowledged it, and for
// longer where its file holds others. That it is settled is remembered beside it
// (Settled): its copies in the partition's log may expire, and be found no more.
//
// What the owner refuses for good, say because the topic allows only smaller ones
// now, is told in log and metric, and stays there too: until this broker begins its next
// session, which takes it for settled if a later batch of its leader epoch was
// appended under an identity of our own.
package salvage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/wal"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
)

// Orphan is a batch that another owner has overtaken.
type Orphan struct {
	wal.Recovered
	Cut int64 // where its leader epoch was cut off
}

// sequence is that of its first record under an identity of its own.
func (o *Orphan) sequence() int32 { return int32((o.Frame.First - o.Cut) & math.MaxInt32) }

// Options are what a Salvager is made of.
type Options struct {
	Catalog *metastore.Catalog
	Read    func(*wal.Recovered) ([]byte, error) // the batch, from the write-ahead log
	Release func([]wal.Recovered)                // it is not needed there any more
	Settled *Settled                             // nil: nothing is remembered
	Config  func(*metastore.Topic, *metastore.Configs) topicconfig.Effective
	Dial    Dial
	// Expiry is how long owners remember an idle producer; 0: for ever.
	Expiry  time.Duration
	Slog    *slog.Logger
	Metrics *Metrics // nil: counted nowhere
}

// Salvager salvages for one session of a broker. Its methods may be called at once.
type Salvager struct {
	Options

	mu    sync.Mutex
	jobs  map[topic.Partition][]Orphan
	why   map[topic.Partition]string // what the log says they wait for
	ended bool                       // what else comes is for the next session
	wake  chan struct{}
}

// New returns a Salvager that has nothing to do.
func New(o Options) *Salvager {
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	return &Salvager{Options: o, jobs: map[topic.Partition][]Orphan{}, why: map[topic.Partition]string{}, wake: make(chan struct{}, 1)}
}

// Add hands over batches of a partition, in the order in which they were written.
func (s *Salvager) Add(p topic.Partition, orphans []Orphan) {
	orphans = slices.DeleteFunc(slices.Clone(orphans), func(o Orphan) bool {
		settled := s.Settled.has(p, &o)
		if settled {
			s.settle(&o, "known")
			s.Release([]wal.Recovered{o.Recovered})
		}
		return settled
	})
	if len(orphans) == 0 {
		return
	}
	s.mu.Lock()
	ended := s.ended
	if !ended {
		s.jobs[p] = append(s.jobs[p], orphans...)
		s.Metrics.pending.Add(float64(len(orphans)))
	}
	s.mu.Unlock()
	if ended {
		return
	}
	s.Slog.Warn("batches in the write-ahead log were overtaken by another owner, they are appended again as new records",
		"partition", p, "batches", len(orphans), "first", orphans[0].Frame.First, "epoch", orphans[0].Frame.Epoch)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Pauses between two tries of what did not work.
const (
	pauseMin = 100 * time.Millisecond
	pauseMax = time.Second
)

// Run salvages until ctx ends, a few partitions at once. What it has not
// done by then is found again in the write-ahead log by the next session.
func (s *Salvager) Run(ctx context.Context) {
	defer s.Close()
	pause := pauseMin
	for {
		worked, left := s.round(ctx)
		if pause = min(2*pause, pauseMax); worked {
			pause = pauseMin
		}
		var timer <-chan time.Time
		if left {
			timer = time.After(pause)
		}
		select {
		case <-timer:
		case <-s.wake:
		case <-ctx.Done():
			return
		}
	}
}

// Close lets go of what is left: Run does it at its end, and who never ran it has to.
// It may be called again.
func (s *Salvager) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for p, orphans := range s.jobs {
		s.Metrics.pending.Sub(float64(len(orphans)))
		delete(s.jobs, p)
	}
}

// partitionsMax is how many partitions are salvaged at once.
const partitionsMax = 8

// round tries every partition once.
func (s *Salvager) round(ctx context.Context) (worked, left bool) {
	s.mu.Lock()
	partitions := make([]topic.Partition, 0, len(s.jobs))
	for p := range s.jobs {
		partitions = append(partitions, p)
	}
	s.mu.Unlock()
	slices.SortFunc(partitions, topic.Partition.Compare)
	var mu sync.Mutex
	settled := map[topic.Partition][]*Orphan{}
	var all errgroup.Group
	all.SetLimit(partitionsMax)
	for _, p := range partitions {
		all.Go(func() error {
			s.mu.Lock()
			orphans := s.jobs[p]
			s.mu.Unlock()
			done, kept, err := s.salvage(ctx, p, orphans)
			s.finish(p, done)
			if ctx.Err() == nil {
				s.waits(p, len(orphans)-done, err)
			}
			mu.Lock()
			defer mu.Unlock()
			worked, left = worked || done > 0, left || err != nil
			for i := range orphans[:done] {
				if !slices.Contains(kept, &orphans[i]) {
					settled[p] = append(settled[p], &orphans[i])
				}
			}
			return nil
		})
	}
	_ = all.Wait() // none of them returns an error
	if err := s.Settled.note(settled); err != nil {
		s.Slog.Warn("what was salvaged is not remembered: should its records have expired when this broker begins anew, they are appended again", "error", err)
	}
	for _, orphans := range settled {
		for _, o := range orphans {
			s.Release([]wal.Recovered{o.Recovered})
		}
	}
	return worked, left
}

// finish forgets the first n orphans of a partition.
func (s *Salvager) finish(p topic.Partition, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Metrics.pending.Sub(float64(n))
	if s.jobs[p] = s.jobs[p][n:]; len(s.jobs[p]) == 0 {
		delete(s.jobs, p)
	}
}

// waits tells why a partition goes on later, when that is another reason than the
// last time: it is tried each second, for minutes maybe.
func (s *Salvager) waits(p topic.Partition, left int, err error) {
	reason := ""
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		reason = cause.Error() // at last one without offsets and ports, which change
	}
	s.mu.Lock()
	same := s.why[p] == reason
	if reason == "" {
		delete(s.why, p)
	} else {
		s.why[p] = reason
	}
	s.mu.Unlock()
	if !same && err != nil {
		s.Slog.Info("salvage goes on later", "partition", p, "batches_left", left, "reason", err)
	}
}

// errNoOwner: nobody owns the partition at the moment.
var errNoOwner = errors.New("partition has no owner at the moment")

// salvage appends what is left of a partition and returns how many of the orphans
// are done with, and which of these are to be kept in the write-ahead log.
func (s *Salvager) salvage(ctx context.Context, p topic.Partition, orphans []Orphan) (done int, kept []*Orphan, err error) {
	if t, ok := s.Catalog.TopicByID(p.Topic); !ok || p.Index >= t.Partitions {
		for i := range orphans {
			s.settle(&orphans[i], "deleted")
		}
		s.Slog.Info("overtaken batches let go, their topic is deleted", "partition", p, "batches", len(orphans))
		return len(orphans), nil, nil
	}
	var owner metastore.Broker
	view := s.Catalog.Partition(p)
	s.Catalog.View(func(v *metastore.View) {
		if o, alive := v.Owner(p); alive {
			owner, _ = v.Broker(o.Broker)
		}
	})
	if owner.Session == 0 || view.Topic == nil {
		return 0, nil, errNoOwner
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	peer, err := connect(ctx, s.Dial, owner)
	if err != nil {
		return 0, nil, err
	}
	defer peer.close()
	j := &job{Salvager: s, partition: p, topic: view.Topic.Name, orphans: orphans, peer: peer, expired: math.MinInt64, forgotten: math.MinInt64}
	if s.Expiry > 0 {
		j.forgotten = time.Now().Add(-s.Expiry / 2).UnixMilli() // half of it for clocks that differ
	}
	c := s.Config(view.Topic, s.Catalog.Configs())
	if j.compacted = c.CleanupCompact; c.CleanupDelete && c.RetentionMs >= 0 {
		j.expired = time.Now().UnixMilli() - c.RetentionMs
	}
	j.sized = c.CleanupDelete && c.RetentionBytes >= 0
	done, err = j.run(ctx)
	if done > 0 {
		s.Slog.Warn("overtaken batches were salvaged", "topic", j.topic, "partition", p, "owner", owner.ID,
			"appended", j.counts["appended"], "known", j.counts["known"], "superseded", j.counts["superseded"], "expired", j.counts["expired"], "refused", j.counts["refused"])
	}
	return done, j.kept, err
}

// settle counts what became of an orphan.
func (s *Salvager) settle(o *Orphan, outcome string) {
	s.Metrics.batches.WithLabelValues(outcome).Inc()
	s.Metrics.records.WithLabelValues(outcome).Add(float64(o.Header.Records))
}

// job is the salvage of one partition over one connection.
type job struct {
	*Salvager
	partition topic.Partition
	topic     string
	compacted bool  // by key
	expired   int64 // ms: retention takes away what is older
	sized     bool  // retention takes away what is too much
	forgotten int64 // ms: the owner may have forgotten producers that were last used before
	orphans   []Orphan
	peer      *peer
	counts    map[string]int
	kept      []*Orphan // refused for good

	end    int64           // of the log as the owner showed it before anything was sent
	last   map[int64]int32 // the last sequence of each producer, and of each identity under which batches are salvaged
	logged *logged         // nil: not read yet
	late   map[epoch]bool  // those whose first orphan's turn had come when the log was read
	seen   int64           // up to here we know what of the log was salvaged
	codec  *batch.Decoder

	// matched is the first of the orphans of which records were found under a later
	// epoch of their producer; −1: none. Which of several that look alike are there is
	// not to be told: as many as are. So from here on all are settled, or none is.
	matched int
}

func (j *job) run(ctx context.Context) (done int, err error) {
	j.counts, j.late, j.matched = map[string]int{}, map[epoch]bool{}, -1
	if j.end, err = j.peer.end(ctx, j.topic, j.partition.Index); err != nil {
		return 0, err
	}
	if j.last, err = j.peer.producers(ctx, j.topic, j.partition.Index); err != nil {
		return 0, err
	}
	var outcomes []string
	for i := range j.orphans {
		o := &j.orphans[i]
		outcome, again, oneErr := j.one(ctx, o)
		if oneErr != nil {
			err = fmt.Errorf("batch at offset %d of epoch %d: %w", o.Frame.First, o.Frame.Epoch, oneErr)
			break
		}
		if again > 0 && j.matched < 0 {
			j.matched = i
		}
		outcomes = append(outcomes, outcome)
	}
	if err != nil && j.matched >= 0 {
		outcomes = outcomes[:j.matched]
	}
	for i, outcome := range outcomes {
		j.counts[outcome]++
		j.settle(&j.orphans[i], outcome)
		if outcome == "refused" {
			j.kept = append(j.kept, &j.orphans[i])
		}
	}
	return len(outcomes), err
}

// one settles one orphan. again is how many of its records were found under a later
// epoch of its producer.
func (j *job) one(ctx context.Context, o *Orphan) (outcome string, again int, err error) {
	own := producer.SalvageID(o.Frame.Epoch)
	// They are settled in order, so what comes before the last one is settled too.
	if last, ok := j.last[own]; ok && o.sequence() <= last {
		return "known", 0, nil
	}
	if j.whole(o) {
		return "known", 0, nil
	}
	raw, err := j.Read(&o.Recovered)
	if err != nil {
		j.Slog.Error("overtaken batch cannot be read back from the write-ahead log", "partition", j.partition, "first", o.Frame.First, "error", err)
		return "refused", 0, nil
	}
	raw = slices.Clone(raw)
	batch.PatchCreateTime(raw) // the owner stamps it anew where the topic wants that
	if o.Header.Idempotent() {
		outcome, again, err = j.numbered(ctx, o, raw)
		if again == 0 && errors.Is(err, kerr.ConcurrentTransactions) {
			delete(j.late, epochOf(o.Header)) // something was salvaged since we looked, maybe by us
			outcome, again, err = j.numbered(ctx, o, raw)
		}
		return outcome, again, err
	}
	batch.PatchProducer(raw, own, 0, o.sequence())
	base, err := j.produce(ctx, o, raw, core.Unseen)
	if errors.Is(err, kerr.DuplicateSequenceNumber) {
		return "known", 0, nil
	}
	outcome, err = j.verdict(o, base, err)
	return outcome, 0, err
}

// name is the identity of its own that an orphan of an idempotent producer is sent under.
func (j *job) name(o *Orphan) batch.Producer {
	name := identityOf(o.Header)
	return batch.Producer{ID: producer.SalvageBatchID(name.id, name.epoch, name.sequence)}
}

// whole tells whether all of an orphan was appended under a name of its own. Under
// its producer it would be appended again, if what its salvage was refused for, what
// comes before it, is there by now.
func (j *job) whole(o *Orphan) bool {
	last, named := j.last[j.name(o).ID]
	return named && o.Header.Idempotent() && last+1 >= o.Header.Records
}

// mayBeForgotten tells whether the owner would not know an orphan again that it has.
func (j *job) mayBeForgotten(o *Orphan) bool {
	_, known := j.last[o.Header.ProducerID]
	return !known && o.Header.MaxTimestamp < j.forgotten
}

// produce appends an orphan, or what is left of it.
func (j *job) produce(ctx context.Context, o *Orphan, raw []byte, seen int64) (base int64, err error) {
	base, err = j.peer.produce(ctx, j.partition, raw, seen)
	if err == nil && seen != core.Unseen {
		j.seen = max(j.seen, base+int64(o.Header.Records))
	}
	return base, err
}

// numbered settles an orphan of an idempotent producer. Of one that is named, some
// records were sent under its name already, and the others were found.
func (j *job) numbered(ctx context.Context, o *Orphan, raw []byte) (outcome string, again int, err error) {
	_, named := j.last[j.name(o).ID]
	asItIs := !named && !j.mayBeForgotten(o)
	// Under its first epoch a producer sends nothing again but what the owner knows.
	if asItIs && o.Header.ProducerEpoch == 0 {
		base, err := j.produce(ctx, o, raw, core.Unseen)
		if !gone(err) {
			outcome, err = j.verdict(o, base, err)
			return outcome, 0, err
		}
		asItIs = false
	}
	// Under later ones the log is read first; whether it is time for that the owner
	// says to a batch that was not looked for at all.
	if asItIs && !j.late[epochOf(o.Header)] {
		base, err := j.produce(ctx, o, raw, core.Unlooked)
		if !errors.Is(err, kerr.ConcurrentTransactions) && !gone(err) {
			outcome, err = j.verdict(o, base, err)
			return outcome, 0, err
		}
	}
	// What the producer has not sent again by now it does not send again: the owner
	// has let it go first.
	if e := epochOf(o.Header); !j.late[e] {
		if err := j.scan(ctx); err != nil {
			return "", 0, err
		}
		j.late[e] = true
	}
	if j.logged.found[identityOf(o.Header)] || j.whole(o) {
		return "known", 0, nil
	}
	if j.sized && o.Cut < j.peer.start {
		return "expired", 0, nil
	}
	_, named = j.last[j.name(o).ID]
	rest, err := j.rest(raw, j.name(o))
	if err != nil {
		j.Slog.Error("overtaken batch is damaged, it stays in the write-ahead log", "partition", j.partition, "first", o.Frame.First, "error", err)
		return "refused", 0, nil
	}
	if asItIs && !named && rest.again == 0 {
		base, err := j.produce(ctx, o, raw, j.seen)
		if !gone(err) {
			outcome, err = j.verdict(o, base, err)
			return outcome, 0, err
		}
	}
	switch {
	case rest.raw == nil && !named && rest.expired > 0:
		return "expired", rest.again, nil
	case rest.raw == nil && !named && rest.superseded > 0:
		return "superseded", rest.again, nil
	case rest.raw == nil || named:
		return "known", rest.again, nil
	}
	base, err := j.produce(ctx, o, rest.raw, j.seen)
	if errors.Is(err, kerr.DuplicateSequenceNumber) || errors.Is(err, kerr.OutOfOrderSequenceNumber) {
		// Also with more records or less than are left now: which ones their producer
		// has sent again is for the first who asks.
		return "known", rest.again, nil
	}
	outcome, err = j.verdict(o, base, err)
	return outcome, rest.again, err
}

// gone tells that the producer has gone on without the batch, or past it. Neither
// it nor we can append the batch under its identity any more.
func gone(err error) bool {
	return errors.Is(err, kerr.DuplicateSequenceNumber) || errors.Is(err, kerr.OutOfOrderSequenceNumber) ||
		errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.UnknownProducerID)
}

// verdict tells what came of sending an orphan: it was appended, now or before, or
// refused, for good or not.
func (j *job) verdict(o *Orphan, base int64, err error) (string, error) {
	switch {
	case err == nil && base < j.end:
		return "known", nil
	case err == nil:
		return "appended", nil
	}
	for _, final := range []error{kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidTimestamp, kerr.InvalidRecord, kerr.CorruptMessage, kerr.UnsupportedForMessageFormat} {
		if errors.Is(err, final) {
			j.Slog.Error("overtaken batch is refused by the partition's owner, it stays in the write-ahead log",
				"partition", j.partition, "first", o.Frame.First, "next", o.Header.Next(), "error", err)
			return "refused", nil
		}
	}
	return "", err
}

// Metrics are the figures of salvage. They outlive a Salvager.
type Metrics struct {
	pending prometheus.Gauge
	batches *prometheus.CounterVec
	records *prometheus.CounterVec
}

// NewMetrics makes the metrics and registers them; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	const outcomes = "appended as new ones, known to the owner already, superseded by later records of their keys, expired, refused by it and kept, or let go with their deleted topic."
	m := &Metrics{
		pending: prometheus.NewGauge(prometheus.GaugeOpts{Name: "chronik_broker_salvage_pending_batches", Help: "Batches in the WAL that another owner has overtaken, and that are still to be appended again."}),
		batches: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "chronik_broker_salvage_batches_total", Help: "Overtaken batches: " + outcomes}, []string{"outcome"}),
		records: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "chronik_broker_salvage_records_total", Help: "Records in overtaken batches: " + outcomes}, []string{"outcome"}),
	}
	for _, o := range []string{"appended", "known", "superseded", "expired", "refused", "deleted"} {
		m.batches.WithLabelValues(o)
		m.records.WithLabelValues(o)
	}
	if reg != nil {
		reg.MustRegister(m.pending, m.batches, m.records)
	}
	return m
}
