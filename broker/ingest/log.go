// Package ingest is the write half of the partitions that a broker owns: it
// gives offsets, makes batches durable in the WAL, keeps the tail in memory,
// seals it into segments, and commits them.
//
// A Log belongs to one session of the broker. It begins without partitions;
// package ownership adopts them. When the session or the WAL is lost the Log is
// over: it refuses everything, and the broker opens another, which finds on
// disk what was not committed. Nothing is carried over in memory, so that a
// restart, a lapsed lease and a failed disk take one and the same path.
//
// The path of a batch:
//
//	Append   checked, given its offset, put into the WAL's next group
//	Synced   durable: the high watermark passes it (durability=wal), it joins the
//	         seal that gathers
//	seal     64 MiB or segment.age later: sorted into a segment, uploaded
//	commit   one transaction, in the order of the seals; the high watermark
//	         passes it (durability=object), the WAL may forget it
//
// Lock order: Partition.mu before the WAL's own, which is before nothing.
// Log.sealMu is never held together with a Partition.mu.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/broker/wal"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
	"github.com/chronik-stream/chronik/objstore"
)

// Config are the knobs of the write path. The zero value of a field means its
// default.
type Config struct {
	SegmentBytes       int64         // seal at this size; default 64 MiB
	SegmentAge         time.Duration // seal at this age; default 5 s
	SegmentAgeUrgent   time.Duration // seal at this age while somebody waits for the commit; default 100 ms
	SegmentAgeEmbedded time.Duration // seal at this age where records wait to be embedded; default 1 s
	UploadsMax         int           // segments uploaded at once; default 3
	WALBytesMax        int64         // bytes not yet committed; past it produce waits, then is refused; default 2 GiB
	BudgetWait         time.Duration // how long it waits; default 2 s
	WaitingBytesMax    int64         // bytes of those that wait; further ones are refused; default 64 MiB
	TailBytesMax       int64         // batches kept in memory for readers; default 128 MiB
	RecordBytesMax     int           // records of one batch, decompressed; default 256 MiB
	ProducerExpiry     time.Duration // how long an idle idempotent producer is remembered; default 24 h
	SalvageAfter       time.Duration // how long producers come before what is salvaged; default 2 min, below 0: not at all
}

func (c Config) withDefaults() Config {
	fill(&c.SegmentBytes, 64<<20)
	fill(&c.SegmentAge, 5*time.Second)
	fill(&c.SegmentAgeUrgent, 100*time.Millisecond)
	fill(&c.SegmentAgeEmbedded, time.Second)
	fill(&c.UploadsMax, 3)
	fill(&c.WALBytesMax, 2<<30)
	fill(&c.BudgetWait, 2*time.Second)
	fill(&c.WaitingBytesMax, 64<<20)
	fill(&c.TailBytesMax, 128<<20)
	fill(&c.RecordBytesMax, 256<<20)
	fill(&c.ProducerExpiry, 24*time.Hour)
	fill(&c.SalvageAfter, 2*time.Minute)
	return c
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Options are what a Log is made of.
type Options struct {
	Config
	WAL     wal.Options              // Synced is set by Open
	Session *metastore.BrokerSession // nil: to be given by Begin
	Store   *metastore.Store
	Bucket  objstore.Bucket
	Log     *slog.Logger
	Metrics *Metrics
}

// Log holds the partitions that this broker owns in one session.
// Its methods may be called at once.
type Log struct {
	opts     Options
	born     time.Time
	wal      *wal.Log
	log      *slog.Logger
	metrics  *Metrics
	decoders sync.Pool // *batch.Decoder
	packers  sync.Pool // *packer

	mu         sync.RWMutex
	partitions map[topic.Partition]*Partition
	changed    chan struct{} // closed and replaced at each adoption
	closed     bool          // no partition is adopted any more

	budget budget
	tail   tail

	sealMu  sync.Mutex
	current *seal   // gathers what is synced
	ready   []*seal // wait to be flushed, the oldest first
	aborted error   // no seal will be committed any more
	wake    chan struct{}

	sequence int64 // of the last commit; the committing goroutine's
}

// Open opens the WAL and returns a Log without partitions, with what the WAL
// still holds.
func Open(o Options) (*Log, *wal.Recovery, error) {
	o.Config = o.withDefaults()
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	l := &Log{
		opts: o, born: time.Now(), log: o.Log, metrics: o.Metrics,
		partitions: map[topic.Partition]*Partition{},
		current:    newSeal(),
		wake:       make(chan struct{}, 1),
		changed:    make(chan struct{}),
	}
	l.decoders.New = func() any { return batch.NewDecoder(o.RecordBytesMax) }
	l.packers.New = func() any { return new(packer) }
	l.budget.init(o.WALBytesMax, o.WaitingBytesMax, o.Metrics)
	l.tail.init(o.TailBytesMax, o.Metrics)
	o.WAL.Synced = l.synced
	var rec *wal.Recovery
	var err error
	if l.wal, rec, err = wal.Open(o.WAL); err != nil {
		return nil, nil, err
	}
	return l, rec, nil
}

// Begin gives a Log that was opened without one its session, before anything is
// adopted or run.
func (l *Log) Begin(s *metastore.BrokerSession) { l.opts.Session = s }

// Adoption is a partition that this broker has just taken.
type Adoption struct {
	Partition topic.Partition
	Owner     metastore.Owner
	Committed int64 // the committed next
	LogStart  int64
	Object    bool // durability=object
	Hasty     bool // as by Hasten
	// Recovered are the frames in the WAL behind Committed, in order. The
	// ownership began at the end of the last one.
	Recovered []wal.Recovered
	Producers []producer.State // as of Committed
}

// Adopt begins to serve a partition.
func (l *Log) Adopt(a Adoption) error {
	p, entries := newPartition(l, a)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return core.ErrClosed
	}
	defer l.announce()
	if l.partitions[a.Partition] != nil {
		return fmt.Errorf("adopt %s: it is served already", a.Partition)
	}
	l.partitions[a.Partition] = p
	l.metrics.partitions.Set(float64(len(l.partitions)))
	for _, e := range entries {
		l.budget.add(int64(e.Length)) // Append counts the others
	}
	l.gather(entries)
	return nil
}

