package api_test

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/api"
	"github.com/chronik-stream/chronik/broker/wire"
)

// The pitfalls of versions, headers and the order of answers.

func versionsOf(t *testing.T, s *server) map[int16][2]int16 {
	t.Helper()
	got := make(map[int16][2]int16)
	for _, k := range s.raw(t).ask(kmsg.NewPtrApiVersionsRequest()).(*kmsg.ApiVersionsResponse).ApiKeys {
		got[k.ApiKey] = [2]int16{k.MinVersion, k.MaxVersion}
	}
	return got
}

// librdkafka up to 2.0 turns features off when these exact ranges do not overlap
// those that a broker has: without Produce 0 it sends plain, whatever it was told.
func TestOldLibrdkafkaFindsTheVersionsThatItLooksFor(t *testing.T) {
	have := versionsOf(t, serve(t, api.Config{}))
	for feature, ranges := range map[string]map[int16][2]int16{
		"MsgVer2":                {0: {3, 3}, 1: {4, 4}},
		"BrokerBalancedConsumer": {10: {0, 0}, 8: {1, 2}, 9: {1, 1}, 11: {0, 0}, 14: {0, 0}, 12: {0, 0}, 13: {0, 0}},
		"BrokerGroupCoordinator": {10: {0, 0}},
		"LZ4":                    {10: {0, 0}},
		"OffsetTime":             {2: {1, 1}},
		"IdempotentProducer":     {22: {0, 0}},
		"ZSTD":                   {0: {7, 7}, 1: {10, 10}},
		"SaslHandshake":          {17: {0, 0}},
		"SaslAuthReq":            {17: {1, 1}, 36: {0, 0}},
	} {
		for key, wanted := range ranges {
			ours, ok := have[key]
			require.True(t, ok && ours[0] <= wanted[1] && wanted[0] <= ours[1], "%s looks for api %d %v and finds %v", feature, key, wanted, ours)
		}
	}
	require.Zero(t, have[0][0], "Produce begins at 0 for what clients derive from it (KAFKA-18659)")
	require.Zero(t, have[17][0], "SaslHandshake begins at 0")
}

func TestTheLibrdkafkaOfDebianEnablesWhatItKnows(t *testing.T) {
	if _, err := exec.LookPath("kcat"); err != nil {
		t.Skip("kcat is not installed")
	}
	s := serve(t, api.Config{})
	var said bytes.Buffer
	cmd := exec.Command("kcat", "-b", s.addr, "-L", "-X", "debug=feature,broker")
	cmd.Stderr = &said
	require.NoError(t, cmd.Run(), said.String())
	require.Contains(t, said.String(), "Feature ", "kcat's debug output has changed")
	for _, line := range strings.Split(said.String(), "\n") {
		// Fetch 1 and 2 are messages of before Kafka 0.11, with throttle times.
		if strings.Contains(line, "NOT supported by broker") && !strings.Contains(line, "Fetch (1..2)") && !strings.Contains(line, "Fetch (2..2)") {
			require.Fail(t, "librdkafka disables a feature", line)
		}
	}
}

func TestProduceBefore3IsAdvertisedAndRefusedWithoutClosing(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	c := s.raw(t)
	for version := int16(0); version <= 2; version++ {
		require.Equal(t, kerr.UnsupportedVersion.Code, produced(t, c.ask(produce(version, 1, "t", oneBatch("v")))).ErrorCode)
	}
	require.Zero(t, produced(t, c.ask(produce(3, 1, "t", oneBatch("v")))).ErrorCode)
}

