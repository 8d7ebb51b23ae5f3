package dir_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/dir"
	"github.com/chronik-stream/chronik/objstore/objtest"
)

// In a directory that is known a put is two syncs: of the file and of the directory.
func BenchmarkPut(b *testing.B) {
	bucket, err := dir.Open(b.TempDir())
	require.NoError(b, err)
	defer bucket.Close()
	for _, size := range []int{4 << 10, 1 << 20, 64 << 20} {
		data := objtest.Bytes(size, 1)
		b.Run(fmt.Sprintf("%d KiB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				name := fmt.Sprintf("%d-%d-%d", size, b.N, i%4)
				_, err := bucket.Put(b.Context(), name, objstore.Bytes(data), objstore.Condition{})
				require.NoError(b, err)
			}
		})
	}
}
