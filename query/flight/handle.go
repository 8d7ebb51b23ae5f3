package flight

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/chronik-stream/chronik/query/peers"
)

// handle is what a ticket, or the handle of a prepared statement, carries: the
// statement, so that no node has to remember it.
type handle struct {
	Version    int           `json:"v"`
	ID         string        `json:"id,omitempty"` // of one GetFlightInfo, to be cancelled by
	SQL        string        `json:"sql,omitempty"`
	Nearest    *Nearest      `json:"nearest,omitempty"` // instead of SQL
	Freshness  string        `json:"freshness,omitempty"`
	Timeout    time.Duration `json:"timeout_ns,omitempty"`
	Parameters []byte        `json:"parameters,omitempty"` // an Arrow IPC stream of one row
}

// handleVersion changes with the layout: nodes of two versions may serve one client.
const handleVersion = 1

func (h handle) encode() ([]byte, error) {
	h.Version = handleVersion
	return json.Marshal(h)
}

func decodeHandle(text []byte) (handle, error) {
	var h handle
	if err := json.Unmarshal(text, &h); err != nil || h.Version != handleVersion || (h.SQL == "") == (h.Nearest == nil) {
		return handle{}, invalid("the handle is not one of this server's")
	}
	return h, nil
}

// statement is what the Backend is asked.
func (h handle) statement(ctx context.Context) (Statement, error) {
	s := Statement{SQL: h.SQL, Nearest: h.Nearest, Freshness: h.Freshness, Timeout: h.Timeout, Principal: principalOf(ctx)}
	if h.Nearest != nil {
		if own := h.Nearest.timeout(); own > 0 {
			s.Timeout = own
		}
	}
	if h.Parameters != nil {
		values, err := decodeParameters(h.Parameters)
		if err != nil {
			return s, err
		}
		s.Parameters = values
	}
	return s, nil
}

// timeout is what the search itself says of its time, 0 if it does not, or says what
// the Backend will refuse.
func (n *Nearest) timeout() time.Duration {
	var says struct {
		Seconds float64 `json:"timeout_secs"`
	}
	if json.Unmarshal(n.Body, &says) != nil || !(says.Seconds > 0 && says.Seconds < math.MaxInt64/1e9) {
		return 0
	}
	return time.Duration(says.Seconds * float64(time.Second))
}

// Headers by which a client chooses what SQL over HTTP has fields for.
const (
	headerPrefix    = "x-chronik-"
	freshnessHeader = headerPrefix + "freshness"
	timeoutHeader   = headerPrefix + "timeout-secs"
)

// withOptions takes the options from a call's headers, where it has any: those
// that a handle brings along stay otherwise.
func (h handle) withOptions(ctx context.Context) (handle, error) {
	headers, _ := metadata.FromIncomingContext(ctx)
	names := make([]string, 0, len(headers))
	for name := range headers {
		names = append(names, name)
	}
	slices.Sort(names) // the same complaint each time
	for _, name := range names {
		value := strings.Join(headers[name], ",")
		switch {
		case name == freshnessHeader:
			h.Freshness = value
		case name == timeoutHeader:
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil || !(seconds > 0 && seconds < math.MaxInt64/1e9) {
				return h, invalid("the header %s is %q, it must be a number of seconds", name, value)
			}
			h.Timeout = time.Duration(seconds * float64(time.Second))
		case name == strings.ToLower(peers.HopHeader) || name == strings.ToLower(peers.AgentHeader):
			// Between query nodes.
		case strings.HasPrefix(name, headerPrefix):
			return h, invalid("there is no header %s: there are %s and %s", name, freshnessHeader, timeoutHeader)
		}
	}
	return h, nil
}