func TestApiVersionsHasTheOldResponseHeaderAlways(t *testing.T) {
	s := serve(t, api.Config{})
	for version := int16(0); version <= 4; version++ {
		c := s.raw(t)
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = version, "test", "1"
		c.send(req)
		body := c.frame()[4:]
		// The error follows the correlation id at once, without tags between.
		require.Zero(t, binary.BigEndian.Uint16(body))
		resp := kmsg.NewPtrApiVersionsResponse()
		resp.Version = version
		require.NoError(t, resp.ReadFrom(body))
		require.Len(t, resp.ApiKeys, len(advertised))
	}
	// The same for a version of the future, which is told how to ask instead.
	c := s.raw(t)
	_, err := c.conn.Write([]byte{0, 0, 0, 13, 0, 18, 0x7f, 0xff, 0, 0, 0, 9, 0xff, 0xff, 1, 2, 3})
	require.NoError(t, err)
	resp := kmsg.NewPtrApiVersionsResponse()
	require.NoError(t, resp.ReadFrom(c.frame()[4:]))
	require.Equal(t, kerr.UnsupportedVersion.Code, resp.ErrorCode)
	var named bool
	for _, k := range resp.ApiKeys {
		named = named || k.ApiKey == 18 && k.MinVersion == 0 && k.MaxVersion == 4
	}
	require.True(t, named, "the client must learn which version to ask with")
}

// The client id stays a string with two bytes of length where all others are
// compact, and tags follow it, known or not.
func TestTheClientIDOfAFlexibleHeaderIsNotCompact(t *testing.T) {
	s := serve(t, api.Config{})
	for name, clientID := range map[string][]byte{"null": {0xff, 0xff}, "empty": {0, 0}, "some": {0, 3, 'r', 'd', 'k'}} {
		for tagged, tags := range map[string][]byte{"no tags": {0}, "a tag of the future": {1, 77, 2, 0xca, 0xfe}} {
			c := s.raw(t)
			header := append([]byte{0, 60, 0, 0, 0, 0, 0, 7}, clientID...) // DescribeCluster 0
			frame := append(append(header, tags...), 0, 0)
			_, err := c.conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...))
			require.NoError(t, err)
			body := c.frame()
			require.Equal(t, []byte{0, 0, 0, 7, 0}, body[:5], "%s, %s", name, tagged)
			require.NoError(t, kmsg.NewPtrDescribeClusterResponse().ReadFrom(body[5:]))
		}
	}
}

func TestALongPollHoldsBackItsOwnConnectionAndNoOther(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	waiting := s.raw(t)
	poll, versions := fetch(12, "t", 0, 20*time.Second), kmsg.NewPtrApiVersionsRequest()
	first, second := waiting.send(poll), waiting.send(versions)
	require.Less(t, s.raw(t).answeredAfter(), 5*time.Second)
	// A produce by the same connection is started in its turn, and wakes the poll.
	req := produce(9, 1, "t", oneBatch("v"))
	third := waiting.send(req)
	resp := waiting.receive(poll, first).(*kmsg.FetchResponse)
	require.NotEmpty(t, resp.Topics[0].Partitions[0].RecordBatches)
	waiting.receive(versions, second)
	require.Zero(t, produced(t, waiting.receive(req, third)).ErrorCode)
}

func TestAnswersOfPipelinedRequestsOfManyKindsKeepTheirOrder(t *testing.T) {
	s := serve(t, api.Config{})
	s.topic(t, "t", 1, nil)
	c := s.raw(t)
	type asked struct {
		req         kmsg.Request
		correlation int32
	}
	var pipeline []asked
	for i := range 60 { // within the pipeline's bound
		var req kmsg.Request
		switch i % 5 {
		case 0:
			req = produce(9, -1, "t", oneBatch("v"))
		case 1:
			req = fetch(12, "t", int64(i), 10*time.Millisecond)
		case 2:
			req = kmsg.NewPtrMetadataRequest()
		case 3:
			c.send(produce(9, 0, "t", oneBatch("v"))) // has no answer, which is no gap
			continue
		case 4:
			req = sample(9, "t", [16]byte{})
			req.SetVersion(7)
		}
		pipeline = append(pipeline, asked{req, c.send(req)})
	}
	for _, a := range pipeline {
		c.receive(a.req, a.correlation)
	}
}

