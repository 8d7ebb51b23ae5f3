package vector

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/embedder"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore/committed"
	"github.com/chronik-stream/chronik/objstore"
)

const (
	readsMost       = 32       // of the log at once, of one search
	decodedMax      = 64 << 20 // of one batch
	previewMost     = 100      // characters
	recordBytesMost = 1 << 20  // of one that is kept
)

// record is what a hit shows of the log.
type record struct {
	key, value []byte
}

// records reads single records of the log, and keeps those that were read last.
// They are immutable: where one is gone the index does not find it any more.
type records struct {
	log       *committed.Reader
	bytesMax  int64 // that are kept
	valuesMax int64 // of keys and values in one answer
	decoders  sync.Pool

	mu     sync.Mutex
	of     map[place]*list.Element // of *keptRecord
	recent *list.List              // the last used first
	bytes  int64
}

type place struct {
	topic.Partition
	offset int64
}

type keptRecord struct {
	at place
	record
}

// size is about what a record takes.
func (r record) size() int64 { return int64(len(r.key)+len(r.value)) + 200 }

func newRecords(log *committed.Reader, bytesMax, valuesMax int64) *records {
	return &records{
		log: log, bytesMax: bytesMax, valuesMax: valuesMax, of: map[place]*list.Element{}, recent: list.New(),
		decoders: sync.Pool{New: func() any { return batch.NewDecoder(decodedMax) }},
	}
}

// filled is what became of filling hits.
type filled struct {
	gone    int   // records that are not there; their hits have the offset −1
	damaged error // why one cannot be read, whose hit stays as it was; nil: all can
}

