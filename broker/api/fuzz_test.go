package api_test

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/api"
	"github.com/chronik-stream/chronik/internal/topic"
)

// FuzzRequests sends arbitrary bytes as the body of every API and version. The
// invariant: the server answers or closes, soon after the client has nothing
// more to say, and goes on serving others.
func FuzzRequests(f *testing.F) {
	for key, versions := range advertised {
		for _, version := range versions {
			req := sample(key, "t", topic.ID{1})
			if req == nil {
				f.Fatalf("sample() has no request for key %d", key)
			}
			req.SetVersion(version)
			f.Add(key, version, req.AppendTo(nil))
		}
	}
	s := serve(f, api.Config{PartitionsMax: 100})
	s.topic(f, "t", 2, nil)
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		header := binary.BigEndian.AppendUint16(nil, uint16(key))
		header = binary.BigEndian.AppendUint16(header, uint16(version))
		header = append(header, 0, 0, 0, 1, 0xff, 0xff)
		if req := kmsg.RequestForKey(key); req != nil {
			if req.SetVersion(version); req.IsFlexible() {
				header = append(header, 0)
			}
		}
		frame := binary.BigEndian.AppendUint32(nil, uint32(len(header)+len(body)))
		if _, err := conn.Write(append(append(frame, header...), body...)); err != nil {
			return // closed on the first bytes
		}
		// Whatever the request waits for, a client that is gone ends it.
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, conn); err != nil {
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
				t.Fatalf("key %d version %d: the server neither answers nor closes", key, version)
			}
		}
	})
}
