package batch_test

import (
	"bytes"
	"context"
	"hash/crc32"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/format"
)

var codecs = []batch.Codec{batch.None, batch.Gzip, batch.Snappy, batch.LZ4, batch.Zstd}

// franzCodecs are the same for franz-go.
var franzCodecs = []kgo.CompressionCodec{
	kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
}

// at is a time some milliseconds after a fixed one.
func at(ms int64) time.Time { return time.UnixMilli(1_760_000_000_000 + ms) }

// build makes a batch with the Builder.
func build(t testing.TB, o batch.Options, records []kgo.Record) []byte {
	t.Helper()
	var b batch.Builder
	b.Reset(o)
	for _, r := range records {
		var headers []batch.RecordHeader
		for _, h := range r.Headers {
			headers = append(headers, batch.RecordHeader{Key: []byte(h.Key), Value: h.Value})
		}
		b.Append(r.Timestamp.UnixMilli(), r.Key, r.Value, headers...)
	}
	raw, err := b.Build(nil)
	require.NoError(t, err)
	return raw
}

// sample are the records that the golden batches hold: nulls, empties, headers,
// timestamps out of order, lengths on both sides of a varint's byte.
func sample() []kgo.Record {
	long := bytes.Repeat([]byte("chronik "), 40)
	return []kgo.Record{
		{Timestamp: at(0), Key: []byte("a"), Value: []byte("one")},
		{Timestamp: at(7), Key: nil, Value: []byte("two")},
		{Timestamp: at(3), Key: []byte{}, Value: nil},
		{Timestamp: at(-5), Key: []byte("d"), Value: []byte{}, Headers: []kgo.RecordHeader{
			{Key: "trace", Value: []byte("1")}, {Key: "trace", Value: nil}, {Key: "", Value: []byte{}},
		}},
		{Timestamp: at(70_000), Key: long[:63], Value: long[:64]},
		{Timestamp: at(70_001), Key: long, Value: append(long, long...)},
	}
}

// franzBatch is the batch as franz-go's encoder and compressors write it, the
// independent hand against which ours is held.
func franzBatch(t testing.TB, records []kgo.Record, codec batch.Codec) []byte {
	t.Helper()
	var data []byte
	base, last := records[0].Timestamp.UnixMilli(), records[0].Timestamp.UnixMilli()
	for i, r := range records {
		last = max(last, r.Timestamp.UnixMilli())
		k := kmsg.Record{TimestampDelta64: r.Timestamp.UnixMilli() - base, OffsetDelta: int32(i), Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			k.Headers = append(k.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
		}
		k.Length = int32(len(k.AppendTo(nil)) - 1) // a Length of 0 takes one byte
		data = k.AppendTo(data)
	}
	if codec != batch.None {
		compressor, err := kgo.DefaultCompressor(franzCodecs[codec])
		require.NoError(t, err)
		packed, used := compressor.Compress(new(bytes.Buffer), data)
		require.EqualValues(t, codec, used)
		data = bytes.Clone(packed)
	}
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: int16(codec), Length: int32(batch.HeaderSize - 12 + len(data)),
		LastOffsetDelta: int32(len(records) - 1), FirstTimestamp: base, MaxTimestamp: last,
		ProducerID: 4711, ProducerEpoch: 3, FirstSequence: 12, NumRecords: int32(len(records)), Records: data,
	}
	raw := b.AppendTo(nil)
	b.CRC = int32(crc32.Checksum(raw[21:], format.Castagnoli))
	return b.AppendTo(nil)
}

// franzRead reads batches as a franz-go consumer does.
func franzRead(t testing.TB, raw []byte) []*kgo.Record {
	t.Helper()
	p, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{KeepControlRecords: true, IsolationLevel: kgo.ReadUncommitted()},
		&kmsg.FetchResponseTopicPartition{RecordBatches: raw, HighWatermark: 1 << 60, LastStableOffset: 1 << 60}, kgo.DefaultDecompressor(), nil)
	require.NoError(t, p.Err)
	return p.Records
}

// ours reads a batch with the package under test.
func ours(t testing.TB, raw []byte) []*kgo.Record {
	t.Helper()
	h, err := batch.Verify(raw)
	require.NoError(t, err)
	it, err := batch.NewDecoder(1<<20).Open(h, raw)
	require.NoError(t, err)
	var records []*kgo.Record
	for it.Next() {
		r := it.Record()
		k := &kgo.Record{Offset: r.Offset, Timestamp: time.UnixMilli(r.Timestamp), Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)}
		r.Headers.Each(func(key, value []byte) {
			k.Headers = append(k.Headers, kgo.RecordHeader{Key: string(key), Value: bytes.Clone(value)})
		})
		records = append(records, k)
	}
	require.NoError(t, it.Err())
	return records
}

// same compares records field by field, null apart from empty.
func same(t testing.TB, want []kgo.Record, got []*kgo.Record) {
	t.Helper()
	require.Len(t, got, len(want))
	for i, w := range want {
		g := got[i]
		require.EqualValues(t, i, g.Offset)
		require.Equal(t, w.Timestamp.UnixMilli(), g.Timestamp.UnixMilli(), "record %d", i)
		require.Equal(t, w.Key, g.Key, "record %d", i)
		require.Equal(t, w.Value, g.Value, "record %d", i)
		require.Equal(t, w.Headers, g.Headers, "record %d", i)
	}
}

func TestReadsWhatFranzGoProducesInAllCodecs(t *testing.T) {
	for _, codec := range codecs {
		t.Run(codec.String(), func(t *testing.T) {
			raw := franzBatch(t, sample(), codec)
			h, err := batch.Check(raw)
			require.NoError(t, err)
			require.Equal(t, codec, h.Attributes.Codec())
			require.Equal(t, int64(4711), h.ProducerID)
			require.Equal(t, int32(17), h.LastSequence())
			require.NoError(t, batch.NewDecoder(1<<20).VerifyRecords(h, raw))
			same(t, sample(), ours(t, raw))
		})
	}
}

func TestFranzGoReadsWhatTheBuilderMakes(t *testing.T) {
	for _, codec := range codecs {
		for _, level := range []int{0, 1, 9} {
			raw := build(t, batch.Options{Codec: codec, Level: level}, sample())
			_, err := batch.Check(raw)
			require.NoError(t, err)
			same(t, sample(), franzRead(t, raw))
			same(t, sample(), ours(t, raw))
		}
	}
}

// A client that is not a test's own encoder: kgo's producer, over TCP.
func TestReadsBatchesCapturedFromAProducer(t *testing.T) {
	for _, codec := range codecs {
		t.Run(codec.String(), func(t *testing.T) {
			raw := capture(t, codec, sample())
			h, err := batch.Check(raw)
			require.NoError(t, err)
			require.NoError(t, batch.NewDecoder(1<<20).VerifyRecords(h, raw))
			same(t, sample(), ours(t, raw))
		})
	}
}

// capture returns the records bytes of the one Produce request that kgo sends.
func capture(t *testing.T, codec batch.Codec, records []kgo.Record) []byte {
	t.Helper()
	address, produced := fakeBroker(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DisableIdempotentWrite(), kgo.DefaultProduceTopic("t"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ManualFlushing(), kgo.ProducerBatchCompression(franzCodecs[codec]))
	require.NoError(t, err)
	defer client.Close()
	for i := range records {
		client.Produce(t.Context(), &records[i], nil)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, client.Flush(ctx))
	return <-produced
}
