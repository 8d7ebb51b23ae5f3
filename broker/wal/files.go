package wal

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/walfile"
)

// spareFilesMax is how many released files are kept for another use; more than
// that are deleted, so that the disk shrinks back after a burst.
const spareFilesMax = 4

// file is one WAL file in one use.
type file struct {
	disk.File
	name       string
	generation uint64
	next       int64 // position behind the last frame written
	durable    int64 // position up to which fdatasync has returned
	refs       int   // frames that are still needed
	full       bool  // an End frame is behind the last frame
	ahead      bool  // was prepared: its space is certain
	damaged    bool  // never used again: set aside for an operator
}

// files owns the files of a log: which is written, which are needed, which wait
// to be used again. A goroutine prepares the next one ahead of time.
type files struct {
	fs       disk.FS
	dir      string
	size     int64
	log      *slog.Logger
	metrics  *Metrics
	prepared chan *file            // one file ahead, its header durable
	starved  bool                  // the disk was full when one was to be made; the preparing goroutine's
	scarce   atomic.Pointer[error] // set while the disk may have no space for another file

	mu         sync.Mutex
	active     *file            // written by the syncing goroutine only; nil before the first frame
	inUse      map[uint64]*file // by generation; the active one too
	ready      int              // prepared and not yet active
	idle       []disk.File      // released, their space allocated
	idleNames  []string
	generation uint64 // the last one given
	used       uint64 // the last one that was written under
	number     int    // of the last file made
	stop       chan struct{}
	done       chan struct{}
}

// generationNext gives each use of a file a number of its own.
func (fs *files) generationNext() uint64 {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.generation++
	return fs.generation
}

// room returns nil when so many bytes of frames, all that are not yet written, have
// their place. Only where space is scarce is that a question: then they must fit
// into the active file or into the prepared one, whose space is certain.
func (fs *files) room(bytes int64) error {
	scarce := fs.scarce.Load()
	if scarce == nil {
		return nil
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	bytes += walfile.FrameHeaderSize // the End frame
	if a := fs.active; a != nil && a.ahead && !a.full && a.next+bytes <= fs.size {
		return nil
	}
	if fs.ready > 0 && walfile.HeaderSize+bytes <= fs.size {
		return nil
	}
	return *scarce
}

// firstWait is how long the first append waits for the file that Open began to
// prepare: a file that has to grow syncs at half the speed until it is full.
const firstWait = 500 * time.Millisecond

// take returns the file to write next: the prepared one, or, when the disk has
// not kept up, one made on the spot.
func (fs *files) take() (*file, error) {
	patience := time.Duration(0)
	if fs.active == nil {
		patience = firstWait
	}
	fs.mu.Lock()
	ready := fs.ready > 0
	fs.mu.Unlock()
	var f *file
	var elapsed <-chan time.Time
	if !ready { // else it is on its way
		elapsed = time.After(patience)
	}
	select {
	case f = <-fs.prepared:
	case <-elapsed:
		var err error
		if f, err = fs.make(false); err != nil {
			return nil, err
		}
	}
	fs.mu.Lock()
	// A file made on the spot can overtake a prepared one. Generations must
	// rise in the order of use, so the header is written anew if it did: also when
	// the file that overtook it is not in use any more, for its frames still lie
	// there, and would tell a recovery that this file must have been ended.
	stale := f.generation < fs.used
	fs.mu.Unlock()
	if stale {
		if err := fs.head(f); err != nil {
			return nil, err
		}
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.inUse[f.generation] = f
	fs.used = f.generation
	fs.metrics.files.Set(float64(len(fs.inUse)))
	return f, nil
}

// make prepares a file: an idle one, or a new one, filled with zeros when there
// is time for that, so that later syncs need not allocate, and have the space.
func (fs *files) make(fill bool) (*file, error) {
	fs.mu.Lock()
	f := &file{}
	if n := len(fs.idle); n > 0 {
		f.File, f.name = fs.idle[n-1], fs.idleNames[n-1]
		fs.idle, fs.idleNames = fs.idle[:n-1], fs.idleNames[:n-1]
	} else {
		fs.number++
		f.name = fmt.Sprintf("%08d.wal", fs.number)
	}
	fs.mu.Unlock()
	var err error
	if f.File == nil {
		err = fs.create(f)
	}
	if err == nil && fill {
		err = fs.fill(f)
	}
	if err == nil {
		err = fs.head(f)
	}
	if err != nil {
		return nil, errors.Join(err, fs.discard(f))
	}
	return f, nil
}

// discard removes a file that could not be made: on a full disk its beginning
// would take the space that is missing.
func (fs *files) discard(f *file) error {
	if f.File == nil {
		return nil
	}
	return errors.Join(f.Close(), fs.fs.Remove(filepath.Join(fs.dir, f.name)))
}

func (fs *files) create(f *file) error {
	var err error
	if f.File, err = fs.fs.Create(filepath.Join(fs.dir, f.name)); err != nil {
		return fmt.Errorf("create WAL file: %w", err)
	}
	if err := fs.fs.SyncDir(fs.dir); err != nil {
		return fmt.Errorf("sync WAL directory: %w", err)
	}
	return nil
}

// fill writes zeros behind the end of a file, up to its full size. An idle file
// has that already, but for one that was made in a hurry.
func (fs *files) fill(f *file) error {
	size, err := f.Size()
	if err != nil || size >= fs.size {
		return err
	}
	zeros := make([]byte, 1<<20)
	for at := size; at < fs.size; at += int64(len(zeros)) {
		select {
		case <-fs.stop:
			return nil
		default:
		}
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), fs.size-at)], at); err != nil {
			return fmt.Errorf("fill %s: %w", f.name, err)
		}
	}
	return nil
}