// fill gives hits their previews, and keys and values if they are wanted.
func (r *records) fill(ctx context.Context, id topic.ID, field string, hits []Hit, values bool) (f filled, err error) {
	if len(hits) == 0 {
		return f, nil
	}
	order := make([]int, len(hits))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(x, y int) int { return compareHits(&hits[x], &hits[y]) })
	each := (len(order) + readsMost - 1) / readsMost
	runs := slices.Collect(slices.Chunk(order, each))
	damaged := make([]error, len(runs))
	var shown atomic.Int64 // bytes of keys and values
	group, inner := errgroup.WithContext(ctx)
	for i, run := range runs {
		group.Go(func() (err error) {
			damaged[i], err = r.fillRun(inner, id, field, hits, run, values, &shown)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return f, err
	}
	for i := range hits {
		if hits[i].Offset < 0 {
			f.gone++
		}
	}
	f.damaged = cmp.Or(damaged...)
	return f, nil
}

func compareHits(x, y *Hit) int {
	if x.Partition != y.Partition {
		return int(x.Partition) - int(y.Partition)
	}
	if x.Offset < y.Offset {
		return -1
	}
	return 1
}

// fillRun fills hits that lie one after the other in the log: those of one batch
// are read at once.
func (r *records) fillRun(ctx context.Context, id topic.ID, field string, hits []Hit, run []int, values bool, shown *atomic.Int64) (damaged, err error) {
	for n, i := range run {
		h := &hits[i]
		at := place{topic.Partition{Topic: id, Index: h.Partition}, h.Offset}
		one, known := r.get(at)
		if !known {
			var wanted []int64
			for _, i := range run[n:] {
				if hits[i].Partition == h.Partition {
					wanted = append(wanted, hits[i].Offset)
				}
			}
			read, err := r.read(ctx, at.Partition, wanted)
			switch {
			case errors.Is(err, format.ErrCorrupt) || errors.Is(err, objstore.ErrNotFound) || errors.Is(err, batch.ErrTooLarge):
				damaged = err
				continue
			case err != nil:
				return nil, err
			}
			one, known = read[at.offset]
		}
		if known {
			h.show(one, field, values)
		} else {
			h.Offset = -1
		}
		if shown.Add(int64(len(h.Key)+len(h.Value))) > r.valuesMax {
			return nil, &TooLargeError{r.valuesMax}
		}
	}
	return damaged, nil
}

// read reads the batch of the first of some offsets, which rise, and keeps and
// returns the records of it that are wanted. What is not there is gone.
func (r *records) read(ctx context.Context, p topic.Partition, wanted []int64) (map[int64]record, error) {
	chunk, err := r.log.Read(ctx, p, wanted[0], 1)
	var hole *committed.HoleError
	if errors.Is(err, committed.ErrBelowStart) || errors.Is(err, committed.ErrNotCommitted) || errors.As(err, &hole) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	decoder, _ := r.decoders.Get().(*batch.Decoder)
	defer r.decoders.Put(decoder)
	found := map[int64]record{}
	err = batch.Each(chunk.Batches, func(h batch.Header, raw []byte) error {
		records, err := decoder.Open(h, raw)
		if err != nil {
			return err
		}
		for len(wanted) > 0 && records.Next() {
			next := records.Record()
			for len(wanted) > 0 && wanted[0] < next.Offset {
				wanted = wanted[1:]
			}
			if len(wanted) > 0 && wanted[0] == next.Offset {
				one := record{bytesOf(next.Key), bytesOf(next.Value)}
				found[next.Offset] = one
				r.keep(place{p, next.Offset}, one)
			}
		}
		return records.Err()
	})
	return found, err
}

// bytesOf copies bytes of a batch; nil stays nil.
func bytesOf(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

func (r *records) get(at place) (record, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.of[at]
	if e == nil {
		return record{}, false
	}
	r.recent.MoveToFront(e)
	kept, _ := e.Value.(*keptRecord)
	return kept.record, true
}

func (r *records) keep(at place, one record) {
	if one.size() > recordBytesMost {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of[at] != nil {
		return
	}
	r.of[at] = r.recent.PushFront(&keptRecord{at, one})
	r.bytes += one.size()
	for r.bytes > r.bytesMax {
		last := r.recent.Back()
		old, _ := r.recent.Remove(last).(*keptRecord)
		delete(r.of, old.at)
		r.bytes -= old.size()
	}
}

// show gives a hit what it shows of its record. The preview is of the text that
// was embedded; of the value, where the topic has come to embed another one.
func (h *Hit) show(r record, field string, values bool) {
	text, skipped := embedder.Text(field, r.key, r.value)
	if skipped != "" && utf8.Valid(r.value) {
		text = string(r.value)
	}
	h.Preview = preview(text)
	if values {
		h.Key, h.Value = r.key, r.value
	}
}

// preview is the beginning of a text.
func preview(text string) string {
	characters := 0
	for i := range text {
		if characters == previewMost {
			return strings.Clone(text[:i])
		}
		characters++
	}
	return text
}

// present are the hits whose records are there.
func present(hits []Hit) []Hit {
	return slices.DeleteFunc(hits, func(h Hit) bool { return h.Offset < 0 })
}

// Records gives hits of a topic, by partition and offset, what they show of their
// records: previews, and keys and values if they are wanted. The topic need not
// have vectors. A record that is gone, or cannot be read, leaves its hit as it was.
func (s *Searcher) Records(ctx context.Context, name string, hits []Hit, values bool) error {
	t, ok := s.config.Sources.Catalog.Topic(name)
	if !ok {
		return &UnknownTopicError{name}
	}
	shown := slices.Clone(hits)
	field := "value"
	if c := s.settings(t); c.Enabled {
		field = c.Field
	}
	f, err := s.records.fill(ctx, t.ID, field, shown, values)
	if err != nil {
		return err
	}
	if f.damaged != nil {
		s.config.Log.Warn("records that were found cannot be read", "topic", name, "err", f.damaged)
	}
	for i := range shown {
		if shown[i].Offset >= 0 {
			hits[i] = shown[i]
		}
	}
	return nil
}
