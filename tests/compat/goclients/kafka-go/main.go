// The driver of segmentio/kafka-go: its Writer, Reader and Client.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/chronik-stream/chronik/tests/compat/goclients/driver"
)

func main() {
	driver.Main("kafka-go", "github.com/segmentio/kafka-go", []driver.Capability{
		{Name: "acks-0", Run: produced(100, func(w *kafka.Writer) { w.RequiredAcks = kafka.RequireNone })},
		{Name: "acks-1", Run: produced(100, func(w *kafka.Writer) { w.RequiredAcks = kafka.RequireOne })},
		{Name: "acks-all", Run: produced(100, func(w *kafka.Writer) { w.RequiredAcks = kafka.RequireAll })},
		{Name: "gzip", Run: produced(1000, func(w *kafka.Writer) { w.Compression = kafka.Gzip })},
		{Name: "snappy", Run: produced(1000, func(w *kafka.Writer) { w.Compression = kafka.Snappy })},
		{Name: "lz4", Run: produced(1000, func(w *kafka.Writer) { w.Compression = kafka.Lz4 })},
		{Name: "zstd", Run: produced(1000, func(w *kafka.Writer) { w.Compression = kafka.Zstd })},
		{Name: "records", Run: verbatim},
		{Name: "timestamps", Run: timestamps},
		{Name: "too-large", Run: tooLarge},
		{Name: "interchange-write", Run: interchangeWrite},
		{Name: "interchange-read", Run: interchangeRead},
		{Name: "from-start", Run: produced(300, func(*kafka.Writer) {})},
		{Name: "from-time", Run: fromTime},
		{Name: "offsets-by-time", Run: offsets},
		{Name: "group-resume", Run: groupResume},
		{Name: "no-offset", Run: noOffset},
		{Name: "group-rejoin", Run: groupRejoin},
		{Name: "create-topic", Run: createTopic},
		{Name: "describe-cluster", Run: cluster},
		{Name: "list-groups", Run: listGroups},
	})
}

type run = func(context.Context, driver.Env) (string, error)

func client(e driver.Env) *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(e.Bootstrap), Timeout: 10 * time.Second, Transport: &kafka.Transport{ClientID: "compat-kafka-go"}}
}

// topic makes a topic over a Conn to the controller, as kafka-go's README does.
func topic(e driver.Env, partitions int, configs ...kafka.ConfigEntry) (string, error) {
	name := e.Unique()
	conn, err := kafka.Dial("tcp", e.Bootstrap)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	broker, err := conn.Controller()
	if err != nil {
		return "", err
	}
	controller, err := kafka.Dial("tcp", net.JoinHostPort(broker.Host, fmt.Sprint(broker.Port)))
	if err != nil {
		return "", err
	}
	defer controller.Close()
	return name, controller.CreateTopics(kafka.TopicConfig{Topic: name, NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: configs})
}

func write(ctx context.Context, e driver.Env, topic string, records []driver.Record, change ...func(*kafka.Writer)) error {
	transport := &kafka.Transport{} // the shared one remembers for seconds that a topic was not there
	defer transport.CloseIdleConnections()
	w := &kafka.Writer{Addr: kafka.TCP(e.Bootstrap), Topic: topic, Transport: transport, BatchTimeout: 10 * time.Millisecond, RequiredAcks: kafka.RequireAll}
	for _, f := range change {
		f(w)
	}
	var messages []kafka.Message
	for _, r := range records {
		m := kafka.Message{Key: r.Key, Value: r.Value, Time: r.Time}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, kafka.Header{Key: h.Key, Value: h.Value})
		}
		messages = append(messages, m)
	}
	return errors.Join(w.WriteMessages(ctx, messages...), w.Close())
}

func record(m kafka.Message) driver.Record {
	r := driver.Record{Partition: int32(m.Partition), Offset: m.Offset, Key: m.Key, Value: m.Value, Time: m.Time}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, driver.Header{Key: h.Key, Value: h.Value})
	}
	return r
}

