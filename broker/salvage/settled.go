package salvage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"

	"github.com/chronik-stream/chronik/internal/disk"
	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// Settled remembers which orphans were settled, in a file beside the write-ahead
// log, which holds them for as long as it holds anything else in the same file. The
// log of their partition cannot tell for as long: what was appended to it again
// expires, is deleted or compacted away, and would come back as new.
//
// It is a record of what was done, and written afterwards. When it is lost, what is
// in the logs tells, as far as it is there.
type Settled struct {
	fs   disk.FS
	path string

	mu   sync.Mutex
	next map[overtaken]int64
}

// overtaken is what one broker had of a partition: all below some offset is settled.
type overtaken struct {
	partition topic.Partition
	epoch     metastore.Epoch
}

// settledVersion is the newest version of the file.
const settledVersion = 1

// settledBytesMax bounds what is read.
const settledBytesMax = 64 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// OpenSettled reads the file of that name. What it says of batches that are none
// of these, the write-ahead log's, is forgotten. A file that cannot be read is an
// error, and an empty Settled to go on with: not in place of one of a later version
// (format.ErrVersion).
func OpenSettled(fs disk.FS, path string, logged func(yield func(topic.Partition, metastore.Epoch) bool)) (*Settled, error) {
	s := &Settled{fs: fs, path: path, next: map[overtaken]int64{}}
	next, err := s.read()
	if err != nil {
		return s, fmt.Errorf("read %s: %w", path, err)
	}
	for p, epoch := range logged {
		if o := (overtaken{p, epoch}); next[o] > 0 {
			s.next[o] = next[o]
		}
	}
	return s, nil
}

func (s *Settled) read() (map[overtaken]int64, error) {
	f, err := s.fs.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err == nil && size > settledBytesMax {
		err = format.Corrupt(0, "it has %d bytes", size)
	}
	var data []byte
	if err == nil {
		data = make([]byte, size)
		_, err = f.ReadAt(data, 0)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return decodeSettled(data)
}

// has reports whether an orphan is settled.
func (s *Settled) has(p topic.Partition, o *Orphan) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return o.Frame.First < s.next[overtaken{p, metastore.Epoch(o.Frame.Epoch)}]
}

// note remembers, durably, that of each partition these orphans are settled, and
// all that were written before them.
func (s *Settled) note(settled map[topic.Partition][]*Orphan) error {
	if s == nil || len(settled) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, orphans := range settled {
		for _, o := range orphans {
			of := overtaken{p, metastore.Epoch(o.Frame.Epoch)}
			s.next[of] = max(s.next[of], o.Header.Next())
		}
	}
	data, fresh := encodeSettled(s.next), s.path+".new"
	err := s.fs.Remove(fresh)
	if err == nil {
		err = s.write(fresh, data)
	}
	if err == nil {
		err = s.fs.Rename(fresh, s.path)
	}
	if err == nil {
		err = s.fs.SyncDir(filepath.Dir(s.path))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", s.path, err)
	}
	return nil
}

func (s *Settled) write(name string, data []byte) error {
	f, err := s.fs.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Datasync()
	}
	return errors.Join(err, f.Close())
}

// encodeSettled is
//
//	version: uvarint, count: uvarint, then of each: topic id: 16 bytes, partition,
//	leader epoch, next offset: uvarint, and behind it all CRC-32C: 4 bytes, little endian
//
// in the order of the partitions.
func encodeSettled(next map[overtaken]int64) []byte {
	all := make([]overtaken, 0, len(next))
	for o := range next {
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b overtaken) int {
		if c := a.partition.Compare(b.partition); c != 0 {
			return c
		}
		return int(a.epoch) - int(b.epoch)
	})
	data := binary.AppendUvarint([]byte{settledVersion}, uint64(len(all)))
	for _, o := range all {
		data = append(data, o.partition.Topic[:]...)
		data = binary.AppendUvarint(data, uint64(o.partition.Index))
		data = binary.AppendUvarint(data, uint64(o.epoch))
		data = binary.AppendUvarint(data, uint64(next[o]))
	}
	return binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
}

func decodeSettled(data []byte) (map[overtaken]int64, error) {
	body := len(data) - crc32.Size
	if body < 0 || crc32.Checksum(data[:body], castagnoli) != binary.LittleEndian.Uint32(data[body:]) {
		return nil, format.Corrupt(0, "its checksum is wrong")
	}
	d := format.NewDecoder(data[:body])
	d.Version(settledVersion)
	next := map[overtaken]int64{}
	for range d.Count() {
		var o overtaken
		copy(o.partition.Topic[:], d.Bytes(len(o.partition.Topic)))
		o.partition.Index = int32(d.Uvarint(1<<31 - 1))
		o.epoch = metastore.Epoch(d.Uvarint(1<<31 - 1))
		next[o] = int64(d.Uvarint(1<<63 - 1))
		if d.Failed() {
			break
		}
	}
	return next, d.End()
}
