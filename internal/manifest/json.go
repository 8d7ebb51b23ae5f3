package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/chronik-stream/chronik/internal/format"
	"github.com/chronik-stream/chronik/internal/producer"
	"github.com/chronik-stream/chronik/internal/topic"
)

// section is the payload. Columns are named by their place in Schemas, since
// most files of a partition share one.
type section struct {
	TopicID   topic.ID   `json:"topic_id"`
	Partition int32      `json:"partition"`
	Topic     string     `json:"topic"`
	Version   int64      `json:"version"`
	LogStart  int64      `json:"log_start"`
	Marks     Marks      `json:"marks"`
	Schemas   [][]Column `json:"schemas,omitempty"`
	Log       []file     `json:"log,omitempty"`
	Columnar  []file     `json:"columnar,omitempty"`
	Text      []file     `json:"text,omitempty"`
	Vector    []file     `json:"vector,omitempty"`
	Clean     *Clean     `json:"clean,omitempty"` // from version 2 on, with masks and masked
	Masks     []file     `json:"masks,omitempty"`
	Producers []state    `json:"producers,omitempty"`
	Pages     []Page     `json:"pages,omitempty"` // from version 2 on

	Collections []Collection `json:"collections,omitempty"` // from version 4 on
}

type file struct {
	Object        string `json:"object"`
	Size          int64  `json:"size"`
	CRC           uint32 `json:"crc32c,omitempty"` // absent: not known
	First         int64  `json:"first"`
	Next          int64  `json:"next"`
	Records       int64  `json:"records"`
	MinTimestamp  int64  `json:"min_timestamp"`
	MaxTimestamp  int64  `json:"max_timestamp"`
	TimePartition string `json:"time_partition,omitempty"`
	Schema        *int   `json:"schema,omitempty"` // absent: no columns
	Format        string `json:"format,omitempty"`
	CreatedAt     int64  `json:"created_at"`
	Masked        int64  `json:"masked,omitempty"`
	Footer        int64  `json:"footer,omitempty"` // of splits from version 3 on, of shards from 4, with settings; tables have settings from 4 on
	Settings      string `json:"settings,omitempty"`
}

type state struct {
	ID       int64      `json:"id"`
	Epoch    int16      `json:"epoch"`
	LastUsed int64      `json:"last_used"`
	Batches  [][4]int64 `json:"batches,omitempty"` // first and last sequence, first offset, timestamp
	Run      int32      `json:"run,omitempty"`     // from version 5 on, with past
	Past     [][3]int64 `json:"past,omitempty"`    // epoch, last sequence, length
}

func marshal(s *Section) ([]byte, error) {
	wire := section{
		TopicID: s.Partition.Topic, Partition: s.Partition.Index, Topic: s.Topic,
		Version: s.Version, LogStart: s.LogStart, Marks: s.Marks, Pages: s.Pages, Collections: s.Collections,
	}
	schemas := schemaSet{places: map[string]int{}}
	wire.Log = schemas.files(s.Log)
	wire.Columnar = schemas.files(s.Columnar)
	wire.Text = schemas.files(s.Text)
	wire.Vector = schemas.files(s.Vector)
	wire.Masks = schemas.files(s.Masks)
	wire.Schemas = schemas.list
	if s.Clean != (Clean{}) {
		wire.Clean = &s.Clean
	}
	for _, p := range s.Producers {
		w := state{ID: p.ID, Epoch: p.Epoch, LastUsed: p.LastUsed}
		if p.Run > p.Remembered() {
			w.Run = p.Run
		}
		for _, r := range p.Past {
			w.Past = append(w.Past, [3]int64{int64(r.Epoch), int64(r.Last), int64(r.N)})
		}
		for _, b := range p.Batches {
			w.Batches = append(w.Batches, [4]int64{int64(b.FirstSequence), int64(b.LastSequence), b.First, b.Timestamp})
		}
		wire.Producers = append(wire.Producers, w)
	}
	payload, err := json.Marshal(&wire)
	if err == nil && len(payload) > payloadBytesMax {
		err = fmt.Errorf("%d bytes of payload, at most %d are allowed", len(payload), payloadBytesMax)
	}
	return payload, err
}

// schemaSet interns lists of columns.
type schemaSet struct {
	list   [][]Column
	places map[string]int
}

func (s *schemaSet) files(files []File) []file {
	var out []file
	for _, f := range files {
		out = append(out, file{
			Object: f.Object, Size: f.Size, CRC: f.CRC, First: f.First, Next: f.Next, Records: f.Records,
			MinTimestamp: f.MinTimestamp, MaxTimestamp: f.MaxTimestamp, TimePartition: f.TimePartition,
			Schema: s.place(f.Columns), Format: f.Format, CreatedAt: f.CreatedAt, Masked: f.Masked,
			Footer: f.Footer, Settings: f.Settings,
		})
	}
	return out
}

func (s *schemaSet) place(columns []Column) *int {
	if len(columns) == 0 {
		return nil
	}
	var key strings.Builder
	for _, c := range columns {
		fmt.Fprintf(&key, "%q %q ", c.Name, c.Type)
	}
	place, ok := s.places[key.String()]
	if !ok {
		place = len(s.list)
		s.list = append(s.list, columns)
		s.places[key.String()] = place
	}
	return &place
}

