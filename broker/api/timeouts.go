package api

import "time"

// alterWithin bounds what a request alters in the metadata store, should that be
// away, when the request does not say how long it waits: a client's own time is
// half a minute at least.
const alterWithin = 10 * time.Second

// adminTimeout is a client's timeout in ms, within reason.
func adminTimeout(ms int32) time.Duration {
	return min(max(time.Duration(ms)*time.Millisecond, time.Second), 5*time.Minute)
}
