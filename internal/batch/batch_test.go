package batch_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
)

var update = flag.Bool("update", false, "capture golden batches that do not exist yet (needs kcat)")

// The golden batches are what librdkafka (kcat) sent, one file for each codec.
func TestGoldenBatchesOfLibrdkafka(t *testing.T) {
	for _, codec := range codecs {
		t.Run(codec.String(), func(t *testing.T) {
			name := filepath.Join("testdata", "librdkafka-"+codec.String()+".batch")
			if _, err := os.Stat(name); *update && os.IsNotExist(err) {
				require.NoError(t, os.WriteFile(name, captureKcat(t, codec), 0o644))
			}
			raw, err := os.ReadFile(name)
			require.NoError(t, err)
			h, err := batch.Check(raw)
			require.NoError(t, err)
			require.Equal(t, codec, h.Attributes.Codec())
			facts, err := batch.NewDecoder(1<<20).Inspect(h, raw)
			require.NoError(t, err)
			require.Equal(t, h.MaxTimestamp, facts.MaxTimestamp)
			require.EqualValues(t, 99, facts.Keyless)
			got := ours(t, raw)
			require.Len(t, got, 100)
			require.Equal(t, "key-7", string(got[7].Key))
			require.Equal(t, strings.Repeat("value-7 ", 20), string(got[7].Value))
			require.Equal(t, []kgo.RecordHeader{{Key: "h", Value: []byte("1")}}, got[7].Headers)
			require.Nil(t, got[99].Key)
		})
	}
}

func captureKcat(t *testing.T, codec batch.Codec) []byte {
	address, produced := fakeBroker(t)
	var lines strings.Builder
	for i := range 99 {
		n := string(rune('0' + i%10))
		lines.WriteString("key-" + n + "\t" + strings.Repeat("value-"+n+" ", 20) + "\n")
	}
	lines.WriteString("no key\n")
	c := exec.Command("kcat", "-b", address, "-P", "-t", "t", "-p", "0", "-K", "\t", "-H", "h=1", "-z", codec.String(), "-X", "linger.ms=1000")
	c.Stdin = strings.NewReader(lines.String())
	out, err := c.CombinedOutput()
	require.NoError(t, err, string(out))
	return <-produced
}

// reseal makes the CRC right after a change.
func reseal(raw []byte) []byte {
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], format.Castagnoli))
	return raw
}

