package s3_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/objtest"
	"github.com/chronik-stream/chronik/objstore/s3"
)

// Segments go up in one request, log files are read in chunks and whole.
func BenchmarkMinIO(b *testing.B) {
	bucket, err := s3.New(config(objtest.StartMinIO(b).On()))
	require.NoError(b, err)
	defer bucket.Close()
	require.NoError(b, bucket.Ensure(b.Context(), true))
	data := objtest.Bytes(64<<20, 1)
	parts := [][]byte{data[:1<<20], data[1<<20:]}

	b.Run("put 64 MiB", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			_, err := bucket.Put(b.Context(), fmt.Sprint("put-", b.N, "-", i), objstore.Buffers(parts), objstore.Condition{IfAbsent: true})
			require.NoError(b, err)
		}
	})
	objtest.Put(b, bucket, "o", data)
	for _, size := range []int64{128 << 10, 1 << 20, 64 << 20} {
		b.Run(fmt.Sprintf("get %d KiB", size>>10), func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for i := int64(0); b.Loop(); i++ {
				_, err := bucket.Get(b.Context(), "o", i%(64<<20/size)*size, size)
				require.NoError(b, err)
			}
		})
	}
}
