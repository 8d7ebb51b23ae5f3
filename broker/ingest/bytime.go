package ingest

import (
	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/metastore"
)

// TailView is the visible tail of a partition as it was. It stays so while
// batches are committed and leave the tail.
type TailView struct {
	part    *Partition
	entries []*entry
}

// View returns the visible tail from offset first on.
func (p *Partition) View(first int64) TailView {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, n := p.index(first), p.index(p.visible)
	return TailView{p, append([]*entry(nil), p.entries[i:max(i, n)]...)}
}

// MaxTimestamp is the largest timestamp in ms; ok is false without batches.
func (v TailView) MaxTimestamp() (ms int64, ok bool) {
	for _, e := range v.entries {
		if ts := e.header.MaxTimestamp; !ok || ts > ms {
			ms, ok = ts, true
		}
	}
	return ms, ok
}

// OffsetForTime finds the first record with a timestamp ≥ ms. wal.ErrGone: a
// batch that was not in memory has been committed, and its WAL file used again.
func (v TailView) OffsetForTime(ms int64) (core.RecordTime, bool, error) {
	for _, e := range v.entries {
		if e.header.MaxTimestamp < ms {
			continue
		}
		raw, err := v.part.bytesOf(e)
		if err != nil {
			return core.RecordTime{}, false, err
		}
		// The header in memory is from before the offset was patched in.
		h, err := batch.ParseHeader(raw)
		if err != nil {
			return core.RecordTime{}, false, err
		}
		found, ok, err := v.part.log.recordAt(h, raw, ms)
		if ok || err != nil {
			found.Epoch = metastore.Epoch(e.Epoch)
			return found, ok, err
		}
	}
	return core.RecordTime{}, false, nil
}

func (l *Log) recordAt(h batch.Header, raw []byte, ms int64) (core.RecordTime, bool, error) {
	d := l.decoders.Get().(*batch.Decoder)
	defer l.decoders.Put(d)
	it, err := d.Open(h, raw)
	if err != nil {
		return core.RecordTime{}, false, err
	}
	for it.Next() {
		if r := it.Record(); r.Timestamp >= ms {
			return core.RecordTime{Offset: r.Offset, Timestamp: r.Timestamp}, true, nil
		}
	}
	return core.RecordTime{}, false, it.Err()
}
