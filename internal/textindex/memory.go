package textindex

import (
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"

	"github.com/chronik-stream/chronik/internal/geopoint"
	"github.com/chronik-stream/chronik/internal/textindex/analysis"
)

// Record is what is indexed: one record of the log.
type Record struct {
	Offset     int64
	Timestamp  int64  // ms
	Key, Value []byte // nil: null
}

// Options say how records are indexed.
type Options struct {
	// Analyzer makes the terms of text fields.
	Analyzer *analysis.Analyzer
	// Paths are the JSON paths that are indexed, each with all below it, and then
	// nothing of a value that is no JSON object. Empty: all.
	Paths []string
	// Mapping says what kind the values at some JSON paths are, instead of what each
	// looks like; see mapped. It counts for the path itself, and of a GeoPoint for all
	// below it.
	Mapping map[string]Kind
	// FieldsMax bounds the JSON paths that are indexed as fields; what is left
	// over is searched in FieldAll. 0: FieldsMaxDefault.
	FieldsMax int
	// Source keeps the records, so that hits can be shown from the split alone.
	Source bool
}

// FieldsMaxDefault is how many JSON paths a split indexes as fields.
const FieldsMaxDefault = 1000

// Memory is a split that grows: records are appended, and found at once. One
// goroutine appends at a time; any number search, each in a Snapshot.
type Memory struct {
	options Options

	mu        sync.RWMutex
	stream    *analysis.Stream
	scanner   *scanner
	arena     arena
	scratch   []byte
	digits    []byte           // of a number that is indexed as a text
	places    []geopoint.Point // of a value that is points
	seed      maphash.Seed
	fields    map[Field]*field
	open      []*field // have something of the document that is being indexed
	groups    map[string]*group
	count     int // of groups that are fields
	documents uint32
	bounds    Bounds
	overflow  int64
	textual   int64 // bytes of all fields' terms
	full      int64 // bytes at which it is
	sources   sources
	// Those that every record has.
	offset, timestamp, key, all *field
	whole                       *group // of values that are no JSON object
}

// group is what is indexed of the values at one path.
type group struct {
	name                                    string
	text, keyword, number, boolean, instant *field
	point                                   *field
	mapped                                  Kind // what all values are; 0: what each looks like
	left                                    bool // out: it is not to be indexed
	all                                     bool // indexed in FieldAll
}

// NewMemory returns a split without records.
func NewMemory(o Options) *Memory {
	if o.FieldsMax == 0 {
		o.FieldsMax = FieldsMaxDefault
	}
	m := &Memory{
		options: o, stream: o.Analyzer.Stream(nil), scanner: newScanner(), seed: maphash.MakeSeed(), full: fullBytes,
		fields: make(map[Field]*field), groups: make(map[string]*group), whole: &group{name: FieldValue.Name},
	}
	m.scanner.rest.group = &group{all: true}
	m.scanner.whole = func(name string) bool { return o.Mapping[name] == GeoPoint }
	m.offset, m.timestamp = m.field(FieldOffset), m.field(FieldTimestamp)
	return m
}

// field returns what is indexed of a field, which may be new.
func (m *Memory) field(f Field) *field {
	if got := m.fields[f]; got != nil {
		return got
	}
	var t *terms
	if f.Kind.HasTerms() {
		t = newTerms(m.seed)
	}
	added := newField(f, t)
	m.fields[f] = added
	return added
}

// ErrFull means that a Memory takes no more records.
var ErrFull = errors.New("the index in memory is full")

// fullBytes is well below what 32 bits address, by more than a record needs.
const fullBytes = 2 << 30

// Append indexes a record. Offsets rise. The record's bytes may change afterwards.
// It fails with ErrFull only, and then nothing of the record is there.
func (m *Memory) Append(r Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.arena.bytes()+m.textual >= m.full || m.documents == documentsMax {
		return fmt.Errorf("%w: %d records", ErrFull, m.documents)
	}
	if m.documents == 0 {
		m.bounds = Bounds{First: r.Offset, TimestampMin: r.Timestamp, TimestampMax: r.Timestamp}
	}
	m.bounds.Next = r.Offset + 1
	m.bounds.TimestampMin = min(m.bounds.TimestampMin, r.Timestamp)
	m.bounds.TimestampMax = max(m.bounds.TimestampMax, r.Timestamp)
	m.offset.add(m.documents, r.Offset)
	m.timestamp.add(m.documents, r.Timestamp)
	if r.Key != nil && len(r.Key) <= KeywordBytesMax {
		m.keyword(&m.key, FieldKey.Name, r.Key)
	}
	if m.scanner.object(r.Value) {
		for i := range m.scanner.leaves {
			m.leaf(&m.scanner.leaves[i])
		}
	} else if r.Value != nil && len(m.options.Paths) == 0 {
		m.text(m.whole, r.Value)
	}
	for _, f := range m.open {
		before := f.textBytes
		m.scratch = f.finish(m.documents, &m.arena, m.scratch)
		m.textual += f.textBytes - before
	}
	m.open = m.open[:0]
	if m.options.Source {
		m.sources.append(r)
	}
	m.documents++
	return nil
}