func unmarshal(version byte, payload []byte) (Section, error) {
	var wire section
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	if err := d.Decode(&wire); err != nil {
		return Section{}, format.Corrupt(FrameSize+d.InputOffset(), "payload: %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Section{}, format.Corrupt(FrameSize+d.InputOffset(), "payload: more than one value")
	}
	if version < 2 && wire.cleaned() {
		return Section{}, format.Corrupt(FrameSize, "payload: version 1 knows nothing of cleaning")
	}
	if version < 2 && wire.Pages != nil {
		return Section{}, format.Corrupt(FrameSize, "payload: version 1 knows nothing of pages")
	}
	s := Section{
		Partition: topic.Partition{Topic: wire.TopicID, Index: wire.Partition}, Topic: wire.Topic,
		Version: wire.Version, LogStart: wire.LogStart, Marks: wire.Marks,
	}
	if len(wire.Pages) > 0 {
		s.Pages = wire.Pages
	}
	if len(wire.Collections) > 0 {
		s.Collections = wire.Collections
	}
	var err error
	for _, kind := range []struct {
		to   *[]File
		from []file
	}{{&s.Log, wire.Log}, {&s.Columnar, wire.Columnar}, {&s.Text, wire.Text}, {&s.Vector, wire.Vector}, {&s.Masks, wire.Masks}} {
		if *kind.to, err = wire.files(kind.from); err != nil {
			return Section{}, err
		}
	}
	if wire.Clean != nil {
		s.Clean = *wire.Clean
	}
	if version < 3 && s.version() > 2 {
		return Section{}, format.Corrupt(FrameSize, "payload: version %d knows nothing of masked splits, their footers and settings", version)
	}
	if version < 4 && s.version() > 3 {
		return Section{}, format.Corrupt(FrameSize, "payload: version %d knows nothing of collections, of masked shards, their footers and settings, or of the vectors in tables", version)
	}
	if s.Producers, err = producers(wire.Producers); err != nil {
		return Section{}, err
	}
	if version < 5 && s.version() > 4 {
		return Section{}, format.Corrupt(FrameSize, "payload: version %d knows nothing of runs of producers", version)
	}
	if err := s.validate(); err != nil {
		return Section{}, format.Corrupt(FrameSize, "payload: %v", err)
	}
	return s, nil
}

// cleaned reports fields that version 1 did not have.
func (w *section) cleaned() bool {
	masked := func(f file) bool { return f.Masked != 0 }
	return w.Clean != nil || w.Masks != nil || slices.ContainsFunc(slices.Concat(w.Log, w.Columnar, w.Text, w.Vector), masked)
}

func (w *section) files(from []file) ([]File, error) {
	if len(from) == 0 {
		return nil, nil
	}
	files := make([]File, len(from))
	for i, f := range from {
		files[i] = File{
			Object: f.Object, Size: f.Size, CRC: f.CRC, First: f.First, Next: f.Next, Records: f.Records,
			MinTimestamp: f.MinTimestamp, MaxTimestamp: f.MaxTimestamp, TimePartition: f.TimePartition,
			Format: f.Format, CreatedAt: f.CreatedAt, Masked: f.Masked,
			Footer: f.Footer, Settings: f.Settings,
		}
		if f.Schema == nil {
			continue
		}
		if *f.Schema < 0 || *f.Schema >= len(w.Schemas) {
			return nil, format.Corrupt(FrameSize, "payload: %s has schema %d of %d", f.Object, *f.Schema, len(w.Schemas))
		}
		files[i].Columns = w.Schemas[*f.Schema]
	}
	return files, nil
}

func producers(from []state) ([]producer.State, error) {
	if len(from) == 0 {
		return nil, nil
	}
	states := make([]producer.State, len(from))
	for i, p := range from {
		states[i] = producer.State{ID: p.ID, Epoch: p.Epoch, LastUsed: p.LastUsed}
		for _, b := range p.Batches {
			if b[0] != int64(int32(b[0])) || b[1] != int64(int32(b[1])) {
				return nil, format.Corrupt(FrameSize, "payload: producer %d has the sequences %d to %d", p.ID, b[0], b[1])
			}
			states[i].Batches = append(states[i].Batches, producer.Batch{
				FirstSequence: int32(b[0]), LastSequence: int32(b[1]), First: b[2], Timestamp: b[3],
			})
		}
		states[i].Run = p.Run
		for _, r := range p.Past {
			if r[0] != int64(int16(r[0])) || r[1] != int64(int32(r[1])) || r[2] != int64(int32(r[2])) {
				return nil, format.Corrupt(FrameSize, "payload: producer %d has the run %d", p.ID, r)
			}
			states[i].Past = append(states[i].Past, producer.Run{Epoch: int16(r[0]), Last: int32(r[1]), N: int32(r[2])})
		}
	}
	return states, nil
}

const offsetMax = math.MaxInt64 - math.MaxInt32
