package walfile

import (
	"encoding/binary"
	"io"

	"github.com/chronik-stream/chronik/internal/format"
)

// Damage is a stretch of a file that had been durable and no longer reads.
type Damage struct {
	Position int64 // of the first bad byte's frame
	Next     int64 // where good frames begin again, or the end of what was read
	// Frame is the header of the damaged frame when that is intact: it tells
	// the partition. Nil when it is not.
	Frame  *Frame
	Reason string
}

// Summary is what Scan found.
type Summary struct {
	Generation uint64
	Frames     int
	Next       int64 // position behind the last good frame: all that counts lies before it
	Ended      bool  // an End frame was read
	Torn       int   // whole frames behind Next that do not count: of a write that was not synced, or lost its start since
	Damage     []Damage
}

// Scan reads a whole file and calls visit for each good frame, with its position
// and batch; the batch is valid during the call only. It returns an error when
// the file header is damaged or of another version, when reading fails, or when
// visit does; damaged frames are reported in the summary and passed over.
//
// Memory is bounded by one window and the largest frame.
func Scan(r io.ReaderAt, size int64, visit func(position int64, f Frame, batch []byte) error) (Summary, error) {
	s := scanner{r: r, size: size, visit: visit}
	head, err := s.at(0, HeaderSize)
	if err != nil {
		return Summary{}, err
	}
	s.sum.Generation, err = ParseHeader(head)
	if err != nil {
		return Summary{}, err
	}
	err = s.run()
	return s.sum, err
}

// window is how much is read from the file at once.
const window = 1 << 20

type scanner struct {
	r      io.ReaderAt
	size   int64
	visit  func(int64, Frame, []byte) error
	sum    Summary
	buf    []byte
	bufPos int64
}

func (s *scanner) run() error {
	s.sum.Next = HeaderSize
	pos := int64(HeaderSize)
	for !s.sum.Ended {
		f, batch, reason, err := s.frame(pos)
		if err != nil {
			return err
		}
		if reason != "" {
			next, err := s.goodAfter(pos)
			if err != nil || next < 0 {
				return err
			}
			s.report(pos, next, f, reason)
			pos = next
			continue
		}
		if f.Kind == End {
			s.sum.Ended = true
		} else if err := s.visit(pos, *f, batch); err != nil {
			return err
		}
		s.sum.Frames++
		pos += Size(int(f.Length))
		s.sum.Next = pos
	}
	return nil
}

func (s *scanner) report(pos, next int64, f *Frame, reason string) {
	s.sum.Damage = append(s.sum.Damage, Damage{Position: pos, Next: next, Frame: f, Reason: reason})
}

// frame reads the frame at pos. A reason says why there is none; then the frame
// is still returned when its header is intact.
func (s *scanner) frame(pos int64) (f *Frame, batch []byte, reason string, err error) {
	head, err := s.at(pos, FrameHeaderSize)
	if err != nil {
		return nil, nil, "", err
	}
	parsed, ok := ParseFrame(head, s.sum.Generation) // [wal-generation]
	if !ok {
		return nil, nil, "no frame of this generation", nil
	}
	if pos+FrameHeaderSize+int64(parsed.Length) > s.size {
		return &parsed, nil, "batch reaches behind the end of the file", nil
	}
	batch, err = s.at(pos+FrameHeaderSize, int(parsed.Length))
	if err != nil {
		return nil, nil, "", err
	}
	if err := parsed.Check(batch); err != nil {
		return &parsed, nil, err.Error(), nil
	}
	return &parsed, batch, "", nil
}

// goodAfter looks behind a bad frame for a good one that proves that the bad
// one had been durable. It returns the position of the first good frame behind
// it, or −1 when the log simply ends at pos.
func (s *scanner) goodAfter(pos int64) (int64, error) {
	first, torn := int64(-1), 0
	for at := pos + alignment; at+FrameHeaderSize <= s.size; at += alignment {
		head, err := s.at(at, FrameHeaderSize)
		if err != nil {
			return -1, err
		}
		if binary.LittleEndian.Uint64(head) != s.sum.Generation {
			continue
		}
		f, _, reason, err := s.frame(at)
		if err != nil {
			return -1, err
		}
		if reason != "" {
			continue
		}
		if first < 0 {
			first = at
		}
		if int64(f.Durable) > pos {
			return first, nil
		}
		torn++
		// A good frame of the torn write itself: skip it whole.
		at += Size(int(f.Length)) - alignment
	}
	s.sum.Torn = torn
	return -1, nil
}

// at returns up to n bytes from pos; fewer only at the end of the file.
func (s *scanner) at(pos int64, n int) ([]byte, error) {
	if n = int(min(int64(n), s.size-pos)); n <= 0 {
		return nil, nil // padding may reach behind the end
	}
	if pos >= s.bufPos && pos+int64(n) <= s.bufPos+int64(len(s.buf)) {
		off := pos - s.bufPos
		return s.buf[off : off+int64(n)], nil
	}
	want := int(min(max(window, int64(n)), s.size-pos))
	if cap(s.buf) < want {
		s.buf = make([]byte, want)
	}
	s.buf = s.buf[:want]
	s.bufPos = pos
	got, err := s.r.ReadAt(s.buf, pos)
	s.buf = s.buf[:got]
	if got < n {
		if err == nil || err == io.EOF {
			return nil, format.Corrupt(pos+int64(got), "file ends %d bytes early", n-got)
		}
		return nil, err
	}
	return s.buf[:n], nil
}
