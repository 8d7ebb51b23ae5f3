package api_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/api"
)

// BenchmarkRoundTrip is one request after the other over a socket, without a
// client library: what the protocol costs by itself, both sides' socket calls
// included.
func BenchmarkRoundTrip(b *testing.B) {
	s := serve(b, api.Config{})
	s.topic(b, "t", 100, nil)
	versions := kmsg.NewPtrApiVersionsRequest()
	one := produce(12, -1, "t", oneBatch(strings.Repeat("x", 100)))
	hundred := produce(12, -1, "t")
	poll := fetch(12, "t", 0, 0)
	poll.MinBytes = 0
	poll.Topics[0].Partitions = nil
	for i := range int32(100) {
		hundred.Topics[0].Partitions = append(hundred.Topics[0].Partitions, kmsg.ProduceRequestTopicPartition{Partition: i, Records: oneBatch("x")})
		part := kmsg.NewFetchRequestTopicPartition()
		part.Partition, part.PartitionMaxBytes = i, 1
		poll.Topics[0].Partitions = append(poll.Topics[0].Partitions, part)
	}
	for name, req := range map[string]kmsg.Request{
		"ApiVersions": versions, "Produce/1": one, "Produce/100": hundred, "Fetch/100": poll,
	} {
		b.Run(name, func(b *testing.B) {
			conn, err := net.Dial("tcp", s.addr)
			require.NoError(b, err)
			defer conn.Close()
			frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench")).AppendRequest(nil, req, 1)
			r := bufio.NewReader(conn)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := conn.Write(frame); err != nil {
					b.Fatal(err)
				}
				var size [4]byte
				if _, err := io.ReadFull(r, size[:]); err != nil {
					b.Fatal(err)
				}
				if _, err := r.Discard(int(binary.BigEndian.Uint32(size[:]))); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			s.mu.Lock()
			for _, l := range s.logs {
				l.batches = nil
			}
			s.mu.Unlock()
		})
	}
}