func TestMalformedBatchesAreRefused(t *testing.T) {
	valid := franzBatch(t, sample(), batch.None)
	_, err := batch.Check(valid)
	require.NoError(t, err)
	put32 := func(at int, v int32) func([]byte) []byte {
		return func(b []byte) []byte { binary.BigEndian.PutUint32(b[at:], uint32(v)); return b }
	}
	for _, c := range []struct {
		name   string
		change func([]byte) []byte
		kind   error
		reason string
	}{
		{"empty", func(b []byte) []byte { return nil }, batch.ErrTruncated, "0 bytes, a batch header has 61"},
		{"half a header", func(b []byte) []byte { return b[:40] }, batch.ErrTruncated, "40 bytes"},
		{"half a batch", func(b []byte) []byte { return b[:len(b)-1] }, batch.ErrTruncated, "of a batch of"},
		{"a byte more", func(b []byte) []byte { return append(b, 0) }, format.ErrCorrupt, "1 bytes after the batch"},
		{"magic 1", func(b []byte) []byte { b[16] = 1; return b }, format.ErrVersion, "version 1"},
		{"negative length", put32(8, -1), format.ErrCorrupt, "batch length -1"},
		{"length of 2 GB", put32(8, 1<<31-1), batch.ErrTruncated, "of a batch of"},
		{"negative base offset", func(b []byte) []byte { batch.PatchOffset(b, -1, 0); return b }, format.ErrCorrupt, "base offset -1"},
		{"base offset that overflows", func(b []byte) []byte { batch.PatchOffset(b, 1<<63-2, 0); return b }, format.ErrCorrupt, "base offset"},
		{"wrong CRC", put32(17, 1), format.ErrCorrupt, "CRC is 00000001"},
		{"flipped byte", func(b []byte) []byte { b[80] ^= 1; return b }, format.ErrCorrupt, "CRC"},
		{"no records", func(b []byte) []byte { return reseal(put32(57, 0)(b)) }, format.ErrCorrupt, "without records"},
		{"a record fewer", func(b []byte) []byte { return reseal(put32(57, 5)(b)) }, format.ErrCorrupt, "last offset delta 5 with 5 records"},
		{"a record more", func(b []byte) []byte { return reseal(put32(57, 7)(b)) }, format.ErrCorrupt, "7 records within 6 offsets"},
		{"a billion records", func(b []byte) []byte { return reseal(put32(57, 1e9)(put32(23, 1e9-1)(b))) }, format.ErrCorrupt, "1000000000 records in"},
		{"seven records of six", func(b []byte) []byte { return reseal(put32(57, 7)(put32(23, 6)(b))) }, format.ErrCorrupt, "record 6: "},
		{"five records of six", func(b []byte) []byte { return reseal(put32(57, 5)(put32(23, 4)(b))) }, format.ErrCorrupt, "after the last of 5 records"},
		{"unknown codec", func(b []byte) []byte { b[22] = 5; return reseal(b) }, format.ErrCorrupt, "unknown codec 5"},
		{"offsets that do not rise", func(b []byte) []byte { b[61+11+3] = 0; return reseal(b) }, format.ErrCorrupt, "record 1: "},
		{"a record that is too long", func(b []byte) []byte { b[61] = 0x7f; return reseal(b) }, format.ErrCorrupt, "record 0: "},
		{"a record that is too short", func(b []byte) []byte { b[61] = 4; return reseal(b) }, format.ErrCorrupt, "record 0: "},
		{"a negative record length", func(b []byte) []byte { b[61] = 1; return reseal(b) }, format.ErrCorrupt, "record 0: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := batch.Check(c.change(bytes.Clone(valid)))
			require.ErrorIs(t, err, c.kind)
			require.ErrorContains(t, err, c.reason)
			var e *format.Error
			require.True(t, errors.As(err, &e), "a format error says where")
		})
	}
}

func TestHeaderArithmetic(t *testing.T) {
	h := batch.Header{BaseOffset: 10, LastOffsetDelta: 4, Length: 100, BaseSequence: 1<<31 - 3}
	require.Equal(t, int64(15), h.Next())
	require.Equal(t, 112, h.Size())
	require.Equal(t, int32(1), h.LastSequence(), "sequences wrap to 0")
	h.BaseSequence = -1
	require.Equal(t, int32(-1), h.LastSequence(), "no sequence stays none")
}

func TestPatchingKeepsTheBatchValid(t *testing.T) {
	raw := franzBatch(t, sample(), batch.Zstd)
	batch.PatchOffset(raw, 1_000_000_007, 9)
	h, err := batch.Check(raw)
	require.NoError(t, err)
	require.Equal(t, int64(1_000_000_007), h.BaseOffset)
	require.Equal(t, int32(9), h.LeaderEpoch)
	require.False(t, h.Attributes.LogAppendTime())

	batch.PatchLogAppendTime(raw, 1234)
	h, err = batch.Check(raw)
	require.NoError(t, err)
	require.True(t, h.Attributes.LogAppendTime())
	require.Equal(t, batch.Zstd, h.Attributes.Codec())
	it, err := batch.NewDecoder(1<<20).Open(h, raw)
	require.NoError(t, err)
	for i := int64(0); it.Next(); i++ {
		require.Equal(t, int64(1234), it.Record().Timestamp)
		require.Equal(t, 1_000_000_007+i, it.Record().Offset)
	}
	require.NoError(t, it.Err())
	for i, r := range franzRead(t, raw) {
		require.Equal(t, int64(1234), r.Timestamp.UnixMilli(), "record %d", i)
	}
}

func TestInspectTellsWhatTheHeaderCannot(t *testing.T) {
	raw := franzBatch(t, sample(), batch.LZ4)
	batch.PatchMaxTimestamp(raw, -1) // as some clients leave it
	h, err := batch.Check(raw)
	require.NoError(t, err)
	facts, err := batch.NewDecoder(1<<20).Inspect(h, raw)
	require.NoError(t, err)
	require.Equal(t, at(-5).UnixMilli(), facts.MinTimestamp)
	require.Equal(t, at(70_001).UnixMilli(), facts.MaxTimestamp)
	require.EqualValues(t, 1, facts.Keyless)
}

