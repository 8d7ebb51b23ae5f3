package batch

import (
	"fmt"
	"io"

	"github.com/chronik-stream/chronik/internal/format"
)

// Dump writes the batches of b as text: a line for each, and, with records, a
// line for each record, values cut at 64 bytes. It goes on after records that
// cannot be read and returns what it could not write or the place of the damage.
func Dump(w io.Writer, b []byte, records bool) error {
	d := NewDecoder(dumpBytesMax)
	return Each(b, func(h Header, raw []byte) error {
		crc := "ok"
		if _, err := Verify(raw); err != nil {
			crc = err.Error()
		}
		_, err := fmt.Fprintf(w, "batch [%d,%d) epoch=%d size=%d records=%d codec=%s%s time=%s..%s producer=%d/%d/%d crc=%s\n",
			h.BaseOffset, h.Next(), h.LeaderEpoch, h.Size(), h.Records, h.Attributes.Codec(), flags(h.Attributes),
			format.Time(h.BaseTimestamp), format.Time(h.MaxTimestamp), h.ProducerID, h.ProducerEpoch, h.BaseSequence, crc)
		if err != nil || !records {
			return err
		}
		return dumpRecords(w, d, h, raw)
	})
}

const dumpBytesMax = 1 << 30

func dumpRecords(w io.Writer, d *Decoder, h Header, raw []byte) error {
	it, err := d.Open(h, raw)
	if err != nil {
		_, err = fmt.Fprintf(w, "  %v\n", err)
		return err
	}
	for it.Next() {
		r := it.Record()
		if _, err := fmt.Fprintf(w, "  %d time=%s key=%s value=%s", r.Offset, format.Time(r.Timestamp), quote(r.Key), quote(r.Value)); err != nil {
			return err
		}
		r.Headers.Each(func(key, value []byte) { _, err = fmt.Fprintf(w, " %q=%s", key, quote(value)) })
		if _, err = fmt.Fprintln(w); err != nil {
			return err
		}
	}
	if it.Err() != nil {
		_, err = fmt.Fprintf(w, "  %v\n", it.Err())
	}
	return err
}

func flags(a Attributes) string {
	s := ""
	for _, f := range []struct {
		set  bool
		name string
	}{{a.LogAppendTime(), " log-append-time"}, {a.Transactional(), " transactional"}, {a.Control(), " control"}, {a.DeleteHorizon(), " delete-horizon"}} {
		if f.set {
			s += f.name
		}
	}
	return s
}

func quote(b []byte) string {
	const shown = 64
	switch {
	case b == nil:
		return "null"
	case len(b) > shown:
		return fmt.Sprintf("%q… (%d bytes)", b[:shown], len(b))
	}
	return fmt.Sprintf("%q", b)
}
