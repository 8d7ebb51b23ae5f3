package elastic

import (
	"fmt"
	"strconv"
	"strings"
)

// documentID reads an _id: topic-partition-offset. False: no document has it.
func documentID(topic, id string) (partition int32, offset int64, ok bool) {
	rest, found := strings.CutPrefix(id, topic+"-")
	if !found {
		return 0, 0, false
	}
	first, second, found := strings.Cut(rest, "-")
	p, err := strconv.ParseUint(first, 10, 31)
	o, err2 := strconv.ParseUint(second, 10, 63)
	if !found || err != nil || err2 != nil || id != idOf(topic, int32(p), int64(o)) {
		return 0, 0, false
	}
	return int32(p), int64(o), true
}

func idOf(topic string, partition int32, offset int64) string {
	return fmt.Sprintf("%s-%d-%d", topic, partition, offset)
}