// lz4js, with which KafkaJS is used, makes such frames whatever it is told.
func TestALZ4FrameThatJavaClientsCannotReadIsRefused(t *testing.T) {
	raw := franzBatch(t, sample(), batch.LZ4)
	raw[batch.HeaderSize+4] &^= 0x20 // block independence
	reseal(raw)
	h, err := batch.Verify(raw)
	require.NoError(t, err)
	_, err = batch.NewDecoder(1<<20).Inspect(h, raw)
	require.ErrorIs(t, err, format.ErrCorrupt)
	require.ErrorContains(t, err, "depend on each other")
}

func TestSparseOffsetsAreReadButNotAccepted(t *testing.T) {
	raw := franzBatch(t, sample(), batch.None)
	binary.BigEndian.PutUint32(raw[23:], 9) // last offset delta: keys were compacted away
	reseal(raw)
	h, err := batch.Verify(raw)
	require.NoError(t, err)
	require.Equal(t, int64(10), h.Next())
	it, err := batch.NewDecoder(1).Open(h, raw)
	require.NoError(t, err)
	for it.Next() {
	}
	require.NoError(t, it.Err())
	_, err = batch.Check(raw)
	require.ErrorContains(t, err, "last offset delta 9 with 6 records")
}

func TestXerialFramedSnappy(t *testing.T) {
	raw := franzBatch(t, sample(), batch.None)
	packed := []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1}
	for rest := raw[batch.HeaderSize:]; len(rest) > 0; {
		n := min(300, len(rest))
		block := s2.EncodeSnappy(nil, rest[:n])
		packed = binary.BigEndian.AppendUint32(packed, uint32(len(block)))
		packed = append(packed, block...)
		rest = rest[n:]
	}
	raw = repack(raw, batch.Snappy, packed)
	same(t, sample(), ours(t, raw))
	h, err := batch.Check(raw)
	require.NoError(t, err)
	d := batch.NewDecoder(1 << 20)
	for cut := batch.HeaderSize + 8; cut < len(raw); cut++ {
		short := repack(raw, batch.Snappy, raw[batch.HeaderSize:cut])
		h.Length = int32(len(short) - 12)
		require.Error(t, d.VerifyRecords(h, short), "cut at %d", cut)
	}
}

// repack replaces the records of a batch.
func repack(raw []byte, codec batch.Codec, packed []byte) []byte {
	out := append(bytes.Clone(raw[:batch.HeaderSize]), packed...)
	binary.BigEndian.PutUint32(out[8:], uint32(len(out)-12))
	out[22] = byte(codec)
	return reseal(out)
}

func TestDecompressionIsBounded(t *testing.T) {
	bomb := []kgo.Record{{Timestamp: at(0), Value: make([]byte, 32<<20)}}
	for _, codec := range codecs[1:] {
		raw := franzBatch(t, bomb, codec)
		h, err := batch.Check(raw)
		require.NoError(t, err, "CRC and structure are fine")
		err = batch.NewDecoder(1<<20).VerifyRecords(h, raw)
		require.ErrorIs(t, err, batch.ErrTooLarge, codec)
		require.NoError(t, batch.NewDecoder(33<<20).VerifyRecords(h, raw), codec)
	}
	t.Run("a snappy block that lies", func(t *testing.T) {
		raw := franzBatch(t, sample(), batch.None)
		raw = repack(raw, batch.Snappy, binary.AppendUvarint(nil, 1<<30))
		h, err := batch.Check(raw)
		require.NoError(t, err)
		require.ErrorIs(t, batch.NewDecoder(1<<31).VerifyRecords(h, raw), format.ErrCorrupt)
	})
}

func TestGarbageAfterTheCodecIsRefused(t *testing.T) {
	for _, codec := range codecs[1:] {
		raw := repack(franzBatch(t, sample(), batch.None), codec, []byte("this is no compressed block"))
		h, err := batch.Check(raw)
		require.NoError(t, err)
		err = batch.NewDecoder(1<<20).VerifyRecords(h, raw)
		require.ErrorIs(t, err, format.ErrCorrupt, codec)
	}
}

