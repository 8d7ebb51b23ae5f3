package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// recordJSON is a record as `consume -o json` writes it, one to a line, and as
// `produce --format json` reads it. Bytes are text where they are UTF-8, else
// {"$binary": "base64"}, the convention of the HTTP API; null is null.
type recordJSON struct {
	Topic     string       `json:"topic,omitempty"`
	Partition *int32       `json:"partition,omitempty"`
	Offset    *int64       `json:"offset,omitempty"`
	Timestamp *time.Time   `json:"timestamp,omitempty"`
	Key       binary       `json:"key"`
	Value     binary       `json:"value"`
	Headers   []headerJSON `json:"headers,omitempty"`
}

type headerJSON struct {
	Key   string `json:"key"`
	Value binary `json:"value"`
}

// binary is bytes, or nil for null.
type binary []byte

// MarshalJSON writes null, text, or {"$binary": …}.
func (b binary) MarshalJSON() ([]byte, error) {
	switch {
	case b == nil:
		return []byte("null"), nil
	case utf8.Valid(b):
		var out bytes.Buffer
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		err := encoder.Encode(string(b))
		return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
	}
	return json.Marshal(map[string]string{"$binary": base64.StdEncoding.EncodeToString(b)})
}

// UnmarshalJSON reads what MarshalJSON writes; any other JSON value (an object,
// a number) stands for its own text, so that {"value": {"a": 1}} does what it says.
func (b *binary) UnmarshalJSON(text []byte) error {
	text = bytes.TrimSpace(text)
	var wrapped struct {
		Binary *string `json:"$binary"`
	}
	switch {
	case bytes.Equal(text, []byte("null")):
		*b = nil
		return nil
	case text[0] == '"':
		var s string
		if err := json.Unmarshal(text, &s); err != nil {
			return err
		}
		*b = append(binary{}, s...)
		return nil
	case text[0] == '{' && json.Unmarshal(text, &wrapped) == nil && wrapped.Binary != nil:
		raw, err := base64.StdEncoding.DecodeString(*wrapped.Binary)
		if err != nil {
			return fmt.Errorf("$binary: %w", err)
		}
		*b = append(binary{}, raw...)
		return nil
	}
	*b = append(binary{}, text...)
	return nil
}

func toJSON(r *kgo.Record) recordJSON {
	at := r.Timestamp.UTC()
	out := recordJSON{Topic: r.Topic, Partition: &r.Partition, Offset: &r.Offset, Timestamp: &at, Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, headerJSON{Key: h.Key, Value: h.Value})
	}
	return out
}

// parseRecord reads one line of `produce --format json`. Where the record was
// (topic, offset) is not taken over; its partition is, when asked for.
func parseRecord(line []byte) (*kgo.Record, error) {
	var in recordJSON
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		return nil, err
	}
	if decoder.More() {
		return nil, errors.New("more than one JSON object on the line")
	}
	record := &kgo.Record{Key: in.Key, Value: in.Value, Partition: -1}
	if in.Partition != nil {
		record.Partition = *in.Partition
	}
	if in.Timestamp != nil {
		record.Timestamp = *in.Timestamp
	}
	for _, h := range in.Headers {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return record, nil
}
