package e2e

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

// send writes bytes to the Kafka port and reports what came back until the
// connection was closed or nothing came for a while.
func (c *chronik) send(data []byte) (answer []byte, closed bool) {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.kafka)
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		c.t.Fatal(err)
	}
	if _, err := conn.Write(data); err != nil {
		return nil, true // it closed while we were still writing
	}
	answer, err = io.ReadAll(conn)
	var timeout net.Error
	return answer, !errors.As(err, &timeout) || !timeout.Timeout()
}

// frame puts a length in front.
func frame(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// header is a request header v1.
func header(key, version int16, correlation int32) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, uint32(correlation))
	return append(b, 0xff, 0xff) // no client id
}

func TestGarbageIsClosedAndCostsNothing(t *testing.T) {
	c := start(t)
	c.createTable("t", 1)
	c.must("before\n", "produce", "t")
	before := c.residentBytes()

	for _, test := range []struct {
		name string
		data []byte
	}{
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")},
		{"TLS", []byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}},
		{"a frame of 2 GB", append([]byte{0x7f, 0xff, 0xff, 0xff}, header(0, 9, 1)...)},
		{"a negative length", []byte{0x80, 0, 0, 0, 1, 2, 3}},
		{"an empty frame", []byte{0, 0, 0, 0}},
		{"an unknown key", frame(header(999, 0, 1))},
		{"an unknown version", frame(header(3, 99, 1))},
		{"a body that ends early", frame(append(header(1, 4, 1), 0, 0, 0))},
		{"an array of 2 billion", frame(append(header(3, 1, 1), 0x7f, 0xff, 0xff, 0xff))},
	} {
		if _, closed := c.send(test.data); !closed {
			t.Errorf("%s: the connection stays open", test.name)
		}
	}
	// An unknown version of ApiVersions alone is answered, in the oldest layout.
	if answer, _ := c.send(frame(header(18, 99, 77))); len(answer) < 10 || binary.BigEndian.Uint32(answer[4:]) != 77 || binary.BigEndian.Uint16(answer[8:]) != 35 {
		t.Errorf("ApiVersions 99: %x", answer)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		data := make([]byte, random.IntN(2000))
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		conn, err := net.Dial("tcp", c.kafka)
		if err != nil {
			t.Fatal(err)
		}
		conn.Write(frame(data)) // the answer, and whether it was taken, is of no interest
		conn.Close()
	}
	if grown := c.residentBytes() - before; grown > 200<<20 {
		t.Errorf("garbage cost %d MiB", grown>>20)
	}
	c.must("after\n", "produce", "t")
	if out := c.must("", "consume", "t", "--exit"); out != "before\nafter\n" {
		t.Errorf("read %q", out)
	}
}

func TestHalfFramesDoNotHoldMemory(t *testing.T) {
	c := start(t)
	c.must("", "topic", "list")
	before := c.residentBytes()
	var open []net.Conn
	defer func() {
		for _, conn := range open {
			conn.Close()
		}
	}()
	for range 300 { // each announces 90 MB and sends a few bytes
		conn, err := net.Dial("tcp", c.kafka)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
		data := append(binary.BigEndian.AppendUint32(nil, 90<<20), header(0, 9, 1)...)
		if _, err := conn.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	c.must("", "topic", "list") // others are served meanwhile
	if grown := c.residentBytes() - before; grown > 200<<20 {
		t.Errorf("300 half frames cost %d MiB", grown>>20)
	}
}

func TestSQLOutsideTheListIsRefused(t *testing.T) {
	c := start(t)
	c.createTable("t", 1)
	c.must("x\n", "produce", "t")
	for _, query := range []string{
		"SELECT * FROM read_csv('/etc/passwd')",
		"SELECT * FROM '/etc/passwd'",
		"COPY t TO '/tmp/x'",
		"CREATE TABLE x AS SELECT 1",
		"DROP TABLE t",
		"SELECT 1; SELECT 2",
		"ATTACH '/tmp/x.db'",
		"INSTALL httpfs",
		"SET threads = 1",
		"PRAGMA database_list",
		"SELECT getenv('HOME')",
		"SELECT * FROM duckdb_settings()",
		"SELECT * FROM t_warm",
		"EXPLAIN ANALYZE COPY t TO '/tmp/x'",
	} {
		if status, body := c.post("/_sql", map[string]any{"query": query}); status/100 != 4 || !strings.Contains(string(body), `"error_code"`) {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
	if status, body := c.post("/_sql", map[string]any{"query": "SELECT 1", "filters": 1}); status != 400 || !strings.Contains(string(body), "filters") {
		t.Errorf("an unknown field: %d %s", status, body)
	}
	if status, body := c.post("/_sql", map[string]any{"query": "SELECT count(*) FROM nosuch"}); status != 404 || !strings.Contains(string(body), "TOPIC_NOT_FOUND") {
		t.Errorf("an unknown table: %d %s", status, body)
	}
	if n := c.count("SELECT count(*) FROM t"); n != 1 {
		t.Errorf("the table has %d rows", n)
	}
}
