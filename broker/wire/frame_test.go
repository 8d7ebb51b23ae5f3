package wire

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzFrameReader: whatever arrives, in pieces of any size, the frames that are
// whole come out as they were, everything else is an error, and all memory is
// given back.
func FuzzFrameReader(f *testing.F) {
	whole := append([]byte{0, 0, 0, 12}, "\x00\x00\x00\x00\x00\x00\x00\x01\xff\xffhi"...)
	f.Add(whole, false)
	f.Add(append(whole, whole...), true)
	f.Add(whole[:9], false)
	f.Add([]byte{0x7f, 0xff, 0xff, 0xff, 0, 0}, false)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff}, true)
	f.Fuzz(func(t *testing.T, input []byte, slow bool) {
		const limit, budget = 1 << 16, 1 << 20
		memory := newMemory(budget, time.Second)
		source := bufio.NewReaderSize(bytes.NewReader(input), 16)
		if slow {
			source = bufio.NewReaderSize(iotest.OneByteReader(bytes.NewReader(input)), 16)
		}
		r := frameReader{r: source, memory: memory, bytesMax: func(key int16) int {
			if key < 0 {
				return 0
			}
			return limit
		}}
		for at := 0; ; {
			length, err := r.length()
			if err != nil {
				break
			}
			require.Equal(t, int(int32(binary.BigEndian.Uint32(input[at:]))), length)
			err = r.check(length)
			var frame *buffer
			if err == nil {
				frame, err = r.body(context.Background(), length)
			}
			if err != nil {
				require.True(t, length > limit || at+4+length > len(input) || int16(binary.BigEndian.Uint16(input[at+4:])) < 0, "a whole frame was refused: %v", err)
				break
			}
			require.Equal(t, input[at+4:at+4+length], frame.data[:length])
			memory.giveBack(frame)
			at += 4 + length
		}
		require.True(t, memory.bytes.TryAcquire(budget), "memory was not given back")
	})
}

func BenchmarkFrame(b *testing.B) {
	for _, size := range []int{100, 16 << 10, 1 << 20} {
		b.Run(byteSize(size), func(b *testing.B) {
			one := append(binary.BigEndian.AppendUint32(nil, uint32(size)), make([]byte, size)...)
			input := bytes.NewReader(one)
			r := frameReader{r: bufio.NewReaderSize(input, readBufferBytes), memory: newMemory(1<<30, time.Second), bytesMax: func(int16) int { return 1 << 30 }}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				input.Reset(one)
				length, err := r.length()
				if err != nil {
					b.Fatal(err)
				}
				frame, err := r.body(context.Background(), length)
				if err != nil {
					b.Fatal(err)
				}
				r.memory.giveBack(frame)
			}
		})
	}
}

func byteSize(n int) string {
	if n >= 1<<20 {
		return "1MiB"
	} else if n >= 1<<10 {
		return "16KiB"
	}
	return "100B"
}

// What is refused for want of memory is what does not fit, and nothing else.
func TestAFrameHasAsMuchMemoryAsItIsSaidToNeed(t *testing.T) {
	for _, length := range []int{14, 4 << 10, 8<<10 + 1, 100_000, 128 << 10, 128<<10 + 1, 2 << 20, 2<<20 + 1, 3 << 20, 5 << 20, 40 << 20} {
		needs := peakBytes(length)
		for bytesMax, fits := range map[int64]bool{needs: true, needs - 1: false} {
			memory := newMemory(bytesMax, 0)
			r := frameReader{r: bufio.NewReader(bytes.NewReader(make([]byte, length))), memory: memory, bytesMax: func(int16) int { return length }}
			require.Equal(t, fits, r.check(length) == nil, "%d bytes, %d of memory", length, bytesMax)
			frame, err := r.body(context.Background(), length)
			require.Equal(t, fits, err == nil, "%d bytes, %d of memory: %v", length, bytesMax, err)
			memory.giveBack(frame)
		}
	}
}
