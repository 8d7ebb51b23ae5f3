package format

import "time"

// Time writes a timestamp in ms since the epoch as dumps show it; −1 is
// Kafka's "none".
func Time(ms int64) string {
	if ms == -1 {
		return "none"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}
