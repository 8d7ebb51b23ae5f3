package milvus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/milvus-io/milvus-sdk-go/v2/entity"

	"github.com/chronik-stream/chronik/internal/vectorindex"
	"github.com/chronik-stream/chronik/internal/vectorindex/kernel"
)

// Bounds of one request.
const (
	upsertBytesMax = 8 << 20
	upsertRowsMax  = 8192
	deleteRowsMax  = 4096
)

// Rows are vectors of records of one partition, in columns.
type Rows struct {
	Partition  int32
	Offsets    []int64
	Timestamps []int64   // ms
	Vectors    []float32 // one after the other
}

// Upsert puts rows into a collection, in the place of those of the same offsets.
// It may have put some of them when it fails; to do it again does no harm.
func (c *Client) Upsert(ctx context.Context, to Collection, rows Rows) error {
	n := len(rows.Offsets)
	if len(rows.Timestamps) != n || len(rows.Vectors) != n*to.Dimensions {
		return fmt.Errorf("upserting into %s: %d offsets, %d timestamps, %d numbers of %d dimensions", to.Name, n, len(rows.Timestamps), len(rows.Vectors), to.Dimensions)
	}
	step := min(upsertRowsMax, max(1, upsertBytesMax/(4*to.Dimensions)))
	for first := 0; first < n; first += step {
		next := min(n, first+step)
		part := Rows{
			Partition: rows.Partition, Offsets: rows.Offsets[first:next], Timestamps: rows.Timestamps[first:next],
			Vectors: rows.Vectors[first*to.Dimensions : next*to.Dimensions],
		}
		if err := c.upsert(ctx, to, part); err != nil {
			return fmt.Errorf("upserting offsets %d to %d of partition %d into %s: %w", rows.Offsets[first], rows.Offsets[next-1], rows.Partition, to.Name, err)
		}
	}
	return nil
}

func (c *Client) upsert(ctx context.Context, to Collection, rows Rows) error {
	keys := make([]string, len(rows.Offsets))
	partitions := make([]int32, len(rows.Offsets))
	for i, offset := range rows.Offsets {
		keys[i], partitions[i] = key(rows.Partition, offset), rows.Partition
	}
	return c.call(ctx, func(ctx context.Context) error {
		done, err := c.sdk.Upsert(ctx, to.Name, "",
			entity.NewColumnVarChar(fieldKey, keys),
			entity.NewColumnInt32(fieldPartition, partitions),
			entity.NewColumnInt64(fieldOffset, rows.Offsets),
			entity.NewColumnInt64(fieldTimestamp, rows.Timestamps),
			to.column(rows.Vectors))
		if err == nil && done.Len() != len(keys) {
			return fmt.Errorf("it took %d of %d rows", done.Len(), len(keys))
		}
		return err
	})
}

// column is vectors as Milvus keeps them.
func (c *Collection) column(flat []float32) entity.Column {
	if c.Encoding == vectorindex.F16 {
		vectors := make([][]byte, 0, len(flat)/c.Dimensions)
		for ; len(flat) > 0; flat = flat[c.Dimensions:] {
			vectors = append(vectors, halves(flat[:c.Dimensions]))
		}
		return entity.NewColumnFloat16Vector(fieldVector, c.Dimensions, vectors)
	}
	vectors := make([][]float32, 0, len(flat)/c.Dimensions)
	for ; len(flat) > 0; flat = flat[c.Dimensions:] {
		vectors = append(vectors, flat[:c.Dimensions])
	}
	return entity.NewColumnFloatVector(fieldVector, c.Dimensions, vectors)
}

func halves(v []float32) []byte {
	b := make([]byte, 0, 2*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint16(b, kernel.F16(x))
	}
	return b
}

// DeleteRange removes the rows of a range.
func (c *Client) DeleteRange(ctx context.Context, name string, r Range) error {
	if err := c.delete(ctx, name, clause([]Range{r})); err != nil {
		return fmt.Errorf("deleting offsets %d to %d of partition %d from %s: %w", r.First, r.Next-1, r.Partition, name, err)
	}
	return nil
}

// Delete removes the rows of some offsets of a partition. Those that are not
// there are deleted already.
func (c *Client) Delete(ctx context.Context, name string, partition int32, offsets []int64) error {
	for len(offsets) > 0 {
		n := min(len(offsets), deleteRowsMax)
		var where strings.Builder
		where.WriteString(fieldKey + " in [")
		for i, offset := range offsets[:n] {
			if i > 0 {
				where.WriteByte(',')
			}
			where.WriteString(strconv.Quote(key(partition, offset)))
		}
		where.WriteByte(']')
		if err := c.delete(ctx, name, where.String()); err != nil {
			return fmt.Errorf("deleting %d rows of partition %d from %s: %w", n, partition, name, err)
		}
		offsets = offsets[n:]
	}
	return nil
}

func (c *Client) delete(ctx context.Context, name, where string) error {
	return c.call(ctx, func(ctx context.Context) error { return c.sdk.Delete(ctx, name, "", where) })
}

// Count is how many rows of a partition there are; of all, if it is -1.
func (c *Client) Count(ctx context.Context, name string, partition int32) (n int64, err error) {
	where := ""
	if partition >= 0 {
		where = fmt.Sprintf("%s == %d", fieldPartition, partition)
	}
	err = c.call(ctx, func(ctx context.Context) error {
		answer, err := c.sdk.Query(ctx, name, nil, where, []string{"count(*)"}, strong)
		if err != nil {
			return err
		}
		column, ok := answer.GetColumn("count(*)").(*entity.ColumnInt64)
		if !ok || column.Len() != 1 {
			return errors.New("an answer without a number")
		}
		n = column.Data()[0]
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("counting the rows of %s: %w", name, err)
	}
	return n, nil
}

func key(partition int32, offset int64) string {
	return strconv.FormatInt(int64(partition), 10) + ":" + strconv.FormatInt(offset, 10)
}

// record is the partition and the offset of a key.
func record(key string) (partition int32, offset int64, err error) {
	p, o, _ := strings.Cut(key, ":")
	wide, err := strconv.ParseInt(p, 10, 32)
	if err == nil {
		offset, err = strconv.ParseInt(o, 10, 64)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("a row with the key %q: %w", key, err)
	}
	return int32(wide), offset, nil
}
