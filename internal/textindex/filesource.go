package textindex

import (
	"bytes"
	"context"
	"errors"
	"math"
	"sort"

	"golang.org/x/sync/errgroup"

	"github.com/chronik-stream/chronik/internal/format"
)

// frame is records that were compressed together.
type frame struct {
	next    uint32 // document after its last
	place   section
	content int // bytes
}

// Source implements Split. Frames are read at once where a read is a request.
func (f *File) Source(ctx context.Context, docs []uint32) ([]Source, bool, error) {
	if f.footer.sources.length == 0 {
		return nil, false, nil
	}
	frames, err := f.sourceFrames(ctx)
	if err != nil {
		return nil, true, err
	}
	all := make([]Source, len(docs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(f.framesAtOnce())
	for at := 0; at < len(docs); {
		n := sort.Search(len(frames), func(i int) bool { return frames[i].next > docs[at] })
		if n == len(frames) {
			return nil, true, errors.Join(format.Corrupt(f.footer.sourceAt.at, "no record of document %d", docs[at]), group.Wait())
		}
		first, begin := uint32(0), at
		if n > 0 {
			first = frames[n-1].next
		}
		for at < len(docs) && docs[at] < frames[n].next {
			at++
		}
		end := at
		fr := frames[n]
		group.Go(func() error {
			records, err := f.records(ctx, fr, first)
			if err != nil {
				return err
			}
			for i := begin; i < end; i++ {
				r := records[docs[i]-first]
				if 2*(len(r.Key)+len(r.Value)) < fr.content { // it would keep all of the frame in memory
					r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
				}
				all[i] = r
			}
			return nil
		})
	}
	return all, true, group.Wait()
}

// framesAtOnce is how many frames are read at once: where a read is a request, it
// is the waiting that takes time.
func (f *File) framesAtOnce() int {
	if f.pages.checked != nil {
		return 1
	}
	return 16
}

// records reads all records of a frame.
func (f *File) records(ctx context.Context, fr frame, first uint32) ([]Source, error) {
	data, err := f.pages.read(ctx, fr.place)
	if err != nil {
		return nil, err
	}
	content, err := f.zstd(data, fr.content)
	if err != nil {
		return nil, format.At("", fr.place.at, err)
	}
	d := format.NewDecoder(content)
	part := func(n int) []byte {
		if n == 0 {
			return nil
		}
		return d.Bytes(n - 1)
	}
	var all []Source
	for doc := first; doc < fr.next && !d.Failed(); doc++ {
		key, value := int(d.Uvarint(math.MaxInt32)), int(d.Uvarint(math.MaxInt32))
		all = append(all, Source{Key: part(key), Value: part(value)})
	}
	if err := d.End(); err != nil {
		return nil, format.At("", fr.place.at, err)
	}
	return all, nil
}

// sourceFrames reads, once, where the records are.
func (f *File) sourceFrames(ctx context.Context) ([]frame, error) {
	f.mu.Lock()
	frames := f.frames
	f.mu.Unlock()
	if frames != nil {
		return frames, nil
	}
	data, err := f.pages.read(ctx, f.footer.sourceAt)
	if err != nil {
		return nil, err
	}
	d := format.NewDecoder(data)
	at, next := f.footer.sources.at, uint64(0)
	for n := d.Count(); n > 0 && !d.Failed(); n-- {
		next += d.Uvarint(documentsMax)
		fr := frame{next: uint32(next), place: section{at, int64(d.Uvarint(math.MaxInt32))}, content: int(d.Uvarint(1 << 30))}
		if !fr.place.within(f.footer.sources) || next > uint64(f.footer.bounds.Documents) {
			d.Fail("a frame of %d bytes up to document %d", fr.place.length, next)
		}
		at += fr.place.length
		frames = append(frames, fr)
	}
	if err := d.End(); err != nil {
		return nil, format.At("", f.footer.sourceAt.at, err)
	}
	f.mu.Lock()
	f.frames = frames
	f.mu.Unlock()
	return frames, nil
}
