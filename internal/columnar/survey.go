package columnar

import (
	"context"
	"math"

	"github.com/chronik-stream/chronik/internal/batch"
)

// plan is what the first walk over the records finds out for the second.
type plan struct {
	result  Result // all but the files
	fields  *inference
	columns []Column
	rooms   []room          // of the columns
	parts   map[int64]*part // by number of the time partition
	wanted  int             // parts that are written
	bytes   int64           // of values
}

// part is one time partition.
type part struct {
	name    string
	skip    bool
	records int64
}

// survey walks all records once, to find out the columns that they need, their
// time partitions, and how far one call may go.
func survey(ctx context.Context, batches Batches, decoder *batch.Decoder, o Options) (*plan, error) {
	p := &plan{fields: newInference(o.Fixed, o.ColumnsMax), parts: make(map[int64]*part)}
	var current *part
	var number int64
	visit := func(r *batch.Record, _ bool) (bool, error) {
		if n := o.Partitioning.number(r.Timestamp); current == nil || n != number {
			if current, number = p.part(n, o), n; current == nil {
				return false, nil
			}
		}
		if current.skip {
			return true, nil
		}
		current.records++
		p.result.Records++
		p.bytes += int64(len(r.Value))
		if p.fields.observe(r.Value) {
			p.result.Objects++
		}
		return true, nil
	}
	walked, err := walk(ctx, batches, decoder, o.First, o.Next, visit)
	if err != nil {
		return nil, err
	}
	p.result.Next, p.result.Unreadable = walked.next, walked.unreadable
	p.columns, p.rooms, p.result.FieldsLost = p.fields.close()
	return p, nil
}

// part returns the part of a number, nil when it would be one too many.
func (p *plan) part(number int64, o Options) *part {
	if known := p.parts[number]; known != nil {
		return known
	}
	fresh := &part{name: o.Partitioning.name(number)}
	fresh.skip = o.Only != nil && *o.Only != fresh.name
	if !fresh.skip {
		if p.wanted == o.PartsMax {
			return nil
		}
		p.wanted++
	}
	p.parts[number] = fresh
	return fresh
}

// Walk calls visit for every record that Write makes a row of: those with an
// offset in [first, next) that are no marker of a transaction. It returns what
// could not be decoded. A record is good until visit returns.
func Walk(ctx context.Context, batches Batches, decoder *batch.Decoder, first, next int64, visit func(*batch.Record) error) ([]Unreadable, error) {
	w, err := walk(ctx, batches, decoder, first, next, func(r *batch.Record, _ bool) (bool, error) { return true, visit(r) })
	return w.unreadable, err
}

// walked is how far a walk came.
type walked struct {
	next       int64 // everything below it has been visited
	unreadable []Unreadable
}

// walk calls visit for every record within [first, next) that is not a marker of
// a transaction, until it returns false. Of a batch that cannot be decoded to
// its end, the records before the damage are visited.
func walk(ctx context.Context, batches Batches, decoder *batch.Decoder, first, next int64, visit func(r *batch.Record, appendTime bool) (bool, error)) (walked, error) {
	w := walked{next: first}
	for b, err := range batches {
		if err != nil {
			return w, err
		}
		if err := ctx.Err(); err != nil {
			return w, err
		}
		h := b.Header
		if h.BaseOffset >= next {
			break
		}
		if h.Next() <= first {
			continue
		}
		if !h.Attributes.Control() {
			stopped, err := w.walkBatch(b, decoder, first, next, visit)
			if err != nil || stopped {
				return w, err
			}
		}
		w.next = min(h.Next(), next)
	}
	if next != math.MaxInt64 {
		w.next = max(first, next)
	}
	return w, nil
}

func (w *walked) walkBatch(b Batch, decoder *batch.Decoder, first, next int64, visit func(*batch.Record, bool) (bool, error)) (stopped bool, err error) {
	lost := b.Header.BaseOffset // the first offset that is lost if the batch is damaged
	records, err := decoder.Open(b.Header, b.Raw)
	if err == nil {
		appendTime := b.Header.Attributes.LogAppendTime()
		for records.Next() {
			r := records.Record()
			if r.Offset >= next {
				return false, nil
			}
			lost = r.Offset + 1
			if r.Offset < first {
				continue
			}
			more, err := visit(r, appendTime)
			if err != nil {
				return true, err
			}
			if !more {
				w.next = r.Offset
				return true, nil
			}
		}
		err = records.Err()
	}
	if err != nil && lost < min(b.Header.Next(), next) {
		w.unreadable = append(w.unreadable, Unreadable{First: max(lost, first), Next: min(b.Header.Next(), next), Err: err})
	}
	return false, nil
}