func TestARequestOverTheLimitClosesTheConnection(t *testing.T) {
	s := serve(t, api.Config{RequestBytesMax: 100_000})
	s.topic(t, "t", 1, nil)
	c := s.raw(t)
	c.send(produce(9, 1, "t", oneBatch(strings.Repeat("x", 200_000))))
	c.closed()
	for _, length := range []uint32{0, 9, 1 << 31, 1<<32 - 1, 1<<31 - 1} { // too short, negative, huge
		c := s.raw(t)
		_, err := c.conn.Write(append(binary.BigEndian.AppendUint32(nil, length), 0, 0, 0, 9, 0, 0, 0, 0))
		require.NoError(t, err)
		c.closed()
	}
	require.Zero(t, produced(t, s.raw(t).ask(produce(9, 1, "t", oneBatch("v")))).ErrorCode, "others are served")
}

// Consumers that do not read their answers cost a bounded amount; others get on,
// batch by batch.
func TestAnswersThatAreNotTakenMakeOthersSmaller(t *testing.T) {
	s := serveWire(t, api.Config{}, wire.Config{AnswerBytesMax: 20 << 20}, slog.New(slog.DiscardHandler))
	s.topic(t, "t", 1, nil)
	writer := s.raw(t)
	const batches = 40
	for range batches {
		require.Zero(t, produced(t, writer.ask(produce(9, 1, "t", oneBatch(strings.Repeat("x", 900_000))))).ErrorCode)
	}
	size := func() int {
		req := fetch(12, "t", 0, 0)
		req.MaxBytes, req.Topics[0].Partitions[0].PartitionMaxBytes = 50<<20, 50<<20
		return len(s.raw(t).ask(req).(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches)
	}
	require.Greater(t, size(), 18<<20, "all that there is room for")
	for range 3 {
		req := fetch(12, "t", 0, 0)
		req.MaxBytes, req.Topics[0].Partitions[0].PartitionMaxBytes = 50<<20, 50<<20
		c := s.raw(t)
		require.NoError(t, c.conn.(*net.TCPConn).SetReadBuffer(4096))
		c.send(req)
	}
	require.Eventually(t, func() bool { return size() < 2<<20 }, time.Minute, 10*time.Millisecond)
	require.Greater(t, size(), 800_000, "a batch is always sent")
}

// lines collects what is logged.
type lines struct {
	mu  sync.Mutex
	all strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// Who maintains a client that asks for what is not there finds it by name in the
// log (KIP-511): what the client sees is a closed connection.
func TestARefusedVersionIsLoggedWithTheClientsSoftware(t *testing.T) {
	for name, frame := range map[string][]byte{
		"api key 3 version 99": {0, 0, 0, 15, 0, 3, 0, 99, 0, 0, 0, 2, 0, 5, 'o', 'l', 'd', 'i', 'e'},
		"api key 7 ":           {0, 0, 0, 15, 0, 7, 0, 0, 0, 0, 0, 2, 0, 5, 'o', 'l', 'd', 'i', 'e'},
	} {
		log := new(lines)
		s := serveLogged(t, api.Config{}, slog.New(slog.NewTextHandler(log, nil)))
		c := s.raw(t)
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 3, "future-client", "9.8.7"
		c.ask(req)
		_, err := c.conn.Write(frame)
		require.NoError(t, err)
		c.closed()
		require.Eventually(t, func() bool { return strings.Contains(log.String(), "connection closed") }, time.Minute, time.Millisecond)
		for _, told := range []string{"future-client", "9.8.7", "oldie", strings.TrimSpace(name)} {
			require.Contains(t, log.String(), told)
		}
	}
}

func TestNamesThatAreNoSoftwareNamesAreRefused(t *testing.T) { // they end up in logs
	s := serve(t, api.Config{})
	for _, name := range []string{"", "-x", "x-", ".x", "a b", "a\nb", "ü", strings.Repeat("x", 10) + "\x00"} {
		c := s.raw(t)
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 3, name, "1"
		require.Equal(t, kerr.InvalidRequest.Code, c.ask(req).(*kmsg.ApiVersionsResponse).ErrorCode, "%q", name)
	}
}
