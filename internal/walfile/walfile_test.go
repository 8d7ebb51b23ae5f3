package walfile

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/topic"
)

var update = flag.Bool("update", false, "write golden files that do not exist yet")

// sample is a file as two syncs and a full file leave it, with old frames of an
// earlier use behind the end.
func sample() []byte {
	file := make([]byte, HeaderSize)
	PutHeader(file, 7)
	old := appendFrame(nil, 6, Frame{Kind: Batch, Partition: id(9), First: 1}, bytes.Repeat([]byte("old"), 40))
	file = appendFrame(file, 7, Frame{Kind: Batch, Durable: HeaderSize, Partition: id(0), Epoch: 2, First: 100}, []byte("first batch"))
	file = appendFrame(file, 7, Frame{Kind: Batch, Durable: HeaderSize, Partition: id(1), Epoch: 0, First: 5}, []byte("second batch, longer than the first"))
	file = appendFrame(file, 7, Frame{Kind: Batch, Durable: uint32(len(file)), Partition: id(0), Epoch: 2, First: 103}, nil)
	file = appendFrame(file, 7, Frame{Kind: End, Durable: uint32(len(file))}, nil)
	return append(file, old...)
}

func id(n int32) topic.Partition {
	return topic.Partition{Topic: topic.ID{0xc4, 0x40, 15: byte(n)}, Index: n}
}

func appendFrame(file []byte, generation uint64, f Frame, batch []byte) []byte {
	f.Length, f.CRC = uint32(len(batch)), Checksum(batch)
	raw := make([]byte, Size(len(batch)))
	PutFrame(raw, generation, &f)
	copy(raw[FrameHeaderSize:], batch)
	return append(file, raw...)
}

type found struct {
	pos   int64
	frame Frame
	batch string
}

func scan(file []byte) ([]found, Summary, error) {
	var all []found
	sum, err := Scan(bytes.NewReader(file), int64(len(file)), func(pos int64, f Frame, batch []byte) error {
		all = append(all, found{pos, f, string(batch)})
		return nil
	})
	return all, sum, err
}

func TestGoldenFileOfVersion1StaysReadable(t *testing.T) {
	name := filepath.Join("testdata", "v1.wal")
	if _, err := os.Stat(name); *update && errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(name, sample(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(golden, sample()) {
		t.Error("version 1 is not written as it was")
	}
	frames, sum, err := scan(golden)
	if err != nil || len(sum.Damage) != 0 || !sum.Ended || sum.Generation != 7 || len(frames) != 3 {
		t.Fatalf("read %d frames, %+v, %v", len(frames), sum, err)
	}
	if f := frames[1]; f.batch != "second batch, longer than the first" || f.frame.Partition != id(1) || f.frame.First != 5 {
		t.Errorf("second frame %+v", f)
	}
}

// Cutting the file anywhere gives a prefix of its frames, or an error.
func TestTruncatedFileGivesAPrefix(t *testing.T) {
	whole := sample()
	want, _, _ := scan(whole)
	for n := range whole {
		got, sum, err := scan(whole[:n])
		if err != nil {
			if n >= HeaderSize && !errors.Is(err, format.ErrCorrupt) {
				t.Fatalf("cut at %d: %v", n, err)
			}
			continue
		}
		if len(got) > len(want) || len(sum.Damage) > 0 && sum.Damage[0].Position > int64(n) {
			t.Fatalf("cut at %d: %d frames, damage %v", n, len(got), sum.Damage)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("cut at %d: frame %d is %+v, want %+v", n, i, got[i], want[i])
			}
		}
	}
}

// A flipped bit costs the frame it is in and no other, and is reported when a
// later frame says that it had been durable.
func TestFlippedBitCostsOneFrame(t *testing.T) {
	whole := sample()
	want, _, _ := scan(whole)
	second, third := want[1].pos, want[2].pos
	for bit := range int(third-second) * 8 {
		at := int(second) + bit/8
		if at >= int(second)+FrameHeaderSize+len(want[1].batch) {
			break // padding
		}
		file := bytes.Clone(whole)
		file[at] ^= 1 << (bit % 8)
		got, sum, err := scan(file)
		if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[2] {
			t.Fatalf("bit %d of byte %d: %d frames, %v", bit%8, at, len(got), err)
		}
		if len(sum.Damage) != 1 || sum.Damage[0].Position != second || sum.Damage[0].Next != third {
			t.Fatalf("bit %d of byte %d: damage %+v", bit%8, at, sum.Damage)
		}
	}
}

// A frame that was never known to be durable ends the log when it is bad: what
// stands behind it is counted, and left out.
func TestTornWriteIsCutAndCounted(t *testing.T) {
	file := make([]byte, HeaderSize)
	PutHeader(file, 7)
	for i := range int32(3) {
		file = appendFrame(file, 7, Frame{Kind: Batch, Durable: HeaderSize, Partition: id(i), First: 1}, []byte("one write"))
	}
	file[HeaderSize+FrameHeaderSize] ^= 1
	got, sum, err := scan(file)
	if err != nil || len(got) != 0 || len(sum.Damage) != 0 || sum.Torn != 2 || sum.Next != HeaderSize {
		t.Errorf("%d frames, %+v, %v", len(got), sum, err)
	}
}

func TestNewerVersionIsNotDamage(t *testing.T) {
	file := sample()
	file[8] = 2
	sum := Checksum(file[:60])
	file[60], file[61], file[62], file[63] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
	if _, _, err := scan(file); !errors.Is(err, format.ErrVersion) {
		t.Errorf("version 2: %v", err)
	}
}

// Whatever the bytes: no panic, memory within the file's size, every frame
// visited lies within the file, in order, and its batch has its CRC.
func FuzzScan(f *testing.F) {
	f.Add(sample())
	f.Add(sample()[:HeaderSize])
	f.Add(sample()[:200])
	f.Fuzz(func(t *testing.T, file []byte) {
		last := int64(0)
		_, err := Scan(bytes.NewReader(file), int64(len(file)), func(pos int64, fr Frame, batch []byte) error {
			if pos < last || pos+FrameHeaderSize+int64(len(batch)) > int64(len(file)) {
				t.Fatalf("frame at %d with %d bytes in a file of %d, behind %d", pos, len(batch), len(file), last)
			}
			if err := fr.Check(batch); err != nil {
				t.Fatal(err)
			}
			last = pos + FrameHeaderSize
			return nil
		})
		if err != nil && !errors.Is(err, format.ErrCorrupt) && !errors.Is(err, format.ErrVersion) {
			t.Fatalf("error of another kind: %v", err)
		}
	})
}
