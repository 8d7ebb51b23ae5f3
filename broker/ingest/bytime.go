package ingest

import (
	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/metastore"
)

// MaxTimestamp is the largest timestamp in ms of the visible tail from offset
// first on. ok is false when that is empty.
func (p *Partition) MaxTimestamp(first int64) (ms int64, ok bool) {
	for _, e := range p.visibleFrom(first) {
		if ts := e.header.MaxTimestamp; !ok || ts > ms {
			ms, ok = ts, true
		}
	}
	return ms, ok
}

// OffsetForTime finds the first record with a timestamp ≥ ms in the visible tail
// from offset first on.
func (p *Partition) OffsetForTime(ms, first int64) (core.RecordTime, bool, error) {
	for _, e := range p.visibleFrom(first) {
		if e.header.MaxTimestamp < ms {
			continue
		}
		raw, err := p.bytesOf(e)
		if err != nil {
			return core.RecordTime{}, false, err
		}
		// The header in memory is from before the offset was patched in.
		h, err := batch.ParseHeader(raw)
		if err != nil {
			return core.RecordTime{}, false, err
		}
		found, ok, err := p.log.recordAt(h, raw, ms)
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

// visibleFrom returns the entries that hold offsets from first on.
func (p *Partition) visibleFrom(first int64) []*entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.index(first)
	n := p.index(p.visible)
	return append([]*entry(nil), p.entries[i:max(i, n)]...)
}