// leaf indexes a scalar of a JSON object.
func (m *Memory) leaf(l *leaf) {
	g := l.path.group
	if g == nil {
		g = m.group(l.path.name)
		l.path.group = g
	}
	switch {
	case g.left:
	case g.mapped != 0:
		if !m.mapped(g, l) {
			m.leftOver(l)
		}
	case g.all:
		m.leftOver(l)
	case l.shape == shapeText:
		if ms, ok := parseDate(l.text); ok {
			m.value(&g.instant, Field{g.name, Date}, ms)
			return
		}
		m.text(g, l.text)
	case l.shape == shapeBoolean:
		m.value(&g.boolean, Field{g.name, Boolean}, l.integer)
	case l.shape == shapeInteger && (g.number == nil || g.number.Kind == Long):
		m.value(&g.number, Field{g.name, Long}, l.integer)
	case l.shape == shapeInteger:
		m.value(&g.number, Field{g.name, Double}, SortableDouble(float64(l.integer)))
	default:
		if g.number != nil && g.number.Kind == Long {
			m.promote(g)
		}
		m.value(&g.number, Field{g.name, Double}, SortableDouble(l.number))
	}
}

// leftOver indexes a text that is not in a field of its own.
func (m *Memory) leftOver(l *leaf) {
	m.overflow++
	if l.shape == shapeText || l.shape == shapeWhole {
		m.words(&m.all, FieldAll.Name, l.text)
	}
}

// group returns what is indexed at a path. Several paths may be called the same:
// {"a.b":1} and {"a":{"b":1}}.
func (m *Memory) group(name string) *group {
	g := m.groups[name]
	if g == nil {
		g = m.decide(name)
		m.groups[name] = g
	}
	return g
}

// decide says what becomes of a name that is new.
func (m *Memory) decide(name string) *group {
	if len(m.options.Paths) > 0 {
		within := false
		for _, p := range m.options.Paths {
			within = within || name == p || strings.HasPrefix(name, p+".")
		}
		if !within {
			return &group{left: true}
		}
	}
	kind := m.options.Mapping[name]
	if m.count >= m.options.FieldsMax && kind == 0 {
		return &group{all: true}
	}
	m.count++
	return &group{name: name, mapped: kind}
}

// promote makes a field of whole numbers one of doubles. Snapshots keep theirs.
func (m *Memory) promote(g *group) {
	long := g.number
	double := newField(Field{g.name, Double}, nil)
	for i, v := range long.values {
		double.add(long.docs[i], SortableDouble(float64(v)))
	}
	double.open = long.open
	for i, f := range m.open {
		if f == long {
			m.open[i] = double
		}
	}
	delete(m.fields, long.Field)
	m.fields[double.Field] = double
	g.number = double
}

// text indexes a string: as text, and if it is not long as a keyword.
func (m *Memory) text(g *group, text []byte) {
	m.words(&g.text, g.name, text)
	if len(text) <= KeywordBytesMax {
		m.keyword(&g.keyword, g.name, text)
	}
}

// words indexes a value of a text field.
func (m *Memory) words(at **field, name string, text []byte) {
	f := m.touch(at, Field{name, Text})
	if f.texts++; f.texts > 1 {
		f.position += PositionGap
	}
	s := m.stream
	s.Reset(text)
	next := f.position
	for s.Next() {
		f.occur(s.Term, f.position+s.Position)
		next = f.position + s.Position + 1
	}
	f.position = next
}

func (m *Memory) keyword(at **field, name string, text []byte) {
	m.touch(at, Field{name, Keyword}).touch(text).freq = 1
}

func (m *Memory) value(at **field, name Field, value int64) {
	m.touch(at, name).add(m.documents, value)
}

// touch returns a field, which gets something of the current document.
func (m *Memory) touch(at **field, name Field) *field {
	f := *at
	if f == nil {
		f = m.field(name)
		*at = f
	}
	if !f.open {
		f.open = true
		m.open = append(m.open, f)
	}
	return f
}

// Documents counts the records.
func (m *Memory) Documents() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return int(m.documents)
}

// Overflow counts the values that were left to FieldAll, by the limit of fields
// or since they do not fit their mapping.
func (m *Memory) Overflow() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.overflow
}

// Bytes estimates the memory that is taken.
func (m *Memory) Bytes() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n := m.arena.bytes() + m.sources.bytes()
	for _, f := range m.fields {
		n += int64(cap(f.docs)*4+cap(f.values)*8+cap(f.order)*4+cap(f.ranks)*4) + 512
		if f.terms != nil {
			n += f.terms.bytes()
		}
	}
	return n
}

// sources keeps records as they came.
type sources struct {
	data   []byte
	starts []int64 // of each record in data
	keys   []int32 // length of each key; −1: null
	null   []bool  // the value is null
}

func (s *sources) append(r Record) {
	s.starts = append(s.starts, int64(len(s.data)))
	length := int32(-1)
	if r.Key != nil {
		length = int32(len(r.Key))
	}
	s.keys = append(s.keys, length)
	s.null = append(s.null, r.Value == nil)
	s.data = append(append(s.data, r.Key...), r.Value...)
}

func (s *sources) bytes() int64 {
	return int64(cap(s.data) + cap(s.starts)*8 + cap(s.keys)*4 + cap(s.null))
}

// get returns record n of those that there were when s was copied.
func (s *sources) get(n uint32) Source {
	from, to := s.starts[n], int64(len(s.data))
	if int(n)+1 < len(s.starts) {
		to = s.starts[n+1]
	}
	key := from + int64(max(s.keys[n], 0))
	var r Source
	if s.keys[n] >= 0 {
		r.Key = s.data[from:key:key]
	}
	if !s.null[n] {
		r.Value = s.data[key:to:to]
	}
	return r
}
