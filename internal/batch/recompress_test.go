package batch_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/batch"
)

// What franz-go and the Builder wrote is the same to every reader after it has
// been packed by another codec, and only the fields that must differ do.
func TestRecompressChangesNothingButTheCodec(t *testing.T) {
	var b batch.Builder
	d := batch.NewDecoder(1 << 20)
	levels := map[batch.Codec][]int{batch.None: {0}, batch.Gzip: {0, 1, 9}, batch.Snappy: {0}, batch.LZ4: {0, 1, 9}, batch.Zstd: {0, 1, 3, 22}}
	for _, from := range codecs {
		raw := franzBatch(t, sample(), from)
		batch.PatchOffset(raw, 0, 3)
		before, err := batch.Verify(raw)
		require.NoError(t, err)
		for _, to := range codecs {
			for _, level := range levels[to] {
				facts, err := d.Inspect(before, raw)
				require.NoError(t, err)
				packed, err := b.Recompress([]byte("before"), raw, facts, to, level)
				require.NoError(t, err)
				require.Equal(t, "before", string(packed[:6]))
				packed = packed[6:]
				after, err := batch.Verify(packed)
				require.NoError(t, err)
				require.Equal(t, to, after.Attributes.Codec())
				require.NoError(t, d.VerifyRecords(after, packed))
				same(t, sample(), ours(t, packed))
				same(t, sample(), franzRead(t, packed))
				after.Attributes, after.CRC, after.Length = before.Attributes, before.CRC, before.Length
				require.Equal(t, before, after, "%v to %v", from, to)
			}
		}
	}
}

func TestRecompressKeepsTheFlags(t *testing.T) {
	raw := build(t, batch.Options{Codec: batch.Gzip, Flags: batch.Transactional, Producer: &batch.Producer{ID: 7, Epoch: 1, Sequence: 3}}, sample())
	batch.PatchLogAppendTime(raw, 42)
	h, err := batch.Verify(raw)
	require.NoError(t, err)
	d := batch.NewDecoder(1 << 20)
	facts, err := d.Inspect(h, raw)
	require.NoError(t, err)
	packed, err := new(batch.Builder).Recompress(nil, raw, facts, batch.LZ4, 0)
	require.NoError(t, err)
	after, err := batch.Verify(packed)
	require.NoError(t, err)
	require.True(t, after.Attributes.Transactional() && after.Attributes.LogAppendTime())
	require.Equal(t, int64(42), after.MaxTimestamp)
	_, err = new(batch.Builder).Recompress(nil, raw, facts, batch.Codec(7), 0)
	require.Error(t, err)
}

func BenchmarkRecompress100Records(b *testing.B) {
	raw := franzBatch(b, hundred(), batch.Snappy)
	h, err := batch.Verify(raw)
	require.NoError(b, err)
	d := batch.NewDecoder(1 << 20)
	var builder batch.Builder
	for _, codec := range codecs {
		b.Run(codec.String(), func(b *testing.B) {
			b.ReportAllocs()
			var dst []byte
			for b.Loop() {
				facts, err := d.Inspect(h, raw)
				if err != nil {
					b.Fatal(err)
				}
				if dst, err = builder.Recompress(dst[:0], raw, facts, codec, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
