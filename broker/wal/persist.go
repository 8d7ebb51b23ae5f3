package wal

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/chronik-stream/chronik/internal/walfile"
)

// persist makes a group durable. It is called by the syncing goroutine only.
func (l *Log) persist(g *Group) error {
	start := time.Now()
	w := writer{log: l}
	for _, r := range g.records {
		if err := w.add(r.WAL()); err != nil {
			return err
		}
	}
	if err := w.sync(); err != nil {
		return err
	}
	l.metrics.syncSeconds.Observe(time.Since(start).Seconds())
	l.metrics.groupFrames.Observe(float64(len(g.records)))
	l.metrics.bytes.Add(float64(w.bytes))
	return nil
}

// writer places the frames of one group. Frames that lie side by side in a
// buffer go to the file with one write.
type writer struct {
	log   *Log
	run   []byte // frames that are contiguous in memory and in the file
	runAt int64
	bytes int64
}

func (w *writer) add(f *Frame) error {
	size := int64(len(f.raw))
	if w.log.files.active == nil || w.log.files.active.next+size+walfile.FrameHeaderSize > w.log.opts.FileBytes {
		if err := w.rotate(); err != nil {
			return err
		}
	}
	at := w.log.files.place(f)
	h := f.raw
	// The header was written by Append but for what only this place knows.
	binary.LittleEndian.PutUint64(h[0:], f.Position.Generation)
	binary.LittleEndian.PutUint32(h[16:], uint32(w.log.files.active.durable))
	binary.LittleEndian.PutUint32(h[60:], walfile.Checksum(h[:60]))
	if n := len(w.run); n > 0 && cap(w.run) >= n+len(h) && &w.run[:n+1][n] == &h[0] {
		w.run = w.run[:n+len(h)]
	} else {
		if err := w.flush(); err != nil {
			return err
		}
		w.run, w.runAt = h, at
	}
	w.bytes += size
	f.raw = nil
	return nil
}

// flush writes the run to the file, not yet durable.
func (w *writer) flush() error {
	if len(w.run) == 0 {
		return nil
	}
	f := w.log.files.active
	if _, err := f.WriteAt(w.run, w.runAt); err != nil {
		return fmt.Errorf("write %s at byte %d: %w", f.name, w.runAt, err)
	}
	w.run = nil
	return nil
}

func (w *writer) sync() error {
	if err := w.flush(); err != nil {
		return err
	}
	f := w.log.files.active
	if err := f.Datasync(); err != nil {
		return fmt.Errorf("sync %s: %w", f.name, err)
	}
	f.durable = f.next
	return nil
}

// rotate ends the active file and begins the next. The End frame is durable
// before any frame of the next file can be.
func (w *writer) rotate() error {
	if w.log.files.active != nil {
		if err := w.flush(); err != nil {
			return err
		}
		if err := w.log.files.end(w.log.files.active); err != nil {
			return err
		}
	}
	next, err := w.log.files.take()
	if err != nil {
		return err
	}
	w.log.files.mu.Lock()
	defer w.log.files.mu.Unlock()
	if next.ahead {
		w.log.files.ready--
	}
	w.log.files.active = next
	return nil
}

// place gives the frame its position in the active file.
func (fs *files) place(f *Frame) int64 {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	a := fs.active
	f.Position = Position{Generation: a.generation, Offset: a.next}
	a.next += int64(len(f.raw))
	a.refs++
	return f.Position.Offset
}

// end writes the End frame behind the last frame and makes the file durable.
func (fs *files) end(f *file) error {
	var end [walfile.FrameHeaderSize]byte
	walfile.PutFrame(end[:], f.generation, &walfile.Frame{Kind: walfile.End, Durable: uint32(f.durable)})
	if _, err := f.WriteAt(end[:], f.next); err != nil {
		return fmt.Errorf("end %s: %w", f.name, err)
	}
	if err := f.Datasync(); err != nil {
		return fmt.Errorf("sync %s: %w", f.name, err)
	}
	f.durable = f.next
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f.full = true
	fs.retire(f)
	return nil
}