func TestEachStopsAtDamageAndSaysWhere(t *testing.T) {
	one, two := franzBatch(t, sample(), batch.None), franzBatch(t, sample(), batch.Gzip)
	all := append(bytes.Clone(one), two...)
	var sizes []int
	collect := func(h batch.Header, raw []byte) error { sizes = append(sizes, len(raw)); return nil }
	require.NoError(t, batch.Each(all, collect))
	require.Equal(t, []int{len(one), len(two)}, sizes)
	require.NoError(t, batch.Each(nil, collect))

	for _, cut := range []int{len(all) - 1, len(one) + 20} {
		sizes = nil
		err := batch.Each(all[:cut], collect)
		require.ErrorIs(t, err, batch.ErrTruncated)
		require.Equal(t, []int{len(one)}, sizes)
	}
	all[len(one)+16] = 7
	var e *format.Error
	require.ErrorAs(t, batch.Each(all, collect), &e)
	require.Equal(t, int64(len(one)+16), e.Offset)
	require.ErrorIs(t, e, format.ErrVersion)

	stop := errors.New("enough")
	require.Equal(t, stop, batch.Each(all, func(batch.Header, []byte) error { return stop }))
}

func TestCodecsHaveKafkasNames(t *testing.T) {
	var names []string
	for _, codec := range codecs {
		names = append(names, codec.String())
	}
	require.ElementsMatch(t, []string{"none", "gzip", "snappy", "lz4", "zstd"}, names)
	require.Equal(t, "codec(7)", batch.Codec(7).String())
}

func TestBuilderRefusesWhatIsNoBatch(t *testing.T) {
	var b batch.Builder
	b.Reset(batch.Options{})
	_, err := b.Build(nil)
	require.Error(t, err, "no records")
	b.Append(1, nil, nil)
	b.Reset(batch.Options{Codec: 6})
	b.Append(1, nil, nil)
	_, err = b.Build(nil)
	require.ErrorContains(t, err, "codec 6")
	for _, codec := range []batch.Codec{batch.Gzip, batch.LZ4} {
		b.Reset(batch.Options{Codec: codec, Level: 77})
		b.Append(1, nil, nil)
		_, err = b.Build(nil)
		require.Error(t, err, codec)
	}
}

// Whatever records go in come out, for any seed, through a kept Builder and a
// kept Decoder.
func TestBuilderAndDecoderRoundTrip(t *testing.T) {
	var b batch.Builder
	d := batch.NewDecoder(8 << 20)
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		records := make([]kgo.Record, 1+random.IntN(40))
		for i := range records {
			records[i] = kgo.Record{Timestamp: at(random.Int64N(1 << 40)), Key: randomBytes(random, 80), Value: randomBytes(random, 3000)}
			for range random.IntN(3) {
				records[i].Headers = append(records[i].Headers, kgo.RecordHeader{Key: string(randomBytes(random, 9)), Value: randomBytes(random, 9)})
			}
		}
		b.Reset(batch.Options{Codec: codecs[seed%5], Producer: &batch.Producer{ID: 7, Epoch: 1, Sequence: 3}, Flags: batch.Transactional})
		for _, r := range records {
			var headers []batch.RecordHeader
			for _, h := range r.Headers {
				headers = append(headers, batch.RecordHeader{Key: []byte(h.Key), Value: h.Value})
			}
			b.Append(r.Timestamp.UnixMilli(), r.Key, r.Value, headers...)
		}
		raw, err := b.Build([]byte("before"))
		require.NoError(t, err)
		require.Equal(t, "before", string(raw[:6]))
		raw = raw[6:]
		h, err := batch.Check(raw)
		require.NoError(t, err)
		require.True(t, h.Idempotent() && h.Attributes.Transactional())
		require.NoError(t, d.VerifyRecords(h, raw))
		same(t, records, ours(t, raw))
	}
}

func randomBytes(random *rand.Rand, sizeMax int) []byte {
	if random.IntN(5) == 0 {
		return nil
	}
	b := make([]byte, random.IntN(sizeMax))
	for i := range b {
		b[i] = byte(random.IntN(4)) + 'a'
	}
	return b
}

func TestOneFlippedBitIsAlwaysDetected(t *testing.T) {
	raw := franzBatch(t, sample()[:4], batch.None)
	for bit := 12 * 8; bit < len(raw)*8; bit++ { // offset and length are not covered, the epoch neither
		if bit/8 < 16 {
			continue
		}
		raw[bit/8] ^= 1 << (bit % 8)
		_, err := batch.Verify(raw)
		require.Error(t, err, "bit %d", bit)
		raw[bit/8] ^= 1 << (bit % 8)
	}
}