func reader(e driver.Env, topic, group string) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{Brokers: []string{e.Bootstrap}, Topic: topic, GroupID: group,
		StartOffset: kafka.FirstOffset, MaxWait: 200 * time.Millisecond, HeartbeatInterval: 500 * time.Millisecond, MaxBytes: 10e6})
}

func take(ctx context.Context, r *kafka.Reader, n int) ([]driver.Record, error) {
	var read []driver.Record
	for len(read) < n {
		m, err := r.ReadMessage(ctx) // in a group it commits, too
		if err != nil {
			return read, fmt.Errorf("after %d of %d records: %w", len(read), n, err)
		}
		read = append(read, record(m))
	}
	return read, nil
}

func roundTrip(ctx context.Context, e driver.Env, sent []driver.Record, change ...func(*kafka.Writer)) ([]driver.Record, error) {
	name, err := topic(e, 1)
	if err != nil {
		return nil, err
	}
	if err := write(ctx, e, name, sent, change...); err != nil {
		return nil, fmt.Errorf("write: %w", err)
	}
	r := reader(e, name, "")
	defer r.Close()
	read, err := take(ctx, r, len(sent))
	if err != nil {
		return nil, err
	}
	return read, driver.Same(sent, read)
}

func produced(n int, change func(*kafka.Writer)) run {
	return func(ctx context.Context, e driver.Env) (string, error) {
		_, err := roundTrip(ctx, e, driver.Numbered(n), change)
		return fmt.Sprintf("%d records", n), err
	}
}

func verbatim(ctx context.Context, e driver.Env) (string, error) {
	_, err := roundTrip(ctx, e, []driver.Record{
		{Key: nil, Value: []byte("null key")},
		{Key: []byte("null value"), Value: nil},
		{Key: []byte("headers"), Value: []byte{0, 255, 13, 10}, Headers: []driver.Header{{Key: "twice", Value: []byte("1")}, {Key: "twice", Value: []byte("2")}}},
		{Key: []byte("ключ"), Value: []byte("日本")},
	})
	return "null keys and values, headers in order", err
}

func timed(n int) []driver.Record {
	sent := driver.Numbered(n)
	start := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	for i := range sent {
		sent[i].Time = start.Add(time.Duration(i) * time.Second)
	}
	return sent
}

func timestamps(ctx context.Context, e driver.Env) (string, error) {
	sent := timed(5)
	read, err := roundTrip(ctx, e, sent)
	if err != nil {
		return "", err
	}
	for i := range sent {
		if !read[i].Time.Equal(sent[i].Time) {
			return "", fmt.Errorf("record %d came back as %v, want %v", i, read[i].Time, sent[i].Time)
		}
	}
	return "kept to the millisecond", nil
}

func tooLarge(ctx context.Context, e driver.Env) (string, error) {
	name, err := topic(e, 1, kafka.ConfigEntry{ConfigName: "max.message.bytes", ConfigValue: "2000"})
	if err != nil {
		return "", err
	}
	err = write(ctx, e, name, []driver.Record{{Value: make([]byte, 5000)}}, func(w *kafka.Writer) { w.MaxAttempts = 2 })
	if err == nil || !strings.Contains(err.Error(), kafka.MessageSizeTooLarge.Title()) {
		return "", fmt.Errorf("5000 bytes: %v, want %v", err, kafka.MessageSizeTooLarge)
	}
	sent := driver.Numbered(2)
	if err := write(ctx, e, name, sent); err != nil {
		return "", err
	}
	r := reader(e, name, "")
	defer r.Close()
	read, err := take(ctx, r, 2)
	if err != nil {
		return "", err
	}
	return "refused by name", driver.Same(sent, read)
}

