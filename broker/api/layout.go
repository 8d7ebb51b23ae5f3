package api

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A layout says where in the bytes of a request things begin and end, so that a
// body can be walked once, without allocating, before kmsg reads it. kmsg makes
// arrays as long as they say they are, and counts tagged fields down from any
// number long after the bytes have ended: nine bytes would keep it busy for a
// minute. What holds together is as long as it says.
//
// Layouts are taken from kmsg's own types: which fields a version has, and in
// what order, shows in what changes in an encoded request when a field does.
type layout struct {
	kind     layoutKind
	flexible bool
	size     int       // of fixed bytes
	elem     *layout   // of an array, or of what may be null
	fields   []*layout // of a struct
	tagged   map[uint64]*layout
}

type layoutKind int8

const (
	fixedBytes  layoutKind = iota
	stringBytes            // a string, null or not
	lengthBytes            // bytes or records, null or not
	arrayOf
	nullableOf // a struct after a byte that says whether it is there
	structOf
)

// holds says whether body begins with what the layout describes.
func (l *layout) holds(body []byte) bool {
	w := walker{b: body}
	w.walk(l)
	return !w.failed
}

// walker is a decoder that keeps nothing.
type walker struct {
	b      []byte
	failed bool
}

func (w *walker) skip(n int) {
	if n > len(w.b) {
		w.fail()
		return
	}
	if n > 0 { // null is −1
		w.b = w.b[n:]
	}
}

func (w *walker) fail() { w.b, w.failed = nil, true }

func (w *walker) uvarint() uint64 {
	v, n := binary.Uvarint(w.b)
	if n <= 0 || n > binary.MaxVarintLen32 || v > 1<<32-1 {
		w.fail()
		return 0
	}
	w.b = w.b[n:]
	return v
}

// length reads what stands before an array or bytes; −1 is null.
func (w *walker) length(flexible bool) int {
	if flexible {
		return int(w.uvarint()) - 1
	}
	if len(w.b) < 4 {
		w.fail()
		return 0
	}
	n := int(int32(binary.BigEndian.Uint32(w.b)))
	w.b = w.b[4:]
	return n
}

func (w *walker) walk(l *layout) {
	if w.failed {
		return
	}
	switch l.kind {
	case fixedBytes:
		w.skip(l.size)
	case lengthBytes:
		w.skip(w.length(l.flexible))
	case stringBytes:
		switch {
		case l.flexible:
			w.skip(w.length(true))
		case len(w.b) < 2:
			w.fail()
		default:
			n := int(int16(binary.BigEndian.Uint16(w.b)))
			w.b = w.b[2:]
			w.skip(n)
		}
	case arrayOf:
		for n := w.length(l.flexible); n > 0 && !w.failed; n-- {
			w.walk(l.elem)
		}
	case nullableOf:
		if len(w.b) == 0 {
			w.fail()
			return
		}
		there := int8(w.b[0]) >= 0
		w.b = w.b[1:]
		if there {
			w.walk(l.elem)
		}
	case structOf:
		for _, field := range l.fields {
			w.walk(field)
		}
		if l.flexible {
			w.tags(l.tagged)
		}
	}
}

// tags walks the tagged fields, and what is in those that are known to hold
// tagged fields themselves.
func (w *walker) tags(known map[uint64]*layout) {
	for n := w.uvarint(); n > 0 && !w.failed; n-- {
		number := w.uvarint()
		size := w.uvarint()
		if size > uint64(len(w.b)) {
			w.fail()
			return
		}
		if inside, ok := known[number]; ok && !inside.holds(w.b[:size]) {
			w.fail()
			return
		}
		w.b = w.b[size:]
	}
}

// layoutsOf returns the layouts of a route's versions.
func layoutsOf(r *route) []func() *layout {
	list := make([]func() *layout, 0, r.max-r.min+1)
	for version := r.min; version <= r.max; version++ {
		list = append(list, sync.OnceValue(func() *layout { return layoutOf(r.key, version) }))
	}
	return list
}

// layoutOf finds the layout of a version of an API's requests.
func layoutOf(key, version int16) *layout {
	req := kmsg.RequestForKey(key)
	req.SetVersion(version)
	p := prober{req: req}
	populate(reflect.ValueOf(req).Elem())
	req.SetVersion(version)
	return p.structure(reflect.ValueOf(req).Elem())
}

// populate puts one element into each array and one struct behind each pointer,
// so that the fields inside can be tried.
func populate(v reflect.Value) {
	if defaults, ok := v.Addr().Interface().(interface{ Default() }); ok {
		defaults.Default()
	}
	for i := range v.NumField() {
		field := v.Field(i)
		switch {
		case !v.Type().Field(i).IsExported() || v.Type().Field(i).Name == "UnknownTags":
		case field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Struct:
			field.Set(reflect.MakeSlice(field.Type(), 1, 1))
			populate(field.Index(0))
		case field.Kind() == reflect.Pointer && field.Type().Elem().Kind() == reflect.Struct:
			field.Set(reflect.New(field.Type().Elem()))
			populate(field.Elem())
		case field.Kind() == reflect.Struct:
			populate(field)
		}
	}
}