// Drop stops to serve a partition that was released, or whose topic is gone. What
// it has in the tail in that case is still flushed, and ignored by everybody.
func (l *Log) Drop(id topic.Partition) {
	l.mu.Lock()
	p := l.partitions[id]
	delete(l.partitions, id)
	l.metrics.partitions.Set(float64(len(l.partitions)))
	l.mu.Unlock()
	if p != nil {
		p.close(core.ErrNotOwner)
	}
}

// Partition returns a partition that this broker serves, or nil.
func (l *Log) Partition(id topic.Partition) *Partition {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.partitions[id]
}

// Changed returns a channel that is closed at the next adoption.
func (l *Log) Changed() <-chan struct{} {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.changed
}

// announce wakes those who wait for an adoption. Holds l.mu.
func (l *Log) announce() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Partitions returns all that this broker serves.
func (l *Log) Partitions() []*Partition {
	l.mu.RLock()
	defer l.mu.RUnlock()
	all := make([]*Partition, 0, len(l.partitions))
	for _, p := range l.partitions {
		all = append(all, p)
	}
	return all
}

// Release tells the WAL that recovered frames are not needed: they are committed
// already, or their topic is gone.
func (l *Log) Release(frames []wal.Recovered) {
	for _, f := range frames {
		l.wal.Release(f.Frame.Position.Generation, 1)
	}
}

// ReadRecovered returns the batch of a frame that Open found and that was not
// released, as it was appended.
func (l *Log) ReadRecovered(f *wal.Recovered) ([]byte, error) { return l.wal.Read(&f.Frame) }

// Refuse stops accepting: every partition answers that it is not owned here.
func (l *Log) Refuse() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	for _, p := range l.Partitions() {
		p.close(errStopping)
	}
}

// errStopping is why everything is refused by a broker that gives it all up. No
// Resume takes it back.
var errStopping = fmt.Errorf("%w: this one stops", core.ErrMoving)

// Broker is the one whose log this is.
func (l *Log) Broker() metastore.BrokerID { return l.opts.Session.Broker() }

// Valid tells whether the session still holds, so that an answer may be given.
func (l *Log) Valid() bool { return l.opts.Session.Valid() }

// Done is closed when the WAL has failed: the Log is over then.
func (l *Log) Done() <-chan struct{} { return l.wal.Broken() }

// Failed returns why the WAL refuses appends, or nil.
func (l *Log) Failed() error { return l.wal.Failed() }

// Close stops the WAL. Run must have returned.
func (l *Log) Close() error {
	l.Refuse()
	return l.wal.Close()
}

// EpochEnd implements api.Log.
func (l *Log) EpochEnd(id topic.Partition, current, epoch metastore.Epoch) (metastore.Epoch, int64, error) {
	p := l.Partition(id)
	if p == nil {
		return -1, -1, core.ErrNotOwner
	}
	if err := p.CheckEpoch(current); err != nil {
		return -1, -1, err
	}
	found, end := p.epochEnd(epoch)
	return found, end, nil
}

// Append implements api.Log. It patches offsets and timestamps into records.
func (l *Log) Append(ctx context.Context, id topic.Partition, records []byte, o core.AppendOptions) (core.Pending, error) {
	p := l.Partition(id)
	if p == nil {
		return nil, core.ErrNotOwner
	}
	var pack *packer
	if o.Recompress {
		pack = l.packers.Get().(*packer)
		defer l.packers.Put(pack)
	}
	h, records, err := l.check(records, o, pack)
	if err != nil {
		return nil, err
	}
	full, err := l.budget.take(ctx, int64(len(records)), o.Begun, l.opts.BudgetWait)
	if err != nil {
		p.miss(h)
	}
	if full {
		return &refused{err: err, until: time.Now().Add(l.opts.BudgetWait)}, nil
	}
	if err != nil {
		return nil, err
	}
	// Past the lease it could not be acknowledged. Its producer sends it to the
	// next owner; were it in our log too, it could be salvaged beside that.
	if !l.Valid() {
		p.miss(h)
		err = core.ErrNotOwner
	}
	var pending core.Pending
	if err == nil {
		pending, err = p.append(h, records, o)
	}
	if err != nil {
		l.budget.give(int64(len(records)))
		return nil, err
	}
	return pending, nil
}

