package answer

// Bytes are those of a key or a value: in JSON a text where they are UTF-8, else
// {"$binary": base64}, and null if nil.
type Bytes []byte

// MarshalJSON implements json.Marshaler.
func (b Bytes) MarshalJSON() ([]byte, error) {
	if b == nil {
		return []byte("null"), nil
	}
	return appendBinary(nil, b, Text), nil
}