// prober tries the fields of a request.
type prober struct{ req kmsg.Request }

// differs says by how many bytes the request grows when field has another
// value, and whether anything changes at all.
func (p *prober) differs(field, other reflect.Value) (grown int, changed bool) {
	before := p.req.AppendTo(nil)
	kept := reflect.ValueOf(field.Interface())
	field.Set(other)
	after := p.req.AppendTo(nil)
	field.Set(kept)
	return len(after) - len(before), string(before) != string(after)
}

func (p *prober) structure(v reflect.Value) *layout {
	l := &layout{kind: structOf, flexible: p.req.IsFlexible()}
	for i := range v.NumField() {
		if t := v.Type().Field(i); t.IsExported() && t.Name != "UnknownTags" && (t.Name != "Version" || v.Addr().Interface() != any(p.req)) {
			p.field(l, v.Field(i), t.Name)
		}
	}
	return l
}

// field adds a field to its struct's layout if the version has it. Tagged
// fields show by growing when they are set: alone they are left out otherwise.
func (p *prober) field(l *layout, v reflect.Value, name string) {
	add := func(field *layout) {
		field.flexible = l.flexible
		if n := len(l.fields); n > 0 && field.kind == fixedBytes && l.fields[n-1].kind == fixedBytes {
			l.fields[n-1].size += field.size
			return
		}
		l.fields = append(l.fields, field)
	}
	switch v.Kind() {
	case reflect.Bool:
		if grown, changed := p.differs(v, reflect.ValueOf(!v.Bool()).Convert(v.Type())); changed && grown == 0 {
			add(&layout{kind: fixedBytes, size: 1})
		}
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint16, reflect.Uint32, reflect.Float64:
		other := reflect.New(v.Type()).Elem()
		if v.IsZero() {
			other.Set(reflect.ValueOf(1).Convert(v.Type()))
		}
		if grown, changed := p.differs(v, other); changed && grown == 0 {
			add(&layout{kind: fixedBytes, size: int(v.Type().Size())})
		}
	case reflect.Array: // an id
		other := reflect.New(v.Type()).Elem()
		other.Index(0).SetUint(1)
		if grown, changed := p.differs(v, other); changed && grown == 0 {
			add(&layout{kind: fixedBytes, size: v.Len()})
		}
	case reflect.String:
		if grown, _ := p.differs(v, reflect.ValueOf(v.String()+"x").Convert(v.Type())); grown == 1 {
			add(&layout{kind: stringBytes})
		}
	case reflect.Pointer:
		p.pointer(l, v, add)
	case reflect.Slice:
		p.slice(v, add)
	case reflect.Struct:
		p.inTag(l, v, name)
	default:
		// Only an API that is registered with a type that no request had before.
		panic(fmt.Sprintf("a %s in a request of api key %d", v.Type(), p.req.Key()))
	}
}

func (p *prober) pointer(l *layout, v reflect.Value, add func(*layout)) {
	if v.Type().Elem().Kind() == reflect.String {
		one := "x"
		if grown, _ := p.differs(v, reflect.ValueOf(&one)); grown == 1 {
			add(&layout{kind: stringBytes})
		}
		return
	}
	if _, changed := p.differs(v, reflect.Zero(v.Type())); changed {
		elem := p.structure(v.Elem())
		elem.flexible = l.flexible
		add(&layout{kind: nullableOf, elem: elem})
	}
}

func (p *prober) slice(v reflect.Value, add func(*layout)) {
	elem := v.Type().Elem()
	other := reflect.MakeSlice(v.Type(), v.Len()+1, v.Len()+1)
	if elem.Kind() == reflect.Struct {
		populate(other.Index(v.Len()))
		reflect.Copy(other, v)
	}
	grown, changed := p.differs(v, other)
	switch {
	case !changed:
	case elem.Kind() == reflect.Uint8:
		add(&layout{kind: lengthBytes})
	case elem.Kind() == reflect.Struct:
		add(&layout{kind: arrayOf, elem: p.structure(v.Index(0))})
	case elem.Kind() == reflect.String:
		add(&layout{kind: arrayOf, elem: &layout{kind: stringBytes, flexible: p.req.IsFlexible()}})
	default:
		add(&layout{kind: arrayOf, elem: &layout{kind: fixedBytes, size: grown}})
	}
}

// inTag keeps the layout of a struct that is a tagged field: kmsg has structs
// nowhere else. Its number is where the encoding says it is.
func (p *prober) inTag(l *layout, v reflect.Value, name string) {
	number, ok := map[string]uint64{"ReplicaState": 1}[name]
	if !ok {
		// Only an API that is registered with a struct that no request had before.
		panic(fmt.Sprintf("the tag of %s in a request of api key %d is not known", name, p.req.Key()))
	}
	if !l.flexible {
		return
	}
	// Something must be in it, or it is left out and its fields do not show.
	v.Field(0).SetInt(7)
	inside := p.structure(v)
	if l.tagged == nil {
		l.tagged = make(map[uint64]*layout)
	}
	l.tagged[number] = inside
}