func TestDumpIsReadable(t *testing.T) {
	raw := build(t, batch.Options{Codec: batch.Zstd}, sample())
	batch.PatchOffset(raw, 100, 2)
	var out strings.Builder
	require.NoError(t, batch.Dump(&out, raw, true))
	require.Equal(t, `batch [100,106) epoch=2 size=180 records=6 codec=zstd time=2025-10-09T08:53:20.000Z..2025-10-09T08:54:30.001Z producer=-1/-1/-1 crc=ok
`, strings.SplitAfter(out.String(), "\n")[0])
	require.Contains(t, out.String(), `  101 time=2025-10-09T08:53:20.007Z key=null value="two"`)
	require.Contains(t, out.String(), `  103 time=2025-10-09T08:53:19.995Z key="d" value="" "trace"="1" "trace"=null ""=""`)
	require.Contains(t, out.String(), `… (640 bytes)`)
}

func TestReadingAllocatesNothing(t *testing.T) {
	raw := franzBatch(t, sample(), batch.None)
	zstd := franzBatch(t, sample(), batch.Zstd)
	d := batch.NewDecoder(1 << 20)
	read := func(raw []byte) {
		h, err := batch.Check(raw)
		if err != nil {
			t.Error(err)
		}
		it, err := d.Open(h, raw)
		if err != nil {
			t.Error(err)
			return
		}
		for it.Next() {
			it.Record().Headers.Each(func(key, value []byte) {})
		}
	}
	read(zstd)
	require.Zero(t, testing.AllocsPerRun(100, func() { read(raw) }))
	require.Zero(t, testing.AllocsPerRun(100, func() { read(zstd) }))
}

// What Check and VerifyRecords accept can be iterated to the end, with as many
// records as the header says, rising offsets, and no panic on anything.
func FuzzBatch(f *testing.F) {
	for _, codec := range codecs {
		f.Add(franzBatch(f, sample(), codec))
	}
	d := batch.NewDecoder(1 << 20)
	f.Fuzz(func(t *testing.T, raw []byte) {
		_ = batch.Each(raw, func(h batch.Header, raw []byte) error { return nil })
		if len(raw) >= batch.HeaderSize {
			raw = reseal(bytes.Clone(raw)) // else the CRC would end every run
		}
		h, err := batch.Check(raw)
		if err != nil || d.VerifyRecords(h, raw) != nil {
			return
		}
		it, err := d.Open(h, raw)
		require.NoError(t, err)
		offset := h.BaseOffset
		for ; it.Next(); offset++ {
			r := it.Record()
			require.Equal(t, offset, r.Offset)
			n := 0
			r.Headers.Each(func(key, value []byte) { n++ })
			require.Equal(t, r.Headers.Len(), n)
		}
		require.NoError(t, it.Err())
		require.Equal(t, h.Next(), offset)
	})
}

// hundred are records of 100 bytes of value, as the benchmark of the ack path has.
func hundred() []kgo.Record {
	records := make([]kgo.Record, 100)
	for i := range records {
		records[i] = kgo.Record{Timestamp: at(int64(i)), Key: []byte("key-1234"), Value: bytes.Repeat([]byte{'x'}, 100)}
	}
	return records
}

func BenchmarkParseHeader(b *testing.B) {
	raw := franzBatch(b, hundred(), batch.None)
	for b.Loop() {
		if _, err := batch.ParseHeader(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheck100Records(b *testing.B) {
	raw := franzBatch(b, hundred(), batch.None)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := batch.Check(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWalk100Records(b *testing.B) {
	for _, codec := range codecs {
		raw := franzBatch(b, hundred(), codec)
		h, err := batch.Check(raw)
		require.NoError(b, err)
		d := batch.NewDecoder(1 << 20)
		b.Run(codec.String(), func(b *testing.B) {
			b.ReportAllocs()
			start := time.Now()
			for b.Loop() {
				it, err := d.Open(h, raw)
				if err != nil {
					b.Fatal(err)
				}
				for it.Next() {
				}
			}
			b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(b.N)/100, "ns/record")
		})
	}
}
