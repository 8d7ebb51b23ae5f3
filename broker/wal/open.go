package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/walfile"
)

// Recovered is a frame that Open found. Its batch stays on disk: see Log.Read.
type Recovered struct {
	Frame  Frame
	Header batch.Header
}

// Damage is a stretch of the log that had been durable and does not read.
type Damage struct {
	File string
	walfile.Damage
}

// String says which file, from which byte to which, whose, and why.
func (d Damage) String() string {
	whose := "partition unknown"
	if d.Frame != nil {
		whose = fmt.Sprintf("partition %s from offset %d", d.Frame.Partition, d.Frame.First)
	}
	return fmt.Sprintf("%s: bytes %d to %d: %s (%s)", d.File, d.Position, d.Next, d.Reason, whose)
}

// Recovery is what Open found on disk.
type Recovery struct {
	Frames []Recovered // in the order in which they were appended
	Damage []Damage
}

// Open recovers what opts.Dir holds and opens the log for appending.
//
//  1. Every file is read from disk, not from the page cache.
//  2. Files are taken in the order of their generations; in each, frames count
//     up to the first that is bad. Bad frames that had been durable are damage.
//  3. What is kept is made durable before it counts [recovery-sync]: the last
//     file gets an End frame behind its last good one, and a sync.
//  4. Appending begins in another file, under a new generation.
//
// A frame is held, and its file not used again, until Release is called for it.
func Open(opts Options) (*Log, *Recovery, error) {
	if opts.FileBytes == 0 {
		opts.FileBytes = fileBytesDefault
	}
	if opts.Metrics == nil {
		opts.Metrics = NewMetrics(nil)
	}
	if err := opts.FS.MkdirAll(opts.Dir); err != nil {
		return nil, nil, fmt.Errorf("open WAL: %w", err)
	}
	l := &Log{opts: opts, metrics: opts.Metrics, broken: make(chan struct{}), stopped: make(chan struct{}), pending: newGroup()}
	l.wake.L = &l.mu
	l.files = files{
		fs: opts.FS, dir: opts.Dir, size: opts.FileBytes, log: opts.Log, metrics: l.metrics,
		prepared: make(chan *file), inUse: map[uint64]*file{}, stop: make(chan struct{}), done: make(chan struct{}),
	}
	rec, err := l.files.recover()
	if err != nil {
		return nil, nil, fmt.Errorf("open WAL %s: %w", opts.Dir, err)
	}
	l.metrics.failed.Set(0)
	l.metrics.damage.Add(float64(len(rec.Damage)))
	go l.files.prepare()
	go l.run()
	return l, rec, nil
}

// recover runs before any goroutine does.
func (fs *files) recover() (*Recovery, error) {
	names, err := fs.fs.List(fs.dir)
	if err != nil {
		return nil, err
	}
	rec := &Recovery{}
	var found []*file
	for _, name := range names {
		number, ok := strings.CutSuffix(name, ".wal")
		if n, err := strconv.Atoi(number); !ok || err != nil {
			continue
		} else {
			fs.number = max(fs.number, n)
		}
		f, err := fs.identify(name, rec)
		if err != nil {
			return nil, err
		}
		if f != nil {
			found = append(found, f)
		}
	}
	slices.SortFunc(found, func(a, b *file) int { return int(int64(a.generation) - int64(b.generation)) })
	for i, f := range found {
		fs.generation = max(fs.generation, f.generation)
		if i > 0 && f.generation == found[i-1].generation {
			return nil, fmt.Errorf("%s and %s have the same generation %d: one is a copy, move it away", found[i-1].name, f.name, f.generation)
		}
	}
	// From the newest down, so that each file knows whether a newer one holds
	// frames: then it must have been ended.
	newer := false
	for _, f := range slices.Backward(found) {
		frames, err := fs.replay(f, newer, rec)
		if err != nil {
			return nil, err
		}
		newer = newer || len(frames) > 0
		rec.Frames = append(frames, rec.Frames...)
	}
	return rec, nil
}

// identify opens a file and reads its header. A file whose header is damaged is
// reported and set aside; an empty one is left over from a crash in its making.
func (fs *files) identify(name string, rec *Recovery) (*file, error) {
	h, err := fs.fs.Open(filepath.Join(fs.dir, name))
	if err != nil {
		return nil, err
	}
	if err := h.DropCache(); err != nil {
		fs.log.Warn("cannot drop cached pages, recovery may read what the disk does not hold", "file", name, "error", err)
	}
	size, err := h.Size()
	if err != nil {
		return nil, err
	}
	f := &file{File: h, name: name, full: true}
	header := make([]byte, min(size, walfile.HeaderSize))
	if _, err := h.ReadAt(header, 0); err != nil && len(header) > 0 {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if !slices.ContainsFunc(header, func(b byte) bool { return b != 0 }) {
		fs.idle, fs.idleNames = append(fs.idle, h), append(fs.idleNames, name)
		return nil, nil
	}
	f.generation, err = walfile.ParseHeader(header)
	if errors.Is(err, format.ErrCorrupt) {
		rec.Damage = append(rec.Damage, Damage{File: name, Damage: walfile.Damage{Next: size, Reason: err.Error()}})
		fs.setAside(f)
		return nil, nil
	}
	return f, format.In(filepath.Join(fs.dir, name), err)
}

// replay reads a file's frames, ends the file, and makes it durable.
func (fs *files) replay(f *file, newer bool, rec *Recovery) ([]Recovered, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	var frames []Recovered
	sum, err := walfile.Scan(f, size, func(pos int64, h walfile.Frame, raw []byte) error {
		header, err := batch.ParseHeader(raw)
		if err != nil {
			return fmt.Errorf("%s at byte %d: frame is intact but its batch is not: %w", f.name, pos, err)
		}
		frames = append(frames, Recovered{Header: header, Frame: Frame{
			Partition: h.Partition, Epoch: h.Epoch, First: h.First, Length: int32(h.Length),
			Position: Position{Generation: f.generation, Offset: pos},
		}})
		return nil
	})
	if err != nil {
		return nil, format.In(filepath.Join(fs.dir, f.name), err)
	}
	// A file without any frame was prepared and never written.
	if newer && !sum.Ended && sum.Frames > 0 {
		sum.Damage = append(sum.Damage, walfile.Damage{Position: sum.Next, Next: size, Reason: "the file lost its tail: a newer one goes on, and there is no End frame"})
	}
	for _, d := range sum.Damage {
		rec.Damage = append(rec.Damage, Damage{File: f.name, Damage: d})
	}
	if sum.Torn > 0 {
		fs.log.Warn("the write-ahead log ends in a torn write; after a power loss that is as it should be, else the disk has lost what was acknowledged last",
			"file", f.name, "byte", sum.Next, "whole_batches_behind_it", sum.Torn)
	}
	f.damaged = len(sum.Damage) > 0
	f.next, f.durable, f.refs = sum.Next, walfile.HeaderSize, len(frames)
	if !sum.Ended && len(frames) > 0 && !f.damaged {
		if err := fs.end(f); err != nil {
			return nil, err
		}
	} else if err := f.Datasync(); err != nil {
		return nil, fmt.Errorf("sync %s: %w", f.name, err)
	}
	fs.inUse[f.generation] = f
	fs.retire(f)
	return frames, nil
}
