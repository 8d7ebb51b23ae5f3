package cache

// readers remembers where the last few readers of an object stopped.
type readers [4]struct {
	end   int64 // byte after the last read; 0: none
	ahead int64 // chunk up to which has been read ahead
}

// lookAhead starts loading what comes after chunk next when the read of bytes
// [begin, end) went on from an earlier one. The caller holds the lock.
//
// A new row is asked for only when half of the last one is used up: so the
// requests stay large.
func (b *Bucket) lookAhead(o *object, begin, end, next int64) {
	if b.o.ReadaheadChunks <= 0 {
		return
	}
	for i := range o.readers {
		r := &o.readers[i]
		if r.end != begin || begin == 0 {
			continue
		}
		r.end = end
		until := min(next+int64(b.o.ReadaheadChunks), o.chunks(b))
		if from := max(next, r.ahead); until-from >= int64(b.o.ReadaheadChunks+1)/2 || until == o.chunks(b) {
			if b.prefetch(o, from, until) {
				r.ahead = until
			}
		}
		return
	}
	copy(o.readers[1:], o.readers[:len(o.readers)-1])
	o.readers[0].end, o.readers[0].ahead = end, 0
}

func (o *object) chunks(b *Bucket) int64 { return (o.size + b.o.ChunkBytes - 1) / b.o.ChunkBytes }

// prefetch loads chunks without a reader; false: too many do so already.
func (b *Bucket) prefetch(o *object, from, until int64) bool {
	if from >= until {
		return true
	}
	select {
	case b.readahead <- struct{}{}:
	default:
		return false
	}
	pieces := b.join(o, from, until)
	b.running.Add(1)
	go func() {
		defer b.running.Done()
		defer func() { <-b.readahead }()
		for _, p := range pieces {
			// An error is told to the reader who comes for the chunk: he
			// finds it missing and asks himself.
			_, _ = b.wait(b.ctx, p)
		}
	}()
	return true
}
