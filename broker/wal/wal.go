// Package wal is a broker's write-ahead log: one journal on local disk for all
// the partitions that the broker owns.
//
// Append puts a batch into a buffer and returns; one goroutine writes all that
// has gathered during the last sync with one write and one fdatasync, and then
// says so. It never lingers: an idle log syncs a single batch at once.
//
// What it promises: frames are durable in the order of Append; a synced frame is
// found again by Open after a crash of the process or of the machine; damage to
// a synced frame is found and reported, never passed over in silence. After a
// failed write or sync the log refuses everything: the only way on is to close
// it and Open again, which trusts nothing but what the disk then shows.
//
// What it does not do: it knows nothing of ownership, offsets or commits. The
// caller says with Release which frames are no longer needed; files that hold no
// others are used again (see internal/walfile for why that is safe).
package wal

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/internal/walfile"
)

var (
	// ErrFailed: a write or sync failed before; nothing can be appended.
	ErrFailed = errors.New("write-ahead log failed")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("write-ahead log closed")
	// ErrGone: the file of that position has been used again.
	ErrGone = errors.New("write-ahead log position released")
)

// Position is a place in the log.
type Position struct {
	Generation uint64
	Offset     int64 // bytes from the start of the file
}

// Frame is one batch in the log. The caller sets Partition, Epoch and First; the
// log sets Batch in Append and Position before it reports the frame as synced.
type Frame struct {
	Partition topic.Partition
	Epoch     int32
	First     int64
	Position  Position
	Length    int32  // bytes of the batch
	Batch     []byte // in the log's own buffer, never written to again
	raw       []byte // header, batch and padding
}

// Record is what a caller appends: something that holds a Frame.
type Record interface{ WAL() *Frame }

// Group is what one sync made durable. Done is closed afterwards; then Err says
// whether it did.
type Group struct {
	done    chan struct{}
	err     error
	records []Record
	bytes   int64 // of their frames
}

// Done is closed when the group's outcome is known.
func (g *Group) Done() <-chan struct{} { return g.done }

// Err is nil when the group is durable. To be called after Done.
func (g *Group) Err() error { return g.err }

// Options configure a Log.
type Options struct {
	Dir       string
	FS        disk.FS
	FileBytes int64 // size of a file; default 64 MiB
	// Synced is called by the syncing goroutine, in order, with what one sync
	// made durable (err nil) or what failed, before the group is done. It must
	// not call the Log's Append or Close.
	Synced  func(records []Record, err error)
	Log     *slog.Logger
	Metrics *Metrics // nil: counted nowhere
}

const (
	fileBytesDefault = 64 << 20
	// chunkBytes is how large the buffers are into which batches are copied.
	// Frames of consecutive groups share them, so that a quiet broker does not
	// hold a buffer for every batch of its tail.
	chunkBytes = 1 << 20
)

// Log is an open write-ahead log. Its methods may be called at once.
type Log struct {
	opts    Options
	metrics *Metrics
	files   files

	mu      sync.Mutex
	wake    sync.Cond // pending has records, or closing
	pending *Group
	writing *Group // being made durable; nil when the syncing goroutine is idle
	unsaved int64  // bytes of the frames of both
	chunk   []byte // rest of the current buffer, length 0, capacity what is left
	failed  error
	closing bool
	broken  chan struct{} // closed with failed
	stopped chan struct{}
}

// Append copies batch into the log's buffer, points the record's Frame at the
// copy, and returns the group with which it will become durable. Records become
// durable in the order of the calls. It does not wait for the disk.
//
// On a disk that is full it refuses, with disk.ErrFull, what has no room in the
// file that is being written: nothing is lost then, and appending goes on when
// there is space again.
func (l *Log) Append(r Record, batch []byte) (*Group, error) {
	size := walfile.Size(len(batch))
	if size > l.opts.FileBytes-walfile.HeaderSize-walfile.FrameHeaderSize {
		return nil, fmt.Errorf("append %d bytes: a WAL file has only %d", len(batch), l.opts.FileBytes)
	}
	crc := walfile.Checksum(batch)
	f := r.WAL()

	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.failed != nil:
		return nil, l.failed
	case l.closing:
		return nil, ErrClosed
	}
	if err := l.files.room(l.unsaved + size); err != nil {
		return nil, err
	}
	l.unsaved += size
	g := l.pending
	g.bytes += size
	if int64(cap(l.chunk)-len(l.chunk)) < size {
		l.chunk = make([]byte, 0, max(chunkBytes, size))
	}
	start := len(l.chunk)
	l.chunk = l.chunk[:start+int(size)]
	f.raw = l.chunk[start:] // not capped: neighbours in the buffer are written as one
	f.Batch = f.raw[walfile.FrameHeaderSize : walfile.FrameHeaderSize+len(batch) : walfile.FrameHeaderSize+len(batch)]
	f.Length = int32(len(batch))
	copy(f.Batch, batch)
	// Position and generation are filled in by the syncer, which knows them.
	walfile.PutFrame(f.raw, 0, &walfile.Frame{
		Kind: walfile.Batch, Length: uint32(len(batch)), Partition: f.Partition, Epoch: f.Epoch, First: f.First, CRC: crc,
	})
	g.records = append(g.records, r)
	if len(g.records) == 1 {
		l.wake.Signal()
	}
	return g, nil
}

// Release says that n frames of a generation are no longer needed.
func (l *Log) Release(generation uint64, n int) { l.files.release(generation, n) }

// Read returns the batch of a synced frame from disk, checked.
// Errors: ErrGone, or a format.Error that names the file and the byte.
func (l *Log) Read(f *Frame) ([]byte, error) { return l.files.read(f) }

// Settle waits until the outcome of everything that was appended before is known.
func (l *Log) Settle() {
	l.mu.Lock()
	last := l.writing
	if len(l.pending.records) > 0 {
		last = l.pending
	}
	l.mu.Unlock()
	if last != nil {
		<-last.done
	}
}

// Broken is closed when the log has failed.
func (l *Log) Broken() <-chan struct{} { return l.broken }

// Failed returns why the log refuses appends, or nil.
func (l *Log) Failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// Close makes durable what has been appended, and stops. It is idempotent.
func (l *Log) Close() error {
	l.mu.Lock()
	l.closing = true
	l.wake.Signal()
	l.mu.Unlock()
	<-l.stopped
	return l.files.close()
}

func newGroup() *Group { return &Group{done: make(chan struct{})} }

// run is the syncing goroutine.
func (l *Log) run() {
	defer close(l.stopped)
	for {
		l.mu.Lock()
		for len(l.pending.records) == 0 && !l.closing {
			l.wake.Wait()
		}
		g, failed := l.pending, l.failed
		if len(g.records) == 0 {
			l.mu.Unlock()
			return
		}
		l.pending, l.writing = newGroup(), g
		l.mu.Unlock()

		if failed == nil {
			g.err = l.persist(g)
		} else {
			g.err = failed
		}
		if g.err != nil && failed == nil {
			l.fail(g.err)
		}
		l.mu.Lock()
		l.unsaved -= g.bytes
		l.mu.Unlock()
		l.opts.Synced(g.records, g.err)
		g.records = nil // a record that is kept, and knows its group, is not to keep the others
		close(g.done)
	}
}

func (l *Log) fail(err error) {
	l.mu.Lock()
	l.failed = fmt.Errorf("%w: %w", ErrFailed, err)
	close(l.broken)
	l.mu.Unlock()
	l.metrics.failed.Set(1)
	l.opts.Log.Error("write-ahead log failed, produce is refused until it is opened again", "dir", l.opts.Dir, "error", err)
}
