package batch_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fakeBroker speaks just enough Kafka for a client to send what it produces to
// topic t, partition 0. The channel gives the records bytes of each request.
func fakeBroker(t *testing.T) (address string, produced <-chan []byte) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	records := make(chan []byte, 16)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for serve(conn, listener.Addr(), records) == nil {
				}
			}()
		}
	}()
	return listener.Addr().String(), records
}

// serve answers one request. Only versions before flexible ones are advertised.
func serve(conn net.Conn, self net.Addr, records chan<- []byte) error {
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(conn, frame); err != nil {
		return err
	}
	key, version := int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
	reply := bytes.Clone(frame[4:8])
	body := frame[10+max(0, int(int16(binary.BigEndian.Uint16(frame[8:])))):]
	var response kmsg.Response
	switch key {
	case 18:
		r := kmsg.NewPtrApiVersionsResponse()
		if version > 2 {
			r.ErrorCode = 35
		}
		// Fetch and FindCoordinator are never asked for, but without them
		// librdkafka writes old messages, and no lz4.
		for _, k := range []struct{ key, last int16 }{{0, 8}, {1, 11}, {3, 8}, {10, 2}, {18, 2}} {
			r.ApiKeys = append(r.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: k.key, MaxVersion: k.last})
		}
		response = r
		version %= 3
	case 3:
		response = metadata(self)
	case 0:
		request := kmsg.NewPtrProduceRequest()
		request.SetVersion(version)
		if err := request.ReadFrom(body); err != nil {
			return err
		}
		records <- bytes.Clone(request.Topics[0].Partitions[0].Records)
		response = &kmsg.ProduceResponse{Topics: []kmsg.ProduceResponseTopic{{Topic: "t", Partitions: []kmsg.ProduceResponseTopicPartition{{}}}}}
	default:
		return io.ErrUnexpectedEOF
	}
	response.SetVersion(version)
	reply = response.AppendTo(reply)
	_, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(reply))), reply...))
	return err
}

func metadata(self net.Addr) *kmsg.MetadataResponse {
	host, port, _ := net.SplitHostPort(self.String())
	number, _ := strconv.Atoi(port)
	topic := kmsg.NewMetadataResponseTopic()
	topic.Topic = kmsg.StringPtr("t")
	topic.Partitions = []kmsg.MetadataResponseTopicPartition{{Leader: 1, Replicas: []int32{1}, ISR: []int32{1}}}
	return &kmsg.MetadataResponse{
		Brokers:      []kmsg.MetadataResponseBroker{{NodeID: 1, Host: host, Port: int32(number)}},
		ControllerID: 1,
		Topics:       []kmsg.MetadataResponseTopic{topic},
	}
}
