package metastore

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/topic"
)

var update = flag.Bool("update", false, "write golden files that do not exist yet")

// someSegment is a segment of n ranges out of a seed.
func someSegment(seed uint64, n int) Segment {
	rnd := rand.New(rand.NewPCG(seed, 0))
	s := Segment{ID: "01JD9ZQ5J0000000000000000A", Object: "segments/1/2/01JD9ZQ5J0000000000000000A", Broker: 7, Session: 1234, Sequence: 56}
	var id topic.ID
	for i := range n {
		if i%3 == 0 {
			for j := range id {
				id[j] = byte(rnd.Uint32())
			}
		}
		first := rnd.Int64N(1 << 40)
		r := SegmentRange{
			Partition: topic.Partition{Topic: id, Index: int32(i)}, Epoch: Epoch(rnd.Int32N(5)),
			First: first, Next: first + 1 + rnd.Int64N(1000), Position: s.Size, Length: 1 + rnd.Int64N(100_000),
			MaxTimestamp: 1_800_000_000_000 + rnd.Int64N(10_000),
		}
		s.Size += r.Length
		s.Ranges = append(s.Ranges, r)
	}
	return s
}

func TestSegmentValueReadsAsWritten(t *testing.T) {
	for _, n := range []int{0, 1, 7, SegmentPartRangesMax, SegmentPartRangesMax + 1, SegmentRangesMax} {
		want := someSegment(uint64(n), n)
		var got Segment
		for i, value := range encodeSegment(&want) {
			part, err := decodeSegmentPart(value)
			require.NoError(t, err)
			require.Equal(t, i, part.part)
			require.Less(t, len(value), 400<<10)
			ranges := append(got.Ranges, part.Ranges...)
			got = part.Segment
			got.Ranges = ranges
		}
		if n == 0 {
			got.Ranges = nil
		}
		require.Equal(t, want, got)
	}
}

func TestSegmentValueGolden(t *testing.T) {
	want := someSegment(1, 10)
	path := filepath.Join("testdata", "segment-v1.bin")
	golden, err := os.ReadFile(path)
	if *update && os.IsNotExist(err) {
		golden = encodeSegment(&want)[0]
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, golden, 0o644))
		err = nil
	}
	require.NoError(t, err)
	got, err := decodeSegmentPart(golden)
	require.NoError(t, err)
	require.Equal(t, want, got.Segment)
	require.Equal(t, golden, encodeSegment(&want)[0], "version 1 is written as it always was")
}

func TestFlippedBitInASegmentValueIsFound(t *testing.T) {
	seg := someSegment(3, 20)
	value := encodeSegment(&seg)[0]
	for i := range len(value) * 8 {
		damaged := bytes.Clone(value)
		damaged[i/8] ^= 1 << (i % 8)
		_, err := decodeSegmentPart(damaged)
		require.ErrorIs(t, err, format.ErrCorrupt)
	}
	for n := range value {
		_, err := decodeSegmentPart(value[:n])
		require.ErrorIs(t, err, format.ErrCorrupt)
	}
}

func TestNewerSegmentValueIsNotCorrupt(t *testing.T) {
	seg := someSegment(3, 2)
	value := encodeSegment(&seg)[0]
	value[0] = segmentValueVersion + 1
	_, err := decodeSegmentPart(withCRC(value[:len(value)-4]))
	require.ErrorIs(t, err, format.ErrVersion)
}

func withCRC(body []byte) []byte { return appendCRC(slices.Clone(body)) }

// FuzzDecodeSegment gives the decoder bodies with a right checksum: it never
// panics, and what it accepts it writes again to the same meaning.
func FuzzDecodeSegment(f *testing.F) {
	for _, n := range []int{0, 1, 5} {
		seg := someSegment(uint64(n), n)
		value := encodeSegment(&seg)[0]
		f.Add(value[:len(value)-4])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		part, err := decodeSegmentPart(withCRC(body))
		if err != nil {
			return
		}
		again, err := decodeSegmentPart(encodeSegmentPart(&part.Segment, part.part, part.parts, part.Ranges))
		if err != nil {
			t.Fatal(err)
		}
		require.Equal(t, part, again)
	})
}
