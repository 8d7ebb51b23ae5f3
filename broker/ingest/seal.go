package ingest

import (
	"time"

	"github.com/chronik-stream/chronik/broker/wal"
)

// seal gathers what one segment will hold: synced batches of all partitions, in
// the order of the WAL.
type seal struct {
	entries []*entry
	bytes   int64
	since   time.Time     // the first entry was appended: waiting for the disk counts
	urgent  bool          // somebody waits for its commit
	hasty   bool          // it has records that are embedded once it is committed
	done    chan struct{} // closed when it is committed, or never will be
	err     error         // set before done is closed
}

func newSeal() *seal { return &seal{done: make(chan struct{})} }

// synced is called by the WAL's goroutine with what one sync made durable.
func (l *Log) synced(records []wal.Record, err error) {
	entries := make([]*entry, len(records))
	for i, r := range records {
		entries[i] = r.(*entry)
	}
	if err != nil {
		for _, e := range entries {
			e.part.fail(err)
		}
		return
	}
	l.gather(entries)
	for _, e := range entries {
		e.part.syncedTo(e.next)
	}
	l.tail.hold(entries)
}

// gather puts durable entries into the current seal, and starts another whenever
// one is full: a slow object store makes more segments, not larger ones.
func (l *Log) gather(entries []*entry) {
	if len(entries) == 0 {
		return
	}
	l.sealMu.Lock()
	defer l.sealMu.Unlock()
	for _, e := range entries {
		s := l.current
		e.seal = s
		if l.aborted != nil {
			continue // that seal has failed already
		}
		if len(s.entries) == 0 {
			s.since = l.born.Add(time.Duration(e.begun))
			l.signal()
		}
		if e.object && !s.urgent {
			s.urgent = true
			l.signal()
		}
		if e.part.hasty.Load() && !s.hasty {
			s.hasty = true
			l.signal()
		}
		s.entries = append(s.entries, e)
		s.bytes += int64(e.Length)
		if s.bytes >= l.opts.SegmentBytes {
			l.turn("size")
		}
	}
}

// turn moves the current seal to those that are ready. Holds sealMu.
func (l *Log) turn(why string) {
	l.metrics.seals.WithLabelValues(why).Inc()
	l.ready = append(l.ready, l.current)
	l.metrics.sealsWaiting.Set(float64(len(l.ready)))
	l.current = newSeal()
	l.signal()
}

// hurry makes the current seal ripe soon: somebody waits for the commit of what
// is synced. It is the seal that is urgent and not the log: what is still on its
// way to the disk comes into the next one, if this one goes before.
func (l *Log) hurry() {
	l.sealMu.Lock()
	defer l.sealMu.Unlock()
	if len(l.current.entries) > 0 && !l.current.urgent {
		l.current.urgent = true
		l.signal()
	}
}

func (l *Log) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// nextSeal returns the next seal that is full or old enough, or how long to
// wait for the current one; 0 means until something happens.
func (l *Log) nextSeal(now time.Time) (*seal, time.Duration) {
	l.sealMu.Lock()
	defer l.sealMu.Unlock()
	if len(l.ready) == 0 && len(l.current.entries) > 0 {
		age, why := l.opts.SegmentAge, "age"
		if l.current.hasty {
			age = min(age, l.opts.SegmentAgeEmbedded)
		}
		if l.current.urgent {
			age, why = min(age, l.opts.SegmentAgeUrgent), "urgent"
		}
		if left := age - now.Sub(l.current.since); left > 0 {
			return nil, left
		}
		l.turn(why)
	}
	if len(l.ready) == 0 {
		return nil, 0
	}
	s := l.ready[0]
	l.ready[0] = nil
	l.ready = l.ready[1:]
	l.metrics.sealsWaiting.Set(float64(len(l.ready)))
	return s, 0
}

// abort ends the seals that are not committed: nobody will commit them. The
// current one stays, for what is still on its way to the disk.
func (l *Log) abort(err error, flying []*flush) {
	l.sealMu.Lock()
	defer l.sealMu.Unlock()
	l.aborted = err
	for _, f := range flying {
		f.seal.fail(err)
	}
	for _, s := range l.ready {
		s.fail(err)
	}
	l.ready = nil
	l.metrics.sealsWaiting.Set(0)
	l.current.fail(err)
}

func (s *seal) fail(err error) {
	s.err = err
	close(s.done)
}
