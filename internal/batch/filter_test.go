package batch_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/internal/batch"
)

// What is left of a batch has the offsets, times and bytes that it had, also to
// an independent reader, in every codec, with and without a delete horizon.
func TestFilterLeavesWhatIsKeptAsItWas(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 9))
		codec := codecs[random.IntN(len(codecs))]
		raw := build(t, batch.Options{Codec: codec, Producer: &batch.Producer{ID: 9, Epoch: 2, Sequence: 40}}, sample())
		batch.PatchOffset(raw, 100, 3)
		if random.IntN(4) == 0 {
			batch.PatchLogAppendTime(raw, at(5).UnixMilli())
		}
		before, err := batch.Verify(raw)
		require.NoError(t, err)
		all := ours(t, raw)
		horizon := int64(0)
		if random.IntN(2) == 0 {
			horizon = at(1_000_000).UnixMilli()
		}
		var kept []*kgo.Record
		filter := batch.NewFilter(batch.NewDecoder(1 << 20))
		asked := 0
		out, err := filter.Apply(before, raw, horizon, 0, func(r *batch.Record) bool {
			require.Equal(t, all[asked].Offset, r.Offset)
			asked++
			if random.IntN(3) == 0 {
				return false
			}
			kept = append(kept, all[asked-1])
			return true
		})
		require.NoError(t, err)
		require.Equal(t, len(all), asked)
		if len(kept) == 0 {
			require.Nil(t, out.Raw)
			continue
		}
		after, err := batch.Verify(out.Raw)
		require.NoError(t, err)
		require.Equal(t, out.Header, after)
		require.Equal(t, kept, ours(t, out.Raw))
		franz := franzRead(t, out.Raw)
		require.Len(t, franz, len(kept))
		tombstones, latest := 0, kept[0].Timestamp
		for i, r := range kept {
			require.Equal(t, r.Offset, franz[i].Offset)
			require.Equal(t, r.Timestamp.UnixMilli(), franz[i].Timestamp.UnixMilli())
			require.Equal(t, r.Value, franz[i].Value)
			if r.Value == nil {
				tombstones++
			}
			if r.Timestamp.After(latest) {
				latest = r.Timestamp
			}
		}
		require.Equal(t, tombstones, out.Tombstones)
		require.Equal(t, latest.UnixMilli(), after.MaxTimestamp)
		require.Equal(t, horizon != 0 && tombstones > 0, after.Attributes.DeleteHorizon())
		if after.Attributes.DeleteHorizon() {
			require.Equal(t, horizon, after.BaseTimestamp)
			again, err := filter.Apply(after, out.Raw, horizon+1, 0, func(*batch.Record) bool { return true })
			require.NoError(t, err)
			require.Same(t, &out.Raw[0], &again.Raw[0], "the first horizon stays, and with it every byte")
		}
		after.Records, after.Length, after.CRC, after.BaseTimestamp, after.MaxTimestamp = before.Records, before.Length, before.CRC, before.BaseTimestamp, before.MaxTimestamp
		after.Attributes = before.Attributes
		require.Equal(t, before, after, "nothing else of the header changes")
	}
}

func TestFilterThatKeepsAllCopiesNothing(t *testing.T) {
	raw := build(t, batch.Options{Codec: batch.Zstd}, []kgo.Record{{Timestamp: at(0), Key: []byte("k"), Value: []byte("v")}})
	h, err := batch.Verify(raw)
	require.NoError(t, err)
	out, err := batch.NewFilter(batch.NewDecoder(1<<20)).Apply(h, raw, 1, 0, func(*batch.Record) bool { return true })
	require.NoError(t, err)
	require.Same(t, &raw[0], &out.Raw[0], "a horizon is for tombstones only")
}

func TestAnEmptyBatchHoldsThePlaceOfItsRecords(t *testing.T) {
	raw := build(t, batch.Options{Codec: batch.Zstd, Producer: &batch.Producer{ID: 9, Epoch: 2, Sequence: 40}}, sample())
	batch.PatchOffset(raw, 100, 3)
	before, err := batch.Verify(raw)
	require.NoError(t, err)
	h, empty := batch.Empty(before)
	after, err := batch.Verify(empty)
	require.NoError(t, err)
	require.Equal(t, h, after)
	require.Len(t, empty, batch.HeaderSize)
	require.Equal(t, before.Next(), after.Next())
	require.Equal(t, before.LastSequence(), after.LastSequence())
	require.Equal(t, batch.None, after.Attributes.Codec())
	require.Empty(t, ours(t, empty))

	more := build(t, batch.Options{}, []kgo.Record{{Timestamp: time.UnixMilli(7), Value: []byte("v")}})
	batch.PatchOffset(more, before.Next(), 3)
	read := franzRead(t, append(empty, more...))
	require.Len(t, read, 1, "a client passes over it")
	require.Equal(t, before.Next(), read[0].Offset)
}

func TestFilterRefusesDamage(t *testing.T) {
	raw := build(t, batch.Options{}, sample())
	h, err := batch.Verify(raw)
	require.NoError(t, err)
	raw[batch.HeaderSize] += 2
	_, err = batch.NewFilter(batch.NewDecoder(1<<20)).Apply(h, raw, 0, 0, func(*batch.Record) bool { return true })
	require.Error(t, err)
}
