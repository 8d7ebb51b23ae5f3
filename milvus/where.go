package milvus

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/chronik-stream/chronik/internal/vectorindex"
)

// Range are offsets [First, Next) of a partition.
type Range struct {
	Partition   int32
	First, Next int64
}

// where is the expression that rows in the ranges pass. Partitions of the same
// bounds share a clause: most topics have few different ones.
func where(ranges []Range, times *vectorindex.Times) string {
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b Range) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Next, b.Next), cmp.Compare(a.Partition, b.Partition))
	})
	var clauses []string
	for len(sorted) > 0 {
		same := 1
		for same < len(sorted) && sorted[same].First == sorted[0].First && sorted[same].Next == sorted[0].Next {
			same++
		}
		clauses = append(clauses, clause(sorted[:same]))
		sorted = sorted[same:]
	}
	text := strings.Join(clauses, " or ")
	if times == nil {
		return text
	}
	return "(" + text + ") and " + between(fieldTimestamp, times.Least, times.Greatest)
}

// clause is of partitions with the same bounds.
func clause(ranges []Range) string {
	partitions := fieldPartition + " == " + strconv.Itoa(int(ranges[0].Partition))
	if len(ranges) > 1 {
		names := make([]string, len(ranges))
		for i, r := range ranges {
			names[i] = strconv.Itoa(int(r.Partition))
		}
		partitions = fieldPartition + " in [" + strings.Join(names, ",") + "]"
	}
	return "(" + partitions + " and " + between(fieldOffset, ranges[0].First, ranges[0].Next-1) + ")"
}

// between is a field's bounds, both included. Milvus does not read the smallest
// number there is, so a bound that bounds nothing is left out.
func between(field string, least, greatest int64) string {
	var bounds []string
	if least > math.MinInt64 {
		bounds = append(bounds, field+" >= "+strconv.FormatInt(least, 10))
	}
	if greatest < math.MaxInt64 {
		bounds = append(bounds, field+" <= "+strconv.FormatInt(greatest, 10))
	}
	if len(bounds) == 0 {
		return field + " >= 0 or " + field + " < 0"
	}
	return strings.Join(bounds, " and ")
}
