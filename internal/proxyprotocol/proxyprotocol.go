// Package proxyprotocol reads and writes the header by which a proxy tells whose
// connection it hands on: HAProxy's PROXY protocol, versions 1 (text) and 2
// (binary). https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
//
// It reads every header that the specification allows up to BytesMax, of any
// protocol; addresses are those of TCP over IPv4 and IPv6. Extensions of version
// 2 are skipped. It does no I/O.
package proxyprotocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// BytesMax bounds a header, its extensions included.
const BytesMax = 2048

// Errors of Parse.
var (
	ErrShort   = errors.New("the PROXY header goes on")
	ErrInvalid = errors.New("invalid PROXY header")
)

// Header is what a proxy says of a connection.
type Header struct {
	Source      netip.AddrPort // the client; invalid when the proxy speaks for itself, or of no TCP connection
	Destination netip.AddrPort // where the client connected to
}

const (
	signature1 = "PROXY "
	signature2 = "\r\n\r\n\x00\r\nQUIT\n"
	lineMax    = 107 // of version 1, with its end
	fixedBytes = 16  // of version 2, before the addresses
)

// Version 2's bytes 13 and 14.
const (
	version2   = 0x20
	local      = 0x00
	proxy      = 0x01
	tcp4, tcp6 = 0x11, 0x21
)

// Begins reports whether a connection whose first byte is b begins with a
// header. No frame of Kafka that anybody accepts has so great a length.
func Begins(b byte) bool { return b == signature1[0] || b == signature2[0] }

// Parse reads the header at the start of b, and returns how many bytes it has.
// ErrShort says that more of it has to come, ErrInvalid that this is no header.
func Parse(b []byte) (Header, int, error) {
	switch {
	case bytes.HasPrefix(b, []byte(signature2)):
		return parse2(b)
	case bytes.HasPrefix(b, []byte(signature1)):
		return parse1(b)
	case bytes.HasPrefix([]byte(signature2), b), bytes.HasPrefix([]byte(signature1), b):
		return Header{}, 0, ErrShort
	}
	return Header{}, 0, fmt.Errorf("%w: it does not begin as one", ErrInvalid)
}

func parse1(b []byte) (Header, int, error) {
	line, _, whole := bytes.Cut(b[:min(len(b), lineMax)], []byte("\r\n"))
	if !whole {
		if len(b) >= lineMax {
			return Header{}, 0, fmt.Errorf("%w: no end within %d bytes", ErrInvalid, lineMax)
		}
		return Header{}, 0, ErrShort
	}
	size := len(line) + 2
	words := strings.Split(string(line), " ")
	switch kind := words[1]; {
	case kind == "UNKNOWN":
		return Header{}, size, nil
	case kind != "TCP4" && kind != "TCP6" || len(words) != 6:
		return Header{}, 0, fmt.Errorf("%w: %q", ErrInvalid, line)
	}
	source, err := address1(words[1], words[2], words[4])
	if err != nil {
		return Header{}, 0, err
	}
	destination, err := address1(words[1], words[3], words[5])
	if err != nil {
		return Header{}, 0, err
	}
	return Header{Source: source, Destination: destination}, size, nil
}

func address1(kind, ip, port string) (netip.AddrPort, error) {
	address, err := netip.ParseAddr(ip)
	if err != nil || address.Zone() != "" || address.Is4() != (kind == "TCP4") {
		return netip.AddrPort{}, fmt.Errorf("%w: %q is no address of %s", ErrInvalid, ip, kind)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || len(port) > 1 && port[0] == '0' {
		return netip.AddrPort{}, fmt.Errorf("%w: %q is no port", ErrInvalid, port)
	}
	return netip.AddrPortFrom(address, uint16(n)), nil
}

func parse2(b []byte) (Header, int, error) {
	if len(b) < fixedBytes {
		return Header{}, 0, ErrShort
	}
	command, family := b[12], b[13]
	size := fixedBytes + int(binary.BigEndian.Uint16(b[14:]))
	switch {
	case command&0xF0 != version2, command&0x0F > proxy:
		return Header{}, 0, fmt.Errorf("%w: version and command 0x%02x", ErrInvalid, command)
	case size > BytesMax:
		return Header{}, 0, fmt.Errorf("%w: %d bytes, at most %d are read", ErrInvalid, size, BytesMax)
	case len(b) < size:
		return Header{}, 0, ErrShort
	case command&0x0F == local:
		return Header{}, size, nil
	}
	rest := b[fixedBytes:size]
	switch family {
	case tcp4:
		return addresses2(rest, 4, size)
	case tcp6:
		return addresses2(rest, 16, size)
	}
	return Header{}, size, nil // of another protocol: taken for the proxy's own
}

func addresses2(b []byte, width, size int) (Header, int, error) {
	if len(b) < 2*width+4 {
		return Header{}, 0, fmt.Errorf("%w: %d bytes are too few for its addresses", ErrInvalid, len(b))
	}
	at := func(i int) netip.AddrPort {
		address, _ := netip.AddrFromSlice(b[i*width : (i+1)*width])
		return netip.AddrPortFrom(address, binary.BigEndian.Uint16(b[2*width+2*i:]))
	}
	return Header{Source: at(0), Destination: at(1)}, size, nil
}

// Append appends h as a header of version 2. Without addresses of one kind it
// says that the proxy speaks for itself.
func Append(b []byte, h Header) []byte {
	b = append(b, signature2...)
	source, destination := h.Source.Addr().Unmap(), h.Destination.Addr().Unmap()
	if !source.IsValid() || source.Is4() != destination.Is4() || !destination.IsValid() {
		return append(b, version2|local, 0, 0, 0)
	}
	family, addresses := byte(tcp4), 12
	if source.Is6() {
		family, addresses = tcp6, 36
	}
	b = append(b, version2|proxy, family, 0, byte(addresses))
	b = append(b, source.AsSlice()...)
	b = append(b, destination.AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, h.Source.Port())
	return binary.BigEndian.AppendUint16(b, h.Destination.Port())
}