// head begins a new use of a file. Its header must be durable before its frames
// are: a crash in between would leave new frames under the old generation.
func (fs *files) head(f *file) error {
	f.generation = fs.generationNext()
	f.next, f.durable, f.full = walfile.HeaderSize, walfile.HeaderSize, false
	var header [walfile.HeaderSize]byte
	walfile.PutHeader(header[:], f.generation)
	if _, err := f.WriteAt(header[:], 0); err != nil {
		return fmt.Errorf("write header of %s: %w", f.name, err)
	}
	if err := f.Datasync(); err != nil {
		return fmt.Errorf("sync header of %s: %w", f.name, err)
	}
	return nil
}

// prepare keeps one file ready. A failure is no error yet: take tries again in
// the open, and reports it. Without space it does not come to that: the log
// refuses, before the active file ends, what would not fit.
func (fs *files) prepare() {
	defer close(fs.done)
	for {
		fs.measure()
		f, err := fs.make(true)
		fs.tell(err)
		if err != nil {
			select {
			case <-fs.stop:
				return
			case <-time.After(time.Second):
				continue
			}
		}
		f.ahead = true
		fs.mu.Lock()
		fs.ready++
		fs.mu.Unlock()
		select {
		case fs.prepared <- f:
		case <-fs.stop:
			fs.mu.Lock()
			fs.idle, fs.idleNames = append(fs.idle, f.File), append(fs.idleNames, f.name)
			fs.mu.Unlock()
			return
		}
	}
}

// scarceFiles is for how many more files the disk has space before that is
// scarce: a file that is made on the spot would otherwise not find it.
const scarceFiles = 4

// measure notes whether space is scarce, before the next file takes some of it.
func (fs *files) measure() {
	_, usable, err := fs.fs.Space(fs.dir)
	if fs.starved {
		return // that is for tell to end
	}
	if err != nil || usable < 0 || usable >= scarceFiles*fs.size {
		fs.scarce.Store(nil)
		return
	}
	why := fmt.Errorf("%w: %d bytes are left in %s, and the next file is not ready", disk.ErrFull, usable, fs.dir)
	fs.scarce.Store(&why)
}

