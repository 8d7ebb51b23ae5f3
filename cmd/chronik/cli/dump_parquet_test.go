package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every byte of a table's file is under a checksum: whichever is flipped, verify
// says so, and says in which file.
func TestVerifyFindsAFlippedBitAnywhereInAParquetFile(t *testing.T) {
	sound, err := os.ReadFile("../../../internal/columnar/testdata/v1.parquet")
	require.NoError(t, err)
	verify := func(data []byte) (string, error) {
		var out strings.Builder
		o := &dumpOptions{verify: true}
		err := dumpParquet(&out, source{"the file", bytes.NewReader(data), int64(len(data))}, o)
		return out.String(), err
	}
	out, err := verify(sound)
	require.NoError(t, err)
	require.Contains(t, out, "verified: the checksums of all parts")
	damaged := bytes.Clone(sound)
	damaged[100] ^= 1
	out, err = verify(damaged)
	require.ErrorContains(t, err, "row group 0")
	require.Contains(t, out, "made again of the log when a query meets the damage")
	for at := range sound {
		data := bytes.Clone(sound)
		data[at] ^= 1 << (at % 8)
		_, err := verify(data)
		require.ErrorContains(t, err, "the file", "byte %d", at)
	}
}
