package aws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/chronik-stream/chronik/objstore"
)

// abortWithin bounds how long the parts of a failed upload are tried to be
// removed; what stays the bucket's lifecycle rule has to clear away.
const abortWithin = 10 * time.Second

// putParts uploads a large body one part after the other. The condition is
// checked when the parts are put together: only then does the object appear.
func (b *Bucket) putParts(ctx context.Context, name string, body objstore.Body, cond objstore.Condition) (etag string, read, err error) {
	begun, err := b.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &b.name, Key: &name, ContentType: sdk.String(contentType), ChecksumAlgorithm: b.checksum,
	})
	if err != nil {
		return "", nil, err
	}
	parts, read, err := b.uploadParts(ctx, name, begun.UploadId, body)
	if err == nil {
		in := &s3.CompleteMultipartUploadInput{
			Bucket: &b.name, Key: &name, UploadId: begun.UploadId,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		}
		in.IfNoneMatch, in.IfMatch = conditions(cond)
		var done *s3.CompleteMultipartUploadOutput
		if done, err = b.client.CompleteMultipartUpload(ctx, in); err == nil {
			return unquoted(done.ETag), nil, nil
		}
	}
	return "", read, errors.Join(err, b.abort(ctx, name, begun.UploadId))
}

func (b *Bucket) uploadParts(ctx context.Context, name string, upload *string, body objstore.Body) (parts []types.CompletedPart, read, err error) {
	for at := int64(0); at < body.Size; at += b.partBytes {
		part := &section{whole: body.Open(), base: at, size: min(b.partBytes, body.Size-at)}
		if _, err := part.Seek(0, io.SeekStart); err != nil {
			return nil, err, err
		}
		number := sdk.Int32(int32(len(parts) + 1))
		out, err := b.client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: &b.name, Key: &name, UploadId: upload, PartNumber: number, Body: part, ContentLength: &part.size,
		})
		if err != nil {
			return nil, part.failed, err
		}
		parts = append(parts, types.CompletedPart{
			PartNumber: number, ETag: out.ETag,
			ChecksumCRC32: out.ChecksumCRC32, ChecksumCRC32C: out.ChecksumCRC32C, ChecksumCRC64NVME: out.ChecksumCRC64NVME,
			ChecksumSHA1: out.ChecksumSHA1, ChecksumSHA256: out.ChecksumSHA256,
		})
	}
	return parts, nil, nil
}

// abort removes the parts of an upload that failed, also when that was because
// the caller's time was over.
func (b *Bucket) abort(ctx context.Context, name string, upload *string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortWithin)
	defer cancel()
	_, err := b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.name, Key: &name, UploadId: upload})
	if err == nil || code(err) == "NoSuchUpload" { // it was put together, and the answer was lost
		return nil
	}
	return fmt.Errorf("parts of it stay in the store: %w", err)
}

// section is a part of a body, and remembers that it was the body, and not the
// store, that failed.
type section struct {
	whole      io.ReadSeeker
	base, size int64
	at         int64
	failed     error
}

func (s *section) Read(p []byte) (int, error) {
	left := s.size - s.at
	if left == 0 {
		return 0, io.EOF
	}
	n, err := s.whole.Read(p[:min(int64(len(p)), left)])
	s.at += int64(n)
	if err == io.EOF && s.at < s.size {
		err = fmt.Errorf("it ends after %d bytes, %d were announced: %w", s.base+s.at, s.base+s.size, io.ErrUnexpectedEOF)
	}
	if err != nil && err != io.EOF {
		s.failed = err
	}
	return n, err
}

func (s *section) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek to %d: before the start", offset)
	}
	if _, err := s.whole.Seek(s.base+offset, io.SeekStart); err != nil {
		s.failed = err
		return 0, err
	}
	s.at = min(offset, s.size)
	return offset, nil
}