// tell notes whether there was space for a file, and says so when that changes.
func (fs *files) tell(err error) {
	switch {
	case errors.Is(err, disk.ErrFull):
		fs.scarce.Store(&err)
		if !fs.starved {
			fs.log.Error("disk is full, produce is refused once the file that is written is: make room, or wait until segments are committed", "dir", fs.dir, "error", err)
		}
		fs.starved = true
		fs.metrics.full.Set(1)
	case err != nil:
		fs.log.Warn("cannot prepare a WAL file ahead of time", "dir", fs.dir, "error", err)
	case fs.starved:
		fs.starved = false
		fs.metrics.full.Set(0)
		fs.log.Info("disk has space again", "dir", fs.dir)
	}
}

func (fs *files) release(generation uint64, n int) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f := fs.inUse[generation]
	if f == nil {
		return
	}
	f.refs -= n
	fs.retire(f)
}

// retire takes a full file without needed frames out of use. Holds fs.mu.
func (fs *files) retire(f *file) {
	if f.refs > 0 || !f.full {
		return
	}
	delete(fs.inUse, f.generation)
	fs.metrics.files.Set(float64(len(fs.inUse)))
	switch {
	case f.damaged:
		fs.setAside(f)
	case len(fs.idle) < spareFilesMax:
		fs.idle, fs.idleNames = append(fs.idle, f.File), append(fs.idleNames, f.name)
	default:
		f.Close()
		if err := fs.fs.Remove(filepath.Join(fs.dir, f.name)); err != nil {
			fs.log.Warn("cannot remove a WAL file", "file", f.name, "error", err)
		}
	}
}

// setAside moves a damaged file out of the log's way, for an operator to look at.
func (fs *files) setAside(f *file) {
	f.Close()
	aside := filepath.Join(fs.dir, "quarantine")
	to := filepath.Join(aside, fmt.Sprintf("%s.%d", f.name, f.generation))
	err := errors.Join(fs.fs.MkdirAll(aside), fs.fs.Rename(filepath.Join(fs.dir, f.name), to), fs.fs.SyncDir(fs.dir), fs.fs.SyncDir(aside))
	if err != nil {
		fs.log.Error("cannot set a damaged WAL file aside", "file", f.name, "error", err)
		return
	}
	fs.log.Warn("damaged WAL file set aside", "file", to)
}

func (fs *files) read(frame *Frame) ([]byte, error) {
	fs.mu.Lock()
	f := fs.inUse[frame.Position.Generation]
	fs.mu.Unlock()
	if f == nil {
		return nil, ErrGone
	}
	raw := make([]byte, walfile.FrameHeaderSize+int(frame.Length))
	_, err := f.ReadAt(raw, frame.Position.Offset)
	batch := raw[walfile.FrameHeaderSize:]
	if err == nil {
		head, ok := walfile.ParseFrame(raw, frame.Position.Generation)
		if ok && head.First == frame.First && head.Check(batch) == nil {
			return batch, nil
		}
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.inUse[frame.Position.Generation] != f {
		return nil, ErrGone // used again, or closed, while it was read
	}
	if err != nil {
		return nil, fmt.Errorf("read %s at byte %d: %w", f.name, frame.Position.Offset, err)
	}
	return nil, format.In(f.name, format.Corrupt(frame.Position.Offset, "the frame of %s at offset %d does not read", frame.Partition, frame.First))
}

func (fs *files) close() error {
	fs.mu.Lock()
	select {
	case <-fs.stop:
		fs.mu.Unlock()
		return nil
	default:
		close(fs.stop)
	}
	fs.mu.Unlock()
	<-fs.done
	select {
	case f := <-fs.prepared:
		f.Close()
	default:
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	var errs []error
	for _, f := range fs.inUse {
		errs = append(errs, f.Close())
	}
	for _, f := range fs.idle {
		errs = append(errs, f.Close())
	}
	fs.inUse, fs.idle, fs.idleNames = map[uint64]*file{}, nil, nil
	return errors.Join(errs...)
}
