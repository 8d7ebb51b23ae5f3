package batch

import (
	"fmt"
)

// Attributes are the flags of a batch.
type Attributes int16

// The bits above the codec. The exported ones may be given to a Builder.
const (
	codecMask     = 0x07
	logAppendTime = Attributes(1 << 3)
	Transactional = Attributes(1 << 4)
	Control       = Attributes(1 << 5)
	deleteHorizon = Attributes(1 << 6)
)

// Codec is how the records are compressed; values above Zstd can occur.
func (a Attributes) Codec() Codec { return Codec(a & codecMask) }

// LogAppendTime reports that MaxTimestamp is the timestamp of every record.
func (a Attributes) LogAppendTime() bool { return a&logAppendTime != 0 }

// Transactional reports that the batch belongs to a transaction.
func (a Attributes) Transactional() bool { return a&Transactional != 0 }

// Control reports that the one record is a transaction's marker, not data.
func (a Attributes) Control() bool { return a&Control != 0 }

// DeleteHorizon reports that BaseTimestamp is the time from which tombstones in
// the batch may go. Record timestamps still count from it.
func (a Attributes) DeleteHorizon() bool { return a&deleteHorizon != 0 }

// Codec is a compression codec, with Kafka's numbers.
type Codec int8

// Kafka's codecs.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

var codecNames = [...]string{"none", "gzip", "snappy", "lz4", "zstd"}

// String is Kafka's name of the codec.
func (c Codec) String() string {
	if c < None || c > Zstd {
		return fmt.Sprintf("codec(%d)", int8(c))
	}
	return codecNames[c]
}