func fromTime(ctx context.Context, e driver.Env) (string, error) {
	name, err := topic(e, 1)
	if err != nil {
		return "", err
	}
	sent := timed(100)
	if err := write(ctx, e, name, sent); err != nil {
		return "", err
	}
	r := reader(e, name, "")
	defer r.Close()
	if err := r.SetOffsetAt(ctx, sent[60].Time.Add(-time.Millisecond)); err != nil {
		return "", err
	}
	read, err := take(ctx, r, 40)
	if err != nil {
		return "", err
	}
	return "record 60 of 100 by its time", driver.Same(sent[60:], read)
}

func offsets(ctx context.Context, e driver.Env) (string, error) {
	name, err := topic(e, 1)
	if err != nil {
		return "", err
	}
	sent := timed(100)
	if err := write(ctx, e, name, sent); err != nil {
		return "", err
	}
	at := sent[50].Time
	answer, err := client(e).ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{name: {
		kafka.FirstOffsetOf(0), kafka.LastOffsetOf(0), kafka.TimeOffsetOf(0, at)}}})
	if err != nil {
		return "", err
	}
	p := answer.Topics[name]
	if len(p) != 1 || p[0].Error != nil || p[0].FirstOffset != 0 || p[0].LastOffset != 100 || len(p[0].Offsets) != 1 {
		return "", fmt.Errorf("%+v", p)
	}
	for offset := range p[0].Offsets {
		if offset != 50 {
			return "", fmt.Errorf("at record 50: offset %d", offset)
		}
	}
	return "earliest, latest, exact by time", nil
}

func groupResume(ctx context.Context, e driver.Env) (string, error) {
	name, err := topic(e, 1)
	if err != nil {
		return "", err
	}
	sent := driver.Numbered(30)
	if err := write(ctx, e, name, sent); err != nil {
		return "", err
	}
	var read []driver.Record
	for range 3 {
		r := reader(e, name, name)
		some, err := take(ctx, r, 10)
		if err = errors.Join(err, r.Close()); err != nil {
			return "", err
		}
		read = append(read, some...)
	}
	return "three lives, 10 records each, none twice", driver.Same(sent, read)
}

func noOffset(ctx context.Context, e driver.Env) (string, error) {
	name, err := topic(e, 1)
	if err != nil {
		return "", err
	}
	answer, err := client(e).OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: e.Unique(), Topics: map[string][]int{name: {0}}})
	if err != nil {
		return "", err
	}
	if p := answer.Topics[name]; answer.Error != nil || len(p) != 1 || p[0].Error != nil || p[0].CommittedOffset != -1 {
		return "", fmt.Errorf("%+v", answer)
	}
	return "-1, no error", nil
}

// groupRejoin has readers come and go beside one that stays, whose partitions
// must always be somebody's.
func groupRejoin(ctx context.Context, e driver.Env) (string, error) {
	name, err := topic(e, 4)
	if err != nil {
		return "", err
	}
	var mu sync.Mutex
	seen := map[string]int{}
	start := func() (stop func() error) {
		r := reader(e, name, name)
		done := make(chan struct{})
		reading, cancel := context.WithCancel(ctx)
		go func() {
			defer close(done)
			for {
				m, err := r.ReadMessage(reading)
				if err != nil {
					return
				}
				mu.Lock()
				seen[string(m.Key)]++
				mu.Unlock()
			}
		}()
		return func() error {
			cancel()
			<-done
			return r.Close()
		}
	}
	stays := start()
	total := 0
	members := func(n int) error {
		return driver.Wait(ctx, func() error {
			answer, err := client(e).DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{name}})
			if err != nil {
				return err
			}
			if g := answer.Groups[0]; g.GroupState != "Stable" || len(g.Members) != n {
				return fmt.Errorf("the group is %s with %d members, want Stable with %d", g.GroupState, len(g.Members), n)
			}
			return nil
		})
	}
	for round := range 3 {
		other := start()
		if err := members(2); err != nil {
			return "", fmt.Errorf("round %d: %w", round, err)
		}
		if err := write(ctx, e, name, driver.Numbered(total + 20)[total:]); err != nil {
			return "", err
		}
		total += 20
		all := func() error {
			mu.Lock()
			defer mu.Unlock()
			if len(seen) != total {
				return fmt.Errorf("%d of %d records", len(seen), total)
			}
			return nil
		}
		if err := driver.Wait(ctx, all); err != nil {
			return "", fmt.Errorf("round %d: %w", round, err)
		}
		if err := other(); err != nil {
			return "", err
		}
		if err := members(1); err != nil {
			return "", fmt.Errorf("round %d, after the leave: %w", round, err)
		}
	}
	return "joined, left and joined again three times; no record missed", stays()
}

