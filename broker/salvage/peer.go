package salvage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/core"
	"github.com/chronik-stream/chronik/internal/batch"
	"github.com/chronik-stream/chronik/internal/topic"
	"github.com/chronik-stream/chronik/metastore"
)

// Dial connects to a broker's address.
type Dial func(ctx context.Context, address string) (net.Conn, error)

// peer is a connection to the owner of a partition, itself one of our brokers.
type peer struct {
	conn  net.Conn
	form  *kmsg.RequestFormatter
	calls int32
	start int64 // of the log, as fetches told it
	stop  func() bool
}

// Versions that all our brokers speak: the first ones that name topics by id.
const (
	produceVersion   = 13
	fetchVersion     = 13
	listVersion      = 6
	producersVersion = 0
)

const (
	// callTimeout bounds one request: the owner may have to wait for the bucket.
	callTimeout = time.Minute
	// answerBytesMax bounds what an owner can make us hold.
	answerBytesMax = 256 << 20
	fetchBytes     = 8 << 20
)

// connect opens a connection to a broker, to the listener for its own kind where
// it has one.
func connect(ctx context.Context, dial Dial, b metastore.Broker) (*peer, error) {
	if len(b.Listeners) == 0 {
		return nil, fmt.Errorf("broker %d has no address", b.ID)
	}
	at := b.Listeners[0]
	for _, l := range b.Listeners {
		if l.Name == metastore.InternalListener {
			at = l
		}
	}
	conn, err := dial(ctx, net.JoinHostPort(at.Host, strconv.Itoa(int(at.Port))))
	if err != nil {
		return nil, fmt.Errorf("connect to broker %d: %w", b.ID, err)
	}
	p := &peer{conn: conn, form: kmsg.NewRequestFormatter(kmsg.FormatterClientID(core.SalvageClient))}
	p.stop = context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return p, nil
}

func (p *peer) close() {
	p.stop()
	p.conn.Close()
}

// call sends a request and reads its answer. After an error the connection is of
// no use any more.
func (p *peer) call(ctx context.Context, req kmsg.Request, version int16) (kmsg.Response, error) {
	p.calls++
	req.SetVersion(version)
	if err := p.conn.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err() // the deadline of its end may just have been replaced
	}
	if _, err := p.conn.Write(p.form.AppendRequest(nil, req, p.calls)); err != nil {
		return nil, err
	}
	var head [4]byte
	if _, err := io.ReadFull(p.conn, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 4 || size > answerBytesMax {
		return nil, fmt.Errorf("answer of %d bytes", size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(p.conn, body); err != nil {
		return nil, err
	}
	if got := int32(binary.BigEndian.Uint32(body)); got != p.calls {
		return nil, fmt.Errorf("answer to request %d, want %d", got, p.calls)
	}
	resp := req.ResponseKind()
	resp.SetVersion(version)
	r := kbin.Reader{Src: body[4:]}
	if resp.IsFlexible() {
		kmsg.SkipTags(&r)
	}
	if err := r.Complete(); err != nil {
		return nil, err
	}
	return resp, resp.ReadFrom(r.Src)
}

var errAnswer = errors.New("answer does not name the partition that was asked for")

// produce appends one batch that is not in the log below seen, and returns the
// offset of its first record, or where that was appended before. It waits for the owner's disk: no more was promised
// to the producer of a batch that another owner could overtake.
func (p *peer) produce(ctx context.Context, part topic.Partition, raw []byte, seen int64) (base int64, err error) {
	batch.PatchOffset(raw, seen+1, -1)
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = 1, int32((callTimeout / 2).Milliseconds())
	t := kmsg.NewProduceRequestTopic()
	t.TopicID = part.Topic
	index := kmsg.NewProduceRequestTopicPartition()
	index.Partition, index.Records = part.Index, raw
	t.Partitions = append(t.Partitions, index)
	req.Topics = append(req.Topics, t)
	answer, err := p.call(ctx, req, produceVersion)
	if err != nil {
		return -1, err
	}
	resp := answer.(*kmsg.ProduceResponse)
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return -1, errAnswer
	}
	got := resp.Topics[0].Partitions[0]
	err = kerr.ErrorForCode(got.ErrorCode)
	if errors.Is(err, kerr.ThrottlingQuotaExceeded) {
		err = core.ErrSalvageLater // by its own name, for the log
	}
	return got.BaseOffset, err
}

// end is the offset behind the last record that can be read.
func (p *peer) end(ctx context.Context, name string, index int32) (int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = name
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Partition, part.Timestamp, part.CurrentLeaderEpoch = index, -1, -1
	t.Partitions = append(t.Partitions, part)
	req.Topics = append(req.Topics, t)
	answer, err := p.call(ctx, req, listVersion)
	if err != nil {
		return -1, err
	}
	resp := answer.(*kmsg.ListOffsetsResponse)
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return -1, errAnswer
	}
	got := resp.Topics[0].Partitions[0]
	return got.Offset, kerr.ErrorForCode(got.ErrorCode)
}