// check validates one batch of a producer, and sets its timestamps as the topic
// wants them. What it returns are the same bytes, or lies in pack's buffer.
func (l *Log) check(records []byte, o core.AppendOptions, pack *packer) (batch.Header, []byte, error) {
	const magicAt = 16
	if len(records) > magicAt && records[magicAt] != 2 {
		return batch.Header{}, nil, fmt.Errorf("%w: magic %d, only 2 is supported", core.ErrMagic, records[magicAt])
	}
	h, err := batch.ParseHeader(records)
	switch {
	case err != nil:
		return h, nil, fmt.Errorf("%w: %w", core.ErrCorruptBatch, err)
	case len(records) > h.Size():
		return h, nil, fmt.Errorf("%w: more than one batch for a partition", core.ErrInvalidRecord)
	case len(records) > int(o.MessageBytesMax):
		return h, nil, fmt.Errorf("%w: %d bytes, max.message.bytes is %d", core.ErrTooLarge, len(records), o.MessageBytesMax)
	case h.Attributes.Control():
		return h, nil, fmt.Errorf("%w: clients may not write control batches", core.ErrInvalidRecord)
	case h.Attributes.Transactional():
		return h, nil, core.ErrTransactional
	case h.Attributes.LogAppendTime() && !o.LogAppendTime:
		return h, nil, fmt.Errorf("%w: the batch claims log append time, the topic has create time", core.ErrInvalidTimestamp)
	case h.ProducerID >= 0 && (h.BaseSequence < 0 || h.ProducerEpoch < 0):
		return h, nil, fmt.Errorf("%w: producer %d without epoch or sequence", core.ErrInvalidRecord, h.ProducerID)
	}
	if _, err := batch.Verify(records); err != nil {
		return h, nil, fmt.Errorf("%w: %w", core.ErrCorruptBatch, err)
	}
	d := l.decoders.Get().(*batch.Decoder)
	defer l.decoders.Put(d)
	facts, err := d.Inspect(h, records)
	if err != nil {
		return h, nil, recordError(err)
	}
	if o.Compacted && facts.Keyless >= 0 {
		return h, nil, &core.RecordError{Index: facts.Keyless, Err: fmt.Errorf("%w: a compacted topic needs a key in every record", core.ErrInvalidRecord)}
	}
	if o.Recompress && h.Attributes.Codec() != o.Codec {
		if h, records, err = pack.pack(records, facts, o); err != nil {
			return h, nil, err
		}
	}
	h, err = stamp(h, records, facts, o, time.Now().UnixMilli())
	return h, records, err
}

func recordError(err error) error {
	var r *batch.RecordError
	if errors.As(err, &r) {
		return &core.RecordError{Index: r.Index, Err: fmt.Errorf("%w: %w", core.ErrInvalidRecord, r.Err)}
	}
	if errors.Is(err, batch.ErrTooLarge) {
		return fmt.Errorf("%w: %w", core.ErrTooLarge, err)
	}
	// The CRC was right: sending it again, as clients do with a corrupt batch,
	// would not help.
	return fmt.Errorf("%w: %w", core.ErrInvalidRecord, err)
}

// stamp applies message.timestamp.type and its bounds.
func stamp(h batch.Header, records []byte, facts batch.Facts, o core.AppendOptions, now int64) (batch.Header, error) {
	switch {
	case o.LogAppendTime:
		batch.PatchLogAppendTime(records, now)
	case facts.MaxTimestamp > now && facts.MaxTimestamp-now > o.TimestampAfterMaxMs:
		return h, fmt.Errorf("%w: %d is %d ms ahead of now, message.timestamp.after.max.ms is %d",
			core.ErrInvalidTimestamp, facts.MaxTimestamp, facts.MaxTimestamp-now, o.TimestampAfterMaxMs)
	case facts.MinTimestamp >= 0 && facts.MinTimestamp < now && now-facts.MinTimestamp > o.TimestampBeforeMaxMs:
		return h, fmt.Errorf("%w: %d is %d ms before now, message.timestamp.before.max.ms is %d",
			core.ErrInvalidTimestamp, facts.MinTimestamp, now-facts.MinTimestamp, o.TimestampBeforeMaxMs)
	case facts.MaxTimestamp != h.MaxTimestamp:
		// ListOffsets and time filters rely on it.
		batch.PatchMaxTimestamp(records, facts.MaxTimestamp)
	default:
		return h, nil
	}
	return batch.ParseHeader(records)
}
