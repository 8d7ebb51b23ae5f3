package proxyprotocol

import (
	"errors"
	"net/netip"
	"testing"
)

const v2 = "\r\n\r\n\x00\r\nQUIT\n"

func TestHeadersOfBothVersionsAreRead(t *testing.T) {
	four := Header{netip.MustParseAddrPort("192.168.0.1:56324"), netip.MustParseAddrPort("192.168.0.11:443")}
	six := Header{netip.MustParseAddrPort("[2001:db8::1]:1"), netip.MustParseAddrPort("[2001:db8::2]:9092")}
	for name, c := range map[string]struct {
		bytes string
		want  Header
	}{
		"version 1, IPv4":     {"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", four},
		"version 1, IPv6":     {"PROXY TCP6 2001:db8::1 2001:db8::2 1 9092\r\n", six},
		"version 1, unknown":  {"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", Header{}},
		"version 1, no more":  {"PROXY UNKNOWN\r\n", Header{}},
		"version 2, IPv4":     {v2 + "\x21\x11\x00\x0c\xc0\xa8\x00\x01\xc0\xa8\x00\x0b\xdc\x04\x01\xbb", four},
		"version 2, extended": {v2 + "\x21\x11\x00\x10\xc0\xa8\x00\x01\xc0\xa8\x00\x0b\xdc\x04\x01\xbb\x04\x00\x01\xff", four},
		"version 2, local":    {v2 + "\x20\x00\x00\x00", Header{}},
		"version 2, unix":     {v2 + "\x21\x31\x00\x02ab", Header{}},
		"version 2, IPv6": {v2 + "\x21\x21\x00\x24" + "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
			"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + "\x00\x01\x23\x84", six},
	} {
		got, n, err := Parse([]byte(c.bytes + "rest"))
		if err != nil || got != c.want || n != len(c.bytes) {
			t.Errorf("%s: %+v, %d of %d bytes, %v", name, got, n, len(c.bytes), err)
		}
		for i := range len(c.bytes) {
			if _, _, err := Parse([]byte(c.bytes[:i])); !errors.Is(err, ErrShort) {
				t.Errorf("%s, the first %d bytes: %v", name, i, err)
			}
		}
	}
}

func TestWhatIsNoHeaderIsRefused(t *testing.T) {
	for name, bytes := range map[string]string{
		"another text":           "PROXIES 1 2 3\r\n",
		"a frame":                "\x00\x00\x00\x20",
		"IPv6 for IPv4":          "PROXY TCP4 ::1 ::1 1 2\r\n",
		"a name":                 "PROXY TCP4 localhost 127.0.0.1 1 2\r\n",
		"a zone":                 "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
		"a port too many":        "PROXY TCP4 127.0.0.1 127.0.0.1 1 65536\r\n",
		"a port with zeros":      "PROXY TCP4 127.0.0.1 127.0.0.1 01 2\r\n",
		"a word too few":         "PROXY TCP4 127.0.0.1 127.0.0.1 1\r\n",
		"no end":                 "PROXY TCP4 " + string(make([]byte, 200)),
		"version 3":              v2 + "\x31\x11\x00\x0c",
		"another command":        v2 + "\x22\x11\x00\x0c",
		"too few for addresses":  v2 + "\x21\x11\x00\x04abcd",
		"more than we will read": v2 + "\x21\x11\xff\xff",
	} {
		if _, _, err := Parse([]byte(bytes)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever comes, Parse takes no more than there is, asks for more only below
// the bound, and what it understood is written so that it is understood again.
func FuzzParse(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"))
	f.Add([]byte(v2 + "\x21\x11\x00\x0c\xc0\xa8\x00\x01\xc0\xa8\x00\x0b\xdc\x04\x01\xbb"))
	f.Add([]byte(v2 + "\x20\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := Parse(b)
		switch {
		case err == nil:
		case errors.Is(err, ErrShort):
			if len(b) >= BytesMax {
				t.Fatalf("%d bytes are not enough", len(b))
			}
			return
		default:
			return
		}
		if n <= 0 || n > len(b) || !Begins(b[0]) {
			t.Fatalf("%d of %d bytes", n, len(b))
		}
		again, _, err := Parse(Append(nil, h))
		if h.Source.Addr().Unmap().Is4() != h.Destination.Addr().Unmap().Is4() {
			h = Header{} // mixed through mapped addresses: has no form of its own
		}
		unmap := func(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
		if err != nil || again.Source != unmap(h.Source) || again.Destination != unmap(h.Destination) {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
	})
}