// producers returns the last sequences of the producers that the owner knows.
func (p *peer) producers(ctx context.Context, name string, index int32) (map[int64]int32, error) {
	req := kmsg.NewPtrDescribeProducersRequest()
	t := kmsg.NewDescribeProducersRequestTopic()
	t.Topic, t.Partitions = name, []int32{index}
	req.Topics = append(req.Topics, t)
	answer, err := p.call(ctx, req, producersVersion)
	if err != nil {
		return nil, err
	}
	resp := answer.(*kmsg.DescribeProducersResponse)
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, errAnswer
	}
	got := resp.Topics[0].Partitions[0]
	last := map[int64]int32{}
	for _, a := range got.ActiveProducers {
		if a.LastSequence >= 0 {
			last[a.ProducerID] = a.LastSequence
		}
	}
	return last, kerr.ErrorForCode(got.ErrorCode)
}

// read visits all batches from first on that the log has at the time of the call,
// also those that are appended and not yet to be seen: for them it waits. It returns
// the offset behind the last one.
func (p *peer) read(ctx context.Context, part topic.Partition, first int64, visit func(h batch.Header, raw []byte)) (next int64, err error) {
	next = first
	wait := time.Duration(0)
	for until := int64(-1); until < 0 || next < until; wait = fetchWait { // until is not below the log's end as the call began
		got, err := p.fetch(ctx, part, next, fetchBytes, wait)
		switch {
		case errors.Is(err, kerr.OffsetOutOfRange) && next < got.LogStartOffset:
			next = got.LogStartOffset // deleted since
			continue
		case err != nil:
			return next, err
		}
		if until < 0 {
			if until, err = p.bound(ctx, part, got.HighWatermark); err != nil {
				return next, err
			}
		}
		before := next
		err = batch.Each(got.RecordBatches, func(h batch.Header, raw []byte) error {
			visit(h, raw)
			next = max(next, h.Next())
			return nil
		})
		if err != nil {
			return next, err
		}
		if next > before {
			continue
		}
		// At the end of what can be seen. An offset above it is out of range unless
		// it was given already.
		if _, err := p.fetch(ctx, part, next+1, 1, 0); errors.Is(err, kerr.OffsetOutOfRange) {
			return next, nil
		} else if err != nil {
			return next, err
		}
	}
	return next, nil
}

// bound returns an offset that is not below the end of the log, and less than
// twice as far above high as that.
func (p *peer) bound(ctx context.Context, part topic.Partition, high int64) (int64, error) {
	for step := int64(1); ; step *= 2 {
		switch _, err := p.fetch(ctx, part, high+step, 1, 0); {
		case errors.Is(err, kerr.OffsetOutOfRange):
			return high + step, nil
		case err != nil:
			return -1, err
		}
	}
}

// fetchWait is how long a fetch waits for what is about to be seen.
const fetchWait = 200 * time.Millisecond

func (p *peer) fetch(ctx context.Context, part topic.Partition, first int64, bytes int32, wait time.Duration) (kmsg.FetchResponseTopicPartition, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = int32(wait.Milliseconds()), 1, bytes
	req.SessionEpoch = -1
	t := kmsg.NewFetchRequestTopic()
	t.TopicID = part.Topic
	index := kmsg.NewFetchRequestTopicPartition()
	index.Partition, index.FetchOffset, index.PartitionMaxBytes = part.Index, first, bytes
	t.Partitions = append(t.Partitions, index)
	req.Topics = append(req.Topics, t)
	answer, err := p.call(ctx, req, fetchVersion)
	if err != nil {
		return kmsg.FetchResponseTopicPartition{}, err
	}
	resp := answer.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return kmsg.FetchResponseTopicPartition{}, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return kmsg.FetchResponseTopicPartition{}, errAnswer
	}
	got := resp.Topics[0].Partitions[0]
	p.start = max(p.start, got.LogStartOffset)
	return got, kerr.ErrorForCode(got.ErrorCode)
}
