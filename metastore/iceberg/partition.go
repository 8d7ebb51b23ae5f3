package iceberg

import (
	"fmt"
	"time"

	ice "github.com/apache/iceberg-go"
)

// The ways in which files are parted, each a partition spec of every table; the
// ids are those of their specs. A topic's setting decides which is the default
// one, and files that were written under another keep theirs.
const (
	specNone = iota
	specDaily
	specHourly
)

// The ids of partition fields.
const (
	partitionDay  = 1000
	partitionHour = 1001
)

// specs are the partition specs of every table, by id.
func specs() []ice.PartitionSpec {
	return []ice.PartitionSpec{
		specNone:   ice.NewPartitionSpecID(specNone),
		specDaily:  ice.NewPartitionSpecID(specDaily, field(partitionDay, "_timestamp_day", ice.DayTransform{})),
		specHourly: ice.NewPartitionSpecID(specHourly, field(partitionHour, "_timestamp_hour", ice.HourTransform{})),
	}
}

func field(id int, name string, transform ice.Transform) ice.PartitionField {
	return ice.PartitionField{SourceIDs: []int{fieldTimestamp}, FieldID: id, Name: name, Transform: transform}
}

// specOf is the spec that a topic's setting asks for.
func specOf(partitioning string) (int, error) {
	switch partitioning {
	case "none":
		return specNone, nil
	case "daily":
		return specDaily, nil
	case "hourly":
		return specHourly, nil
	}
	return 0, fmt.Errorf("partitioning %q: want none, daily or hourly", partitioning)
}

// The forms of the names of time partitions.
const (
	dayForm  = "2006-01-02"
	hourForm = "2006-01-02T15"
)

// partitionOf reads the name of a time partition: the spec that parts so, and the
// value in it, in days or hours since 1970.
func partitionOf(name string) (spec int, value int32, err error) {
	form, spec, unit := dayForm, specDaily, int64(24*60*60)
	switch len(name) {
	case 0:
		return specNone, 0, nil
	case len(hourForm):
		form, spec, unit = hourForm, specHourly, 60*60
	}
	t, err := time.Parse(form, name)
	if err != nil {
		return 0, 0, fmt.Errorf("time partition %q: %w", name, err)
	}
	return spec, int32(t.Unix() / unit), nil // whole days and hours, also before 1970
}

// partitionValues are the values of a file's partition, by field id.
func partitionValues(spec int, value int32) map[int]any {
	switch spec {
	case specDaily:
		return map[int]any{partitionDay: value}
	case specHourly:
		return map[int]any{partitionHour: value}
	}
	return map[int]any{}
}
