package metastore

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/internal/format"
)

func goldenBlock() blockValue {
	return blockValue{
		128: {Offset: 5, LeaderEpoch: 2, Metadata: "m", CommittedAt: 1_780_000_000_123},
		130: {Offset: 1 << 40, LeaderEpoch: -1, CommittedAt: 1_780_000_000_000, ExpiresAt: 1_780_000_100_000},
		191: {Offset: -1, LeaderEpoch: 0, CommittedAt: 1_780_000_600_000},
	}
}

func TestOffsetValuesAreThoseOfVersion1(t *testing.T) {
	path := filepath.Join("testdata", "offsets-v1.bin")
	value := encodeBlock(goldenBlock())
	want, err := os.ReadFile(path)
	if *update && os.IsNotExist(err) {
		want, err = value, os.WriteFile(path, value, 0o644)
	}
	require.NoError(t, err)
	require.Equal(t, want, value)
	got, err := decodeBlock("k", 2, want)
	require.NoError(t, err)
	require.Equal(t, goldenBlock(), got)
	for i := range value {
		damaged := bytes.Clone(value)
		damaged[i] ^= 8
		_, err := decodeBlock("offsets/g", 2, damaged)
		require.ErrorIs(t, err, format.ErrCorrupt)
		require.ErrorContains(t, err, "offsets/g")
	}
}

// A block of offsets costs a few bytes each.
func TestABlockOfOffsetsIsSmall(t *testing.T) {
	v := make(blockValue)
	for i := range int32(offsetBlockPartitions) {
		v[i] = OffsetCommit{Offset: 1_000_000_000 + int64(i), LeaderEpoch: 7, CommittedAt: 1_780_000_000_000 + int64(i)}
	}
	value, before := encodeBlock(v), 0
	if b, err := json.Marshal(v); err == nil {
		before = len(b)
	}
	require.Less(t, len(value), 12*offsetBlockPartitions)
	t.Logf("%d offsets: %d bytes, %d as JSON", len(v), len(value), before)

	for i := range v {
		v[i] = OffsetCommit{Offset: math.MaxInt64, Metadata: strings.Repeat("m", 4096)}
	}
	require.Less(t, len(encodeBlock(v)), 300<<10, "with all the metadata that brokers allow by default it has room in a transaction")
}

// Whatever the bytes, they are read or refused as damage or as of another
// version; what is read is written the same.
func FuzzOffsetValue(f *testing.F) {
	value := encodeBlock(goldenBlock())
	f.Add(value[:len(value)-4])
	f.Add(encodeBlock(nil)[:3])
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := decodeBlock("k", 1, appendCRC(bytes.Clone(body)))
		if err != nil {
			require.True(t, errors.Is(err, format.ErrCorrupt) || errors.Is(err, format.ErrVersion), "%v", err)
			return
		}
		for index := range v {
			require.True(t, index >= offsetBlockPartitions && index < 2*offsetBlockPartitions, "partition %d", index)
		}
		again, err := decodeBlock("k", 1, encodeBlock(v))
		require.NoError(t, err)
		require.Equal(t, v, again)
	})
}