func createTopic(ctx context.Context, e driver.Env) (string, error) {
	name, err := topic(e, 3)
	if err != nil {
		return "", err
	}
	answer, err := client(e).Metadata(ctx, &kafka.MetadataRequest{Topics: []string{name}})
	if err != nil || len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 3 {
		return "", fmt.Errorf("%+v %v", answer, err)
	}
	again, err := client(e).CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: name, NumPartitions: 1, ReplicationFactor: 1}}})
	if err != nil || !errors.Is(again.Errors[name], kafka.TopicAlreadyExists) {
		return "", fmt.Errorf("again: %v %v", again, err)
	}
	deleted, err := client(e).DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{name}})
	if err != nil || deleted.Errors[name] != nil {
		return "", fmt.Errorf("delete: %+v %v", deleted, err)
	}
	return "by the controller; duplicates refused; deleted", nil
}

func cluster(ctx context.Context, e driver.Env) (string, error) {
	answer, err := client(e).Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(answer.Brokers, func(b kafka.Broker) bool { return b.ID == answer.Controller.ID && b.Host == answer.Controller.Host }) {
		return "", fmt.Errorf("%+v", answer)
	}
	return fmt.Sprintf("%d broker, the controller is one of them", len(answer.Brokers)), nil
}

func listGroups(ctx context.Context, e driver.Env) (string, error) {
	name, err := topic(e, 1)
	if err != nil {
		return "", err
	}
	if err := write(ctx, e, name, driver.Numbered(1)); err != nil {
		return "", err
	}
	r := reader(e, name, name)
	defer r.Close()
	if _, err := take(ctx, r, 1); err != nil {
		return "", err
	}
	answer, err := client(e).ListGroups(ctx, &kafka.ListGroupsRequest{})
	if err != nil || !slices.ContainsFunc(answer.Groups, func(g kafka.ListGroupsResponseGroup) bool { return g.GroupID == name }) {
		return "", fmt.Errorf("%+v %v", answer, err)
	}
	return "listed", nil
}

func interchangeWrite(ctx context.Context, e driver.Env) (string, error) {
	codecs := map[string]kafka.Compression{"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd}
	for _, name := range driver.Codecs {
		if err := write(ctx, e, driver.InterchangeTopic(name), driver.InterchangeRecords(e.Client), func(w *kafka.Writer) { w.Compression = codecs[name] }); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	return strings.Join(driver.Codecs, ", "), nil
}

func interchangeRead(ctx context.Context, e driver.Env) (string, error) {
	var clients []string
	for _, name := range driver.Codecs {
		topic := driver.InterchangeTopic(name)
		conn, err := kafka.DialLeader(ctx, "tcp", e.Bootstrap, topic, 0)
		if err != nil {
			return "", err
		}
		end, err := conn.ReadLastOffset()
		if err = errors.Join(err, conn.Close()); err != nil {
			return "", err
		}
		r := reader(e, topic, "")
		read, err := take(ctx, r, driver.InterchangeCount(end))
		if err = errors.Join(err, r.Close()); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		if clients, err = driver.CheckInterchange(read); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	return "of " + strings.Join(clients, ", "), nil
}
