// Package blob is where files of formats at rest lie, for those who read them by
// parts: objects of the bucket, and files in memory.
package blob

import "context"

// Blob is where a file lies: an object, or a file of a cache.
type Blob interface {
	// Size is the length of the whole.
	Size() int64
	// Read returns bytes that lie within it, exactly so many. Nobody changes them.
	// It may be called at once.
	Read(ctx context.Context, offset, length int64) ([]byte, error)
}

// Bytes is a file in memory, or mapped into it. Reading it costs nothing, so that
// what is read twice need not be kept, and what was checked once is good.
type Bytes []byte

// Size implements Blob.
func (b Bytes) Size() int64 { return int64(len(b)) }

// Read implements Blob.
func (b Bytes) Read(_ context.Context, offset, length int64) ([]byte, error) {
	return b[offset : offset+length : offset+length], nil
}

// Footer reads the end of a file whose footer says, at its very end, how long it
// is: length returns that, of the file's last bytes. guess is how many are read at
// first; it lies within the file, and has what length wants.
func Footer(ctx context.Context, b Blob, guess int64, length func(end []byte) (int64, error)) ([]byte, error) {
	end, err := b.Read(ctx, b.Size()-guess, guess)
	if err != nil {
		return nil, err
	}
	n, err := length(end)
	if err != nil {
		return nil, err
	}
	if n > guess {
		return b.Read(ctx, b.Size()-n, n)
	}
	return end[guess-n:], nil
}
